import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import * as Lock from "../../../lock/Lock.js"
import { durationText } from "../../../resilience/DurationText.js"
import * as Fault from "../../../resilience/Fault.js"
import { logged } from "../../../resilience/internal/kernel/logged.js"
import * as Storage from "../../../storage/Storage.js"
import type { FailureRecord } from "../../FailureRecord.js"
import { FailureNotFound, RecoveryUnderWay } from "../../OperateError.js"
import type { InitiateOptions, RecoveryType } from "../../RecoveryOptions.js"
import { checked } from "../records/checked.js"
import { recordFailure, resolveWithRun } from "../records/failures.js"
import { failures, newId, type RecoveryDetails, recoveries, truncateMessage } from "../records/records.js"
import { tracked } from "./begin.js"
import { choose } from "./choose.js"
import { checkFeasible } from "./feasibility.js"
import { lockOf, whileHeld } from "./held.js"
import { type Job, PlanFailed, planOf, runPlan, type Settings } from "./plan.js"
import { endRecovery, insertRecovery, messageOf } from "./progress.js"
import { closeAbandoned, isOpen } from "./sweep.js"

/** Recovers a failure under its lock: one recovery at a time, in all processes. */
export const initiate = (settings: Settings, id: string, type: RecoveryType | "auto", options: InitiateOptions) =>
  Effect.gen(function* () {
    yield* checkRequest({ type, options })
    // Before the lock is taken, since a lock leaves a row in the storage, and a refusal changes nothing.
    const failure = yield* failures.get(id)
    yield* refuseIfUnderWay(id)
    const chosen = yield* choose(settings, failure, type, options)
    const recovery = yield* newId("recovery")
    return yield* tracked(settings, recovery, initiateLocked(settings, { id, recovery, type: chosen.type, options }))
  })

/** A recovery that was asked for and is not refused yet. */
interface Request {
  /** The id of the failure. */
  readonly id: string
  /** The id of the recovery. */
  readonly recovery: string
  readonly type: RecoveryType
  readonly options: InitiateOptions
}

export const checkRequest = checked(
  "request",
  Schema.Struct({
    type: Schema.Literal("auto", "retry", "resume", "rollback", "restart"),
    options: Schema.Struct({ reason: Schema.optional(Schema.String), checkpoint: Schema.optional(Schema.String) })
  })
)

const lockFailed = (id: string) => (error: Lock.LockError) =>
  // Locks are kept in the storage. The only other cause is that this fiber holds the lock already.
  error.cause instanceof Storage.StorageError ? error.cause : new RecoveryUnderWay({ failure: id, owner: "this fiber" })

export const refuseIfUnderWay = (id: string) =>
  Effect.flatMap(Effect.mapError(Lock.status(lockOf(id)), lockFailed(id)), ({ owner = "another process", state }) =>
    state === "held" ? new RecoveryUnderWay({ failure: id, owner }) : Effect.void
  )

const initiateLocked = (settings: Settings, request: Request) => {
  const { id } = request
  return recover(settings, request).pipe(
    Lock.withLock(lockOf(id), { timeout: 0 }),
    Effect.catchTags({
      LockTimeout: ({ status }) =>
        Effect.fail(new RecoveryUnderWay({ failure: id, owner: status.owner ?? "another process" })),
      LockError: (error) => Effect.fail(lockFailed(id)(error)),
      // The recovery may have ended before the lock was lost.
      LockLost: () =>
        Effect.flatMap(recoveries.listReadable({ subject: id, limit: 1 }), ([last]) =>
          last === undefined || isOpen(last.status)
            ? Effect.fail(new RecoveryUnderWay({ failure: id, owner: "another process" }))
            : Effect.succeed(last)
        )
    })
  )
}

/** Puts the run of the failure on hold from the first look to the last write. */
const recover = (settings: Settings, request: Request) =>
  Effect.gen(function* () {
    const { id: failure, options, recovery, type } = request
    const found = yield* failures.get(failure)
    const { checkpoint } = options
    const { run } = found
    if (run === undefined) return yield* recoverNow(settings, request, undefined)
    // A refusal puts nothing on hold.
    yield* checkFeasible(found, type, { settings, checkpoint, mayRun: true })
    const holder = { run, failure, recovery, type, patience: settings.patience }
    return yield* whileHeld(holder, (heldAs) => recoverNow(settings, request, heldAs))
  })

