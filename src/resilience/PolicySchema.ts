/**
 * Schemas of what policies hand out: the state of a breaker, and the errors of
 * refused calls, for the errors of a durable step and for other processes.
 *
 * They have a module of their own, so that a program that only protects calls
 * does not contain `effect/Schema`.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { State } from "./CircuitBreaker.js"
import * as Refusal from "./Refusal.js"

/**
 * The state of a circuit breaker.
 *
 * @since 0.1.0
 * @category breakers
 */
export const BreakerState: Schema.Schema<State> = Schema.Literal("closed", "open", "half-open", "isolated")

/**
 * `CircuitBreaker.Snapshot`, to keep it across restarts.
 *
 * @example
 * ```ts
 * import { CircuitBreaker, PolicySchema } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const breaker = yield* CircuitBreaker.make({ name: "rates" })
 *   const text = yield* Schema.encode(Schema.parseJson(PolicySchema.BreakerSnapshot))(yield* breaker.snapshot)
 *   const restore = yield* Schema.decode(Schema.parseJson(PolicySchema.BreakerSnapshot))(text)
 *   return (yield* CircuitBreaker.make({ name: "rates", restore })).name
 * })
 * Effect.runPromise(program).then(console.log) // rates
 * ```
 *
 * @since 0.1.0
 * @category breakers
 */
export const BreakerSnapshot = Schema.Struct({
  state: BreakerState,
  openings: Schema.Number,
  retryAt: Schema.optional(Schema.Number),
  window: Schema.Struct({ calls: Schema.Number, failures: Schema.Number, slow: Schema.Number }),
  memory: Schema.Array(Schema.Number)
})

const circuitOpen = Schema.TaggedStruct("CircuitOpen", {
  breaker: Schema.String,
  state: Schema.Literal("open", "half-open", "isolated"),
  retryAfter: Schema.DurationFromMillis
})

const bulkheadFull = Schema.TaggedStruct("BulkheadFull", {
  bulkhead: Schema.String,
  maxConcurrent: Schema.Number,
  maxQueue: Schema.Number
})

/**
 * The error of a call that a circuit breaker refused.
 *
 * @since 0.1.0
 * @category errors
 */
export const CircuitOpen: Schema.Schema<Refusal.CircuitOpen, typeof circuitOpen.Encoded> = Schema.transform(
  circuitOpen,
  Schema.declare((input): input is Refusal.CircuitOpen => input instanceof Refusal.CircuitOpen),
  { strict: true, decode: (fields) => new Refusal.CircuitOpen(fields), encode: (error) => error }
)

/**
 * The error of a call that a bulkhead refused.
 *
 * @since 0.1.0
 * @category errors
 */
export const BulkheadFull: Schema.Schema<Refusal.BulkheadFull, typeof bulkheadFull.Encoded> = Schema.transform(
  bulkheadFull,
  Schema.declare((input): input is Refusal.BulkheadFull => input instanceof Refusal.BulkheadFull),
  { strict: true, decode: (fields) => new Refusal.BulkheadFull(fields), encode: (error) => error }
)
