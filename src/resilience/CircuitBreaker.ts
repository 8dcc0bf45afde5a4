/**
 * A circuit breaker stops calling what keeps failing, and lets a few calls
 * through now and then to see whether it has recovered.
 *
 * It has no timers: its state moves on when it is asked.
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
import { subscription } from "./Events.js"
import type * as Fault from "./Fault.js"
import * as settings from "./internal/config.js"
import { breakerMetrics } from "./internal/kernel/metrics.js"
import { millis, whole } from "./internal/kernel/options.js"
import { Breaker } from "./internal/protect/breaker.js"
import { prepare } from "./internal/protect/openTime.js"
import { type CircuitOpen, PolicyInvalid } from "./RecoveryError.js"
import { consecutive, type Trip } from "./TripCondition.js"

export {
  /** @since 0.1.0 @category errors */
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
 * @since 0.1.0
 * @category models
 */
export interface CircuitBreaker {
  readonly [TypeId]: TypeId
  readonly name: string
  /** How it stands, without moving it; give it to {@link Options} to go on from there. */
  readonly snapshot: Effect.Effect<Snapshot>
  /** Every change of state, from when the stream is run and has begun. */
  readonly changes: Stream.Stream<Change>
  /** The same, from this effect on, until its scope closes. */
  readonly subscribe: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
  /** Refuses every call until `reset`. */
  readonly isolate: Effect.Effect<void>
  /** Closes it and forgets what it counted. */
  readonly reset: Effect.Effect<void>
  /** @internal */
  readonly breaker: Breaker
}

/**
 * - `closed`: calls pass, their outcomes are counted
 * - `open`: calls are refused until the reset time is over
 * - `half-open`: as many calls as there are probes pass, the rest is refused
 * - `isolated`: calls are refused until somebody resets it
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
 * How a breaker stands, as plain data: encode it to keep it across restarts.
 *
 * @since 0.1.0
 * @category models
 */