/** The failure and its run may have changed before they were locked and held, so the request is checked again. */
const recoverNow = (settings: Settings, request: Request, heldAs: string | undefined) =>
  Effect.gen(function* () {
    const { id, options, recovery, type } = request
    const failure = yield* failures.get(id)
    const { checkpoint } = options
    const { retryPoint, workflow } = yield* checkFeasible(failure, type, { settings, checkpoint })
    yield* closeAbandoned(id)
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const details = newDetails(failure, type, options)
        const inserting = insertRecovery(recovery, failure.labels, details)
        const job: Job = {
          settings,
          type,
          progress: yield* Effect.catchTag(inserting, "ChangedElsewhere", () =>
            Effect.fail(new RecoveryUnderWay({ failure: id, owner: "another process" }))
          ),
          failure,
          run: workflow && failure.run !== undefined ? { id: failure.run, workflow, heldAs } : undefined,
          requestedCheckpoint: checkpoint,
          retryPoint
        }
        settings.onBegin?.(recoveries.toRecord(yield* Ref.get(job.progress)))
        return yield* execute(job, restore)
      })
    )
  })

const newDetails = (failure: FailureRecord, type: RecoveryType, { reason }: InitiateOptions): RecoveryDetails => ({
  type,
  by: "manager",
  failure: failure.id,
  ...Struct.pick(failure, "run", "step", "recovery", "tag", "category", "fingerprint", "message"),
  attempts: failure.retries + 1,
  plan: planOf(type, failure.category),
  progress: [],
  corruptionDetected: false,
  reason
})

/** Runs the plan and the hooks. The recovery has its final status when this ends, also by interruption. */
const execute = (job: Job, restore: Storage.Restore) =>
  Effect.gen(function* () {
    const { failure, progress, settings, type } = job
    const { hooks, timeout } = settings
    const { id } = yield* Ref.get(progress)
    yield* runHook("before", () => hooks.before?.(failure, type))
    const onTimeout = () => new PlanFailed({ message: `It took longer than ${durationText(timeout)}.` })
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
  const onTimeout = () => `It took longer than ${durationText(hookTimeout)}.`
  // An interrupted fiber runs no interruptible effect. The timeout runs the hook in a fiber of its own.
  const bounded = isCancelled ? Effect.timeoutFail(run, { duration: hookTimeout, onTimeout }) : run
  return logged(bounded, `the hook ${name} failed; the recovery continues`)
}

/** The failure that a rollback to the checkpoint belongs to: the newest open one of its run. */
export const rollbackSubject = (checkpoint: string) =>
  Effect.gen(function* () {
    const { at, labels, run } = yield* Checkpoint.find(checkpoint)
    const [open] = run === undefined ? [] : yield* failures.list({ subject: run, status: "open", limit: 1 })
    return { labels, open, run, subject: open ?? { run, step: undefined, retries: 0, labels, detectedAt: at } }
  })

/** Rolls back by the newest open failure of the run. A run without one gets a failure, which the recovery belongs to. */
export const rollbackTo = (settings: Settings, checkpoint: string, reason: string) =>
  Effect.gen(function* () {
    yield* checkRequest({ type: "rollback", options: { reason, checkpoint } })
    const { labels, open, run, subject } = yield* rollbackSubject(checkpoint)
    // A rollback that is refused records no failure.
    yield* checkFeasible(subject, "rollback", { settings, checkpoint })
    const id = open?.id ?? (yield* recordRequest(run, labels, reason))
    return yield* initiate(settings, id, "rollback", { checkpoint, reason })
  })

const recordRequest = (run: string | undefined, labels: Readonly<Record<string, string>>, reason: string) =>
  Effect.gen(function* () {
    const fault = yield* Fault.classify(new Error(`Rolled back by hand: ${reason}`))
    const written = yield* recordFailure({ run, fault, labels })
    return Option.isSome(written) ? written.value.id : yield* new FailureNotFound({ failure: "" })
  })
