import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import { type PastFailure, recoverFrom } from "../../../resilience/internal/kernel/recovery.js"
import { isTraced, withSpan } from "../../../resilience/internal/kernel/tracing.js"
import type * as Strategy from "../../../resilience/Strategy.js"
import type { Restore } from "../../../storage/Storage.js"
import { noOutput } from "../../../transaction/Compensation.js"
import { StepConflict } from "../../RunError.js"
import * as live_ from "../execution/execution.js"
import * as Branch from "../execution/fiberTree.js"
import * as Replays from "../execution/replay.js"
import * as Order from "../execution/replayOrder.js"
import { errorCodec } from "../journal/codec.js"
import { markOf, type StepRecord } from "../journal/journal.js"
import * as Waits from "../wait/waits.js"
import { answer, isAnswered } from "./answerStep.js"
import type { AnyEffect, Attempt, Definition } from "./definition.js"
import { afterAmbiguous, failedBefore, goOnWaiting, pastOf, restUntil } from "./resumeStep.js"
import { settle } from "./settleStep.js"
import { append, appendEntry, journalError, sourceOf, type Use } from "./stepUse.js"
import { transactional } from "./transactional.js"
import { canBeUndone, registerUndo } from "./undoStep.js"

export const runStep = (definition: Definition, input: unknown): AnyEffect =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(live_.Run, (run) => {
        const live = run.live
        if (live.stopped !== undefined) return live_.stop(live, live.stopped)
        const around = Branch.stepOf(fiber)
        if (around !== undefined) return Effect.die(new StepInsideStep(definition.name, around))
        const key = live_.enter(run, definition.name, fiber)
        if (key instanceof StepConflict) return live_.stop(live, key)
        const use = makeUse(run, definition, input, key, fiber, runtimeFlags)
        const end = () => live_.leave(run, definition.name)
        const mismatch = checkOrder(use)
        if (mismatch !== undefined) return Effect.ensuring(live_.stop(live, mismatch), Effect.sync(end))
        if (isAnswered(use.record)) return Effect.ensuring(answer(use, use.record), Effect.sync(end))
        // A run that is about to be rewound begins nothing more.
        const parks = live.rewinding || Replays.find(live.replays, key) !== undefined
        if (parks) return Effect.ensuring(parked(use), Effect.sync(end))
        return live.how.isLeaving() ? Effect.ensuring(left(use), Effect.sync(end)) : fresh(use, fiber, restore, end)
      })
    )
  )

/** An attempt was cut short, and nobody has found out whether it happened. */
const isUnsure = (record: StepRecord | undefined): boolean => record?.status === "started" || record?.unsure === true

const makeUse = (
  { live, permit }: live_.RunService,
  definition: Definition,
  input: unknown,
  key: string,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  flags: RuntimeFlags.RuntimeFlags
): Use => ({
  live,
  permit,
  definition,
  input,
  key,
  record: live.journal.steps.get(key),
  isUnsure: isUnsure(live.journal.steps.get(key)),
  traced: isTraced(fiber),
  isInterruptible: RuntimeFlags.interruptible(flags),
  root: Order.isRoot(fiber, flags, live),
  context: fiber.currentContext,
  output: noOutput(),
  writes: []
})

const checkOrder = ({ definition, key, live, record, root }: Use) => {
  // One that is only recorded if it can be may have come to anything.
  if (definition.bestEffort && !isAnswered(record)) Order.giveUp(live)
  return Order.meet(live, key, { isAnswered: isAnswered(record), isRoot: root })
}

/** Its process is to stop: the run is left before the step, for another one to go on. */
const left = ({ key, live, permit }: Use): AnyEffect => {
  const parked = Waits.park(live, key, { kind: "sleep", signal: undefined, until: undefined, waiting: undefined })
  // Nobody comes back from here, so its place is for whoever has still to end.
  return Effect.zipRight(permit?.release ?? Effect.void, Effect.zipRight(parked, Replays.never))
}

/** The types refuse it, but a cast may hide it. */
class StepInsideStep extends Error {
  constructor(step: string, around: string) {
    super(
      `step "${step}" is used inside of "${around}": the journal could not tell them apart; compose them in the workflow`
    )
    this.name = "StepInsideStep"
  }
}

/** The run is only replayed here: what was begun is known to its compensation, and nothing is begun. */
const parked = (use: Use): AnyEffect =>
  Effect.suspend(() => {
    const { key, live, record } = use
    const known = record ?? live.journal.undos.get(key)
    if (known !== undefined && !use.definition.transactional) registerUndo(use, known.order)
    Replays.meet(live.replays, key)
    return Replays.park(live.replays, key, known !== undefined)
  })

const fresh = (
  use: Use,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  restore: Restore,
  leave: () => void
): AnyEffect => {
  const { cells } = use.live
  const rest = Branch.working(fiber, use.key)
  const { plan } = use.definition
  Waits.begin(use.live)
  if (plan !== undefined) use.live.asking.set(use.key, { step: use, questions: 0 })
  cells.working.set(use.key, use.writes)
  const end = () => {
    leave()
    rest()
    cells.working.delete(use.key)
    if (plan !== undefined) use.live.asking.delete(use.key)
  }
  const settled = (exit: Exit.Exit<unknown, unknown>) => {
    end()
    // What it came to is on record before the run is left.
    return Effect.matchCauseEffect(settle(use, exit), {
      onSuccess: (value) => {
        Waits.end(use.live)
        return Effect.succeed(value)
      },
      onFailure: (cause) => {
        Waits.end(use.live)
        return Effect.failCause(cause)
      }
    })
  }
  return Effect.matchCauseEffect(attempts(use, restore), {
    onSuccess: (value) => settled(Exit.succeed(value)),
    onFailure: (cause) => settled(Exit.failCause(cause))
  })
}

