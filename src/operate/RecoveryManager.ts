/**
 * Failures and recoveries on record, and recoveries on request: a failed run is
 * retried, resumed from a checkpoint, rolled back to one, or restarted, and it
 * is on record how that went.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Checkpoint from "../durable/Checkpoint.js"
import type { CheckpointNotFound } from "../durable/CheckpointError.js"
import type * as Worker from "../durable/Worker.js"
import type { Workflow } from "../durable/Workflow.js"
import * as Lock from "../lock/Lock.js"
import * as RetryPolicy from "../resilience/RetryPolicy.js"
import type * as Storage from "../storage/Storage.js"
import type { FailureRecord } from "./FailureRecord.js"
import { validateById } from "./internal/manage/checkpoints.js"
import { dashboardOf } from "./internal/manage/dashboard.js"
import { handle as handle_ } from "./internal/manage/handle.js"
import { initiate as initiate_, rollbackTo } from "./internal/manage/initiate.js"
import type { Settings } from "./internal/manage/plan.js"
import { cleanupRecords, closeAllAbandoned } from "./internal/manage/sweep.js"
import { reportFailure, resolveFailure } from "./internal/records/failures.js"
import { failures as failures_, recoveries as recoveries_ } from "./internal/records/records.js"
import type {
  FailureNotFound,
  PlainRetryFailed,
  RecordDamaged,
  RecoveryNotFound,
  RecoveryRefused,
  RecoveryUnderWay
} from "./OperateError.js"
import type { RecoveryRecord, Status, Validation } from "./RecoveryRecord.js"

/**
 * What can be done about a failure on request:
 *
 * - `retry`: run on from the step that failed
 * - `resume`: go back to the newest valid checkpoint from before it, and run on
 * - `rollback`: undo what was done since that checkpoint, and leave the run there
 * - `restart`: undo everything, and run again from the start
 *
 * @since 0.1.0
 * @category models
 */
export type RecoveryType = "retry" | "resume" | "rollback" | "restart"

/**
 * What recovers failures that belong to no run. It is told the checkpoint, for
 * `resume` and `rollback`.
 *
 * @since 0.1.0
 * @category models
 */
export type Action = (
  failure: FailureRecord,
  checkpoint: string | undefined
) => Effect.Effect<unknown, unknown, unknown>

/**
 * Puts back what a checkpoint relies on; the recovery fails with it.
 *
 * @since 0.1.0
 * @category models
 */
export type Restore = (checkpoint: Checkpoint.Info, failure: FailureRecord) => Effect.Effect<unknown, unknown, unknown>

/**
 * Run beside each recovery. What they fail or die with is logged, and changes
 * nothing.
 *
 * @since 0.1.0
 * @category models
 */
export interface Hooks {
  readonly before?: ((failure: FailureRecord, type: RecoveryType) => Effect.Effect<unknown, unknown>) | undefined
  readonly after?: ((recovery: RecoveryRecord) => Effect.Effect<unknown, unknown>) | undefined
  /** After one that was not completed. */
  readonly onAbort?: ((recovery: RecoveryRecord) => Effect.Effect<unknown, unknown>) | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The workflows whose runs it may recover. */
  readonly workflows?: ReadonlyArray<Workflow<never, unknown, unknown, unknown>> | undefined
  /** Checkpoints whose own checks are to be run before they are used. */
  readonly checkpoints?:
    | ReadonlyArray<Pick<Checkpoint.Checkpoint<never, unknown, unknown>, "name" | "validate">>
    | undefined
  /** What to look at before a checkpoint is used whose definition was not given, beside its bytes. */
  readonly checks?: ReadonlyArray<Checkpoint.Check<unknown>> | undefined
  /** What recovers failures that belong to no run. */
  readonly actions?: Partial<Readonly<Record<RecoveryType, Action>>> | undefined
  /** What mends failures of a category before they are tried again, such as a formatter. */
  readonly fixes?:
    | Readonly<Record<string, (failure: FailureRecord) => Effect.Effect<unknown, unknown, unknown>>>
    | undefined
  /**
   * What puts back what a checkpoint relies on, beside its state: before a run
   * goes on from it, and after a rollback to it. Without these it is on record
   * how things were found.
   */
  readonly restore?:
    | {
        readonly environment?: Restore | undefined
        readonly dependencies?: Restore | undefined
      }
    | undefined
  /** How often a failure may be retried on request. Defaults to 3. */
  readonly maxRetries?: number | undefined
  /** How long a recovery may take. Defaults to an hour. */
  readonly timeout?: Duration.DurationInput | undefined
  readonly hooks?: Hooks | undefined
  /**
   * How `handle` retries a failure while the storage is down. Defaults to 5
   * retries after 30, 60, 120, 240 and 300 seconds.
   */
  readonly fallback?: RetryPolicy.RetryPolicy | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface InitiateOptions {
  /** Why, for the record. */
  readonly reason?: string | undefined
  /** Which checkpoint to go back to; the newest valid one from before the failure, if none is named. */
  readonly checkpoint?: string | undefined
}

const patient = RetryPolicy.exponential({ initialDelay: "30 seconds", maxDelay: "5 minutes", maxRetries: 5 })

/** How a recovery on request can be refused. */
type Refusal = FailureNotFound | RecordDamaged | RecoveryRefused | RecoveryUnderWay | Storage.StorageError

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly initiate: (
    failure: string,
    type: RecoveryType | "auto",
    options: InitiateOptions
  ) => Effect.Effect<RecoveryRecord, Refusal | RecoveryNotFound>
  readonly handle: (
    failure: unknown,
    report: Report
  ) => Effect.Effect<Handled, Refusal | RecoveryNotFound | PlainRetryFailed>
  /** Runs the checks of a checkpoint. */
  readonly validate: (checkpoint: string) => Effect.Effect<Validation, CheckpointNotFound | Storage.StorageError>
  readonly rollback: (
    checkpoint: string,
    reason: string
  ) => Effect.Effect<RecoveryRecord, Refusal | RecoveryNotFound | CheckpointNotFound>
}

