/**
 * `Recovery.recover` is `Effect.catchTags` whose handlers answer with
 * decisions: a tag that is fully handled leaves the error type, a tag that
 * may still surface stays in it.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { attemptTimeout as attemptTimeout_ } from "./internal/attemptTimeout.js"
import { AttemptTimeout, type DecisionTaken, RecoveryExhausted } from "./internal/errors.js"
import { type Limits, type Plan, perform } from "./internal/perform.js"
import { millis } from "./internal/policy.js"
import { tagOf } from "./internal/subject.js"
import type * as Strategy from "./Strategy.js"

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
export type NoOthers<E, Handlers> = unknown extends E
  ? unknown
  : {
      readonly [Tag in Exclude<
        keyof Handlers,
        Extract<E, { readonly _tag: string }>["_tag"]
      >]: "this is not a tag of the errors"
    }

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
        | Resolve<Strategy.FailureOf<Handlers[Tag]>, WithTag<E, Tag>>
    }[keyof Handlers]

type Resolve<Failure, E> = Failure extends Strategy.Original
  ? E
  : Failure extends Strategy.Exhausted
    ? RecoveryExhausted<E>
    : Failure

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends Limits {
  /** How the recovery is called in events. */
  readonly name?: string | undefined
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
  <E, const Handlers extends Cases<E> & NoOthers<E, Handlers>>(
    handlers: Handlers,
    options?: Options
  ): <A, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A | Values<Handlers>, Residual<E, Handlers>, R | Requirements<Handlers>>
  <A, E, R, const Handlers extends Cases<E> & NoOthers<E, Handlers>>(
    self: Effect.Effect<A, E, R>,
    handlers: Handlers,
    options?: Options
  ): Effect.Effect<A | Values<Handlers>, Residual<E, Handlers>, R | Requirements<Handlers>>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, handlers: Cases<E>, options?: Options) =>
    // The overloads state what the plan makes of A, E and R; `perform` itself works on unknown.
    perform(self, planByTag(handlers), { limits: options, source: { recovery: options?.name } }) as never
)

/**
 * The plan behind {@link recover}.
 *
 * @internal
 */
export const planByTag = (handlers: object): Plan => {
  // `Cases` holds nothing but strategies; the tag decides which of them takes the error.
  const own = new Map(Object.entries(handlers) as ReadonlyArray<readonly [string, Strategy.For<never>]>)
  return (error) => {
    const tag = tagOf(error)
    const strategy = tag === undefined ? undefined : own.get(tag)
    // A handler that is left out at run time leaves its tag alone.
    return tag === undefined || strategy === undefined ? undefined : [tag, strategy]
  }
}

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
  return attemptTimeout_(self, Duration.millis(millis("timeout", timeout)))
})
