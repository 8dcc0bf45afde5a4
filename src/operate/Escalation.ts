/**
 * Escalations: rules that raise one when failures are many, records of those
 * that were raised, and sinks that are notified.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { durationText } from "../resilience/DurationText.js"
import { logged } from "../resilience/internal/kernel/logged.js"
import { millis, whole } from "../resilience/internal/kernel/options.js"
import { longSleep } from "../resilience/internal/kernel/timer.js"
import * as Storage from "../storage/Storage.js"
import { EscalationRecord, type Level } from "./EscalationRecord.js"
import type { FailureRecord } from "./FailureRecord.js"
import { listEscalations } from "./internal/records/queries.js"
import { type EscalationDetails, escalations, failures, type Stored } from "./internal/records/records.js"
import { redactBody } from "./internal/records/redacted.js"
import type { EscalationNotFound, InvalidRequest, RecordDamaged } from "./OperateError.js"
import * as Webhook from "./Webhook.js"

/**
 * When to escalate: once a group has at least `threshold` open failures within
 * the `window`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rule {
  readonly name: string
  /** The group of a failure. Failures with an empty group are not counted. */
  readonly group: (failure: FailureRecord) => string
  /** At least 1. */
  readonly threshold: number
  /** At least 1 millisecond. */
  readonly window: Duration.DurationInput
  /** How long an unresolved escalation suppresses further ones of its group; 0 suppresses none. */
  readonly cooldown: Duration.DurationInput
  readonly level: (failures: ReadonlyArray<FailureRecord>) => Level
}

/**
 * A rule with these defaults: 5 open failures of one category and label `job`
 * within a day, with a cooldown of 6 hours. The level is `critical` if one of
 * the failures is critical, `human` if one is of high severity or was retried
 * twice, else `agent`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const rule = (options: Partial<Rule> = {}): Rule =>
  checkRule({
    name: "repeated",
    group: ({ category, labels }) => (labels.job === undefined ? category : `${category} ${labels.job}`),
    threshold: 5,
    window: "1 day",
    cooldown: "6 hours",
    level: byWorst,
    ...options
  })

/** The rule with its durations in milliseconds. */
const checkRule = (given: Rule): CheckedRule => ({
  ...given,
  threshold: whole("threshold", given.threshold, 1),
  window: millis("window", given.window, 1),
  cooldown: millis("cooldown", given.cooldown)
})

type CheckedRule = Rule & { readonly window: number; readonly cooldown: number }

const byWorst = (failures: ReadonlyArray<FailureRecord>): Level => {
  if (failures.some(({ severity }) => severity === "critical")) return "critical"
  return failures.some(({ retries, severity }) => severity === "high" || retries >= 2) ? "human" : "agent"
}

/**
 * Notified of each escalation after it is recorded. An error of a sink is
 * logged.
 *
 * @since 0.1.0
 * @category models
 */
export type Sink = (escalation: EscalationRecord) => Effect.Effect<unknown, unknown>

/**
 * Logs each escalation as a warning.
 *
 * @since 0.1.0
 * @category sinks
 */
export const log: Sink = ({ failures, group, id, level, message }) =>
  Effect.logWarning(message).pipe(Effect.annotateLogs({ escalation: id, level, group, failures: failures.join(" ") }))

const encode = Schema.encodeSync(Schema.parseJson(EscalationRecord))

/**
 * Posts the escalation as JSON in the form of Standard Webhooks, signed by the
 * `secret`; the receiver checks it with `Webhook.verify`. The id of the message
 * is that of the escalation. A status of 503 is retried, one of 401 is not, and
 * `Retry-After` is respected. Redirects are not followed. A wrong address or
 * secret throws `InvalidOption`.
 *
 * @example
 * ```ts
 * import { Escalation } from "effect-recovery/operate"
 * import { Redacted } from "effect"
 *
 * export const layer = Escalation.layer({
 *   sinks: [
 *     Escalation.webhook({
 *       url: "https://example.org/hooks/recovery",
 *       secret: Redacted.make("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
 *     })
 *   ]
 * })
 * ```
 *
 * @since 0.1.0
 * @category sinks
 */
