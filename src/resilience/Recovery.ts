/**
 * `Recovery.recover` is `Effect.catchTags` whose handlers answer with
 * decisions: a tag that is fully handled leaves the error type, a tag that
 * may still surface stays in it.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Stream from "effect/Stream"
import type { NoInfer } from "effect/Types"
import * as CircuitBreaker from "./CircuitBreaker.js"
import * as Events from "./Events.js"
import type * as Fault from "./Fault.js"
import type { Named } from "./internal/engine/named.js"
import * as named_ from "./internal/engine/named.js"
import type { NoOtherOptions, Recoverable, RecoverableOptions } from "./internal/engine/recoverable.js"
import * as recoverable_ from "./internal/engine/recoverable.js"
import { attemptTimeout as attemptTimeout_ } from "./internal/kernel/attemptTimeout.js"
import { checkLimits, checkTimeout } from "./internal/kernel/options.js"
import { type Hooks, type Limits, planByCategory, planByTag, recover as recover_ } from "./internal/kernel/recovery.js"
import { lazyRetry } from "./internal/retry/lazyRetry.js"
import { AttemptTimeout, type DecisionTaken, RecoveryExhausted } from "./RecoveryError.js"
import * as RetryPolicy from "./RetryPolicy.js"
import type * as Strategy from "./Strategy.js"

export type {
  /**
   * Another way to the result of a named effect: a function of the same form.
   *
   * @since 0.1.0
   * @category models
   */
  Alternate,
  /**
   * The alternates of one named effect, in an environment.
   *
   * @since 0.1.0
   * @category models
   */
  Alternates,
  /**
   * An effect with a name: how its failures are answered is up to the
   * `RecoveryPolicy` it runs with, and layers may register other ways to its
   * result.
   *
   * @since 0.1.0
   * @category models
   */
  Named
} from "./internal/engine/named.js"
export type {
  /**
   * Which operation a recorded call belongs to.
   *
   * @since 0.1.0
   * @category models
   */
  Operation,
  /**
   * Keeps what calls come to: `Operation.persist` makes one.
   *
   * @since 0.1.0
   * @category models
   */
  Persist,
  /**
   * One call of a recoverable, to be recorded.
   *
   * @since 0.1.0
   * @category models
   */
  Recorded
} from "./internal/engine/persist.js"
export type {
  /**
   * Which operation a call belongs to; nothing unless it is recorded.
   *
   * @since 0.1.0
   * @category models
   */
  At,
  /**
   * What one attempt of a recoverable may fail with.
   *
   * @since 0.1.0
   * @category models
   */
  AttemptError,
  /**
   * Refuses options there are not.
   *
   * @since 0.1.0
   * @category models
   */
  NoOtherOptions,
  /**
   * Makes work survive.
   *
   * @since 0.1.0
   * @category models
   */
  Recoverable,
  /**
   * What is left to surface from a recoverable.
   *
   * @since 0.1.0
   * @category models
   */
  RecoverableError,
  /**
   * What one call needs to survive.
   *
   * @since 0.1.0
   * @category models
   */
  RecoverableOptions,
  /**
   * What a recoverable's strategy needs.
   *
   * @since 0.1.0
   * @category models
   */
  RecoverableRequirements,
  /**
   * What a recoverable's strategy may give in place of a result.
   *
   * @since 0.1.0
   * @category models
   */
  RecoverableValue
} from "./internal/engine/recoverable.js"
export type {
  /**
   * What to run beside a recovery, in its fiber. A hook never changes the
   * outcome: what it fails or dies with is logged. The recovery waits for it,
   * so give one that may hang a timeout.
   *
   * @since 0.1.0
   * @category models
   */
  Hooks,
  /**
   * How a recovery ended.
   *
   * @since 0.1.0
   * @category models
   */
  Report
} from "./internal/kernel/recovery.js"
export {
  /**
   * One attempt took longer than it was given, and was stopped.
   *
   * @since 0.1.0
   * @category errors
   */
  AttemptTimeout,
  /**
   * One decision of a recovery.
   *
   * @since 0.1.0
   * @category models
   */
  type DecisionTaken,
  /**
   * A strategy had nothing left to try. Keeps the last error whole.
   *
   * @since 0.1.0
   * @category errors
   */
  RecoveryExhausted
}

/**
 * The tags of an error type.
 *
 * @since 0.1.0
 * @category models
 */
export type Tags<E> = E extends { readonly _tag: infer Tag extends string } ? Tag : never

/**
 * A strategy for some of the tags of `E`.
 *
 * @since 0.1.0
 * @category models
 */
