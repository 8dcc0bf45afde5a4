/**
 * A circuit breaker refuses calls to a system that keeps failing. After a while
 * it admits a few probes, and closes if they succeed.
 *
 * It has no timer: an open breaker becomes half-open at the next call.
 *
 * @since 0.1.0
 */

import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Schedule from "effect/Schedule"
import type * as Fault from "./Fault.js"
import { checkName } from "./InvalidName.js"
import * as settings from "./internal/config.js"
import { Feed, type Listenable } from "./internal/kernel/feed.js"
import { breakerMetrics } from "./internal/kernel/metrics.js"
import { checkOption, millis, whole } from "./internal/kernel/options.js"
import { Breaker, type Settings } from "./internal/protect/breaker.js"
import { KeyedBreakers } from "./internal/protect/keyedBreakers.js"
import { prepare } from "./internal/protect/openTime.js"
import type { CircuitOpen } from "./Refusal.js"
import { consecutive, type Trip } from "./TripCondition.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  CircuitOpen
} from "./Refusal.js"
/** @since 0.1.0 */
export * from "./TripCondition.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~effect-recovery/CircuitBreaker"
/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~effect-recovery/CircuitBreaker"

/**
 * A breaker that callers share.
 *
 * @since 0.1.0
 * @category models
 */
export interface CircuitBreaker {
  readonly [TypeId]: TypeId
  readonly name: string
  /** The current state. Pass it as `restore` in {@link Options} to continue from it. */
  readonly snapshot: Effect.Effect<Snapshot>
  /** Refuses all calls until `reset`. */
  readonly isolate: Effect.Effect<void>
  /** Closes the breaker and clears its counts. */
  readonly reset: Effect.Effect<void>
  /** @internal */
  readonly breaker: Breaker
  /** @internal */
  readonly feed: Listenable<Change>
}

const states = ["closed", "open", "half-open", "isolated"] as const

/**
 * - `closed`: admits calls and counts their outcomes
 * - `open`: refuses calls until the open time is over
 * - `half-open`: admits the configured number of probes and refuses other calls
 * - `isolated`: refuses calls until it is reset
 *
 * @since 0.1.0
 * @category models
 */
export type State = (typeof states)[number]

/**
 * The state of a breaker as plain data. `PolicySchema.BreakerSnapshot` encodes
 * it, to keep it across restarts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Snapshot {
  readonly state: State
  /** How often the breaker opened since it was last closed. */
  readonly openings: number
  /** When an open breaker admits probes, epoch milliseconds. */
  readonly retryAt?: number | undefined
  readonly window: { readonly calls: number; readonly failures: number; readonly slow: number }
  /** The memory of the trip condition, in its own format. */
  readonly memory: ReadonlyArray<number>
}

/**
 * Why a breaker changed its state.
 *
 * @since 0.1.0
 * @category models
 */
export type ChangeReason =
  | "tripped"
  | "the reset time is over"
  | "a probe failed"
  | "a probe was slow"
  | "the probes came back well"
  | "isolated"
  | "reset"
  | "opened by other processes"
  | "closed by the other processes"
  | "isolated by another process"

/**
 * A state change.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change {
  /** The name of the breaker; `name/key` in a keyed group. */
  readonly breaker: string
  /** The key in a keyed group. */
  readonly key: string | undefined
  readonly from: State
  readonly to: State
  /** Epoch milliseconds. */
  readonly at: number
  readonly reason: ChangeReason
  /** The failure that opened the breaker, if one did. */
  readonly fault: Fault.Fault | undefined
}

