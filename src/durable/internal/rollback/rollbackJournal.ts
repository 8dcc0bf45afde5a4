import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { forget, type RollbackRecord } from "../../../journal/Journal.js"
import { causeCodec, decodeUndoCause, encodeUndoCause } from "../../../journal/JournalCodec.js"
import { encodeRewind, type RollbackReason } from "../../../journal/JournalLine.js"
import { JournalError } from "../../../journal/RunError.js"
import { isClean, pending, type RollbackResult, rollback } from "../../../transaction/Compensation.js"
import type { UndoFailure } from "../../../transaction/RollbackFailed.js"
import type { TransactionSettings } from "../../../transaction/Transactor.js"
import { isToRetry, unregistered } from "../execution/cancelling.js"
import * as Execution from "../execution/execution.js"
import { acceptDivergence } from "../execution/replayOrder.js"
import { awaitGateToRollBack } from "../wait/gate.js"
import { journalRecorder } from "./compensations.js"

/** A transaction of a run. Its section is the key prefix of everything in it. */
export interface Section {
  readonly execution: Execution.Execution
  readonly section: string
  readonly settings: TransactionSettings
}

/** The recorded work that must be compensated and that this execution has not reached, such as the loser of a race. */
export const unreached = ({ execution, section }: Section): ReadonlyArray<string> => unregistered(execution, section)

/** Sets the State cells back to what they were before the section. */
export const revert = ({ execution, section }: Section) => Effect.sync(() => execution.cells.revert(section))

/** Reverts State and runs the registered compensations. */
export const rollBack = (at: Section, reason: RollbackReason): Effect.Effect<RollbackResult> => {
  const { execution, section } = at
  const source = { run: execution.id, step: section }
  return Execution.emit(execution, () => ({ _tag: "RollbackStarted", source, transaction: section, reason })).pipe(
    Effect.zipRight(revert(at)),
    Effect.zipRight(rollback(execution.rollback.log, { within: section }, journalRecorder(execution))),
    Effect.tap((result) =>
      Execution.emit(execution, () => ({
        _tag: "RollbackEnded",
        source,
        transaction: section,
        clean: isClean(result)
      }))
    )
  )
}

/** What ended the transaction does so again at a resume: it is not restarted, and its program does not continue. */
export const recurs = (reason: RollbackReason): boolean => reason === "interrupted" || reason === "cancelled"

export const reasonOf = ({ execution }: Section, cause: Cause.Cause<unknown>): RollbackReason => {
  if (execution.lifecycle.isCancelling) return "cancelled"
  if (Cause.isDie(cause)) return "died"
  // Steps of its finalizers were refused: it begins anew.
  if (execution.lifecycle.isInterrupted && Cause.isInterrupted(cause)) return "stopped"
  if (Cause.isFailure(cause)) return "failed"
  // A defect of a step beside it stops the run too: the transaction begins anew when the run is resumed.
  return Execution.isByProgram(execution) ? "interrupted" : "stopped"
}

/** The run was interrupted before a replay came to all compensations. The next execution resumes the rollback. */
export const isCutShort = (at: Section): boolean => at.execution.lifecycle.isInterrupted && unreached(at).length > 0

const noRollback: RollbackResult = { failures: [], remaining: [], pivot: undefined }

/**
 * Rolls back after the first failure of a transaction, with every line in the
 * journal. Undefined if the original cause says everything: there was nothing
 * to compensate, or the run was stopped and the transaction restarts later.
 */
export const rollBackAfter = (
  at: Section,
  cause: Cause.Cause<unknown>,
  compensate: (reason: RollbackReason) => Effect.Effect<RollbackResult, never, unknown>
): Effect.Effect<RollbackResult | undefined, never, unknown> =>
  Effect.suspend(() => {
    const { execution, section } = at
    const undos = pending(execution.rollback.log, section)
    const isEmpty = undos.length === 0 && unreached(at).length === 0
    const reason = reasonOf(at, cause)
    // A stopped run continues later. With nothing to compensate it continues from here; past a pivot it can only continue.
    if (reason === "stopped" && (isEmpty || undos.some(({ pivot }) => pivot))) return Effect.succeed(undefined)
    if (isEmpty) {
      // Only State was written: readers of the journal must see that it was reverted.
      const reverted = Effect.zipRight(recordEnd(at, reason, cause, noRollback), revert(at))
      return Effect.as(execution.cells.isWritten(section) ? reverted : Effect.void, undefined)
    }
    const rolledBack = Effect.suspend(() => {
      // The run may have been cancelled at the gate.
      const now = execution.lifecycle.isCancelling ? "cancelled" : reason
      return Effect.zipRight(recordStart(at, now, cause), compensated(at, now, cause, compensate(now)))
    })
    return Effect.zipRight(awaitGateToRollBack(execution), Execution.whileRollingBack(execution, rolledBack))
  })

