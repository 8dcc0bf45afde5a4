import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Decision from "../../Decision.js"
import * as Events from "../../Events.js"
import type * as Fault from "../../Fault.js"
import type * as RetryBudget from "../../RetryBudget.js"
import type * as Strategy from "../../Strategy.js"
import type { DecisionTaken } from "../errors.js"
import * as meters from "../observe/metrics.js"

/** Which strategy takes which error. */
export interface Plan {
  /**
   * Finds the strategy for an error, under the key that tells apart what each
   * strategy remembers. The fault is made when it is asked for.
   */
  readonly find: (error: unknown, fault: () => Fault.Fault) => Found | undefined
  /** What retries are paid from; first attempts earn for them. */
  readonly budgets: ReadonlyArray<RetryBudget.RetryBudget>
}

export type Found = readonly [key: string, strategy: Strategy.For<never>]

export interface Limits {
  /** Decisions of one recovery, a finite number. Defaults to 1,000. */
  readonly maxDecisions?: number | undefined
  /** From the first failure; leave it out to have no limit. */
  readonly maxElapsed?: Duration.DurationInput | undefined
}

/**
 * What to run beside a recovery, in its fiber. A hook never changes the
 * outcome: what it fails or dies with is logged. The recovery waits for it, so
 * give one that may hang a timeout.
 *
 * @since 0.1.0
 * @category models
 */
export interface Hooks {
  /** A failure was classified, and a strategy is asked about it. */
  readonly onFault?: ((failure: Strategy.Failure<unknown>) => Effect.Effect<unknown, unknown>) | undefined
  /** The strategy has answered. */
  readonly onDecision?:
    | ((failure: Strategy.Failure<unknown>, decision: AnyDecision) => Effect.Effect<unknown, unknown>)
    | undefined
  /** The recovery came to an end. Of one that was interrupted nobody waits for it. */
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
  /** How often it was tried, also where a breaker refused the call. */
  readonly attempts: number
  /** From the first failure. */
  readonly elapsed: Duration.Duration
  readonly exit: Exit.Exit<unknown, unknown>
}

/** A failure that was answered with `Again` before this process took over. */
export interface PastFailure {
  readonly error: unknown
  readonly attempt: number
  readonly at: number
}

export interface Options {
  readonly source: Events.Source
  /** How it is called in metrics. */
  readonly name?: string | undefined
  readonly limits?: Limits | undefined
  readonly hooks?: Hooks | undefined
  /** Asked before the rules in force. */
  readonly rules?: ReadonlyArray<Fault.Rule> | undefined
  readonly past?: ReadonlyArray<PastFailure> | undefined
  /** What to fail with when nothing is left to try. Defaults to `RecoveryExhausted`. */
  readonly exhaustion?: (() => unknown) | undefined
  /** Called with every failed attempt, before anybody is asked about it. */
  readonly onFailure?: (() => void) | undefined
  /** Called with every `Again` before its delay; what it does decides how durable the wait is. */
  readonly onAgain?: ((failure: Strategy.Failure<unknown>, delay: Duration.Duration) => Effect.Effect<void>) | undefined
}

export type AnyDecision = Decision.Decision<unknown, unknown, unknown>
export type AnyDriver = Strategy.Driver<never, unknown, unknown, unknown>

/** What one recovery knows: the open strategies and what they have decided. */
export interface Session {
  readonly plan: Plan
  readonly options: Options
  readonly meters: ReturnType<typeof meters.forRecovery>
  readonly drivers: Map<string, AnyDriver>
  readonly decisions: Array<DecisionTaken>
  /** Before each retry, oldest first. */
  readonly delays: Array<Duration.Duration>
  firstAt: number | undefined
  /** The last failure. */
  fault: Fault.Fault | undefined
  /** The last attempt that was begun. */
  attempts: number
  /** Decisions, and those that did not come about. */
  settled: number
  /** What it failed with when nothing was left to try. */
  exhaustion: unknown
  /** The last failure from before, and what was decided then. */
  replayed: { readonly attempt: number; readonly decision: AnyAgain | undefined } | undefined
}

type AnyAgain = Decision.Again<unknown, unknown, unknown>

