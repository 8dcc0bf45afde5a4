/**
 * A `RetryPolicy` is a `Schedule` that decides when to retry. Its description is
 * plain data that can be printed, stored and compared.
 *
 * `maxRetries: 3` allows 4 attempts; `maxRetries: 0` allows one. A delay is the
 * time from a failure to the next attempt, within `[0, maxDelay]` including
 * jitter.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type { NoInfer } from "effect/Types"
import type * as Fault from "./Fault.js"
import { millis, number } from "./internal/kernel/options.js"
import { providing } from "./internal/kernel/standing.js"
import { ruleOf } from "./internal/retry/definition.js"
import { catchFailure, endRetries, retryByRule } from "./internal/retry/retries.js"
import * as schedule from "./internal/retry/schedule.js"
import { fromSettings } from "./internal/retry/settings.js"
import type { RetryBudget } from "./RetryBudget.js"

/**
 * A schedule with a description. Its input is the failure, its output the delay
 * before the next attempt.
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryPolicy extends Schedule.Schedule<Duration.Duration, unknown> {
  readonly description: Description
  /**
   * The step of the schedule, as Effect calls it. Declared without its failure: from a parameter of type `unknown`,
   * data-first functions such as `Layer.retry(layer, policy)` would infer an error of type `unknown`.
   */
  step(now: number): ReturnType<Schedule.Schedule<Duration.Duration, unknown>["step"]>
}

/**
 * A policy as plain data. Durations are milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export type Description =
  | {
      readonly curve: "exponential" | "linear" | "fixed" | "fibonacci" | "custom"
      readonly maxRetries: number
      readonly initialDelay: number
      readonly maxDelay: number
      readonly factor?: number
      readonly increment?: number
      readonly jitter: Jitter
      readonly maxElapsed: number | undefined
      readonly honourRetryAfter: boolean
    }
  | { readonly curve: "none" }
  | { readonly curve: "byCategory"; readonly table: Readonly<Record<string, Description>> }

/**
 * Randomizes delays, so that callers that failed together do not retry together.
 * `d` is the delay of the curve; all results are clamped to `[0, maxDelay]`:
 *
 * - `"none"`: `d`
 * - `"full"`: uniform in `[0, d]`
 * - `"equal"`: uniform in `[d / 2, d]`
 * - `"random"`: uniform in `[initialDelay, d]`
 * - `"decorrelated"`: uniform in `[initialDelay, 3 * previous delay]`
 * - a fraction `f` in `[0, 1]`: uniform in `[d - f * d, d + f * d]`
 *
 * The names and formulas are those of Marc Brooker, "Exponential Backoff And
 * Jitter", AWS Architecture Blog, 2015.
 *
 * @since 0.1.0
 * @category models
 */
export type Jitter = "none" | "full" | "equal" | "random" | "decorrelated" | number

/**
 * Options of all curves.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Retries after the first attempt: 0 for none, `Infinity` for no limit. Defaults to 3, which allows 4 attempts. */
  readonly maxRetries?: number | undefined
  /** The longest delay; 0 retries at once. Defaults to 60 seconds, or to the first delay if that is longer. */
  readonly maxDelay?: Duration.DurationInput | undefined
  /** A fraction is from 0 to 1. Defaults to `"none"`. */
  readonly jitter?: Jitter | undefined
  /** The longest time from the first failure to the start of a retry; 0 allows retries without delay. Defaults to no limit. */
  readonly maxElapsed?: Duration.DurationInput | undefined
  /**
   * Whether the wait that the failing side asks for (`Retry-After`) overrides the
   * delay of the curve, up to `maxDelay`. Defaults to true.
   */
  readonly honourRetryAfter?: boolean | undefined
}

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  InvalidOption
} from "./InvalidOption.js"

