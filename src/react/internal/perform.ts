import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Decision from "../Decision.js"
import * as Events from "../Events.js"
import * as Fault from "../Fault.js"
import type * as Strategy from "../Strategy.js"
import { type DecisionTaken, RecoveryExhausted } from "./errors.js"

/**
 * Finds the strategy for an error, under the key that tells apart what each
 * strategy remembers.
 */
export type Plan = (error: unknown) => readonly [key: string, strategy: Strategy.For<never>] | undefined

export interface Limits {
  /** Decisions of one recovery. Defaults to 1,000. */
  readonly maxDecisions?: number | undefined
  /** From the first failure. Defaults to no limit. */
  readonly maxElapsed?: Duration.DurationInput | undefined
}

/** A failure that was answered with `Again` before this process took over. */
export interface PastFailure {
  readonly error: unknown
  readonly attempt: number
  readonly at: number
}

export interface Options {
  readonly source: Events.Source
  readonly limits?: Limits | undefined
  readonly past?: ReadonlyArray<PastFailure> | undefined
  /** Called with every `Again` before its delay; what it does decides how durable the wait is. */
  readonly onAgain?: ((failure: Strategy.Failure<unknown>, delay: Duration.Duration) => Effect.Effect<void>) | undefined
}

type AnyDecision = Decision.Decision<unknown, unknown, unknown>
type AnyDriver = Strategy.Driver<never, unknown, unknown, unknown>

/** Runs `self` under a plan. Nothing is allocated until the first failure. */
export const perform = (
  self: Effect.Effect<unknown, unknown, unknown>,
  plan: Plan,
  options: Options
): Effect.Effect<unknown, unknown, unknown> => performFrom(1, () => self, plan, options)

/** The same for attempts that know their number; `first` is the one to begin with. */
export const performFrom = (
  first: number,
  attempt: (number: number) => Effect.Effect<unknown, unknown, unknown>,
  plan: Plan,
  options: Options
): Effect.Effect<unknown, unknown, unknown> =>
  Effect.catchAllCause(attempt(first), (cause) =>
    Effect.flatMap(openSession(plan, options), (session) => answer(session, attempt, first, cause))
  )

/** What one recovery knows: the open strategies and what they have decided. */
interface Session {
  readonly plan: Plan
  readonly options: Options
  readonly drivers: Map<string, AnyDriver>
  readonly decisions: Array<DecisionTaken>
  firstAt: number | undefined
}

const openSession = Effect.fnUntraced(function* (plan: Plan, options: Options) {
  const session: Session = { plan, options, drivers: new Map(), decisions: [], firstAt: undefined }
  for (const past of options.past ?? []) yield* replay(session, past)
  return session
})

/** Brings the strategies to where they stood, by asking them what they were asked. */
const replay = Effect.fnUntraced(function* (session: Session, past: PastFailure) {
  const found = session.plan(past.error)
  if (found === undefined) return
  const fault = yield* Fault.classify(past.error)
  const failure = makeFailure(session, past, fault, Cause.fail(past.error))
  let decision: AnyDecision | undefined = yield* driverFor(session, found)(failure)
  // What was recorded is an Again: if another way was tried before it, it failed.
  while (decision?._tag === "Instead") decision = decision.otherwise && (yield* decision.otherwise)
  take(session, found[1], "Again")
})

const answer = (
  session: Session,
  attempt: (number: number) => Effect.Effect<unknown, unknown, unknown>,
  number: number,
  cause: Cause.Cause<unknown>
): Effect.Effect<unknown, unknown, unknown> => {
  const error = recoverable(cause)
  const found = Option.isSome(error) ? session.plan(error.value) : undefined
  if (Option.isNone(error) || found === undefined) return Effect.failCause(cause)
  return Effect.flatMap(fail(session, number, error.value, cause), (failure) => {
    const settle = (decision: AnyDecision): Effect.Effect<unknown, unknown, unknown> => {
      const bounded = withinLimits(session, failure, decision)
      take(session, found[1], bounded._tag)
      return Effect.zipRight(
        announce(session, failure, found[1], bounded),
        outcome(session, attempt, failure, bounded, settle)
      )
    }
    return Effect.flatMap(driverFor(session, found)(failure), settle)
  })
}

