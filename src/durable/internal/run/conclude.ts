import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { decodeCancelled, decodeCancelRequest, encodeCancelled } from "../../../journal/Cancellation.js"
import { knownKeys, loadJournal } from "../../../journal/Journal.js"
import { causeCodec, valueCodec } from "../../../journal/JournalCodec.js"
import {
  CancelFailed,
  isExcused,
  isStop,
  JournalError,
  RewindFailed,
  type RunError,
  type RunHeld,
  type RunSuspended
} from "../../../journal/RunError.js"
import { statusOfFailure } from "../../../journal/RunFailure.js"
import * as Storage from "../../../storage/Storage.js"
import { RollbackFailed } from "../../../transaction/RollbackFailed.js"
import { obstacleToCancel } from "../execution/cancelling.js"
import { isToCancel, runHeld } from "../execution/control.js"
import { afterEvent, type Execution, emit, encodeFailed } from "../execution/execution.js"
import { missingAtEnd } from "../execution/replayOrder.js"
import { encodeWaiting } from "../wait/resolve.js"
import type { AnyDefinition, AnyEffect, AnyExit } from "./advance.js"
import { cancelChildren } from "./cancel.js"

/** Records the outcome of the body, or ends without one. */
export const conclude = (execution: Execution, definition: AnyDefinition, exit: AnyExit): AnyEffect => {
  const { isInterrupted, stopError } = execution.lifecycle
  const fail = (error: RunError) => endWithoutOutcome(execution, Effect.fail(error), error)
  if (stopError?._tag === "LeaseLost") return orOutcome(execution, definition, fail(stopError))
  if (stopError !== undefined) return fail(stopError)
  if (isCancelled(execution, exit)) return concludeCancelled(execution, definition)
  const open = openRollback(execution)
  if (open !== undefined && !isInterrupted) return fail(open)
  const missing = Exit.isSuccess(exit) || isTyped(exit.cause) ? missingAtEnd(execution) : undefined
  if (missing !== undefined && !isInterrupted) return fail(missing)
  if (Exit.isSuccess(exit)) return recordOutcome(execution, definition, exit)
  // The body had failed before it was interrupted, and steps of its finalizers were refused: the resume runs them.
  if (isInterrupted && Cause.isInterrupted(exit.cause)) {
    return endWithoutOutcome(execution, Effect.interrupt, "interruption")
  }
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (isStop(error)) return fail(error)
  return isTyped(exit.cause)
    ? recordOutcome(execution, definition, exit)
    : endWithoutOutcome(execution, exit, Cause.isDie(exit.cause) ? "a defect" : "interruption")
}

/** A run that was terminated, or that another process has ended, returns its outcome. */
const orOutcome = ({ id, storage }: Execution, definition: AnyDefinition, fail: AnyEffect): AnyEffect =>
  Effect.catchAll(fail, (error) =>
    Effect.matchEffect(storage.find(id), {
      onFailure: () => Effect.fail(error),
      onSuccess: Option.match({
        onNone: () => Effect.fail(error),
        onSome: ({ outcome }): AnyEffect =>
          outcome === undefined ? Effect.fail(error) : adopt(definition, id, outcome)
      })
    })
  )

/** A body that ended by itself has its own outcome. One that died has none, and would die again at each resume. */
const isCancelled = (execution: Execution, exit: AnyExit): boolean => {
  const { lifecycle } = execution
  return (
    lifecycle.isCancelling ||
    (isToCancel(execution) && !lifecycle.isInterrupted && Exit.isFailure(exit) && !isTyped(exit.cause))
  )
}

/** Records that the run was cancelled, unless compensations are left to run. */
export const concludeCancelled = (execution: Execution, definition: AnyDefinition): AnyEffect => {
  const { id: run, lease, storage, wanted } = execution
  const obstacle = obstacleToCancel(execution)
  if (obstacle !== undefined) {
    const error = new CancelFailed({ run, ...obstacle })
    return endWithoutOutcome(execution, Effect.fail(error), error)
  }
  const ended = Effect.gen(function* () {
    // Only a run with a request comes here.
    const request = yield* decodeCancelRequest(run, wanted.cancel ?? "")
    const { by, reason } = request
    yield* cancelChildren(storage, run, request)
    const { rollbacks } = yield* loadJournal(storage, { id: run, key: lease.key })
    const kept = [...rollbacks.values()].flatMap(({ line, reason }) => (reason === "cancelled" ? line.remaining : []))
    return encodeCancelled({ reason, by, kept: kept.length === 0 ? undefined : [...new Set(kept)] })
  })
  return Effect.matchEffect(ended, {
    onFailure: (error) => endWithoutOutcome(execution, Effect.fail(error), error),
    onSuccess: (exit) =>
      finish(execution, { status: "cancelled", exit }, Option.none(), (recorded) => adopt(definition, run, recorded))
  })
}

/** A scoped transaction that could not be rolled back is part of the outcome, although a finalizer can only die. */
export const isTyped = (cause: Cause.Cause<unknown>): boolean =>
  Cause.isFailure(cause) && Chunk.every(Cause.defects(cause), (defect) => defect instanceof RollbackFailed)

/** A rollback of an earlier process that the program did not reach again. The run has no outcome before it has ended. */
const openRollback = ({ id: run, journal, rollback }: Execution): RewindFailed | undefined => {
  for (const { section, status } of journal.rollbacks.values()) {
    if (status !== "started" || rollback.ended.has(section)) continue
    const remaining = knownKeys(journal).flatMap(([key, { isRequired }]) =>
      isRequired && key.startsWith(section) ? [key] : []
    )
    const point = `the start of transaction "${section}"`
    if (remaining.length > 0) return new RewindFailed({ run, point, failures: [], remaining, pivot: undefined })
  }
  return undefined
}