/**
 * Multiplies each delay by a factor: 1 s, 2 s, 4 s by default.
 *
 * @example
 * ```ts
 * import { RetryPolicy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.fail("offline").pipe(
 *   Effect.retry(RetryPolicy.exponential({ maxRetries: 5, initialDelay: "10 millis", jitter: "full" }))
 * )
 *
 * Effect.runPromiseExit(program)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const exponential = (
  options?: Options & {
    /** The delay before the first retry; 0 for none. Defaults to 1 second. */
    readonly initialDelay?: Duration.DurationInput | undefined
    /** At least 1. Defaults to 2. */
    readonly factor?: number | undefined
  }
): RetryPolicy => {
  const factor = number("factor", options?.factor ?? 2, 1)
  const base = schedule.base(options)
  return schedule.make({ ...base, curve: "exponential", factor })
}

/**
 * Adds a constant to each delay: 1 s, 2 s, 3 s by default.
 *
 * @since 0.1.0
 * @category constructors
 */
export const linear = (
  options?: Options & {
    /** The delay before the first retry; 0 for none. Defaults to 1 second. */
    readonly initialDelay?: Duration.DurationInput | undefined
    /** Added to the delay at each retry; 0 adds nothing. Defaults to 1 second. */
    readonly increment?: Duration.DurationInput | undefined
  }
): RetryPolicy => {
  const increment = millis("increment", options?.increment ?? 1_000)
  const base = schedule.base(options)
  return schedule.make({ ...base, curve: "linear", increment })
}

/**
 * Uses the same delay before each retry, 1 second by default.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fixed = (
  options?: Options & {
    /** The delay before each retry; 0 for none. Defaults to 1 second. */
    readonly delay?: Duration.DurationInput | undefined
  }
): RetryPolicy => {
  const base = schedule.base({ ...options, initialDelay: options?.delay }, "delay")
  return schedule.make({ ...base, curve: "fixed" })
}

/**
 * Delays are Fibonacci numbers: 1 s, 1 s, 2 s, 3 s, 5 s, 8 s by default.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fibonacci = (
  options?: Options & {
    /** The first delay and the unit; 0 for no delays. Defaults to 1 second. */
    readonly initialDelay?: Duration.DurationInput | undefined
  }
): RetryPolicy => {
  const base = schedule.base(options)
  return schedule.make({ ...base, curve: "fibonacci" })
}

/**
 * A policy with your own curve: a function from the number of the retry (0 for
 * the first) to the delay before it. A delay that is not a number counts as
 * `maxDelay`. A function that throws is logged and also counts as `maxDelay`.
 *
 * @example
 * ```ts
 * import { RetryPolicy } from "effect-recovery"
 *
 * const policy = RetryPolicy.custom((retry) => (retry < 2 ? "100 millis" : "5 seconds"), { maxRetries: 6 })
 * console.log(policy.description.curve) // custom
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const custom = (delay: (retry: number) => Duration.DurationInput, options?: Options): RetryPolicy => {
  const base = schedule.base({ ...options, initialDelay: 0 })
  return schedule.make({ ...base, curve: "custom" }, delay)
}

/**
 * Never retries.
 *
 * @since 0.1.0
 * @category constructors
 */
export const none: RetryPolicy = schedule.none

