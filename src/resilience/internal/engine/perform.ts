import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Decision from "../../Decision.js"
import * as Fault from "../../Fault.js"
import type * as RetryBudget from "../../RetryBudget.js"
import * as Strategy from "../../Strategy.js"
import { RecoveryExhausted } from "../errors.js"
import { longSleep } from "../retry/longSleep.js"
import type { AnyDecision, AnyDriver, Found, Options, PastFailure, Plan, Session } from "./session.js"
import * as session_ from "./session.js"

export type { Hooks, Limits, Options, PastFailure, Plan, Report } from "./session.js"

type AnyEffect = Effect.Effect<unknown, unknown, unknown>
type Attempt = (number: number) => AnyEffect

/** Runs `self` under a plan. Nothing is allocated until the first failure. */
export const perform = (self: AnyEffect, plan: Plan, options: Options): AnyEffect =>
  performFrom(1, () => self, plan, options)

/** The same for attempts that know their number; `first` is the one to begin with. */
export const performFrom = (first: number, attempt: Attempt, plan: Plan, options: Options): AnyEffect =>
  // An attempt that is not the first was earned for by the one that was.
  Effect.catchAllCause(earning(first === 1 ? plan.budgets : [], attempt(first)), (cause) =>
    Effect.flatMap(openSession(plan, options, first), (session) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.exit(restore(answer(session, attempt, first, cause))), (exit) =>
          Effect.zipRight(session_.ended(session, exit, restore), exit)
        )
      )
    )
  )

/** First attempts earn for the retries of all. */
export const earning = (budgets: ReadonlyArray<RetryBudget.RetryBudget>, self: AnyEffect): AnyEffect =>
  budgets.reduce((earned, { tokens }) => tokens.earn(earned), self)

const lowest = Random.fixed([0])

const openSession = Effect.fnUntraced(function* (plan: Plan, options: Options, first: number) {
  options.onFailure?.()
  const session = session_.make(plan, options, first)
  for (const past of options.past ?? []) yield* replay(session, past)
  return session
})

/** Brings the strategies to where they stood, by asking them what they were asked. */
const replay = Effect.fnUntraced(function* (session: Session, past: PastFailure) {
  const classify = yield* Fault.classifier(session.options.rules)
  const fault = classify(past.error)
  const found = session.plan.find(past.error, () => fault)
  if (found === undefined) return
  const failure = makeFailure(session, past, fault, Cause.fail(past.error))
  // Twice the same attempt: what was decided first did not come about, such as a retry without a token.
  const other = session.replayed?.attempt === past.attempt ? session.replayed.decision?.otherwise : undefined
  const clock = yield* Effect.clock
  const decision = yield* withRules(session, asRecorded(other ?? driverFor(session, found)(failure))).pipe(
    // The lowest draw of jitter is at most the recorded one, so what was an Again is one again.
    Effect.withRandom(lowest),
    // And it was then: later ways count from the time they were asked.
    Effect.withClock(stoppedAt(clock, past.at))
  )
  session.replayed = { attempt: past.attempt, decision: decision?._tag === "Again" ? decision : undefined }
  take(session, decision?.by ?? found[1].name, "Again")
})

/** What was recorded is an Again: if another way was tried before it, it failed. */
const asRecorded = <R>(
  decided: Effect.Effect<AnyDecision, never, R>
): Effect.Effect<AnyDecision | undefined, never, unknown> =>
  Effect.flatMap(decided, (decision) => {
    // Its answer is on record too, or the recovery would not have gone on.
    if (decision._tag === "HandOver") return asRecorded(decision.ask)
    if (decision._tag !== "Instead" && decision._tag !== "Rewind") return Effect.succeed(decision)
    return decision.otherwise === undefined ? Effect.succeed(undefined) : asRecorded(decision.otherwise)
  })

const stoppedAt = (clock: Clock.Clock, millis: number): Clock.Clock =>
  Object.assign(Object.create(clock), {
    currentTimeMillis: Effect.succeed(millis),
    unsafeCurrentTimeMillis: () => millis
  })

/** A recovery's own rules hold for whoever classifies its failures, but not for the work. */
const withRules = <A, E, R>({ options: { rules } }: Session, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  rules === undefined
    ? self
    : Effect.flatMap(Fault.Rules, (inForce) => Effect.provideService(self, Fault.Rules, [...rules, ...inForce]))

const answer = (session: Session, attempt: Attempt, number: number, cause: Cause.Cause<unknown>): AnyEffect => {
  const error = Cause.failureOption(cause)
  if (Option.isNone(error)) return Effect.failCause(cause)
  return Effect.flatMap(Fault.classifier(session.options.rules), (classify) => {
    let made: Fault.Fault | undefined
    const fault = () => {
      made ??= classify(error.value)
      return made
    }
    session.options.onFailure?.()
    const found = session.plan.find(error.value, fault)
    if (found === undefined) return Effect.failCause(cause)
    if (Cause.isDie(cause)) return Effect.failCause(asDefect(cause))
    return Effect.flatMap(Clock.currentTimeMillis, (at) => {
      const failure = makeFailure(session, { error: error.value, attempt: number, at }, { ...fault(), cause }, cause)
      return Effect.zipRight(session_.asked(session, failure), ask(session, attempt, failure, found))
    })
  })
}

const ask = (session: Session, attempt: Attempt, failure: Strategy.Failure<never>, found: Found): AnyEffect => {
  /** A decision counts from the moment it was asked for: that of the failure, or that of a way that came to nothing. */
  const settle = (decision: AnyDecision, asked: Strategy.Failure<never>): AnyEffect => {
    if (!withinCount(session, decision)) return settle(Decision.exhausted, asked)
    if (decision._tag === "Again" && !withinLimits(session, asked, decision)) return otherwise(decision)
    take(session, decision.by ?? found[1].name, decision._tag)
    // Told when it is on record, so that who watches knows what a crash would leave.
    return record(session, asked, decision).pipe(
      Effect.zipRight(session_.decided(session, asked, found[1], decision)),
      Effect.zipRight(
        decision._tag === "HandOver" ? handOver(decision, asked) : outcome(session, attempt, asked, decision, otherwise)
      )
    )
  }
  /** However long the answer takes, it is not the recovery's time. */
  const handOver = (decision: AnyHandOver, asked: Strategy.Failure<never>): AnyEffect =>
    Effect.flatMap(withRules(session, decision.ask), (next) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => settle({ by: decision.by, ...next }, { ...asked, at }))
    )
  const otherwise = (decision: Otherwise): AnyEffect =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.flatMap(withRules(session, decision.otherwise ?? Effect.succeed(Decision.exhausted)), (next) =>
        settle(next, Strategy.later(failure, now))
      )
    )
  return Effect.flatMap(withRules(session, driverFor(session, found)(failure)), (decision) => settle(decision, failure))
}

