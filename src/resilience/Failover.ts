/**
 * A failover has several ways to one result, such as providers, regions or
 * mirrors, and takes the next when one fails. Ways that keep failing are
 * tried last until they have proved themselves again.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as CircuitBreaker from "./CircuitBreaker.js"
import type * as Fault from "./Fault.js"
import * as failover_ from "./internal/engine/failover.js"
import type { Hooks } from "./internal/kernel/recovery.js"
import { FailoverExhausted } from "./RecoveryError.js"

export {
  /**
   * Every way that was tried has failed. Keeps each failure whole.
   *
   * @since 0.1.0
   * @category errors
   */
  FailoverExhausted
}

/**
 * Calls the first way, and the next when it fails.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failover<in Args extends ReadonlyArray<unknown>, out A, out E, out R, Way extends string = string> {
  (...args: Args): Effect.Effect<A, E, R>
  readonly name: string
  /** How the ways stand, in the order in which a call made now would try them. */
  readonly status: Effect.Effect<ReadonlyArray<WayStatus>>
  /**
   * The breakers of the ways. They refuse nobody: a way whose breaker is open is
   * tried last. Isolate one to keep a way for the last resort, reset it to have it back.
   */
  readonly breakers: { readonly [Name in Way]: CircuitBreaker.CircuitBreaker }
}

/**
 * How one way stands.
 *
 * @since 0.1.0
 * @category models
 */
export interface WayStatus {
  readonly way: string
  /** Of its breaker. */
  readonly state: CircuitBreaker.State
  /** What its calls take, the latest ones counting most; nothing before the first, or in another order than `fastest`. */
  readonly millis: number | undefined
}

/**
 * A way to the result: a function of the same arguments as the others.
 *
 * @since 0.1.0
 * @category models
 */
export type Way = (...args: never) => Effect.Effect<unknown, unknown, unknown>

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How it is called in errors, events, metrics and spans. */
  readonly name: string
  /** The ways, by name. A name that is a number is refused: an object has those in an order of its own. */
  readonly ways: { readonly [way: string]: Way }
  /**
   * Which one is first.
   *
   * - `priority`, the default: as they are written
   * - `turns`: each call begins with the one after that of the call before
   * - `fastest`: those first whose calls take the least time. One that was not
   *   called for a while is thought of as faster and faster, so that it is tried again.
   */
  readonly order?: "priority" | "turns" | "fastest" | undefined
  /** How many are tried in one call, at most. Defaults to all of them. */
  readonly maxWays?: number | undefined
  /** Which failures another way is tried for; others surface as they are. Defaults to all. */
  readonly handles?: ((fault: Fault.Fault) => boolean) | undefined
  /**
   * When a way is tried last, and for how long. Defaults to 3 failures in a
   * row, 30 seconds, and 2 probes that succeed. What the caller got wrong counts for nobody:
   * failures of validation, of what is not found, and conflicts.
   */
  readonly breaker?: Omit<CircuitBreaker.KeyedOptions, "name" | "mode" | "maxKeys"> | undefined
  readonly hooks?: Hooks | undefined
}

/**
 * Makes a failover. Keep it where its callers share it, such as in a Layer:
 * what it has learned of its ways lives there.
 *
 * If one of the ways cannot fail and all failures are handled, the failover
 * cannot fail either. What it has learned is of this process, so in a workflow
 * it belongs inside of a step: steps as its ways would be tried in another order after a restart.
 *
 * @example
 * ```ts
 * import { Failover } from "effect-recovery"
 * import { Data, Effect } from "effect"
 *
 * class Overloaded extends Data.TaggedError("Overloaded")<{}> {}
 * const large = (text: string): Effect.Effect<string, Overloaded> => Effect.fail(new Overloaded())
 * const small = (text: string): Effect.Effect<string, Overloaded> => Effect.succeed(text.slice(0, 7))
 *
 * const program = Effect.gen(function* () {
 *   const summarize = yield* Failover.make({ name: "summarize", ways: { large, small } })
 *   // Effect<string, FailoverExhausted<Overloaded>>
 *   return yield* summarize("A story that never ends")
 * })
 * Effect.runPromise(program).then(console.log) // A story
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Args extends ReadonlyArray<unknown>, const O extends Options>(
  options: O & OfOneForm<Args> & NoOtherOptions<O>
): Effect.Effect<Failover<Args, ValueOf<O["ways"]>, ErrorOf<O>, RequirementsOf<O["ways"]>, keyof O["ways"] & string>> =>
  // What is made of the ways is what their types say; inside all of them are unknown.
  failover_.make(options) as never

/**
 * Ways that all take the same.
 *
 * @since 0.1.0
 * @category models
 */
export interface OfOneForm<Args extends ReadonlyArray<unknown>> {
  readonly ways: { readonly [way: string]: (...args: Args) => Effect.Effect<unknown, unknown, unknown> }
}

/**
 * Refuses options there are not.
 *
 * @since 0.1.0
 * @category models
 */
export type NoOtherOptions<O> = { readonly [Key in Exclude<keyof O, keyof Options>]: "there is no such option" }

/**
 * @since 0.1.0
 * @category models
 */
export type ValueOf<Ways extends Options["ways"]> = Effect.Effect.Success<ReturnType<Ways[keyof Ways]>>

/**
 * @since 0.1.0
 * @category models
 */
export type RequirementsOf<Ways extends Options["ways"]> = Effect.Effect.Context<ReturnType<Ways[keyof Ways]>>

/**
 * What can surface: nothing if one of the ways cannot fail and all may be tried.
 *
 * @since 0.1.0
 * @category models
 */
export type ErrorOf<O extends Options> =
  | (IsSafe<O> extends true ? never : FailoverExhausted<WayError<O["ways"]>>)
  | ([Given<O, "handles">] extends [never] ? never : WayError<O["ways"]>)

type WayError<Ways extends Options["ways"]> = Effect.Effect.Error<ReturnType<Ways[keyof Ways]>>

type IsSafe<O extends Options> = [Given<O, "maxWays">] extends [never]
  ? true extends { [Way in keyof O["ways"]]: IsNever<WayError<Pick<O["ways"], Way>>> }[keyof O["ways"]]
    ? true
    : false
  : false

type IsNever<A> = [A] extends [never] ? true : false

/** Of options that are one of several, what any of them gives. */
type Given<O, Key extends keyof Options> = O extends unknown
  ? Key extends keyof O
    ? Exclude<O[Key], undefined>
    : never
  : never
