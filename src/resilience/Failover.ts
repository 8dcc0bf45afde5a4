/**
 * A failover has several ways to one result, such as providers, regions or
 * mirrors, and tries the next way when one fails. A way that keeps failing is
 * tried last until it succeeds again.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as CircuitBreaker from "./CircuitBreaker.js"
import * as Decision from "./Decision.js"
import * as Fault from "./Fault.js"
import { checkName } from "./InvalidName.js"
import { orElseLogged } from "./internal/kernel/logged.js"
import { checkOption, whole } from "./internal/kernel/options.js"
import type { Plan } from "./internal/kernel/plan.js"
import { recover } from "./internal/kernel/recovery.js"
import type { Hooks } from "./internal/kernel/session.js"
import { steadyMillis } from "./internal/kernel/timer.js"
import { traced } from "./internal/kernel/tracing.js"
import type { Breaker } from "./internal/protect/breaker.js"
import { FailoverExhausted, type FailoverFailure } from "./RecoveryError.js"
import * as Strategy from "./StrategyModel.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  FailoverExhausted
} from "./RecoveryError.js"

/**
 * A function that calls the first way, and the next one when it fails.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failover<in Args extends ReadonlyArray<unknown>, out A, out E, out R, Way extends string = string> {
  (...args: Args): Effect.Effect<A, E, R>
  readonly name: string
  /** The state of the ways, in the order in which the next call tries them. */
  readonly status: Effect.Effect<ReadonlyArray<WayStatus>>
  /**
   * The breakers of the ways. They refuse no call: a way whose breaker is open is
   * tried last. Isolate a breaker to make its way the last resort; reset it to
   * undo that.
   */
  readonly breakers: { readonly [Name in Way]: CircuitBreaker.CircuitBreaker }
}

/**
 * The state of one way.
 *
 * @since 0.1.0
 * @category models
 */
export interface WayStatus {
  readonly way: string
  /** The state of its breaker. */
  readonly state: CircuitBreaker.State
  /** Moving average of its call durations, in milliseconds. Undefined before the first call, and unless the order is `fastest`. */
  readonly millis: number | undefined
}

/**
 * A way to the result. All ways of a failover take the same arguments.
 *
 * @since 0.1.0
 * @category models
 */
export type Way = (...args: never) => Effect.Effect<unknown, unknown, unknown>

/**
 * Options of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The name in errors, events, metrics and spans. */
  readonly name: string
  /** The ways, by name. Numeric names are refused, since JavaScript objects reorder numeric keys. */
  readonly ways: { readonly [way: string]: Way }
  /**
   * The order in which the ways are tried. Defaults to `priority`.
   *
   * - `priority`: as written
   * - `turns`: round robin; each call starts with the next way
   * - `fastest`: by average duration. The average of a way that is not called
   *   decays, so that the way is tried again.
   */
  readonly order?: "priority" | "turns" | "fastest" | undefined
  /** The most ways that one call tries, at least 1. Defaults to all. */
  readonly maxWays?: number | undefined
  /** The failures for which the next way is tried. Other failures surface unchanged. Defaults to all. */
  readonly handles?: ((fault: Fault.Fault) => boolean) | undefined
  /**
   * When a way is tried last, and for how long. Defaults to 3 failures in a row,
   * 30 seconds, and 2 successful probes. Failures of the caller do not count:
   * `validation`, `not-found`, `conflict` and `cancelled`.
   */
  readonly breaker?: Omit<CircuitBreaker.KeyedOptions, "name" | "mode" | "maxKeys"> | undefined
  readonly hooks?: Hooks | undefined
}

/**
 * Makes a failover. Callers should share it, for example through a Layer, since
 * it contains the state of the ways.
 *
 * If one way cannot fail and all failures are handled, the failover cannot fail.
 * The state is not durable. In a workflow, call the failover inside one step:
 * if its ways were steps, a resume would try them in another order.
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
  // The result type states what the ways give; the implementation works on unknown.
  makeUntyped(options) as never

/**
 * Requires that all ways take the same arguments.
 *
 * @since 0.1.0
 * @category models
 */
export interface OfOneForm<Args extends ReadonlyArray<unknown>> {
  readonly ways: { readonly [way: string]: (...args: Args) => Effect.Effect<unknown, unknown, unknown> }
}

/**
 * Refuses unknown options.
 *
 * @since 0.1.0
 * @category models
 */
export type NoOtherOptions<O> = { readonly [Key in Exclude<keyof O, keyof Options>]: "there is no such option" }