export const Snapshot = Schema.Struct({
  state: State,
  /** Times it opened since it was last closed. */
  openings: Schema.Number,
  /** When an open breaker lets probes through, epoch milliseconds. */
  retryAt: Schema.optional(Schema.Number),
  window: Schema.Struct({ calls: Schema.Number, failures: Schema.Number, slow: Schema.Number }),
  /** What its trip condition remembers, in the condition's own form. */
  memory: Schema.Array(Schema.Number)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Snapshot extends Schema.Schema.Type<typeof Snapshot> {}

/**
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

/**
 * A change of state.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change {
  /** Its name; in a group `name/key`. */
  readonly breaker: string
  /** In a group. */
  readonly key: string | undefined
  readonly from: State
  readonly to: State
  /** Epoch milliseconds. */
  readonly at: number
  readonly reason: ChangeReason
  /** The last failure, if one opened it. */
  readonly fault: Fault.Fault | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How it is called in errors, events and metrics. */
  readonly name: string
  /** When to open. Defaults to 5 failures in a row. */
  readonly trip?: Trip | undefined
  /**
   * How long it stays open. Defaults to 300 seconds. A schedule makes it grow
   * with each opening that follows on a failed probe; one that ends keeps its
   * last delay, and it begins anew once the breaker was closed. The time the
   * schedule sees is that of its own delays, so those that go by the calendar
   * do not fit.
   */
  readonly resetAfter?: Duration.DurationInput | Schedule.Schedule<unknown, unknown> | undefined
  /**
   * Calls let through at once while half-open; all of them must succeed.
   * Defaults to 1. One that never ends keeps the breaker half-open: give the
   * call a timeout.
   */
  readonly probes?: number | undefined
  /**
   * Which faults count. Defaults to transient ones: a failure nothing is known
   * of does not count, so declare your errors, give rules, or count them all
   * with `() => true`. Interruption never counts, nor does what another breaker
   * or a bulkhead refused. What does not count is as if it had not been
   * called, except for a probe: there, a typed failure is an answer.
   */
  readonly counts?: ((fault: Fault.Fault) => boolean) | undefined
  /**
   * `"protect"` refuses calls, `"observe"` lets every call through and only
   * reports what it would have done: try a breaker before it bites. Defaults
   * to `"protect"`.
   */
  readonly mode?: "protect" | "observe" | undefined
  /** Go on from where another one stood. */
  readonly restore?: Snapshot | undefined
}

/**
 * Makes a breaker; an option that makes no sense is a defect that names it.
 * Keep it where all callers of the protected system share
 * it, such as in a Layer.
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
export const make: (options: Options) => Effect.Effect<CircuitBreaker> = Effect.fnUntraced(function* ({
  restore,
  ...options
}: Options) {
  if (restore !== undefined && !isSnapshot(restore)) {
    const expected = "a snapshot; decode a stored one with CircuitBreaker.Snapshot"
    throw new PolicyInvalid({ option: "restore", value: restore, expected })
  }
  const { breaker, ...watched } = yield* factory(options, false)
  const made = breaker(options.name)
  if (restore !== undefined) yield* made.restore(restore)
  return wrap(options.name, made, watched)
})

const isSnapshot = Schema.is(Snapshot)

/** Checks the options once; what it answers makes breakers that differ in their name only. */
const factory = Effect.fnUntraced(function* (options: Omit<Options, "restore">, isGroup: boolean) {
  const clock: Clock.Clock = yield* Effect.clock
  const openTime = yield* prepare(options.resetAfter ?? "300 seconds")
  const trip = options.trip ?? consecutive()
  const mode = options.mode ?? "protect"
  if (mode !== "protect" && mode !== "observe") {
    throw new PolicyInvalid({ option: "mode", value: mode, expected: `"protect" or "observe"` })
  }
  // Unbounded, but changes are few: a breaker makes two in each reset time.
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
    breaker: (name: string, key?: string) =>
      new Breaker({ ...common, name, key, trip: trip.open(), openTime: openTime() })
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
 * Reads options of a breaker from the configuration, under a prefix; what is not
 * there keeps its default, what makes no sense is a `ConfigError` that names the setting.
 *
 * | setting | meaning | default |
 * |---|---|---|
 * | `FAILURES` | in a row, that open it | 5 |
 * | `RESET_AFTER` | such as `30 seconds` | 300 seconds |
 * | `PROBES` | that must succeed to close it | 1 |
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
 * What {@link config} reads.
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
    // What is not there is left out, so that it can be spread over other defaults.
    settings.built(() => ({
      ...(failures === undefined ? {} : { trip: consecutive({ failures }) }),
      ...(resetAfter === undefined ? {} : { resetAfter: millis("resetAfter", resetAfter, 1) }),
      ...(probes === undefined ? {} : { probes: whole("probes", probes, 1) }),
      ...(mode === undefined ? {} : { mode })
    }))
)

/**
 * Runs the effect if the breaker lets it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const protect: {
  (breaker: CircuitBreaker): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, breaker: CircuitBreaker): Effect.Effect<A, E | CircuitOpen, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, { breaker }: CircuitBreaker): Effect.Effect<A, E | CircuitOpen, R> =>
    breaker.protect(self)
)

/**
 * A breaker for each key: one per host, tenant or model.
 *
 * @since 0.1.0
 * @category keyed
 */
export interface Keyed {
  readonly name: string
  /** The breaker of a key, made when it is first asked for. */
  readonly get: (key: string) => Effect.Effect<CircuitBreaker>
  /** Closes the breakers of all keys, and forgets what they counted. */
  readonly resetAll: Effect.Effect<void>
  /** How the known keys stand. */
  readonly snapshot: Effect.Effect<ReadonlyMap<string, Snapshot>>
  /** Every change of state of every key's breaker, from when the stream is run and has begun. */
  readonly changes: Stream.Stream<Change>
  /** The same, from this effect on, until its scope closes. */
  readonly subscribe: Effect.Effect<Stream.Stream<Change>, never, Scope.Scope>
  /** @internal */
  readonly breakerFor: (key: string) => Breaker
}

/**
 * @since 0.1.0
 * @category keyed
 */
export interface KeyedOptions extends Omit<Options, "restore"> {
  /**
   * Keys remembered at once. Defaults to 1,000. Beyond, the key not used for
   * the longest time is forgotten, those with nothing to remember first.
   */
  readonly maxKeys?: number | undefined
}

/**
 * Makes a group of breakers, one for each key. Metrics carry the name of the
 * group, not the keys.
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
export const keyed: (options: KeyedOptions) => Effect.Effect<Keyed> = Effect.fnUntraced(function* (
  options: KeyedOptions
) {
  const maxKeys = whole("maxKeys", options.maxKeys ?? 1_000, 1)
  const { breaker, changes, subscribe } = yield* factory(options, true)
  // A Map keeps the order of insertion: the least recently used key comes first.
  const known = new Map<string, Breaker>()
  const forgetOne = () => {
    for (const [key, candidate] of known) if (candidate.isAtRest) return known.delete(key)
    const [oldest] = known.keys()
    return oldest !== undefined && known.delete(oldest)
  }
  const breakerFor = (key: string): Breaker => {
    let found = known.get(key)
    if (found !== undefined) known.delete(key)
    else {
      if (known.size >= maxKeys) forgetOne()
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
})

/**
 * Runs the effect if the breaker of the key lets it.
 *
 * @since 0.1.0
 * @category keyed
 */
export const protectKey: {
  (keyed: Keyed, key: string): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, keyed: Keyed, key: string): Effect.Effect<A, E | CircuitOpen, R>
} = dual(3, <A, E, R>(self: Effect.Effect<A, E, R>, keyed: Keyed, key: string) =>
  // Asked for at each call: between two of them the group may have forgotten the key.
  Effect.suspend(() => keyed.breakerFor(key).protect(self))
)