/**
 * @since 0.1.0
 * @category services
 */
export class RecoveryManager extends Context.Tag("effect-recovery/RecoveryManager")<RecoveryManager, Service>() {}

/** What the workflows, checkpoints, actions and fixes of a manager need. */
type RequirementsOf<O extends Options> =
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
 * Recovers runs of these workflows on request.
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
): Layer.Layer<RecoveryManager, never, Storage.Storage | RequirementsOf<O>> =>
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
        maxRetries: given.maxRetries ?? 3,
        timeout: Duration.decode(given.timeout ?? "1 hour"),
        hooks: given.hooks ?? {},
        fallback: given.fallback ?? patient
      }
      const context = yield* Effect.context<Storage.Storage>()
      const locks = yield* Layer.build(Lock.layerStorage())
      // What the workflows, checkpoints, actions and fixes need is in the context of the layer, which its type asks for.
      const all = Context.merge(context, locks) as Context.Context<unknown>
      const service: Service = {
        initiate: (failure, type, how) => Effect.provide(initiate_(settings, failure, type, how), all),
        handle: (failure, report) => Effect.provide(handle_(settings, failure, report), all),
        validate: (checkpoint) => Effect.provide(validateById(settings, checkpoint), all),
        rollback: (checkpoint, reason) => Effect.provide(rollbackTo(settings, checkpoint, reason), all)
      }
      return service
      // As above.
    }) as Effect.Effect<Service, never, Storage.Storage | RequirementsOf<O>>
  )

/**
 * Recovers a failure, and answers with the record of how it went, in its final
 * status. `auto` does what is most promising, by `Insights.suggest`.
 *
 * One recovery of a failure is made at a time, whichever process is asked. One
 * whose process ended is given the status `failed` when the next one begins.
 * Interrupted, it is `cancelled`.
 *
 * @since 0.1.0
 * @category execution
 */
export const initiate = (
  failure: string,
  type: RecoveryType | "auto" = "auto",
  options: InitiateOptions = {}
): Effect.Effect<RecoveryRecord, Refusal | RecoveryNotFound, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.initiate(failure, type, options))

/**
 * Takes a run back to one of its checkpoints and leaves it there: what was
 * done since is compensated. Nothing need have failed.
 *
 * @since 0.1.0
 * @category execution
 */
export const rollback = (
  checkpoint: string,
  reason = "manual_rollback"
): Effect.Effect<RecoveryRecord, Refusal | RecoveryNotFound | CheckpointNotFound, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.rollback(checkpoint, reason))

/**
 * Looks whether a checkpoint may be used: its bytes, and the checks of its
 * definition, or of the layer if its definition was not given.
 *
 * @since 0.1.0
 * @category reading
 */
export const validate = (
  checkpoint: string
): Effect.Effect<Validation, CheckpointNotFound | Storage.StorageError, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.validate(checkpoint))

/**
 * What goes with a failure that is reported.
 *
 * @since 0.1.0
 * @category models
 */
export interface Report {
  /** Of the failure; made up, if it is left out. One that exists already is left as it is. */
  readonly id?: string | undefined
  readonly run?: string | undefined
  readonly workflow?: string | undefined
  readonly step?: string | undefined
  /** Such as repository and commit. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** What was printed. It is classified too, and tells the message of a failure without one; its last 5,000 characters are kept. */
  readonly log?: string | undefined
}

/**
 * Puts a failure on record that no run of this library has met: any error,
 * cause or text is classified by the `Fault` rules in force.
 *
 * @since 0.1.0
 * @category recording
 */
