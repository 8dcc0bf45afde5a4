/**
 * What a strategy answers to a failure. However many strategies there are,
 * these are all the decisions the library knows how to perform.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { toMillis } from "./internal/retry/curve.js"
import type { RetryBudget } from "./RetryBudget.js"

/**
 * `A` is what may stand in for the result, `E` how it can end in failure, `R`
 * what it needs.
 *
 * @since 0.1.0
 * @category models
 */
export type Decision<A = never, E = never, R = never> = Again<A, E, R> | Instead<A, E, R> | GiveUp

/**
 * Run the same effect again, after a delay.
 *
 * @since 0.1.0
 * @category models
 */
export interface Again<out A = never, out E = never, out R = never> {
  readonly _tag: "Again"
  readonly delay: Duration.Duration
  /** Which strategy of a sequence has decided. */
  readonly by?: string | undefined
  /** What the attempt is paid from when it starts; if there is no token, `otherwise` is decided. */
  readonly budget?: RetryBudget | undefined
  /** What to decide if the bounds of the recovery do not allow it; without it the recovery is exhausted. */
  readonly otherwise?: Effect.Effect<Decision<A, E, R>, never, R>
}

/**
 * Run another effect in its place and take its value.
 *
 * @since 0.1.0
 * @category models
 */
export interface Instead<out A, out E, out R> {
  readonly _tag: "Instead"
  readonly effect: Effect.Effect<A, E, R>
  /** Which strategy of a sequence has decided. */
  readonly by?: string | undefined
  /** What to decide if the effect fails; without it its failure is the outcome. */
  readonly otherwise?: Effect.Effect<Decision<A, E, R>, never, R>
}

/**
 * Fail with the original error, or with `RecoveryExhausted` around it.
 *
 * @since 0.1.0
 * @category models
 */
export interface GiveUp {
  readonly _tag: "GiveUp"
  readonly exhausted: boolean
  /** Which strategy of a sequence has decided. */
  readonly by?: string | undefined
}

/**
 * Run the same effect again after a delay. One that is not a finite number,
 * such as that of a field the error does not have, counts as 60 seconds.
 *
 * @since 0.1.0
 * @category constructors
 */
export const again = (delay: Duration.DurationInput = Duration.zero): Again => {
  const given = toMillis(delay)
  return { _tag: "Again", delay: Duration.millis(Number.isFinite(given) ? Math.max(0, given) : 60_000) }
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const instead = <A, E, R>(effect: Effect.Effect<A, E, R>): Instead<A, E, R> => ({ _tag: "Instead", effect })

/**
 * The strategy has nothing left to try: fails with `RecoveryExhausted`, or
 * moves on to the next strategy of a sequence.
 *
 * @since 0.1.0
 * @category constructors
 */
export const exhausted: GiveUp = { _tag: "GiveUp", exhausted: true }

/**
 * Final: fails with the original error, whatever strategies would follow.
 *
 * @since 0.1.0
 * @category constructors
 */
export const abort: GiveUp = { _tag: "GiveUp", exhausted: false }
