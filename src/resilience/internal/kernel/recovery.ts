import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Decision from "../../Decision.js"
import * as Events from "../../Events.js"
import * as Fault from "../../Fault.js"
import { tagOf } from "../../Foreign.js"
import { type DecisionTaken, RecoveryExhausted } from "../../RecoveryError.js"
import type * as RetryBudget from "../../RetryBudget.js"
import * as Strategy from "../../StrategyModel.js"
import { logged } from "./logged.js"
import { recoveryMetrics } from "./metrics.js"
import { longSleep } from "./timer.js"

/** Decides which strategy handles which error. */
export interface Plan {
  /** Finds the strategy for an error. Calls `fault` only if it needs the classification. */
  readonly find: (error: unknown, fault: () => Fault.Fault) => Found | undefined
  /** The budgets that pay for retries. Each first attempt credits them. */
  readonly budgets: ReadonlyArray<RetryBudget.RetryBudget>
}

/** Strategies keep their state per key for the length of one recovery. */
type Found = readonly [key: string, strategy: Strategy.For<never>]

type Table = ReadonlyMap<string, Strategy.For<never>>

/** A handler that is `undefined` at run time is left out, so its failures surface unchanged. */
const tableOf = (handlers: object): Table => {
  // The callers' types say that the values are strategies or undefined.
  const entries = Object.entries(handlers) as ReadonlyArray<readonly [string, Strategy.For<never> | undefined]>
  return new Map(entries.flatMap(([key, strategy]) => (strategy === undefined ? [] : [[key, strategy] as const])))
}

/** Each budget once, even if several strategies share it. */
const budgetsOf = (strategies: Iterable<Strategy.For<never>>): Plan["budgets"] => [
  ...new Set([...strategies].flatMap(({ budgets }) => budgets))
]

const lookUp = (table: Table, key: string | undefined): Found | undefined => {
  const strategy = key === undefined ? undefined : table.get(key)
  return key === undefined || strategy === undefined ? undefined : [key, strategy]
}

export const planByTag = (handlers: object): Plan => {
  const table = tableOf(handlers)
  return { budgets: budgetsOf(table.values()), find: (error) => lookUp(table, tagOf(error)) }
}

export const planByCategory = (handlers: object): Plan => {
  const table = tableOf(handlers)
  return {
    budgets: budgetsOf(table.values()),
    find: (_, fault) => lookUp(table, fault().category) ?? lookUp(table, "otherwise")
  }
}

export const planForAll = (strategy: Strategy.For<never>): Plan => ({
  budgets: budgetsOf([strategy]),
  find: () => ["*", strategy]
})

/** Bounds of one recovery. */
export interface Limits {
  /** The most decisions of one recovery, a whole number. Defaults to 1,000. */
  readonly maxDecisions?: number | undefined
  /** The longest time from the first failure to the start of a retry. Defaults to no limit. */
  readonly maxElapsed?: Duration.DurationInput | undefined
}

/**
 * Effects that run during a recovery, in its fiber. The recovery waits for a
 * hook, so give one that may hang a timeout. A hook that fails or dies is
 * logged and never changes the outcome.
 *
 * @since 0.1.0
 * @category models
 */
export interface Hooks {
  /** Runs after a failure is classified and before its strategy is asked. */
  readonly onFault?: ((failure: Strategy.Failure<unknown>) => Effect.Effect<unknown, unknown>) | undefined
  /** Runs after the strategy has decided and before the decision is performed. */
  readonly onDecision?:
    | ((failure: Strategy.Failure<unknown>, decision: AnyDecision) => Effect.Effect<unknown, unknown>)
    | undefined
  /** Runs when the recovery ends. An interrupted recovery does not wait for it. */
  readonly onOutcome?: ((report: Report) => Effect.Effect<unknown, unknown>) | undefined
}

/**
 * How a recovery ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface Report {
  readonly outcome: Events.Outcome
  /** All attempts, including calls that a breaker refused. */
  readonly attempts: number
  /** From the first failure to the end. */
  readonly elapsed: Duration.Duration
  readonly exit: Exit.Exit<unknown, unknown>
}

