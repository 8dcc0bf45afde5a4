/**
 * The operator: everything the command line and the dashboard can ask of a
 * program, as plain requests and replies. Callers need no `Effect`, and no
 * matching version of it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Runtime from "effect/Runtime"
import * as Events from "../resilience/Events.js"
import * as Fault from "../resilience/Fault.js"
import { InvalidOption } from "../resilience/InvalidOption.js"
import type * as Storage from "../storage/Storage.js"
import * as Insights from "./Insights.js"
import { handle, type Needs, replyOf } from "./internal/operator/handlers.js"
import { type Reply, type Request, requests, type Tag } from "./OperatorRequests.js"
import * as RecoveryManager from "./RecoveryManager.js"

export {
  /**
   * @since 0.1.0
   * @category asking
   */
  ask,
  /**
   * @since 0.1.0
   * @category asking
   */
  changes
} from "./OperatorClient.js"
export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Reply,
  /**
   * @since 0.1.0
   * @category models
   */
  Request
} from "./OperatorRequests.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface AskOptions {
  /** Aborting it interrupts the request; the reply then says how it ended. */
  readonly signal?: AbortSignal | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Operator {
  readonly ask: <T extends Tag>(request: Request<T>, options?: AskOptions) => Promise<Reply<T>>
  /** Releases the resources of the operator's layers. */
  readonly close: () => Promise<void>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends RecoveryManager.Options {
  /** The storage of runs and records. */
  readonly storage: Layer.Layer<Storage.Storage, unknown>
  /** The services that workflows and actions need. */
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
export const isReading = (request: Request): boolean => !requests[request._tag].writes

const names: Readonly<Record<keyof Options, true>> = {
  storage: true,
  layer: true,
  rules: true,
  resolutions: true,
  workflows: true,
  checkpoints: true,
  checks: true,
  actions: true,
  fixes: true,
  restore: true,
  maxRetries: true,
  timeout: true,
  patience: true,
  hooks: true,
  fallback: true
}

/** A configuration in JavaScript has no types that refuse a misspelled name. */
const refuseUnknown = (options: Options): void => {
  const known = Object.keys(names)
  const unknown = Object.keys(options).find((option) => !known.includes(option))
  if (unknown !== undefined) {
    throw new TypeError(`Operator.define has no option "${unknown}". Its options are ${known.join(", ")}.`)
  }
  if (!Layer.isLayer(options.storage)) {
    throw new InvalidOption({
      option: "storage",
      value: options.storage,
      expected: "a layer, such as SqliteStorage.layer({ filename })"
    })
  }
}

/** Standard output holds only replies. */
const logToStderr = Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))

/**
 * Defines what `recovery.config.ts` exports: the storage, and the workflows
 * that can be recovered. The storage is opened by the first request. Throws an
 * error that names an option which does not exist.
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
export const define = (options: Options): (() => Operator) => {
  refuseUnknown(options)
  return () => {
    const { layer: more = Layer.empty, resolutions, rules = [], storage, ...manager } = options
    const advice = resolutions === undefined ? Layer.empty : Insights.layerResolutions(resolutions)
    const base = Layer.mergeAll(storage, Fault.layer(...rules), advice, logToStderr)
    const insights = Layer.provide(Insights.layer, Events.layerDebug)
    const layer = Layer.merge(RecoveryManager.layer(manager), insights).pipe(
      Layer.provideMerge(Layer.merge(base, more))
      // `more` provides what the workflows need. If a service is missing, the run that needs it dies, as in any program.
    ) as Layer.Layer<Needs, unknown>
    const runtime = ManagedRuntime.make(layer)
    return {
      ask: <T extends Tag>(request: Request<T>, options?: AskOptions) =>
        runtime.runPromiseExit(handle(request), options).then((exit) => replyOf<T>(exit)),
      close: () => Effect.runPromise(runtime.disposeEffect)
    }
  }
}

/**
 * An operator over the services of the running program, for a dashboard inside
 * it. `close` does nothing: the program owns the services.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<
  Operator,
  never,
  RecoveryManager.RecoveryManager | Insights.Insights | Storage.Storage
> = Effect.map(
  Effect.runtime<Needs>(),
  (runtime): Operator => ({
    ask: <T extends Tag>(request: Request<T>, options?: AskOptions) =>
      Runtime.runPromiseExit(runtime)(handle(request), options?.signal && { signal: options.signal }).then((exit) =>
        replyOf<T>(exit)
      ),
    close: () => Promise.resolve()
  })
)
