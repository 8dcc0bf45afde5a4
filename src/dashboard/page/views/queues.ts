import { limitsText } from "../../limitsText.js"
import { encodeId } from "../../PathId.js"
import { h } from "../dom.js"
import { millis, time } from "../format.js"
import type { QueueStatus, ScheduleStatus } from "../model.js"
import { button, chip, empty, facts, linkTo, panel, table, when } from "../parts.js"

export interface OpenQueues {
  readonly queues: ReadonlyArray<QueueStatus>
  readonly schedules: ReadonlyArray<ScheduleStatus>
}

const queueTable = (queues: ReadonlyArray<QueueStatus>) =>
  table(
    ["Queue", "Running", "Due", "Waiting", "Limits"],
    queues.map(({ due, limits, oldest, queue, running, waiting }) => ({
      href: `#/runs?${new URLSearchParams({ queue })}`,
      name: queue,
      cells: [
        `${running} running`,
        h("span", {}, `${due} due`, oldest !== null && " since ", when(oldest)),
        `${waiting} waiting`,
        // Without a worker nothing takes its runs.
        limits === null ? "no worker yet" : `limits: ${limitsText(limits, millis)}`
      ]
    })),
    "No queues. A queue is shown once a run is in it or a worker has it."
  )

const ruleText = (rule: ScheduleStatus["rule"]): string =>
  "cron" in rule ? `${rule.cron} (${rule.timeZone})` : `every ${millis(rule.everyMillis)}`

const catchUpText: Readonly<Record<string, string>> = {
  none: "start no runs",
  last: "the last one starts a run",
  all: "each starts a run"
}

const overlapText: Readonly<Record<string, string>> = {
  skip: "no run starts while one is open",
  queue: "the next run starts after the open one",
  cancel: "the next run starts once the open one is cancelled",
  allow: "runs start beside open ones"
}

const buttonsOf = (name: string, isPaused: boolean) => {
  const path = `/schedules/${encodeId(name)}`
  return h(
    "div",
    { class: "buttons" },
    isPaused
      ? button({
          label: `Resume ${name}`,
          path: `${path}/resume`,
          done: () => `${name} starts runs again.`,
          isDangerous: false,
          ask: `Resume the schedule ${name}? Due times of the pause start no runs.`
        })
      : button({
          label: `Pause ${name}`,
          path: `${path}/pause`,
          payload: () => ({ reason: "from the dashboard" }),
          done: () => `${name} is paused.`,
          isDangerous: false,
          ask: `Pause the schedule ${name}? It starts no runs until it is resumed. Its open runs continue.`
        }),
    button<"TriggerSchedule">({
      label: `Start a run of ${name}`,
      path: `${path}/trigger`,
      done: ({ run }) => `The run ${run} starts as soon as a worker has the schedule.`,
      isDangerous: false,
      ask: `Start a run of ${name} now, beside the runs of its due times?`
    })
  )
}

const schedule = (
  { catchUp, last, name, nextDue, overlap, paused, rule, waiting, workflow }: ScheduleStatus,
  canAct: boolean
) =>
  panel(
    `Schedule ${name}`,
    facts({
      Status: paused === null ? undefined : chip("paused"),
      Paused:
        paused === null
          ? undefined
          : h("span", {}, [paused.reason, paused.by].filter(Boolean).join(", "), " ", when(paused.since)),
      Workflow: workflow,
      Rule: ruleText(rule),
      "Next due": nextDue === null ? undefined : time(nextDue),
      "Latest run": linkTo("runs", last?.run),
      "Missed due times": catchUpText[catchUp],
      Overlap: overlapText[overlap],
      Waiting: waiting.length === 0 ? undefined : `${waiting.length} due times`
    }),
    canAct && buttonsOf(name, paused !== null)
  )

export const queues = ({ queues, schedules }: OpenQueues, canAct: boolean): ReadonlyArray<Node> => [
  panel("Queues", queueTable(queues)),
  ...(schedules.length === 0
    ? [panel("Schedules", empty("No schedules. A schedule is shown once a worker has it."))]
    : schedules.map((one) => schedule(one, canAct)))
]