/**
 * Chooses a policy by the category of each failure. Missing categories keep
 * their default:
 *
 * | category | policy |
 * |---|---|
 * | network | exponential, 4 retries from 2 s, at most 30 s |
 * | timeout | exponential, 5 retries from 1 s, at most 60 s |
 * | rate-limit | fixed, 10 retries, 60 s or as `Retry-After` says |
 * | unavailable | exponential, 6 retries from 5 s, at most 300 s |
 * | resource | exponential (factor 3), 2 retries from 5 s, at most 30 s |
 * | conflict | exponential, 5 retries from 100 ms, at most 5 s, full jitter |
 * | dependency | exponential, 3 retries from 1 s, at most 30 s |
 * | unknown, and other transient categories | exponential, 3 retries from 1 s, at most 10 s |
 * | permission, validation, not-found, corruption, logic, cancelled | none |
 *
 * A fault that is not transient is retried only if the table names its
 * category. Each category counts its own retries; `maxElapsed` counts from the
 * first failure of any category.
 *
 * @example
 * ```ts
 * import { RetryPolicy } from "effect-recovery"
 *
 * const patient = RetryPolicy.byCategory({
 *   network: RetryPolicy.exponential({ maxRetries: 10 }),
 *   unknown: RetryPolicy.none
 * })
 * console.log(patient.description.curve) // byCategory
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const byCategory = (table?: { readonly [category in Fault.Category]?: RetryPolicy }): RetryPolicy =>
  schedule.byCategory(defaultTable, table ?? {})

const defaultTable: Readonly<Record<string, RetryPolicy>> = {
  network: exponential({ maxRetries: 4, initialDelay: "2 seconds", maxDelay: "30 seconds" }),
  timeout: exponential({ maxRetries: 5, initialDelay: "1 second", maxDelay: "60 seconds" }),
  "rate-limit": fixed({ maxRetries: 10, delay: "60 seconds", maxDelay: "300 seconds" }),
  unavailable: exponential({ maxRetries: 6, initialDelay: "5 seconds", maxDelay: "300 seconds" }),
  resource: exponential({ maxRetries: 2, initialDelay: "5 seconds", maxDelay: "30 seconds", factor: 3 }),
  conflict: exponential({ maxRetries: 5, initialDelay: "100 millis", maxDelay: "5 seconds", jitter: "full" }),
  dependency: exponential({ maxRetries: 3, initialDelay: "1 second", maxDelay: "30 seconds" }),
  unknown: exponential({ maxRetries: 3, initialDelay: "1 second", maxDelay: "10 seconds" }),
  permission: none,
  validation: none,
  "not-found": none,
  corruption: none,
  logic: none,
  cancelled: none
}

/**
 * `Effect.retry` that starts the schedule only after the first failure. Delays
 * and attempts equal those of `Effect.retry` with the same schedule. Defects and
 * interruption are not retried. Fails with the last error.
 *
 * @example
 * ```ts
 * import { RetryPolicy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const download = Effect.succeed("bytes")
 *
 * const program = download.pipe(RetryPolicy.retry(RetryPolicy.exponential()))
 * Effect.runPromise(program).then(console.log) // bytes
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const retry: {
  /**
   * Retries the effect by the schedule, which starts only after the first failure. Fails with the last
   * error. Defects and interruption are not retried.
   */
  <E, R1>(
    policy: Schedule.Schedule<unknown, NoInfer<E>, R1>,
    options?: RetryOptions
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | R1>
  /**
   * Retries the effect by the schedule, which starts only after the first failure. Fails with the last
   * error. Defects and interruption are not retried.
   */
  <A, E, R, R1>(
    self: Effect.Effect<A, E, R>,
    policy: Schedule.Schedule<unknown, NoInfer<E>, R1>,
    options?: RetryOptions
  ): Effect.Effect<A, E, R | R1>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, R1>(self: Effect.Effect<A, E, R>, policy: Schedule.Schedule<unknown, E, R1>, options?: RetryOptions) => {
    const budget = options?.budget
    const retried = catchFailure(self, retryAfterFailure(self, policy, budget))
    return budget === undefined ? retried : budget.tokens.credit(retried)
  }
)

/**
 * Continues as `Effect.retry` does, after the first failure. A policy is asked
 * by its rule, any other schedule as Effect asks it.
 *
 * @internal
 */
export const retryAfterFailure = <A, E, R, R1>(
  self: Effect.Effect<A, E, R>,
  policy: Schedule.Schedule<unknown, E, R1>,
  budget?: RetryBudget
): ((first: E, cause?: Cause.Cause<E>) => Effect.Effect<A, E, R | R1>) => {
  const rule = ruleOf(policy)
  return rule === undefined ? retryBySchedule(self, policy, budget) : retryByRule(self, rule, budget)
}

