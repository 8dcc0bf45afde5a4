/**
 * A circuit breaker refuses calls to a system that keeps failing. After a while
 * it admits a few probes, and closes if they succeed.
 *
 * It has no timer: an open breaker becomes half-open at the next call.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as PubSub from "effect/PubSub"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Sharing } from "./BreakerSharing.js"
import { subscription } from "./Events.js"
import type * as Fault from "./Fault.js"
import { checkName } from "./InvalidName.js"
import * as settings from "./internal/config.js"
import { breakerMetrics } from "./internal/kernel/metrics.js"
import { checkOption, millis, whole } from "./internal/kernel/options.js"
import { Breaker } from "./internal/protect/breaker.js"
import { MemberBreaker } from "./internal/protect/memberBreaker.js"
import { prepare } from "./internal/protect/openTime.js"
import type { CircuitOpen } from "./RecoveryError.js"
import { consecutive, type Trip } from "./TripCondition.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  CircuitOpen
} from "./RecoveryError.js"
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
  /** State changes from the start of the stream. */
  readonly changes: Stream.Stream<Change>
  /** State changes from this effect on, until its scope closes. */
  readonly subscribe: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
  /** Refuses all calls until `reset`. */
  readonly isolate: Effect.Effect<void>
  /** Closes the breaker and clears its counts. */
  readonly reset: Effect.Effect<void>
  /** @internal */
  readonly breaker: Breaker
}

/**
 * - `closed`: admits calls and counts their outcomes
 * - `open`: refuses calls until the open time is over
 * - `half-open`: admits the configured number of probes and refuses other calls
 * - `isolated`: refuses calls until it is reset
 *
 * @since 0.1.0
 * @category models
 */
export const State = Schema.Literal("closed", "open", "half-open", "isolated")
/**
 * @since 0.1.0
 * @category models
 */
export type State = typeof State.Type

/**
 * The state of a breaker as plain data. Encode it to keep it across restarts.
 *
 * @since 0.1.0
 * @category models
 */
export const Snapshot = Schema.Struct({
  state: State,
  /** How often the breaker opened since it was last closed. */
  openings: Schema.Number,
  /** When an open breaker admits probes, epoch milliseconds. */
  retryAt: Schema.optional(Schema.Number),
  window: Schema.Struct({ calls: Schema.Number, failures: Schema.Number, slow: Schema.Number }),
  /** The memory of the trip condition, in its own format. */
  memory: Schema.Array(Schema.Number)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Snapshot extends Schema.Schema.Type<typeof Snapshot> {}

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
export const make = (options: Options): Effect.Effect<CircuitBreaker> => makeShared(options)

/**
 * {@link make} for a breaker that processes share.
 *
 * @internal
 */
export const makeShared: (options: Options, sharing?: Sharing) => Effect.Effect<CircuitBreaker> = Effect.fnUntraced(
  function* ({ restore, ...options }: Options, sharing?: Sharing) {
    const expected = "a snapshot; decode a stored one with CircuitBreaker.Snapshot"
    checkOption("restore", restore, restore === undefined || isSnapshot(restore), expected)
    const { breaker, ...watched } = yield* factory(options, false, sharing)
    const made = breaker(options.name)
    if (restore !== undefined) yield* made.restore(restore)
    return wrap(options.name, made, watched)
  }
)

const isSnapshot = Schema.is(Snapshot)

/** Checks the options once. The result makes breakers that differ only in name and key. */
const factory = Effect.fnUntraced(function* (options: Omit<Options, "restore">, isGroup: boolean, sharing?: Sharing) {
  checkName("circuit breaker", options.name)
  const clock: Clock.Clock = yield* Effect.clock
  const openTime = yield* prepare(options.resetAfter ?? "300 seconds")
  const trip = options.trip ?? consecutive()
  const mode = options.mode ?? "protect"
  checkOption("mode", mode, mode === "protect" || mode === "observe", `"protect" or "observe"`)
  // Unbounded, since changes are rare: a breaker makes about two per open time.
  const hub = yield* PubSub.unbounded<Change>()
  const common = {
    clock,
    timed: trip.timed,
    probes: whole("probes", options.probes ?? 1, 1),
    observes: mode === "observe",
    counts: options.counts ?? ((fault) => fault.transient),
    metrics: breakerMetrics(options.name, isGroup),
    hub
  } as const
  return {
    changes: Stream.fromPubSub(hub),
    subscribe: subscription(hub),
    breaker: (name: string, key?: string): Breaker => {
      const settings = { ...common, name, key, trip: trip.open(), openTime: openTime() }
      return sharing === undefined ? new Breaker(settings) : new MemberBreaker(settings, sharing)
    }
  }
})

const wrap = (
  name: string,
  breaker: Breaker,
  { changes, subscribe }: Pick<CircuitBreaker, "changes" | "subscribe">
): CircuitBreaker => ({
  [TypeId]: TypeId,
  name,
  breaker,
  snapshot: Effect.sync(() => breaker.snapshot()),
  changes,
  subscribe,
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
    mode: settings.optional(Config.literal("protect", "observe")("MODE"))
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
  /** State changes of all keys, from the start of the stream. */
  readonly changes: Stream.Stream<Change>
  /** State changes of all keys from this effect on, until its scope closes. */
  readonly subscribe: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
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
   * used key is evicted; breakers that equal a new one go first.
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
export const keyed = (options: KeyedOptions): Effect.Effect<Keyed> => keyedShared(options)

/**
 * {@link keyed} for breakers that processes share.
 *
 * @internal
 */
export const keyedShared: (options: KeyedOptions, sharing?: Sharing) => Effect.Effect<Keyed> = Effect.fnUntraced(
  function* (options: KeyedOptions, sharing?: Sharing) {
    const maxKeys = whole("maxKeys", options.maxKeys ?? 1_000, 1)
    const { breaker, changes, subscribe } = yield* factory(options, true, sharing)
    // A Map keeps insertion order, and a used key is inserted again: the least recently used key is first.
    const known = new Map<string, Breaker>()
    const evict = (key: string, breaker: Breaker) => {
      known.delete(key)
      breaker.evicted()
    }
    const evictOne = () => {
      for (const [key, candidate] of known) if (candidate.isEvictable) return evict(key, candidate)
      for (const [oldest, candidate] of known) return evict(oldest, candidate)
    }
    const breakerFor = (key: string): Breaker => {
      let found = known.get(key)
      if (found !== undefined) known.delete(key)
      else {
        if (known.size >= maxKeys) evictOne()
        found = breaker(`${options.name}/${key}`, key)
      }
      known.set(key, found)
      return found
    }
    const group: Keyed = {
      name: options.name,
      breakerFor,
      changes,
      subscribe,
      get: (key) =>
        Effect.sync(() => {
          const own = (all: Stream.Stream<Change>) => Stream.filter(all, (change) => change.key === key)
          return wrap(`${options.name}/${key}`, breakerFor(key), {
            changes: own(changes),
            subscribe: Effect.map(subscribe, own)
          })
        }),
      resetAll: Effect.suspend(() => Effect.forEach([...known.values()], ({ reset }) => reset, { discard: true })),
      snapshot: Effect.sync(() => new Map([...known].map(([key, breaker]) => [key, breaker.snapshot()])))
    }
    return group
  }
)

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
