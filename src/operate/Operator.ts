/**
 * What an operator may ask, as plain values: the command line and other
 * processes need to know nothing of Effect, nor of the version of it the
 * program uses.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Runtime from "effect/Runtime"
import type * as Stream from "effect/Stream"
import * as Events from "../resilience/Events.js"
import * as Fault from "../resilience/Fault.js"
import type * as Storage from "../storage/Storage.js"
import type { EscalationRecord } from "./EscalationRecord.js"
import * as Insights from "./Insights.js"
import { answer } from "./internal/operator/answer.js"
import * as asking from "./internal/operator/asking.js"
import { refusalOf } from "./internal/operator/refusal.js"
import * as RecoveryManager from "./RecoveryManager.js"

/**
 * @since 0.1.0
 * @category models
 */
export type Request =
  | { readonly _tag: "Overview"; readonly repository?: string | undefined }
  | { readonly _tag: "Dashboard"; readonly repository?: string | undefined }
  | { readonly _tag: "Recovery"; readonly id: string }
  | {
      readonly _tag: "Recoveries"
      readonly failure?: string | undefined
      readonly repository?: string | undefined
      readonly limit?: number | undefined
    }
  | {
      readonly _tag: "Initiate"
      readonly failure: string
      readonly type: RecoveryManager.RecoveryType | "auto"
      readonly reason?: string | undefined
    }
  | { readonly _tag: "Rollback"; readonly checkpoint: string; readonly reason?: string | undefined }
  | {
      readonly _tag: "CreateCheckpoint"
      readonly name: string
      readonly kind: string
      readonly state: unknown
      readonly labels: Readonly<Record<string, string>>
      readonly environment: Readonly<Record<string, string>>
      readonly artifacts: ReadonlyArray<string>
      readonly dependencies: ReadonlyArray<string>
    }
  | {
      readonly _tag: "Checkpoints"
      readonly run?: string | undefined
      readonly name?: string | undefined
      readonly repository?: string | undefined
      readonly limit?: number | undefined
    }
  | { readonly _tag: "Checkpoint"; readonly id: string }
  | { readonly _tag: "ValidateCheckpoint"; readonly id: string }
  | { readonly _tag: "DeleteCheckpoint"; readonly id: string }
  | {
      readonly _tag: "Runs"
      readonly workflow?: string | undefined
      readonly status?: Storage.Status | undefined
      readonly limit?: number | undefined
    }
  | { readonly _tag: "Run"; readonly id: string }
  | { readonly _tag: "Timeline"; readonly id: string; readonly limit?: number | undefined }
  | ({ readonly _tag: "Failures" } & RecoveryManager.FailureQuery)
  | { readonly _tag: "Failure"; readonly id: string }
  | {
      readonly _tag: "Report"
      readonly id?: string | undefined
      readonly message: string
      readonly log?: string | undefined
      readonly run?: string | undefined
      readonly labels: Readonly<Record<string, string>>
    }
  | { readonly _tag: "Suggest"; readonly failure: string }
  | { readonly _tag: "Resolve"; readonly failure: string; readonly by: string }
  | {
      readonly _tag: "Answer"
      readonly run: string
      readonly answer: "retry" | "skip" | "abort" | "value"
      readonly value?: unknown
      readonly question?: string | undefined
      readonly by: string
      readonly note?: string | undefined
    }
  | {
      readonly _tag: "Escalations"
      readonly status?: EscalationRecord["status"] | undefined
      readonly limit?: number | undefined
    }
  | { readonly _tag: "Acknowledge"; readonly escalation: string; readonly by: string }
  | {
      readonly _tag: "ResolveEscalation"
      readonly escalation: string
      readonly by: string
      readonly note?: string | undefined
    }
  | { readonly _tag: "Statistics" }
  | {
      readonly _tag: "Period"
      readonly millis: number
      readonly run?: string | undefined
      readonly repository?: string | undefined
    }
  | { readonly _tag: "Tune"; readonly step: string }
  | { readonly _tag: "Patterns"; readonly repository?: string | undefined }
  | { readonly _tag: "Health" }
  | { readonly _tag: "Cleanup"; readonly olderThanMillis: number }
  | { readonly _tag: "Locks" }

/**
 * The answer: a value as JSON has it, or why there is none.
 *
 * - `NotFound`: nothing has this id
 * - `Refused`: it cannot be done as things stand; nothing was changed
 * - `Storage`: the storage is in trouble
 * - `Failed`: it was tried, and failed
 * - `Defect`: a bug of the program, or of this library
 *
 * @since 0.1.0
 * @category models
 */