export type Cases<E> = { readonly [Tag in Tags<E>]?: Strategy.For<Extract<E, { readonly _tag: Tag }>> }

/**
 * The errors in `E` that may have a tag.
 *
 * @since 0.1.0
 * @category models
 */
export type WithTag<E, Tag> = E extends { readonly _tag: infer T } ? (Tag extends T ? E : never) : never

/**
 * Refuses keys that are not tags of `E`.
 *
 * @since 0.1.0
 * @category models
 */
export type NoOthers<E, Handlers> = unknown extends E ? unknown : NotTags<E, Handlers>

type NotTags<E, Handlers> = {
  readonly [Tag in Exclude<
    keyof Handlers,
    Extract<E, { readonly _tag: string }>["_tag"]
  >]: `no error has this tag; there are: ${Tags<E>}`
}

/**
 * The same for a constraint: there, `unknown` would not be resolved while `E`
 * is not known, as inside a function that is generic in its errors.
 */
type OnlyTags<E, Handlers> = unknown extends E ? {} : NotTags<E, Handlers>

/**
 * The values strategies may put in place of a result.
 *
 * @since 0.1.0
 * @category models
 */
export type Values<Handlers> = { [Tag in keyof Handlers]-?: Strategy.ValueOf<Handlers[Tag]> }[keyof Handlers]

/**
 * What strategies need.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements<Handlers> = {
  [Tag in keyof Handlers]-?: Strategy.RequirementsOf<Handlers[Tag]>
}[keyof Handlers]

/**
 * The errors that are left after the handlers had their say.
 *
 * @since 0.1.0
 * @category models
 */
export type Residual<E, Handlers> =
  | Exclude<E, { readonly _tag: keyof Handlers }>
  | {
      [Tag in keyof Handlers]-?:
        | (undefined extends Handlers[Tag] ? WithTag<E, Tag> : never)
        | Strategy.Resolve<Strategy.FailureOf<Handlers[Tag]>, WithTag<E, Tag>>
    }[keyof Handlers]

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends Limits {
  /** How the recovery is called in events and metrics. */
  readonly name?: string | undefined
  readonly hooks?: Hooks | undefined
}

/**
 * Answers failures by tag. The strategy is asked anew for every failure, so
 * the second failure may have another tag than the first; defects and
 * interruption pass through.
 *
 * Every recovery is bounded: `maxDecisions` defaults to 1,000, `maxElapsed`
 * (from the first failure) to no limit; beyond them it is exhausted.
 *
 * @example
 * ```ts
 * import { Recovery, RetryPolicy, Strategy } from "effect-recovery"
 * import { Data, Effect } from "effect"
 *
 * class Offline extends Data.TaggedError("Offline")<{}> {}
 * class NotFound extends Data.TaggedError("NotFound")<{ path: string }> {}
 *
 * const download = (path: string): Effect.Effect<string, Offline | NotFound> =>
 *   path === "a.txt" ? Effect.succeed("text") : Effect.fail(new NotFound({ path }))
 *
 * // Effect<string, RecoveryExhausted<Offline>>
 * const program = download("b.txt").pipe(
 *   Recovery.recover({
 *     Offline: Strategy.retry(RetryPolicy.exponential({ jitter: "full" })),
 *     NotFound: Strategy.skip("")
 *   })
 * )
 * Effect.runPromise(program).then((text) => console.log(text.length)) // 0
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const recover: {
  // The errors are inferred from the effect alone: an annotation of the result says nothing of what was handled.
  // Both results are written out, where `Residual` would say the same, because editors then show what is left.
  <E, const Handlers extends Cases<E> & OnlyTags<E, Handlers>>(
    handlers: Handlers,
    options?: Options
  ): <A, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<
    A | { [Tag in keyof Handlers]-?: Strategy.ValueOf<Handlers[Tag]> }[keyof Handlers],
    | Exclude<NoInfer<E>, { readonly _tag: keyof Handlers }>
    | {
        [Tag in keyof Handlers]-?:
          | (undefined extends Handlers[Tag] ? WithTag<NoInfer<E>, Tag> : never)
          | Strategy.Resolve<Strategy.FailureOf<Handlers[Tag]>, WithTag<NoInfer<E>, Tag>>
      }[keyof Handlers],
    R | { [Tag in keyof Handlers]-?: Strategy.RequirementsOf<Handlers[Tag]> }[keyof Handlers]
  >
  <A, E, R, const Handlers extends Cases<E> & OnlyTags<E, Handlers>>(
    self: Effect.Effect<A, E, R>,
    handlers: Handlers,
    options?: Options
  ): Effect.Effect<
    A | { [Tag in keyof Handlers]-?: Strategy.ValueOf<Handlers[Tag]> }[keyof Handlers],
    | Exclude<NoInfer<E>, { readonly _tag: keyof Handlers }>
    | {
        [Tag in keyof Handlers]-?:
          | (undefined extends Handlers[Tag] ? WithTag<NoInfer<E>, Tag> : never)
          | Strategy.Resolve<Strategy.FailureOf<Handlers[Tag]>, WithTag<NoInfer<E>, Tag>>
      }[keyof Handlers],
    R | { [Tag in keyof Handlers]-?: Strategy.RequirementsOf<Handlers[Tag]> }[keyof Handlers]
  >
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, handlers: Cases<E>, options?: Options) =>
    // The overloads state what the plan makes of A, E and R; `perform` itself works on unknown.
    recover_(self, planByTag(handlers), optionsOf(options)) as never
)

const optionsOf = (options: Options | undefined) => ({
  limits: checkLimits(options),
  name: options?.name,
  hooks: options?.hooks,
  source: { recovery: options?.name }
})

/**
 * Strategies for categories of faults; `otherwise` takes the rest.
 *
 * @since 0.1.0
 * @category models
 */
