import type { Tag, Value } from "../../operate/OperatorRequests.js"
import { gantt } from "./gantt.js"
import { bold, plain, type Screen } from "./screen.js"
import { record, table } from "./terminal.js"
import { widthOf } from "./width.js"

type View<T extends Tag> = (screen: Screen, value: Value<T>) => string

/** Of `A`, what the view of a list shows. */
type Item<T extends Tag> = Value<T> extends ReadonlyArray<infer A> ? A : never

const time = (iso: string | null | undefined): string => iso?.slice(0, 19).replace("T", " ") ?? ""

const percent = (share: number | null | undefined): string =>
  typeof share === "number" ? `${(share * 100).toFixed(0)} %` : ""

const millis = (value: number | null): string => {
  if (value === null) return ""
  if (value < 1_000) return `${value.toFixed(0)} ms`
  return value < 120_000 ? `${(value / 1_000).toFixed(1)} s` : `${(value / 60_000).toFixed(1)} min`
}

const pairs = (values: object): string =>
  Object.entries(values)
    .map(([name, one]) => `${name}=${typeof one === "object" ? JSON.stringify(one) : one}`)
    .join(" ")

const joined = (parts: ReadonlyArray<string>): string => parts.filter((part) => part !== "").join("\n\n")

const section = (screen: Screen, title: string, body: string): string =>
  body === "" ? "" : `${bold(screen, title)}\n${body}`

/** A column shows the field of its name, or what its function returns. */
type Column<A> = (keyof A & string) | readonly [name: string, value: (item: A) => unknown]

/** A table with a row for each item; `none` if there are no items. */
const rows = <A>(screen: Screen, items: ReadonlyArray<A>, none: string, columns: ReadonlyArray<Column<A>>): string =>
  items.length === 0
    ? none
    : table(
        screen,
        columns.map((column) => (typeof column === "string" ? column : column[0])),
        items.map((item) => columns.map((column) => (typeof column === "string" ? item[column] : column[1](item))))
      )

/** A line for each field that has a value. */
const fields = (screen: Screen, values: Readonly<Record<string, unknown>>): string =>
  record(screen, Object.entries(values))

/** The view of a list, for a single item. */
export const one =
  <A>(view: (screen: Screen, items: ReadonlyArray<A>) => string) =>
  (screen: Screen, item: A): string =>
    view(screen, [item])

export const recoveries: View<"Recoveries"> = (screen, all) =>
  rows(screen, all, "no recoveries", [
    ["recovery", ({ id }) => id],
    "type",
    "status",
    ["failure", ({ failure, run }) => failure ?? run],
    ["started", ({ startedAt }) => time(startedAt)],
    "message"
  ])

export const checkpoints: View<"Checkpoints"> = (screen, all) =>
  rows(screen, all, "no checkpoints", [
    ["checkpoint", ({ id }) => id],
    "name",
    "kind",
    ["run", ({ labels, run }) => run ?? labels.run],
    ["saved", ({ at }) => time(at)],
    ["bytes", ({ size }) => size]
  ])

export const dashboard: View<"Dashboard"> = (screen, value) => {
  const summary = value.recovery_summary
  const byType = rows(screen, Object.entries(value.recovery_by_type), "", [
    ["type", ([type]) => type],
    ["successful", ([, { successful }]) => successful],
    ["of", ([, { total }]) => total]
  ])
  const numbers = fields(screen, {
    total: summary.total_recoveries,
    successful: summary.successful_recoveries,
    failed: summary.failed_recoveries,
    "in progress": summary.in_progress_recoveries,
    "success rate": `${summary.success_rate.toFixed(2)} %`
  })
  return joined([
    section(screen, "Recoveries", numbers),
    section(screen, "By type", byType),
    section(screen, "Latest", recoveries(screen, value.recent_recoveries)),
    section(screen, "Checkpoints", checkpoints(screen, value.checkpoint_status))
  ])
}

