/**
 * What operators and programs want of a run from outside: `Workflow.hold`,
 * `Workflow.release`, `Workflow.cancel` and `Workflow.terminate`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { JournalError, RunEnded, RunHeld, RunNotFound } from "../journal/RunError.js"
import type * as Storage from "../storage/Storage.js"
import { cancelRun, terminateRun } from "./internal/run/cancel.js"
import * as hold_ from "./internal/run/hold.js"

/**
 * Puts a run on hold: no worker takes it and `execute` fails with `RunHeld`, in
 * all processes, until {@link release}. Signals and answers are stored meanwhile.
 *
 * A process that executes the run begins no further step and no retry. It ends its
 * running attempts, and then gives the run back: `status` shows `running` until
 * then. The processes of another host see the hold within about a second.
 *
 * Holds a run that has ended, too: then only its holder can rewind it. Holding
 * a held run again changes nothing. Fails with `RunHeld` if a recovery has the
 * run on hold.
 *
 * @example
 * ```ts
 * import { Storage, Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * export const stopOrder = (id: string) =>
 *   Workflow.hold(id, { reason: "the address is wrong", by: "ada" }).pipe(
 *     Effect.provide(Storage.layerMemory)
 *   )
 * ```
 *
 * @since 0.1.0
 * @category holding
 */
export const hold: (
  run: string,
  options: {
    /** Why: shown wherever the run is shown. */
    readonly reason: string
    /** Who holds it. */
    readonly by?: string | undefined
  }
) => Effect.Effect<void, RunNotFound | RunHeld | Storage.StorageError, Storage.Storage> = hold_.hold

/**
 * Ends the hold of {@link hold}, or the one that a rollback left. A worker
 * continues the run if it is due. Returns `false` if the run is not on hold.
 * Fails with `RunHeld` while a recovery has the run on hold.
 *
 * @since 0.1.0
 * @category holding
 */
export const release: (
  run: string
) => Effect.Effect<boolean, RunNotFound | RunHeld | Storage.StorageError, Storage.Storage> = hold_.release

/**
 * Cancels a run: its open transactions are rolled back, and its outcome is
 * `RunCancelled`. Steps that have completed are not run again, and nothing else
 * begins, in finalizers neither. Running steps are interrupted.
 *
 * Answers `cancelled` if the run has ended with that: it had not begun, or it was
 * cancelled before. Answers `cancelling` if compensations may have to run: the process
 * that has the run does it, or the next one that claims it. The request is stored, so a crash
 * does not end it; of several requests the first one counts, and each makes the run due. `Workflow.join` waits
 * for the end.
 *
 * A hold ends with the request, unless it is that of a recovery, which ends first. A body that
 * ends by itself first keeps its own outcome. If a compensation fails, executions
 * fail with `CancelFailed` and the run stays open, until a later execution
 * succeeds or `Workflow.terminate` ends it. What lies before a pivot is kept.
 *
 * Its open child runs are cancelled too, and their children, unless `children` is `leave`. The parent does not wait
 * for children that other processes have.
 *
 * Fails with `RunNotFound` or `RunEnded`, and then changes nothing.
 *
 * @example
 * ```ts
 * import { Storage, Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * export const cancelOrder = (id: string) =>
 *   Workflow.cancel(id, { reason: "the customer withdrew", by: "ada" }).pipe(Effect.provide(Storage.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category execution
 */
export const cancel: (
  id: string,
  options: CancelOptions
) => Effect.Effect<
  "cancelled" | "cancelling",
  RunNotFound | RunEnded | JournalError | Storage.StorageError,
  Storage.Storage
> = Effect.fn("Workflow.cancel")((id, { by, children, reason }) => cancelRun(id, { reason, by, children }))

/**
 * Ends a run at once, wherever it runs, without compensations: its outcome is
 * `RunCancelled` with `isTerminated`. The process that has it cannot write any
 * more, and interrupts the body at its next write or renewal of the lease. Open child
 * runs are cancelled, with their compensations, unless `children` is `leave`. To terminate a run that
 * was terminated before repeats only this.
 *
 * Fails with `RunNotFound` or `RunEnded`, and then changes nothing.
 *
 * @since 0.1.0
 * @category execution
 */
export const terminate: (
  id: string,
  options: TerminateOptions
) => Effect.Effect<void, RunNotFound | RunEnded | JournalError | Storage.StorageError, Storage.Storage> = Effect.fn(
  "Workflow.terminate"
)((id, { by, children, reason }) => terminateRun(id, { reason, by, children }))

/**
 * @since 0.1.0
 * @category models
 */
export interface TerminateOptions {
  /** Why, in words: it is part of the outcome. */
  readonly reason: string
  /** Who asks for it. Defaults to none. */
  readonly by?: string | undefined
  /** What becomes of the open child runs, and of their children. Defaults to `cancel`. */
  readonly children?: "cancel" | "leave" | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface CancelOptions extends TerminateOptions {}