const attempts = (use: Use, restore: Restore): AnyEffect => {
  const { plan } = use.definition
  // What is committed together with its own line and has none did not happen: there is nothing to go on from.
  const isAsNew = use.definition.transactional && use.record?.status === "started"
  if (use.record !== undefined && !isAsNew) {
    if (!use.definition.transactional) registerUndo(use, use.record.order)
    use.live.cells.meet(use.key)
    Replays.meet(use.live.replays, use.key)
    return restore(resumed(use, use.record))
  }
  if (plan === undefined) return Effect.zipRight(started(use, 1), restore(body(use, 1)))
  return restore(recoverFrom(1, (number) => attempt(use, number), plan, performOptions(use, [])))
}

const attempt = (use: Use, number: number): AnyEffect =>
  Effect.zipRight(Effect.uninterruptible(started(use, number)), body(use, number))

const body = (use: Use, number: number): AnyEffect => {
  const run = Effect.suspend(() => {
    const attempt = attemptOf(use, number)
    const work = () => use.definition.run(use.input, attempt)
    const { fault } = use.live
    return fault === undefined ? work() : Effect.zipRight(fault(use.definition.name, attempt), Effect.suspend(work))
  })
  const whole = use.definition.transactional ? transactional(use, number, run) : run
  return use.traced ? withSpan(use.definition.name, { run: use.live.id, step: use.key, attempt: number }, whole) : whole
}

/** The start marker is on stable storage before the effect begins, and with it that there is something to undo. */
const started = (use: Use, number: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    use.attempt = number
    use.isRunning = true
    use.isUnsure = false
    const { compensate, pivot, transactional } = use.definition
    // What is committed together with its own line needs none before it: it happened, or it did not.
    if (transactional) return Effect.void
    const payload = markOf({ pivot, undo: compensate !== undefined, root: use.root })
    const entry = live_.nextEntry(use.live, "AttemptStarted", use.key, number, payload)
    const marked = appendEntry(use, entry)
    const registered = canBeUndone(use) ? Effect.tap(marked, () => registerUndo(use, entry.seq)) : marked
    return live_.andEmit(use.live, registered, () => ({
      _tag: "AttemptStarted",
      source: sourceOf(use),
      attempt: number
    }))
  })

const attemptOf = (use: Use, number: number): Attempt => ({
  run: use.live.id,
  step: use.key,
  number,
  idempotencyKey: live_.idempotencyKey(use.live, use.key),
  token: use.live.lease.token
})

const performOptions = (use: Use, past: ReadonlyArray<PastFailure>) => ({
  ...use.definition.recovery,
  source: sourceOf(use),
  name: use.definition.name,
  past,
  // What the attempt has written does not hold, since it came to nothing.
  onFailure: () => {
    use.isRunning = false
    use.writes.length = 0
  },
  onAgain: (failure: Strategy.Failure<unknown>, delay: Duration.Duration) => {
    const recorded = Effect.uninterruptible(attemptFailed(use, failure, delay))
    const next = failure.at + Duration.toMillis(delay)
    return Duration.toMillis(delay) > use.live.how.patience ? Effect.zipRight(recorded, restUntil(use, next)) : recorded
  }
})

const attemptFailed = (use: Use, failure: Strategy.Failure<unknown>, delay: Duration.Duration): Effect.Effect<void> =>
  Effect.flatMap(Effect.catchAll(encodeError(use, failure.error), journalError(use, "Encode", "error")), (error) => {
    const { cause: _, ...fault } = failure.fault
    // For ever has no JSON form.
    const next = Math.min(failure.at + Duration.toMillis(delay), Number.MAX_SAFE_INTEGER)
    return append(use, "AttemptFailed", failure.attempt, JSON.stringify({ next, fault, error }), failure.at)
  }) as Effect.Effect<void>

const encodeError = (use: Use, error: unknown) =>
  Effect.map(errorCodec(use.definition.error).encode(error), (text) => (text === undefined ? null : JSON.parse(text)))

const resumed = (use: Use, record: StepRecord): AnyEffect => {
  const { onAmbiguous, plan } = use.definition
  const { status } = record
  use.attempt = record.attempts
  const begin =
    status === "waiting"
      ? goOnWaiting(use, record)
      : status === "asked"
        ? failedBefore(use, record)
        : afterAmbiguous(use, record)
  // The failure is that of the attempt that was asked about or cut short, and none is begun.
  const failsAtOnce = status === "asked" || (status === "started" && (onAmbiguous === "fail" || onAmbiguous === "ask"))
  const first = failsAtOnce ? record.attempts : record.attempts + 1
  const run = onAmbiguous === "probe" && (status === "started" || record.unsure) ? probing(use) : attempt
  const beginFirst = failsAtOnce ? begin : Effect.zipRight(begin, run(use, first))
  const go = (number: number) => (number === first ? beginFirst : run(use, number))
  return Effect.flatMap(pastOf(use, record), (past) =>
    plan === undefined ? go(first) : recoverFrom(first, go, plan, performOptions(use, past))
  )
}

/** Whether it has happened the world outside knows. As long as it has not said, nothing is run. */
const probing = ({ definition: { probe } }: Use): typeof attempt => {
  let isUnsure = true
  return (use, number) =>
    Effect.suspend(() =>
      isUnsure && probe !== undefined
        ? Effect.flatMap(
            probe(use.input, attemptOf(use, number)),
            Option.match({
              onNone: () => {
                isUnsure = false
                return attempt(use, number)
              },
              onSome: Effect.succeed
            })
          )
        : attempt(use, number)
    )
}
