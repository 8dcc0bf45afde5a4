import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { RetryBudget } from "../../RetryBudget.js"
import { logged } from "../kernel/logged.js"
import { type Definition, failureIn, type Next } from "./definition.js"

/**
 * `Effect.catchAll` whose handler gets the cause too: who classified it before has its fault. Costs less than
 * `Effect.catchAll` if `self` succeeds.
 */
export const catchFailure = <A, E, R, A2, E2, R2>(
  self: Effect.Effect<A, E, R>,
  handler: (error: E, cause: Cause.Cause<E>) => Effect.Effect<A2, E2, R2>
): Effect.Effect<A | A2, E2, R | R2> =>
  Effect.catchAllCause(self, (cause) => {
    if (cause._tag === "Fail") return handler(cause.error, cause)
    // A defect beside a failure is a bug, and the failure becomes one too.
    if (Cause.isDie(cause)) return Effect.failCause(Cause.flatMap(cause, (error) => Cause.die(error)))
    const error = Chunk.head(Cause.failures(cause))
    // Without a failure, the cause is one of any type of failure.
    return Option.isSome(error) ? handler(error.value, cause) : Effect.failCause(cause as Cause.Cause<never>)
  })

/**
 * Retries after the first failure by the rule of a policy. Does what
 * `Effect.retry` does with the policy's Schedule, without its driver.
 */
export const retryByRule =
  <A, E, R>(self: Effect.Effect<A, E, R>, rule: Definition<unknown>, budget: RetryBudget | undefined) =>
  (first: E, cause?: Cause.Cause<E>): Effect.Effect<A, E, R> =>
    Effect.withFiberRuntime((fiber) => {
      const retries = new Retries(self, rule, budget, fiber)
      // Attempts run in a context of their own, which is left on every way, also if they are interrupted.
      return Effect.uninterruptibleMask((restore) =>
        Effect.matchCauseEffect(restore(retries.after(first, cause)), {
          onFailure: (cause) => retries.leave(Exit.failCause(cause)),
          onSuccess: (value) => retries.leave(Exit.succeed(value))
        })
      )
    })

const start: Schedule.IterationMetadata = {
  now: 0,
  input: undefined,
  output: undefined,
  recurrence: 0,
  elapsed: Duration.zero,
  elapsedSincePrevious: Duration.zero,
  start: 0
}

/** The retries of one call. */
class Retries<A, E, R> {
  private state: unknown
  private metadata = start

  private readonly self: Effect.Effect<A, E, R>
  private readonly rule: Definition<unknown>
  private readonly budget: RetryBudget | undefined
  private readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
  private readonly outer: Context.Context<never>

  constructor(
    self: Effect.Effect<A, E, R>,
    rule: Definition<unknown>,
    budget: RetryBudget | undefined,
    fiber: Fiber.RuntimeFiber<unknown, unknown>
  ) {
    this.self = self
    this.rule = rule
    this.budget = budget
    this.state = rule.initial
    this.fiber = fiber
    this.outer = fiber.currentContext
  }

  readonly after = (error: E, cause?: Cause.Cause<E>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const now = Context.get(this.fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis()
      try {
        const next = this.rule.next(this.state, failureIn(this.outer, now, error, cause))
        if (!Effect.isEffect(next)) return this.take(next, error, now)
        return Effect.matchCauseEffect(next, {
          onFailure: (cause) => endRetries(error, cause),
          onSuccess: (next) => this.take(next, error, now)
        })
      } catch (thrown) {
        return endRetries(error, Cause.die(thrown))
      }
    })

  private take({ delay, state }: Next<unknown>, error: E, now: number): Effect.Effect<A, E, R> {
    if (delay === undefined) return Effect.fail(error)
    this.state = state
    const wait = Duration.millis(delay)
    const { recurrence } = this.metadata
    const last = recurrence === 0 ? { now, start: now } : this.metadata
    this.metadata = {
      now,
      input: error,
      output: wait,
      recurrence: recurrence + 1,
      elapsed: Duration.millis(now - last.start),
      elapsedSincePrevious: Duration.millis(now - last.now),
      start: last.start
    }
    return delay > 0 ? Effect.flatMap(Effect.sleep(wait), () => this.again(error)) : this.again(error)
  }

  private again(error: E): Effect.Effect<A, E, R> {
    // Debited when the retry starts: a retry that is interrupted during its delay costs no token.
    if (this.budget?.tokens.debit() === false) return Effect.fail(error)
    // `Effect.provideService` would take four times as long for each attempt.
    const entered = enter(Context.add(this.outer, Schedule.CurrentIterationMetadata, this.metadata))
    return Effect.zipRight(entered, catchFailure(this.self, this.after))
  }

  leave(exit: Exit.Exit<A, E>): Effect.Effect<A, E> {
    return this.fiber.currentContext === this.outer ? exit : Effect.zipRight(enter(this.outer), exit)
  }
}

const enter = (context: Context.Context<never>): Effect.Effect<void> => FiberRef.set(FiberRef.currentContext, context)

/** The error surfaces when the schedule ends, and also when a function of the schedule throws. */
export const endRetries = <E>(error: E, cause: Cause.Cause<unknown>): Effect.Effect<never, E> => {
  if (Cause.isInterrupted(cause)) return Effect.failCause(Cause.map(cause, () => error))
  const ended = Effect.fail(error)
  return Cause.isDie(cause)
    ? Effect.zipRight(logged(Effect.failCause(cause), "a retry schedule died; the retries end"), ended)
    : ended
}