/** Typed failures are answered; a defect beside one is a bug and passes, interruption passes. */
const recoverable = (cause: Cause.Cause<unknown>): Option.Option<unknown> =>
  Option.isSome(Cause.dieOption(cause)) ? Option.none() : Cause.failureOption(cause)

const fail = Effect.fnUntraced(function* (
  session: Session,
  attempt: number,
  error: unknown,
  cause: Cause.Cause<unknown>
) {
  const fault = yield* Fault.classify(error)
  const at = yield* Clock.currentTimeMillis
  return makeFailure(session, { error, attempt, at }, { ...fault, cause }, cause)
})

const makeFailure = (
  session: Session,
  { at, attempt, error }: PastFailure,
  fault: Fault.Fault,
  cause: Cause.Cause<unknown>
): Strategy.Failure<never> => {
  session.firstAt ??= at
  // The plan found the strategy by this very error, so it is of the type the strategy takes.
  return { error, fault, cause, attempt, at, elapsed: Duration.millis(at - session.firstAt) } as Strategy.Failure<never>
}

const driverFor = (session: Session, [key, strategy]: readonly [string, Strategy.For<never>]): AnyDriver => {
  const open = session.drivers.get(key)
  if (open !== undefined) return open
  const driver = strategy.open()
  session.drivers.set(key, driver)
  return driver
}

const exhausted: Decision.GiveUp = { _tag: "GiveUp", exhausted: true }

const withinLimits = (session: Session, failure: Strategy.Failure<unknown>, decision: AnyDecision): AnyDecision => {
  const limits = session.options.limits
  if (session.decisions.length >= (limits?.maxDecisions ?? 1_000)) return exhausted
  if (decision._tag !== "Again" || limits?.maxElapsed === undefined) return decision
  const until = Duration.sum(failure.elapsed, decision.delay)
  return Duration.greaterThan(until, limits.maxElapsed) ? exhausted : decision
}

const take = (session: Session, strategy: Strategy.For<never>, decision: AnyDecision["_tag"]): void => {
  session.decisions.push({ strategy: strategy.name, decision })
}

const announce = (
  session: Session,
  failure: Strategy.Failure<unknown>,
  strategy: Strategy.For<never>,
  decision: AnyDecision
): Effect.Effect<void> =>
  Events.emit({
    _tag: "Decided",
    source: session.options.source,
    attempt: failure.attempt,
    fault: failure.fault,
    strategy: strategy.name,
    decision: decision._tag,
    delay: decision._tag === "Again" ? decision.delay : Duration.zero
  })

const outcome = (
  session: Session,
  attempt: (number: number) => Effect.Effect<unknown, unknown, unknown>,
  failure: Strategy.Failure<unknown>,
  decision: AnyDecision,
  settle: (decision: AnyDecision) => Effect.Effect<unknown, unknown, unknown>
): Effect.Effect<unknown, unknown, unknown> => {
  switch (decision._tag) {
    case "Again": {
      const next = failure.attempt + 1
      const wait = Effect.zipRight(
        session.options.onAgain?.(failure, decision.delay) ?? Effect.void,
        Effect.sleep(decision.delay)
      )
      return Effect.zipRight(
        wait,
        Effect.catchAllCause(attempt(next), (cause) => answer(session, attempt, next, cause))
      )
    }
    case "Instead": {
      const otherwise = decision.otherwise
      if (otherwise === undefined) return decision.effect
      return Effect.catchAllCause(decision.effect, (cause) =>
        Option.isSome(recoverable(cause)) ? Effect.flatMap(otherwise, settle) : Effect.failCause(cause)
      )
    }
    case "GiveUp":
      return decision.exhausted ? Effect.fail(exhaustion(session, failure)) : Effect.failCause(failure.cause)
  }
}

const exhaustion = (session: Session, failure: Strategy.Failure<unknown>): RecoveryExhausted<unknown> =>
  new RecoveryExhausted({
    error: failure.error,
    attempts: failure.attempt,
    decisions: session.decisions,
    fault: failure.fault
  })