export const make = (plan: Plan, options: Options, first: number): Session => ({
  plan,
  options,
  meters: meters.forRecovery(options.name),
  drivers: new Map(),
  decisions: [],
  delays: [],
  firstAt: undefined,
  fault: undefined,
  attempts: first,
  settled: 0,
  exhaustion: undefined,
  replayed: undefined
})

export const asked = (session: Session, failure: Strategy.Failure<unknown>): Effect.Effect<void> => {
  session.meters.fault(failure.fault.category)
  return beside(session, "onFault", (hooks) => hooks.onFault?.(failure))
}

export const decided = (
  session: Session,
  failure: Strategy.Failure<unknown>,
  strategy: Strategy.For<never>,
  decision: AnyDecision
): Effect.Effect<void> => {
  const name = decision.by ?? strategy.name
  session.meters.decision(name, decision._tag)
  if (decision._tag === "Again") session.delays.push(decision.delay)
  const event: Events.Event = {
    _tag: "Decided",
    source: session.options.source,
    attempt: failure.attempt,
    fault: failure.fault,
    strategy: name,
    decision: decision._tag,
    delay: decision._tag === "Again" ? decision.delay : Duration.zero
  }
  const hook = beside(session, "onDecision", (hooks) => hooks.onDecision?.(failure, decision))
  return Events.emit(event).pipe(Effect.zipRight(onSpan(event)), Effect.zipRight(hook))
}

/** Whoever traces sees in the span of the moment what was decided, and why. */
const onSpan = (event: Extract<Events.Event, { readonly _tag: "Decided" }>): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    const span = fiber.currentSpan
    if (span?._tag !== "Span") return Effect.void
    const { attempt, decision, delay, fault, strategy } = event
    const attributes = { attempt, strategy, decision, delay: Duration.toMillis(delay), category: fault.category }
    return Effect.map(Clock.currentTimeNanos, (now) => span.event("recovery.decision", now, attributes))
  })

/** Called where nothing can interrupt: whoever is told gets a fiber of its own, and is waited for as the caller could be. */
export const ended = (
  session: Session,
  exit: Exit.Exit<unknown, unknown>,
  restore: (waiting: Effect.Effect<void>) => Effect.Effect<void>
): Effect.Effect<void> => {
  const { attempts, decisions, delays, fault, firstAt, meters, options } = session
  // No strategy was asked: this was no recovery.
  if (firstAt === undefined || fault === undefined) return Effect.void
  return Effect.flatMap(Effect.zip(Clock.currentTimeMillis, Events.watch), ([now, watch]) => {
    const outcome = outcomeOf(session, exit)
    const elapsed = Duration.millis(now - firstAt)
    meters.ended(outcome)
    if (!watch.isOn() && options.hooks?.onOutcome === undefined) return Effect.void
    const told = Effect.zipRight(
      watch.emit({
        _tag: "RecoveryEnded",
        source: options.source,
        outcome,
        attempts,
        elapsed,
        fault,
        decisions,
        delays
      }),
      beside(session, "onOutcome", (hooks) => hooks.onOutcome?.({ outcome, attempts, elapsed, exit }))
    )
    return Effect.flatMap(Effect.forkDaemon(Effect.interruptible(told)), (fiber) => restore(Fiber.join(fiber)))
  })
}

const outcomeOf = (session: Session, exit: Exit.Exit<unknown, unknown>): Events.Outcome => {
  if (Exit.isSuccess(exit)) return "recovered"
  if (Cause.isInterruptedOnly(exit.cause)) return "interrupted"
  const error = Cause.failureOption(exit.cause)
  // A recovery further in may be exhausted too, with an error of its own.
  const isOurs = error._tag === "Some" && session.exhaustion !== undefined && error.value === session.exhaustion
  return isOurs ? "exhausted" : "failed"
}

const beside = (
  { options: { hooks } }: Session,
  name: keyof Hooks,
  run: (hooks: Hooks) => Effect.Effect<unknown, unknown> | undefined
): Effect.Effect<void> =>
  hooks?.[name] === undefined
    ? Effect.void
    : Effect.catchAllCause(Effect.asVoid(Effect.suspend(() => run(hooks) ?? Effect.void)), (cause) =>
        Effect.logWarning(`effect-recovery: the hook ${name} failed; the recovery goes on`, cause)
      )
