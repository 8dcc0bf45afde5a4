/**
 * A transaction is a scope in which whatever was done is undone again if the
 * whole does not come about: compensations run in reverse, uninterruptibly,
 * each on record. Without a run it is as good as the process; inside of a
 * workflow a rollback that a crash cuts short goes on at the next start.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Schedule from "effect/Schedule"
import { settingsOf } from "./Compensation.js"
import type { RollbackFailed } from "./RollbackFailed.js"
import { type AnyUndo, type ToUndo, Transaction, Transactor, transactionSettings } from "./Transactor.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  RollbackFailed,
  /**
   * @since 0.1.0
   * @category models
   */
  type UndoFailure
} from "./RollbackFailed.js"

export {
  /**
   * What a compensation receives.
   *
   * @since 0.1.0
   * @category models
   */
  type ToUndo,
  /**
   * The innermost transaction. {@link run} provides it.
   *
   * @since 0.1.0
   * @category services
   */
  Transaction
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<in E> {
  /** Inside of a run, where it stands in its journal. Defaults to "transaction". */
  readonly name?: string | undefined
  /**
   * Which errors roll back; after another one what was done stays done, and a
   * transaction around may still undo it. Defaults to all of them. Defects
   * and interruption always roll back.
   */
  readonly rollbackWhen?: ((error: E) => boolean) | undefined
}

/**
 * Runs a transaction: if it fails, dies or is interrupted, the compensations
 * registered in it run, last registered first. Then the original failure
 * surfaces; or `RollbackFailed`, with the original failure in it, if a
 * compensation failed or a pivot stood in the way.
 *
 * Inside of another transaction its compensations are handed to the outer one
 * when it succeeds. Inside of a workflow each registration and each
 * compensation is in the journal of the run.
 *
 * @example
 * ```ts
 * import { Transaction } from "effect-recovery"
 * import { Console, Data, Effect } from "effect"
 *
 * class NoSeats extends Data.TaggedError("NoSeats")<{}> {}
 *
 * const trip = Effect.gen(function* () {
 *   yield* Console.log("hotel booked").pipe(Transaction.withCompensation(() => Console.log("hotel cancelled")))
 *   yield* new NoSeats()
 * })
 *
 * trip.pipe(
 *   Transaction.run(),
 *   Effect.catchTag("NoSeats", () => Console.log("no trip")),
 *   Effect.runPromise
 * )
 * // hotel booked
 * // hotel cancelled
 * // no trip
 * ```
 *
 * @since 0.1.0
 * @category execution
 */
export const run: {
  <E>(
    options?: Options<NoInfer<E>>
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | RollbackFailed<E>, Exclude<R, Transaction>>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options?: Options<E>
  ): Effect.Effect<A, E | RollbackFailed<E>, Exclude<R, Transaction>>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: Options<E> = {}
  ): Effect.Effect<A, E | RollbackFailed<E>, Exclude<R, Transaction>> =>
    Effect.flatMap(Transactor, (transactor) => transactor.run(self, transactionSettings(options)))
)

/**
 * @since 0.1.0
 * @category models
 */
export interface CompensationOptions<in E = never, out R = never> {
  /** Inside of a run, where it stands in its journal. Defaults to "compensation". */
  readonly name?: string | undefined
  /** Defaults to `RetryPolicy.Current`. */
  readonly retry?: Schedule.Schedule<unknown, E, R> | undefined
  /** For each attempt. Defaults to a minute. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Registers a compensation, then runs the effect. It is asked to undo the
 * effect also if that failed or was cut short: then there is no `output`, and
 * there may be nothing to undo.
 *
 * Inside of a workflow prefer the `compensate` of a step, or put steps inside:
 * the effect itself runs again at every resume.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withCompensation: {
  <A, E2, R2, R3 = never>(
    undo: (toUndo: ToUndo<A>) => Effect.Effect<unknown, E2, R2>,
    options?: CompensationOptions<E2, R3>
  ): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | R2 | R3 | Transaction>
  <A, E, R, E2, R2, R3 = never>(
    self: Effect.Effect<A, E, R>,
    undo: (toUndo: ToUndo<A>) => Effect.Effect<unknown, E2, R2>,
    options?: CompensationOptions<E2, R3>
  ): Effect.Effect<A, E, R | R2 | R3 | Transaction>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, E2, R2, R3>(
    self: Effect.Effect<A, E, R>,
    undo: (toUndo: ToUndo<A>) => Effect.Effect<unknown, E2, R2>,
    { name = "compensation", retry, timeout }: CompensationOptions<E2, R3> = {}
  ): Effect.Effect<A, E, R | R2 | R3 | Transaction> => {
    // The schedule sees the errors of this very compensation, in the context it was registered in.
    const settings = settingsOf({ retry: retry as Schedule.Schedule<unknown, never> | undefined, timeout })
    return Effect.flatMap(Transaction, (transaction) => transaction.compensated(name, self, undo as AnyUndo, settings))
  }
)
