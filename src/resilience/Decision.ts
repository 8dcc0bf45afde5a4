/**
 * What a strategy answers to a failure. However many strategies there are,
 * these are all the decisions the library knows how to perform.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { toMillis } from "./internal/kernel/timer.js"
import type { RetryBudget } from "./RetryBudget.js"

/**
 * `A` is what may stand in for the result, `E` how it can end in failure, `R`
 * what it needs.
 *
 * @since 0.1.0
 * @category models
 */
export type Decision<A = never, E = never, R = never> =
  | Again<A, E, R>
  | Instead<A, E, R>
  | Rewind<A, E, R>
  | HandOver<A, E, R>
  | GiveUp

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
  /** What to change before the attempt, such as parameters; put on record with the decision. */
  readonly patch?: Effect.Effect<void, never, R> | undefined
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
 * Compensate and forget everything a run has done after a point, then run on
 * from there. Needs a run around it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rewind<out A = never, out E = never, out R = never> {
  readonly _tag: "Rewind"
  /** Begins the rewind: the run is left, and comes back by way of its journal. */
  readonly begin: Effect.Effect<never, never, R>
  /** Which strategy of a sequence has decided. */
  readonly by?: string | undefined
  /** What to decide if the bounds of the recovery do not allow it; without it the recovery is exhausted. */
  readonly otherwise?: Effect.Effect<Decision<A, E, R>, never, R>
}

/**
 * Stop, durably, until a person or another system answers. Needs a run around
 * it.
 *
 * @since 0.1.0
 * @category models
 */
export interface HandOver<out A = never, out E = never, out R = never> {
  readonly _tag: "HandOver"
  readonly question: string
  /** Asks, waits, and makes a decision of the answer. */
  readonly ask: Effect.Effect<Decision<A, E, R>, never, R>
  /** Which strategy of a sequence has decided. */
  readonly by?: string | undefined
}

/**
 * Where a run can be rewound to:
 *
 * - `Start`: its very beginning
 * - `Step`: just before the latest use of a step, by name or by key
 * - `Iteration`: the start of the innermost `Workflow.section` with a number
 * - `Transaction`: the start of the innermost transaction
 * - `Checkpoint`: just after the newest checkpoint, of this name or with this id if one is given
 *
 * @since 0.1.0
 * @category models
 */
export type Point =
  | { readonly _tag: "Start" }
  | { readonly _tag: "Step"; readonly step: string }
  | { readonly _tag: "Iteration" }
  | { readonly _tag: "Transaction" }
  | {
      readonly _tag: "Checkpoint"
      readonly name?: string | undefined
      /** Only this one. */
      readonly id?: string | undefined
      /** Pass over those that do not pass their checks. */
      readonly valid?: boolean | undefined
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
