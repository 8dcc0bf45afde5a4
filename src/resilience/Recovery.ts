/**
 * `Recovery.recover` handles failures with strategies, as `Effect.catchTags` does
 * with functions. A fully handled tag leaves the error type; a tag that may still
 * surface stays in it.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Stream from "effect/Stream"
import type { NoInfer } from "effect/Types"
import * as Events from "./Events.js"
import type * as Fault from "./Fault.js"
import { checkName } from "./InvalidName.js"
import { attemptTimeout as attemptTimeout_ } from "./internal/kernel/attemptTimeout.js"
import { checkLimits, checkTimeout } from "./internal/kernel/options.js"
import { planByCategory, planByTag, planForAll } from "./internal/kernel/plan.js"
import { creditBudgets, recover as recover_ } from "./internal/kernel/recovery.js"
import type { Hooks, Limits } from "./internal/kernel/session.js"
import { traced } from "./internal/kernel/tracing.js"
import { catchFailure } from "./internal/retry/retries.js"
import { retryTransient } from "./internal/retry/retryTransient.js"
import type { AttemptTimeout } from "./RecoveryError.js"
import * as RecoveryPolicy from "./RecoveryPolicy.js"
import * as RetryPolicy from "./RetryPolicy.js"
import * as Strategy from "./Strategy.js"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Hooks,
  /**
   * @since 0.1.0
   * @category models
   */
  Report
} from "./internal/kernel/session.js"
/** @since 0.1.0 */
export * from "./Recoverable.js"
export {
  /**
   * @since 0.1.0
   * @category errors
   */
  AttemptTimeout,
  /**
   * @since 0.1.0
   * @category models
   */
  type DecisionTaken,
  /**
   * @since 0.1.0
   * @category errors
   */
  RecoveryExhausted
} from "./RecoveryError.js"
export type {
  /**
   * @since 0.1.0
   * @category models
   */
  Alternate,
  /**
   * @since 0.1.0
   * @category models
   */
  Alternates
} from "./RecoveryPolicy.js"

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
  readonly [Tag in Exclude<keyof Handlers, Extract<E, { readonly _tag: string }>["_tag"]>]: [Tags<E>] extends [never]
    ? "The errors have no _tag: recover them by category, or with a retry"
    : `No error has this tag; there are: ${Tags<E>}`
}

/**
 * The same union, which editors show as its members and not as the type function that made it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Shown<T> {
  readonly union: T extends infer Each ? Each : never
}

/**
 * The names of the errors in `E` for a message of the compiler: their tags.
 *
 * @since 0.1.0
 * @category models
 */
export type NameOf<E> = E extends { readonly _tag: infer Tag extends string }
  ? Tag
  : E extends string
    ? "a string"
    : "an error without a _tag"

/**
 * The same for a type constraint. With `unknown` in place of `{}`, TypeScript does
 * not resolve it inside a function that is generic in its errors.
 */
type OnlyTags<E, Handlers> = unknown extends E ? {} : NotTags<E, Handlers>

/**
 * The values with which the strategies may replace the result.
 *
 * @since 0.1.0
 * @category models
 */
export type Values<Handlers> = { [Tag in keyof Handlers]-?: Strategy.ValueOf<Handlers[Tag]> }[keyof Handlers]

/**
 * The services that the strategies need.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements<Handlers> = {
  [Tag in keyof Handlers]-?: Strategy.RequirementsOf<Handlers[Tag]>
}[keyof Handlers]

/**
 * The errors that remain after {@link recover}.
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
 * Options of {@link recover} and {@link recoverCategory}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends AutoOptions {
  /** The name in events and metrics. */
  readonly name?: string | undefined
}

/**
 * Handles failures by tag. Each failure selects a strategy by its own tag, so the
 * second failure may have another tag than the first. Defects and interruption
 * are not handled.
 *
 * Every recovery is bounded. `maxDecisions` defaults to 1,000. `maxElapsed`, from
 * the first failure, defaults to no limit. Beyond a limit, the recovery fails
 * with `RecoveryExhausted`.
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
  // NoInfer: the errors are inferred from the effect, not from an annotation of the result.
  // The results spell out `Residual`, because editors then show the remaining errors.
  /**
   * Handles failures by tag: each selects the strategy of its own tag. A tag that is handled leaves the
   * error type. Defects and interruption are not handled, and every recovery is bounded.
   */
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
  /**
   * Handles failures by tag: each selects the strategy of its own tag. A tag that is handled leaves the
   * error type. Defects and interruption are not handled, and every recovery is bounded.
   */
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
    // The overloads state the effect of the plan on A, E and R; the kernel works on unknown.
    recover_(self, planByTag(handlers), optionsOf(options)) as never
)