/**
 * Options of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The name in errors, events and metrics. */
  readonly name: string
  /** When the breaker opens. Defaults to 5 failures in a row. */
  readonly trip?: Trip | undefined
  /**
   * How long the breaker stays open. Defaults to 300 seconds; with 0 the next call is
   * a probe. A schedule gives the
   * time of each opening after a failed probe and starts again when the breaker
   * closes. A schedule that ends keeps its last delay. The schedule's clock is the
   * sum of its delays, so schedules by calendar do not work.
   */
  readonly resetAfter?: Duration.DurationInput | Schedule.Schedule<unknown, unknown> | undefined
  /**
   * Probes that a half-open breaker admits; all must succeed to close it.
   * Defaults to 1. A probe that never ends keeps the breaker half-open, so give
   * the call a timeout.
   */
  readonly probes?: number | undefined
  /**
   * Which faults count as failures. Defaults to transient ones, so unclassified
   * failures do not count: declare your errors, add rules, or use `() => true`.
   * Interruption and refusals by a breaker or bulkhead never count. A probe that
   * fails with a typed error that does not count has succeeded.
   */
  readonly counts?: ((fault: Fault.Fault) => boolean) | undefined
  /**
   * `"protect"` refuses calls. `"observe"` admits all calls and only reports state
   * changes, to try a breaker out. Defaults to `"protect"`.
   */
  readonly mode?: "protect" | "observe" | undefined
  /** The state to start from. Defaults to a closed breaker without counts. */
  readonly restore?: Snapshot | undefined
}

/**
 * Makes a breaker. Dies with `InvalidOption` if an option is invalid, and with
 * `InvalidName` if the name cannot be used. Callers of
 * the protected system should share it, for example through a Layer.
 *
 * @example
 * ```ts
 * import { CircuitBreaker, RetryPolicy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const breaker = yield* CircuitBreaker.make({
 *     name: "rates",
 *     trip: CircuitBreaker.consecutive({ failures: 3 }),
 *     resetAfter: "30 seconds"
 *   })
 *   const rates = Effect.succeed(1.08)
 *   // Asked before every attempt.
 *   return yield* rates.pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(RetryPolicy.exponential()))
 * })
 * Effect.runPromise(program).then(console.log) // 1.08
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<CircuitBreaker> => makeOf(options, newBreaker)

/**
 * {@link make} for another kind of breaker, such as those that processes share.
 *
 * @internal
 */
export const makeOf = ({ restore, ...options }: Options, open: OpenBreaker): Effect.Effect<CircuitBreaker> =>
  Effect.suspend(() => {
    const expected = "a snapshot; decode a stored one with PolicySchema.BreakerSnapshot"
    checkOption("restore", restore, restore === undefined || isSnapshot(restore), expected)
    return Effect.flatMap(factory(options, false, open), ({ breaker, feed }) => {
      const made = breaker(options.name)
      const wrapped = wrap(options.name, made, feed)
      return restore === undefined ? Effect.succeed(wrapped) : Effect.as(made.restore(restore), wrapped)
    })
  })

type OpenBreaker = (settings: Settings) => Breaker

const newBreaker: OpenBreaker = (settings) => new Breaker(settings)

/** As the schema checks it, which would bring `effect/Schema` into every program with a breaker. */
const isSnapshot = (given: Snapshot): boolean => {
  const { memory, openings, retryAt, state, window } = Object(given) as Partial<Snapshot>
  const { calls, failures, slow } = Object(window) as Partial<Snapshot["window"]>
  const numbers = [openings, calls, failures, slow, retryAt ?? 0, ...(Array.isArray(memory) ? memory : [undefined])]
  return states.some((known) => known === state) && numbers.every((number) => typeof number === "number")
}

/** Checks the options once. The result makes breakers that differ only in name and key. */
const factory = (options: Omit<Options, "restore">, isGroup: boolean, open: OpenBreaker) =>
  Effect.flatMap(Effect.clock, (clock) => {
    checkName("circuit breaker", options.name)
    return Effect.map(prepare(options.resetAfter ?? "300 seconds"), (openTime) => {
      const trip = options.trip ?? consecutive()
      const mode = options.mode ?? "protect"
      checkOption("mode", mode, mode === "protect" || mode === "observe", `"protect" or "observe"`)
      const feed = new Feed<Change>()
      const common = {
        clock,
        timed: trip.timed,
        probes: whole("probes", options.probes ?? 1, 1),
        observes: mode === "observe",
        counts: options.counts ?? ((fault) => fault.transient),
        metrics: breakerMetrics(options.name, isGroup),
        feed
      } as const
      return {
        feed,
        breaker: (name: string, key?: string): Breaker =>
          open({ ...common, name, key, trip: trip.open(), openTime: openTime() })
      }
    })
  })

