import * as Effect from "effect/Effect"
import { resting } from "../execution/bodyFibers.js"
import { isToCancel } from "../execution/control.js"
import * as Execution from "../execution/execution.js"
import { awaitAnswerTurn } from "../execution/replayOrder.js"

/** Nothing has to wait at the gate. */
export const isGateOpen = (execution: Execution.Execution, interruptedAt?: number): boolean => {
  const { activity, lifecycle, replay } = execution
  const { gate } = replay
  // A single fiber has received all recorded answers in their order. Of a run that is to be cancelled nothing begins.
  if (gate.pending.size === 0 && activity.fibers.isAlone && !isToCancel(execution)) gate.isOpen = true
  return lifecycle.phase._tag !== "Running" || (gate.isOpen && interruptedAt === undefined)
}

/**
 * Waits until something that the journal does not have may begin: every recorded
 * answer was given, or no fiber of the body is left to ask for it. What the program
 * had interrupted, by the line `interruptedAt`, waits to be interrupted again, and
 * begins only if it is not. Its interruption ends in the turn of that line: a race
 * that waits for it must not end sooner than it did.
 */
export const awaitGate = (execution: Execution.Execution, interruptedAt?: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (isGateOpen(execution, interruptedAt)) return Effect.void
    const { gate } = execution.replay
    const opened = gate.isOpen
      ? Effect.void
      : rest(execution, (resume) => {
          gate.waiting.add(resume)
          return () => gate.waiting.delete(resume)
        })
    const begun =
      interruptedAt === undefined
        ? opened
        : Effect.zipRight(
            opened,
            rest(execution, (resume) => {
              gate.interrupted.set(resume, interruptedAt)
              return () => gate.interrupted.delete(resume)
            })
          ).pipe(Effect.onInterrupt(() => awaitAnswerTurn(execution, interruptedAt, false)))
    return Effect.zipRight(begun, ifRunning(execution))
  })

/** A rollback waits for the recorded answers, too. It also runs while the run is being cancelled. */
export const awaitGateToRollBack = (execution: Execution.Execution): Effect.Effect<void> =>
  Effect.catchAllCause(awaitGate(execution), (cause) =>
    execution.lifecycle.isCancelling ? Effect.void : Effect.failCause(cause)
  )

const rest = (execution: Execution.Execution, add: (resume: () => void) => () => void): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const { activity } = execution
    const remove = add(() => resume(Effect.void))
    activity.startWatcher()
    activity.changed.notify()
    return Effect.sync(remove)
  }, resting)

/** The run may have stopped meanwhile. */
const ifRunning = (execution: Execution.Execution): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { isClosing, stopError } = execution.lifecycle
    if (stopError !== undefined) return Execution.stop(execution, stopError)
    return isClosing ? Effect.interrupt : Effect.void
  })
