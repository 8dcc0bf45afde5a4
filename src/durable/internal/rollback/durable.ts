import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import { causeOf, isClean, pending } from "../../../transaction/Compensation.js"
import type { RollbackFailed } from "../../../transaction/RollbackFailed.js"
import {
  inMemoryTransactor,
  Transaction,
  type TransactionSettings,
  type TransactorService
} from "../../../transaction/Transactor.js"
import { machineryOf, StepConflict } from "../../RunError.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import type { RollbackRecord } from "../journal/journal.js"
import { registering } from "./register.js"
import { met, replayToEnd, undoAll, undoMet, unmet } from "./rollbackReplay.js"
import {
  type AnyEffect,
  encodeCause,
  ended,
  forgetAll,
  type Reason,
  recordEnd,
  revert,
  toldBy,
  type Use
} from "./rollbackUse.js"

/** Journals the transactions of a run. Inside a step they are in memory: the journal knows the step as a whole. */
export const durableTransactor: TransactorService = {
  run: <A, E, R>(self: Effect.Effect<A, E, R>, settings: TransactionSettings) =>
    Effect.withFiberRuntime((fiber): Effect.Effect<A, E | RollbackFailed<E>, Exclude<R, Transaction>> => {
      const run = Context.getOption(fiber.currentContext, Execution.Run)
      if (Option.isNone(run) || FiberTree.stepOf(fiber) !== undefined) return inMemoryTransactor.run(self, settings)
      // The value and the errors are those of the effect; the journal keeps the errors as they are.
      return durable(run.value, fiber, self as AnyEffect, settings) as Effect.Effect<A, E | RollbackFailed<E>, never>
    }),
  acquire: (settings) => inMemoryTransactor.acquire(settings)
}

/** A transaction of a run: every registration and every compensation is on record, so a crash only pauses it. */
const durable = (
  run: Execution.RunService,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  self: AnyEffect,
  options: TransactionSettings
): AnyEffect =>
  Effect.uninterruptibleMask((restore) => {
    const execution = run.execution
    if (execution.lifecycle.stopError !== undefined) return Execution.stop(execution, execution.lifecycle.stopError)
    const key = Execution.claimKey(run, options.name, fiber)
    if (key instanceof StepConflict) return Execution.stop(execution, key)
    const section = `${key}/`
    execution.replay.order.reached.add(section)
    const within: Execution.RunService = { ...run, section, transaction: section }
    const inside = Effect.mapInputContext(self, (context: Context.Context<unknown>) =>
      context.pipe(Context.add(Execution.Run, within), Context.add(Transaction, registering(within)))
    )
    const use: Use = { execution, section, options, inside, restore }
    return Effect.ensuring(
      begin(use),
      Effect.sync(() => Execution.releaseKey(run, options.name))
    )
  })

const begin = (use: Use): AnyEffect =>
  Effect.suspend(() => {
    const { execution, section } = use
    if (execution.lifecycle.isEnding && !execution.replay.active.size) return Replay.never
    const record = execution.journal.rollbacks.get(section)
    if (record === undefined) return fresh(use)
    if (execution.lifecycle.isEnding) return onlyMet(use, record)
    return record.status === "started" ? goOn(use, record) : again(use, record)
  })

/** Somebody further out undoes all of it; here it is met, and ends as it had ended. */
const onlyMet = (use: Use, record: RollbackRecord): AnyEffect =>
  Effect.flatMap(toldBy(use, record), ({ cause, undone }) => {
    const meeting = record.status === "completed" ? Effect.void : met(use)
    const hasFailed = record.status !== "started" && record.reason !== "interrupted"
    const end = hasFailed && cause !== undefined ? Effect.failCause(causeOf(use.section, cause, undone)) : Replay.never
    return Effect.zipRight(Effect.zipRight(meeting, revert(use)), end)
  })

