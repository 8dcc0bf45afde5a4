/**
 * Recoveries on request: retries a failed run, resumes it from a checkpoint,
 * rolls it back to one, or restarts it, and records the result. Reads and
 * reports the failures on record.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { CheckpointNotFound } from "../durable/CheckpointError.js"
import * as Lock from "../lock/Lock.js"
import type { InvalidOption } from "../resilience/InvalidOption.js"
import { millis, millisOrInfinity, wholeOrInfinity } from "../resilience/internal/kernel/options.js"
import * as RetryPolicy from "../resilience/RetryPolicy.js"
import type * as Storage from "../storage/Storage.js"
import type { FailureRecord, Report } from "./FailureRecord.js"
import { dashboardOf } from "./internal/insights/statistics.js"
import { adoptFrom } from "./internal/manage/adopt.js"
import { beginIn, joinRecovery } from "./internal/manage/begin.js"
import { validateById } from "./internal/manage/checkpoints.js"
import { suggestFor } from "./internal/manage/choose.js"
import { handle as handle_ } from "./internal/manage/handle.js"
import { initiate as initiate_, rollbackTo } from "./internal/manage/initiate.js"
import type { Settings } from "./internal/manage/plan.js"
import { preview, previewRollback } from "./internal/manage/preview.js"
import { cleanupRecords, closeAllAbandoned } from "./internal/manage/sweep.js"
import { reportFailure, resolveFailure } from "./internal/records/failures.js"
import { listFailures, listRecoveries } from "./internal/records/queries.js"
import { failures as failures_, recoveries as recoveries_ } from "./internal/records/records.js"
import type {
  AdoptionRefused,
  FailureNotFound,
  InvalidRequest,
  PlainRetryFailed,
  RecordDamaged,
  RecoveryNotFound,
  RecoveryRefused,
  RecoveryUnderWay
} from "./OperateError.js"
import type {
  Adoption,
  AdoptOptions,
  FailureQuery,
  Handled,
  InitiateOptions,
  Options,
  RecoveryQuery,
  RecoveryType,
  Requirements
} from "./RecoveryOptions.js"
import type { RecoveryPlan } from "./RecoveryPlan.js"
import type { Dashboard, RecoveryRecord, Validation } from "./RecoveryRecord.js"
import type { Suggestion } from "./Statistics.js"

/** @since 0.1.0 */
export type * from "./RecoveryOptions.js"

const defaultFallback = RetryPolicy.exponential({ initialDelay: "30 seconds", maxDelay: "5 minutes", maxRetries: 5 })

/** Errors of a recovery on request. A recovery that fails is no error: its record has the status `failed`. */
type RequestError =
  | FailureNotFound
  | InvalidRequest
  | RecordDamaged
  | RecoveryNotFound
  | RecoveryRefused
  | RecoveryUnderWay
  | Storage.StorageError

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly initiate: (
    failure: string,
    type: RecoveryType | "auto",
    options: InitiateOptions
  ) => Effect.Effect<RecoveryRecord, RequestError>
  readonly begin: (
    failure: string,
    type: RecoveryType | "auto",
    options: InitiateOptions
  ) => Effect.Effect<RecoveryRecord, RequestError>
  readonly plan: (
    failure: string,
    type: RecoveryType | "auto",
    options: InitiateOptions
  ) => Effect.Effect<RecoveryPlan, RequestError>
  readonly planRollback: (checkpoint: string) => Effect.Effect<RecoveryPlan, RequestError | CheckpointNotFound>
  readonly suggest: (failure: string) => Effect.Effect<ReadonlyArray<Suggestion>, RequestError>
  readonly join: (
    recovery: string
  ) => Effect.Effect<RecoveryRecord, RecoveryNotFound | RecordDamaged | Storage.StorageError>
  readonly handle: (failure: unknown, report: Report) => Effect.Effect<Handled, RequestError | PlainRetryFailed>
  readonly validate: (checkpoint: string) => Effect.Effect<Validation, CheckpointNotFound | Storage.StorageError>
  readonly rollback: (
    checkpoint: string,
    reason: string
  ) => Effect.Effect<RecoveryRecord, RequestError | CheckpointNotFound>
  readonly beginRollback: (
    checkpoint: string,
    reason: string
  ) => Effect.Effect<RecoveryRecord, RequestError | CheckpointNotFound>
  readonly adopt: (
    workflow: string,
    options: AdoptOptions
  ) => Effect.Effect<Adoption, AdoptionRefused | Storage.StorageError>
}