export const recovery: View<"Recovery"> = (screen, value) => {
  const { completedAt, error, failure, id, progress, reason, run, startedAt, status, target, type, validation } = value
  const [started, ended] = [time(startedAt), time(completedAt)]
  return joined([
    fields(screen, { recovery: id, type, status, failure, run, target, reason, started, ended, error }),
    rows(screen, progress, "", ["step", "status", "detail"]),
    [...(validation?.errors ?? []), ...(validation?.warnings ?? [])].map(plain).join("\n")
  ])
}

/** What a recovery would do. */
export const plan: View<"Plan"> = (screen, value) => {
  const { by, checkpoint, compensates, failure, fix, limit, point, reason, removes, run, type, validation } = value
  const success = value.estimatedSuccess === undefined ? undefined : percent(value.estimatedSuccess)
  return joined([
    fields(screen, {
      type,
      why: reason,
      success,
      failure,
      run,
      workflow: value.workflow,
      "carried out by": by === "action" ? `the action ${type} of the manager` : undefined,
      "goes back to": point ?? (checkpoint && `checkpoint "${checkpoint.name}" (${checkpoint.id})`),
      saved: time(checkpoint?.at),
      "is valid": validation && (validation.is_valid ? "yes" : "no: the recovery would fail before it changes the run"),
      compensates: compensates.join(", "),
      [type === "rollback" ? "removes" : "runs again"]: removes.join(", "),
      fix: fix === undefined ? undefined : `for ${fix}`,
      limit
    }),
    [...(validation?.errors ?? []), ...(validation?.warnings ?? [])].map(plain).join("\n"),
    rows(screen, value.steps, "", [["steps", (step) => step]]),
    "Nothing was changed."
  ])
}

export const failures: View<"Failures"> = (screen, all) =>
  rows(screen, all, "no failures", [
    ["failure", ({ id }) => id],
    "status",
    "category",
    "severity",
    "run",
    ["detected", ({ detectedAt }) => time(detectedAt)],
    "message"
  ])

export const failure: View<"Failure"> = (screen, value) => {
  const { category, detectedAt, id, labels, message, resolvedBy, retries, run, severity, status, step } = value
  return fields(screen, {
    failure: id,
    status,
    category,
    severity,
    run,
    step,
    detected: time(detectedAt),
    retries,
    "resolved by": resolvedBy,
    labels: pairs(labels),
    message
  })
}

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

/** Why a run does not advance, or how it ended. */
const aboutRun = ({ cancelling, failure, hold, waiting }: Item<"Runs">): string => {
  if (failure !== null) return failed(failure)
  if (hold !== null) return `on hold: ${hold.reason}`
  return cancelling === null ? waiting.map(({ about }) => about).join(", ") : `to be cancelled: ${cancelling.reason}`
}

const noFailure = { message: "", tag: undefined }

const failed = ({ message, tag }: NonNullable<Item<"Runs">["failure"]>): string =>
  tag === undefined || message.startsWith(tag) ? message : `${tag}: ${message}`

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
    error: failure === null ? "" : failed(failure),
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
    owner,
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
      ["failure", ({ history }) => failed(history.findLast(({ failure }) => failure !== null)?.failure ?? noFailure)]
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
    ...value.waiting
      .filter(({ kind }) => kind !== "sleep")
      .map((wait) => section(screen, "Waits for", waitingFor(screen, value.id, wait)))
  ])

/** What a run waits for, and the command that sends it. */
const waitingFor = (screen: Screen, run: string, wait: Value<"Run">["waiting"][number]): string => {
  const { about, fault, id, parameters, refused, schema, signal, to } = wait
  const which = signal?.id === undefined ? "" : ` --id ${quoted(signal.id)}`
  const send =
    signal === undefined
      ? `recovery resolve --run-id ${quoted(run)} --question ${quoted(id)} --answer retry|skip|abort|value`
      : `recovery signal ${quoted(run)} ${quoted(signal.name)} JSON${which}`
  return fields(screen, {
    [signal === undefined ? "question" : "signal"]: about,
    to,
    failure: fault === null ? "" : `${fault.category}: ${fault.message}`,
    parameters: parameters.join(" "),
    "refused answer": refused,
    value: schema === undefined ? "" : JSON.stringify(schema),
    send
  })
}

