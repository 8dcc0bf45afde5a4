/**
 * When failures are many, somebody should look at them: rules that call for
 * it, records of what was called for, and who is told.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Storage from "../storage/Storage.js"
import { EscalationRecord, type Level } from "./EscalationRecord.js"
import type { FailureRecord } from "./FailureRecord.js"
import { raise, updateEscalation } from "./internal/escalate/escalate.js"
import { post } from "./internal/escalate/webhook.js"
import { escalations } from "./internal/records/records.js"
import type { EscalationNotFound, RecordDamaged } from "./OperateError.js"

/**
 * When to escalate. Open failures of one group are counted over the window.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rule {
  readonly name: string
  /** What failures have in common that count together; empty for one that does not count. */
  readonly group: (failure: FailureRecord) => string
  readonly threshold: number
  readonly window: Duration.DurationInput
  /** For how long an escalation that is not resolved stands for those that follow. */
  readonly cooldown: Duration.DurationInput
  readonly level: (failures: ReadonlyArray<FailureRecord>) => Level
}

/**
 * A rule with seed 001's numbers, unless it says otherwise: 5 open failures of
 * one category and job within a day, again after 6 hours. `critical` if one of
 * them is, `human` if one is `high` or was retried twice, else `agent`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const rule = (options: Partial<Rule> = {}): Rule => ({
  name: "repeated",
  group: ({ category, labels }) => (labels.job === undefined ? category : `${category} ${labels.job}`),
  threshold: 5,
  window: "1 day",
  cooldown: "6 hours",
  level: byWorst,
  ...options
})

const byWorst = (failures: ReadonlyArray<FailureRecord>): Level => {
  if (failures.some(({ severity }) => severity === "critical")) return "critical"
  return failures.some(({ retries, severity }) => severity === "high" || retries >= 2) ? "human" : "agent"
}

/**
 * Who is told of an escalation. What it fails with is logged; the escalation is
 * on record all the same.
 *
 * @since 0.1.0
 * @category models
 */
export type Sink = (escalation: EscalationRecord) => Effect.Effect<unknown, unknown>

/**
 * Tells the log.
 *
 * @since 0.1.0
 * @category sinks
 */
export const log: Sink = ({ failures, group, id, level, message }) =>
  Effect.logWarning(message).pipe(Effect.annotateLogs({ escalation: id, level, group, failures: failures.join(" ") }))

const encode = Schema.encodeSync(Schema.parseJson(EscalationRecord))

/**
 * Posts the escalation as JSON. With a secret it is signed: the header
 * `x-recovery-signature` is `sha256=` and the HMAC-SHA256 of the body. Tried
 * again as failures of their kind are: a server in trouble is, one that refuses
 * is not. Redirects are not followed. An attempt takes 10 seconds at most,
 * unless it says otherwise.
 *
 * @since 0.1.0
 * @category sinks
 */
export const webhook =
  (options: {
    readonly url: string
    readonly secret?: string | undefined
    readonly timeout?: Duration.DurationInput | undefined
  }): Sink =>
  (escalation) =>
    post({
      url: options.url,
      secret: options.secret,
      timeout: options.timeout ?? "10 seconds",
      body: encode(escalation)
    })

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Defaults to one {@link rule}. */
  readonly rules?: ReadonlyArray<Rule> | undefined
  /** Defaults to the {@link log}. */
  readonly sinks?: ReadonlyArray<Sink> | undefined
  /** How often it looks. Defaults to a minute. */
  readonly interval?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** Looks now, tells the sinks of what was raised, and answers with it. */
  readonly check: Effect.Effect<ReadonlyArray<EscalationRecord>, RecordDamaged | Storage.StorageError>
}

/**
 * @since 0.1.0
 * @category services
 */
export class Escalation extends Context.Tag("effect-recovery/Escalation")<Escalation, Service>() {}

/**
 * Looks at the open failures from time to time, and escalates what the rules
 * call for. Any number of processes may look: each escalation is raised once,
 * and told by whoever has raised it.
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
  const { interval = "1 minute", rules = [rule()], sinks = [log] } = options
  return Layer.scoped(
    Escalation,
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const check = Effect.tap(Effect.provideService(raise(rules), Storage.Storage, storage), (raised) =>
        Effect.forEach(raised, (escalation) => tell(sinks, escalation), { concurrency: "unbounded", discard: true })
      )
      const looking = Effect.catchAllCause(check, (cause) =>
        Effect.logWarning("effect-recovery: failures could not be looked at; it is tried again", cause)
      )
      yield* Effect.forkScoped(Effect.interruptible(Effect.schedule(looking, Schedule.spaced(interval))))
      return { check }
    })
  )
}

const tell = (sinks: ReadonlyArray<Sink>, escalation: EscalationRecord) =>
  Effect.forEach(
    sinks,
    (sink) =>
      Effect.catchAllCause(Effect.asVoid(Effect.suspend(() => sink(escalation))), (cause) =>
        Effect.logWarning(`effect-recovery: nobody was told of ${escalation.id} by one of its sinks`, cause)
      ),
    { concurrency: "unbounded", discard: true }
  )

/**
 * Escalations, newest first.
 *
 * @since 0.1.0
 * @category reading
 */
export const list = (
  query: {
    readonly status?: EscalationRecord["status"] | undefined
    /** Defaults to 100. */
    readonly limit?: number | undefined
  } = {}
): Effect.Effect<ReadonlyArray<EscalationRecord>, RecordDamaged | Storage.StorageError, Storage.Storage> =>
  escalations.list(query)

/**
 * Says that somebody looks at it. One that is resolved stays so.
 *
 * @since 0.1.0
 * @category recording
 */
export const acknowledge = (
  id: string,
  by: string
): Effect.Effect<EscalationRecord, EscalationNotFound | RecordDamaged | Storage.StorageError, Storage.Storage> =>
  updateEscalation(id, "acknowledged", { acknowledgedBy: by })

/**
 * Says that it is dealt with: failures from before it call for no other one.
 *
 * @since 0.1.0
 * @category recording
 */
export const resolve = (
  id: string,
  by: string,
  note?: string
): Effect.Effect<EscalationRecord, EscalationNotFound | RecordDamaged | Storage.StorageError, Storage.Storage> =>
  updateEscalation(id, "resolved", { resolvedBy: by, note })