export const webhook = (options: Webhook.Options): Sink => {
  const post = Webhook.make(options)
  // Fields that the program's own rules wrote were never redacted.
  return (escalation) => Effect.flatMap(redactBody(encode(escalation)), (body) => post({ id: escalation.id, body }))
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Defaults to one {@link rule} without options. */
  readonly rules?: ReadonlyArray<Rule> | undefined
  /** Defaults to {@link log}. */
  readonly sinks?: ReadonlyArray<Sink> | undefined
  /** The time between two checks, at least 1 millisecond. Defaults to 1 minute. */
  readonly interval?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** Checks the rules now, notifies the sinks, and returns the escalations that were raised. */
  readonly check: Effect.Effect<ReadonlyArray<EscalationRecord>, InvalidRequest | RecordDamaged | Storage.StorageError>
}

/**
 * @since 0.1.0
 * @category services
 */
export class Escalation extends Context.Tag("effect-recovery/Escalation")<Escalation, Service>() {}

/**
 * Checks the open failures at an interval, and raises escalations by the rules.
 * Any number of processes may do so: each escalation is raised once, and the
 * process that raises it notifies its own sinks.
 *
 * @example
 * ```ts
 * import { Storage } from "effect-recovery"
 * import { Escalation, RecoveryManager } from "effect-recovery/operate"
 * import { Effect, Layer } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   for (let i = 0; i < 3; i++) yield* RecoveryManager.report(new Error("disk full"))
 *   const escalation = yield* Escalation.Escalation
 *   const raised = yield* escalation.check
 *   return raised.map(({ level, failures }) => `${level}: ${failures.length}`)
 * })
 *
 * const layer = Escalation.layer({ rules: [Escalation.rule({ threshold: 3 })], sinks: [] })
 * program.pipe(
 *   Effect.provide(layer.pipe(Layer.provideMerge(Storage.layerMemory))),
 *   Effect.runPromise
 * ).then(console.log) // [ 'human: 3' ]
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Escalation, never, Storage.Storage> => {
  const { sinks = [log] } = options
  const rules = (options.rules ?? [rule()]).map(checkRule)
  const interval = millis("interval", options.interval ?? "1 minute", 1)
  return Layer.scoped(
    Escalation,
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const check = Effect.tap(Effect.provideService(raise(rules), Storage.Storage, storage), (raised) =>
        Effect.forEach(raised, (escalation) => notify(sinks, escalation), { concurrency: "unbounded", discard: true })
      )
      const message = "the escalation rules could not be checked; the next check follows after the interval"
      const checking = logged(check, message)
      yield* Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.zipRight(longSleep(interval), checking))))
      return { check }
    })
  )
}

const notify = (sinks: ReadonlyArray<Sink>, escalation: EscalationRecord) =>
  Effect.forEach(
    sinks,
    (sink) =>
      logged(
        Effect.suspend(() => sink(escalation)),
        `a sink failed for escalation ${escalation.id}`
      ),
    { concurrency: "unbounded", discard: true }
  )

/**
 * Lists escalations, newest first.
 *
 * @since 0.1.0
 * @category reading
 */
export const list = (
  query: {
    readonly status?: EscalationRecord["status"] | undefined
    /** The most that are returned: 0 for none, `Infinity` for all. Defaults to 100. */
    readonly limit?: number | undefined
  } = {}
): Effect.Effect<
  ReadonlyArray<EscalationRecord>,
  InvalidRequest | RecordDamaged | Storage.StorageError,
  Storage.Storage
> => listEscalations(query)

/**
 * Marks an escalation as acknowledged. A resolved escalation stays unchanged.
 *
 * @since 0.1.0
 * @category recording
 */
export const acknowledge = (
  id: string,
  by: string
): Effect.Effect<
  EscalationRecord,
  EscalationNotFound | InvalidRequest | RecordDamaged | Storage.StorageError,
  Storage.Storage
