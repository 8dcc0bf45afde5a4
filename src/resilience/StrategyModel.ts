/**
 * What a strategy is, what it sees, and how its types compose.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import type * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import type * as Types from "effect/Types"
import * as Decision from "./Decision.js"
import type { Source } from "./Events.js"
import type * as Fault from "./Fault.js"
import type { RecoveryExhausted } from "./RecoveryError.js"
import type { RetryBudget } from "./RetryBudget.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~effect-recovery/Strategy"
/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~effect-recovery/Strategy"

/**
 * Answers failures `E`: with a value `A` in place of the result, with failures
 * `E2`, needing `R`. In `E2`, {@link Original} stands for the error that was
 * handled and {@link Exhausted} for a `RecoveryExhausted` around it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Strategy<in E, out A = never, out E2 = never, out R = never> extends Pipeable {
  readonly [TypeId]: {
    readonly _E: Types.Contravariant<E>
    readonly _A: Types.Covariant<A>
    readonly _E2: Types.Covariant<E2>
    readonly _R: Types.Covariant<R>
  }
  /** How it appears in journals, events and tables. */
  readonly name: string
  /** Opens the strategy for one recovery; what it remembers between failures lives there. */
  readonly open: () => Driver<E, A, E2, R>
  /** What its retries are paid from. */
  readonly budgets: ReadonlyArray<RetryBudget>
}

/**
 * An open strategy: asked once per failure of the recovery it was opened for.
 *
 * @since 0.1.0
 * @category models
 */
export type Driver<in E, out A, out E2, out R> = (
  failure: Failure<E>
) => Effect.Effect<Decision.Decision<A, E2, R>, never, R>

/**
 * What a strategy sees.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failure<out E> {
  readonly error: E
  readonly fault: Fault.Fault
  readonly cause: Cause.Cause<E>
  /** Where it failed. */
  readonly source: Source
  /** The attempt that failed, 1 for the first. */
  readonly attempt: number
  /** When it failed, epoch milliseconds. */
  readonly at: number
  /** From the first failure of this recovery to this one. */
  readonly elapsed: Duration.Duration
}

/**
 * In a strategy's failures: the error it was asked about.
 *
 * @since 0.1.0
 * @category models
 */
export interface Original {
  readonly _: "effect-recovery/Strategy/Original"
}

/**
 * In a strategy's failures: `RecoveryExhausted` around the error it was asked
 * about.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exhausted {
  readonly _: "effect-recovery/Strategy/Exhausted"
}

/**
 * Any strategy for failures `E`.
 *
 * @since 0.1.0
 * @category models
 */
export type For<E> = Strategy<E, unknown, unknown, unknown>

const variance = {
  _E: (_: never) => _,
  _A: (_: never) => _,
  _E2: (_: never) => _,
  _R: (_: never) => _
}

const proto = {
  [TypeId]: variance,
  pipe() {
    // biome-ignore lint/complexity/noArguments: the Pipeable contract hands over `arguments`
    return pipeArguments(this, arguments)
  }
}

/**
 * @internal
 */
export const fromOpen = <E, A = never, E2 = never, R = never>(
  name: string,
  open: () => Driver<E, A, E2, R>,
  budgets: ReadonlyArray<RetryBudget> = []
): Strategy<E, A, E2, R> => Object.assign(Object.create(proto), { name, open, budgets })

/**
 * A driver that is opened at its first failure, by what is in force then.
 *
 * @internal
 */
export const openLate = <E, A, E2, R>(open: Effect.Effect<Driver<E, A, E2, R>, never, R>): Driver<E, A, E2, R> => {
  let driver: Driver<E, A, E2, R> | undefined
  return (failure) => {
    if (driver !== undefined) return driver(failure)
    return Effect.flatMap(open, (opened) => {
      driver = opened
      return opened(failure)
    })
  }
}

/**
 * @internal
 */
export const openSchedule = <E, R>(
  policy: Schedule.Schedule<unknown, E, R>,
  budget: RetryBudget | undefined
): Driver<E, never, Exhausted, R> => {
  let state: unknown = policy.initial
  return (failure) =>
    Effect.map(policy.step(failure.at, failure.error, state), ([next, _, decision]) => {
      state = next
      if (ScheduleDecision.isDone(decision)) return Decision.exhausted
      const again = Decision.again(Math.max(0, ScheduleIntervals.start(decision.intervals) - failure.at))
      return budget === undefined ? again : { ...again, budget }
    })
}

/**
 * The same failure, seen after another way has taken its time.
 *
 * @internal
 */
export const later = <E>(failure: Failure<E>, now: number): Failure<E> => ({
  ...failure,
  at: now,
  elapsed: Duration.sum(failure.elapsed, Duration.millis(now - failure.at))
})

/**
 * @since 0.1.0
 * @category models
 */
export type InputOf<S> = [S] extends [Strategy<infer E, infer _A, infer _E2, infer _R>] ? E : never

/**
 * @since 0.1.0
 * @category models
 */
export type ValueOf<S> = S extends Strategy<never, infer A, infer _E2, infer _R> ? A : never

/**
 * @since 0.1.0
 * @category models
 */
export type FailureOf<S> = S extends Strategy<never, infer _A, infer E2, infer _R> ? E2 : never

/**
 * @since 0.1.0
 * @category models
 */
export type RequirementsOf<S> = S extends Strategy<never, infer _A, infer _E2, infer R> ? R : never

/**
 * What a strategy's failure is once it is known which error it was asked about.
 *
 * @since 0.1.0
 * @category models
 */
export type Resolve<Failure, E> = Failure extends Original ? E : Failure extends Exhausted ? ExhaustedOf<E> : Failure

/**
 * What cannot fail cannot be exhausted either.
 *
 * @since 0.1.0
 * @category models
 */
export type ExhaustedOf<E> = [E] extends [never] ? never : RecoveryExhausted<E>
