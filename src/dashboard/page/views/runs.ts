import { h } from "../dom.js"
import { time, words } from "../format.js"
import { gantt } from "../gantt.js"
import type { Moment, Overview, RunStatus, Timeline } from "../model.js"
import { chip, empty, facts, link, panel, table, when } from "../parts.js"
import { question } from "./questions.js"

export const runs = ({ runs }: Overview, current: string | undefined): Node =>
  panel(
    "Runs, newest first",
    table(
      ["Run", "Workflow", "Status", "Created", "Waits for"],
      runs.map(({ createdAt, id, status, waiting, workflow }) => ({
        href: link("runs", id),
        name: id,
        isCurrent: id === current,
        cells: [workflow, chip(status), when(createdAt), waiting.map(({ about }) => about).join(", ")]
      })),
      "No runs yet."
    )
  )

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
        Workflow: status.workflow,
        Version: status.version,
        Labels: labels.join(", "),
        Created: when(status.createdAt),
        Finished: when(status.finishedAt),
        Resumes: status.dueAt === null || status.finishedAt !== null ? undefined : time(status.dueAt),
        Owner: status.owner,
        Executions: status.executions
      }),
      ...rewindsOf(status)
    ),
    ...asked.map((one) => question({ ...one, run: status.id, workflow: status.workflow }, canAct)),
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