/** A failure that an earlier process answered with `Again`. */
export interface PastFailure {
  readonly error: unknown
  /** Its classification in that process. */
  readonly fault?: Fault.Fault | undefined
  readonly attempt: number
  readonly at: number
}

export interface RecoverOptions {
  readonly source: Events.Source
  /** The name in metrics. */
  readonly name?: string | undefined
  readonly limits?: Limits | undefined
  readonly hooks?: Hooks | undefined
  /** Classification rules that go before the rules in force. */
  readonly rules?: ReadonlyArray<Fault.Rule> | undefined
  readonly past?: ReadonlyArray<PastFailure> | undefined
  /** Makes the error of an exhausted recovery. Defaults to `RecoveryExhausted`. */
  readonly exhaustion?: (() => unknown) | undefined
  /** Called after each failed attempt, before its strategy is asked. */
  readonly onFailure?: (() => void) | undefined
  /** Runs at each `Again`, before its delay. A step records the retry here, so that a resume continues the wait. */
  readonly onAgain?: ((failure: Strategy.Failure<unknown>, delay: Duration.Duration) => Effect.Effect<void>) | undefined
}

type AnyEffect = Effect.Effect<unknown, unknown, unknown>
type AnyDecision = Decision.Decision<unknown, unknown, unknown>
type AnyAgain = Decision.Again<unknown, unknown, unknown>
type AnyHandOver = Decision.HandOver<unknown, unknown, unknown>
type WithAlternative = Exclude<AnyDecision, Decision.GiveUp | AnyHandOver>
type Attempt = (number: number) => AnyEffect

/** The state of one recovery, from its first failure to its end. */
class Session {
  readonly plan: Plan
  readonly options: RecoverOptions
  readonly metrics: ReturnType<typeof recoveryMetrics>
  readonly drivers = new Map<string, Strategy.Driver<never, unknown, unknown, unknown>>()
  readonly decisions: Array<DecisionTaken> = []
  /** The delay before each retry, oldest first. */
  readonly delays: Array<Duration.Duration> = []
  firstAt: number | undefined
  /** The classification of the last failure. */
  fault: Fault.Fault | undefined
  /** The number of the last attempt that started. */
  attempts: number
  /** All decisions, including those whose effect failed and was replaced by an alternative. */
  decided = 0
  /** The error this recovery failed with when it was exhausted. */
  exhaustion: unknown
  /** The last replayed failure and the `Again` it was answered with. */
  replayed: { readonly attempt: number; readonly decision: AnyAgain | undefined } | undefined

  constructor(plan: Plan, options: RecoverOptions, first: number) {
    this.plan = plan
    this.options = options
    this.metrics = recoveryMetrics(options.name)
    this.attempts = first
  }
}

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
  const clock = yield* Effect.clock
  const decision = yield* withRules(session, recordedAgain(alternative ?? driverFor(session, found)(failure))).pipe(
    // The lowest jitter is at most the recorded one, so a limit that allowed the retry then allows it now.
    Effect.withRandom(lowestRandom),
    // At the recorded time, since alternatives measure elapsed time from when they are asked.
    Effect.withClock(clockAt(clock, past.at))
  )
  session.replayed = { attempt: past.attempt, decision: decision?._tag === "Again" ? decision : undefined }
  addDecision(session, decision?.by ?? found[1].name, "Again")
})

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

/** Provides the recovery's own rules to its strategies. The attempts themselves do not see them. */
const withRules = <A, E, R>({ options: { rules } }: Session, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  rules === undefined
    ? self
    : Effect.flatMap(Fault.Rules, (inForce) => Effect.provideService(self, Fault.Rules, [...rules, ...inForce]))

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
    return Effect.flatMap(Clock.currentTimeMillis, (at) => {
      const failure = makeFailure(session, { error: error.value, attempt: number, at }, { ...fault(), cause }, cause)
      session.metrics.fault(failure.fault.category)
      const hook = runHook(session, "onFault", (hooks) => hooks.onFault?.(failure))
      return Effect.zipRight(hook, askStrategy(session, attempt, failure, found))
    })
  })
}

