import { h } from "../dom.js"
import { time, words } from "../format.js"
import { gantt } from "../gantt.js"
import type { Moment, RunStatus, Timeline } from "../model.js"
import { chip, empty, facts, linkTo, panel, table, when } from "../parts.js"
import { controls } from "./controls.js"
import { question } from "./questions.js"
import { failureText } from "./runList.js"
import { signals } from "./signals.js"

/** Indents details that are JSON. */
const detailOf = ({ detail }: Moment): string => {
  if (detail === undefined) return ""
  try {
    return JSON.stringify(JSON.parse(detail), null, 1)
  } catch {
    return detail
  }
}

const momentsOf = ({ moments, omitted }: Timeline) =>
  h(
    "details",
    { "data-key": "moments" },
    h("summary", {}, `All events (${moments.length}${omitted > 0 ? `, ${omitted} older ones omitted` : ""})`),
    h(
      "ol",
      { class: "moments" },
      ...moments.map((moment) =>
        h(
          "li",
          {},
          h("time", { datetime: moment.at }, time(moment.at)),
          h("span", {}, words(moment.kind)),
          h("span", { class: "name" }, moment.step, moment.attempt > 1 ? ` (${moment.attempt})` : ""),
          moment.detail === undefined ? null : h("pre", {}, detailOf(moment))
        )
      )
    )
  )

const rewindsOf = ({ rewinds, rollbacks }: RunStatus): ReadonlyArray<Node> => [
  ...rewinds.map(({ at, by, point, reason }) =>
    h("p", {}, "↶ rewound to ", h("b", {}, point), ` by ${by} `, when(at), h("span", { class: "quiet" }, ` ${reason}`))
  ),
  ...rollbacks.map(({ reason, status, transaction, updatedAt }) =>
    h(
      "p",
      {},
      `↶ rollback of transaction ${transaction || "of the run"} `,
      chip(status),
      ` because it ${reason} `,
      when(updatedAt)
    )
  )
]

const cancellingText = ({ by, reason }: NonNullable<RunStatus["cancelling"]>): string =>
  by === null ? reason : `${reason} (${by})`

const queueText = ({ key, name, priority }: NonNullable<RunStatus["queue"]>): string =>
  `${name}${key === "" ? "" : `, key ${key}`}, priority ${priority}`

/** What the rest of the page leaves out. */
const unreadText = ({ unread }: RunStatus): string | undefined =>
  unread.length === 0
    ? undefined
    : `${unread.map(({ kind, seq }) => `line ${seq} (${kind})`).join(", ")}, by a newer version of effect-recovery: steps and waits are shown without them`

export interface OpenRun {
  readonly status: RunStatus | undefined
  readonly timeline: Timeline | undefined
}

export const run = ({ status, timeline }: OpenRun, canAct: boolean): ReadonlyArray<Node> => {
  if (status === undefined) return [empty("Loading…")]
  const asked = status.waiting.filter(({ kind }) => kind === "question")
  const labels = Object.entries(status.labels).map(([name, value]) => `${name}=${value}`)
  return [
    panel(
      `Run ${status.id}`,
      facts({
        Status: chip(status.status),
        Error: status.failure === null ? undefined : failureText(status.failure),
        Hold: status.hold === null ? undefined : `${status.hold.reason} (${status.hold.id})`,
        "To be cancelled": status.cancelling === null ? undefined : cancellingText(status.cancelling),
        Workflow: status.workflow,
        Version: status.version,
        Queue: status.queue === null ? undefined : queueText(status.queue),
        Parent: linkTo("runs", status.parent ?? undefined),
        Generation: status.generation === 1 ? undefined : status.generation,
        Labels: labels.join(", "),
        Created: when(status.createdAt),
        Finished: when(status.finishedAt),
        Resumes: status.dueAt === null || status.finishedAt !== null ? undefined : time(status.dueAt),
        Owner: status.owner,
        Executions: status.executions,
        Unread: unreadText(status)
      }),
      ...rewindsOf(status)
    ),
    ...asked.map((one) => question({ ...one, run: status.id, workflow: status.workflow }, canAct)),
    ...signals(status, canAct),
    ...(canAct ? controls(status) : []),
    panel("Timeline", ...(timeline === undefined ? [empty("Loading…")] : [gantt(timeline), momentsOf(timeline)])),
    panel("Steps", steps(status))
  ]
}

const steps = ({ steps }: RunStatus) =>
  table(
    ["Step", "Status", "Attempts", "Started", "Compensation"],
    steps.map(({ attempts, compensation, key, startedAt, status }) => ({
      name: key,
      cells: [chip(status), attempts, when(startedAt), compensation ?? ""]
    })),
    "No step has started."
  )
