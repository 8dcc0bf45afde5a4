/**
 * A transaction is a scope whose completed work is compensated if the scope
 * fails: the compensations run in reverse order of registration,
 * uninterruptibly. In memory a rollback ends with the process. In a workflow
 * each registration and each compensation is journaled, so a rollback that a
 * crash cuts short resumes at the next execution of the run.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { checkName } from "../resilience/InvalidName.js"
import { settingsOf } from "./Compensation.js"
import { RollbackFailed } from "./RollbackFailed.js"
import {
  type AnyUndo,
  type ToUndo,
  Transaction,
  type TransactionService,
  Transactor,
  transactionSettings
} from "./Transactor.js"

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
   * The innermost transaction. {@link run} and {@link layer} provide it; provide
   * the value of {@link scoped} yourself.
   *
   * @since 0.1.0
   * @category services
   */
  Transaction,
  /**
   * @since 0.1.0
   * @category services
   */
  type TransactionService
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<in E> {
  /** Its name in the journal of a run. Defaults to "transaction". */
  readonly name?: string | undefined
  /**
   * Which errors roll back; defaults to all of them. After another error the
   * work stays done, and an enclosing transaction can still compensate it.
   * Defects and interruptions always roll back.
   */
  readonly rollbackWhen?: ((error: E) => boolean) | undefined
}

/**
 * Runs an effect as a transaction. If it fails, dies or is interrupted, the
 * compensations registered in it run, last registered first. Then the original
 * failure surfaces. If a compensation fails or a pivot was passed, the error is
 * `RollbackFailed`, which holds the original failure.
 *
 * A nested transaction that succeeds hands its compensations to the enclosing
 * one. In a workflow each registration and each compensation is in the journal
 * of the run.
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
  /**
   * Runs the effect as a transaction. If it fails, dies or is interrupted, the compensations registered
   * in it run, last registered first, and the original failure surfaces. If a compensation fails or a
   * pivot was passed, the error is `RollbackFailed`.
   */
  <E>(
    options?: Options<NoInfer<E>>
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | RollbackFailed<E>, Exclude<R, Transaction>>
  /**
   * Runs the effect as a transaction. If it fails, dies or is interrupted, the compensations registered
   * in it run, last registered first, and the original failure surfaces. If a compensation fails or a
   * pivot was passed, the error is `RollbackFailed`.
   */
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
 * Begins a transaction as a resource of the surrounding scope. The transaction
 * commits if the scope closes with success, and rolls back if it closes with a
 * failure, a defect or an interruption. What belongs to the transaction is the
 * effect that its service is provided to; {@link layer} does both at once.
 *
 * A finalizer has no typed errors. A rollback that is not complete dies with
 * `RollbackFailed` beside the original cause: {@link rollbackFailure} reads it.
 *
 * Acquire what compensations need before the transaction: a scope releases in
 * reverse order. In a workflow the transaction ends at the latest with the
 * body of the run, even if its scope stays open.
 *
 * @example
 * ```ts
 * import { Transaction } from "effect-recovery"
 * import { Console, Data, Effect } from "effect"
 *
 * class NoSeats extends Data.TaggedError("NoSeats")<{}> {}
 *
 * const hotel = Console.log("hotel booked").pipe(
 *   Transaction.withCompensation(() => Console.log("hotel cancelled"))
 * )
 *
 * const trip = Effect.gen(function* () {
 *   const transaction = yield* Transaction.scoped({ name: "trip" })
 *   yield* hotel.pipe(Effect.provideService(Transaction.Transaction, transaction))
 *   yield* new NoSeats()
 * })
 *
 * Effect.scoped(trip).pipe(
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
export const scoped = (options: Options<unknown> = {}): Effect.Effect<TransactionService, never, Scope.Scope> =>
  Effect.flatMap(Transactor, (transactor) => transactor.acquire(transactionSettings(options)))

/**
 * Provides a transaction to one effect: `Effect.provide` begins it, and ends it
 * with the exit of the effect, as {@link scoped} does. Provide it to the effect
 * that is to be a transaction, and not to the whole program: the transaction
 * lasts as long as the layer.
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
 *   Effect.provide(Transaction.layer({ name: "trip" })),
 *   Effect.catchTag("NoSeats", () => Console.log("no trip")),
 *   Effect.runPromise
 * )
 * // hotel booked
 * // hotel cancelled
 * // no trip
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options<unknown> = {}): Layer.Layer<Transaction> =>
  Layer.scoped(Transaction, scoped(options))

/**
 * The incomplete rollback in a cause: the error of {@link run}, or the defect
 * of a finalizer of {@link scoped}. Of several nested ones the outermost.
 *
 * @since 0.1.0
 * @category accessors
 */
export const rollbackFailure = (cause: Cause.Cause<unknown>): Option.Option<RollbackFailed<unknown>> =>
  Cause.reduce(cause, Option.none<RollbackFailed<unknown>>(), (_, part) => {
    const error = part._tag === "Fail" ? part.error : part._tag === "Die" ? part.defect : undefined
    return error instanceof RollbackFailed ? Option.some(Option.some(error)) : Option.none()
  })

/**
 * @since 0.1.0
 * @category models
 */
export interface CompensationOptions<in E = never, out R = never> {
  /** Its name in the journal of a run. Defaults to "compensation". */
  readonly name?: string | undefined
  /** Defaults to `RetryPolicy.Current`. */
  readonly retry?: Schedule.Schedule<unknown, E, R> | undefined
  /** For each attempt, at least 1 millisecond. `Infinity` is no limit. Defaults to one minute. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Registers a compensation with the innermost transaction, then runs the
 * effect. The compensation also runs if the effect failed or was cut short:
 * then it receives no `output`, and there may be nothing to undo.
 *
 * In a workflow prefer the `compensate` of a step, or put steps inside: an
 * effect outside of steps runs again whenever the run resumes.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withCompensation: {
  /**
   * Registers a compensation with the innermost transaction, then runs the effect. The compensation also
   * runs if the effect failed or was cut short: then it receives no `output`.
   */
  <A, E2, R2, R3 = never>(
    undo: (toUndo: ToUndo<A>) => Effect.Effect<unknown, E2, R2>,
    options?: CompensationOptions<E2, R3>
  ): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | R2 | R3 | Transaction>
  /**
   * Registers a compensation with the innermost transaction, then runs the effect. The compensation also
   * runs if the effect failed or was cut short: then it receives no `output`.
   */
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
    // The schedule receives the errors of this compensation, in the context of the registration.
    const settings = settingsOf({ retry: retry as Schedule.Schedule<unknown, never> | undefined, timeout })
    checkName("compensation", name)
    return Effect.flatMap(Transaction, (transaction) => transaction.compensated(name, self, undo as AnyUndo, settings))
  }
)
