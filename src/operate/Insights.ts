/**
 * Records failures and recoveries of a program, and learns from them: suggests
 * and ranks strategies, tunes retry policies, and keeps statistics.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Checkpoint from "../durable/Checkpoint.js"
import * as Events from "../resilience/Events.js"
import { providing } from "../resilience/internal/kernel/standing.js"
import * as Strategy from "../resilience/Strategy.js"
import * as Storage from "../storage/Storage.js"
import { FailureRecord } from "./FailureRecord.js"
import { makeBackgroundQueue } from "./internal/insights/backgroundQueue.js"
import { rankBy } from "./internal/insights/estimate.js"
import { makeEventRecorder } from "./internal/insights/eventRecorder.js"
import { adviceFor, patternsOf } from "./internal/insights/patterns.js"
import { periodOf, statisticsOf } from "./internal/insights/statistics.js"
import * as suggest_ from "./internal/insights/suggest.js"
import { tuningOf } from "./internal/insights/tune.js"
import { checked } from "./internal/records/checked.js"
import { failures as failures_ } from "./internal/records/records.js"
import type { FailureNotFound, InvalidRequest, RecordDamaged } from "./OperateError.js"
import type { Pattern, Period, Statistics, Suggestion, Tuning } from "./Statistics.js"

/**
 * @since 0.1.0
 * @category models
 */
export * from "./Statistics.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** Waits until all events so far are recorded. */
  readonly settled: Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category services
 */
export class Insights extends Context.Tag("effect-recovery/Insights")<Insights, Service>() {}

/**
 * Records the failures and recoveries of the program, and ranks the strategies
 * of `Strategy.auto` by their results.
 *
 * Records are written in the background, so the program never waits for them.
 * Closing the layer writes the last ones; a process that is killed loses them.
 * A record that cannot be written is logged; the program is not affected.
 *
 * @example
 * ```ts
 * import { Recovery, Storage, Strategy } from "effect-recovery"
 * import { Insights } from "effect-recovery/operate"
 * import { Data, Effect, Layer } from "effect"
 *
 * class Offline extends Data.TaggedError("Offline")<{}> {}
 * const search: Effect.Effect<string, Offline> = Effect.fail(new Offline())
 *
 * const program = Effect.gen(function* () {
 *   yield* search.pipe(Recovery.recover({ Offline: Strategy.auto({ skip: Strategy.skip("nothing") }) }))
 *   yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
 *   const { byStrategy } = yield* Insights.statistics
 *   return byStrategy.skip?.successful
 * })
 *
 * const layer = Insights.layer.pipe(Layer.provideMerge(Storage.layerMemory))
 * program.pipe(Effect.provide(layer), Effect.runPromise).then(console.log) // 1
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Insights, never, Storage.Storage> = Layer.scopedContext(
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    yield* providing("Insights.layer", Strategy.Ranking)
    const { enqueue, settled } = yield* makeBackgroundQueue(storage)
    const observer = yield* Events.withOuterObserver(makeEventRecorder(enqueue))
    return Context.make(Insights, { settled }).pipe(
      Context.add(Events.Observer, observer),
      Context.add(Strategy.Ranking, rankBy(storage))
    )
  })
)

/**
 * Waits until everything that has happened so far is on record. Records are
 * written in the background, so a test that reads them waits first.
 *
 * @since 0.1.0
 * @category reading
 */
export const settled: Effect.Effect<void, never, Insights> = Effect.flatMap(Insights, ({ settled }) => settled)

/**
 * Suggests what to do about a failure, the most promising first. Recoveries
 * that its run or its checkpoints do not allow are left out: a retry inside a
 * transaction that was rolled back, a resume without an intact checkpoint.
 *
 * Confidence and estimated success are `(4 * prior + successes) / (4 + trials)`
 * over the past results of each strategy: for the category, then for the step,
 * then for the fingerprint. Each estimate is the prior of the next.
 *
 * @since 0.1.0
 * @category reading
 */
export const suggest = (
  failure: string | FailureRecord
): Effect.Effect<
  ReadonlyArray<Suggestion>,
  FailureNotFound | InvalidRequest | RecordDamaged | Storage.StorageError,
  Storage.Storage
