import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import type { RollbackRecord } from "../../../journal/Journal.js"
import type { RollbackReason } from "../../../journal/JournalLine.js"
import { machineryOf } from "../../../journal/RunError.js"
import type { RollbackResult } from "../../../transaction/Compensation.js"
import { defectOf, type TransactionService, type TransactionSettings } from "../../../transaction/Transactor.js"
import { never } from "../execution/bodyFibers.js"
import { isToRetry } from "../execution/cancelling.js"
import * as Execution from "../execution/execution.js"
import * as Replay from "../execution/replay.js"
import { beginRewind } from "../rewind/rewinder.js"
import { sectionTransaction } from "./compensations.js"
import {
  lostCause,
  readRollback,
  reasonOf,
  recordEnd,
  recordStart,
  recurs,
  revert,
  rollBack,
  rollBackAfter,
  type Section,
  startOf,
  unreached
} from "./rollbackJournal.js"

/**
 * A transaction of a run that ends with a scope. The transactor does not have
 * its body, so it cannot replay or restart the body alone:
 *
 * - The program itself replays a transaction that was rolled back: its steps
 *   answer from the journal, none begins, and it fails again in the same way.
 *   Where it cannot get further, it fails with the recorded cause.
 * - To restart the transaction, or to reach work of an earlier process that
 *   this pass has not reached, another pass over the body of the run begins.
 */
interface ScopedTransaction extends Section {
  /** The rollback of an earlier execution. */
  readonly record: RollbackRecord | undefined
  /** Keeps steps of the section from beginning after a rollback. Undefined without a recorded one. */
  readonly replay: Replay.Replay | undefined
  readonly closing: Deferred.Deferred<void>
  /** The rest of the recorded rollback, which runs once. */
  resumed: Deferred.Deferred<RollbackResult> | undefined
}

type AnyExit = Exit.Exit<unknown, unknown>

/** The open transactions of each execution, in the order of their acquisition. */
const openTransactions = new WeakMap<Execution.Execution, Set<ScopedTransaction>>()

export const hasOpenTransactions = (execution: Execution.Execution): boolean =>
  (openTransactions.get(execution)?.size ?? 0) > 0

/** Begins a transaction in a section of its own. Its finalizer ends it. */
export const acquireTransaction = (
  run: Execution.RunService,
  section: string,
  settings: TransactionSettings
): Effect.Effect<TransactionService, never, Scope.Scope> =>
  Effect.suspend(() => {
    const { execution } = run
    const { lifecycle, mode, replay } = execution
    if (lifecycle.isEnding && replay.active.size === 0) return never
    const record = execution.journal.rollbacks.get(section)
    const transaction: ScopedTransaction = {
      execution,
      section,
      settings,
      record,
      replay: record === undefined ? undefined : Replay.make(section, execution.journal, true),
      closing: Deferred.unsafeMake(FiberId.none),
      resumed: undefined
    }
    const isResumable = !lifecycle.isEnding && !mode.isReplay
    if (isResumable && record?.status === "started" && record.reason === "stopped")
      return restart(transaction, "stopped")
    if (transaction.replay !== undefined) replay.active.add(transaction.replay)
    const open = openTransactions.get(execution) ?? new Set()
    openTransactions.set(execution, open.add(transaction))
    const service = sectionTransaction({ ...run, section, transaction: section }, run.section)
    return Effect.addFinalizer((exit) => close(transaction, exit)).pipe(
      Effect.zipRight(
        record === undefined
          ? Effect.void
          : isResumable
            ? Effect.forkDaemon(Effect.interruptible(superviseReplay(transaction, record)))
            : failAsRecorded(transaction, record)
      ),
      Effect.as(service)
    )
  })

/** A scope may outlive the body of the run; its transactions end with the body. */
export const closeTransactions = (execution: Execution.Execution, exit: AnyExit): Effect.Effect<unknown, unknown> => {
  const opened = openTransactions.get(execution)
  if (opened === undefined || opened.size === 0) return exit
  const closed = Effect.forEach([...opened].reverse(), (transaction) => close(transaction, exit), { discard: true })
  return Effect.onExit(exit, () => closed)
}

