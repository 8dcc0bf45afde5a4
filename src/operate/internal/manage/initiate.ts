import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Lock from "../../../lock/Lock.js"
import type { RetryPolicy } from "../../../resilience/RetryPolicy.js"
import * as Storage from "../../../storage/Storage.js"
import type { FailureRecord } from "../../FailureRecord.js"
import { RecoveryRefused, RecoveryUnderWay } from "../../OperateError.js"
import type { Hooks, InitiateOptions } from "../../RecoveryManager.js"
import { suggest } from "../insights/suggest.js"
import { findFailure, findRecovery } from "../records/find.js"
import { newId, type RecoveryDetails, recoveries, toRecovery } from "../records/records.js"
import { cutMessage } from "../records/report.js"
import { byItsRun, countRetry, resolveRun } from "../records/resolve.js"
import { type AnyWorkflow, type Job, PlanFailed, perform, type Settings } from "./perform.js"
import { planOf, type RecoveryType } from "./plans.js"
import { begin, countsAtEnd, end, inWords } from "./progress.js"

export interface Manager extends Settings {
  readonly timeout: Duration.Duration
  readonly hooks: Hooks
  /** How failures are retried that cannot be put on record. */
  readonly fallback: RetryPolicy
}

const types: ReadonlySet<string> = new Set(["retry", "resume", "rollback", "restart"])
const isType = (strategy: string): strategy is RecoveryType => types.has(strategy)

/** One recovery of a failure at a time, whoever asks for it and in which process. */
export const initiate = (manager: Manager, id: string, type: RecoveryType | "auto", options: InitiateOptions) =>
  // An id nobody knows must leave no lock behind.
  Effect.zipRight(findFailure(id), locked(manager, id, type, options))

const locked = (manager: Manager, id: string, type: RecoveryType | "auto", options: InitiateOptions) =>
  recover(manager, id, type, options).pipe(
    Lock.withLock({ kind: "failure", id }, { timeout: 0 }),
    Effect.catchTags({
      LockTimeout: ({ status }) =>
        Effect.fail(new RecoveryUnderWay({ failure: id, owner: status.owner ?? "another process" })),
      // The lock is kept in the storage: what goes wrong with it goes wrong there. Within a recovery there is none of its own failure.
      LockError: (error) =>
        error.cause instanceof Storage.StorageError
          ? Effect.fail(error.cause)
          : Effect.fail(new RecoveryUnderWay({ failure: id, owner: "this fiber" })),
      // It may have come to its end all the same.
      LockLost: () =>
        Effect.flatMap(recoveries.readable({ subject: id, limit: 1 }), ([last]) =>
          last === undefined || last.status === "pending" || last.status === "in_progress"
            ? Effect.fail(new RecoveryUnderWay({ failure: id, owner: "another process" }))
            : Effect.succeed(toRecovery(last))
        )
    })
  )

const recover = (manager: Manager, id: string, type: RecoveryType | "auto", options: InitiateOptions) =>
  Effect.gen(function* () {
    const failure = yield* findFailure(id)
    yield* sweepOf(id)
    if (failure.status === "resolved") return yield* new RecoveryRefused({ failure: id, reason: "Resolved" })
    const wanted = type === "auto" ? yield* choose(manager, failure) : type
    const workflow = yield* Effect.tapError(
      workflowOf(manager, failure, wanted, options.checkpoint !== undefined),
      (error) =>
        error._tag === "RecoveryRefused" && error.reason === "Completed" ? resolveRun(failure, byItsRun) : Effect.void
    )
    if (wanted === "retry" && failure.retries >= manager.maxRetries) {
      return yield* new RecoveryRefused({ failure: id, reason: "Limit" })
    }
    const details = newDetails(failure, wanted, options)
    const beginning = Effect.mapError(begin(yield* newId("recovery"), failure.labels, details), (error) =>
      error._tag === "Overtaken" ? new RecoveryUnderWay({ failure: id, owner: "another process" }) : error
    )
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        // Counted before it is tried: one that kills its process counts, too.
        if (wanted === "retry") yield* countRetry(id)
        const { checkpoint } = options
        const job: Job = {
          settings: manager,
          open: yield* beginning,
          failure,
          workflow,
          run: failure.run ?? "",
          checkpoint
        }
        return yield* execute(manager, wanted, job, restore)
      })
    )
  })

const newDetails = (failure: FailureRecord, type: RecoveryType, { reason }: InitiateOptions): RecoveryDetails => ({
  type,
  by: "manager",
  failure: failure.id,
  run: failure.run,
  step: failure.step,
  recovery: failure.recovery,
  category: failure.category,
  fingerprint: failure.fingerprint,
  message: failure.message,
  attempts: failure.retries + 1,
  plan: planOf(type, failure.category),
  progress: [],
  corruptionDetected: false,
  reason
})

