/**
 * Recovery for existing code: a call gets an id and is recorded, without a
 * workflow around it.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { RunError } from "../journal/RunError.js"
import { warning } from "../resilience/internal/kernel/logged.js"
import { millis } from "../resilience/internal/kernel/options.js"
import * as Recovery from "../resilience/Recovery.js"
import type * as Strategy from "../resilience/Strategy.js"
import type * as Storage from "../storage/Storage.js"
import type { Checkpoint } from "./Checkpoint.js"
import { persist as record, runId as runId_ } from "./internal/run/persist.js"

/**
 * Makes `Recovery.recoverable` record its operations. The existing call only gets
 * an id.
 *
 * @example
 * ```ts
 * import { Operation, Recovery, Storage } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const download = yield* Recovery.recoverable({
 *     name: "download",
 *     persist: Operation.persist({ success: Schema.String })
 *   })
 *   const fetch = Effect.sync(() => new Date().toISOString())
 *   const first = yield* download(fetch, { id: "file-42" })
 *   // Finished: what is recorded, not a second execution.
 *   return first === (yield* download(fetch, { id: "file-42" }))
 * })
 *
 * program.pipe(Effect.provide(Storage.layerMemory), Effect.runPromise).then(console.log) // true
 * ```
 *
 * @since 0.1.0
 * @category recording
 */
export const persist = <
  Success extends Schema.Schema.Any,
  Error extends Schema.Schema.All = typeof Schema.Never
>(schemas: {
  readonly success: Success
  /** The errors of the work itself. Defaults to `Schema.Never`. */
  readonly error?: Error
}): Recovery.Persist<
  Success["Type"],
  Error["Type"],
  RunError,
  Storage.Storage | Schema.Schema.Context<Success> | Schema.Schema.Context<Error>
> => ({ record: record(schemas.success, schemas.error ?? Schema.Never) })

/**
 * The id of the run that records an operation: of its name and its id. Use it to
 * read or remove the run. Its workflow has the name of the operation, and its only
 * step, too.
 *
 * @example
 * ```ts
 * import { Operation, Recovery, Storage, Workflow } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const download = yield* Recovery.recoverable({
 *     name: "download",
 *     persist: Operation.persist({ success: Schema.String })
 *   })
 *   yield* download(Effect.succeed("done"), { id: "file-42" })
 *   const { status } = yield* Workflow.status(Operation.runId("download", "file-42"))
 *   return status
 * })
 *
 * program.pipe(Effect.provide(Storage.layerMemory), Effect.runPromise).then(console.log) // completed
 * ```
 *
 * @since 0.1.0
 * @category recording
 */
export const runId: (operation: string, id: string) => string = runId_

/**
 * The state to save, and how often.
 *
 * @since 0.1.0
 * @category models
 */
export interface AutoCheckpoint<in out S, out R = never, out RC = never, out RS = never> {
  readonly of: Checkpoint<S, R, RC>
  /** Reads the current state. */
  readonly state: Effect.Effect<S, never, RS>
  /** Saves if the last checkpoint is older than this; 0 always saves. Defaults to 5 minutes. */
  readonly interval?: Duration.DurationInput | undefined
}

/**
 * Puts an existing effect under the current `RecoveryPolicy`. `workflow` and
 * `step` are only names: the policy decides by the step, by the category of the
 * failure, or by its default. With a checkpoint, the state is saved before the
 * effect if that is due; a failed save is logged and does not fail the effect.
 *
 * @example
 * ```ts
 * import { Operation } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.succeed(42).pipe(Operation.withRecovery("nightly-import", "load"))
 * Effect.runPromise(program).then(console.log) // 42
 * ```
 *
 * @since 0.1.0
 * @category recording
 */
export const withRecovery: {
  /**
   * Puts an existing effect under the current `RecoveryPolicy`. `workflow` and `step` are only names:
   * the policy decides by the step, by the category of the failure, or by its default.
   */
  (
    workflow: string,
    step: string
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Strategy.ExhaustedOf<E>, R>
  /**
   * Puts an existing effect under the current `RecoveryPolicy`, and saves the state before the effect if
   * the checkpoint is due. A failed save is logged and does not fail the effect.
   */
  <S, R1, RC, RS>(
    workflow: string,
    step: string,
    options: { readonly checkpoint: AutoCheckpoint<S, R1, RC, RS> }
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | Strategy.ExhaustedOf<E>, R | Storage.Storage | R1 | RS>
} = <S, R1, RC, RS>(
  workflow: string,
  step: string,
  options?: { readonly checkpoint: AutoCheckpoint<S, R1, RC, RS> }
) => {
  // Checked here: a save that fails is only logged.
  const interval = millis("interval", options?.checkpoint.interval ?? "5 minutes")
  return <A, E, R>(self: Effect.Effect<A, E, R>) => {
    const recovered = Recovery.auto(step)(self)
    // Without a checkpoint the effect needs no services to save one.
    if (options === undefined) return recovered as never
    const { of, state } = options.checkpoint
    const saved = Effect.flatMap(state, (now) => of.saveIfDue(now, { labels: { workflow, step }, interval }))
    const tolerant = Effect.catchAllCause(saved, (cause) =>
      warning(`no checkpoint was saved before "${step}" of "${workflow}"; it continues`, cause)
    )
    return Effect.zipRight(tolerant, recovered)
  }
}
