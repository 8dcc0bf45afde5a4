/**
 * Circuit breakers that processes share over a storage. A process that finds a
 * system down spares the others, half-open admits its probes over all of them,
 * and one sick process cannot open it for the rest.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { membersOf } from "../resilience/BreakerSharing.js"
import * as CircuitBreaker from "../resilience/CircuitBreaker.js"
import { checkName } from "../resilience/InvalidName.js"
import { checkOption, millis, whole } from "../resilience/internal/kernel/options.js"
import type { Storage } from "../storage/Storage.js"
import { makeSharing, type Settings } from "./internal/breakerGroup.js"

/**
 * How processes agree. All processes that share a breaker should have the same
 * options: each applies its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface SharedOptions {
  /**
   * The least time between two looks at the storage, at least 10 milliseconds.
   * Calls start looks in the background; without calls there are none. Defaults
   * to 1 second.
   */
  readonly interval?: Duration.DurationInput | undefined
  /**
   * The fewest processes that must find the system down before it opens for all.
   * Defaults to 1.
   */
  readonly processes?: number | undefined
  /**
   * It opens for all if more than this share of the processes that called the
   * system lately find it down, from 0 up to but not including 1. Defaults to
   * 0.5. Processes without calls do not count.
   */
  readonly share?: number | undefined
  /**
   * How long the place of a probe is kept for a process that died while it
   * probed. Longer than a call takes. Defaults to 1 minute.
   */
  readonly probeTimeout?: Duration.DurationInput | undefined
  /**
   * How long the storage has to answer before the process counts for itself.
   * Only probes wait for it. Defaults to 1 second.
   */
  readonly storageTimeout?: Duration.DurationInput | undefined
}

/**
 * Options of {@link make}: those of `CircuitBreaker.make` and how processes agree.
 * A shared breaker always protects, and continues from what the storage holds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Omit<CircuitBreaker.Options, "mode" | "restore">, SharedOptions {}

/**
 * Options of {@link keyed}.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyedOptions extends Omit<CircuitBreaker.KeyedOptions, "mode">, SharedOptions {}

/** Looks whose results count as one: how long others have to object, and how long a vote counts. */
const graceLooks = 3
const voteLooks = 30

const settingsOf = (options: Options): Settings => {
  const {
    interval = "1 second",
    probeTimeout = "1 minute",
    processes = 1,
    share = 0.5,
    storageTimeout = "1 second"
  } = options
  const intervalMillis = millis("interval", interval, 10)
  return {
    name: checkName("circuit breaker", options.name),
    intervalMillis,
    timeoutMillis: millis("storageTimeout", storageTimeout, 1),
    rule: {
      processes: whole("processes", processes, 1),
      share: checkOption("share", share, share >= 0 && share < 1, "a share from 0 up to but not including 1"),
      graceMillis: graceLooks * intervalMillis,
      voteMillis: voteLooks * intervalMillis,
      probes: whole("probes", options.probes ?? 1, 1),
      probeMillis: millis("probeTimeout", probeTimeout, 1)
    }
  }
}

/**
 * Makes a breaker that all processes with the same storage and name share. The
 * result is a `CircuitBreaker`: use it with `CircuitBreaker.protect` and wherever
 * one is taken. Dies with `InvalidOption` or `InvalidName`.
 *
 * The rule: a process whose calls trip its breaker is open at once, and says so.
 * The others see it at their next call, at most an `interval` later, and object
 * as soon as a call of theirs succeeds. After three intervals it opens for all,
 * unless half or more of the processes that called it object (`share`). So one
 * process alone is believed only while the calls of no other one succeed; a sick
 * one stays open for itself.
 *
 * Open for all, it admits `probes` over all processes; one that still runs when it
 * opens again keeps its place. When they answer well, it closes everywhere; when
 * one fails, the process that made it lets the others go first next time. `isolate` and `reset` apply to all processes.
 *
 * Calls never wait for the storage, except a probe, for at most
 * `storageTimeout`. If the storage fails, a warning is logged once and each
 * process counts for itself until it answers. Times are by the storage's clock.
 *
 * @example
 * ```ts
 * import { CircuitBreaker, SharedBreaker, Storage } from "effect-recovery"
 * import { Context, Effect, Layer } from "effect"
 *
 * class Rates extends Context.Tag("Rates")<Rates, CircuitBreaker.CircuitBreaker>() {
 *   static readonly layer = Layer.scoped(this, SharedBreaker.make({ name: "rates", resetAfter: "30 seconds" }))
 * }
 *
 * const program = Effect.gen(function* () {
 *   const rates = yield* Rates
 *   return yield* Effect.succeed(1.08).pipe(CircuitBreaker.protect(rates))
 * })
 *
 * // In production the storage that the processes share, such as SqliteStorage.layer or PgStorage.layer.
 * const live = Rates.layer.pipe(Layer.provide(Storage.layerMemory))
 * program.pipe(Effect.provide(live), Effect.runPromise).then(console.log) // 1.08
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<CircuitBreaker.CircuitBreaker, never, Storage | Scope.Scope> =>
  Effect.suspend(() =>
    Effect.flatMap(makeSharing(settingsOf(options)), (sharing) =>
      CircuitBreaker.makeOf(own(options), membersOf(sharing))
    )
  )

/**
 * As {@link make}, for a group of breakers, one per key. One look at the storage
 * serves the whole group.
 *
 * @example
 * ```ts
 * import { CircuitBreaker, SharedBreaker, Storage } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const hosts = yield* SharedBreaker.keyed({ name: "hosts" })
 *   const get = (url: URL) => Effect.succeed(`from ${url.host}`).pipe(CircuitBreaker.protectKey(hosts, url.host))
 *   return yield* get(new URL("https://a.example/rates"))
 * })
 * program.pipe(Effect.scoped, Effect.provide(Storage.layerMemory), Effect.runPromise).then(console.log) // from a.example
 * ```
 *
 * @since 0.1.0
 * @category keyed
 */
export const keyed = (options: KeyedOptions): Effect.Effect<CircuitBreaker.Keyed, never, Storage | Scope.Scope> =>
  Effect.suspend(() =>
    Effect.flatMap(makeSharing(settingsOf(options)), (sharing) =>
      CircuitBreaker.keyedOf(own(options), membersOf(sharing))
    )
  )

/** Without what JavaScript may pass and a shared breaker does not take. */
const own = <O extends Options | KeyedOptions>(options: O): O => ({ ...options, mode: "protect", restore: undefined })