/** A word of a shell's command. */
const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)

export const queues: View<"Queues"> = (screen, all) =>
  rows(screen, all, "no open runs in queues", [
    "queue",
    "running",
    ["due", ({ due }) => due],
    "waiting",
    ["oldest since", ({ oldest }) => time(oldest)]
  ])

export const schedules: View<"Schedules"> = (screen, all) =>
  rows(screen, all, "no schedules: a schedule is listed once a worker has it", [
    ["schedule", ({ name }) => name],
    "workflow",
    ["rule", ({ rule }) => ("cron" in rule ? `${rule.cron} ${rule.timeZone}` : `every ${millis(rule.everyMillis)}`)],
    ["next due", ({ nextDue, paused }) => (paused === null ? time(nextDue) : "paused")],
    ["latest run", ({ last }) => last?.run],
    [
      "about",
      ({ paused, waiting }) =>
        [paused?.reason, waiting.length > 0 && `${waiting.length} wait`].filter(Boolean).join(", ")
    ]
  ])

export const suggestions: View<"Suggest"> = (screen, all) =>
  rows(screen, all, "no suggestions", [
    "strategy",
    ["confidence", ({ confidence }) => percent(confidence)],
    ["success", ({ estimatedSuccess }) => percent(estimatedSuccess)],
    "cases",
    ["parameters", ({ parameters }) => pairs(parameters)],
    "reason"
  ])

const rates = (screen: Screen, title: string, all: Value<"Statistics">["byStrategy"]): string =>
  section(
    screen,
    title,
    rows(screen, Object.entries(all), "", [
      ["", ([name]) => name],
      ["successful", ([, { successful }]) => successful],
      ["of", ([, { total }]) => total],
      ["rate", ([, { successRate }]) => percent(successRate)]
    ])
  )

/** The numbers of an overview, side by side. */
export const summary: View<"Overview"> = (screen, { dashboard, statistics }) => {
  const { in_progress_recoveries: inProgress, success_rate: rate, total_recoveries: total } = dashboard.recovery_summary
  const { health, openFailures, timeToRecover, trend } = statistics
  const parts = [
    `health ${health}`,
    `trend ${trend}`,
    `recoveries ${total}`,
    `success ${rate.toFixed(2)} %`,
    `in progress ${inProgress}`,
    `open failures ${openFailures}`,
    ...(timeToRecover === null ? [] : [`time to recover ${millis(timeToRecover.mean)}`])
  ]
  return paragraph(parts.map(plain), "   ", screen.width)
}

/** Puts as many parts on each line as fit. */
const paragraph = (parts: ReadonlyArray<string>, separator: string, width: number | undefined): string => {
  const lines: Array<string> = []
  for (const part of parts) {
    const last = lines.at(-1)
    const longer = last === undefined ? part : last + separator + part
    if (last !== undefined && (width === undefined || widthOf(longer) <= width)) lines[lines.length - 1] = longer
    else lines.push(part)
  }
  return lines.join("\n")
}

export const questions = (screen: Screen, all: Value<"Overview">["questions"]): string =>
  rows(screen, all, "no questions", [
    "run",
    ["question", ({ id }) => id],
    ["asked", ({ since }) => time(since)],
    ["for", ({ to }) => to],
    "about"
  ])

