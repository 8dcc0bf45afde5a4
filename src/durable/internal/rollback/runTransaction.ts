import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type { RollbackRecord } from "../../../journal/Journal.js"
import type { RollbackReason } from "../../../journal/JournalLine.js"
import { machineryOf } from "../../../journal/RunError.js"
import type { Restore } from "../../../storage/Storage.js"
import { causeOf, isClean, pending, type RollbackResult, rollback } from "../../../transaction/Compensation.js"
import { Transaction, type TransactionSettings } from "../../../transaction/Transactor.js"
import { never } from "../execution/bodyFibers.js"
import { isToRetry } from "../execution/cancelling.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import { setOrigin } from "../execution/origins.js"
import * as Replay from "../execution/replay.js"
import * as Order from "../execution/replayOrder.js"
import { journalRecorder, sectionTransaction } from "./compensations.js"
import {
  forgetKeys,
  isCutShort,
  lostCause,
  readRollback,
  recordEnd,
  recurs,
  removeFromJournal,
  revert,
  rollBack,
  rollBackAfter,
  type Section,
  unreached
} from "./rollbackJournal.js"

export type AnyEffect = Effect.Effect<unknown, unknown, unknown>

/** A transaction with its body, which can be replayed and restarted. */
interface RunTransaction extends Section {
  /** Opens another pass over the body. */
  readonly open: () => OpenPass
  readonly place: Place
}

interface OpenPass {
  /** The body, with the section and the transaction service provided. */
  readonly body: AnyEffect
  readonly pass: Execution.Pass
}

/** Where the program runs the transaction. */
interface Place {
  readonly isInterruptible: boolean
  /** The body's own fiber runs it. */
  readonly isRoot: boolean
  readonly restore: Restore
}

/** `Transaction.run` in a workflow, in a section of its own. Uninterruptible but for the body. */
export const runTransaction = (
  run: Execution.RunService,
  section: string,
  self: AnyEffect,
  settings: TransactionSettings,
  place: Place
): AnyEffect => {
  const open = (): OpenPass => {
    const pass: Execution.Pass = { outer: run.pass, isOver: false }
    const inside: Execution.RunService = { ...run, section, transaction: section, pass }
    const services = Context.make(Execution.Run, inside).pipe(
      Context.add(Transaction, sectionTransaction(inside, run.section))
    )
    const body = Effect.mapInputContext(self, (context: Context.Context<unknown>) => Context.merge(context, services))
    return { body, pass }
  }
  const transaction: RunTransaction = { execution: run.execution, section, settings, open, place }
  return Effect.catchAllCause(
    Effect.suspend(() => begin(transaction)),
    (cause) => {
      setOrigin(run.execution, cause, section)
      return Effect.failCause(cause)
    }
  )
}

const begin = (transaction: RunTransaction): AnyEffect => {
  const { execution, section } = transaction
  const { lifecycle, mode, replay } = execution
  if (lifecycle.isEnding && replay.active.size === 0) return never
  const record = execution.journal.rollbacks.get(section)
  // A replay that executes nothing does not resume a rollback either.
  if (record === undefined || (mode.isReplay && record.status === "started")) return runFirst(transaction)
  if (lifecycle.isEnding) return replayForRewind(transaction, record)
  return record.status === "started" ? resumeRollback(transaction, record) : repeatFailure(transaction, record)
}

/** The transaction has no recorded rollback: runs the body, and rolls back if that fails. */
const runFirst = (transaction: RunTransaction): AnyEffect =>
  Effect.withFiberRuntime((fiber) => {
    const { execution, open, place, section, settings } = transaction
    const { lifecycle, mode } = execution
    const { body, pass } = open()
    const begun = FiberTree.mark(fiber)
    return Effect.flatMap(Effect.exit(place.restore(body)), (exit) => {
      if (Exit.isSuccess(exit)) return exit
      const machinery = machineryOf(exit.cause)
      if (machinery !== undefined) return Execution.stop(execution, machinery)
      if (lifecycle.isEnding || mode.isReplay || !settings.rollsBack(exit.cause)) return exit
      const compensate = (reason: RollbackReason) => rollBackReached(transaction, reason)
      const rolledBack = rollBackAfter(transaction, exit.cause, compensate)
      return Effect.flatMap(Effect.zipRight(endPass(execution, pass, begun), rolledBack), (result) =>
        result === undefined ? exit : Effect.failCause(causeOf(section, exit.cause, result))
      )
    })
  })