/**
 * @since 0.1.0
 * @category services
 */
export class RecoveryManager extends Context.Tag("effect-recovery/RecoveryManager")<RecoveryManager, Service>() {}

/**
 * A manager that recovers runs of the given workflows, and failures of no run
 * by the given actions.
 *
 * @example
 * ```ts
 * import { Step, Storage, Workflow } from "effect-recovery"
 * import { Insights, RecoveryManager } from "effect-recovery/operate"
 * import { Effect, Layer, Schema } from "effect"
 *
 * let isUp = false
 * const deploy = Step.make("deploy", {
 *   error: Schema.String,
 *   run: () => (isUp ? Effect.void : Effect.fail("connection refused"))
 * })
 * const Release = Workflow.make("release", { error: Schema.String }, () => deploy())
 *
 * const program = Effect.gen(function* () {
 *   yield* Effect.ignore(Workflow.execute(Release, { id: "v1" }))
 *   yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
 *   const [failure] = yield* RecoveryManager.failures({ run: "v1" })
 *   isUp = true
 *   const recovery = yield* RecoveryManager.initiate(failure?.id ?? "")
 *   return `${recovery.type} ${recovery.status}`
 * })
 *
 * const layer = Layer.merge(Insights.layer, RecoveryManager.layer({ workflows: [Release] }))
 * program.pipe(
 *   Effect.provide(layer.pipe(Layer.provideMerge(Storage.layerMemory))),
 *   Effect.runPromise
 * ).then(console.log) // retry completed
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <const O extends Options>(
  options: O
): Layer.Layer<RecoveryManager, never, Storage.Storage | Requirements<O>> =>
  Layer.scoped(
    RecoveryManager,
    Effect.gen(function* () {
      const given: Options = options
      const settings: Settings = {
        workflows: given.workflows ?? [],
        checkpoints: given.checkpoints ?? [],
        checks: given.checks ?? [],
        actions: given.actions ?? {},
        fixes: given.fixes ?? {},
        restore: given.restore ?? {},
        maxRetries: wholeOrInfinity("maxRetries", given.maxRetries ?? 3, 0),
        timeout: Duration.millis(millisOrInfinity("timeout", given.timeout ?? "1 hour", 1)),
        patience: Duration.millis(millis("patience", given.patience ?? "10 seconds")),
        hooks: given.hooks ?? {},
        fallback: given.fallback ?? defaultFallback,
        ongoing: new Map()
      }
      const scope = yield* Effect.scope
      const context = yield* Effect.context<Storage.Storage>()
      const locks = yield* Layer.build(Lock.layerStorage())
      // The type of the layer requires `Requirements<O>`, so the context holds all services the options need.
      const all = Context.merge(context, locks) as Context.Context<unknown>
      const service: Service = {
        initiate: (failure, type, how) => Effect.provide(initiate_(settings, failure, type, how), all),
        begin: (failure, type, how) =>
          Effect.provide(
            beginIn(scope, settings, (settings) => initiate_(settings, failure, type, how)),
            all
          ),
        plan: (failure, type, how) => Effect.provide(preview(settings, failure, type, how), all),
        planRollback: (checkpoint) => Effect.provide(previewRollback(settings, checkpoint), all),
        suggest: (failure) =>
          Effect.provide(
            Effect.flatMap(failures_.get(failure), (found) => suggestFor(settings, found)),
            all
          ),
        join: (recovery) => Effect.provide(joinRecovery(settings, recovery), all),
        handle: (failure, report) => Effect.provide(handle_(settings, failure, report), all),
        validate: (checkpoint) => Effect.provide(validateById(settings, checkpoint), all),
        rollback: (checkpoint, reason) => Effect.provide(rollbackTo(settings, checkpoint, reason), all),
        beginRollback: (checkpoint, reason) =>
          Effect.provide(
            beginIn(scope, settings, (settings) => rollbackTo(settings, checkpoint, reason)),
            all
          ),
        adopt: (workflow, how) => Effect.provide(adoptFrom(settings, workflow, how), all)
      }
      return service
      // As above.
    }) as Effect.Effect<Service, never, Storage.Storage | Requirements<O>>
  )

/**
 * Recovers a failure, and returns the record of the recovery in its final
 * status. The type `auto` uses the first suggestion of `Insights.suggest` that
 * this manager can carry out. {@link begin} returns before the work begins.
 *
 * The run is on hold from the first look at it to the last write: no worker
 * takes it. A process that advances it begins no further step and leaves it, and
 * the recovery waits for that as long as the option `patience` says.
 *
 * All processes together run one recovery of a failure at a time, and one of a
 * run. A recovery whose process ended gets the status `failed` when the next one starts. An
 * interrupted recovery gets the status `cancelled`.
 *
 * @since 0.1.0
 * @category execution
 */