export type CategoryCases<E> = { readonly [category in Fault.Category | "otherwise"]?: Strategy.For<E> }

/**
 * The errors that are left after the handlers of categories had their say.
 * Which category an error has is known only when it is there, so it stays,
 * unless there is an `otherwise`.
 *
 * @since 0.1.0
 * @category models
 */
export type CategoryResidual<E, Handlers> =
  | (Handlers extends { readonly otherwise: Strategy.For<never> } ? never : E)
  | { [Key in keyof Handlers]-?: Strategy.Resolve<Strategy.FailureOf<Handlers[Key]>, E> }[keyof Handlers]

/**
 * Answers failures by the category of their fault; errors need no tag. What
 * {@link recover} says of bounds, defects and interruption holds here too.
 *
 * @example
 * ```ts
 * import { Recovery, RetryPolicy, Strategy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const search: Effect.Effect<ReadonlyArray<string>, { readonly status: number }> = Effect.fail({ status: 404 })
 *
 * // Effect<ReadonlyArray<string>, { status: number } | RecoveryExhausted<{ status: number }>>
 * const program = search.pipe(
 *   Recovery.recoverCategory({
 *     unavailable: Strategy.retry(RetryPolicy.exponential()),
 *     "not-found": Strategy.skip([])
 *   })
 * )
 * Effect.runPromise(program).then(console.log) // []
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const recoverCategory: {
  <E, const Handlers extends CategoryCases<E>>(
    handlers: Handlers,
    options?: Options
  ): <A, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A | Values<Handlers>, CategoryResidual<NoInfer<E>, Handlers>, R | Requirements<Handlers>>
  <A, E, R, const Handlers extends CategoryCases<E>>(
    self: Effect.Effect<A, E, R>,
    handlers: Handlers,
    options?: Options
  ): Effect.Effect<A | Values<Handlers>, CategoryResidual<NoInfer<E>, Handlers>, R | Requirements<Handlers>>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, handlers: CategoryCases<E>, options?: Options) =>
    // As for `recover`.
    recover_(self, planByCategory(handlers), optionsOf(options)) as never
)

/**
 * One call for the common case: retries of what may go away by itself, a
 * timeout for each attempt, a breaker of its own that is asked before each
 * attempt, and what to do when all of that was not enough.
 *
 * | option | default |
 * |---|---|
 * | `retry` | 3 retries after 1, 2 and 4 seconds, at most 60 |
 * | `timeout` | none |
 * | `breaker` | 5 failures in a row open it for 300 seconds |
 * | `bulkhead`, `budget`, `strategy`, `rules`, `hooks` | none |
 * | `persist` | none: nothing is recorded |
 *
 * @example
 * ```ts
 * import { Recovery, Strategy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const resilient = yield* Recovery.recoverable({
 *     name: "rates",
 *     timeout: "2 seconds",
 *     strategy: Strategy.skip(1)
 *   })
 *   // Effect<number>: whatever happens, there is a rate.
 *   return yield* resilient.try(async (_signal) => 1.08)
 * })
 * Effect.runPromise(program).then(console.log) // 1.08
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const recoverable = <const O extends RecoverableOptions>(
  options: O & NoOtherOptions<O>
): Effect.Effect<Recoverable<O>> =>
  // What is refused is not there.
  recoverable_.make<O>(options)

const patient = RetryPolicy.exponential({ maxRetries: 5, initialDelay: "2 seconds", maxDelay: "5 minutes" })

const opensAfter = (failures: number, resetAfter: Duration.DurationInput) => ({
  trip: CircuitBreaker.consecutive({ failures }),
  resetAfter
})

/**
 * Options for work that is long, to spread into those of {@link recoverable}.
 *
 * | preset | each attempt | retries | breaker |
 * |---|---|---|---|
 * | `integration` | no limit | 5, after 2, 4, 8, 16 and 32 s | 5 failures, 10 minutes |
 * | `import` | 30 minutes | as in force | 3 failures, 10 minutes |
 * | `install` | 1 hour | 5, after 2, 4, 8, 16 and 32 s | 5 failures, 15 minutes |
 * | `long` | 2 hours | as in force | 3 failures, 20 minutes |
 *
 * @example
 * ```ts
 * import { Recovery } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const install = yield* Recovery.recoverable({ name: "install", ...Recovery.presets.install })
 *   return yield* install(Effect.succeed("installed"))
 * })
 * Effect.runPromise(program).then(console.log) // installed
 * ```
 *
 * @since 0.1.0
 * @category presets
 */
