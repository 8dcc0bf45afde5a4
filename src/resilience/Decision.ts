/**
 * The five decisions that a strategy can make about a failure.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { millisOrNaN } from "./internal/kernel/duration.js"
import type { RetryBudget } from "./RetryBudget.js"

/**
 * A decision that may replace the result with an `A`, fail with `E` and need
 * `R`.
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
  /** The strategy of a sequence that decided. */
  readonly by?: string | undefined
  /** Runs before the attempt, for example to change parameters. A step records it together with the decision. */
  readonly patch?: Effect.Effect<void, never, R> | undefined
  /** Debited when the attempt starts. Without a token, `otherwise` decides. */
  readonly budget?: RetryBudget | undefined
  /** Decides instead if a limit of the recovery forbids the retry. Without it, the recovery is exhausted. */
  readonly otherwise?: Effect.Effect<Decision<A, E, R>, never, R>
}

/**
 * Run another effect and use its value as the result.
 *
 * @since 0.1.0
 * @category models
 */
export interface Instead<out A, out E, out R> {
  readonly _tag: "Instead"
  readonly effect: Effect.Effect<A, E, R>
  /** The strategy of a sequence that decided. */
  readonly by?: string | undefined
  /** Decides if the effect fails. Without it, the recovery fails with that failure. */
  readonly otherwise?: Effect.Effect<Decision<A, E, R>, never, R>
}

/**
 * Compensate everything that the run did after a point, then continue from the
 * point. Needs a surrounding run.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rewind<out A = never, out E = never, out R = never> {
  readonly _tag: "Rewind"
  /** Starts the rewind. The body of the run is interrupted and executed again, and replays its journal. */
  readonly begin: Effect.Effect<never, never, R>
  /** The strategy of a sequence that decided. */
  readonly by?: string | undefined
  /** Decides in a replay if the journal shows that the run was not rewound. */
  readonly otherwise?: Effect.Effect<Decision<A, E, R>, never, R>
}

/**
 * Suspend the run until a person or another system answers. Needs a surrounding
 * run.
 *
 * @since 0.1.0
 * @category models
 */
export interface HandOver<out A = never, out E = never, out R = never> {
  readonly _tag: "HandOver"
  readonly question: string
  /** Asks, waits for the answer and converts it to a decision. */
  readonly ask: Effect.Effect<Decision<A, E, R>, never, R>
  /** The strategy of a sequence that decided. */
  readonly by?: string | undefined
}

/**
 * A point that a run can be rewound to:
 *
 * - `Start`: the start of the run
 * - `Step`: just before the latest execution of a step, by name or by key
 * - `Iteration`: the start of the innermost `Workflow.section` with a number
 * - `Transaction`: the start of the innermost transaction
 * - `Checkpoint`: just after the newest checkpoint, or the newest with the given name or id
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
      /** Only the checkpoint with this id. */
      readonly id?: string | undefined
      /** Skip checkpoints that fail their checks. */
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
  /**
   * Without further options, and fails with the original error all the same.
   *
   * @internal
   */
  readonly bare?: true | undefined
  /** The strategy of a sequence that decided. */
  readonly by?: string | undefined
}

/**
 * Run the same effect again after a delay. The default is no delay, as is a
 * negative number. A delay that is not finite or has no known unit, such as one
 * from a missing field, counts as 60 seconds; so does a negative text.
 *
 * @since 0.1.0
 * @category constructors
 */
export const again = (delay: Duration.DurationInput = Duration.zero): Again => {
  const given = millisOrNaN(delay)
  return { _tag: "Again", delay: Duration.millis(Number.isFinite(given) ? Math.max(0, given) : 60_000) }
}

/**
 * Run another effect and use its value as the result.
 *
 * @since 0.1.0
 * @category constructors
 */
export const instead = <A, E, R>(effect: Effect.Effect<A, E, R>): Instead<A, E, R> => ({ _tag: "Instead", effect })

/**
 * The strategy has no further option. Asks the next strategy of a sequence, or
 * fails with `RecoveryExhausted`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const exhausted: GiveUp = { _tag: "GiveUp", exhausted: true }

/**
 * Fail with the original error. Later strategies of a sequence are not asked.
 *
 * @since 0.1.0
 * @category constructors
 */
export const abort: GiveUp = { _tag: "GiveUp", exhausted: false }

/**
 * Without further options, and fails with the original error all the same. A run
 * that ends by it is `exhausted`, unless nothing was tried.
 *
 * @internal
 */
export const surface: GiveUp = { _tag: "GiveUp", exhausted: false, bare: true }
