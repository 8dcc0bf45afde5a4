/**
 * A strategy decides what to do about a failure.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as Decision from "./Decision.js"
import { checkName } from "./InvalidName.js"
import { orElseLoggedEffect } from "./internal/kernel/logged.js"
import type { RetryBudget } from "./RetryBudget.js"
import * as RetryPolicy from "./RetryPolicy.js"
import {
  type Driver,
  decidedBy,
  type Exhausted,
  type Failure,
  type FailureOf,
  type For,
  fromOpen,
  type InputOf,
  later,
  type Original,
  openLate,
  openSchedule,
  type RequirementsOf,
  type Strategy,
  type TypeId,
  type ValueOf
} from "./StrategyModel.js"

/** @since 0.1.0 */
export * from "./RunStrategy.js"
/** @since 0.1.0 */
export * from "./StrategyModel.js"

/**
 * A strategy of your own. It may fail with {@link Exhausted}, since every recovery
 * is bounded, and with {@link Original}, since it may decide `Decision.abort`. If
 * the function throws, its defect surfaces, with the failure beside it.
 *
 * @example
 * ```ts
 * import { Decision, Recovery, Strategy } from "effect-recovery"
 * import { Data, Effect } from "effect"
 *
 * class Throttled extends Data.TaggedError("Throttled")<{ seconds: number }> {}
 *
 * const asAsked = Strategy.make("asAsked", (failure: Strategy.Failure<Throttled>) =>
 *   failure.attempt < 5 ? Decision.again(`${failure.error.seconds} seconds`) : Decision.exhausted
 * )
 *
 * const program = Effect.fail(new Throttled({ seconds: 0 })).pipe(Recovery.recover({ Throttled: asAsked }))
 * Effect.runPromiseExit(program).then((exit) => console.log(exit._tag)) // Failure
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E, A = never, E2 = never, R = never>(
  name: string,
  decide: (failure: Failure<E>) => Decision.Decision<A, E2, R> | Effect.Effect<Decision.Decision<A, E2, R>, never, R>
): Strategy<E, A, E2 | Original | Exhausted, R> =>
  fromOpen(checkName("strategy", name), () => (failure) => {
    const decided = Effect.suspend(() => {
      const decision = decide(failure)
      return Effect.isEffect(decision) ? decision : Effect.succeed(decision)
    })
    return Effect.catchAllDefect(decided, (defect) => bugAt(failure, defect))
  })

/**
 * Retries by a schedule. Defaults to `RetryPolicy.Current`, which is 3 retries
 * after 1, 2 and 4 seconds unless a layer provides another policy. Exhausted when
 * the schedule ends.
 *
 * @since 0.1.0
 * @category strategies
 */
export const retry: {
  /**
   * Retries by `RetryPolicy.Current`, which is 3 retries after 1, 2 and 4 seconds unless a layer
   * provides another policy. Exhausted when it ends.
   */
  (): Strategy<unknown, never, Exhausted>
  /** Retries by the schedule. Exhausted when it ends. */
  <E, R>(policy: Schedule.Schedule<unknown, E, R>, options?: RetryPolicy.RetryOptions): Strategy<E, never, Exhausted, R>
} = (policy?: Schedule.Schedule<unknown, never, unknown>, { budget }: RetryPolicy.RetryOptions = {}): never =>
  // The overloads state the input and requirements of the policy; the default takes any failure and needs nothing.
  fromOpen(
    "retry",
    () => (policy === undefined ? openCurrent(budget) : openSchedule(policy, budget)),
    budget === undefined ? [] : [budget]
  ) as never

/** Reads the policy in force at the first failure. */
const openCurrent = (budget: RetryBudget | undefined): Driver<unknown, never, Exhausted, never> =>
  openLate(Effect.map(RetryPolicy.Current, (policy) => openSchedule(policy, budget)))

/**
 * Runs another effect for the result.
 *
 * @example
 * ```ts
 * import { Recovery, Strategy } from "effect-recovery"
 * import { Data, Effect } from "effect"
 *
 * class Offline extends Data.TaggedError("Offline")<{ path: string }> {}
 * const download = (path: string) => Effect.fail(new Offline({ path }))
 * const fromMirror = (path: string) => Effect.succeed(`mirror:${path}`)
 *
 * const program = download("a.txt").pipe(
 *   Recovery.recover({ Offline: Strategy.alternate((error: Offline) => fromMirror(error.path)) })
 * )
 * Effect.runPromise(program).then(console.log) // mirror:a.txt
 * ```
 *
 * @since 0.1.0
 * @category strategies
 */
