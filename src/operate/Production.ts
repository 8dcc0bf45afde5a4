/**
 * The main of a program in production: storage, policies, records, escalation,
 * recovery on request, worker and dashboard in one layer, in the order in which
 * each part sees what it needs.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import type * as RunSchedule from "../durable/RunSchedule.js"
import * as Worker from "../durable/Worker.js"
import type * as Workflow from "../durable/Workflow.js"
import * as Events from "../resilience/Events.js"
import * as Fault from "../resilience/Fault.js"
import * as RecoveryPolicy from "../resilience/RecoveryPolicy.js"
import * as Redaction from "../resilience/Redaction.js"
import * as RetryPolicy from "../resilience/RetryPolicy.js"
import type * as Storage from "../storage/Storage.js"
import * as Escalation from "./Escalation.js"
import * as Insights from "./Insights.js"
import * as RecoveryManager from "./RecoveryManager.js"

/** A layer of which only its errors and what it needs are looked at: any layer is one. */
type AnyLayer = Layer.Layer<never, unknown, unknown>

/**
 * What a program runs with. `Operator.define` takes the same `storage`,
 * `workflows`, `layer`, `rules` and recovery options, so both can share a record.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends RecoveryManager.Options {
  /** The storage of runs and records. */
  readonly storage: Layer.Layer<Storage.Storage, unknown, unknown>
  /** The workflows that the worker executes and that can be recovered. */
  readonly workflows: ReadonlyArray<Workflow.Workflow<never, unknown, unknown, unknown, unknown>>
  /** The services that workflows and actions need. It sees the storage and the policies. Defaults to none. */
  readonly layer?: AnyLayer | undefined
  /**
   * Options of the worker, such as its queues and schedules, or the layer of another worker, such as
   * `ClusterWorkers.layer` of `effect-recovery/cluster`; `false` for a process that executes no runs of others.
   * Defaults to the options of `Worker.layer`.
   */
  readonly worker?:
    | Worker.Options<ReadonlyArray<RunSchedule.RunSchedule<unknown>>>
    | Layer.Layer<Worker.Worker, unknown, unknown>
    | false
    | undefined
  /** The policy of `Recovery.retry` and `Strategy.retry()`. Defaults to `RetryPolicy.exponential()`. */
  readonly retry?: RetryPolicy.RetryPolicy | undefined
  /** Which strategy decides, by name and category. Defaults to those of `Recovery.auto`. */
  readonly policy?: RecoveryPolicy.RecoveryPolicy | undefined
  /** Classification rules that go before the built-in ones. Defaults to none. */
  readonly rules?: ReadonlyArray<Fault.Rule> | undefined
  /** What is hidden in messages and logs beside the known forms of secrets. Defaults to nothing more. */
  readonly redaction?: Redaction.Options | undefined
  /** Receives each event of the program's recoveries and runs. Defaults to none. */
  readonly observer?: Parameters<typeof Events.layer>[0] | undefined
  /** Advice for failure patterns, such as `Resolutions.canned`. Defaults to none. */
  readonly resolutions?: Insights.ResolutionsFor | undefined
  /** Options of escalations; `false` raises none. Defaults to those of `Escalation.layer`. */
  readonly escalation?: Escalation.Options | false | undefined
  /** What stands on all of it, such as `Dashboard.layer()` with its server. Defaults to none. */
  readonly dashboard?: AnyLayer | undefined
}

type Given<L> = L extends Layer.Layer<infer A, infer _E, infer _R> ? A : never
type Failing<L> = L extends Layer.Layer<never, infer E, infer _R> ? E : never
type Needed<L> = L extends Layer.Layer<never, infer _E, infer R> ? R : never

const isLayer = (worker: Options["worker"]): worker is Layer.Layer<Worker.Worker, unknown, unknown> =>
  Layer.isLayer(worker)

/** The value of an option; `unknown` if the record has none of the name, which no type above finds a layer in. */
type Option<O, K extends string> = O extends { readonly [Name in K]: infer V } ? V : unknown

type Scheduled<W> = W extends { readonly schedules: ReadonlyArray<infer S> } ? Worker.RequirementsOfSchedule<S> : never

/**
 * The services that {@link layer} provides.
 *
 * @since 0.1.0
 * @category models
 */