const wrap = (name: string, breaker: Breaker, feed: Listenable<Change>): CircuitBreaker => ({
  [TypeId]: TypeId,
  name,
  breaker,
  feed,
  snapshot: Effect.sync(() => breaker.snapshot()),
  isolate: breaker.isolate,
  reset: breaker.reset
})

/**
 * Reads options of a breaker from the configuration, under an optional prefix. A
 * missing setting keeps its default. An invalid one is a `ConfigError` with its
 * name.
 *
 * | setting | meaning | default |
 * |---|---|---|
 * | `FAILURES` | failures in a row that open it | 5 |
 * | `RESET_AFTER` | the open time, such as `30 seconds` | 300 seconds |
 * | `PROBES` | probes that must succeed to close it | 1 |
 * | `MODE` | protect or observe | protect |
 *
 * @example
 * ```ts
 * import { CircuitBreaker } from "effect-recovery"
 * import { ConfigProvider, Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   // Environment variables RATES_BREAKER_FAILURES, RATES_BREAKER_MODE and so on
 *   const options = yield* CircuitBreaker.config("RATES_BREAKER")
 *   const breaker = yield* CircuitBreaker.make({ name: "rates", ...options })
 *   return breaker.name
 * })
 *
 * const provider = ConfigProvider.fromMap(new Map([["RATES_BREAKER_FAILURES", "3"]]), { pathDelim: "_" })
 * Effect.runPromise(Effect.withConfigProvider(program, provider)).then(console.log) // rates
 * ```
 *
 * @since 0.1.0
 * @category config
 */
export const config = (prefix?: string): Config.Config<Configured> =>
  prefix === undefined ? fromConfig : Config.nested(fromConfig, prefix)

/**
 * The options that {@link config} reads.
 *
 * @since 0.1.0
 * @category config
 */
export type Configured = Pick<Options, "trip" | "resetAfter" | "probes" | "mode">

const fromConfig: Config.Config<Configured> = Config.mapOrFail(
  Config.all({
    failures: settings.optional(settings.number("FAILURES")),
    resetAfter: settings.optional(settings.duration("RESET_AFTER")),
    probes: settings.optional(settings.number("PROBES")),
    mode: settings.optional(settings.oneOf("MODE", "protect", "observe"))
  }),
  ({ failures, mode, probes, resetAfter }) =>
    // Missing settings are left out, so that the result can be spread over other options.
    settings.built(() => ({
      ...(failures === undefined ? {} : { trip: consecutive({ failures }) }),
      ...(resetAfter === undefined ? {} : { resetAfter: millis("resetAfter", resetAfter, 1) }),
      ...(probes === undefined ? {} : { probes: whole("probes", probes, 1) }),
      ...(mode === undefined ? {} : { mode })
    }))
)

/**
 * Runs the effect if the breaker admits it, else fails with `CircuitOpen`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const protect: {
  /** Runs the effect if the breaker admits it, else fails with `CircuitOpen`. */
  (breaker: CircuitBreaker): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
  /** Runs the effect if the breaker admits it, else fails with `CircuitOpen`. */
  <A, E, R>(self: Effect.Effect<A, E, R>, breaker: CircuitBreaker): Effect.Effect<A, E | CircuitOpen, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, { breaker }: CircuitBreaker): Effect.Effect<A, E | CircuitOpen, R> =>
    breaker.protect(self)
)

