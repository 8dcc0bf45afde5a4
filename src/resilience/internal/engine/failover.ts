import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as CircuitBreaker from "../../CircuitBreaker.js"
import * as Decision from "../../Decision.js"
import type { Options, WayStatus } from "../../Failover.js"
import * as Fault from "../../Fault.js"
import { FailoverExhausted, type FailoverFailure, PolicyInvalid } from "../../RecoveryError.js"
import * as Strategy from "../../Strategy.js"
import { whole } from "../kernel/options.js"
import { type Plan, recover } from "../kernel/recovery.js"
import { traced } from "../kernel/tracing.js"
import type { Breaker } from "../protect/breaker.js"
import { Pace } from "./latencyAverage.js"

type AnyEffect = Effect.Effect<unknown, unknown, unknown>
type Args = ReadonlyArray<unknown>

interface Way {
  readonly name: string
  readonly breaker: Breaker
  readonly pace: Pace
  readonly call: (args: Args) => AnyEffect
}

/** What the caller got wrong, and what somebody else did meanwhile, says nothing about a way. */
const innocent: ReadonlySet<string> = new Set(["validation", "not-found", "conflict", "cancelled"])

const orders: Readonly<Record<string, true>> = { priority: true, turns: true, fastest: true }

export const make = Effect.fnUntraced(function* (options: Options) {
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
): Way => {
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
const ordering = (ways: ReadonlyArray<Way>, order: Options["order"]) => {
  let turn = 0
  const sorted = (): ReadonlyArray<Way> =>
    order === "fastest"
      ? ways
          .map((way) => [way, way.pace.estimate()] as const)
          .sort(bySecond)
          .map(([way]) => way)
      : ways
  /** Among those that do well, so that each of them has as many turns. */
  const rotated = (well: ReadonlyArray<Way>, moves: boolean): ReadonlyArray<Way> => {
    if (order !== "turns" || well.length === 0) return well
    const from = turn % well.length
    if (moves) turn = from + 1
    return [...well.slice(from), ...well.slice(0, from)]
  }
  return (moves: boolean): ReadonlyArray<Way> => {
    const all = sorted()
    if (order !== "turns" && all.every(isWell)) return all
    const well = all.filter(isWell)
    return [...rotated(well, moves), ...(well.length === all.length ? [] : all.filter((way) => !isWell(way)))]
  }
}

/** Infinity from itself is no number. */
const bySecond = (a: readonly [Way, number], b: readonly [Way, number]) => (a[1] === b[1] ? 0 : a[1] - b[1])

const isWell = ({ breaker }: Way): boolean => breaker.isWilling

interface Taking {
  readonly name: string
  readonly first: Way
  readonly others: ReadonlyArray<Way>
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
