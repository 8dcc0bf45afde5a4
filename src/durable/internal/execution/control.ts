import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { RunHeld } from "../../../journal/RunError.js"
import type { Control, Hold } from "../../../storage/Storage.js"
import type { Execution } from "./execution.js"

/** What operators or the program want of a run from outside: a hold of another caller, or a request to cancel it. */
export type Wanted = Pick<Control, "hold" | "cancel">

export const nothingWanted: Wanted = { hold: undefined, cancel: undefined }

/**
 * The execution learns what is wanted of its run, whenever that changes. A hold lets
 * running attempts end, and begins nothing more.
 */
export const heed = (execution: Execution, { cancel, hold }: Wanted): void => {
  execution.wanted = { hold: hold?.id === execution.mode.heldAs ? undefined : hold, cancel }
  if (isToCancel(execution) && execution.lifecycle.phase._tag === "Running") {
    // From now on nothing begins. The watcher interrupts the body, at once or at the end of a replay.
    execution.replay.gate.isOpen = false
    execution.activity.startWatcher()
  }
  if (!isLeaving(execution)) continueLeft(execution)
  wake(execution)
}

/** The execution looks at what is wanted: fibers that wait are suspended, and a step that begins stops the run. */
export const wake = ({ activity }: Execution): void => {
  activity.changed.notify()
  for (const notify of activity.children) notify()
}

/** The hold was released before the run has stopped: the steps that were to begin do so. */
const continueLeft = ({ activity: { parked } }: Execution): void => {
  for (const [key, { answer, waiting }] of parked) {
    if (waiting !== undefined) continue
    parked.delete(key)
    Deferred.unsafeDone(answer, Effect.succeed({ key: "", payload: "", at: 0 }))
  }
}

/** The run is to be cancelled. A hold ends first. */
export const isToCancel = ({ wanted }: Pick<Execution, "wanted">): boolean =>
  wanted.cancel !== undefined && wanted.hold === undefined

/** Nothing new begins in the run: it stops once its running attempts have ended, and is resumed later. */
export const isLeaving = ({ mode, wanted }: Execution): boolean =>
  wanted.hold !== undefined || mode.isLeaving() || (mode.within !== undefined && isLeaving(mode.within))

export const runHeld = (run: string, { at, id, reason }: Hold): RunHeld =>
  new RunHeld({ run, hold: id, reason, since: new Date(at) })

/** A delay that a fiber sleeps through: a longer one is a wait, which a hold ends at once. In milliseconds. */
export const isBrief = ({ mode }: Execution, delay: number): boolean => delay <= Math.min(mode.patience, 1_000)
