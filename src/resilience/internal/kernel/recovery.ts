import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Decision from "../../Decision.js"
import * as Fault from "../../Fault.js"
import type * as RetryBudget from "../../RetryBudget.js"
import * as Strategy from "../../StrategyModel.js"
import { markExhausted } from "../fault/recorded.js"
import type { Found, Plan } from "./plan.js"
import { reportDecision, reportOutcome, runHook } from "./report.js"
import { Decisions, type RecordedDecision, type RecoveryJournal } from "./runServices.js"
import {
  type AnyDecision,
  type AnyEffect,
  type AnyHandOver,
  type Attempt,
  addDecision,
  driverFor,
  exhaustion,
  makeFailure,
  type PastFailure,
  type RecoverOptions,
  Session,
  type WithAlternative,
  withClock,
  withinCount,
  withinLimits,
  withRules
} from "./session.js"
import { longSleep } from "./timer.js"

/** Runs `self` and recovers its failures by the plan. Costs one combinator if `self` succeeds. */
export const recover = (self: AnyEffect, plan: Plan, options: RecoverOptions): AnyEffect =>
  recoverFrom(1, () => self, plan, options)

/** As {@link recover}, for attempts that receive their number. Starts with attempt `first`. */
export const recoverFrom = (first: number, attempt: Attempt, plan: Plan, options: RecoverOptions): AnyEffect =>
  // Only the first attempt credits the retry budgets.
  Effect.catchAllCause(creditBudgets(first === 1 ? plan.budgets : [], attempt(first)), (cause) =>
    Effect.flatMap(openSession(plan, options, first), (session) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.exit(restore(handleFailure(session, attempt, first, cause))), (exit) =>
          Effect.zipRight(reportOutcome(session, exit, restore), exit)
        )
      )
    )
  )

/** Credits each budget for one first attempt, when `self` starts. */
export const creditBudgets = (budgets: ReadonlyArray<RetryBudget.RetryBudget>, self: AnyEffect): AnyEffect =>
  budgets.reduce((credited, { tokens }) => tokens.credit(credited), self)

const openSession = Effect.fnUntraced(function* (plan: Plan, options: RecoverOptions, first: number) {
  options.onFailure?.()
  const session = new Session(plan, options, first)
  for (const past of options.past ?? []) yield* replay(session, past)
  return session
})

const lowestRandom = Random.fixed([0])

/** Asks the strategies about a recorded failure again, so that they reach the state they had in that process. */
const replay = Effect.fnUntraced(function* (session: Session, past: PastFailure) {
  const classify = yield* Fault.classifier(session.options.rules)
  const fault = past.fault ?? classify(past.error)
  const found = session.plan.find(past.error, () => fault)
  if (found === undefined) return
  const failure = makeFailure(session, past, fault, Cause.fail(past.error))
  // A second record of one attempt: its first retry was not performed, for example because the budget was empty.
  const alternative = session.replayed?.attempt === past.attempt ? session.replayed.decision?.otherwise : undefined
  const again = recordedAgain(alternative ?? driverFor(session, found)(failure))
  const decision = yield* atPast(past.at, withRules(session, again))
  session.replayed = { attempt: past.attempt, decision: decision?._tag === "Again" ? decision : undefined }
  session.decisions.push({ strategy: decision?.by ?? found[1].name, decision: "Again" })
})

/** Asks a strategy as an earlier process did. */
const atPast = <A, E, R>(millis: number, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) =>
    self.pipe(
      // The lowest jitter is at most the recorded one, so a limit that allowed the retry then allows it now.
      Effect.withRandom(lowestRandom),
      // At the recorded time, since alternatives measure elapsed time from when they are asked.
      Effect.withClock(clockAt(clock, millis))
    )
  )

/** Only `Again` is recorded, so an alternative decided before it must have failed: skips to the `Again`. */
const recordedAgain = <R>(
  decided: Effect.Effect<AnyDecision, never, R>
): Effect.Effect<AnyDecision | undefined, never, unknown> =>
  Effect.flatMap(decided, (decision) => {
    // The answer is in the journal too, or the recovery would still wait for it.
    if (decision._tag === "HandOver") return recordedAgain(decision.ask)
    if (decision._tag !== "Instead" && decision._tag !== "Rewind") return Effect.succeed(decision)
    return decision.otherwise === undefined ? Effect.succeed(undefined) : recordedAgain(decision.otherwise)
  })

const clockAt = (clock: Clock.Clock, millis: number): Clock.Clock =>
  Object.assign(Object.create(clock), {
    currentTimeMillis: Effect.succeed(millis),
    unsafeCurrentTimeMillis: () => millis
  })

