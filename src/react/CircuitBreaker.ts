/**
 * A circuit breaker stops calling what keeps failing, and lets a few calls
 * through now and then to see whether it has recovered.
 *
 * It has no timers: its state moves on when it is asked.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Fault from "./Fault.js"
import { Breaker } from "./internal/breaker.js"
import { millis, number } from "./internal/policy.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~effect-recovery/CircuitBreaker"
/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~effect-recovery/CircuitBreaker"

/**
 * @since 0.1.0
 * @category models
 */
export interface CircuitBreaker {
  readonly [TypeId]: TypeId
  readonly name: string
  /** How it stands, without moving it. */
  readonly snapshot: Effect.Effect<Snapshot>
  /** Refuses every call until `reset`. */
  readonly isolate: Effect.Effect<void>
  /** Closes it and forgets what it counted. */
  readonly reset: Effect.Effect<void>
  /** @internal */
  readonly breaker: Breaker
}

/**
 * - `closed`: calls pass, failures are counted
 * - `open`: calls are refused until the reset time is over
 * - `half-open`: as many calls as there are probes pass, the rest is refused
 * - `isolated`: calls are refused until somebody resets it
 *
 * @since 0.1.0
 * @category models
 */
export type State = "closed" | "open" | "half-open" | "isolated"

/**
 * @since 0.1.0
 * @category models
 */
export interface Snapshot {
  readonly state: State
  /** In a row, up to now. */
  readonly failures: number
  /** When an open breaker lets probes through, epoch milliseconds. */
  readonly retryAt: number | undefined
}

/**
 * The breaker refused the call; it was not made.
 *
 * @since 0.1.0
 * @category errors
 */
export class CircuitOpen extends Data.TaggedError("CircuitOpen")<{
  /** Its name. */
  readonly breaker: string
  /** Until the next call has a chance. */
  readonly retryAfter: Duration.Duration
}> {
  override get message(): string {
    return `The circuit breaker "${this.breaker}" is open; try again in ${Duration.format(this.retryAfter)}.`
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly name: string
  /** Failures in a row that open it. Defaults to 5. */
  readonly failures?: number | undefined
  /** How long it stays open. Defaults to 300 seconds. */
  readonly resetAfter?: Duration.DurationInput | undefined
  /** Calls let through at once while half-open; all of them must succeed. Defaults to 1. */
  readonly probes?: number | undefined
  /**
   * Which faults count. Defaults to transient ones: a failure nothing is known
   * of does not count, so declare your errors, give rules, or count them all
   * with `() => true`. Interruption never counts.
   */
  readonly counts?: ((fault: Fault.Fault) => boolean) | undefined
}

/**
 * Makes a breaker; an option that makes no sense is a defect that names it.
 * Keep it where all callers of the protected system share
 * it, such as in a Layer.
 *
 * @example
 * ```ts
 * import { CircuitBreaker, RetryPolicy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const breaker = yield* CircuitBreaker.make({ name: "rates", failures: 3, resetAfter: "30 seconds" })
 *   const rates = Effect.succeed(1.08)
 *   // Asked before every attempt.
 *   return yield* rates.pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(RetryPolicy.exponential()))
 * })
 * Effect.runPromise(program).then(console.log) // 1.08
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<CircuitBreaker> =>
  Effect.map(Effect.clock, (clock) => {
    const breaker = new Breaker(clock, {
      failures: number("failures", options.failures ?? 5, 1),
      resetMillis: millis("resetAfter", options.resetAfter ?? "300 seconds"),
      probes: number("probes", options.probes ?? 1, 1),
      counts: options.counts ?? ((fault) => fault.transient)
    })
    return {
      [TypeId]: TypeId,
      name: options.name,
      breaker,
      snapshot: Effect.sync(() => breaker.snapshot()),
      isolate: Effect.sync(() => breaker.isolate()),
      reset: Effect.sync(() => breaker.reset())
    }
  })

/**
 * Runs the effect if the breaker lets it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const protect: {
  (breaker: CircuitBreaker): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, breaker: CircuitBreaker): Effect.Effect<A, E | CircuitOpen, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, { breaker, name }: CircuitBreaker): Effect.Effect<A, E | CircuitOpen, R> => {
    const refuse = Effect.suspend(() =>
      Effect.fail(new CircuitOpen({ breaker: name, retryAfter: Duration.millis(breaker.waitMillis()) }))
    )
    return breaker.protect(self, refuse)
  }
)
