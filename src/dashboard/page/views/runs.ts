import { processText } from "../../processText.js"
import { h } from "../dom.js"
import { counted, readableKey, time, words } from "../format.js"
import { gantt } from "../gantt.js"
import type { Failure, Moment, RunStatus, Timeline } from "../model.js"
import { chip, empty, facts, link, linkTo, panel, table, when } from "../parts.js"
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

const whyRolledBack: Readonly<Record<string, string>> = {
  failed: "it failed",
  interrupted: "it was interrupted",
  died: "it died of a defect",
  stopped: "its run stopped",
  cancelled: "its run is cancelled"
}

/** The section of a transaction without the slash that it ends with. */
const transactionText = (section: string): string => {
  const name = readableKey(section.replace(/\/$/, ""))
  if (name === "") return "of the run"
  return name === "transaction" ? "of the transaction" : `of transaction ${name}`
}

const rewindsOf = ({ rewinds, rollbacks }: RunStatus): ReadonlyArray<Node> => [
  ...rewinds.map(({ at, by, point, reason }) =>
    h(
      "p",
      {},
      "↶ Rewound to ",
      h("b", {}, point),
      " ",
      when(at),
      h("span", { class: "quiet" }, `, by ${by}: ${reason}`)
    )
  ),
  ...rollbacks.map(({ reason, status, transaction, updatedAt }) =>
    h(
      "p",
      {},
      `↶ Rollback ${transactionText(transaction)}, since ${whyRolledBack[reason] ?? reason}: `,
      chip(status),
      " ",
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

/** A hold of a recovery leads to the recovery. */
const holdOf = ({ id, reason, since }: NonNullable<RunStatus["hold"]>) => {
  const recovery = /^recovery\/(.+)$/.exec(id)?.[1]
  return h(
    "span",
    {},
    reason,
    recovery !== undefined && " by ",
    recovery !== undefined && linkTo("recoveries", recovery),
    " ",
    when(since)
  )
}

/** A failed run is recovered from the page of its failure. */
const openFailuresOf = ({ id }: RunStatus, failures: ReadonlyArray<Failure>) => {
  const own = failures.filter(({ run }) => run === id)
  return own.length === 0 ? undefined : h("span", {}, ...own.flatMap(({ id }) => [linkTo("failures", id), " "]))
}

/** When a run that has no process continues. */
const dueOf = ({ dueAt, finishedAt, status }: RunStatus) => {
  if (dueAt === null || finishedAt !== null || status === "running") return {}
  return Date.parse(dueAt) > Date.now() ? { Resumes: time(dueAt) } : { "Due since": time(dueAt) }
}

/** When the present generation began, as its journal says. */
const generationOf = ({ generation }: RunStatus, timeline: Timeline | undefined) => {
  if (generation === 1) return undefined
  const begun = timeline?.moments.find(({ kind }) => kind === "RunContinued")
  return h("span", {}, `${generation} `, begun !== undefined && "since ", when(begun?.at))
}

export interface OpenRun {
  readonly status: RunStatus | undefined
  readonly timeline: Timeline | undefined
}

export const run = (
  { status, timeline }: OpenRun,
  failures: ReadonlyArray<Failure>,
  canAct: boolean
): ReadonlyArray<Node> => {
  if (status === undefined) return [empty("Loading…")]
  const asked = status.waiting.filter(({ kind }) => kind === "question")
  const labels = Object.entries(status.labels).map(([name, value]) => `${name}=${value}`)
  return [
    panel(
      `Run ${status.id}`,
      facts({
        Status: chip(status.status),
        [status.status === "cancelled" ? "Cancelled" : "Error"]:
          status.failure === null ? undefined : failureText(status.failure),
        "Open failures": openFailuresOf(status, failures),
        Hold: status.hold === null ? undefined : holdOf(status.hold),
        "To be cancelled": status.cancelling === null ? undefined : cancellingText(status.cancelling),
        Workflow: status.workflow,
        Version: status.version,
        Queue: status.queue === null ? undefined : queueText(status.queue),
        Parent: linkTo("runs", status.parent ?? undefined),
        Generation: generationOf(status, timeline),
        Labels: labels.join(", "),
        Created: when(status.createdAt),
        Finished: when(status.finishedAt),
        ...dueOf(status),
        "Advanced by": status.owner === null ? undefined : processText(status.owner),
        Executions: status.executions,
        Unread: unreadText(status)
      }),
      ...rewindsOf(status)
    ),
    ...asked.map((one) => question({ ...one, run: status.id, workflow: status.workflow }, canAct)),
    ...signals(status, canAct),
    ...(canAct ? controls(status) : []),
    panel("Timeline", ...(timeline === undefined ? [empty("Loading…")] : [gantt(timeline), momentsOf(timeline)])),
    panel("Steps", steps(status)),
    ...decisions(status),
    ...children(status)
  ]
}

/** The failure that a step ended with, or that its next attempt follows. */
const stepFailure = ({ history }: RunStatus["steps"][number]): string => {
  const failure = history.findLast(({ failure }) => failure !== null)?.failure ?? null
  return failure === null ? "" : failureText(failure)
}

const undoFailure = ({ compensationFailure }: RunStatus["steps"][number]): string =>
  compensationFailure === null ? "" : `Compensation: ${failureText(compensationFailure)}`

const steps = ({ steps }: RunStatus) =>
  table(
    ["Step", "Status", "Attempts", "Started", "Compensation", "Failure"],
    steps.map((step) => ({
      name: readableKey(step.key),
      cells: [
        chip(step.status),
        counted(step.attempts, "attempt"),
        when(step.startedAt),
        step.compensation === null ? "" : `compensation ${step.compensation}`,
        [stepFailure(step), undoFailure(step)].filter(Boolean).join("; ")
      ]
    })),
    "No step has started."
  )

/** What a recovery around a part of the body decided. Those of steps are attempts. */
const decisions = ({ decisions }: RunStatus): ReadonlyArray<Node> =>
  decisions.length === 0
    ? []
    : [
        panel(
          "Decisions of recoveries",
          table(
            ["Part", "Decision", "Strategy", "Decided", "Failure"],
            decisions.map(({ at, by, decision, failure, key, nextAt, recovery, step }) => ({
              name: recovery ?? readableKey(step ?? key),
              cells: [
                nextAt === null ? decisionText[decision] : `${decisionText[decision]} at ${time(nextAt)}`,
                by,
                when(at),
                failureText(failure)
              ]
            })),
            ""
          )
        )
      ]

const decisionText = {
  Again: "run again",
  Instead: "take another value",
  Rewind: "rewind",
  HandOver: "ask",
  GiveUp: "give up"
} as const

const children = ({ children }: RunStatus): ReadonlyArray<Node> =>
  children.length === 0
    ? []
    : [
        panel(
          "Child runs",
          table(
            ["Run", "Workflow", "Status"],
            children.map(({ id, status, workflow }) => ({
              href: link("runs", id),
              name: id,
              cells: [workflow, chip(status)]
            })),
            ""
          )
        )
      ]