const handleFailure = (session: Session, attempt: Attempt, number: number, cause: Cause.Cause<unknown>): AnyEffect => {
  const error = Cause.failureOption(cause)
  if (Option.isNone(error)) return Effect.failCause(cause)
  return Effect.flatMap(Fault.classifier(session.options.rules), (classify) => {
    let classified: Fault.Fault | undefined
    const fault = () => {
      classified ??= classify(error.value)
      return classified
    }
    session.options.onFailure?.()
    const found = session.plan.find(error.value, fault)
    if (found === undefined) return Effect.failCause(cause)
    if (Cause.isDie(cause)) return Effect.failCause(asDefect(cause))
    return Effect.flatMap(journalOf(session, error.value, fault()), (journal) => {
      const past = journal?.recorded(number, fault())
      const failed = (at: number, fault: Fault.Fault) =>
        makeFailure(session, { error: error.value, attempt: number, at }, { ...fault, cause }, cause)
      // An earlier execution of the run has reported this failure.
      if (past !== undefined) return askStrategy(session, attempt, failed(past.at, past.fault), found)
      return Effect.flatMap(Effect.zipRight(beginDecision(session), session.now), (at) => {
        const failure = failed(at, fault())
        session.metrics.fault(failure.fault.category)
        const hook = runHook(session, "onFault", (hooks) => hooks.onFault?.(failure))
        return Effect.zipRight(hook, askStrategy(session, attempt, failure, found))
      })
    })
  })
}

/** The record of this recovery in the body of a run. Opened at the first failure, so a success does not ask for it. */
const journalOf = (session: Session, error: unknown, fault: Fault.Fault): Effect.Effect<RecoveryJournal | undefined> =>
  session.firstAt !== undefined
    ? Effect.succeed(session.journal)
    : Effect.contextWithEffect((context: Context.Context<never>) => {
        const decisions = Context.getOption(context, Decisions)
        if (Option.isNone(decisions)) return Effect.succeed(undefined)
        const name = session.options.source.recovery
        return Effect.map(decisions.value.open({ name, error, fault }), (journal) => {
          session.journal = journal
          return journal
        })
      })

/** In a run, nothing is decided anew while the run is only replayed. */
const beginDecision = ({ journal }: Session): Effect.Effect<void> => journal?.begin ?? Effect.void

const askStrategy = (session: Session, attempt: Attempt, failure: Strategy.Failure<never>, found: Found): AnyEffect => {
  const { journal } = session
  const recorded = () => journal?.recorded(failure.attempt, failure.fault)
  const nameOf = (decision: AnyDecision) => decision.by ?? found[1].name

  /** Delays and limits count from `asked.at`: the failure, the answer, or the failure of an earlier alternative. */
  const perform = (decision: AnyDecision, asked: Strategy.Failure<never>): AnyEffect => {
    if (!withinCount(session, decision)) return perform(exhaustedBy(decision), asked)
    const past = recorded()
    if (past !== undefined) return performRecorded(decision, past, asked)
    if (decision._tag === "Again" && !withinLimits(session, asked, decision)) return performAlternative(decision)
    const by = nameOf(decision)
    addDecision(session, by, decision)
    // Recorded before it is reported: an observer never sees a decision that a crash would lose.
    return record(session, asked, decision, by).pipe(
      Effect.zipRight(reportDecision(session, asked, by, decision)),
      Effect.zipRight(performNow(decision, asked))
    )
  }
  /** Performs a decision that the journal has, and reports nothing: that was done when it was recorded. */
  const performRecorded = (
    decision: AnyDecision,
    past: RecordedDecision,
    asked: Strategy.Failure<never>
  ): AnyEffect => {
    const by = nameOf(decision)
    if (decision._tag !== past.decision || by !== past.by) {
      // The strategies before the recorded one had their turn: a limit refused them, or they are ranked otherwise now.
      if (isFollowed(decision, past)) return performAlternative(decision)
      journal?.diverge()
      return Effect.zipRight(
        beginDecision(session),
        Effect.suspend(() => perform(decision, asked))
      )
    }
    const timed = decision._tag === "Again" ? { ...decision, delay: delayOf(past) } : decision
    addDecision(session, by, timed)
    const patch = decision._tag === "Again" ? (decision.patch ?? Effect.void) : Effect.void
    return Effect.zipRight(
      Effect.zipRight(journal?.take ?? Effect.void, patch),
      Effect.suspend(() => performNow(timed, { ...asked, at: past.at }))
    )
  }
  const performNow = (decision: AnyDecision, asked: Strategy.Failure<never>): AnyEffect =>
    decision._tag === "HandOver"
      ? performHandOver(decision, asked)
      : effectOf(session, attempt, asked, decision, performAlternative)
  /** The time until the answer does not count as elapsed time of the recovery. */
  const performHandOver = (decision: AnyHandOver, asked: Strategy.Failure<never>): AnyEffect =>
    Effect.flatMap(withRules(session, decision.ask), (next) =>
      Effect.flatMap(timeOf(recorded()), (at) => perform({ by: decision.by, ...next }, { ...asked, at }))
    )
  const performAlternative = (decision: WithAlternative): AnyEffect =>
    Effect.suspend(() => {
      const past = recorded()
      const otherwise = withRules(session, decision.otherwise ?? Effect.succeed(exhaustedBy(decision)))
      return Effect.flatMap(timeOf(past), (now) =>
        Effect.flatMap(askedAgain(past, otherwise), (next) => perform(next, Strategy.later(failure, now)))
      )
    })
  /** The time of a recorded decision, or of a new one. */
  const timeOf = (past: RecordedDecision | undefined): Effect.Effect<number> =>
    past === undefined ? Effect.zipRight(beginDecision(session), session.now) : Effect.succeed(past.at)
  const askedAgain = <R>(past: RecordedDecision | undefined, self: Effect.Effect<AnyDecision, never, R>) =>
    journal === undefined || past === undefined ? withClock(session, self) : atPast(past.at, journal.ranked(self))

  return Effect.flatMap(askedAgain(recorded(), withRules(session, driverFor(session, found)(failure))), (decision) =>
    perform(decision, failure)
  )
}