export const presets = {
  integration: { retry: patient, breaker: opensAfter(5, "10 minutes") },
  import: { timeout: "30 minutes", breaker: opensAfter(3, "10 minutes") },
  install: { timeout: "1 hour", retry: patient, breaker: opensAfter(5, "15 minutes") },
  long: { timeout: "2 hours", breaker: opensAfter(3, "20 minutes") }
} as const satisfies Readonly<Record<string, Omit<RecoverableOptions, "name">>>

/**
 * Answers failures as the `RecoveryPolicy` in force says for this name, for
 * the category of the failure, or for the rest.
 *
 * @since 0.1.0
 * @category combinators
 */
export const auto: (
  name: string,
  options?: AutoOptions
) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Strategy.ExhaustedOf<E>, R> = named_.auto

/**
 * @since 0.1.0
 * @category models
 */
export interface AutoOptions extends Limits {
  readonly hooks?: Hooks | undefined
}

/**
 * Gives a function of effects a name. Its failures are answered as by
 * {@link auto}, and `RecoveryPolicy.layerAlternates` may register other ways
 * to its result.
 *
 * @example
 * ```ts
 * import { Recovery } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const summarize = Recovery.named("summarize", (text: string) => Effect.succeed(text.slice(0, 5)))
 *
 * Effect.runPromise(summarize("a long story")).then(console.log) // a lon
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const named: <Args extends ReadonlyArray<unknown>, A, E, R>(
  name: string,
  effect: (...args: Args) => Effect.Effect<A, E, R>,
  options?: AutoOptions
) => Named<Args, A, E, R> = named_.named

/**
 * What happens in recoveries and runs, from now on; see `Events.stream`.
 *
 * @since 0.1.0
 * @category observing
 */
export const events: Stream.Stream<Events.Event> = Events.stream

/**
 * Runs the effect again as `RetryPolicy.Current` says: 3 retries after 1, 2
 * and 4 seconds, unless a layer says otherwise. The error that surfaces is the
 * last one.
 *
 * @example
 * ```ts
 * import { Recovery, RetryPolicy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * let attempts = 0
 * const flaky = Effect.suspend(() => (++attempts < 3 ? Effect.fail("not yet") : Effect.succeed(attempts)))
 *
 * const program = flaky.pipe(
 *   Recovery.retry,
 *   Effect.provide(RetryPolicy.layer(RetryPolicy.fixed({ delay: "1 millis" })))
 * )
 * Effect.runPromise(program).then(console.log) // 3
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const retry = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.catchAll(self, (error) =>
    Effect.flatMap(RetryPolicy.Current, (policy) => lazyRetry<A, E, R, never>(self, policy)(error))
  )

/**
 * Gives each attempt its time. Put it inside the retry, so that every attempt
 * has its own; the work is interrupted, not merely abandoned.
 *
 * @example
 * ```ts
 * import { Recovery, Strategy } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.never.pipe(
 *   Recovery.attemptTimeout("10 millis"),
 *   Recovery.recover({ AttemptTimeout: Strategy.skip("too slow") })
 * )
 * Effect.runPromise(program).then(console.log) // too slow
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const attemptTimeout: {
  (timeout: Duration.DurationInput): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | AttemptTimeout, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, timeout: Duration.DurationInput): Effect.Effect<A, E | AttemptTimeout, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, timeout: Duration.DurationInput) => {
  // A timeout that makes no sense is a bug of the program, and throws while the program is put together.
  return attemptTimeout_(self, checkTimeout(timeout))
})
