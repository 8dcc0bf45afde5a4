import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { StepRecord } from "../../../journal/Journal.js"
import { errorCodec } from "../../../journal/JournalCodec.js"
import { markOf } from "../../../journal/JournalLine.js"
import { StepConflict } from "../../../journal/RunError.js"
import { recordOf } from "../../../resilience/FaultRecord.js"
import { recoverFrom } from "../../../resilience/internal/kernel/recovery.js"
import type { PastFailure } from "../../../resilience/internal/kernel/session.js"
import { isTraced, withSpan } from "../../../resilience/internal/kernel/tracing.js"
import type * as Strategy from "../../../resilience/Strategy.js"
import type { Restore } from "../../../storage/Storage.js"
import { noOutput } from "../../../transaction/Compensation.js"
import { beginWork, endWork, whileResting } from "../execution/activity.js"
import { isBrief, isLeaving, isToCancel } from "../execution/control.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import * as Order from "../execution/replayOrder.js"
import { awaitGate, isGateOpen } from "../wait/gate.js"
import { park } from "../wait/wait.js"
import type { AnyEffect, Definition, Kind } from "./definition.js"
import { once } from "./once.js"
import {
  answer,
  failAsAsked,
  holdIfCutShort,
  isAnswered,
  pastFailures,
  recordAmbiguous,
  resumeBackoff,
  sleepUntil
} from "./replayStep.js"
import {
  append,
  appendThen,
  attemptOf,
  deferStart,
  emitStep,
  journalError,
  markReached,
  recordInterruption,
  recordResult,
  registerUndo,
  type StepUse,
  sourceOf,
  takeStart,
  transactional
} from "./stepUse.js"

/** Uses a step: answers from the journal, or runs it and records the result. */
export const runStep = (definition: Definition, input: unknown): AnyEffect =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
    Effect.uninterruptibleMask((restore) => {
      const run = Execution.runOf(fiber.currentContext)
      const { execution } = run
      const refused = Execution.refusal(run, fiber, RuntimeFlags.interruptible(runtimeFlags))
      if (refused !== undefined) return refused
      const outer = FiberTree.stepOf(fiber)
      if (outer !== undefined) return Effect.die(new StepInsideStep(definition.name, outer))
      const key = Execution.claimKey(run, definition.name, fiber)
      if (key instanceof StepConflict) return Execution.stop(execution, key)
      const use = makeUse(run, definition, input, key, fiber, runtimeFlags)
      const release = () => Execution.releaseKey(run, definition.name)
      const mismatch = checkOrder(use)
      const withoutRun = mismatch === undefined ? unlessToRun(use) : Execution.stop(execution, mismatch)
      if (withoutRun !== undefined) return Effect.ensuring(withoutRun, Effect.sync(release))
      const begin = () => runAndRecord(use, fiber, restore, release)
      if (isLeaving(execution)) return runAfterHold(use, fiber, begin, release)
      return isGateOpen(execution, use.record?.interruptedAt) ? begin() : runAfterGate(use, fiber, begin, release)
    })
  )

/** Waits until the recorded answers were given. The run may have stopped, or begun a rewind, meanwhile. */
const runAfterGate = (
  use: StepUse,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  begin: () => AnyEffect,
  release: () => void
): AnyEffect => {
  // The run may be cancelled where it waits here.
  if (isToCancel(use.execution)) registerBegun(use)
  return Execution.withExit(interruptibleAs(use, awaitGate(use.execution, use.record?.interruptedAt)), (exit) => {
    if (use.execution.lifecycle.isCancelling) registerBegun(use)
    const refused = Exit.isSuccess(exit)
      ? (Execution.refusal(use, fiber, use.isInterruptible) ?? unlessToRun(use))
      : undefined
    if (Exit.isSuccess(exit) && refused === undefined) {
      return isLeaving(use.execution) ? runAfterHold(use, fiber, begin, release) : begin()
    }
    const interrupted = Exit.isSuccess(exit) ? (refused ?? Effect.void) : Effect.zipRight(recordInterruption(use), exit)
    return Effect.ensuring(interrupted, Effect.sync(release))
  })
}

