import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleInterval from "effect/ScheduleInterval"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import * as Fault from "../../Fault.js"
import type { Description, RetryPolicy } from "../../RetryPolicy.js"

/** What a policy may ask about a failure. Nothing is computed before it is asked. */
export interface Failure {
  readonly error: unknown
  /** When it failed, epoch milliseconds. */
  readonly now: number
  readonly fault: () => Fault.Fault
  /** The wait that the failing side asked for. */
  readonly retryAfter: () => Duration.Duration | undefined
}

export interface Next<S> {
  readonly state: S
  /** The delay before the next attempt in milliseconds; undefined if there is none. */
  readonly delay: number | undefined
}

/**
 * The rule of a policy, from which its Schedule is made. A retry of ours asks it
 * directly: the machinery of a Schedule takes ten times as long.
 */
export interface Definition<S> {
  readonly initial: S
  next(state: S, failure: Failure): Next<S> | Effect.Effect<Next<S>>
}

const definitions = new WeakMap<object, Definition<unknown>>()

/** The same for a value that is known and for one that an effect computes. */
export const andThen = <A, B>(value: A | Effect.Effect<A>, f: (value: A) => B): B | Effect.Effect<B> =>
  Effect.isEffect(value) ? Effect.map(value, f) : f(value)

/** As an effect, for callers that need one. */
export const toEffect = <A>(value: A | Effect.Effect<A>): Effect.Effect<A> =>
  Effect.isEffect(value) ? value : Effect.succeed(value)

/** Makes the policy of a rule. */
export const define = <S>(description: Description, initial: S, next: Definition<S>["next"]): RetryPolicy => {
  const schedule = Schedule.makeWithState(initial, (now, error: unknown, state: S) =>
    Effect.contextWithEffect((context: Context.Context<never>) =>
      toEffect(andThen(next(state, failureIn(context, now, error)), (next) => stepOf(next, now)))
    )
  )
  // A schedule has the step of a policy, which is declared without the failure.
  const policy = Object.assign(schedule, { description }) as RetryPolicy
  // `next` receives only `initial` and what it returned itself, so the type of the state may be forgotten.
  const definition: Definition<S> = { initial, next }
  definitions.set(policy, definition as Definition<unknown>)
  return policy
}

const stepOf = <S>(
  { delay, state }: Next<S>,
  now: number
): readonly [S, Duration.Duration, ScheduleDecision.ScheduleDecision] =>
  delay === undefined
    ? [state, Duration.zero, ScheduleDecision.done]
    : [state, Duration.millis(delay), ScheduleDecision.continueWith(ScheduleInterval.after(now + delay))]

/** The rule of a schedule that is one of our policies, unchanged. */
export const ruleOf = (schedule: object): Definition<unknown> | undefined => definitions.get(schedule)

/** The rule of a policy. One that was made from other schedules is asked as a schedule. */
export const definitionOf = (policy: RetryPolicy): Definition<unknown> =>
  ruleOf(policy) ?? {
    initial: policy.initial,
    next: (state, { error, now }) =>
      Effect.map((policy as Schedule.Schedule<unknown, unknown>).step(now, error, state), ([state, , decision]) => ({
        state,
        delay: ScheduleDecision.isDone(decision)
          ? undefined
          : Math.max(0, ScheduleIntervals.start(decision.intervals) - now)
      }))
  }

/** A failure seen with the rules and the redaction of a context. A breaker may have classified its cause before. */
export const failureIn = (
  context: Context.Context<never>,
  now: number,
  error: unknown,
  cause?: Cause.Cause<unknown>
): Failure => {
  // The fault of a cause with several failures may be that of another one.
  const failed = cause?._tag === "Fail" ? cause : error
  return {
    error,
    now,
    fault: () => Fault.classifyIn(context, now, failed),
    retryAfter: () => Fault.retryAfterIn(context, now, failed)
  }
}

/** A failure that is classified already. */
export const failureOf = (fault: Fault.Fault, now: number, error: unknown): Failure => ({
  error,
  now,
  fault: () => fault,
  retryAfter: () => Option.getOrUndefined(fault.retryAfter)
})
