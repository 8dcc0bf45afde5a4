/**
 * What `RecoveryManager.layer` and its operations are given, and what they answer.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Checkpoint from "../durable/Checkpoint.js"
import type { Adopted } from "../durable/Deploys.js"
import type * as Worker from "../durable/Worker.js"
import type { Workflow } from "../durable/Workflow.js"
import type * as RetryPolicy from "../resilience/RetryPolicy.js"
import type * as Storage from "../storage/Storage.js"
import type { FailureRecord } from "./FailureRecord.js"
import type { RecoveryRecord, Status } from "./RecoveryRecord.js"

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
 * receives the id of the checkpoint. `R` are the services that it needs.
 *
 * @since 0.1.0
 * @category models
 */
export type Action<R = never> = (
  failure: FailureRecord,
  checkpoint: string | undefined
) => Effect.Effect<unknown, unknown, R>

/**
 * Restores what a checkpoint depends on. If it fails, the recovery fails. `R` are the
 * services that it needs.
 *
 * @since 0.1.0
 * @category models
 */
export type Restore<R = never> = (
  checkpoint: Checkpoint.Info,
  failure: FailureRecord
) => Effect.Effect<unknown, unknown, R>

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
  readonly actions?: Partial<Readonly<Record<RecoveryType, Action<unknown>>>> | undefined
  /** Fixes by category, such as running a formatter. The fix of a failure's category runs as a step of its recovery. */
  readonly fixes?:
    | Readonly<Record<string, (failure: FailureRecord) => Effect.Effect<unknown, unknown, unknown>>>
    | undefined
  /**
   * Restores what a checkpoint depends on beside its state. A resume restores
   * both before the run continues, a rollback restores the environment after
   * it. Without them, the recovery stores what the checks found.
   */
  readonly restore?: Partial<Readonly<Record<"environment" | "dependencies", Restore<unknown> | undefined>>> | undefined
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
 * The result of `RecoveryManager.handle`.
 *
 * @since 0.1.0
 * @category models
 */
export type Handled =
  | { readonly _tag: "Recorded"; readonly recovery: RecoveryRecord }
  /** The storage was down, and a retry without a record succeeded. */
  | { readonly _tag: "RetriedPlainly"; readonly attempts: number; readonly storage: Storage.StorageError }

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