const fresh = (use: Use): AnyEffect =>
  Effect.flatMap(Effect.exit(use.restore(use.inside)), (exit) => {
    const { execution, options, section } = use
    const machinery = Exit.isSuccess(exit) ? undefined : machineryOf(exit.cause)
    if (machinery !== undefined) return Execution.stop(execution, machinery)
    if (Exit.isSuccess(exit) || execution.lifecycle.isEnding || !options.rollsBack(exit.cause)) return exit
    const undos = pending(execution.rollback.log, section)
    const isEmpty = undos.length === 0 && unmet(use).length === 0
    const reason = reasonOf(execution, exit.cause)
    // The run goes on later; with nothing to undo from where it was, and past a pivot there is only forward.
    if (reason === "stopped" && (isEmpty || undos.some(({ pivot }) => pivot))) return exit
    if (isEmpty) return Effect.zipRight(revertAlone(use, reason, exit.cause), exit)
    return Execution.whileRollingBack(
      execution,
      Effect.flatMap(encodeCause(use, exit.cause), (cause) =>
        Effect.zipRight(
          Execution.append(execution, "RollbackStarted", section, 0, JSON.stringify({ reason, cause })),
          Effect.flatMap(undoAll(use, reason), (undone) => ended(use, reason, exit.cause, undone))
        )
      )
    )
  })

const reasonOf = (execution: Execution.Execution, cause: Cause.Cause<unknown>): Reason => {
  if (Cause.isDie(cause)) return "died"
  if (Cause.isFailure(cause)) return "failed"
  return execution.lifecycle.isInterrupted ? "stopped" : "interrupted"
}

/** State is put back; who looks from outside must see that it was. */
const revertAlone = (use: Use, reason: Reason, cause: Cause.Cause<unknown>) =>
  Effect.suspend(() =>
    use.execution.cells.isWritten(use.section)
      ? Effect.zipRight(recordEnd(use, reason, cause, { failures: [], remaining: [], pivot: undefined }), revert(use))
      : Effect.void
  )

/**
 * The transaction was rolled back, and nothing is undone twice. It fails as it
 * did; only what can fail in another way by now, being mended, is replayed.
 */
const again = (use: Use, record: RollbackRecord): AnyEffect =>
  Effect.flatMap(toldBy(use, record), ({ cause, undone }) => {
    if (record.reason === "interrupted") return Effect.zipRight(revert(use), Replay.never)
    if (cause !== undefined && record.reason !== "died") {
      // What could not be undone is met again, for a transaction around to try once more.
      const meeting = isClean(undone) ? Effect.void : met(use)
      return Effect.zipRight(
        Effect.zipRight(meeting, revert(use)),
        Effect.failCause(causeOf(use.section, cause, undone))
      )
    }
    return Effect.flatMap(replayToEnd(use), (exit) =>
      exit === undefined || Exit.isSuccess(exit)
        ? anew(use, "the program takes another way than before")
        : Effect.zipRight(revert(use), Effect.failCause(causeOf(use.section, exit.cause, undone)))
    )
  })

/** Its process ended in the middle: what is left is undone, while the body waits where it was. */
const goOn = (use: Use, record: RollbackRecord): AnyEffect =>
  Effect.flatten(
    Execution.whileRollingBack(
      use.execution,
      Effect.flatMap(
        Effect.zip(toldBy(use, record), Effect.exit(undoMet(use, record.reason as Reason))),
        ([{ cause }, exit]) => (Exit.isFailure(exit) ? Effect.succeed(exit) : after(use, record, cause, exit.value))
      )
    )
  )

/** What the transaction comes to once it was undone; it is run when the rollback is no longer open. */
const after = (
  use: Use,
  record: RollbackRecord,
  cause: Cause.Cause<unknown> | undefined,
  { exit: natural, undone }: Effect.Effect.Success<ReturnType<typeof undoMet>>
): Effect.Effect<AnyEffect, never, unknown> => {
  // It failed as it had before: as is on record, or by itself.
  const failed = cause ?? (natural !== undefined && Exit.isFailure(natural) ? natural.cause : undefined)
  if (record.reason === "interrupted" && isClean(undone)) {
    const end = recordEnd(use, "interrupted", Cause.interrupt(FiberId.none), undone)
    return Effect.as(end, use.restore(Replay.never))
  }
  if (failed !== undefined && record.reason !== "stopped") {
    return Effect.exit(ended(use, record.reason as Reason, failed, undone))
  }
  return isClean(undone)
    ? Effect.succeed(anew(use, record.reason))
    : Effect.exit(ended(use, "failed", failed ?? lostCause(record), undone))
}

const lostCause = ({ reason, section }: RollbackRecord) =>
  Cause.die(new Error(`transaction "${section}" was ${reason} in an earlier process`))

const anew = (use: Use, reason: string): AnyEffect =>
  Effect.zipRight(
    forgetAll(use, reason),
    Effect.suspend(() => fresh(use))
  )
