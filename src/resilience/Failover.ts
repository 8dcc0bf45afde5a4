/**
 * A failover has several ways to one result, such as providers, regions or
 * mirrors, and takes the next when one fails. Ways that keep failing are
 * tried last until they have proved themselves again.
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
import { whole } from "./internal/kernel/options.js"
import { type Hooks, type Plan, recover } from "./internal/kernel/recovery.js"
import { traced } from "./internal/kernel/tracing.js"
import type { Breaker } from "./internal/protect/breaker.js"
import { FailoverExhausted, type FailoverFailure, PolicyInvalid } from "./RecoveryError.js"
import * as Strategy from "./StrategyModel.js"

export {
  /** @since 0.1.0 @category errors */
  FailoverExhausted
} from "./RecoveryError.js"

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
  makeUntyped(options) as never

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

type AnyEffect = Effect.Effect<unknown, unknown, unknown>
type Args = ReadonlyArray<unknown>

interface RunningWay {
  readonly name: string
  readonly breaker: Breaker
  readonly pace: Pace
  readonly call: (args: Args) => AnyEffect
}

/** What the caller got wrong, and what somebody else did meanwhile, says nothing about a way. */
const innocent: ReadonlySet<string> = new Set(["validation", "not-found", "conflict", "cancelled"])

const orders: Readonly<Record<string, true>> = { priority: true, turns: true, fastest: true }

const makeUntyped = Effect.fnUntraced(function* (options: Options) {
  const { breaker, handles = () => true, hooks, name, order = "priority" } = options
  if (!Object.hasOwn(orders, order)) {
    throw new PolicyInvalid({ option: "order", value: order, expected: `"priority", "turns" or "fastest"` })
  }
  const names = Object.keys(options.ways)
  if (names.length === 0) throw new PolicyInvalid({ option: "ways", value: "empty", expected: "at least one way" })
  const numeric = names.find((way) => /^\d+$/.test(way))
  if (numeric !== undefined) {
    throw new PolicyInvalid({
      option: "ways",
      value: numeric,
      expected: "names that are no numbers: those have no order"
    })
  }
  const maxWays = options.maxWays === undefined ? names.length : whole("maxWays", options.maxWays, 1)
  const keyed = yield* CircuitBreaker.keyed({
    trip: breaker?.trip ?? CircuitBreaker.consecutive({ failures: 3 }),
    resetAfter: breaker?.resetAfter ?? "30 seconds",
    probes: breaker?.probes ?? 2,
    counts: breaker?.counts ?? (({ category }) => !innocent.has(category)),
    name,
    mode: "observe",
    maxKeys: names.length
  })
  const breakers = Object.fromEntries(
    yield* Effect.forEach(names, (way) => Effect.map(keyed.get(way), (breaker) => [way, breaker] as const))
  )
  const clock: Clock.Clock = yield* Effect.clock
  const ways = Object.entries(options.ways).map(([way, run]) => makeWay(way, run, keyed.breakerFor(way), clock, order))
  const next = ordering(ways, order)
  const settings = { source: { recovery: name }, name, hooks }

  const call = (...args: Args): AnyEffect => {
    const attempt = Effect.suspend(() => {
      const [first, ...others] = next(true).slice(0, maxWays)
      // There is a way, as was seen to above.
      if (first === undefined) return Effect.void
      const failures: Array<FailoverFailure<unknown>> = []
      const plan: Plan = {
        budgets: [],
        find: (_, fault) =>
          handles(fault()) ? ["*", takingOthers({ name, first, others, args, failures, handles })] : undefined
      }
      return recover(first.call(args), plan, { ...settings, exhaustion: () => exhausted(name, failures) })
    })
    return traced(`Failover.${name}`, () => ({}), attempt)
  }
  const status = Effect.sync(() =>
    next(false).map(
      (way): WayStatus => ({ way: way.name, state: way.breaker.snapshot().state, millis: way.pace.millis })
    )
  )
  const shown = Object.assign(call, { status, breakers })
  return Object.defineProperty(shown, "name", { value: name })
})

const makeWay = (
  name: string,
  run: Options["ways"][string],
  breaker: Breaker,
  clock: Clock.Clock,
  order: Options["order"]
): RunningWay => {
  const pace = new Pace(() => clock.unsafeCurrentTimeMillis())
  const isTimed = order === "fastest"
  return {
    name,
    breaker,
    pace,
    call: (args) => {
      // The failover's type says that its arguments are those of each way.
      const work = Effect.suspend(() => run(...(args as never)))
      return breaker.protect(isTimed ? pace.measure(work) : work)
    }
  }
}