/** Ends a transaction once: with its scope or with the body, whichever ends first. */
const close = (transaction: ScopedTransaction, exit: AnyExit): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { closing, execution, replay } = transaction
    if (openTransactions.get(execution)?.delete(transaction) !== true) return Effect.void
    Deferred.unsafeDone(closing, Effect.void)
    return Effect.ensuring(
      end(transaction, exit),
      Effect.sync(() => replay !== undefined && execution.replay.active.delete(replay))
    )
  })

const end = (transaction: ScopedTransaction, exit: AnyExit): Effect.Effect<void> => {
  const { execution, record, settings } = transaction
  const { lifecycle, mode } = execution
  if (lifecycle.stopError !== undefined) return Effect.void
  const machinery = Exit.isFailure(exit) ? machineryOf(exit.cause) : undefined
  if (machinery !== undefined) return Execution.stop(execution, machinery)
  if (record !== undefined) return endAgain(transaction, record, exit)
  if (Exit.isSuccess(exit) || lifecycle.isEnding || mode.isReplay || !settings.rollsBack(exit.cause)) return Effect.void
  return rollBackFirst(transaction, exit.cause)
}

/** The transaction has no recorded rollback, and its scope has failed. */
const rollBackFirst = (transaction: ScopedTransaction, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const reason = reasonOf(transaction, cause)
  if (reason !== "stopped" && unreached(transaction).length > 0) {
    // The next pass replays the section and reaches them before the failure recurs.
    return Effect.zipRight(recordStart(transaction, reason, cause), beginPass(transaction))
  }
  const compensate = () =>
    Effect.map(rollBack(transaction, reason), (result) => ({
      ...result,
      remaining: [...result.remaining, ...unreached(transaction)]
    }))
  const rolledBack = rollBackAfter(transaction, cause, compensate)
  return Effect.flatMap(rolledBack as Effect.Effect<RollbackResult | undefined>, (result) =>
    result === undefined ? Effect.void : defectOf(transaction.section, cause, result)
  )
}

/** The transaction was rolled back in an earlier execution, at least in part, and its scope has been replayed. */
const endAgain = (transaction: ScopedTransaction, record: RollbackRecord, exit: AnyExit): Effect.Effect<void> => {
  const { execution, replay, section } = transaction
  const { isEnding, isInterrupted } = execution.lifecycle
  const isResumable = !isEnding && !execution.mode.isReplay
  if (isResumable && Exit.isSuccess(exit)) {
    // An interruption recurs; another failure that does not recur has been mended.
    return recurs(record.reason) ? never : restart(transaction, "the failure does not recur")
  }
  const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
  if (isResumable && record.status === "started") {
    const isIncomplete = replay !== undefined && Replay.unreached(replay).length > 0
    // An interrupted run has not replayed the whole section: the next execution resumes the rollback.
    if (isInterrupted && transaction.resumed === undefined && isIncomplete) return Effect.void
    return Effect.flatMap(resumeRollback(transaction, record, cause), (result) => defectOf(section, cause, result))
  }
  return Effect.flatMap(readRollback(transaction, record), ({ result }) =>
    Effect.zipRight(revert(transaction), Exit.isFailure(exit) ? defectOf(section, cause, result) : Effect.void)
  )
}

/** Runs the compensations that the recorded rollback has left, and records its end. */
const resumeRollback = (
  transaction: ScopedTransaction,
  record: RollbackRecord,
  cause: Cause.Cause<unknown> | undefined
): Effect.Effect<RollbackResult> =>
  Effect.suspend(() => {
    if (transaction.resumed !== undefined) return Deferred.await(transaction.resumed)
    const resumed = Deferred.unsafeMake<RollbackResult>(FiberId.none)
    transaction.resumed = resumed
    const { execution, replay } = transaction
    const rolledBack = Effect.gen(function* () {
      const recorded = yield* readRollback(transaction, record)
      const { failures, pivot, remaining } = yield* rollBack(transaction, record.reason)
      const missing = replay === undefined ? [] : Replay.unreached(replay)
      const result = { failures, pivot, remaining: [...remaining, ...missing] }
      if (isToRetry(execution, result)) return result
      yield* recordEnd(transaction, record.reason, recorded.cause ?? cause ?? lostCause(record), result)
      return result
    })
    return Effect.onExit(Effect.uninterruptible(Execution.whileRollingBack(execution, rolledBack)), (exit) =>
      Deferred.done(resumed, exit)
    )
  })