/**
 * Interrupts the fibers that work for the body of a transaction and outlive it, and waits for them: a race that is
 * interrupted leaves its branches running. Otherwise they would begin steps beside the rollback, and use the keys of the next pass.
 */
const endPass = (
  execution: Execution.Execution,
  pass: Execution.Pass,
  begun: FiberTree.Use | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const fibers = begun === undefined ? [] : execution.activity.fibers.usersForkedAfter(begun)
    if (fibers.length > 0) return Effect.zipRight(Fiber.interruptAll(fibers), endPass(execution, pass, begun))
    pass.isOver = true
    return Effect.void
  })

/** Work that an earlier process began is reached first, in a replay in the order of the journal. */
const rollBackReached = (transaction: RunTransaction, reason: RollbackReason) => {
  if (unreached(transaction).length === 0) return rollBack(transaction, reason)
  forgetKeys(transaction)
  return Effect.map(rollBackInReplay(transaction, reason), ({ result }) => result)
}

/** During a rewind the transaction fails as recorded; a body that is to be compensated again is replayed first. */
const replayForRewind = (transaction: RunTransaction, record: RollbackRecord): AnyEffect =>
  Effect.flatMap(readRollback(transaction, record), ({ cause, result }) => {
    const registered = record.status === "completed" ? Effect.void : registerInReplay(transaction)
    const hasFailed = record.status !== "started" && !recurs(record.reason)
    const end = hasFailed && cause !== undefined ? Effect.failCause(causeOf(transaction.section, cause, result)) : never
    return Effect.zipRight(Effect.zipRight(registered, revert(transaction)), end)
  })

/**
 * The rollback ended in an earlier execution: the transaction fails with the
 * recorded cause. Only a defect is replayed, since the program may be mended.
 */
const repeatFailure = (transaction: RunTransaction, record: RollbackRecord): AnyEffect =>
  Effect.flatMap(readRollback(transaction, record), ({ cause, result }) => {
    const { execution, place, section } = transaction
    const skipped = Effect.sync(() => Order.skipAnswers(execution, section))
    // Whatever interrupted the transaction does so again.
    if (recurs(record.reason)) return skipped.pipe(Effect.zipRight(revert(transaction)), Effect.zipRight(never))
    if (cause !== undefined && record.reason !== "died") {
      // An enclosing transaction tries the failed compensations again, so they are registered.
      const registered = isClean(result) ? Effect.void : registerInReplay(transaction)
      return registered.pipe(
        Effect.zipRight(skipped),
        Effect.zipRight(Order.awaitReplayTurn(execution, section, record.lastSeq, place)),
        Effect.zipRight(revert(transaction)),
        Effect.zipRight(Effect.failCause(causeOf(section, cause, result)))
      )
    }
    return Effect.flatMap(replayToEnd(transaction), (exit) => {
      // A replay that executes nothing cannot find out whether the program was mended.
      if (exit === undefined && cause !== undefined && execution.mode.isReplay) {
        return Effect.zipRight(revert(transaction), Effect.failCause(causeOf(section, cause, result)))
      }
      return exit === undefined || Exit.isSuccess(exit)
        ? restart(transaction, "the program diverges from its journal")
        : Effect.zipRight(revert(transaction), Effect.failCause(causeOf(section, exit.cause, result)))
    })
  })

/** The process ended during the rollback: runs the remaining compensations while the body is only replayed. */
const resumeRollback = (transaction: RunTransaction, record: RollbackRecord): AnyEffect =>
  Effect.flatten(
    Execution.whileRollingBack(
      transaction.execution,
      Effect.flatMap(
        Effect.zip(readRollback(transaction, record), Effect.exit(rollBackInReplay(transaction, record.reason))),
        ([{ cause }, exit]) =>
          Exit.isFailure(exit) ? Effect.succeed(exit) : endResumed(transaction, record, cause, exit.value)
      )
    )
  )