/** Whether an alternative of this decision may be the recorded one. */
const isFollowed = (decision: AnyDecision, past: RecordedDecision): decision is WithAlternative =>
  decision._tag !== "GiveUp" &&
  decision._tag !== "HandOver" &&
  (decision.otherwise !== undefined || (decision._tag === "Again" && past.decision === "GiveUp"))

const delayOf = ({ at, next = at }: RecordedDecision): Duration.Duration => Duration.millis(next - at)

/** Records a decision before it is performed: a step its retries, a run every decision of a recovery in its body. */
const record = (
  { journal, options }: Session,
  failure: Strategy.Failure<unknown>,
  decision: AnyDecision,
  by: string
): Effect.Effect<void, never, unknown> => {
  if (decision._tag !== "Again") return journal?.decided(failure, decision, by) ?? Effect.void
  const recorded = journal?.decided(failure, decision, by) ?? options.onAgain?.(failure, decision.delay) ?? Effect.void
  return decision.patch === undefined ? recorded : Effect.zipRight(decision.patch, recorded)
}

/** Gives up in the name of the strategy whose decision a limit refused. */
const exhaustedBy = ({ by }: AnyDecision): Decision.GiveUp => ({ ...Decision.exhausted, by })

/**
 * A defect beside a failure is a bug, which no strategy handles. The failure
 * becomes a defect too, since its tag is no longer part of the error type.
 */
const asDefect = (cause: Cause.Cause<unknown>): Cause.Cause<never> => Cause.flatMap(cause, (error) => Cause.die(error))

const effectOf = (
  session: Session,
  attempt: Attempt,
  failure: Strategy.Failure<unknown>,
  decision: Exclude<AnyDecision, AnyHandOver>,
  performAlternative: (decision: WithAlternative) => AnyEffect
): AnyEffect => {
  switch (decision._tag) {
    case "Again": {
      const again = Effect.suspend(() => {
        const past = session.journal?.isPast(failure.attempt)
        // A second record of one attempt: the budget refused the retry.
        if (past === "refused") return performAlternative(decision)
        // Debited when the retry starts: a retry that is interrupted during its delay costs no token.
        if (past !== "retried" && decision.budget?.tokens.debit() === false) return performAlternative(decision)
        session.attempts = failure.attempt + 1
        return Effect.catchAllCause(attempt(session.attempts), (cause) =>
          handleFailure(session, attempt, session.attempts, cause)
        )
      })
      const delay = Duration.toMillis(decision.delay)
      const slept = session.journal?.sleepUntil(failure.at + delay) ?? sleepFrom(session, failure.at, delay)
      return Effect.zipRight(slept, again)
    }
    case "Instead": {
      if (decision.otherwise === undefined) return decision.effect
      return Effect.catchAllCause(decision.effect, (cause) =>
        Cause.isFailure(cause) && !Cause.isDie(cause)
          ? Effect.suspend(() => {
              session.options.onFailure?.()
              return performAlternative(decision)
            })
          : Effect.failCause(asDefect(cause))
      )
    }
    case "Rewind":
      return decision.begin
    case "GiveUp":
      if (decision.bare === true) surfaceExhausted(session, failure)
      if (!decision.exhausted) return Effect.failCause(failure.cause)
      session.exhaustion = session.options.exhaustion?.() ?? exhaustion(session, failure)
      return Effect.fail(session.exhaustion)
  }
}

/** Fails with the original error, which is marked: a run that ends by it is `exhausted`. */
const surfaceExhausted = (session: Session, { error }: Strategy.Failure<unknown>): void => {
  session.exhaustion = error
  if (session.decisions.some(({ decision }) => decision !== "GiveUp")) markExhausted(error)
}

/**
 * The delay counts from the failure, so time spent in hooks and observers does not extend it, nor does a clock that was
 * set back since.
 */
const sleepFrom = ({ now }: Session, failedAt: number, delay: number): Effect.Effect<void> =>
  Effect.flatMap(now, (now) => longSleep(Math.min(delay, failedAt + delay - now)))
