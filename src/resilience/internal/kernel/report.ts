import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Events from "../../Events.js"
import type * as Strategy from "../../StrategyModel.js"
import { logged } from "./logged.js"
import type { AnyDecision, Hooks, Session } from "./session.js"

export const reportDecision = (
  session: Session,
  failure: Strategy.Failure<unknown>,
  strategy: string,
  decision: AnyDecision
): Effect.Effect<void> => {
  session.metrics.decision(strategy, decision._tag)
  const event: Decided = {
    _tag: "Decided",
    source: session.source,
    attempt: failure.attempt,
    fault: failure.fault,
    strategy,
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
export const reportOutcome = (
  session: Session,
  exit: Exit.Exit<unknown, unknown>,
  restore: (waiting: Effect.Effect<void>) => Effect.Effect<void>
): Effect.Effect<void> => {
  const { attempts, decisions, delays, fault, firstAt, journal, metrics, options, source } = session
  // No strategy was asked, so this was not a recovery.
  if (firstAt === undefined || fault === undefined) return Effect.void
  const outcome = outcomeOf(session, exit)
  const reported = Effect.flatMap(Effect.zip(session.now, Events.watch), ([now, watch]) => {
    const elapsed = Duration.millis(now - firstAt)
    metrics.ended(outcome)
    if (!watch.isOn() && options.hooks?.onOutcome === undefined) return Effect.void
    const report = Effect.zipRight(
      watch.emit({ _tag: "RecoveryEnded", source, outcome, attempts, elapsed, fault, decisions, delays }),
      runHook(session, "onOutcome", (hooks) => hooks.onOutcome?.({ outcome, attempts, elapsed, exit }))
    )
    return Effect.flatMap(Effect.forkDaemon(Effect.interruptible(report)), (fiber) => restore(Fiber.join(fiber)))
  })
  return journal === undefined
    ? reported
    : Effect.flatMap(journal.ended(outcome, attempts), (isNew) => (isNew ? reported : Effect.void))
}

const outcomeOf = (session: Session, exit: Exit.Exit<unknown, unknown>): Events.Outcome => {
  if (Exit.isSuccess(exit)) return "recovered"
  if (Cause.isInterruptedOnly(exit.cause)) return "interrupted"
  const error = Cause.failureOption(exit.cause)
  // Compared by identity: a nested recovery may surface a RecoveryExhausted of its own.
  const isOurs = Option.isSome(error) && session.exhaustion !== undefined && error.value === session.exhaustion
  return isOurs ? "exhausted" : "failed"
}

export const runHook = (
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
