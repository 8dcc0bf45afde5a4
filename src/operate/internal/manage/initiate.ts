import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Struct from "effect/Struct"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import * as Lock from "../../../lock/Lock.js"
import * as Fault from "../../../resilience/Fault.js"
import { logged } from "../../../resilience/internal/kernel/logged.js"
import * as Storage from "../../../storage/Storage.js"
import type { FailureRecord } from "../../FailureRecord.js"
import { FailureNotFound, type RecordDamaged, RecoveryRefused, RecoveryUnderWay } from "../../OperateError.js"
import type { InitiateOptions, RecoveryType } from "../../RecoveryManager.js"
import { suggest } from "../insights/suggest.js"
import { completedRun, recordFailure, resolveWithRun } from "../records/failures.js"
import { failures, newId, type RecoveryDetails, recoveries, truncateMessage } from "../records/records.js"
import { type AnyWorkflow, isRecoveryType, type Job, PlanFailed, planOf, runPlan, type Settings } from "./plan.js"
import { endRecovery, insertRecovery, messageOf } from "./progress.js"
import { closeAbandoned, isOpen, lockOf } from "./sweep.js"

/** Recovers a failure under its lock: one recovery at a time, in all processes. */
export const initiate = (settings: Settings, id: string, type: RecoveryType | "auto", options: InitiateOptions) =>
  // Checked before the lock is taken, since a lock leaves a row in the storage.
  Effect.zipRight(failures.get(id), initiateLocked(settings, id, type, options))

const initiateLocked = (settings: Settings, id: string, type: RecoveryType | "auto", options: InitiateOptions) =>
  recover(settings, id, type, options).pipe(
    Lock.withLock(lockOf(id), { timeout: 0 }),
    Effect.catchTags({
      LockTimeout: ({ status }) =>
        Effect.fail(new RecoveryUnderWay({ failure: id, owner: status.owner ?? "another process" })),
      // Locks are kept in the storage. The only other cause is that this fiber holds the lock already.
      LockError: ({ cause }) =>
        Effect.fail(
          cause instanceof Storage.StorageError ? cause : new RecoveryUnderWay({ failure: id, owner: "this fiber" })
        ),
      // The recovery may have ended before the lock was lost.
      LockLost: () =>
        Effect.flatMap(recoveries.listReadable({ subject: id, limit: 1 }), ([last]) =>
          last === undefined || isOpen(last.status)
            ? Effect.fail(new RecoveryUnderWay({ failure: id, owner: "another process" }))
            : Effect.succeed(last)
        )
    })
  )

const recover = (settings: Settings, id: string, type: RecoveryType | "auto", options: InitiateOptions) =>
  Effect.gen(function* () {
    const failure = yield* failures.get(id)
    yield* closeAbandoned(id)
    if (failure.status === "resolved") return yield* new RecoveryRefused({ failure: id, reason: "Resolved" })
    const chosen = type === "auto" ? yield* choose(settings, failure) : type
    const workflow = yield* workflowOf(settings, failure, chosen, options.checkpoint !== undefined)
    if (chosen === "retry" && failure.retries >= settings.maxRetries) {
      return yield* new RecoveryRefused({ failure: id, reason: "Limit" })
    }
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const details = newDetails(failure, chosen, options)
        const inserting = insertRecovery(yield* newId("recovery"), failure.labels, details)
        const job: Job = {
          settings,
          type: chosen,
          progress: yield* Effect.catchTag(inserting, "ChangedElsewhere", () =>
            Effect.fail(new RecoveryUnderWay({ failure: id, owner: "another process" }))
          ),
          failure,
          run: workflow && failure.run !== undefined ? { id: failure.run, workflow } : undefined,
          requestedCheckpoint: options.checkpoint
        }
        return yield* execute(job, restore)
      })
    )
  })

const newDetails = (failure: FailureRecord, type: RecoveryType, { reason }: InitiateOptions): RecoveryDetails => ({
  type,
  by: "manager",
  failure: failure.id,
  ...Struct.pick(failure, "run", "step", "recovery", "category", "fingerprint", "message"),
  attempts: failure.retries + 1,
  plan: planOf(type, failure.category),
  progress: [],
  corruptionDetected: false,
  reason
})

/** The first suggestion this manager can carry out. */
const choose = (settings: Settings, failure: FailureRecord) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const suggestions = yield* suggest(storage, failure)
    const isPossible = (type: RecoveryType) =>
      (failure.run !== undefined || settings.actions[type] !== undefined) &&
      (type !== "retry" || failure.retries < settings.maxRetries)
    const types = suggestions.map(({ strategy }) => strategy).filter(isRecoveryType)
    return types.find(isPossible) ?? "retry"
  })