/** Registers the compensation of a step that an earlier execution has begun. */
const registerBegun = (use: StepUse): void => {
  const { definition, execution, key, record } = use
  const known = record ?? execution.journal.undos.get(key)
  if (known === undefined) return
  if (definition.kind !== "transactional") registerUndo(use, known.order)
  Replay.reached(execution.replay.active, key)
}

/** What was interrupted can be interrupted again: a backoff can, also where the step itself cannot. */
const interruptibleAs = ({ isInterruptible, record }: StepUse, self: AnyEffect): AnyEffect =>
  isInterruptible || record?.interruptedAt !== undefined ? Effect.interruptible(self) : self

/** Leaves the run, or begins the step if the hold is released before the run has stopped. */
const runAfterHold = (
  use: StepUse,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  begin: () => AnyEffect,
  release: () => void
): AnyEffect =>
  Execution.withExit(leave(use), (exit) =>
    Exit.isSuccess(exit)
      ? Effect.zipRight(use.permit?.take ?? Effect.void, runAfterGate(use, fiber, begin, release))
      : Effect.ensuring(exit, Effect.sync(release))
  )

/** What happens instead if the step is answered, or only replayed. */
const unlessToRun = (use: StepUse): AnyEffect | undefined => {
  const { execution, key, record } = use
  if (isAnswered(record)) return answer(use, record)
  return Execution.isReplayOnly(execution, key) ? parkForReplay(use) : undefined
}

const makeUse = (
  { execution, pass, permit }: Execution.RunService,
  definition: Definition,
  input: unknown,
  key: string,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  flags: RuntimeFlags.RuntimeFlags
): StepUse => {
  const record = execution.journal.steps.get(key)
  return {
    execution,
    pass,
    permit,
    definition,
    input,
    key,
    record,
    isUnsure: record?.status === "started" || record?.unsure === true,
    isTraced: isTraced(fiber),
    isInterruptible: RuntimeFlags.interruptible(flags),
    isRoot: Order.isRoot(fiber, flags, execution),
    branch: fiber.getFiberRef(FiberTree.current),
    fiber,
    context: fiber.currentContext,
    output: noOutput(),
    writes: []
  }
}

const checkOrder = ({ definition, execution, isRoot, key, record }: StepUse) => {
  // A best-effort step may have had a result that was not recorded, and the program acted on it.
  if (definition.bestEffort && !isAnswered(record)) Order.acceptDivergence(execution)
  return Order.check(execution, key, { isAnswered: isAnswered(record), isRoot })
}

/**
 * The process shuts down, or the run is on hold: it stops before this step, and is resumed there. Returns if the hold
 * is released before.
 */
const leave = ({ execution, key, permit }: StepUse): Effect.Effect<unknown> => {
  const parked = park(execution, key, { kind: "sleep", signal: undefined, until: undefined, waiting: undefined })
  // The fiber gives its place to a node that has still to end.
  return Effect.zipRight(permit?.release ?? Effect.void, parked)
}

/** The types refuse it, but a cast may hide it. */
class StepInsideStep extends Error {
  constructor(step: string, outer: string) {
    super(
      `step "${step}" is used inside of "${outer}": the journal could not tell them apart; compose them in the workflow`
    )
    this.name = "StepInsideStep"
  }
}

/** Registers the compensation of a step that has begun, and waits for the end of the replay. */
const parkForReplay = (use: StepUse): AnyEffect =>
  Effect.suspend(() => {
    const { execution, key, record } = use
    registerBegun(use)
    Replay.reached(execution.replay.active, key)
    return Replay.park(execution.replay.active, key, (record ?? execution.journal.undos.get(key)) !== undefined)
  })