export const initiate = (
  failure: string,
  type: RecoveryType | "auto" = "auto",
  options: InitiateOptions = {}
): Effect.Effect<RecoveryRecord, RequestError, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.initiate(failure, type, options))

/**
 * What {@link initiate} would do now: the type that `auto` chooses, the point
 * that the run goes back to, the steps that are compensated and removed, the
 * checkpoint and whether it is valid. Fails as `initiate` would. Changes nothing.
 *
 * @since 0.1.0
 * @category reading
 */
export const plan = (
  failure: string,
  type: RecoveryType | "auto" = "auto",
  options: InitiateOptions = {}
): Effect.Effect<RecoveryPlan, RequestError, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.plan(failure, type, options))

/**
 * What {@link rollback} would do now. Fails as `rollback` would. Changes nothing.
 *
 * @since 0.1.0
 * @category reading
 */
export const planRollback = (
  checkpoint: string
): Effect.Effect<RecoveryPlan, RequestError | CheckpointNotFound, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.planRollback(checkpoint))

/**
 * The suggestions of `Insights.suggest` that this manager can carry out, and
 * advice: it leaves out recoveries whose workflow or action it does not have,
 * whose checkpoint its checks refuse, and retries above its limit. A manager
 * with neither workflows nor actions only reads: it leaves out nothing.
 *
 * @since 0.1.0
 * @category reading
 */
export const suggest = (failure: string): Effect.Effect<ReadonlyArray<Suggestion>, RequestError, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.suggest(failure))

/**
 * Begins a recovery and returns its record, before its work begins. The manager
 * continues the recovery in the background: {@link join} waits for its end,
 * {@link status} reads how far it is. A recovery that cannot be made fails here,
 * as {@link initiate} does.
 *
 * The work does not depend on the caller's fiber. It ends with the manager: when
 * the scope of its layer closes, the recovery gets the status `cancelled`.
 *
 * @example
 * ```ts
 * import { Storage } from "effect-recovery"
 * import { RecoveryManager } from "effect-recovery/operate"
 * import { Effect, Layer } from "effect"
 *
 * const rerun = (job: string | undefined) => Effect.log(`running ${job} again`)
 * const manager = RecoveryManager.layer({ actions: { retry: ({ labels }) => rerun(labels.job) } })
 *
 * const program = Effect.gen(function* () {
 *   const failure = yield* RecoveryManager.report("npm install failed", { labels: { job: "build" } })
 *   const { id, status } = yield* RecoveryManager.begin(failure.id, "retry")
 *   const ended = yield* RecoveryManager.join(id)
 *   return `${status}, then ${ended.status}`
 * })
 *
 * program.pipe(
 *   Effect.provide(manager.pipe(Layer.provideMerge(Storage.layerMemory))),
 *   Effect.runPromise
 * ).then(console.log) // pending, then completed
 * ```
 *
 * @since 0.1.0
 * @category execution
 */