export const report = (
  failure: unknown,
  given: Report = {}
): Effect.Effect<FailureRecord, RecordDamaged | FailureNotFound | Storage.StorageError, Storage.Storage> =>
  reportFailure(failure, given)

/**
 * What became of a failure that was handled.
 *
 * @since 0.1.0
 * @category models
 */
export type Handled =
  | { readonly _tag: "Recorded"; readonly recovery: RecoveryRecord }
  /** The storage was down, and a retry without a record has helped. */
  | { readonly _tag: "RetriedPlainly"; readonly attempts: number; readonly storage: Storage.StorageError }

/**
 * Puts a failure on record and recovers it by what is most promising, in one:
 * `report` and `initiate`. While the storage is down, the action for `retry` is
 * run by the manager's `fallback` policy instead, without a record; what was
 * begun already is not begun again.
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
): Effect.Effect<Handled, Refusal | RecoveryNotFound | PlainRetryFailed, RecoveryManager> =>
  Effect.flatMap(RecoveryManager, (manager) => manager.handle(failure, report))

/**
 * Which failures to list. Newest first.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailureQuery {
  readonly run?: string | undefined
  readonly repository?: string | undefined
  readonly status?: FailureRecord["status"] | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
}

/**
 * @since 0.1.0
 * @category reading
 */
export const failures = ({
  repository,
  run,
  ...query
}: FailureQuery = {}): Effect.Effect<
  ReadonlyArray<FailureRecord>,
  RecordDamaged | Storage.StorageError,
  Storage.Storage
> => failures_.list({ ...query, subject: run, scope: repository })

/**
 * @since 0.1.0
 * @category reading
 */
export const failure = (
  id: string
): Effect.Effect<FailureRecord, FailureNotFound | RecordDamaged | Storage.StorageError, Storage.Storage> =>
  failures_.get(id)

/**
 * Which recoveries to list. Newest first.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecoveryQuery {
  readonly failure?: string | undefined
  readonly repository?: string | undefined
  readonly status?: Status | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
}

/**
 * @since 0.1.0
 * @category reading
 */
export const recoveries = ({
  failure,
  repository,
  ...query
}: RecoveryQuery = {}): Effect.Effect<
  ReadonlyArray<RecoveryRecord>,
  RecordDamaged | Storage.StorageError,
  Storage.Storage
> => recoveries_.list({ ...query, subject: failure, scope: repository })

/**
 * How a recovery stands.
 *
 * @since 0.1.0
 * @category reading
 */
export const status = (
  recovery: string
): Effect.Effect<RecoveryRecord, RecoveryNotFound | RecordDamaged | Storage.StorageError, Storage.Storage> =>
  recoveries_.get(recovery)

/**
 * Closes a failure that was mended by hand. One that is closed stays as it is.
 *
 * @since 0.1.0
 * @category recording
 */
export const resolve = (
  failure: string,
  by: string
): Effect.Effect<FailureRecord, FailureNotFound | RecordDamaged | Storage.StorageError, Storage.Storage> =>
  Effect.flatMap(resolveFailure(failure, by), failures_.require(failure))

/**
 * What the first page of an operator shows, in the form seed 001 gave it:
 * `JSON.stringify` writes it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Dashboard {
  readonly recovery_summary: {
    readonly total_recoveries: number
    readonly successful_recoveries: number
    readonly failed_recoveries: number
    readonly in_progress_recoveries: number
    /** Successful ones among all, in percent with two digits; 0 if there are none. */
    readonly success_rate: number
  }
  readonly recovery_by_type: Readonly<Record<string, { readonly total: number; readonly successful: number }>>
  /** The ten newest. */
  readonly recent_recoveries: ReadonlyArray<RecoveryRecord>
  /** The ten newest checkpoints. */
  readonly checkpoint_status: ReadonlyArray<Checkpoint.Info>
}

/**
 * How recoveries stand, of one repository or of all. Costs the same however
 * many there are.
 *
 * @since 0.1.0
 * @category reading
 */
export const dashboard = (
  repository?: string
): Effect.Effect<Dashboard, RecordDamaged | Storage.StorageError, Storage.Storage> => dashboardOf(repository)

/**
 * Gives recoveries whose process ended their final status, and answers with how
 * many there were.
 *
 * @since 0.1.0
 * @category execution
 */
export const sweep: Effect.Effect<number, RecordDamaged | Storage.StorageError, Storage.Storage> = closeAllAbandoned

/**
 * Removes failures that were resolved, and recoveries that have ended, longer
 * ago than this, and answers with how many records there were. Statistics stay.
 *
 * @since 0.1.0
 * @category removing
 */
export const cleanup = (options: {
  readonly olderThan: Duration.DurationInput
}): Effect.Effect<number, Storage.StorageError, Storage.Storage> => cleanupRecords(Duration.toMillis(options.olderThan))