const compensated = <R>(
  at: Section,
  reason: RollbackReason,
  cause: Cause.Cause<unknown>,
  compensations: Effect.Effect<RollbackResult, never, R>
): Effect.Effect<RollbackResult | undefined, never, R> =>
  Effect.flatMap(compensations, (result) => {
    if (isCutShort(at)) return Effect.interrupt
    if (isToRetry(at.execution, result)) return Effect.succeed(result)
    if (reason !== "stopped") return Effect.as(recordEnd(at, reason, cause, result), result)
    // If it is not clean, the next execution of the run tries the rest again.
    return Effect.as(isClean(result) ? removeFromJournal(at, reason) : Effect.void, undefined)
  })

// ---- lines

/** Undefined for a cause that the workflow's error schema cannot write: then the replay finds it out again. */
const encodeCause = ({ execution }: Section, cause: Cause.Cause<unknown>): Effect.Effect<string | undefined> =>
  // The schema needs what the workflow needs, and that is provided here.
  Effect.orElseSucceed(causeCodec(execution.error).encode(cause), () => undefined) as Effect.Effect<string | undefined>

export const recordStart = (at: Section, reason: RollbackReason, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.flatMap(encodeCause(at, cause), (cause) =>
    Execution.append(at.execution, "RollbackStarted", at.section, 0, JSON.stringify({ reason, cause }))
  )

/** Records the result of a rollback before the program sees it. */
export const recordEnd = (
  at: Section,
  reason: RollbackReason,
  original: Cause.Cause<unknown>,
  result: RollbackResult
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { execution, section } = at
    const cause = yield* encodeCause(at, original)
    const failures = yield* Effect.forEach(result.failures, ({ cause, undo }) =>
      Effect.map(encodeUndoCause(cause), (cause) => ({ undo, cause }))
    )
    const { pivot = null, remaining } = result
    const payload = JSON.stringify({ reason, cause, failures, pivot, remaining })
    yield* Execution.append(execution, isClean(result) ? "RolledBack" : "RollbackFailed", section, 0, payload)
    execution.rollback.ended.add(section)
  })

/** What a rollback's last line says. */
interface RecordedRollback {
  readonly cause: Cause.Cause<unknown> | undefined
  readonly result: RollbackResult
}

/** Stops the run if a cause cannot be read: the program would take another way than it did. */
export const readRollback = (
  { execution }: Section,
  { line, section }: RollbackRecord
): Effect.Effect<RecordedRollback> =>
  Effect.gen(function* () {
    const { cause, failures, pivot, remaining } = line
    const read: Array<UndoFailure> = []
    for (const { cause, undo } of failures) read.push({ undo, cause: yield* decodeUndoCause(cause) })
    return {
      // The schema needs what the workflow needs, and that is provided where the run is executed.
      cause: cause === undefined ? undefined : yield* causeCodec(execution.error).decode(cause) as Read,
      result: { failures: read, remaining, pivot: pivot ?? undefined }
    }
  }).pipe(
    Effect.catchAll((cause) => {
      const record = `rollback of transaction "${section}"`
      return Execution.stop(execution, new JournalError({ reason: "Decode", run: execution.id, record, cause }))
    })
  )

type Read = Effect.Effect<Cause.Cause<unknown>, unknown>

/** The failure of a transaction whose original cause was not written. */
export const lostCause = ({ reason, section }: RollbackRecord) =>
  Cause.die(
    new Error(`transaction "${section}" ${reason} in an earlier process, with a cause that its workflow cannot write`)
  )

export const startOf = (section: string) => `the start of transaction "${section}"`

/** The next pass over the section uses its names from the first on. */
export const forgetKeys = ({ execution: { keys }, section }: Pick<Section, "execution" | "section">): void => {
  for (const used of [keys.uses, keys.running, keys.recoveries]) {
    for (const key of used.keys()) if (key.startsWith(section)) used.delete(key)
  }
}

/** Removes a transaction that was rolled back from the journal, so that it restarts. */
export const removeFromJournal = ({ execution, section }: Section, reason: string): Effect.Effect<void> => {
  const rewound = { after: 0, within: section }
  const payload = encodeRewind({ ...rewound, begun: 0, by: section, point: startOf(section), reason })
  const entry = Execution.nextEntry(execution, "Rewound", "", 0, payload)
  return Effect.zipRight(
    Effect.catchAll(execution.storage.rewind(execution.lease, entry, rewound), (error) =>
      Execution.stop(execution, error)
    ),
    Effect.sync(() => {
      execution.rollback.ended.add(section)
      forget(execution.journal, rewound)
      // The restarted transaction, and the program after it, may diverge from the journal.
      acceptDivergence(execution)
      forgetKeys({ execution, section })
      for (const key of execution.rollback.log.keys()) if (key.startsWith(section)) execution.rollback.log.delete(key)
      execution.cells.revert(section)
    })
  )
}