export const begin = (
  failure: string,
  type: RecoveryType | "auto" = "auto",
  options: InitiateOptions = {}
): Effect.Effect<RecoveryRecord, RequestError, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.begin(failure, type, options))

/**
 * Waits until a recovery has ended, in whichever process it runs, and returns
 * its record in its final status. Recoveries of other processes are read once a
 * second. One whose process has ended gets the status `failed`.
 *
 * Interrupting it does not interrupt the recovery. To wait for a limited time,
 * use `Effect.timeout`.
 *
 * @since 0.1.0
 * @category execution
 */
export const join = (
  recovery: string
): Effect.Effect<RecoveryRecord, RecoveryNotFound | RecordDamaged | Storage.StorageError, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.join(recovery))

/**
 * Rolls a run back to one of its checkpoints and leaves it there, on hold. The
 * steps since are compensated. The run need not have failed. `Workflow.release`
 * lets it continue.
 *
 * @since 0.1.0
 * @category execution
 */
export const rollback = (
  checkpoint: string,
  reason = "manual_rollback"
): Effect.Effect<RecoveryRecord, RequestError | CheckpointNotFound, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.rollback(checkpoint, reason))

/**
 * {@link rollback} in the background, as {@link begin} does it: returns the
 * record of the recovery before its work begins.
 *
 * @since 0.1.0
 * @category execution
 */
export const beginRollback = (
  checkpoint: string,
  reason = "manual_rollback"
): Effect.Effect<RecoveryRecord, RequestError | CheckpointNotFound, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.beginRollback(checkpoint, reason))

/**
 * Validates a checkpoint: its bytes, and the checks of its definition. Without
 * the definition, the checks of the layer are used.
 *
 * @since 0.1.0
 * @category reading
 */
export const validate = (
  checkpoint: string
): Effect.Effect<Validation, CheckpointNotFound | Storage.StorageError, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.validate(checkpoint))

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Report
} from "./FailureRecord.js"

/**
 * Records a failure from outside of this library's runs: an error, a cause or a
 * text. It is classified by the `Fault` rules in force.
 *
 * @since 0.1.0
 * @category recording
 */
export const report: (
  failure: unknown,
  report?: Report
) => Effect.Effect<
  FailureRecord,
  InvalidRequest | RecordDamaged | FailureNotFound | Storage.StorageError,
  Storage.Storage
> = reportFailure

/**
 * Records a failure and recovers it: `report`, then `initiate` with `auto`. If
 * the storage fails before an action starts, runs the action for `retry` by the
 * `fallback` policy, without a record.
 *
 * @example
 * ```ts
 * import { Storage } from "effect-recovery"
 * import { RecoveryManager } from "effect-recovery/operate"
 * import { Effect, Layer } from "effect"
 *
 * const rerun = (url: string | undefined) => Effect.log(`running ${url} again`)
 * const manager = RecoveryManager.layer({ actions: { retry: ({ labels }) => rerun(labels.url) } })
 *
 * RecoveryManager.handle("npm install failed", { labels: { url: "https://ci.example/7" } }).pipe(
 *   Effect.map((handled) => handled._tag),
 *   Effect.provide(manager.pipe(Layer.provide(Storage.layerMemory))),
 *   Effect.runPromise
 * ).then(console.log) // Recorded
 * ```
 *
 * @since 0.1.0
 * @category execution
 */