export type Reply =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false
      readonly kind: "NotFound" | "Refused" | "Storage" | "Failed" | "Defect"
      readonly tag: string
      readonly message: string
    }

/**
 * @since 0.1.0
 * @category models
 */
export interface Operator {
  readonly ask: (request: Request, options?: { readonly signal?: AbortSignal | undefined }) => Promise<Reply>
  /** Gives back what the layers hold. */
  readonly close: () => Promise<void>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends RecoveryManager.Options {
  /** Where runs and records are kept. */
  readonly storage: Layer.Layer<Storage.Storage, unknown>
  /** What the workflows and actions need. */
  readonly layer?: Layer.Layer<never, unknown> | Layer.Layer<unknown, unknown> | undefined
  /** Classification rules that go before the built-in ones, such as `PipelineRules.rules`. Defaults to none. */
  readonly rules?: ReadonlyArray<Fault.Rule> | undefined
  /** Advice for failure patterns, such as `Resolutions.canned`. Defaults to none. */
  readonly resolutions?: Insights.ResolutionsFor | undefined
}

/**
 * Whether a request changes nothing.
 *
 * @since 0.1.0
 * @category models
 */
export const isReading: (request: Request) => boolean = asking.isReading

/** What is printed is the answer. */
const logToStderr = Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))

/**
 * What `recovery.config.ts` exports: where things are kept, and what can be
 * recovered. Nothing is opened until something is asked.
 *
 * @example
 * ```ts
 * import { Workflow } from "effect-recovery"
 * import { Operator } from "effect-recovery/operate"
 * import { SqliteStorage } from "effect-recovery/sqlite"
 * import { Effect } from "effect"
 *
 * const Nightly = Workflow.make("nightly", {}, () => Effect.log("done"))
 *
 * export default Operator.define({
 *   storage: SqliteStorage.layer({ filename: "recovery.db" }),
 *   workflows: [Nightly]
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const define =
  (options: Options): (() => Operator) =>
  () => {
    const { layer: more = Layer.empty, resolutions, rules = [], storage, ...manager } = options
    const advice = resolutions === undefined ? Layer.empty : Insights.layerResolutions(resolutions)
    const base = Layer.mergeAll(storage, Fault.layer(...rules), advice, logToStderr)
    const watching = Layer.provide(Insights.layer, Events.layerDebug)
    const layer = Layer.merge(RecoveryManager.layer(manager), watching).pipe(
      Layer.provideMerge(Layer.merge(base, more))
      // What the workflows need is in `more`; if it is not, they die of that, as any program would.
    ) as Layer.Layer<RecoveryManager.RecoveryManager | Insights.Insights | Storage.Storage, unknown>
    const runtime = ManagedRuntime.make(layer)
    return {
      ask: (request, options) => runtime.runPromiseExit(answer(request), options).then(replyOf),
      close: () => Effect.runPromise(runtime.disposeEffect)
    }
  }

const replyOf = (exit: Exit.Exit<unknown, unknown>): Reply =>
  Exit.isSuccess(exit) ? { ok: true, value: exit.value } : refusalOf(exit.cause)

/**
 * An operator over the services a program has: for a dashboard inside of it.
 * Closing it closes nothing.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<
  Operator,
  never,
  RecoveryManager.RecoveryManager | Insights.Insights | Storage.Storage
> = Effect.map(
  Effect.runtime<RecoveryManager.RecoveryManager | Insights.Insights | Storage.Storage>(),
  (runtime): Operator => ({
    ask: (request, options) =>
      Runtime.runPromiseExit(runtime)(answer(request), options?.signal && { signal: options.signal }).then(replyOf),
    close: () => Promise.resolve()
  })
)

/**
 * Asks. Interrupted, it waits until what was begun is in its final state.
 *
 * @since 0.1.0
 * @category asking
 */
export const ask: (operator: Operator, request: Request) => Effect.Effect<Reply> = asking.ask

/**
 * Asks again and again, and tells each answer that is another one than that
 * before it.
 *
 * @since 0.1.0
 * @category asking
 */
export const changes: (
  operator: Operator,
  request: Request,
  options?: {
    /** How long to wait after an answer. Defaults to a second. */
    readonly every?: Duration.DurationInput | undefined
  }
) => Stream.Stream<Reply> = asking.changes
