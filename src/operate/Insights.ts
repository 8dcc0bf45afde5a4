/**
 * Records failures and recoveries of a program, and learns from them: suggests
 * and ranks strategies, tunes retry policies, and keeps statistics.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Events from "../resilience/Events.js"
import type { RetryPolicy } from "../resilience/RetryPolicy.js"
import * as Strategy from "../resilience/Strategy.js"
import * as Storage from "../storage/Storage.js"
import type { FailureRecord } from "./FailureRecord.js"
import { makeBackgroundQueue } from "./internal/insights/backgroundQueue.js"
import { rankBy } from "./internal/insights/estimate.js"
import { makeEventRecorder } from "./internal/insights/eventRecorder.js"
import { adviceFor, patternsOf } from "./internal/insights/patterns.js"
import { periodOf, statisticsOf } from "./internal/insights/statistics.js"
import * as suggest_ from "./internal/insights/suggest.js"
import { tuningOf } from "./internal/insights/tune.js"
import { failures as failures_ } from "./internal/records/records.js"
import type { FailureNotFound, RecordDamaged } from "./OperateError.js"

/**
 * What could be done about a failure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Suggestion {
  /** `retry`, `resume`, `rollback` and `restart` are what `RecoveryManager.initiate` can do by itself. */
  readonly strategy: string
  /** Why, in words. */
  readonly reason: string
  /** What to change, for `modify`; the checkpoint, for `resume` and `rollback`. */
  readonly parameters: Readonly<Record<string, string | number | boolean>>
  /** How well it fits, 0 to 1. The list is ordered by it. */
  readonly confidence: number
  /** How likely it leads to a good end, 0 to 1. */
  readonly estimatedSuccess: number
  /** On how many recoveries both rest; 0 for what is only believed. */
  readonly cases: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Rate {
  readonly successful: number
  /** Of those that have ended. */
  readonly total: number
  /** 0 to 1; nothing if none has ended. */
  readonly successRate: Option.Option<number>
}

/**
 * Durations, from a histogram: percentiles are right within a tenth.
 *
 * @since 0.1.0
 * @category models
 */
export interface Times {
  readonly count: number
  readonly mean: Duration.Duration
  readonly p50: Duration.Duration
  readonly p95: Duration.Duration
  readonly p99: Duration.Duration
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Day {
  /** Such as `2026-11-26`, in UTC. */
  readonly day: string
  readonly failures: number
  readonly recovered: number
  readonly unrecovered: number
}

/**
 * The last three days against the four before: `worse` with a fifth more
 * failures a day, `better` with a fifth less.
 *
 * @since 0.1.0
 * @category models
 */
export type Trend = "better" | "steady" | "worse"

/**
 * Of the last seven days: `excellent` if at least 95 % were recovered and at
 * most 2 were not, `good` from 85 % and 5, `fair` from 70 % and 10.
 *
 * @since 0.1.0
 * @category models
 */
export type Health = "excellent" | "good" | "fair" | "poor"

/**
 * @since 0.1.0
 * @category models
 */
export interface Statistics {
  readonly recoveries: Rate
  readonly failures: number
  readonly openFailures: number
  /** By the strategy a recovery ended with. */
  readonly byType: Readonly<Record<string, Rate>>
  /** By each strategy that was tried. */
  readonly byStrategy: Readonly<Record<string, Rate>>
  readonly byCategory: Readonly<Record<string, Readonly<Record<string, Rate>>>>
  readonly byStep: Readonly<Record<string, Readonly<Record<string, Rate>>>>
  /** The ten categories with most failures. */
  readonly frequentCategories: ReadonlyArray<{ readonly name: string; readonly count: number }>
  /** The ten fingerprints with most failures. */
  readonly frequentErrors: ReadonlyArray<{ readonly name: string; readonly count: number }>
  readonly timeToRecover: Option.Option<Times>
  /** The ten steps and recoveries that were retried most often. */
  readonly mostRetried: ReadonlyArray<{
    readonly step: string
    readonly retries: number
    /** Of them, those that led to the good end. */
    readonly successful: number
    readonly meanDelay: Duration.Duration
  }>
  /** The ten steps that took most of the time in all. */
  readonly steps: ReadonlyArray<{ readonly step: string } & Times>
  /** The last 30 days, oldest first. */
  readonly days: ReadonlyArray<Day>
  readonly trend: Trend
  readonly health: Health
}

/**
 * Open failures that are about the same.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pattern {
  readonly category: string
  /** Up to three words their messages begin with, without common ones. */
  readonly words: ReadonlyArray<string>
  readonly count: number
  /** The newest message. */
  readonly example: string
  /** The newest twenty ids. */
  readonly failures: ReadonlyArray<string>
  /** What usually helps, by {@link Resolutions}. Empty without them. */
  readonly resolutions: ReadonlyArray<string>
}

/**
 * What the retries of a step have come to, and which policy would suit it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Tuning {
  readonly step: string
  /** Recoveries in which it was retried. */
  readonly cases: number
  /** How many of them a retry has brought to a good end, 0 to 1. */
  readonly successRate: Option.Option<number>
  /** By the number of the retry, from 1 on. */
  readonly retries: ReadonlyArray<{
    readonly retry: number
    readonly successful: number
    readonly total: number
    /** Half of them came after no more than this. */
    readonly delay: Duration.Duration
  }>
  /** A timeout for each attempt: three times what 99 of 100 completed ones took; nothing, as long as there are fewer than 10. */
  readonly attemptTimeout: Option.Option<Duration.Duration>
  /** Nothing, as long as there are fewer than 10 cases. */
  readonly proposal: Option.Option<Proposal>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Proposal {
  /** Nobody uses it unless it is asked for: `RetryPolicy.layer(policy)`, or wherever a policy is taken. */
  readonly policy: RetryPolicy
  /** Why, in words. */
  readonly reason: string
  /** How likely retrying by it leads to a good end, 0 to 1. */
  readonly estimatedSuccess: number
}

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
    const { enqueue, settled } = yield* makeBackgroundQueue(storage)
    const observer = yield* Events.beside(makeEventRecorder(enqueue))
    return Context.make(Insights, { settled }).pipe(
      Context.add(Events.Observer, observer),
      Context.add(Strategy.Ranking, rankBy(storage))
    )
  })
)

/**
 * Suggests what to do about a failure, the most promising first.
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
): Effect.Effect<ReadonlyArray<Suggestion>, FailureNotFound | RecordDamaged | Storage.StorageError, Storage.Storage> =>
  Effect.flatMap(Storage.Storage, (storage) =>
    Effect.flatMap(typeof failure === "string" ? failures_.get(failure) : Effect.succeed(failure), (found) =>
      suggest_.suggest(storage, found)
    )
  )

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
 * What became of recoveries since a time.
 *
 * @since 0.1.0
 * @category models
 */
export interface Period {
  readonly recoveries: Rate
  readonly byStrategy: Readonly<Record<string, Rate>>
  readonly byCategory: Readonly<Record<string, Rate>>
  /** How many different runs, or recoveries with a name, they were about. */
  readonly affected: number
}

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
): Effect.Effect<Period, RecordDamaged | Storage.StorageError, Storage.Storage> => periodOf(time.getTime(), query)