export const statistics: View<"Statistics"> = (screen, value) => {
  const { health, recoveries, timeToRecover, trend } = value
  const { mean, p95 } = timeToRecover ?? { mean: null, p95: null }
  const numbers = fields(screen, {
    health,
    trend,
    failures: value.failures,
    open: value.openFailures,
    recoveries: recoveries.total,
    "success rate": percent(recoveries.successRate),
    "time to recover": mean === null ? "" : `${millis(mean)}, 95 % within ${millis(p95)}`
  })
  const frequent = rows(screen, value.frequentErrors, "", [
    ["fingerprint", ({ name }) => name],
    ["failures", ({ count }) => count]
  ])
  const retried = rows(screen, value.mostRetried, "", [
    "step",
    "retries",
    "successful",
    ["mean delay", ({ meanDelay }) => millis(meanDelay)]
  ])
  const steps = rows(screen, value.steps, "", [
    "step",
    ["times", ({ count }) => count],
    ["mean", ({ mean }) => millis(mean)],
    ["p50", ({ p50 }) => millis(p50)],
    ["p95", ({ p95 }) => millis(p95)]
  ])
  return joined([
    numbers,
    rates(screen, "By strategy", value.byStrategy),
    section(screen, "Most frequent", frequent),
    section(screen, "Most retried", retried),
    section(screen, "Steps with the longest total time", steps)
  ])
}

export const period: View<"Period"> = (screen, { affected, byCategory, byStrategy, recoveries }) =>
  joined([
    fields(screen, {
      recoveries: recoveries.total,
      successful: recoveries.successful,
      "success rate": percent(recoveries.successRate),
      affected
    }),
    rates(screen, "By strategy", byStrategy),
    rates(screen, "By category", byCategory)
  ])

export const health: View<"Health"> = (screen, { checks, runs }) =>
  joined([
    rows(screen, checks, "", [
      ["check", ({ name }) => name],
      "status",
      "message",
      ["about", ({ about }) => about.join(" ")]
    ]),
    section(
      screen,
      "Runs",
      rows(screen, runs, "no runs", ["workflow", "status", "runs", ["newest", ({ newest }) => time(newest)]])
    )
  ])

const pattern = (screen: Screen, { category, count, example, failures, resolutions, words }: Item<"Patterns">) => {
  const advice = resolutions.map((text, i) => [i === 0 ? "to do" : "", text] as const)
  const lines = [["example", example], ["newest", failures.slice(0, 3).join(" ")], ...advice] as const
  return section(screen, plain(`${count} of ${category}: ${words.join(", ")}`), record(screen, lines))
}

export const patterns: View<"Patterns"> = (screen, all) =>
  all.length === 0 ? "no patterns" : joined(all.map((one) => pattern(screen, one)))

export const tuning: View<"Tune"> = (screen, { attemptTimeout, cases, proposal, retries, step, successRate }) =>
  joined([
    fields(screen, { step, cases, "success rate": percent(successRate), timeout: millis(attemptTimeout) }),
    rows(screen, retries, "", [
      "retry",
      "successful",
      ["of", ({ total }) => total],
      ["after", ({ delay }) => millis(delay)]
    ]),
    proposal === null
      ? "too few cases for a proposal"
      : section(
          screen,
          "Proposal",
          fields(screen, {
            policy: pairs(proposal.policy),
            success: percent(proposal.estimatedSuccess),
            why: proposal.reason
          })
        )
  ])

export const escalations: View<"Escalations"> = (screen, all) =>
  rows(screen, all, "no escalations", [
    ["escalation", ({ id }) => id],
    "level",
    "status",
    ["raised", ({ raisedAt }) => time(raisedAt)],
    ["by", ({ acknowledgedBy, resolvedBy }) => resolvedBy ?? acknowledgedBy],
    "message"
  ])

export const check: View<"Check"> = (screen, { checkpoints, findings, lines, records, runs }) =>
  joined([
    rows(screen, findings, "nothing is damaged", ["run", "what", "problem", "advice"]),
    `checked ${runs} runs, ${lines} lines, ${checkpoints} checkpoints and ${records} records`
  ])

export const locks: View<"Locks"> = (screen, all) => rows(screen, all, "no locks", ["lock", "state", "token", "owner"])

export const validity: View<"ValidateCheckpoint"> = (screen, { errors, is_valid: isValid, warnings }) =>
  [
    bold(screen, isValid ? "valid" : "not valid"),
    ...errors.map((error) => `error    ${plain(error)}`),
    ...warnings.map((warning) => `warning  ${plain(warning)}`)
  ].join("\n")

export const cleanup: View<"Cleanup"> = fields