/** The most promising of what can be done here. */
const choose = (manager: Manager, failure: FailureRecord) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const suggestions = yield* suggest(storage, failure)
    const isPossible = (strategy: RecoveryType) =>
      (failure.run !== undefined || manager.actions[strategy] !== undefined) &&
      (strategy !== "retry" || failure.retries < manager.maxRetries)
    return (
      suggestions
        .map(({ strategy }) => strategy)
        .filter(isType)
        .find(isPossible) ?? "retry"
    )
  })

/** What runs it; nothing for a failure of no run that an action recovers. */
export const workflowOf = (
  manager: Manager,
  failure: Pick<FailureRecord, "id" | "run">,
  type: RecoveryType,
  isCompletedToo: boolean
): Effect.Effect<AnyWorkflow | undefined, RecoveryRefused | Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const refuse = (reason: RecoveryRefused["reason"]) => new RecoveryRefused({ failure: failure.id, reason })
    if (failure.run === undefined) {
      return manager.actions[type] === undefined ? yield* refuse("NoRun") : undefined
    }
    const storage = yield* Storage.Storage
    const found = yield* storage.find(failure.run)
    if (Option.isNone(found)) return yield* refuse("UnknownRun")
    const { outcome, version, workflow } = found.value
    if (outcome?.status === "completed" && !isCompletedToo) return yield* refuse("Completed")
    const named = manager.workflows.filter(({ name }) => name === workflow)
    return named.find((one) => one.version === version) ?? named[0] ?? (yield* refuse("UnknownWorkflow"))
  })

/** Whatever happens, the recovery has its final status when this is over. */
const execute = (manager: Manager, type: RecoveryType, job: Job, restore: Storage.Restore) =>
  Effect.gen(function* () {
    const { failure, open } = job
    const { id } = yield* open.current
    yield* beside("before", () => manager.hooks.before?.(failure, type))
    const timeout = new PlanFailed({ message: `It took longer than ${Duration.format(manager.timeout)}.` })
    const bounded = Effect.timeoutFail(perform(type, job), { duration: manager.timeout, onTimeout: () => timeout })
    const exit = yield* Effect.exit(restore(bounded))
    // Who has ended it in the meantime has the last word.
    yield* Effect.catchTag(conclude(job, exit), "Overtaken", () => Effect.void)
    const record = yield* findRecovery(id)
    const isCancelled = Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)
    yield* beside("after", () => manager.hooks.after?.(record), isCancelled)
    if (record.status !== "completed") yield* beside("onAbort", () => manager.hooks.onAbort?.(record), isCancelled)
    if (isCancelled) return yield* Effect.interrupt
    return record
  })

const conclude = ({ failure, open }: Job, exit: Exit.Exit<unknown, unknown>) =>
  Effect.gen(function* () {
    const { id } = yield* open.current
    if (Exit.isSuccess(exit)) {
      // Killed in between, the failure is resolved, and the recovery is swept.
      yield* resolveRun(failure, id)
      return yield* end(open, "completed", undefined)
    }
    const status = Cause.isInterruptedOnly(exit.cause) ? "cancelled" : "failed"
    yield* end(open, status, cutMessage(inWords(exit.cause)))
  })

/** What is still open of a failure nobody recovers was left by a process that ended. */
export const sweepOf = (failure: string) =>
  Effect.gen(function* () {
    const all = yield* recoveries.readable({ subject: failure })
    const left = all.filter(({ status }) => status === "pending" || status === "in_progress")
    const now = yield* Clock.currentTimeMillis
    let swept = 0
    for (const stored of left) {
      const { details, id, labels, revision, subject } = stored
      const error = "Its process ended before it did."
      const more = { ...details, error, completedAt: new Date(now) }
      const counts = countsAtEnd(stored, now, "failed")
      const written = yield* recoveries.write(
        { id, subject, labels, revision, status: "failed", details: more },
        counts
      )
      if (Option.isSome(written)) swept++
    }
    return swept
  })

/** So long may a hook keep waiting those who have cancelled. */
const longestFarewell = Duration.seconds(10)

const beside = (name: string, hook: () => Effect.Effect<unknown, unknown> | undefined, isCancelled = false) => {
  const run = Effect.interruptible(Effect.suspend(() => hook() ?? Effect.void))
  // In a fiber of its own: one that was interrupted runs nothing that may be.
  const late = () => `It took longer than ${Duration.format(longestFarewell)}.`
  const told = isCancelled ? Effect.timeoutFail(run, { duration: longestFarewell, onTimeout: late }) : run
  return Effect.catchAllCause(Effect.asVoid(told), (cause) =>
    Effect.logWarning(`effect-recovery: the hook ${name} failed; the recovery goes on`, cause)
  )
}
