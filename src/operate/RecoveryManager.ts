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
import type * as Checkpoint from "../durable/Checkpoint.js"
import type { CheckpointNotFound } from "../durable/CheckpointError.js"
import type { Adopted } from "../durable/Deploys.js"
import type * as Worker from "../durable/Worker.js"
import type { Workflow } from "../durable/Workflow.js"
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
import type { RecoveryPlan } from "./RecoveryPlan.js"
import type { Dashboard, RecoveryRecord, Status, Validation } from "./RecoveryRecord.js"
import type { Suggestion } from "./Statistics.js"

/**
 * A type of recovery:
 *
 * - `retry`: continues the run from the step that failed
 * - `resume`: rewinds the run to its newest valid checkpoint from before the failure, and continues
 * - `rollback`: compensates the steps since that checkpoint, and leaves the run there, on hold: `Workflow.release` lets
 *   it continue
 * - `restart`: compensates all steps, and runs again from the start
 *
 * @since 0.1.0
 * @category models
 */
export type RecoveryType = "retry" | "resume" | "rollback" | "restart"

/**
 * Recovers a failure that belongs to no run. For `resume` and `rollback` it
 * receives the id of the checkpoint.
 *
 * @since 0.1.0
 * @category models
 */
export type Action = (
  failure: FailureRecord,
  checkpoint: string | undefined
) => Effect.Effect<unknown, unknown, unknown>

/**
 * Restores what a checkpoint depends on. If it fails, the recovery fails.
 *
 * @since 0.1.0
 * @category models
 */
export type Restore = (checkpoint: Checkpoint.Info, failure: FailureRecord) => Effect.Effect<unknown, unknown, unknown>

/**
 * Run before and after each recovery. A hook that fails or dies is logged; the
 * recovery continues.
 *
 * @since 0.1.0
 * @category models
 */
export interface Hooks {
  readonly before?: ((failure: FailureRecord, type: RecoveryType) => Effect.Effect<unknown, unknown>) | undefined
  readonly after?: ((recovery: RecoveryRecord) => Effect.Effect<unknown, unknown>) | undefined
  /** After a recovery that failed or was cancelled. */
  readonly onAbort?: ((recovery: RecoveryRecord) => Effect.Effect<unknown, unknown>) | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The workflows whose runs can be recovered. Defaults to none. */
  readonly workflows?: ReadonlyArray<Workflow<never, unknown, unknown, unknown, unknown>> | undefined
  /** Checkpoints that are validated by the checks of their definition. Defaults to none. */
  readonly checkpoints?:
    | ReadonlyArray<Pick<Checkpoint.Checkpoint<never, unknown, unknown>, "name" | "validate">>
    | undefined
  /** Checks for checkpoints that are not in `checkpoints`. Their bytes are always checked. */
  readonly checks?: ReadonlyArray<Checkpoint.Check<unknown>> | undefined
  /** The actions that recover failures of no run, by type of recovery. A type without one is refused. */
  readonly actions?: Partial<Readonly<Record<RecoveryType, Action>>> | undefined
  /** Fixes by category, such as running a formatter. The fix of a failure's category runs as a step of its recovery. */
  readonly fixes?:
    | Readonly<Record<string, (failure: FailureRecord) => Effect.Effect<unknown, unknown, unknown>>>
    | undefined
  /**
   * Restores what a checkpoint depends on beside its state. A resume restores
   * both before the run continues, a rollback restores the environment after
   * it. Without them, the recovery stores what the checks found.
   */
  readonly restore?: Partial<Readonly<Record<"environment" | "dependencies", Restore | undefined>>> | undefined
  /** How often a failure can be retried on request. Defaults to 3; with 0 every retry is refused, with `Infinity` none. */
  readonly maxRetries?: number | undefined
  /** The longest time a recovery may take, without its hooks. Defaults to 1 hour; a longer one fails. `Infinity` is no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * How long a recovery waits until the process that advances its run has ended its running attempts and left the run.
   * After that it is refused with the reason `Running`. Defaults to 10 seconds; 0 refuses at once.
   */
  readonly patience?: Duration.DurationInput | undefined
  readonly hooks?: Hooks | undefined
  /**
   * The policy by which `handle` retries a failure while the storage is down.
   * Defaults to 5 retries, after 30, 60, 120, 240 and 300 seconds.
   */
  readonly fallback?: RetryPolicy.RetryPolicy | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface InitiateOptions {
  /** The reason, stored with the recovery. */
  readonly reason?: string | undefined
  /** The id of the checkpoint to go back to. Defaults to the newest valid one from before the failure. */
  readonly checkpoint?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface AdoptOptions {
  /** The version that the runs have. */
  readonly from: string
  /** The version that they get. Defaults to the only version of the workflow that the manager has, beside `from`. */
  readonly to?: string | undefined
}

/**
 * The runs that have moved from a version to another, and those that were refused.
 *
 * @since 0.1.0
 * @category models
 */
export interface Adoption extends Adopted {
  readonly workflow: string
  readonly from: string
  readonly to: string
}

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
 * The services that the workflows, checkpoints and functions of the options need.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements<O extends Options> =
  | (O["workflows"] extends ReadonlyArray<infer W> ? Worker.Requirements<W> : never)
  | (O["checkpoints"] extends ReadonlyArray<infer C> ? ValidationRequirements<C> : never)
  | (O["checks"] extends ReadonlyArray<Checkpoint.Check<infer R>> ? R : never)
  | ActionRequirements<O["actions"]>
  | ActionRequirements<O["fixes"]>
  | ActionRequirements<O["restore"]>

type ValidationRequirements<C> = C extends {
  readonly validate: (id: string) => Effect.Effect<unknown, unknown, infer R>
}
  ? Exclude<R, Storage.Storage>
  : never

type ActionRequirements<T> =
  T extends Readonly<Record<string, unknown>>
    ? { [K in keyof T]: T[K] extends (...args: never) => Effect.Effect<unknown, unknown, infer R> ? R : never }[keyof T]
    : never

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
 * The result of {@link handle}.
 *
 * @since 0.1.0
 * @category models
 */
export type Handled =
  | { readonly _tag: "Recorded"; readonly recovery: RecoveryRecord }
  /** The storage was down, and a retry without a record succeeded. */
  | { readonly _tag: "RetriedPlainly"; readonly attempts: number; readonly storage: Storage.StorageError }

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
 * Which failures to list.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailureQuery {
  readonly run?: string | undefined
  readonly repository?: string | undefined
  readonly status?: FailureRecord["status"] | undefined
  /** The most that are returned: 0 for none, `Infinity` for all. Defaults to 100. */
  readonly limit?: number | undefined
}

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
 * Which recoveries to list.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecoveryQuery {
  readonly failure?: string | undefined
  /** The id of a run: recoveries on request, and those of its own strategies. */
  readonly run?: string | undefined
  readonly repository?: string | undefined
  readonly status?: Status | undefined
  /** The most that are returned: 0 for none, `Infinity` for all. Defaults to 100. */
  readonly limit?: number | undefined
}

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