/**
 * Resumes the rollback as soon as the replay has registered its compensations,
 * which can be long before the failure recurs. Restarts the transaction if the
 * program diverges, or is mended, and does not fail again.
 */
const superviseReplay = (transaction: ScopedTransaction, record: RollbackRecord): Effect.Effect<void> => {
  const { closing, replay } = transaction
  if (replay === undefined) return Effect.void
  const scope = scopeOf(transaction)
  const resumed =
    record.status === "started"
      ? Effect.zipRight(
          Replay.awaitReached(replay, scope),
          Effect.suspend(() => (isOpen(transaction) ? resumeRollback(transaction, record, undefined) : Effect.void))
        )
      : Effect.void
  const diverged = Deferred.await(replay.diverged)
  const failAgain = Effect.flatMap(readRollback(transaction, record), ({ cause }) =>
    cause === undefined
      ? Effect.sleep(patience)
      : Effect.zipRight(
          Effect.sync(() => Replay.failParked(replay, cause)),
          Effect.never
        )
  )
  const notFailed: Readonly<Record<RollbackReason, Effect.Effect<void>>> = {
    // A step that died is open, and the program waits at it: the program goes beyond its journal there.
    died: Effect.zipRight(
      Effect.raceFirst(diverged, Deferred.await(replay.beyond)),
      // The defect is fresh if the rollback has only now ended.
      record.status === "started" ? failAgain : Replay.yieldTurns(scope, () => false)
    ),
    // An open step was cut short by the failure of another fiber, or of a timer: that recurs by itself.
    failed: Effect.zipRight(diverged, failAgain),
    interrupted: Effect.never,
    cancelled: Effect.never,
    stopped: Effect.never
  }
  const restarted = Effect.suspend(() =>
    isOpen(transaction) ? restart(transaction, "the failure does not recur") : Effect.void
  )
  return Effect.raceFirst(
    Deferred.await(closing),
    resumed.pipe(Effect.zipRight(notFailed[record.reason]), Effect.zipRight(restarted))
  )
}

/**
 * During a rewind, and in a replay that executes nothing, the transaction fails
 * with its recorded cause where the program would wait for a step to begin. So
 * the replay reaches what comes after the transaction.
 */
const failAsRecorded = (transaction: ScopedTransaction, record: RollbackRecord): Effect.Effect<void> =>
  Effect.flatMap(readRollback(transaction, record), ({ cause }) => {
    const { replay } = transaction
    if (record.status === "started" || recurs(record.reason)) return Effect.void
    if (cause === undefined || replay === undefined) return Effect.void
    const fail = Effect.sync(() => Replay.failParked(replay, cause))
    if (record.status === "completed") return fail
    // A rewind compensates again what has failed, so all of it is registered first.
    return Effect.forkDaemon(
      Effect.interruptible(Effect.zipRight(Replay.awaitReached(replay, scopeOf(transaction)), fail))
    )
  })

/** How long another fiber's failure may take to recur if the recorded cause could not be written. */
const patience = "5 seconds"

/** The scope of a transaction, as a replay waits for it. */
const scopeOf = (transaction: ScopedTransaction): Replay.Replayed => ({
  unsafePoll: () => (isOpen(transaction) ? null : true),
  await: Deferred.await(transaction.closing)
})

const isOpen = (transaction: ScopedTransaction): boolean =>
  openTransactions.get(transaction.execution)?.has(transaction) === true

/** Rewinds the run to the start of the transaction: compensates the rest, and begins another pass over the body. */
const restart = ({ execution, section }: Section, reason: string): Effect.Effect<never> =>
  beginRewind(execution, { after: 0, within: section, point: startOf(section) }, section, reason)

/** Ends this pass over the body. The next one resumes the rollback that was recorded. */
const beginPass = ({ execution: { lifecycle } }: Section): Effect.Effect<never> =>
  Effect.suspend(() => {
    lifecycle.transition({ _tag: "Rewind" })
    lifecycle.interruptBody()
    return never
  })