const runAndRecord = (
  use: StepUse,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  restore: Restore,
  release: () => void
): AnyEffect => {
  const { definition, execution, key } = use
  const { asking } = execution.activity
  const leaveStep = FiberTree.enterStep(fiber, key)
  beginWork(execution)
  if (definition.plan !== undefined) {
    const { error, schema, success } = definition
    const isAttemptRunning = () => use.isAttemptRunning === true
    asking.set(key, { key, error, schema, success, isAttemptRunning, takeStart: () => takeStart(use), questions: 0 })
  }
  execution.cells.working.set(key, use.writes)
  // The step counts as working until its result is recorded, so that the run is not suspended before.
  const ended = (recorded: Exit.Exit<unknown, unknown>) => {
    endWork(execution)
    return recorded
  }
  return Execution.withExit(attempts(use, restore), (exit: Exit.Exit<unknown, unknown>) => {
    release()
    leaveStep()
    execution.cells.working.delete(key)
    if (definition.plan !== undefined) asking.delete(key)
    return recordResult(use, exit, ended)
  })
}

const attempts = (use: StepUse, restore: Restore): AnyEffect => {
  const { kind, plan } = use.definition
  // Without its result in the journal a transactional attempt was not committed, so there is nothing to resume.
  const isNew = use.record === undefined || (kind === "transactional" && use.record.status === "started")
  if (use.record !== undefined && !isNew) {
    if (kind !== "transactional") registerUndo(use, use.record.order)
    markReached(use)
    return restore(resumeAttempts(use, use.record))
  }
  if (plan === undefined) return recordAttempt(use, 1, restore(runAttempt(use, 1)))
  return restore(recoverFrom(1, (number) => attempt(use, number), plan, performOptions(use, [])))
}

/** A step that cannot be interrupted makes no further attempt once the run is being cancelled. */
const attempt = (use: StepUse, number: number): AnyEffect => {
  if (use.execution.lifecycle.isCancelling) return Effect.interrupt
  // A retry that is due while the run is to stop begins when it is resumed.
  return number > 1 && isLeaving(use.execution)
    ? Effect.zipRight(
        leaveInside(use),
        Effect.suspend(() => attempt(use, number))
      )
    : Effect.zipRight(
        Effect.uninterruptible(Effect.suspend(() => recordAttempt(use, number, Effect.void))),
        runAttempt(use, number)
      )
}

/** As `leave`, for a step that counts as working. */
const leaveInside = (use: StepUse): Effect.Effect<unknown> =>
  whileResting(use.execution, use.permit, leave({ ...use, permit: undefined }))

/** How an attempt is committed, by the kind of its step. */
const committing: Readonly<Record<Kind, (use: StepUse, number: number, run: AnyEffect) => AnyEffect>> = {
  plain: (_, __, run) => run,
  transactional,
  once
}

const runAttempt = (use: StepUse, number: number): AnyEffect => {
  const { definition, execution, input, key } = use
  const run = Effect.suspend(() => {
    const attempt = attemptOf(use, number)
    const work = () => definition.run(input, attempt)
    const { fault } = execution
    return fault === undefined ? work() : Effect.zipRight(fault(definition.name, attempt), Effect.suspend(work))
  })
  const whole = committing[definition.kind](use, number, run)
  return use.isTraced ? withSpan(definition.name, { run: execution.id, step: key, attempt: number }, whole) : whole
}

