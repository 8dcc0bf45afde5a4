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
import { orElseLoggedEffect } from "./internal/kernel/logged.js"
import { andThen, failureOf, ruleOf, toEffect } from "./internal/retry/definition.js"
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
 * Handles failures `E`. It may replace the result with an `A`, fail with `E2`
 * and need `R`. In `E2`, {@link Original} stands for the handled error and
 * {@link Exhausted} for a `RecoveryExhausted` that contains it.
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
  /** The name in journals, events and statistics. */
  readonly name: string
  /** Makes the driver for one recovery. The driver keeps the state between failures. */
  readonly open: () => Driver<E, A, E2, R>
  /** The budgets that pay for its retries. */
  readonly budgets: ReadonlyArray<RetryBudget>
}

/**
 * Decides about each failure of one recovery.
 *
 * @since 0.1.0
 * @category models
 */
export type Driver<in E, out A, out E2, out R> = (
  failure: Failure<E>
) => Effect.Effect<Decision.Decision<A, E2, R>, never, R>

/**
 * The failure that a strategy decides about.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failure<out E> {
  readonly error: E
  readonly fault: Fault.Fault
  readonly cause: Cause.Cause<E>
  /** The recovery, run and step that failed. */
  readonly source: Source
  /** The number of the attempt that failed, from 1. */
  readonly attempt: number
  /** The time of the failure, epoch milliseconds; in a run, by the clock of the storage. */
  readonly at: number
  /** The time from the first failure of this recovery to this one. */
  readonly elapsed: Duration.Duration
}

/**
 * Stands for the handled error in the failures of a strategy.
 *
 * @since 0.1.0
 * @category models
 */
export interface Original {
  readonly _: "effect-recovery/Strategy/Original"
}

/**
 * Stands for a `RecoveryExhausted` with the handled error in the failures of a
 * strategy.
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

const proto = {
  [TypeId]: TypeId,
  pipe() {
    // biome-ignore lint/complexity/noArguments: the Pipeable contract hands over `arguments`
    return pipeArguments(this, arguments)
  }
}

/**
 * Makes a strategy from its driver.
 *
 * @internal
 */
export const fromOpen = <E, A = never, E2 = never, R = never>(
  name: string,
  open: () => Driver<E, A, E2, R>,
  budgets: ReadonlyArray<RetryBudget> = []
): Strategy<E, A, E2, R> => Object.assign(Object.create(proto), { name, open, budgets })

/**
 * Names the strategy behind a decision, and behind the decisions that replace or
 * follow it: `name` receives the name that the decision has. Strategies that ask
 * others use it, so that records and statistics name the one that decided.
 *
 * @internal
 */
export const decidedBy = <A, E, R>(
  decision: Decision.Decision<A, E, R>,
  name: (by: string | undefined) => string
): Decision.Decision<A, E, R> => {
  const by = name(decision.by)
  const next = (later: Effect.Effect<Decision.Decision<A, E, R>, never, R>) =>
    Effect.map(later, (decision) => decidedBy(decision, name))
  if (decision._tag === "GiveUp") return { ...decision, by }
  if (decision._tag === "HandOver") return { ...decision, by, ask: next(decision.ask) }
  return decision.otherwise === undefined
    ? { ...decision, by }
    : { ...decision, by, otherwise: next(decision.otherwise) }
}

/**
 * A driver that is made at the first failure, from the services in scope then.
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
 * A driver that retries by a schedule.
 *
 * @internal
 */
export const openSchedule = <E, R>(
  policy: Schedule.Schedule<unknown, E, R>,
  budget: RetryBudget | undefined
): Driver<E, never, Exhausted, R> => {
  const next = nextDelay(policy)
  return (failure) =>
    orElseLoggedEffect(
      () =>
        Effect.map(next(failure), (delay) => {
          if (delay === undefined) return Decision.exhausted
          const again = Decision.again(Math.max(0, delay))
          return budget === undefined ? again : { ...again, budget }
        }),
      Decision.exhausted,
      "a retry schedule died; it counts as exhausted"
    )
}

/** Asks a schedule, or the rule of a policy, which need not classify the failure again. */
const nextDelay = <E, R>(
  policy: Schedule.Schedule<unknown, E, R>
): ((failure: Failure<E>) => Effect.Effect<number | undefined, never, R>) => {
  let state: unknown = policy.initial
  const rule = ruleOf(policy)
  if (rule === undefined) {
    return ({ at, error }) =>
      Effect.map(policy.step(at, error, state), ([next, _, decision]) => {
        state = next
        return ScheduleDecision.isDone(decision) ? undefined : ScheduleIntervals.start(decision.intervals) - at
      })
  }
  return ({ at, error, fault }) =>
    toEffect(
      andThen(rule.next(state, failureOf(fault, at, error)), (next) => {
        state = next.state
        return next.delay
      })
    )
}

/**
 * The same failure at a later time, after an alternative has failed.
 *
 * @internal
 */
export const later = <E>(failure: Failure<E>, now: number): Failure<E> => ({
  ...failure,
  at: now,
  elapsed: Duration.sum(failure.elapsed, Duration.millis(now - failure.at))
})

/**
 * The failures that a strategy handles.
 *
 * @since 0.1.0
 * @category models
 */
export type InputOf<S> = [S] extends [Strategy<infer E, infer _A, infer _E2, infer _R>] ? E : never

/**
 * The values with which a strategy may replace the result.
 *
 * @since 0.1.0
 * @category models
 */
export type ValueOf<S> = S extends Strategy<never, infer A, infer _E2, infer _R> ? A : never

/**
 * The errors that a strategy may fail with.
 *
 * @since 0.1.0
 * @category models
 */
export type FailureOf<S> = S extends Strategy<never, infer _A, infer E2, infer _R> ? E2 : never

/**
 * The services that a strategy needs.
 *
 * @since 0.1.0
 * @category models
 */
export type RequirementsOf<S> = S extends Strategy<never, infer _A, infer _E2, infer R> ? R : never

/**
 * The errors of a strategy for a known handled error: resolves {@link Original}
 * and {@link Exhausted}.
 *
 * @since 0.1.0
 * @category models
 */
export type Resolve<Failure, E> = Failure extends Original ? E : Failure extends Exhausted ? ExhaustedOf<E> : Failure

/**
 * `RecoveryExhausted<E>`, or `never` if `E` is `never`.
 *
 * @since 0.1.0
 * @category models
 */
export type ExhaustedOf<E> = [E] extends [never] ? never : RecoveryExhausted<E>
