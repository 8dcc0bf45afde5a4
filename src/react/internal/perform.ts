import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Decision from "../Decision.js"
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

const lowest = Random.fixed([0])

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
  // The lowest draw of jitter is at most the recorded one, so what was an Again is one again.
  let decision: AnyDecision | undefined = yield* Effect.withRandom(driverFor(session, found)(failure), lowest)
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
  const error = Cause.failureOption(cause)
  const found = Option.isSome(error) ? session.plan(error.value) : undefined
  if (Option.isNone(error) || found === undefined) return Effect.failCause(cause)
  if (Cause.isDie(cause)) return Effect.failCause(asDefect(cause))
  return Effect.flatMap(fail(session, number, error.value, cause), (failure) => {
    const settle = (decision: AnyDecision): Effect.Effect<unknown, unknown, unknown> => {
      if (decision._tag === "Again" && !withinLimits(session, failure, decision)) {
        return Effect.flatMap(decision.otherwise ?? Effect.succeed(Decision.exhausted), settle)
      }
      take(session, found[1], decision._tag)
      // Told when it is on record, so that who watches knows what a crash would leave.
      return record(session, failure, decision).pipe(
        Effect.zipRight(announce(session, failure, found[1], decision)),
        Effect.zipRight(outcome(session, attempt, failure, decision, settle))
      )
    }
    return Effect.flatMap(driverFor(session, found)(failure), settle)
  })
}

/**
 * A defect beside a failure is a bug and passes. The failure goes with it as a
 * defect: its tag has left the type, so nobody further out expects it.
 */
const asDefect = (cause: Cause.Cause<unknown>): Cause.Cause<never> => Cause.flatMap(cause, (error) => Cause.die(error))

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

/** Only running again can go on for ever; every other decision ends the recovery. */
const withinLimits = (
  session: Session,
  failure: Strategy.Failure<unknown>,
  again: Decision.Again<unknown, unknown, unknown>
) => {
  const { maxDecisions = 1_000, maxElapsed } = session.options.limits ?? {}
  // Written so that NaN allows nothing.
  if (!(session.decisions.length < maxDecisions)) return false
  return maxElapsed === undefined || Duration.lessThanOrEqualTo(Duration.sum(failure.elapsed, again.delay), maxElapsed)
}

const take = (session: Session, strategy: Strategy.For<never>, decision: AnyDecision["_tag"]): void => {
  session.decisions.push({ strategy: strategy.name, decision })
}

const record = (session: Session, failure: Strategy.Failure<unknown>, decision: AnyDecision): Effect.Effect<void> =>
  (decision._tag === "Again" ? session.options.onAgain?.(failure, decision.delay) : undefined) ?? Effect.void

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
      const wait = sleepUntil(failure.at + Duration.toMillis(decision.delay))
      return Effect.zipRight(
        wait,
        Effect.catchAllCause(attempt(next), (cause) => answer(session, attempt, next, cause))
      )
    }
    case "Instead": {
      const otherwise = decision.otherwise
      if (otherwise === undefined) return decision.effect
      return Effect.catchAllCause(decision.effect, (cause) =>
        Cause.isFailure(cause) && !Cause.isDie(cause)
          ? Effect.flatMap(otherwise, settle)
          : Effect.failCause(asDefect(cause))
      )
    }
    case "GiveUp":
      return decision.exhausted ? Effect.fail(exhaustion(session, failure)) : Effect.failCause(failure.cause)
  }
}

/** Delays count from the failure, whatever was done since. */
const sleepUntil = (time: number): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sleep(Math.max(0, time - now)))

const exhaustion = (session: Session, failure: Strategy.Failure<unknown>): RecoveryExhausted<unknown> =>
  new RecoveryExhausted({
    error: failure.error,
    attempts: failure.attempt,
    decisions: session.decisions,
    fault: failure.fault
  })
