/**
 * A circuit breaker stops calling what keeps failing, and lets a few calls
 * through now and then to see whether it has recovered.
 *
 * It has no timers: its state moves on when it is asked.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Fault from "./Fault.js"
import { millis, share, whole } from "./internal/kernel/options.js"
import type { Breaker } from "./internal/protect/breaker.js"
import * as breakers from "./internal/protect/breakers.js"
import * as trip_ from "./internal/protect/trip.js"
import * as settings from "./internal/settings.js"
import { CircuitOpen, PolicyInvalid } from "./RecoveryError.js"

export {
  /**
   * The breaker refused the call; it was not made. A schema class, so that a
   * durable step can have it among its errors.
   *
   * @since 0.1.0
   * @category errors
   */
  CircuitOpen
}

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

const Window_ = Schema.Struct({ calls: Schema.Number, failures: Schema.Number, slow: Schema.Number })

/**
 * What was counted in the window of the trip condition. Of one that counts
 * failures in a row, `calls` and `failures` are both their number; of several,
 * these are the largest numbers of any.
 *
 * @since 0.1.0
 * @category models
 */
export interface Window extends Schema.Schema.Type<typeof Window_> {}

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
  window: Window_,
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
 * When to open. The constructors are {@link consecutive}, {@link countWindow},
 * {@link timeWindow}, {@link slowCalls} and {@link anyOf}; your own is an
 * object of this shape.
 *
 * @since 0.1.0
 * @category models
 */
export interface Trip {
  /** What it is, as plain data. */
  readonly description: TripDescription
  /** Whether `record` needs the time of the call; a breaker that does not is faster. */
  readonly timed: boolean
  /** Opens it for one breaker; what it counts lives there. */
  readonly open: () => TripState
}

/**
 * @since 0.1.0
 * @category models
 */
export type TripDescription = { readonly kind: string } & {
  readonly [option: string]: number | string | ReadonlyArray<TripDescription>
}

/**
 * What an open trip condition knows. Times are epoch milliseconds, lengths
 * milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface TripState {
  /** Takes the outcome of a call and says whether the breaker opens now. Both numbers are 0 unless the trip is `timed`. */
  readonly record: (outcome: "success" | "failure", now: number, millis: number) => boolean
  /** Whether a probe that took so long counts as failed. */
  readonly isSlow: (millis: number) => boolean
  readonly window: (now: number) => Window
  readonly clear: () => void
  /** What it remembers, for a snapshot, and back; what it cannot read it passes over. */
  readonly save: (now: number) => ReadonlyArray<number>
  readonly load: (saved: ReadonlyArray<number>) => void
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
 * Opens after failures in a row.
 *
 * @since 0.1.0
 * @category trip conditions
 */
export const consecutive = (options?: {
  /** Defaults to 5. */
  readonly failures?: number | undefined
}): Trip => trip_.consecutive(whole("failures", options?.failures ?? 5, 1))

/**
 * Opens when of the last `size` calls a share has failed: when a call fails,
 * there are at least `minimum` calls, and failures / calls >= failureRate. A
 * success never opens it.
 *
 * @since 0.1.0
 * @category trip conditions
 */
export const countWindow = (options?: {
  /** Calls that are remembered. Defaults to 100. */
  readonly size?: number | undefined
  /** Share of failed calls that opens it, above 0 and at most 1. Defaults to 0.5. */
  readonly failureRate?: number | undefined
  /** Calls below which it never opens. Defaults to 10. */
  readonly minimum?: number | undefined
}): Trip => {
  const size = whole("size", options?.size ?? 100, 1, 1_000_000)
  const minimum = whole("minimum", options?.minimum ?? Math.min(10, size), 1, size)
  return trip_.countWindow(size, { rate: share("failureRate", options?.failureRate ?? 0.5), minimum })
}

/**
 * Opens when of the calls of the last while a share has failed, in the way of
 * {@link countWindow}. The window slides in steps of a tenth of its length.
 *
 * @since 0.1.0
 * @category trip conditions
 */
export const timeWindow = (options?: {
  /** Defaults to 60 seconds. */
  readonly window?: Duration.DurationInput | undefined
  /** Share of failed calls that opens it, above 0 and at most 1. Defaults to 0.5. */
  readonly failureRate?: number | undefined
  /** Calls in the window below which it never opens. Defaults to 10. */
  readonly minimum?: number | undefined
}): Trip =>
  trip_.timed({
    kind: "timeWindow",
    windowMillis: positive("window", options?.window ?? "60 seconds"),
    slowMillis: 0,
    rate: share("failureRate", options?.failureRate ?? 0.5),
    minimum: whole("minimum", options?.minimum ?? 10, 1)
  })

/**
 * Opens when of the calls of the last while a share was slow, of those that
 * succeeded and those whose failure counts. A call that never ends is never
 * counted: give it a timeout.
 *
 * @since 0.1.0
 * @category trip conditions
 */
export const slowCalls = (options: {
  /** A call that takes longer is slow. */
  readonly slowerThan: Duration.DurationInput
  /** Share of slow calls that opens it, above 0 and at most 1. Defaults to 0.5. */
  readonly slowRate?: number | undefined
  /** Defaults to 60 seconds. */
  readonly window?: Duration.DurationInput | undefined
  /** Calls in the window below which it never opens. Defaults to 10. */
  readonly minimum?: number | undefined
}): Trip =>
  trip_.timed({
    kind: "slowCalls",
    windowMillis: positive("window", options.window ?? "60 seconds"),
    slowMillis: positive("slowerThan", options.slowerThan),
    rate: share("slowRate", options.slowRate ?? 0.5),
    minimum: whole("minimum", options.minimum ?? 10, 1)
  })

/**
 * Opens when one of several conditions is met.
 *
 * @example
 * ```ts
 * import { CircuitBreaker } from "effect-recovery"
 *
 * const trip = CircuitBreaker.anyOf(
 *   CircuitBreaker.consecutive({ failures: 10 }),
 *   CircuitBreaker.slowCalls({ slowerThan: "2 seconds" })
 * )
 * console.log(trip.description.kind) // anyOf
 * ```
 *
 * @since 0.1.0
 * @category trip conditions
 */
export const anyOf = (...trips: readonly [Trip, ...ReadonlyArray<Trip>]): Trip => trip_.anyOf(trips)

const positive = (option: string, value: Duration.DurationInput): number => millis(option, value, 1)

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
export const make = (options: Options): Effect.Effect<CircuitBreaker> =>
  Effect.suspend(() => {
    if (options.restore !== undefined && !isSnapshot(options.restore)) throw new PolicyInvalid(notASnapshot(options))
    return breakers.make(options)
  })

const isSnapshot = Schema.is(Snapshot)

const notASnapshot = ({ restore }: Options) => ({
  option: "restore",
  value: restore,
  expected: "a snapshot; decode what was stored with CircuitBreaker.Snapshot"
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
export const keyed = (options: KeyedOptions): Effect.Effect<Keyed> => breakers.keyed(options)

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