const optionsOf = (options: Options | undefined) => ({
  limits: checkLimits(options),
  name: options?.name === undefined ? undefined : checkName("recovery", options.name),
  hooks: options?.hooks,
  source: { recovery: options?.name }
})

/**
 * Strategies by category; `otherwise` is for all other categories.
 *
 * @since 0.1.0
 * @category models
 */
export type CategoryCases<E> = { readonly [category in Fault.Category | "otherwise"]?: Strategy.For<E> }

/**
 * The errors that remain after {@link recoverCategory}. The category is known only
 * at run time, so all of `E` stays unless there is an `otherwise`.
 *
 * @since 0.1.0
 * @category models
 */
export type CategoryResidual<E, Handlers> =
  | (Handlers extends { readonly otherwise: Strategy.For<never> } ? never : E)
  | { [Key in keyof Handlers]-?: Strategy.Resolve<Strategy.FailureOf<Handlers[Key]>, E> }[keyof Handlers]

/**
 * Handles failures by the category of their fault, so errors need no tag. Bounds,
 * defects and interruption are as in {@link recover}.
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
  /**
   * Handles failures by the category of their fault, so errors need no tag. Defects and interruption are
   * not handled, and every recovery is bounded.
   */
  <E, const Handlers extends CategoryCases<E>>(
    handlers: Handlers,
    options?: Options
  ): <A, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A | Values<Handlers>, CategoryResidual<NoInfer<E>, Handlers>, R | Requirements<Handlers>>
  /**
   * Handles failures by the category of their fault, so errors need no tag. Defects and interruption are
   * not handled, and every recovery is bounded.
   */
  <A, E, R, const Handlers extends CategoryCases<E>>(
    self: Effect.Effect<A, E, R>,
    handlers: Handlers,
    options?: Options
  ): Effect.Effect<A | Values<Handlers>, CategoryResidual<NoInfer<E>, Handlers>, R | Requirements<Handlers>>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, handlers: CategoryCases<E>, options?: Options) =>
    // As in `recover`.
    recover_(self, planByCategory(handlers), optionsOf(options)) as never
)

/**
 * Handles failures by the `RecoveryPolicy` in force: by this name, else by the
 * category of the failure, else by its default.
 *
 * @since 0.1.0
 * @category combinators
 */
export const auto = (
  name: string,
  options?: AutoOptions
): (<A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Strategy.ExhaustedOf<E>, R>) => {
  const strategy = byPolicy(name, retryOrAbort)
  const settings = optionsOf({ ...options, name })
  return (self) => run(name, self, strategy, settings)
}

/**
 * Options of {@link auto} and {@link named}.
 *
 * @since 0.1.0
 * @category models
 */
export interface AutoOptions extends Limits {
  readonly hooks?: Hooks | undefined
}

/**
 * Names a function that returns an effect. Its failures are handled as by
 * {@link auto}, and `RecoveryPolicy.layerAlternates` can register alternatives.
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
export const named = <Args extends ReadonlyArray<unknown>, A, E, R>(
  name: string,
  effect: (...args: Args) => Effect.Effect<A, E, R>,
  options?: AutoOptions
): Named<Args, A, E, R> => {
  // Unique per call: two effects with one name have different types, so they cannot share alternates.
  const alternates = Context.GenericTag<RecoveryPolicy.Alternates, ReadonlyArray<RecoveryPolicy.Alternate<Args, A, E>>>(
    `effect-recovery/Recovery/Alternates/${name}/${count++}`
  )
  const settings = optionsOf({ ...options, name })
  const call = (...args: Args) =>
    run(
      name,
      Effect.suspend(() => effect(...args)),
      withAlternates(name, alternates, args),
      settings
    )
  return Object.defineProperty(Object.assign(call, { alternates }), "name", { value: name })
}

let count = 0

const byDefault = RetryPolicy.byCategory()
const retryOrAbort = retryTransient({ policy: byDefault, refused: "abort" })
const retryThenAlternates = retryTransient({ policy: byDefault, refused: "exhausted" })

/** Asks the policy at each failure. Each entry of the policy keeps its own driver. */
const byPolicy = (name: string, otherwise: RecoveryPolicy.AnyStrategy): RecoveryPolicy.AnyStrategy =>
  Strategy.fromOpen(`auto(${name})`, () => {
    const drivers = new Map<string, ReturnType<RecoveryPolicy.AnyStrategy["open"]>>()
    return (failure) =>
      Effect.flatMap(RecoveryPolicy.Current, (policy) => {
        const [key, strategy] = RecoveryPolicy.entryOf(policy, name, failure.fault.category) ?? ["otherwise", otherwise]
        const driver = drivers.get(key) ?? strategy.open()
        drivers.set(key, driver)
        return Effect.map(driver(failure), (decision) => Strategy.decidedBy(decision, (by = strategy.name) => by))
      })
  })