type AnyHandOver = Decision.HandOver<unknown, unknown, unknown>
type Otherwise = Exclude<AnyDecision, Decision.GiveUp | AnyHandOver>

/**
 * A defect beside a failure is a bug and passes. The failure goes with it as a
 * defect: its tag has left the type, so nobody further out expects it.
 */
const asDefect = (cause: Cause.Cause<unknown>): Cause.Cause<never> => Cause.flatMap(cause, (error) => Cause.die(error))

const makeFailure = (
  session: Session,
  { at, attempt, error }: PastFailure,
  fault: Fault.Fault,
  cause: Cause.Cause<unknown>
): Strategy.Failure<never> => {
  session.firstAt ??= at
  session.fault = fault
  // The plan found the strategy by this very error, so it is of the type the strategy takes.
  const { source } = session.options
  return {
    error,
    fault,
    cause,
    source,
    attempt,
    at,
    elapsed: Duration.millis(at - session.firstAt)
  } as Strategy.Failure<never>
}

const driverFor = (session: Session, [key, strategy]: Found): AnyDriver => {
  const open = session.drivers.get(key)
  if (open !== undefined) return open
  const driver = strategy.open()
  session.drivers.set(key, driver)
  return driver
}

/** Ways that lead to further ways end too, if not as soon: each recovery may try all of those that were meant. */
const maxWays = 100

const maxDecisionsOf = ({ options }: Session): number => options.limits?.maxDecisions ?? 1_000

const withinCount = (session: Session, decision: AnyDecision): boolean => {
  return decision._tag === "GiveUp" || ++session.settled <= maxDecisionsOf(session) + maxWays
}

/** Only running again can go on for ever; every other decision ends the recovery, or leads to another way. */
const withinLimits = (
  session: Session,
  failure: Strategy.Failure<unknown>,
  again: Decision.Again<unknown, unknown, unknown>
) => {
  if (session.decisions.length >= maxDecisionsOf(session)) return false
  const maxElapsed = session.options.limits?.maxElapsed
  return maxElapsed === undefined || Duration.lessThanOrEqualTo(Duration.sum(failure.elapsed, again.delay), maxElapsed)
}

const take = (session: Session, strategy: string, decision: AnyDecision["_tag"]): void => {
  session.decisions.push({ strategy, decision })
}

const record = (
  { options }: Session,
  failure: Strategy.Failure<unknown>,
  decision: AnyDecision
): Effect.Effect<void, never, unknown> => {
  if (decision._tag !== "Again") return Effect.void
  const recorded = options.onAgain?.(failure, decision.delay) ?? Effect.void
  return decision.patch === undefined ? recorded : Effect.zipRight(decision.patch, recorded)
}

const outcome = (
  session: Session,
  attempt: Attempt,
  failure: Strategy.Failure<unknown>,
  decision: Exclude<AnyDecision, AnyHandOver>,
  otherwise: (decision: Otherwise) => AnyEffect
): AnyEffect => {
  switch (decision._tag) {
    case "Again": {
      const again = Effect.suspend(() => {
        // Paid for when it starts: a retry that was only planned has cost the system nothing.
        if (decision.budget?.tokens.spend() === false) return otherwise(decision)
        session.attempts = failure.attempt + 1
        return Effect.catchAllCause(attempt(session.attempts), (cause) =>
          answer(session, attempt, session.attempts, cause)
        )
      })
      return Effect.zipRight(sleepUntil(failure.at + Duration.toMillis(decision.delay)), again)
    }
    case "Instead": {
      if (decision.otherwise === undefined) return decision.effect
      return Effect.catchAllCause(decision.effect, (cause) =>
        Cause.isFailure(cause) && !Cause.isDie(cause)
          ? Effect.suspend(() => {
              session.options.onFailure?.()
              return otherwise(decision)
            })
          : Effect.failCause(asDefect(cause))
      )
    }
    case "Rewind":
      return decision.begin
    case "GiveUp":
      if (!decision.exhausted) return Effect.failCause(failure.cause)
      session.exhaustion = session.options.exhaustion?.() ?? exhaustion(session, failure)
      return Effect.fail(session.exhaustion)
  }
}

/** Delays count from the failure, whatever was done since. */
const sleepUntil = (time: number): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => longSleep(time - now))

const exhaustion = (session: Session, failure: Strategy.Failure<unknown>): RecoveryExhausted<unknown> =>
  new RecoveryExhausted({
    error: failure.error,
    attempts: failure.attempt,
    decisions: session.decisions,
    fault: failure.fault
  })
