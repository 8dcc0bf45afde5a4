import { limitsText } from "../../dashboard/limitsText.js"
import { processText } from "../../dashboard/processText.js"
import { isTelling, schemaDraft } from "../../dashboard/schemaDraft.js"
import type { Value } from "../../operate/OperatorRequests.js"
import { duration } from "./duration.js"
import { gantt } from "./gantt.js"
import { fields, type Item, joined, pairs, rows, section, time, type View } from "./parts.js"
import type { Screen } from "./screen.js"
import { commandOn } from "./shell.js"

export const runs: View<"Runs"> = (screen, all) =>
  rows(screen, all, "no runs", [
    ["run", ({ id }) => id],
    "workflow",
    "status",
    ["created", ({ createdAt }) => time(createdAt)],
    "executions",
    ["about", aboutRun]
  ])

export const unclaimed: View<"Unclaimed"> = (screen, all) =>
  rows(screen, all, "each version with due runs has a worker", [
    "workflow",
    "version",
    ["due runs", ({ due }) => String(due)],
    ["since", ({ since }) => time(since)],
    ["waiting", ({ waiting }) => String(waiting)],
    ["on hold", ({ held }) => String(held)]
  ])

export const adoption: View<"Adopt"> = (screen, { adopted, from, refused, to, workflow }) => {
  const all = [
    ...adopted.map((run) => ({ run, result: `adopted by version ${to}` })),
    ...refused.map(({ message, run, tag }) => ({ run, result: `refused: ${failed({ tag, message })}` }))
  ]
  return rows(screen, all, `workflow ${workflow} has no open runs of version ${from}`, ["run", "result"])
}

const waitText = ({ about, kind }: Item<"Runs">["waiting"][number]): string =>
  kind === "question" ? about : `${kind} ${about}`

/** Which process advances a run, why it does not advance, or how it ended. */
const aboutRun = (run: Item<"Runs">): string => {
  const { cancelling, dueAt, executions, failure, finishedAt, hold, owner, queue, status, waiting } = run
  if (failure !== null) return failed(failure)
  if (hold !== null) return `on hold: ${hold.reason}`
  if (cancelling !== null) return `to be cancelled: ${cancelling.reason}`
  if (waiting.length > 0) return waiting.map(waitText).join(", ")
  if (finishedAt !== null || status === "running") return owner === null ? "" : processText(owner)
  if (status === "suspended") return dueAt === null ? "" : `${executions === 0 ? "starts" : "resumes"} ${time(dueAt)}`
  return queue === null ? "" : `in queue ${queue.name}${queue.key === "" ? "" : `, key ${queue.key}`}`
}

const noFailure = { message: "", tag: undefined }

const failed = ({ message, tag }: NonNullable<Item<"Runs">["failure"]>): string =>
  tag === undefined || tag === "RunCancelled" || message.startsWith(tag) ? message : `${tag}: ${message}`

/** The latest failure of a step, and why its compensation failed. */
const stepFailure = ({ compensationFailure, history }: Value<"Run">["steps"][number]): string =>
  [
    failed(history.findLast(({ failure }) => failure !== null)?.failure ?? noFailure),
    compensationFailure === null ? "" : `compensation: ${failed(compensationFailure)}`
  ]
    .filter(Boolean)
    .join("; ")

/** A page of at most `limit` runs, and how to get the next one. */
export const runsPage =
  (limit: number): View<"Runs"> =>
  (screen, all) => {
    const last = all.length < limit ? undefined : all.at(-1)
    return joined([runs(screen, all), last === undefined ? "" : `The next page: --before ${last.key}`])
  }

const runFields = (screen: Screen, value: Value<"Run">): string => {
  const { cancelling, createdAt, dueAt, executions, failure, finishedAt, generation, hold, labels, owner } = value
  const { id, parent, queue, status, version, workflow } = value
  return fields(screen, {
    run: id,
    workflow: `${workflow}, version ${version}`,
    status,
    [status === "cancelled" ? "cancelled" : "error"]: failure === null ? "" : failed(failure),
    hold: hold === null ? "" : `${hold.reason} (${hold.id}, since ${time(hold.since)})`,
    "to be cancelled":
      cancelling === null ? "" : `${cancelling.reason}${cancelling.by === null ? "" : ` (${cancelling.by})`}`,
    queue:
      queue === null
        ? ""
        : [queue.name, queue.key && `key ${queue.key}`, `priority ${queue.priority}`].filter(Boolean).join(", "),
    parent,
    generation: generation === 1 ? "" : generation,
    labels: pairs(labels),
    created: time(createdAt),
    due: finishedAt === null && status !== "running" ? time(dueAt) : "",
    ended: time(finishedAt),
    "advanced by": owner === null ? "" : processText(owner),
    executions,
    unread: unreadText(value)
  })
}

