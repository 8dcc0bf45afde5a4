import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as Fault from "../../../resilience/Fault.js"
import { messageOf } from "../../../resilience/Foreign.js"
import type { FailureRecord, Report } from "../../FailureRecord.js"
import { checked } from "./checked.js"
import { failureCounts, resolvedCounts } from "./counters.js"
import { type FailureDetails, failures, newId, notBefore, scopeOf, truncateMessage } from "./records.js"

export interface NewFailure extends Report {
  readonly fault: Fault.Fault
  readonly labels: Readonly<Record<string, string>>
  /** The name of the recovery, outside of runs. */
  readonly recovery?: string | undefined
}

/** Characters of a log that are stored. The end is kept, since errors are printed last. */
const storedLogLength = 5_000

const detailsOf = ({ fault, log, recovery, run, step, workflow }: NewFailure): FailureDetails => ({
  run: run === "" ? undefined : run,
  workflow,
  step,
  recovery,
  tag: Option.getOrUndefined(fault.tag),
  message: truncateMessage(fault.message),
  ...Struct.pick(fault, "category", "severity", "transient", "confidence", "fingerprint"),
  retries: 0,
  log: log?.slice(-storedLogLength)
})

/** Inserts a failure. None if the id is in use. */
export const recordFailure = (failure: NewFailure) =>
  Effect.gen(function* () {
    const { id, labels } = failure
    const at = yield* Clock.currentTimeMillis
    const details = detailsOf(failure)
    const draft = { id: id ?? (yield* newId("failure")), subject: details.run ?? "", status: "open", labels, details }
    const counts = failureCounts(scopeOf(labels), details.category, details.fingerprint, at)
    return yield* failures.write(draft, counts)
  })

/** A run that fails again keeps its open failure, with the new error. None if the failure was resolved meanwhile. */
export const updateFailure = (id: string, failure: NewFailure) =>
  Effect.map(
    failures.update(id, ({ details: { log, retries }, status }) =>
      status === "open" ? { details: { ...detailsOf(failure), log, retries } } : undefined
    ),
    Option.filter(({ status }) => status === "open")
  )

/** Records a reported failure. If the id is in use, the existing record is returned unchanged. */
export const reportFailure = (failure: unknown, given: Report = {}) =>
  Effect.gen(function* () {
    const { labels = {}, ...report } = yield* checkReport(given)
    const fault = yield* classifyWithLog(failure, report.log)
    const written = yield* recordFailure({ fault, labels, ...report })
    return Option.isSome(written) ? failures.toRecord(written.value) : yield* failures.get(report.id ?? "")
  })

const checkReport = checked(
  "report",
  Schema.Struct({
    id: Schema.optional(Schema.String),
    run: Schema.optional(Schema.String),
    workflow: Schema.optional(Schema.String),
    step: Schema.optional(Schema.String),
    labels: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String })),
    log: Schema.optional(Schema.String)
  })
)

/** The record a report would make, for a storage that cannot be written. */
export const unrecordedFailure = (failure: unknown, { labels = {}, ...report }: Report): Effect.Effect<FailureRecord> =>
  Effect.gen(function* () {
    const fault = yield* classifyWithLog(failure, report.log)
    const now = new Date(yield* Clock.currentTimeMillis)
    const details = detailsOf({ fault, labels, ...report })
    return { ...details, id: report.id ?? "unrecorded", status: "open", labels, detectedAt: now, updatedAt: now }
  })

/** Characters at the end of a log that are classified: bounds the work for long logs. */
const classifiedLogLength = 20_000

/** Classifies by the failure and its log. Message and fingerprint come from the failure, so that equal failures group. */
const classifyWithLog = (failure: unknown, log: string | undefined): Effect.Effect<Fault.Fault> => {
  if (log === undefined) return Fault.classify(failure)
  const end = log.slice(-classifiedLogLength)
  const given = typeof failure === "string" ? failure.trim() : failure
  const named = given === undefined || given === null || given === "" ? messageIn(end) : given
  const text = messageOf(named)
  return Effect.zipWith(Fault.classify(named), Fault.classify(`${text}\n${end}`), (own, whole) => ({
    ...(own.confidence >= whole.confidence && own.category !== "unknown" ? own : whole),
    message: own.message,
    fingerprint: own.fingerprint
  }))
}

const errorLike = /\b(?:error|failed|failure|fatal|exception|traceback|panic|cannot|could not|refused|denied)\b/i

/** The last of the final 100 lines that looks like an error, else the last line; at most 200 characters. */
const messageIn = (log: string): string => {
  const lines = log
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "")
  const found = Arr.findLast(lines.slice(-100), (line) => errorLike.test(line))
  return Option.getOrElse(found, () => lines.at(-1) ?? "The failure has no message and an empty log.").slice(0, 200)
}

/** Resolver of a failure whose run completed without a recovery of the manager. */
export const completedRun = "its run"

/** Resolves an open failure. A recovery or a person replaces {@link completedRun} as the resolver later. */
export const resolveFailure = (id: string, by: string) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    failures.update(
      id,
      ({ at, details, status }) => {
        const isResolved = status === "resolved"
        if (isResolved && (details.resolvedBy !== completedRun || by === completedRun)) return undefined
        const resolvedAt = isResolved ? details.resolvedAt : notBefore(new Date(at), now)
        return { status: "resolved", details: { ...details, resolvedBy: by, resolvedAt } }
      },
      ({ scope, status }) => (status === "resolved" ? [] : resolvedCounts(scope))
    )
  )

/** Resolves a failure and all other open failures of its run. */
export const resolveWithRun = ({ id, run }: Pick<FailureRecord, "id" | "run">, by: string) =>
  Effect.zipRight(resolveFailure(id, by), run === undefined ? Effect.void : resolveFailuresOf(run, by))

/** Of all its open failures, however many. A damaged record does not keep the others open. */
export const resolveFailuresOf = (run: string, by: string) =>
  Effect.flatMap(failures.listReadable({ subject: run, status: "open", limit: Number.MAX_SAFE_INTEGER }), (open) =>
    Effect.forEach(open, ({ id }) => resolveFailure(id, by), { discard: true })
  )

/** Counts one more retry on request, and returns its number. A number above the limit is not counted. */
export const countRetry = (id: string, limit: number) =>
  Effect.suspend(() => {
    let retries = 0
    const counting = failures.update(id, ({ details }) => {
      retries = details.retries + 1
      return retries > limit ? undefined : { details: { ...details, retries } }
    })
    return Effect.map(Effect.flatMap(counting, failures.orNotFound(id)), () => retries)
  })
