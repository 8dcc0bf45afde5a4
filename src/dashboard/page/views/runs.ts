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
      "No run is on record."
    )
  )

/** The journal keeps values as JSON; what failed is easier to read without its wrapping. */
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
    h("summary", {}, `Every moment (${moments.length}${omitted > 0 ? `, ${omitted} older ones left out` : ""})`),
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
    h("p", {}, "↶ taken back ", h("b", {}, point), ` by ${by} `, when(at), h("span", { class: "quiet" }, ` ${reason}`))
  ),
  ...rollbacks.map(({ reason, status, transaction, updatedAt }) =>
    h("p", {}, `↶ transaction ${transaction || "of the run"} `, chip(status), ` since it ${reason} `, when(updatedAt))
  )
]

export interface Watched {
  readonly status: RunStatus | undefined
  readonly timeline: Timeline | undefined
}

export const run = ({ status, timeline }: Watched, canAct: boolean): ReadonlyArray<Node> => {
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
        "Goes on": status.dueAt === null || status.finishedAt !== null ? undefined : time(status.dueAt),
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
  steps.length === 0
    ? empty("It has not come to a step.")
    : h(
        "div",
        { class: "scroll" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ...["Step", "Status", "Attempts", "Started", "Undo"].map((name) => h("th", { scope: "col" }, name))
            )
          ),
          h(
            "tbody",
            {},
            ...steps.map(({ attempts, compensation, key, startedAt, status }) =>
              h(
                "tr",
                {},
                h("th", { scope: "row" }, key),
                h("td", {}, chip(status)),
                h("td", {}, attempts),
                h("td", {}, when(startedAt)),
                h("td", {}, compensation ?? "")
              )
            )
          )
        )
      )
