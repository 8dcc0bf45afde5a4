import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Decision from "../../Decision.js"
import type * as Events from "../../Events.js"
import * as Fault from "../../Fault.js"
import { type DecisionTaken, RecoveryExhausted } from "../../RecoveryError.js"
import type * as Strategy from "../../StrategyModel.js"
import { recoveryMetrics } from "./metrics.js"
import type { Found, Plan } from "./plan.js"
import type { RecoveryJournal } from "./runServices.js"

/** Bounds of one recovery. */
export interface Limits {
  /** The most decisions of one recovery, a whole number; 0 allows no retry. Defaults to 1,000. */
  readonly maxDecisions?: number | undefined
  /** The longest time from the first failure to the start of a retry; 0 allows retries without delay. Defaults to no limit. */
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
  /** The clock of the recorded times. Defaults to that of the process. */
  readonly clock?: Clock.Clock | undefined
  /** Makes the error of an exhausted recovery. Defaults to `RecoveryExhausted`. */
  readonly exhaustion?: (() => unknown) | undefined
  /** Called after each failed attempt, before its strategy is asked. */
  readonly onFailure?: (() => void) | undefined
  /** Runs at each `Again`, before its delay. A step records the retry here, so that a resume continues the wait. */
  readonly onAgain?: ((failure: Strategy.Failure<unknown>, delay: Duration.Duration) => Effect.Effect<void>) | undefined
}

export type AnyEffect = Effect.Effect<unknown, unknown, unknown>
export type AnyDecision = Decision.Decision<unknown, unknown, unknown>
export type AnyAgain = Decision.Again<unknown, unknown, unknown>
export type AnyHandOver = Decision.HandOver<unknown, unknown, unknown>
export type WithAlternative = Exclude<AnyDecision, Decision.GiveUp | AnyHandOver>
export type Attempt = (number: number) => AnyEffect

/** The state of one recovery, from its first failure to its end. */
export class Session {
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
  /** The record of the recovery, from its first handled failure on, in the body of a run. */
  journal: RecoveryJournal | undefined
  /** The last replayed failure and the `Again` it was answered with. */
  replayed: { readonly attempt: number; readonly decision: AnyAgain | undefined } | undefined

  constructor(plan: Plan, options: RecoverOptions, first: number) {
    this.plan = plan
    this.options = options
    this.metrics = recoveryMetrics(options.name)
    this.attempts = first
  }

  get source(): Events.Source {
    return this.journal?.source ?? this.options.source
  }

  /** What is recorded beyond the process has a clock that other processes share. */
  get clock(): Clock.Clock | undefined {
    return this.journal?.clock ?? this.options.clock
  }

  get now(): Effect.Effect<number> {
    return this.clock?.currentTimeMillis ?? Clock.currentTimeMillis
  }
}

export const makeFailure = (
  session: Session,
  { at, attempt, error }: PastFailure,
  fault: Fault.Fault,
  cause: Cause.Cause<unknown>
): Strategy.Failure<never> => {
  session.firstAt ??= at
  session.fault = fault
  const elapsed = Duration.millis(at - session.firstAt)
  const { source } = session
  // The plan chose the strategy by this error, so the error has the type that the strategy takes.
  return { error, fault, cause, source, attempt, at, elapsed } as Strategy.Failure<never>
}

export const driverFor = (session: Session, [key, strategy]: Found) => {
  const open = session.drivers.get(key)
  if (open !== undefined) return open
  const driver = strategy.open()
  session.drivers.set(key, driver)
  return driver
}

/** A bound on alternatives after the last allowed decision, so that every recovery can try those it has. */
const maxAlternatives = 100

const maxDecisionsOf = ({ options }: Session): number => options.limits?.maxDecisions ?? 1_000

export const withinCount = (session: Session, decision: AnyDecision): boolean =>
  decision._tag === "GiveUp" || ++session.decided <= maxDecisionsOf(session) + maxAlternatives

/** Only `Again` is limited: every other decision ends the recovery or leads to one of finitely many alternatives. */
export const withinLimits = (session: Session, failure: Strategy.Failure<unknown>, again: AnyAgain) => {
  if (session.decisions.length >= maxDecisionsOf(session)) return false
  const maxElapsed = session.options.limits?.maxElapsed
  return maxElapsed === undefined || Duration.lessThanOrEqualTo(Duration.sum(failure.elapsed, again.delay), maxElapsed)
}

export const addDecision = (session: Session, strategy: string, decision: AnyDecision): void => {
  session.decisions.push({ strategy, decision: decision._tag })
  if (decision._tag === "Again") session.delays.push(decision.delay)
}

export const exhaustion = (session: Session, failure: Strategy.Failure<unknown>): RecoveryExhausted<unknown> =>
  new RecoveryExhausted({
    error: failure.error,
    attempts: failure.attempt,
    decisions: session.decisions,
    fault: failure.fault
  })

/** Provides the recovery's own rules to its strategies. The attempts themselves do not see them. */
export const withRules = <A, E, R>(
  { options: { rules } }: Session,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  rules === undefined
    ? self
    : Effect.flatMap(Fault.Rules, (inForce) => Effect.provideService(self, Fault.Rules, [...rules, ...inForce]))

/** Strategies measure the time since a failure by the clock of that failure. */
export const withClock = <A, E, R>({ clock }: Session, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  clock === undefined ? self : Effect.withClock(self, clock)