/** What the picture of the run leaves out. */
const unreadText = ({ unread }: Value<"Run">): string =>
  unread.length === 0
    ? ""
    : `${unread.map(({ kind, seq }) => `line ${seq} (${kind})`).join(", ")}, by a newer version of effect-recovery: what follows is without them`

export const run: View<"Run"> = (screen, value) =>
  joined([
    runFields(screen, value),
    rows(screen, value.steps, "no steps", [
      ["step", ({ key }) => key],
      "status",
      "attempts",
      ["started", ({ startedAt }) => time(startedAt)],
      "compensation",
      ["failure", stepFailure]
    ]),
    section(screen, "Timeline", gantt(screen, value)),
    rows(screen, value.waits, "", [
      ["wait", ({ id }) => id],
      "kind",
      "about",
      "status",
      ["since", ({ startedAt }) => time(startedAt)],
      ["until", ({ until }) => time(until)]
    ]),
    rows(screen, value.decisions, "", [
      ["recovery of", ({ key, recovery, step }) => recovery ?? step ?? key],
      "decision",
      ["strategy", ({ by }) => by],
      ["decided", ({ at }) => time(at)],
      ["next", ({ nextAt }) => time(nextAt)],
      ["failure", ({ failure }) => failed(failure)]
    ]),
    rows(screen, value.children, "", [["child run", ({ id }) => id], "workflow", "status"]),
    ...value.waiting
      // A run that is to be cancelled reads neither answers nor signals.
      .filter(({ kind }) => kind !== "sleep" && value.cancelling === null)
      .map((wait) => section(screen, "Waits for", waitingFor(screen, value.id, wait)))
  ])

/** What a run waits for, and the command that sends it. */
const waitingFor = (screen: Screen, run: string, wait: Value<"Run">["waiting"][number]): string => {
  const { about, child, fault, id, parameters, refused, schema, signal, to } = wait
  if (child !== undefined) return fields(screen, { "child run": child, show: commandOn(screen, "runs", [child]) })
  const send =
    signal === undefined
      ? commandOn(screen, "resolve", [], Object.entries({ "run-id": run, question: id, answer: "retry" }))
      : commandOn(
          screen,
          "signal",
          [run, signal.name, schemaDraft(schema) ?? "JSON"],
          signal.id === undefined ? [] : [["id", signal.id]]
        )
  return fields(screen, {
    [signal === undefined ? "question" : "signal"]: about,
    to,
    failure: fault === null ? "" : `${fault.category}: ${fault.message}`,
    parameters: parameters.join(" "),
    "refused answer": refused,
    value: isTelling(schema) ? JSON.stringify(schema) : "",
    answers: signal === undefined ? "retry, skip, abort, or value with --value JSON" : "",
    send
  })
}

export const queues: View<"Queues"> = (screen, all) =>
  rows(screen, all, "no queues: a queue is listed once a run is in it or a worker has it", [
    "queue",
    "running",
    ["due", ({ due }) => due],
    "waiting",
    ["oldest due", ({ oldest }) => time(oldest)],
    ["limits", ({ limits }) => (limits === null ? "no worker yet" : limitsText(limits, duration))]
  ])

export const schedules: View<"Schedules"> = (screen, all) =>
  rows(screen, all, "no schedules: a schedule is listed once a worker has it", [
    ["schedule", ({ name }) => name],
    "workflow",
    ["rule", ({ rule }) => ("cron" in rule ? `${rule.cron} ${rule.timeZone}` : `every ${duration(rule.everyMillis)}`)],
    ["next due", ({ nextDue, paused }) => (paused === null ? time(nextDue) : "paused")],
    ["latest run", ({ last }) => last?.run],
    [
      "about",
      ({ paused, waiting }) =>
        [paused?.reason, waiting.length > 0 && `${waiting.length} wait`].filter(Boolean).join(", ")
    ]
  ])