/** `driver.next` sleeps for the delay. */
const retryBySchedule =
  <A, E, R, R1>(self: Effect.Effect<A, E, R>, policy: Schedule.Schedule<unknown, E, R1>, budget?: RetryBudget) =>
  (first: E): Effect.Effect<A, E, R | R1> =>
    Effect.flatMap(Schedule.driver(policy), (driver) => {
      const known = Effect.provideServiceEffect(self, Schedule.CurrentIterationMetadata, driver.iterationMeta)
      const again = (error: E): Effect.Effect<A, E, R | R1> =>
        Effect.matchCauseEffect(driver.next(error), {
          onFailure: (cause) => endRetries(error, cause),
          // Debited when the retry starts: a retry that is interrupted during its delay costs no token.
          onSuccess: () => (budget?.tokens.debit() === false ? Effect.fail(error) : Effect.catchAll(known, again))
        })
      return again(first)
    })

/**
 * Options of {@link retry} and `Strategy.retry`.
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryOptions {
  /** Pays for retries. Without a token there is no retry, and the effect fails with its error. Defaults to none. */
  readonly budget?: RetryBudget | undefined
}

/**
 * The default policy of `Recovery.retry`, `Strategy.retry()` and
 * `Recovery.recoverable`. Defaults to {@link exponential}`()`: 3 retries after 1,
 * 2 and 4 seconds.
 *
 * @since 0.1.0
 * @category services
 */
export class Current extends Context.Reference<Current>()("effect-recovery/RetryPolicy/Current", {
  defaultValue: (): RetryPolicy => exponential()
}) {}

/**
 * Provides the default policy. Tests can provide
 * `RetryPolicy.layer(RetryPolicy.none)`.
 *
 * @example
 * ```ts
 * import { Recovery, RetryPolicy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const download = Effect.succeed("bytes")
 *
 * const program = download.pipe(
 *   Recovery.retry,
 *   Effect.provide(RetryPolicy.layer(RetryPolicy.exponential({ maxRetries: 8, jitter: "full" })))
 * )
 * Effect.runPromise(program).then(console.log) // bytes
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (policy: RetryPolicy): Layer.Layer<never> =>
  Layer.effect(Current, Effect.as(providing("RetryPolicy.layer", Current), policy))

/**
 * Provides the default policy from the configuration; see {@link config}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (prefix?: string): Layer.Layer<never, ConfigError> =>
  Layer.effect(Current, Effect.zipLeft(config(prefix), providing("RetryPolicy.layerConfig", Current)))

/**
 * Reads a policy from the configuration, under an optional prefix. A missing
 * setting keeps its default. An invalid one is a `ConfigError` with its name.
 *
 * | setting | meaning | default |
 * |---|---|---|
 * | `CURVE` | exponential, linear, fixed, fibonacci, byCategory or none | exponential |
 * | `MAX_RETRIES` | retries after the first attempt | 3 |
 * | `INITIAL_DELAY` | such as `500 millis`; for `fixed` the delay | 1 second |
 * | `MAX_DELAY` | | 60 seconds |
 * | `FACTOR` | of `exponential` | 2 |
 * | `INCREMENT` | of `linear` | 1 second |
 * | `JITTER` | none, full, equal, decorrelated, or a fraction | none |
 * | `MAX_ELAPSED` | | no limit |
 * | `HONOUR_RETRY_AFTER` | | true |
 *
 * @example
 * ```ts
 * import { RetryPolicy } from "effect-recovery"
 * import { ConfigProvider, Effect } from "effect"
 *
 * // Environment variables DOWNLOAD_RETRY_MAX_RETRIES, DOWNLOAD_RETRY_JITTER and so on
 * const policy = RetryPolicy.config("DOWNLOAD_RETRY")
 *
 * const provider = ConfigProvider.fromMap(
 *   new Map([["DOWNLOAD_RETRY_MAX_RETRIES", "7"]]),
 *   { pathDelim: "_" }
 * )
 * const { description } = Effect.runSync(Effect.withConfigProvider(policy, provider))
 * console.log(description) // curve exponential, maxRetries 7, initialDelay 1000 and so on
 * ```
 *
 * @since 0.1.0
 * @category config
 */