/** Releases or suspends the run, so that it can be executed again. */
export const endWithoutOutcome = <A, E>(
  execution: Execution,
  result: Effect.Effect<A, E>,
  reason: RunError | string
): Effect.Effect<A, E | RunError> => {
  const { lifecycle, stoppedFor, wanted } = execution
  const { stopError } = lifecycle
  if (stopError?._tag !== "RunSuspended") return Effect.zipRight(release(execution, reason), result)
  const hold = stoppedFor ?? wanted.hold
  if (hold === undefined) return Effect.zipRight(suspend(execution, stopError), result)
  const held = runHeld(execution.id, hold)
  return Effect.zipRight(suspend(execution, stopError, held), Effect.fail(held))
}

const release = (execution: Execution, stop: RunError | string) => {
  const reason = typeof stop === "string" ? stop : stop._tag
  // The next execution of the run may do better at once.
  const millis = isExcused(stop) ? undefined : execution.mode.backoff(execution.id, reason)
  return Effect.zipRight(
    releaseLease(execution, millis),
    emit(execution, (source) => ({
      _tag: "RunStopped",
      source: { ...source, step: execution.lifecycle.died?.step },
      reason
    }))
  )
}

/** A run that stops again and again is suspended for the backoff of its worker, in milliseconds. */
const releaseLease = ({ clock, lease, storage }: Execution, millis: number | undefined): Effect.Effect<void> => {
  if (millis === undefined) return storage.release(lease)
  const dueAt = clock.unsafeCurrentTimeMillis() + millis
  const suspended = storage.suspend(lease, { dueAt, signals: Number.MAX_SAFE_INTEGER })
  return Effect.catchAll(suspended, () => storage.release(lease))
}

/**
 * How many signals the run is not resumed for. A program that asks for signals by name needs another pass for those that
 * came after the lease was acquired, unless it has got them: it may have asked before they came.
 */
const signalsUsed = ({ activity, signalsBefore }: Execution): number => {
  const { signals, signalsHeard, signalsRead } = activity
  if (signalsHeard === undefined) return signalsRead
  const unheard = [...signals.keys()].findIndex((key, i) => i >= signalsBefore && !signalsHeard.has(key))
  return unheard < 0 ? Math.max(signalsRead, signalsBefore) : unheard
}

/** Makes the run due at its time, or at the next signal. A run that stops for a hold waits for both. */
const suspend = (execution: Execution, { until, waits }: RunSuspended, held?: RunHeld) => {
  const { lease, storage } = execution
  const dueAt = Option.match(until, { onNone: () => Storage.untilSignalled, onSome: (date) => date.getTime() })
  const suspended = storage.suspend(lease, { dueAt, waiting: encodeWaiting(waits), signals: signalsUsed(execution) })
  return Effect.zipRight(
    Effect.onError(suspended, () => storage.release(lease)),
    emit(execution, (source) =>
      held === undefined ? { _tag: "RunSuspended", source, until } : { _tag: "RunStopped", source, reason: held._tag }
    )
  )
}

/**
 * Records the outcome. The first recorded outcome of a run is its outcome; a
 * late executor returns the recorded one.
 */
const recordOutcome = (execution: Execution, definition: AnyDefinition, exit: AnyExit) => {
  const { id } = execution
  const [status, record, encoded] = Exit.isSuccess(exit)
    ? (["completed", "success", valueCodec(definition.success).encode(exit.value)] as const)
    : ([statusOfFailure(exit.cause), "error", causeCodec(definition.error).encode(exit.cause)] as const)
  const cause = Exit.isSuccess(exit) ? Option.none() : Option.some(exit.cause)
  return Effect.matchEffect(encoded, {
    onFailure: (issue) => endWithoutOutcome(execution, encodeFailed(execution, record, issue), "JournalError"),
    onSuccess: (text = "") =>
      finish(execution, { status, exit: text }, cause, (recorded) =>
        recorded.status === status && recorded.exit === text ? exit : adopt(definition, id, recorded)
      )
  })
}

/** Records the outcome, and continues with the recorded one. */
const finish = (
  execution: Execution,
  outcome: Omit<Storage.Outcome, "at">,
  cause: Option.Option<Cause.Cause<unknown>>,
  then: (recorded: Storage.Outcome) => AnyEffect
): AnyEffect => {
  const { lease, storage, workflow } = execution
  return Effect.matchEffect(storage.finish(lease, outcome), {
    onFailure: (error) => endWithoutOutcome(execution, Effect.fail(error), error),
    onSuccess: (recorded) =>
      afterEvent(
        execution,
        (source) => ({ _tag: "RunFinished", source, workflow, outcome: recorded.status, cause }),
        () => then(recorded)
      )
  })
}

/** Returns a recorded outcome. */
export const adopt = (definition: AnyDefinition, run: string, outcome: Omit<Storage.Outcome, "at">): AnyEffect => {
  if (outcome.status === "cancelled") return Effect.flatMap(decodeCancelled(run, outcome.exit), Effect.fail)
  const text = outcome.exit === "" ? undefined : outcome.exit
  const unreadable = (record: string) => (cause: unknown) => new JournalError({ reason: "Decode", run, record, cause })
  return outcome.status === "completed"
    ? Effect.mapError(valueCodec(definition.success).decode(text), unreadable("success"))
    : Effect.flatMap(Effect.mapError(causeCodec(definition.error).decode(text), unreadable("error")), Effect.failCause)
}