/** Records the end of a resumed rollback. Returns what the transaction does after it. */
const endResumed = (
  transaction: RunTransaction,
  record: RollbackRecord,
  recorded: Cause.Cause<unknown> | undefined,
  { exit, result }: Replayed
): Effect.Effect<AnyEffect> => {
  const { reason } = record
  if (isCutShort(transaction)) return Effect.succeed(Effect.interrupt)
  const cause = recorded ?? (exit !== undefined && Exit.isFailure(exit) ? exit.cause : undefined)
  // The body ends where it is once the run is cancelled.
  if (isToRetry(transaction.execution, result)) return Effect.succeed(transaction.place.restore(never))
  if (reason === "cancelled" || (reason === "interrupted" && isClean(result))) {
    const end = recordEnd(transaction, reason, Cause.interrupt(FiberId.none), result)
    return Effect.as(end, transaction.place.restore(never))
  }
  const isToRestart = reason === "stopped" || cause === undefined
  if (isToRestart && isClean(result)) return Effect.succeed(restart(transaction, reason))
  const original = cause ?? lostCause(record)
  return Effect.as(
    recordEnd(transaction, isToRestart ? "failed" : reason, original, result),
    Effect.failCause(causeOf(transaction.section, original, result))
  )
}

const restart = (transaction: RunTransaction, reason: string): AnyEffect =>
  Effect.zipRight(
    removeFromJournal(transaction, reason),
    Effect.suspend(() => runFirst(transaction))
  )

// ---- replays of the body

/** No step of the section begins while this runs. */
const whileReplaying = <A, E, R>(
  { execution, open, section }: RunTransaction,
  use: (replay: Replay.Replay, body: AnyEffect) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const replay = Replay.make(section, execution.journal)
    const { body, pass } = open()
    execution.replay.active.add(replay)
    return Effect.ensuring(
      use(replay, body),
      Effect.sync(() => {
        pass.isOver = true
        execution.replay.active.delete(replay)
      })
    )
  })

/** Replays the body until its compensations are registered. */
const registerInReplay = (transaction: RunTransaction): Effect.Effect<void, never, unknown> =>
  whileReplaying(transaction, (replay, self) =>
    Effect.flatMap(Effect.fork(Effect.interruptible(self)), (body) =>
      Effect.ensuring(Effect.interruptible(Replay.awaitReached(replay, body)), Fiber.interrupt(body))
    )
  )

/** Replays the body to its end. Undefined if it goes beyond the journal. */
const replayToEnd = (transaction: RunTransaction) =>
  whileReplaying(transaction, (replay, self) =>
    Effect.flatMap(Effect.fork(Effect.interruptible(self)), (body) =>
      Effect.ensuring(
        Effect.interruptible(Effect.raceFirst(Fiber.await(body), Effect.as(Deferred.await(replay.beyond), undefined))),
        Fiber.interrupt(body)
      )
    )
  )

interface Replayed {
  /** How the replayed body ended, if it did. */
  readonly exit: Exit.Exit<unknown, unknown> | undefined
  readonly result: RollbackResult
}

/** Replays the body until its compensations are registered, and runs them. An interruption does not end the rollback. */
const rollBackInReplay = (
  transaction: RunTransaction,
  reason: RollbackReason
): Effect.Effect<Replayed, never, unknown> =>
  whileReplaying(transaction, (replay, self) =>
    Effect.flatMap(Effect.fork(Effect.interruptible(self)), (body) =>
      Effect.gen(function* () {
        yield* Effect.exit(Effect.interruptible(Replay.awaitReached(replay, body)))
        yield* Replay.yieldTurns(body, () => false)
        const exit = body.unsafePoll() ?? undefined
        const first = yield* rollBack(transaction, reason)
        yield* Fiber.interrupt(body)
        // A finalizer of the body may have registered more.
        const { execution, section } = transaction
        const failed = new Set(first.failures.map(({ undo }) => undo))
        const only = new Set(
          pending(execution.rollback.log, section).flatMap(({ key }) => (failed.has(key) ? [] : [key]))
        )
        const late = yield* rollback(execution.rollback.log, { within: section, only }, journalRecorder(execution))
        const remaining = [...new Set([...first.remaining, ...late.remaining, ...Replay.unreached(replay)])]
        const failures = [...first.failures, ...late.failures]
        return { exit, result: { failures, remaining, pivot: first.pivot ?? late.pivot } }
      })
    )
  )