> => updateEscalation(id, "acknowledged", { acknowledgedBy: by })

/**
 * Resolves an escalation. Failures from before raise no further one.
 *
 * @since 0.1.0
 * @category recording
 */
export const resolve = (
  id: string,
  by: string,
  note?: string
): Effect.Effect<
  EscalationRecord,
  EscalationNotFound | InvalidRequest | RecordDamaged | Storage.StorageError,
  Storage.Storage
> => updateEscalation(id, "resolved", { resolvedBy: by, note })

/** Acknowledges or resolves an escalation. A resolved one stays unchanged. */
const updateEscalation = (
  id: string,
  status: "acknowledged" | "resolved",
  details: Pick<EscalationDetails, "acknowledgedBy" | "resolvedBy" | "note">
) =>
  Effect.flatMap(
    escalations.update(id, (found) =>
      found.status === "resolved" ? undefined : { status, details: { ...found.details, ...details } }
    ),
    escalations.orNotFound(id)
  )

/** Raises the escalations the rules ask for, and returns those that this call raised. */
const raise = (rules: ReadonlyArray<CheckedRule>) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const now = yield* storage.now
    // All within the longest window: many failures of one group must not hide those of another.
    const open = yield* failures.listSince({ status: "open" }, now - Math.max(...rules.map(({ window }) => window)))
    const raised: Array<EscalationRecord> = []
    for (const rule of rules) {
      // A time of the far future is of a clock that was ahead: its age is unknown.
      const recent = open.filter(({ detectedAt }) => Math.abs(now - detectedAt.getTime()) < rule.window)
      for (const [group, members] of Object.entries(Arr.groupBy(recent, rule.group))) {
        // Checked before the storage is read for the group.
        if (group === "" || members.length < rule.threshold) continue
        const written = yield* raiseFor(rule, group, members, now)
        if (Option.isSome(written)) raised.push(escalations.toRecord(written.value))
      }
    }
    return raised
  })

/** Raises no escalation while the last one of the group is in its cooldown. */
const raiseFor = (rule: CheckedRule, group: string, recent: ReadonlyArray<FailureRecord>, now: number) =>
  Effect.gen(function* () {
    const subject = JSON.stringify([rule.name, group])
    const [last] = yield* escalations.listStored({ subject, limit: 1 })
    const members = newSince(last, recent)
    const [newest] = members
    if (newest === undefined || members.length < rule.threshold || isCoolingDown(last, rule, now)) return Option.none()
    const details: EscalationDetails = {
      rule: rule.name,
      group,
      level: rule.level(members),
      message: `${members.length} failures of ${group} within ${durationText(rule.window)}, such as: ${newest.message}`,
      failures: members.map(({ id }) => id),
      categories: Arr.dedupe(members.map(({ category }) => category)),
      severities: Arr.dedupe(members.map(({ severity }) => severity))
    }
    // Processes that see the same failures compute the same id, and one of their inserts succeeds.
    const id = `escalation_${(Hash.string(subject) >>> 0).toString(36)}_${(last?.key ?? 0) + 1}`
    return yield* escalations.write({ id, subject, status: "open", labels: commonLabels(members), details }, [])
  })

/** Failures from before a resolved escalation raise no further one, although they may still be open. */
const newSince = (last: Stored<EscalationDetails> | undefined, recent: ReadonlyArray<FailureRecord>) =>
  last?.status === "resolved" ? recent.filter(({ detectedAt }) => detectedAt.getTime() > last.updatedAt) : recent

const isCoolingDown = (last: Stored<EscalationDetails> | undefined, { cooldown }: CheckedRule, now: number): boolean =>
  last !== undefined && last.status !== "resolved" && Math.abs(now - last.at) < cooldown

/** The labels on which all failures agree. */
const commonLabels = (members: ReadonlyArray<FailureRecord>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(members[0]?.labels ?? {}).filter(([name, value]) =>
      members.every(({ labels }) => labels[name] === value)
    )
  )