/** Those that do well first, each group in its own order; `moves` says whether a turn is taken. */
const ordering = (ways: ReadonlyArray<RunningWay>, order: Options["order"]) => {
  let turn = 0
  const sorted = (): ReadonlyArray<RunningWay> =>
    order === "fastest"
      ? ways
          .map((way) => [way, way.pace.estimate()] as const)
          .sort(bySecond)
          .map(([way]) => way)
      : ways
  /** Among those that do well, so that each of them has as many turns. */
  const rotated = (well: ReadonlyArray<RunningWay>, moves: boolean): ReadonlyArray<RunningWay> => {
    if (order !== "turns" || well.length === 0) return well
    const from = turn % well.length
    if (moves) turn = from + 1
    return [...well.slice(from), ...well.slice(0, from)]
  }
  return (moves: boolean): ReadonlyArray<RunningWay> => {
    const all = sorted()
    if (order !== "turns" && all.every(isWell)) return all
    const well = all.filter(isWell)
    return [...rotated(well, moves), ...(well.length === all.length ? [] : all.filter((way) => !isWell(way)))]
  }
}

/** Infinity from itself is no number. */
const bySecond = (a: readonly [RunningWay, number], b: readonly [RunningWay, number]) =>
  a[1] === b[1] ? 0 : a[1] - b[1]

const isWell = ({ breaker }: RunningWay): boolean => breaker.isWilling

interface Taking {
  readonly name: string
  readonly first: RunningWay
  readonly others: ReadonlyArray<RunningWay>
  readonly args: Args
  readonly failures: Array<FailoverFailure<unknown>>
  readonly handles: (fault: Fault.Fault) => boolean
}

/** Instead of the way that failed, the next one; asked once per call, at its first failure. */
const takingOthers = ({ args, failures, first, handles, name, others }: Taking): Strategy.For<never> =>
  Strategy.fromOpen(`failover ${name}`, () => (failure: Strategy.Failure<unknown>) => {
    failures.push({ way: first.name, error: failure.error, fault: failure.fault })
    const take = (index: number): Effect.Effect<AnyDecision> => {
      const way = others[index]
      if (way === undefined) return Effect.succeed(Decision.exhausted)
      let surfaces: AnyEffect | undefined
      const effect = Effect.catchAllCause(way.call(args), (cause) =>
        Effect.flatMap(noted(way.name, cause), (noted) => {
          if (noted !== undefined) {
            failures.push(noted)
            if (!handles(noted.fault)) surfaces = Effect.failCause(cause)
          }
          return Effect.failCause(cause)
        })
      )
      const otherwise = Effect.suspend(() =>
        surfaces === undefined ? take(index + 1) : Effect.succeed(Decision.instead(surfaces))
      )
      return Effect.succeed({ _tag: "Instead", effect, by: way.name, otherwise })
    }
    return take(0)
  })

type AnyDecision = Decision.Decision<unknown, unknown, unknown>

interface Noted extends FailoverFailure<unknown> {
  readonly fault: Fault.Fault
}

const noted = (way: string, cause: Cause.Cause<unknown>): Effect.Effect<Noted | undefined> =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => Effect.succeed(undefined),
    onSome: (error) => Effect.map(Fault.classifier(undefined), (classify) => ({ way, error, fault: classify(error) }))
  })

const exhausted = (name: string, failures: ReadonlyArray<FailoverFailure<unknown>>) => {
  const [first, ...rest] = failures
  // Only what has failed is ever exhausted.
  return first === undefined
    ? new Error(name)
    : new FailoverExhausted<unknown>({ failover: name, failures: [first, ...rest] })
}

/** How much of the average a call leaves to those before it. */
const kept = 0.8

/** After so long without a call, a way is thought of as twice as fast. */
const halfLifeMillis = 60_000

/**
 * How fast a way is: a moving average over its calls, which fades while
 * nobody calls it, so that what was slow once is tried again.
 */
class Pace {
  millis: number | undefined
  private askedAt = 0
  private underWay = 0

  private readonly now: () => number

  constructor(now: () => number) {
    this.now = now
  }

  /** One that was never measured comes first, and one that is being measured for the first time last. */
  estimate(): number {
    if (this.millis === undefined) return this.underWay === 0 ? 0 : Number.POSITIVE_INFINITY
    return this.millis * 2 ** (-Math.max(0, this.now() - this.askedAt) / halfLifeMillis)
  }

  measure<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const startedAt = this.now()
      // From the start, so that not everybody tries it again at once.
      this.askedAt = startedAt
      this.underWay++
      return Effect.onExit(self, (exit) =>
        Effect.sync(() => {
          this.underWay--
          // Whoever was interrupted might have taken any time.
          if (Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)) return
          const took = Math.max(0, this.now() - startedAt)
          this.millis = this.millis === undefined ? took : kept * this.millis + (1 - kept) * took
        })
      )
    })
  }
}