const askStrategy = (session: Session, attempt: Attempt, failure: Strategy.Failure<never>, found: Found): AnyEffect => {
  /** Delays and limits count from `asked.at`: the failure, the answer, or the failure of an earlier alternative. */
  const perform = (decision: AnyDecision, asked: Strategy.Failure<never>): AnyEffect => {
    if (!withinCount(session, decision)) return perform(exhaustedBy(decision), asked)
    if (decision._tag === "Again" && !withinLimits(session, asked, decision)) return performAlternative(decision)
    addDecision(session, decision.by ?? found[1].name, decision._tag)
    // Recorded before it is reported: an observer never sees a decision that a crash would lose.
    return recordAgain(session, asked, decision).pipe(
      Effect.zipRight(reportDecision(session, asked, found[1], decision)),
      Effect.zipRight(
        decision._tag === "HandOver"
          ? performHandOver(decision, asked)
          : effectOf(session, attempt, asked, decision, performAlternative)
      )
    )
  }
  /** The time until the answer does not count as elapsed time of the recovery. */
  const performHandOver = (decision: AnyHandOver, asked: Strategy.Failure<never>): AnyEffect =>
    Effect.flatMap(withRules(session, decision.ask), (next) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => perform({ by: decision.by, ...next }, { ...asked, at }))
    )
  const performAlternative = (decision: WithAlternative): AnyEffect =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.flatMap(withRules(session, decision.otherwise ?? Effect.succeed(exhaustedBy(decision))), (next) =>
        perform(next, Strategy.later(failure, now))
      )
    )
  return Effect.flatMap(withRules(session, driverFor(session, found)(failure)), (decision) =>
    perform(decision, failure)
  )
}

/** Gives up in the name of the strategy whose decision a limit refused. */
const exhaustedBy = ({ by }: AnyDecision): Decision.GiveUp => ({ ...Decision.exhausted, by })

/**
 * A defect beside a failure is a bug, which no strategy handles. The failure
 * becomes a defect too, since its tag is no longer part of the error type.
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
  const { source } = session.options
  const elapsed = Duration.millis(at - session.firstAt)
  // The plan chose the strategy by this error, so the error has the type that the strategy takes.
  return { error, fault, cause, source, attempt, at, elapsed } as Strategy.Failure<never>
}

const driverFor = (session: Session, [key, strategy]: Found) => {
  const open = session.drivers.get(key)
  if (open !== undefined) return open
  const driver = strategy.open()
  session.drivers.set(key, driver)
  return driver
}

/** A bound on alternatives after the last allowed decision, so that every recovery can try those it has. */
const maxAlternatives = 100

const maxDecisionsOf = ({ options }: Session): number => options.limits?.maxDecisions ?? 1_000

const withinCount = (session: Session, decision: AnyDecision): boolean =>
  decision._tag === "GiveUp" || ++session.decided <= maxDecisionsOf(session) + maxAlternatives

/** Only `Again` is limited: every other decision ends the recovery or leads to one of finitely many alternatives. */
const withinLimits = (session: Session, failure: Strategy.Failure<unknown>, again: AnyAgain) => {
  if (session.decisions.length >= maxDecisionsOf(session)) return false
  const maxElapsed = session.options.limits?.maxElapsed
  return maxElapsed === undefined || Duration.lessThanOrEqualTo(Duration.sum(failure.elapsed, again.delay), maxElapsed)
}

const addDecision = (session: Session, strategy: string, decision: AnyDecision["_tag"]): void => {
  session.decisions.push({ strategy, decision })
}

const recordAgain = (
  { options }: Session,
  failure: Strategy.Failure<unknown>,
  decision: AnyDecision
): Effect.Effect<void, never, unknown> => {
  if (decision._tag !== "Again") return Effect.void
  const recorded = options.onAgain?.(failure, decision.delay) ?? Effect.void
  return decision.patch === undefined ? recorded : Effect.zipRight(decision.patch, recorded)
}

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
        // Debited when the retry starts: a retry that is interrupted during its delay costs no token.
        if (decision.budget?.tokens.debit() === false) return performAlternative(decision)
        session.attempts = failure.attempt + 1
        return Effect.catchAllCause(attempt(session.attempts), (cause) =>
          handleFailure(session, attempt, session.attempts, cause)
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
              return performAlternative(decision)
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

/** The delay counts from the failure, so time spent in hooks and observers does not extend it. */
const sleepUntil = (time: number): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => longSleep(time - now))