/**
 * A group of breakers, one per key, such as a host, tenant or model.
 *
 * @since 0.1.0
 * @category keyed
 */
export interface Keyed {
  readonly name: string
  /** The breaker of a key, made at the first call. Any text is a key, since keys stay in memory. */
  readonly get: (key: string) => Effect.Effect<CircuitBreaker>
  /** Closes all breakers and clears their counts. */
  readonly resetAll: Effect.Effect<void>
  /** The state of each known key. */
  readonly snapshot: Effect.Effect<ReadonlyMap<string, Snapshot>>
  /** @internal */
  readonly feed: Listenable<Change>
  /** @internal */
  readonly breakerFor: (key: string) => Breaker
}

/**
 * Options of {@link keyed}.
 *
 * @since 0.1.0
 * @category keyed
 */
export interface KeyedOptions extends Omit<Options, "restore"> {
  /**
   * The maximum number of keys. Defaults to 1,000. Beyond it, the least recently
   * used key is evicted; breakers that equal a new one go first, as far as they
   * are among the 200 least recently used keys. Eviction takes bounded time.
   */
  readonly maxKeys?: number | undefined
}

/**
 * Makes a group of breakers, one per key. Metrics have the name of the group, not
 * the keys. Dies with `InvalidOption` or `InvalidName`, as `make` does.
 *
 * @example
 * ```ts
 * import { CircuitBreaker } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const hosts = yield* CircuitBreaker.keyed({ name: "hosts", maxKeys: 100 })
 *   const get = (url: URL) =>
 *     Effect.succeed(`from ${url.host}`).pipe(CircuitBreaker.protectKey(hosts, url.host))
 *   return yield* get(new URL("https://a.example/rates"))
 * })
 * Effect.runPromise(program).then(console.log) // from a.example
 * ```
 *
 * @since 0.1.0
 * @category keyed
 */
export const keyed = (options: KeyedOptions): Effect.Effect<Keyed> => keyedOf(options, newBreaker)

/**
 * {@link keyed} for another kind of breaker, such as those that processes share.
 *
 * @internal
 */
export const keyedOf = (options: KeyedOptions, open: OpenBreaker): Effect.Effect<Keyed> =>
  Effect.suspend(() => {
    const maxKeys = whole("maxKeys", options.maxKeys ?? 1_000, 1)
    return Effect.map(factory(options, true, open), ({ breaker, feed }): Keyed => {
      const named = (key: string) => `${options.name}/${key}`
      const breakers = new KeyedBreakers(maxKeys, (key) => breaker(named(key), key))
      const own = (key: string): Listenable<Change> => ({
        listen: (reader) =>
          feed.listen((change) => {
            if (change.key === key) reader(change)
          })
      })
      return {
        name: options.name,
        feed,
        breakerFor: breakers.get,
        get: (key) => Effect.sync(() => wrap(named(key), breakers.get(key), own(key))),
        resetAll: Effect.suspend(() => Effect.forEach(breakers.entries, ([, { reset }]) => reset, { discard: true })),
        snapshot: Effect.sync(() => new Map(breakers.entries.map(([key, breaker]) => [key, breaker.snapshot()])))
      }
    })
  })

/**
 * Runs the effect if the breaker of the key admits it.
 *
 * @since 0.1.0
 * @category keyed
 */
export const protectKey: {
  /** Runs the effect if the breaker of the key admits it, else fails with `CircuitOpen`. */
  (keyed: Keyed, key: string): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
  /** Runs the effect if the breaker of the key admits it, else fails with `CircuitOpen`. */
  <A, E, R>(self: Effect.Effect<A, E, R>, keyed: Keyed, key: string): Effect.Effect<A, E | CircuitOpen, R>
} = dual(3, <A, E, R>(self: Effect.Effect<A, E, R>, keyed: Keyed, key: string) =>
  // Looked up at each call, since the key may have been evicted in between.
  Effect.suspend(() => keyed.breakerFor(key).protect(self))
)