export const alternate = <E, A, E2, R>(
  path: (error: E, failure: Failure<E>) => Effect.Effect<A, E2, R>
): Strategy<E, A, E2, R> =>
  fromOpen(
    "alternate",
    () => (failure) =>
      Effect.succeed(
        Decision.instead(
          Effect.suspend(() => {
            try {
              return path(failure.error, failure)
            } catch (thrown) {
              return bugAt(failure, thrown)
            }
          })
        )
      )
  )

/** The defect of a function, and the failure it was called for: a defect too, since its tag is handled. */
const bugAt = ({ cause }: Failure<unknown>, defect: unknown): Effect.Effect<never> =>
  Effect.failCause(
    Cause.sequential(
      Cause.die(defect),
      Cause.flatMap(cause, (error) => Cause.die(error))
    )
  )

/**
 * Continues with a given value, or `undefined`, as the result.
 *
 * @since 0.1.0
 * @category strategies
 */
export const skip: {
  /** Continues with `undefined` as the result. */
  (): Strategy<unknown, void>
  /** Continues with the value as the result. */
  <A>(value: A): Strategy<unknown, A>
} = <A>(value?: A): Strategy<unknown, A | undefined> =>
  fromOpen("skip", () => () => Effect.succeed(Decision.instead(Effect.succeed(value))))

/**
 * Fails with the original error. Later strategies of a sequence are not asked.
 *
 * @since 0.1.0
 * @category strategies
 */
export const abort: Strategy<unknown, never, Original> = fromOpen<unknown, never, Original>(
  "abort",
  () => () => Effect.succeed(Decision.abort)
)

/**
 * Asks the strategies in order. The next one is asked when the current one is
 * exhausted or its alternative fails. Fails with the errors of the last strategy,
 * or with the original error after an `abort`.
 *
 * @example
 * ```ts
 * import { Recovery, RetryPolicy, Strategy } from "effect-recovery"
 * import { Data, Effect } from "effect"
 *
 * class Offline extends Data.TaggedError("Offline")<{}> {}
 * const search: Effect.Effect<ReadonlyArray<string>, Offline> = Effect.fail(new Offline())
 *
 * const program = search.pipe(
 *   Recovery.recover({
 *     Offline: Strategy.sequence(
 *       Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: "10 millis" })),
 *       Strategy.skip([])
 *     )
 *   })
 * )
 * Effect.runPromise(program).then(console.log) // []
 * ```
 *
 * @since 0.1.0
 * @category strategies
 */
export const sequence = <const S extends readonly [For<never>, ...ReadonlyArray<For<never>>]>(
  ...strategies: S
): Strategy<InputOf<S[number]>, ValueOf<S[number]>, SequenceFailure<S>, RequirementsOf<S[number]>> =>
  // The result type states the common input, so each driver receives only failures that it takes.
  fromOpen(
    strategies.map((strategy) => strategy.name).join(", "),
    () => openSequence(strategies),
    strategies.flatMap((strategy) => strategy.budgets)
  ) as never

const openSequence = (strategies: ReadonlyArray<For<never>>): Driver<never, unknown, unknown, unknown> => {
  const drivers = strategies.map((strategy) => strategy.open())
  let current = 0

  const ask: Driver<never, unknown, unknown, unknown> = (failure) => {
    const { name } = strategies[current] ?? {}
    return Effect.flatMap(drivers[current]?.(failure) ?? Effect.succeed(Decision.exhausted), (decision) =>
      route(name === undefined ? decision : decidedBy(decision, (by = name) => by), failure)
    )
  }

  const route = (decision: AnyDecision, failure: Failure<never>): Effect.Effect<AnyDecision, never, unknown> => {
    if (current >= drivers.length - 1) return Effect.succeed(decision)
    const next = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      current++
      return ask(later(failure, now))
    })
    if (decision._tag === "GiveUp") return decision.exhausted ? next : Effect.succeed(decision)
    // The answer to a question is final.
    if (decision._tag === "HandOver") return Effect.succeed(decision)
    // A nested sequence first tries all of its own alternatives.
    const inner = decision.otherwise
    const otherwise = inner === undefined ? next : Effect.flatMap(inner, (other) => route(other, failure))
    return Effect.succeed({ ...decision, otherwise })
  }

  return ask
}

type AnyDecision = Decision.Decision<unknown, unknown, unknown>