const exhaustion = (session: Session, failure: Strategy.Failure<unknown>): RecoveryExhausted<unknown> =>
  new RecoveryExhausted({
    error: failure.error,
    attempts: failure.attempt,
    decisions: session.decisions,
    fault: failure.fault
  })

const reportDecision = (
  session: Session,
  failure: Strategy.Failure<unknown>,
  strategy: Strategy.For<never>,
  decision: AnyDecision
): Effect.Effect<void> => {
  const name = decision.by ?? strategy.name
  session.metrics.decision(name, decision._tag)
  if (decision._tag === "Again") session.delays.push(decision.delay)
  const event: Decided = {
    _tag: "Decided",
    source: session.options.source,
    attempt: failure.attempt,
    fault: failure.fault,
    strategy: name,
    decision: decision._tag,
    delay: decision._tag === "Again" ? decision.delay : Duration.zero
  }
  const hook = runHook(session, "onDecision", (hooks) => hooks.onDecision?.(failure, decision))
  return Events.emit(event).pipe(Effect.zipRight(addSpanEvent(event)), Effect.zipRight(hook))
}

type Decided = Extract<Events.Event, { readonly _tag: "Decided" }>

/** Adds the decision to the current span, if there is one. */
const addSpanEvent = ({ attempt, decision, delay, fault, strategy }: Decided): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    const span = fiber.currentSpan
    if (span?._tag !== "Span") return Effect.void
    const attributes = { attempt, strategy, decision, delay: Duration.toMillis(delay), category: fault.category }
    return Effect.map(Clock.currentTimeNanos, (now) => span.event("recovery.decision", now, attributes))
  })

/**
 * Runs in an uninterruptible region. Observers and hooks run interruptibly in
 * a fiber of their own; `restore` lets an interruption end the wait for them.
 */
const reportOutcome = (
  session: Session,
  exit: Exit.Exit<unknown, unknown>,
  restore: (waiting: Effect.Effect<void>) => Effect.Effect<void>
): Effect.Effect<void> => {
  const { attempts, decisions, delays, fault, firstAt, metrics, options } = session
  // No strategy was asked, so this was not a recovery.
  if (firstAt === undefined || fault === undefined) return Effect.void
  return Effect.flatMap(Effect.zip(Clock.currentTimeMillis, Events.watch), ([now, watch]) => {
    const { source } = options
    const outcome = outcomeOf(session, exit)
    const elapsed = Duration.millis(now - firstAt)
    metrics.ended(outcome)
    if (!watch.isOn() && options.hooks?.onOutcome === undefined) return Effect.void
    const report = Effect.zipRight(
      watch.emit({ _tag: "RecoveryEnded", source, outcome, attempts, elapsed, fault, decisions, delays }),
      runHook(session, "onOutcome", (hooks) => hooks.onOutcome?.({ outcome, attempts, elapsed, exit }))
    )
    return Effect.flatMap(Effect.forkDaemon(Effect.interruptible(report)), (fiber) => restore(Fiber.join(fiber)))
  })
}

const outcomeOf = (session: Session, exit: Exit.Exit<unknown, unknown>): Events.Outcome => {
  if (Exit.isSuccess(exit)) return "recovered"
  if (Cause.isInterruptedOnly(exit.cause)) return "interrupted"
  const error = Cause.failureOption(exit.cause)
  // Compared by identity: a nested recovery may surface a RecoveryExhausted of its own.
  const isOurs = Option.isSome(error) && session.exhaustion !== undefined && error.value === session.exhaustion
  return isOurs ? "exhausted" : "failed"
}

const runHook = (
  { options: { hooks } }: Session,
  name: keyof Hooks,
  run: (hooks: Hooks) => Effect.Effect<unknown, unknown> | undefined
): Effect.Effect<void> =>
  hooks?.[name] === undefined
    ? Effect.void
    : logged(
        Effect.suspend(() => run(hooks) ?? Effect.void),
        `the hook ${name} failed; the recovery continues`
      )