const run = <A, E, R>(
  name: string,
  self: Effect.Effect<A, E, R>,
  strategy: Strategy.For<never>,
  settings: ReturnType<typeof optionsOf>
): Effect.Effect<A, E | Strategy.ExhaustedOf<E>, R> => {
  const recovered = recover_(self, planForAll(strategy), settings)
  const credited = Effect.flatMap(RecoveryPolicy.Current, (policy) =>
    creditBudgets(RecoveryPolicy.budgetsOf(policy, name), recovered)
  )
  // AnyStrategy and the alternates give only values of A, and fail with E or exhausted.
  return traced(`Recovery.${name}`, () => ({}), credited) as Effect.Effect<A, E | Strategy.ExhaustedOf<E>, R>
}

/** Reads the alternates from the context at the first failure. */
const withAlternates = <Args extends ReadonlyArray<unknown>, A, E>(
  name: string,
  tag: Context.Tag<RecoveryPolicy.Alternates, ReadonlyArray<RecoveryPolicy.Alternate<Args, A, E>>>,
  args: Args
): Strategy.Strategy<E, A, E | Strategy.Original | Strategy.Exhausted> =>
  Strategy.fromOpen(`auto(${name})`, () =>
    Strategy.openLate(
      Effect.contextWith((context: Context.Context<never>) => {
        const found = Context.getOption(context, tag)
        const alternates = found._tag === "Some" ? found.value : []
        if (alternates.length === 0) return byPolicy(name, retryOrAbort).open()
        const others = alternates.map((alternate) => Strategy.alternate((_: E) => alternate(...args)))
        // By their type, the alternates give values of A and fail with E.
        return Strategy.sequence(byPolicy(name, retryThenAlternates), ...others).open() as Driver<A, E>
      })
    )
  )

type Driver<A, E> = Strategy.Driver<E, A, E | Strategy.Original | Strategy.Exhausted, never>

/**
 * A named function that returns an effect. The `RecoveryPolicy` in force handles
 * its failures, and layers can register alternatives.
 *
 * @since 0.1.0
 * @category models
 */
export interface Named<Args extends ReadonlyArray<unknown>, A, E, R> {
  (...args: Args): Effect.Effect<A, E | Strategy.ExhaustedOf<E>, R>
  readonly name: string
  /** The service with its alternates. */
  readonly alternates: Context.Tag<RecoveryPolicy.Alternates, ReadonlyArray<RecoveryPolicy.Alternate<Args, A, E>>>
}

/**
 * The events of recoveries and runs from now on; see `Events.stream`.
 *
 * @since 0.1.0
 * @category observing
 */
export const events: Stream.Stream<Events.Event> = Events.stream

/**
 * Retries by `RetryPolicy.Current`: 3 retries after 1, 2 and 4 seconds, unless a
 * layer provides another policy. Fails with the last error.
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
  catchFailure(self, (error, cause) =>
    Effect.flatMap(RetryPolicy.Current, (policy) =>
      RetryPolicy.retryAfterFailure<A, E, R, never>(self, policy)(error, cause)
    )
  )

/**
 * Interrupts the effect after the timeout and fails with `AttemptTimeout`. Put it
 * inside the retry, so that each attempt has its own timeout.
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
  /**
   * Interrupts the effect after the timeout and fails with `AttemptTimeout`. Put it inside the retry, so
   * that each attempt has its own timeout.
   */
  (timeout: Duration.DurationInput): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | AttemptTimeout, R>
  /**
   * Interrupts the effect after the timeout and fails with `AttemptTimeout`. Put it inside the retry, so
   * that each attempt has its own timeout.
   */
  <A, E, R>(self: Effect.Effect<A, E, R>, timeout: Duration.DurationInput): Effect.Effect<A, E | AttemptTimeout, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, timeout: Duration.DurationInput) => {
  // An invalid timeout is a bug, so it throws while the program is built.
  return attemptTimeout_(self, checkTimeout(timeout))
})