/** Records the attempt, and so its compensation, before its effects begin. */
const recordAttempt = (use: StepUse, number: number, run: AnyEffect): AnyEffect => {
  use.attempt = number
  use.isAttemptRunning = true
  use.isUnsure = false
  const { definition, execution, isRoot, key } = use
  const { compensate, kind, pivot, startMarker } = definition
  // Committed together with its result, so it needs no record before.
  if (kind === "transactional") return run
  const payload = markOf({ pivot, undo: compensate !== undefined, root: isRoot })
  const entry = Execution.nextEntry(execution, "AttemptStarted", key, number, payload)
  const begin = (): AnyEffect => {
    registerUndo(use, entry.seq)
    if (!execution.watch.isOn()) return run
    return Effect.zipRight(
      emitStep(use, (source) => ({ _tag: "AttemptStarted", source, attempt: number })),
      run
    )
  }
  if (startMarker === "with-result") {
    deferStart(use, entry)
    return begin()
  }
  const durability = startMarker === "process-crash" ? startMarker : undefined
  return appendThen(use, [entry], (exit) => (Exit.isSuccess(exit) ? begin() : exit), durability)
}

const performOptions = (use: StepUse, past: ReadonlyArray<PastFailure>) => ({
  ...use.definition.recovery,
  source: sourceOf(use),
  clock: use.execution.clock,
  name: use.definition.name,
  past,
  onFailure: () => {
    use.isAttemptRunning = false
    // Writes to State of a failed attempt are dropped.
    use.writes.length = 0
  },
  onAgain: (failure: Strategy.Failure<unknown>, delay: Duration.Duration) => {
    const recorded = Effect.uninterruptible(recordRetry(use, failure, delay))
    const next = failure.at + Duration.toMillis(delay)
    return isBrief(use.execution, Duration.toMillis(delay))
      ? recorded
      : Effect.zipRight(recorded, sleepUntil(use, next))
  }
})

const recordRetry = (use: StepUse, failure: Strategy.Failure<unknown>, delay: Duration.Duration): Effect.Effect<void> =>
  Effect.flatMap(Effect.catchAll(encodeError(use, failure.error), journalError(use, "Encode", "error")), (error) => {
    const fault = recordOf(failure.fault, failure.error)
    // JSON has no infinity.
    const next = Math.min(failure.at + Duration.toMillis(delay), Number.MAX_SAFE_INTEGER)
    return append(use, "AttemptFailed", failure.attempt, JSON.stringify({ next, fault, error }), failure.at)
    // What the schema needs is in the type of the step.
  }) as Effect.Effect<void>

const encodeError = (use: StepUse, error: unknown) =>
  Effect.map(errorCodec(use.definition.error).encode(error), (text) => (text === undefined ? null : JSON.parse(text)))

/** Continues the attempts of an earlier process. */
const resumeAttempts = (use: StepUse, record: StepRecord): AnyEffect => {
  const { kind, onAmbiguous, plan } = use.definition
  const { status } = record
  use.attempt = record.attempts
  const begin =
    status === "waiting"
      ? resumeBackoff(use, record)
      : status === "asked"
        ? failAsAsked(use, record)
        : kind === "once"
          ? Effect.void
          : recordAmbiguous(use, record)
  // The recorded attempt fails again, and the strategy decides about it before another attempt runs.
  const failsAtOnce = status === "asked" || (status === "started" && (onAmbiguous === "fail" || onAmbiguous === "ask"))
  const first = failsAtOnce ? record.attempts : record.attempts + 1
  const run = onAmbiguous === "probe" && (status === "started" || record.unsure) ? probing(use) : attempt
  const next = Effect.suspend(() => run(use, first))
  const beginFirst = failsAtOnce
    ? begin
    : Effect.flatMap(Effect.uninterruptible(holdIfCutShort(use, record)), (isHeld) =>
        isHeld
          ? Effect.zipRight(Effect.zipRight(recordAmbiguous(use, record), leaveInside(use)), next)
          : Effect.zipRight(begin, next)
      )
  const go = (number: number) => (number === first ? beginFirst : run(use, number))
  return Effect.flatMap(pastFailures(use, record), (past) =>
    plan === undefined ? go(first) : recoverFrom(first, go, plan, performOptions(use, past))
  )
}

/** Asks the probe whether the attempt happened. Until the probe has answered, no attempt runs. */
const probing = ({ definition: { probe } }: StepUse): typeof attempt => {
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