> =>
  Effect.gen(function* () {
    const given = yield* checkFailure(failure)
    const found = typeof given === "string" ? yield* failures_.get(given) : given
    return yield* suggest_.suggest(yield* Storage.Storage, found, { accepts: ({ id }) => Checkpoint.isIntact(id) })
  })

const checkFailure = checked("failure", Schema.Union(Schema.String, Schema.typeSchema(FailureRecord)))

/**
 * Advice for a person, by the category of a failure and the name of the step
 * or recovery that failed.
 *
 * @since 0.1.0
 * @category models
 */
export type ResolutionsFor = (category: string, step?: string) => ReadonlyArray<string>

/**
 * Where {@link patterns} and {@link advice} find advice. By default there is
 * none; `Resolutions.canned` of `effect-recovery/rules` is a ready-made one.
 *
 * @since 0.1.0
 * @category services
 */
export class Resolutions extends Context.Reference<Resolutions>()("effect-recovery/Insights/Resolutions", {
  defaultValue: (): ResolutionsFor => () => []
}) {}

/**
 * Provides {@link Resolutions}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerResolutions = (resolutionsFor: ResolutionsFor): Layer.Layer<never> =>
  Layer.succeed(Resolutions, resolutionsFor)

/**
 * Advice for one failure, by {@link Resolutions}.
 *
 * @since 0.1.0
 * @category reading
 */
export const advice = (failure: FailureRecord): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(Resolutions, (resolutionsFor) => adviceFor(failure, resolutionsFor))

/**
 * Statistics of all failures and recoveries. The cost grows with the number of
 * different steps and fingerprints, not with the number of records.
 *
 * @since 0.1.0
 * @category reading
 */
export const statistics: Effect.Effect<Statistics, Storage.StorageError, Storage.Storage> = Effect.flatMap(
  Storage.Storage,
  statisticsOf
)

/**
 * Proposes a retry policy for a step, from the delays and results of its past
 * retries:
 *
 * - It retries up to the last retry that succeeded in at least 5 % of its cases,
 *   and once more if that retry was the last one made and succeeded in 10 %.
 * - The first delay, counted from the failure, is the shortest that succeeded
 *   90 % as often as the best.
 * - Further delays grow by the mean factor of the past delays.
 *
 * @example
 * ```ts
 * import { RetryPolicy, Storage } from "effect-recovery"
 * import { Insights } from "effect-recovery/operate"
 * import { Effect, Layer, Option } from "effect"
 *
 * // Changes the policy of `Recovery.retry` at the next start of the program.
 * const tuned = Layer.unwrapEffect(
 *   Effect.map(Insights.tune("fetch"), ({ proposal }) =>
 *     RetryPolicy.layer(Option.match(proposal, {
 *       onNone: () => RetryPolicy.exponential(),
 *       onSome: ({ policy }) => policy
 *     }))
 *   )
 * )
 *
 * Effect.void.pipe(
 *   Effect.provide(tuned.pipe(Layer.provide(Storage.layerMemory))),
 *   Effect.runPromise
 * )
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const tune = (step: string): Effect.Effect<Tuning, Storage.StorageError, Storage.Storage> =>
  Effect.flatMap(Storage.Storage, (storage) => tuningOf(storage, step))

/**
 * Groups the newest 500 open failures, the largest group first. Two failures of
 * one category with the same significant words in their messages are a pattern.
 *
 * @since 0.1.0
 * @category reading
 */
export const patterns = (
  repository?: string
): Effect.Effect<ReadonlyArray<Pattern>, RecordDamaged | Storage.StorageError, Storage.Storage> =>
  Effect.zipWith(failures_.list({ scope: repository, status: "open", limit: 500 }), Resolutions, patternsOf)

/**
 * Statistics of a period, of one run or of all. It reads every record of the
 * period, so its cost grows with their number.
 *
 * @since 0.1.0
 * @category reading
 */
export const since = (
  time: Date,
  query: { readonly run?: string | undefined; readonly repository?: string | undefined } = {}
): Effect.Effect<Period, InvalidRequest | RecordDamaged | Storage.StorageError, Storage.Storage> =>
  Effect.flatMap(checkPeriod({ time, query }), ({ query, time }) => periodOf(time.getTime(), query))

const checkPeriod = checked(
  "period",
  Schema.Struct({
    time: Schema.ValidDateFromSelf,
    query: Schema.Struct({ run: Schema.optional(Schema.String), repository: Schema.optional(Schema.String) })
  })
)