/**
 * The values of the ways.
 *
 * @since 0.1.0
 * @category models
 */
export type ValueOf<Ways extends Options["ways"]> = Effect.Effect.Success<ReturnType<Ways[keyof Ways]>>

/**
 * The requirements of the ways.
 *
 * @since 0.1.0
 * @category models
 */
export type RequirementsOf<Ways extends Options["ways"]> = Effect.Effect.Context<ReturnType<Ways[keyof Ways]>>

/**
 * The errors of a failover. `never` if one way cannot fail and all may be tried.
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

/** The type of an option, distributed over a union of options. */
type Given<O, Key extends keyof Options> = O extends unknown
  ? Key extends keyof O
    ? Exclude<O[Key], undefined>
    : never
  : never

type AnyEffect = Effect.Effect<unknown, unknown, unknown>
type Args = ReadonlyArray<unknown>

interface RunningWay {
  readonly name: string
  readonly breaker: Breaker
  readonly latency: LatencyAverage
  readonly call: (args: Args) => AnyEffect
}

/** Failures of the caller, conflicts and cancellation do not show that a way is unhealthy. */
const uncounted: ReadonlySet<string> = new Set(["validation", "not-found", "conflict", "cancelled"])

const orders: Readonly<Record<string, true>> = { priority: true, turns: true, fastest: true }

const makeUntyped = Effect.fnUntraced(function* (options: Options) {
  const { breaker, hooks, name, order = "priority" } = options
  const handles = (fault: Fault.Fault): boolean =>
    orElseLogged(
      () => options.handles?.(fault) ?? true,
      false,
      `handles of the failover "${name}" threw; the failure surfaces`
    )
  checkOption("order", order, Object.hasOwn(orders, order), `"priority", "turns" or "fastest"`)
  checkName("failover", name)
  const names = Object.keys(options.ways).map((way) => checkName("way of a failover", way))
  checkOption("ways", "empty", names.length > 0, "at least one way")
  const numeric = names.find((way) => /^\d+$/.test(way))
  const notNumeric = "names that are not numbers, since JavaScript objects reorder numeric keys"
  checkOption("ways", numeric, numeric === undefined, notNumeric)
  const maxWays = options.maxWays === undefined ? names.length : whole("maxWays", options.maxWays, 1)
  const keyed = yield* CircuitBreaker.keyed({
    trip: breaker?.trip ?? CircuitBreaker.consecutive({ failures: 3 }),
    resetAfter: breaker?.resetAfter ?? "30 seconds",
    probes: breaker?.probes ?? 2,
    counts: breaker?.counts ?? (({ category }) => !uncounted.has(category)),
    name,
    mode: "observe",
    maxKeys: names.length
  })
  const breakers = Object.fromEntries(
    yield* Effect.forEach(names, (way) => Effect.map(keyed.get(way), (breaker) => [way, breaker] as const))
  )
  const clock: Clock.Clock = yield* Effect.clock
  const ways = Object.entries(options.ways).map(([way, run]): RunningWay => {
    const breaker = keyed.breakerFor(way)
    const latency = new LatencyAverage(() => steadyMillis(clock))
    const call = (args: Args) => {
      // The type of the failover says that its arguments are those of each way.
      const work = Effect.suspend(() => run(...(args as never)))
      return breaker.protect(order === "fastest" ? latency.measure(work) : work)
    }
    return { name: way, breaker, latency, call }
  })
  const next = ordering(ways, order)
  const settings = { source: { recovery: name }, name, hooks }

  const call = (...args: Args): AnyEffect => {
    const attempt = Effect.suspend(() => {
      const [first, ...others] = next(true).slice(0, maxWays)
      // `ways` is not empty, as checked above; this only narrows the type.
      if (first === undefined) return Effect.void
      const failures: Array<FailoverFailure<unknown>> = []
      const strategy = Strategy.fromOpen(`failover ${name}`, () => (failure: Strategy.Failure<unknown>) => {
        failures.push({ way: first.name, error: failure.error, fault: failure.fault })
        return tryWays({ ways: others, args, failures, handles })
      })
      const plan: Plan = { budgets: [], find: (_, fault) => (handles(fault()) ? ["*", strategy] : undefined) }
      return recover(first.call(args), plan, { ...settings, exhaustion: () => exhausted(name, failures) })
    })
    return traced(`Failover.${name}`, () => ({}), attempt)
  }
  const status = Effect.sync(() =>
    next(false).map(
      (way): WayStatus => ({ way: way.name, state: way.breaker.snapshot().state, millis: way.latency.millis })
    )
  )
  const shown = Object.assign(call, { status, breakers })
  return Object.defineProperty(shown, "name", { value: name })
})

