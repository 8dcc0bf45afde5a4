/**
 * The state changes of circuit breakers as streams. They have a module of their
 * own, so that a program that does not watch its breakers contains no streams.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Change, CircuitBreaker, Keyed } from "./CircuitBreaker.js"
import { subscription } from "./internal/kernel/subscription.js"

/**
 * State changes of a breaker, or of all keys of a group, from this effect on
 * until its scope closes.
 *
 * @example
 * ```ts
 * import { BreakerChanges, CircuitBreaker } from "effect-recovery"
 * import { Effect, Stream } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const breaker = yield* CircuitBreaker.make({ name: "rates" })
 *   const changes = yield* BreakerChanges.subscribe(breaker)
 *   yield* breaker.isolate
 *   return yield* Stream.runCollect(Stream.take(changes, 1))
 * })
 * Effect.runPromise(Effect.scoped(program)).then((seen) => console.log([...seen].map(({ to }) => to))) // [ 'isolated' ]
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const subscribe = (watched: CircuitBreaker | Keyed): Effect.Effect<Stream.Stream<Change>, never, Scope.Scope> =>
  subscription(watched.feed, Queue.unbounded<Change>())

/**
 * State changes of a breaker, or of all keys of a group, from the start of the
 * stream; see {@link subscribe}.
 *
 * @since 0.1.0
 * @category reading
 */
export const stream = (watched: CircuitBreaker | Keyed): Stream.Stream<Change> =>
  Stream.unwrapScoped(subscribe(watched))