export type Services<O extends Options> =
  | Given<O["storage"]>
  | Given<Option<O, "layer">>
  | Given<Option<O, "dashboard">>
  | Insights.Insights
  | RecoveryManager.RecoveryManager
  | (O extends { readonly worker: false } ? never : Worker.Worker)
  | (O extends { readonly escalation: false } ? never : Escalation.Escalation)

/**
 * The errors with which {@link layer} fails.
 *
 * @since 0.1.0
 * @category models
 */
export type Failure<O extends Options> =
  | Failing<O["storage"]>
  | Failing<Option<O, "layer">>
  | Failing<Option<O, "dashboard">>
  | (O extends { readonly worker: false } ? never : Worker.Duplicate)
  | Failing<Option<O, "worker">>

/**
 * What {@link layer} needs beside its options.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements<O extends Options> =
  | Needed<O["storage"]>
  | Exclude<Needed<Option<O, "layer">>, Given<O["storage"]>>
  | Exclude<
      RecoveryManager.Requirements<O> | Scheduled<Option<O, "worker">> | Needed<Option<O, "worker">>,
      Given<O["storage"]> | Given<Option<O, "layer">>
    >
  | Exclude<Needed<Option<O, "dashboard">>, Services<O>>

/**
 * Builds everything a program needs in production. Each part is provided to those
 * after it, and the layer provides all of them:
 *
 * 1. `rules`, `retry`, `policy`, `redaction`, `resolutions`, then `storage`
 * 2. `layer`, the services of the workflows
 * 3. `observer`, `Insights` and `Escalation`
 * 4. `RecoveryManager`
 * 5. the worker, which begins to execute runs
 * 6. `dashboard`
 *
 * Closing goes the other way: the worker lets its steps end, then the last
 * records are written, and the storage closes. The layers of the parts remain, to
 * be put together by hand.
 *
 * @example
 * ```ts
 * import { RetryPolicy, Step, Storage, Workflow } from "effect-recovery"
 * import { Insights, Production, RecoveryManager } from "effect-recovery/operate"
 * import { Effect, Schema } from "effect"
 *
 * const deploy = Step.make("deploy", { error: Schema.String, run: () => Effect.fail("connection refused") })
 * const Release = Workflow.make("release", { error: Schema.String }, () => deploy())
 *
 * const main = Production.layer({
 *   storage: Storage.layerMemory,
 *   workflows: [Release],
 *   worker: { concurrency: 20 },
 *   retry: RetryPolicy.exponential({ maxRetries: 5 })
 * })
 *
 * const program = Effect.gen(function* () {
 *   yield* Workflow.start(Release, { id: "v1" })
 *   yield* Effect.ignore(Workflow.join(Release, "v1"))
 *   yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
 *   const [failure] = yield* RecoveryManager.failures({ run: "v1" })
 *   return failure?.message
 * })
 * program.pipe(Effect.provide(main), Effect.runPromise).then(console.log) // connection refused
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <const O extends Options>(options: O): Layer.Layer<Services<O>, Failure<O>, Requirements<O>> => {
  const { dashboard, escalation, layer, observer, storage, worker, ...given }: Options = options
  const { policy, redaction, resolutions, retry, rules = [], ...manager } = given
  const references = Layer.mergeAll(
    Fault.layer(...rules),
    retry === undefined ? Layer.empty : RetryPolicy.layer(retry),
    policy === undefined ? Layer.empty : RecoveryPolicy.layer(policy),
    redaction === undefined ? Layer.empty : Redaction.layer(redaction),
    resolutions === undefined ? Layer.empty : Insights.layerResolutions(resolutions)
  )
  const parts: ReadonlyArray<AnyLayer | undefined> = [
    storage,
    layer,
    Events.layerDebug,
    observer === undefined ? undefined : Events.layer(observer),
    Insights.layer,
    escalation === false ? undefined : Escalation.layer(escalation),
    RecoveryManager.layer(manager),
    isLayer(worker) ? worker : worker === false ? undefined : Worker.layer(manager.workflows, worker),
    dashboard
  ]
  const built = parts.reduce<AnyLayer>(
    (below, part) => (part === undefined ? below : Layer.provideMerge(part, below)),
    references
  )
  // Each part is provided to those after it, so the whole gives, fails and needs what the types of its options say.
  return built as unknown as Layer.Layer<Services<O>, Failure<O>, Requirements<O>>
}