export const handle = (
  failure: unknown,
  report: Report = {}
): Effect.Effect<Handled, RequestError | PlainRetryFailed, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.handle(failure, report))

/**
 * Lists failures, newest first.
 *
 * @since 0.1.0
 * @category reading
 */
export const failures: (
  query?: FailureQuery
) => Effect.Effect<
  ReadonlyArray<FailureRecord>,
  InvalidRequest | RecordDamaged | Storage.StorageError,
  Storage.Storage
> = listFailures

/**
 * Finds a failure by its id.
 *
 * @since 0.1.0
 * @category reading
 */
export const failure: (
  id: string
) => Effect.Effect<FailureRecord, FailureNotFound | RecordDamaged | Storage.StorageError, Storage.Storage> =
  failures_.get

/**
 * Lists recoveries, newest first.
 *
 * @since 0.1.0
 * @category reading
 */
export const recoveries: (
  query?: RecoveryQuery
) => Effect.Effect<
  ReadonlyArray<RecoveryRecord>,
  InvalidRequest | RecordDamaged | Storage.StorageError,
  Storage.Storage
> = listRecoveries

/**
 * Finds a recovery by its id.
 *
 * @since 0.1.0
 * @category reading
 */
export const status: (
  recovery: string
) => Effect.Effect<RecoveryRecord, RecoveryNotFound | RecordDamaged | Storage.StorageError, Storage.Storage> =
  recoveries_.get

/**
 * Resolves a failure by hand. A failure that is resolved already stays
 * unchanged, unless its run's completion resolved it: then `by` is stored.
 *
 * @since 0.1.0
 * @category recording
 */
export const resolve = (
  failure: string,
  by: string
): Effect.Effect<
  FailureRecord,
  FailureNotFound | InvalidRequest | RecordDamaged | Storage.StorageError,
  Storage.Storage
> => Effect.flatMap(resolveFailure(failure, by), failures_.orNotFound(failure))

export {
  /**
   * @since 0.1.0
   * @category models
   */
  Dashboard
} from "./RecoveryRecord.js"

/**
 * The numbers of recoveries, of one repository or of all. The cost does not
 * grow with the number of records.
 *
 * @since 0.1.0
 * @category reading
 */
export const dashboard = (
  repository?: string
): Effect.Effect<Dashboard, RecordDamaged | Storage.StorageError, Storage.Storage> => dashboardOf(repository)

/**
 * Moves the open runs of a version to the version of this workflow that the
 * manager has, as `Workflow.adopt` does: a run whose journal does not fit, or that
 * a process or a recovery works on, is refused and stays as it is.
 *
 * If the manager has several versions beside `from`, `to` names one of them.
 * Fails with `AdoptionRefused`, and changes nothing, if there is no such version,
 * or more than one.
 *
 * @since 0.1.0
 * @category execution
 */
export const adopt = (
  workflow: string,
  options: AdoptOptions
): Effect.Effect<Adoption, AdoptionRefused | Storage.StorageError, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.adopt(workflow, options))

/**
 * Ends the recoveries whose process has ended as `failed`, and returns their
 * number. Releases the runs that they left on hold, so that workers take them. A
 * run that was to be rolled back, or that a person had on hold before, stays on
 * hold for a person: `Workflow.release` lets it continue.
 *
 * @since 0.1.0
 * @category execution
 */
export const sweep: Effect.Effect<number, RecordDamaged | Storage.StorageError, Storage.Storage> = closeAllAbandoned

/**
 * Removes failures that were resolved, and recoveries that ended, before this
 * age, and returns their number. Statistics stay. Fails with `InvalidOption`, and
 * removes nothing, unless `olderThan` is finite and above 0.
 *
 * @since 0.1.0
 * @category removing
 */
export const cleanup = (options: {
  readonly olderThan: Duration.DurationInput
}): Effect.Effect<number, InvalidOption | Storage.StorageError, Storage.Storage> => cleanupRecords(options.olderThan)