export const config = (prefix?: string): Config.Config<RetryPolicy> =>
  prefix === undefined ? fromConfig : Config.nested(fromConfig, prefix)

const fromConfig = fromSettings({
  exponential,
  linear,
  fixed: (options) => fixed({ ...options, delay: options.initialDelay }),
  fibonacci,
  byCategory: () => byCategory(),
  none: () => none
})

/**
 * Common policies by name.
 *
 * | preset | retries | delays |
 * |---|---|---|
 * | `default` | 3 | 1, 2, 4 s, at most 30 s, 10 % jitter |
 * | `aggressive` | 5 | 0.5, 1, 2, 4, 8 s, at most 60 s, 10 % jitter |
 * | `conservative` | 2 | 2, 3 s, at most 10 s, no jitter |
 *
 * @since 0.1.0
 * @category constructors
 */
export const presets: Readonly<Record<"default" | "aggressive" | "conservative" | "api", RetryPolicy>> = {
  default: exponential({ maxDelay: "30 seconds", jitter: 0.1 }),
  aggressive: exponential({ maxRetries: 5, initialDelay: "500 millis", jitter: 0.1 }),
  conservative: exponential({ maxRetries: 2, initialDelay: "2 seconds", factor: 1.5, maxDelay: "10 seconds" }),
  // Retries only network errors and timeouts: every other failure is an answer of the server.
  api: byCategory(
    Object.fromEntries(
      ["rate-limit", "unavailable", "resource", "dependency", "conflict", "cancelled", "unknown"].map((category) => [
        category,
        none
      ])
    )
  )
}

const notRetried = ["certificate", "disk", "authentication", "configuration", "schema", "format"]

/**
 * A policy for the categories of `DetailedRules` in `effect-recovery/rules`. It
 * retries DNS failures after 5 to 15 seconds, rate limits every minute, and quotas
 * after 1 minute to 1 hour. It does not retry failures that need a person.
 *
 * @since 0.1.0
 * @category presets
 */
export const detailed: RetryPolicy = byCategory({
  ...Object.fromEntries(notRetried.map((category) => [category, none])),
  dns: linear({ maxRetries: 3, initialDelay: "5 seconds", increment: "5 seconds", maxDelay: "15 seconds" }),
  memory: exponential({ maxRetries: 2, initialDelay: "5 seconds", factor: 3, maxDelay: "30 seconds" }),
  cpu: exponential({ maxRetries: 3, initialDelay: "5 seconds", maxDelay: "30 seconds" }),
  quota: exponential({ maxRetries: 10, initialDelay: "1 minute", maxDelay: "1 hour" }),
  maintenance: exponential({ maxRetries: 6, initialDelay: "5 seconds", maxDelay: "5 minutes" }),
  timeout: exponential({ maxRetries: 5, initialDelay: "1 second", maxDelay: "1 minute" }),
  network: exponential({ maxRetries: 4, initialDelay: "2 seconds", maxDelay: "30 seconds" }),
  unavailable: exponential({ maxRetries: 6, initialDelay: "5 seconds", maxDelay: "5 minutes" }),
  "rate-limit": fixed({ maxRetries: 20, delay: "1 minute" })
})

/**
 * The first `count` delays of a policy for unclassified failures. Jitter uses
 * `Random`.
 *
 * @since 0.1.0
 * @category inspection
 */
export const preview = (policy: RetryPolicy, count: number): Effect.Effect<ReadonlyArray<Duration.Duration>> =>
  schedule.preview(policy, count)