/** Healthy ways first, each group in its own order. `moves` advances the round robin. */
const ordering = (ways: ReadonlyArray<RunningWay>, order: Options["order"]) => {
  let turn = 0
  const sorted = (): ReadonlyArray<RunningWay> =>
    order === "fastest"
      ? ways
          .map((way) => [way, way.latency.estimate()] as const)
          .sort(bySecond)
          .map(([way]) => way)
      : ways
  /** Rotates only the healthy ways, so that they get equal turns. */
  const rotated = (healthy: ReadonlyArray<RunningWay>, moves: boolean): ReadonlyArray<RunningWay> => {
    if (order !== "turns" || healthy.length === 0) return healthy
    const from = turn % healthy.length
    if (moves) turn = from + 1
    return [...healthy.slice(from), ...healthy.slice(0, from)]
  }
  return (moves: boolean): ReadonlyArray<RunningWay> => {
    const all = sorted()
    if (order !== "turns" && all.every(isHealthy)) return all
    const healthy = all.filter(isHealthy)
    return [...rotated(healthy, moves), ...(healthy.length === all.length ? [] : all.filter((way) => !isHealthy(way)))]
  }
}

/** Compares first, since Infinity minus Infinity is NaN. */
const bySecond = (a: readonly [RunningWay, number], b: readonly [RunningWay, number]) =>
  a[1] === b[1] ? 0 : a[1] - b[1]

const isHealthy = ({ breaker }: RunningWay): boolean => breaker.isWilling

interface FailoverCall {
  readonly ways: ReadonlyArray<RunningWay>
  readonly args: Args
  readonly failures: Array<FailoverFailure<unknown>>
  readonly handles: (fault: Fault.Fault) => boolean
}

/** Decides `Instead` with the first of the ways, and the next way if it fails. */
const tryWays = (call: FailoverCall): Effect.Effect<AnyDecision> => {
  const { args, failures, handles, ways } = call
  const [way, ...others] = ways
  if (way === undefined) return Effect.succeed(Decision.exhausted)
  let surfaces: AnyEffect | undefined
  const effect = Effect.catchAllCause(way.call(args), (cause) =>
    Effect.flatMap(Fault.classifier(undefined), (classify) => {
      const error = Cause.failureOption(cause)
      if (Option.isSome(error)) {
        const fault = classify(error.value)
        failures.push({ way: way.name, error: error.value, fault })
        if (!handles(fault)) surfaces = Effect.failCause(cause)
      }
      return Effect.failCause(cause)
    })
  )
  const otherwise = Effect.suspend(() =>
    surfaces === undefined ? tryWays({ ...call, ways: others }) : Effect.succeed(Decision.instead(surfaces))
  )
  return Effect.succeed({ _tag: "Instead", effect, by: way.name, otherwise })
}

type AnyDecision = Decision.Decision<unknown, unknown, unknown>

const exhausted = (name: string, failures: ReadonlyArray<FailoverFailure<unknown>>) => {
  const [first, ...rest] = failures
  // An exhausted recovery has at least one failure; this only narrows the type.
  return first === undefined
    ? new Error(name)
    : new FailoverExhausted<unknown>({ failover: name, failures: [first, ...rest] })
}

/** The weight of earlier calls in the moving average. */
const weight = 0.8

/** The estimate of a way that is not called halves in this time. */
const halfLifeMillis = 60_000

/** A moving average of call durations that decays without calls, so that a slow way is tried again. */
class LatencyAverage {
  millis: number | undefined
  private askedAt = 0
  private running = 0

  private readonly now: () => number

  constructor(now: () => number) {
    this.now = now
  }

  /** A way that was never called comes first; one whose first call still runs comes last. */
  estimate(): number {
    if (this.millis === undefined) return this.running === 0 ? 0 : Number.POSITIVE_INFINITY
    return this.millis * 2 ** (-Math.max(0, this.now() - this.askedAt) / halfLifeMillis)
  }

  measure<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const startedAt = this.now()
      // Set at the start, so that concurrent calls do not all try this way again.
      this.askedAt = startedAt
      this.running++
      return Effect.onExit(self, (exit) =>
        Effect.sync(() => {
          this.running--
          // The duration of an interrupted call says nothing.
          if (Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)) return
          const took = Math.max(0, this.now() - startedAt)
          this.millis = this.millis === undefined ? took : weight * this.millis + (1 - weight) * took
        })
      )
    })
  }
}