/** The workflow of the failed run. Undefined for a failure of no run, which an action recovers. */
const workflowOf = (
  settings: Settings,
  failure: Pick<FailureRecord, "id" | "run">,
  type: RecoveryType,
  allowCompleted: boolean
): Effect.Effect<AnyWorkflow | undefined, RecoveryRefused | RecordDamaged | Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const refuse = (reason: RecoveryRefused["reason"]) => new RecoveryRefused({ failure: failure.id, reason })
    if (failure.run === undefined) {
      return settings.actions[type] === undefined ? yield* refuse("NoRun") : undefined
    }
    const storage = yield* Storage.Storage
    const found = yield* storage.find(failure.run)
    if (Option.isNone(found)) return yield* refuse("UnknownRun")
    const { outcome, version, workflow } = found.value
    if (outcome?.status === "completed" && !allowCompleted) {
      yield* resolveWithRun(failure, completedRun)
      return yield* refuse("Completed")
    }
    const named = settings.workflows.filter(({ name }) => name === workflow)
    return named.find((one) => one.version === version) ?? named[0] ?? (yield* refuse("UnknownWorkflow"))
  })

/** Runs the plan and the hooks. The recovery has its final status when this ends, also by interruption. */
const execute = (job: Job, restore: Storage.Restore) =>
  Effect.gen(function* () {
    const { failure, progress, settings, type } = job
    const { hooks, timeout } = settings
    const { id } = yield* Ref.get(progress)
    yield* runHook("before", () => hooks.before?.(failure, type))
    const onTimeout = () => new PlanFailed({ message: `It took longer than ${Duration.format(timeout)}.` })
    const exit = yield* Effect.exit(restore(Effect.timeoutFail(runPlan(job), { duration: timeout, onTimeout })))
    yield* Effect.catchTag(storeEnd(job, exit), "ChangedElsewhere", () => Effect.void)
    const record = yield* recoveries.get(id)
    const isCancelled = Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)
    yield* runHook("after", () => hooks.after?.(record), isCancelled)
    if (record.status !== "completed") yield* runHook("onAbort", () => hooks.onAbort?.(record), isCancelled)
    if (isCancelled) return yield* Effect.interrupt
    return record
  })

const storeEnd = ({ failure, progress }: Job, exit: Exit.Exit<unknown, unknown>) =>
  Effect.gen(function* () {
    if (Exit.isFailure(exit)) {
      const status = Cause.isInterruptedOnly(exit.cause) ? "cancelled" : "failed"
      return yield* endRecovery(progress, status, truncateMessage(messageOf(exit.cause)))
    }
    const { id } = yield* Ref.get(progress)
    // A process that is killed after this line leaves a resolved failure, and a recovery for the next sweep.
    yield* resolveWithRun(failure, id)
    yield* endRecovery(progress, "completed", undefined)
  })

/** How long a hook may delay the end of a cancelled recovery. */
const hookTimeout = Duration.seconds(10)

const runHook = (name: string, hook: () => Effect.Effect<unknown, unknown> | undefined, isCancelled = false) => {
  const run = Effect.interruptible(Effect.suspend(() => hook() ?? Effect.void))
  const onTimeout = () => `It took longer than ${Duration.format(hookTimeout)}.`
  // An interrupted fiber runs no interruptible effect. The timeout runs the hook in a fiber of its own.
  const bounded = isCancelled ? Effect.timeoutFail(run, { duration: hookTimeout, onTimeout }) : run
  return logged(bounded, `the hook ${name} failed; the recovery continues`)
}

/** Rolls back by the newest open failure of the run. A run without one gets a failure, which the recovery belongs to. */
export const rollbackTo = (settings: Settings, checkpoint: string, reason: string) =>
  Effect.gen(function* () {
    const { labels, run } = yield* Checkpoint.find(checkpoint)
    const [open] = run === undefined ? [] : yield* failures.list({ subject: run, status: "open", limit: 1 })
    // A rollback that is refused records no failure.
    yield* workflowOf(settings, { id: open?.id ?? "", run }, "rollback", true)
    const id = open?.id ?? (yield* recordRequest(run, labels, reason))
    return yield* initiate(settings, id, "rollback", { checkpoint, reason })
  })

const recordRequest = (run: string | undefined, labels: Readonly<Record<string, string>>, reason: string) =>
  Effect.gen(function* () {
    const fault = yield* Fault.classify(new Error(`Rolled back by hand: ${reason}`))
    const written = yield* recordFailure({ run, fault, labels })
    return Option.isSome(written) ? written.value.id : yield* new FailureNotFound({ failure: "" })
  })
