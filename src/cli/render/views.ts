import type { Value } from "../../operate/OperatorRequests.js"
import { fields, type Item, joined, millis, pairs, percent, rows, section, time, type View } from "./parts.js"
import { bold, plain, type Screen } from "./screen.js"
import { record } from "./terminal.js"
import { paragraph } from "./width.js"

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
    ["failures", ({ count }) => count],
    ["error", ({ message, name }) => message ?? `none of the newest failures (${name})`]
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