/**
 * Orders the names of strategies, the most promising first. Names that it omits
 * are tried last.
 *
 * @since 0.1.0
 * @category models
 */
export type Rank = (failure: Failure<unknown>, names: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>>

/**
 * The ranking that {@link auto} uses. By default there is none, and strategies are
 * tried in written order. `Insights.layer` of `effect-recovery/operate` ranks by
 * the outcomes of earlier recoveries.
 *
 * @since 0.1.0
 * @category services
 */
export class Ranking extends Context.Reference<Ranking>()("effect-recovery/Strategy/Ranking", {
  defaultValue: (): Rank | undefined => undefined
}) {}

/**
 * Any strategy. It omits the failure type, so that each strategy is inferred on
 * its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface Candidate extends Pick<For<never>, "name" | "budgets"> {
  readonly [TypeId]: unknown
}

/**
 * Tries the most promising strategy first, and the next one when it is exhausted.
 * `Insights.layer` ranks the strategies by the outcomes of earlier recoveries.
 * Without it, they are tried in written order.
 *
 * Strategies are ranked once per category of failure. They are ranked again when
 * a step resumes in another process, so the order may change then.
 *
 * @example
 * ```ts
 * import { Recovery, RetryPolicy, Strategy } from "effect-recovery"
 * import { Data, Effect } from "effect"
 *
 * class Offline extends Data.TaggedError("Offline")<{}> {}
 * const search: Effect.Effect<string, Offline> = Effect.fail(new Offline())
 *
 * const program = search.pipe(
 *   Recovery.recover({
 *     Offline: Strategy.auto({
 *       retry: Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: "10 millis" })),
 *       mirror: Strategy.alternate(() => Effect.succeed("from the mirror"))
 *     })
 *   })
 * )
 * Effect.runPromise(program).then(console.log) // from the mirror
 * ```
 *
 * @since 0.1.0
 * @category strategies
 */
export const auto = <const S extends Readonly<Record<string, Candidate>>>(
  strategies: S
): Strategy<InputOf<S[keyof S]>, ValueOf<S[keyof S]>, FailureOf<S[keyof S]>, RequirementsOf<S[keyof S]>> =>
  // Safe: the type id marks strategies, and the result type states their common input.
  fromOpen(
    "auto",
    () => openAuto(strategies as never),
    Object.values(strategies).flatMap(({ budgets }) => budgets)
  ) as never

const openAuto = (strategies: Readonly<Record<string, For<never>>>): Driver<never, unknown, unknown, unknown> => {
  const names = Object.keys(strategies)
  const byCategory = new Map<string, Driver<never, unknown, unknown, unknown>>()
  const open = (order: ReadonlyArray<string>) =>
    openSequence(
      [...new Set([...order.filter((name) => names.includes(name)), ...names])].flatMap((name) => {
        const strategy = strategies[name]
        return strategy === undefined ? [] : [candidate(name, strategy)]
      })
    )
  return (failure) => {
    const { category } = failure.fault
    const opened = byCategory.get(category)
    if (opened !== undefined) return opened(failure)
    return Effect.flatMap(Ranking, (rank) =>
      Effect.flatMap(ranked(rank, failure, names), (order) => {
        const driver = open(order)
        byCategory.set(category, driver)
        return driver(failure)
      })
    )
  }
}

/** Its decisions have its name here, by which the ranking finds its results, also those of strategies inside it. */
const candidate = (name: string, strategy: For<never>): For<never> =>
  fromOpen(name, () => {
    const driver = strategy.open()
    return (failure: Failure<never>) => Effect.map(driver(failure), (decision) => decidedBy(decision, () => name))
  })

const ranked = (rank: Rank | undefined, failure: Failure<unknown>, names: ReadonlyArray<string>) =>
  rank === undefined
    ? Effect.succeed(names)
    : orElseLoggedEffect(
        () => rank(failure, names),
        names,
        "the ranking of strategies died; they keep their written order"
      )

/** A strategy with unknown failures may also abort. */
type Aborts<Failure> = unknown extends Failure ? unknown : Extract<Failure, Original>

/**
 * The errors that a sequence may fail with.
 *
 * @since 0.1.0
 * @category models
 */
export type SequenceFailure<S extends ReadonlyArray<unknown>> = S extends readonly [...infer Before, infer Last]
  ? FailureOf<Last> | Aborts<FailureOf<Before[number]>>
  : FailureOf<S[number]>
