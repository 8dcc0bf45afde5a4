/**
 * A strategy is a function from a failure to a decision.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import type * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import type * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import * as Decision from "./Decision.js"
import type { Source } from "./Events.js"
import type * as Fault from "./Fault.js"
import { Asker, Rewinder, type Settable } from "./internal/kernel/runServices.js"
import type { RecoveryExhausted, RewindRefused } from "./RecoveryError.js"
import type { RetryBudget } from "./RetryBudget.js"
import * as RetryPolicy from "./RetryPolicy.js"

export {
  /** @since 0.1.0 @category errors */
  RewindRefused
} from "./RecoveryError.js"
export {
  /** @since 0.1.0 @category services */
  Asker,
  /** @since 0.1.0 @category services */
  Rewinder
}

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~effect-recovery/Strategy"
/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~effect-recovery/Strategy"

/**
 * Answers failures `E`: with a value `A` in place of the result, with failures
 * `E2`, needing `R`. In `E2`, {@link Original} stands for the error that was
 * handled and {@link Exhausted} for a `RecoveryExhausted` around it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Strategy<in E, out A = never, out E2 = never, out R = never> extends Pipeable {
  readonly [TypeId]: {
    readonly _E: Types.Contravariant<E>
    readonly _A: Types.Covariant<A>
    readonly _E2: Types.Covariant<E2>
    readonly _R: Types.Covariant<R>
  }
  /** How it appears in journals, events and tables. */
  readonly name: string
  /** Opens the strategy for one recovery; what it remembers between failures lives there. */
  readonly open: () => Driver<E, A, E2, R>
  /** What its retries are paid from. */
  readonly budgets: ReadonlyArray<RetryBudget>
}

/**
 * An open strategy: asked once per failure of the recovery it was opened for.
 *
 * @since 0.1.0
 * @category models
 */
export type Driver<in E, out A, out E2, out R> = (
  failure: Failure<E>
) => Effect.Effect<Decision.Decision<A, E2, R>, never, R>

/**
 * What a strategy sees.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failure<out E> {
  readonly error: E
  readonly fault: Fault.Fault
  readonly cause: Cause.Cause<E>
  /** Where it failed. */
  readonly source: Source
  /** The attempt that failed, 1 for the first. */
  readonly attempt: number
  /** When it failed, epoch milliseconds. */
  readonly at: number
  /** From the first failure of this recovery to this one. */
  readonly elapsed: Duration.Duration
}

/**
 * In a strategy's failures: the error it was asked about.
 *
 * @since 0.1.0
 * @category models
 */
export interface Original {
  readonly _: "effect-recovery/Strategy/Original"
}

/**
 * In a strategy's failures: `RecoveryExhausted` around the error it was asked
 * about.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exhausted {
  readonly _: "effect-recovery/Strategy/Exhausted"
}

/**
 * Any strategy for failures `E`.
 *
 * @since 0.1.0
 * @category models
 */
export type For<E> = Strategy<E, unknown, unknown, unknown>

const variance = {
  _E: (_: never) => _,
  _A: (_: never) => _,
  _E2: (_: never) => _,
  _R: (_: never) => _
}

const proto = {
  [TypeId]: variance,
  pipe() {
    // biome-ignore lint/complexity/noArguments: the Pipeable contract hands over `arguments`
    return pipeArguments(this, arguments)
  }
}

/**
 * @internal
 */
export const fromOpen = <E, A = never, E2 = never, R = never>(
  name: string,
  open: () => Driver<E, A, E2, R>,
  budgets: ReadonlyArray<RetryBudget> = []
): Strategy<E, A, E2, R> => Object.assign(Object.create(proto), { name, open, budgets })

/**
 * Your own strategy. An `Again` in its answer puts {@link Exhausted} into its
 * failures, since every recovery is bounded; so does `Decision.exhausted`.
 *
 * @example
 * ```ts
 * import { Decision, Recovery, Strategy } from "effect-recovery"
 * import { Data, Effect } from "effect"
 *
 * class Throttled extends Data.TaggedError("Throttled")<{ seconds: number }> {}
 *
 * const asTold = Strategy.make("asTold", (failure: Strategy.Failure<Throttled>) =>
 *   failure.attempt < 5 ? Decision.again(`${failure.error.seconds} seconds`) : Decision.exhausted
 * )
 *
 * const program = Effect.fail(new Throttled({ seconds: 0 })).pipe(Recovery.recover({ Throttled: asTold }))
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
  fromOpen(name, () => (failure) => {
    const decision = decide(failure)
    return Effect.isEffect(decision) ? decision : Effect.succeed(decision)
  })

/**
 * Run the same effect again, when a schedule says. Defaults to
 * `RetryPolicy.Current`: 3 retries after 1, 2 and 4 seconds, unless a layer
 * says otherwise. Out of retries it is exhausted.
 *
 * @since 0.1.0
 * @category strategies
 */
export const retry: {
  (): Strategy<unknown, never, Exhausted>
  <E, R>(policy: Schedule.Schedule<unknown, E, R>, options?: RetryPolicy.RetryOptions): Strategy<E, never, Exhausted, R>
} = (policy?: Schedule.Schedule<unknown, never, unknown>, { budget }: RetryPolicy.RetryOptions = {}): never =>
  // The strategy takes and needs what its policy does; the default takes any failure and needs nothing.
  fromOpen(
    "retry",
    () => (policy === undefined ? openCurrent(budget) : openSchedule(policy, budget)),
    budget === undefined ? [] : [budget]
  ) as never

/**
 * The policy in force at the first failure.
 *
 * @internal
 */
export const openCurrent = (budget: RetryBudget | undefined): Driver<unknown, never, Exhausted, never> =>
  openLate(Effect.map(RetryPolicy.Current, (policy) => openSchedule(policy, budget)))

/**
 * A driver that is opened at its first failure, by what is in force then.
 *
 * @internal
 */
export const openLate = <E, A, E2, R>(open: Effect.Effect<Driver<E, A, E2, R>, never, R>): Driver<E, A, E2, R> => {
  let driver: Driver<E, A, E2, R> | undefined
  return (failure) => {
    if (driver !== undefined) return driver(failure)
    return Effect.flatMap(open, (opened) => {
      driver = opened
      return opened(failure)
    })
  }
}

/**
 * @internal
 */
export const openSchedule = <E, R>(
  policy: Schedule.Schedule<unknown, E, R>,
  budget: RetryBudget | undefined
): Driver<E, never, Exhausted, R> => {
  let state: unknown = policy.initial
  return (failure) =>
    Effect.map(policy.step(failure.at, failure.error, state), ([next, _, decision]) => {
      state = next
      if (ScheduleDecision.isDone(decision)) return Decision.exhausted
      const again = Decision.again(Math.max(0, ScheduleIntervals.start(decision.intervals) - failure.at))
      return budget === undefined ? again : { ...again, budget }
    })
}

/**
 * Take another way to the result.
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
    () => (failure) => Effect.succeed(Decision.instead(Effect.suspend(() => path(failure.error, failure))))
  )

/**
 * Do without the result: take a stand-in value, or none at all.
 *
 * @since 0.1.0
 * @category strategies
 */
export const skip: {
  (): Strategy<unknown, void>
  <A>(value: A): Strategy<unknown, A>
} = <A>(value?: A): Strategy<unknown, A | undefined> =>
  fromOpen("skip", () => () => Effect.succeed(Decision.instead(Effect.succeed(value))))

/**
 * Fail with the original error. Final: nothing after it in a sequence is
 * asked.
 *
 * @since 0.1.0
 * @category strategies
 */
export const abort: Strategy<unknown, never, Original> = fromOpen<unknown, never, Original>(
  "abort",
  () => () => Effect.succeed(Decision.abort)
)

/**
 * How often a strategy may rewind its run.
 *
 * @since 0.1.0
 * @category models
 */
export interface RewindOptions {
  /**
   * How often this recovery may rewind the run, counted in its journal. Then
   * it is exhausted. Defaults to 3.
   */
  readonly times?: number | undefined
}

/**
 * A step or a checkpoint, or its name.
 *
 * @since 0.1.0
 * @category models
 */
export type Named = string | { readonly name: string }

const nameOf = (named: Named): string => (typeof named === "string" ? named : named.name)

/** Strategies that rewind the run differ in where to. */
type Rewinding<R = never> = Strategy<unknown, never, Exhausted | RewindRefused, Rewinder | R>

const rewinding = <R = never>(
  strategy: string,
  point: Decision.Point,
  { times = 3 }: RewindOptions = {},
  accepts?: Checked<R>["isValid"]
): Rewinding<R> => {
  if (!(Number.isInteger(times) && times >= 0)) {
    throw new RangeError(`Strategy.${strategy}: times must be a whole number from 0 on, not ${times}`)
  }
  return fromOpen(strategy, () => (failure: Failure<unknown>) => {
    const reason = failure.fault.message
    return Effect.flatMap(Rewinder, ({ plan }) => plan({ strategy, point, times, reason, accepts }))
  })
}

/**
 * Something that can tell whether one of its checkpoints may be used.
 *
 * @since 0.1.0
 * @category models
 */
export interface Checked<out R = never> {
  readonly name: string
  readonly isValid: (id: string) => Effect.Effect<boolean, never, R>
}

/**
 * Begin the run again: everything it has done is compensated, last first, and
 * forgotten. Its journal keeps it.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const restart = (options?: RewindOptions): Rewinding => rewinding("restart", { _tag: "Start" }, options)

/**
 * Go back to just before the latest use of a step, looked for in the section
 * around, then outwards, then anywhere, and run on from there. Hand over the
 * step itself: a misspelt name is found out only when it is needed. What was done since is
 * compensated, last first, and forgotten.
 *
 * Fails with `RewindRefused` if there is no such step, if a pivot lies
 * between, or if the step lies in a transaction that was rolled back.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const restartFrom = (step: Named, options?: RewindOptions): Rewinding =>
  rewinding("restartFrom", { _tag: "Step", step: nameOf(step) }, options)

/**
 * Begin the innermost `Workflow.section` with a number again. What it has done
 * is compensated, last first, and forgotten; what runs beside it goes on.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const restartIteration = (options?: RewindOptions): Rewinding =>
  rewinding("restartIteration", { _tag: "Iteration" }, options)

/**
 * Undo the transaction around and run it again; with a checkpoint, undo what
 * was done after its newest one and run on from there.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const rollback = (to?: Named, options?: RewindOptions): Rewinding =>
  rewinding("rollback", to === undefined ? { _tag: "Transaction" } : { _tag: "Checkpoint", name: nameOf(to) }, options)

/**
 * Go back to the newest good checkpoint and run on from there: of the one that
 * is given, by all of its checks, or else of any that is whole. What was done
 * since is compensated, last first, and forgotten.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const resume = <R = never>(checkpoint?: Checked<R>, options?: RewindOptions): Rewinding<R> =>
  rewinding("resume", { _tag: "Checkpoint", name: checkpoint?.name, valid: true }, options, checkpoint?.isValid)

/**
 * Parameters that a strategy can change.
 *
 * @since 0.1.0
 * @category models
 */
export interface Patchable<in out P, out R = never> {
  readonly name: string
  readonly patch: (change: (current: P) => P) => Effect.Effect<void, never, R>
}

/**
 * Run again with other parameters: the change is on record with the failure it
 * answers. Defaults to one retry, at once.
 *
 * @example
 * ```ts
 * import { Parameters, RetryPolicy, Step, Strategy } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * class OutOfMemory extends Schema.TaggedError<OutOfMemory>()("OutOfMemory", {}) {}
 * declare const generate: (batch: number) => Effect.Effect<string, OutOfMemory>
 *
 * const Model = Parameters.make("model", Schema.Struct({ batch: Schema.Number }), { batch: 8 })
 *
 * export const generation = Step.make("generation", {
 *   success: Schema.String,
 *   error: OutOfMemory,
 *   run: Effect.flatMap(Model.get, ({ batch }) => generate(batch)),
 *   recover: {
 *     OutOfMemory: Strategy.modify(Model, ({ batch }, _: OutOfMemory) => ({ batch: batch / 2 }), RetryPolicy.fixed({ maxRetries: 3, delay: 0 }))
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category strategies
 */
export const modify = <P, E = unknown, R = never, R2 = never>(
  parameters: Patchable<P, R>,
  change: (current: P, error: E, failure: Failure<E>) => P,
  policy: Schedule.Schedule<unknown, NoInfer<E>, R2> = RetryPolicy.fixed({ maxRetries: 1, delay: 0 })
): Strategy<E, never, Exhausted, R | R2> =>
  fromOpen("modify", () => {
    const driver = openSchedule(policy, undefined)
    return (failure: Failure<E>) =>
      Effect.map(
        driver(failure),
        (decision): Decision.Decision<never, Exhausted, R | R2> =>
          decision._tag === "Again"
            ? { ...decision, patch: parameters.patch((current) => change(current, failure.error, failure)) }
            : decision
      )
  })

/**
 * What to ask, and what the answer may be besides retry, a value, rewind and
 * abort.
 *
 * @since 0.1.0
 * @category models
 */
export interface ManualOptions<Answer extends Schema.Schema.Any = never, SA = never, R = never, E = unknown> {
  /** In words, for whoever is to answer. Defaults to the name and the message of the failure. */
  readonly question?: string | ((failure: Failure<E>) => string) | undefined
  /** Who is to answer, such as a person or a team. */
  readonly to?: string | undefined
  /** Parameters that an answer may change before the next attempt. */
  readonly parameters?: Settable<R> | ReadonlyArray<Settable<R>> | undefined
  /** What takes the place of the result if it is skipped. Without it only a result of nothing can be. */
  readonly skip?: SA | undefined
  /** How a value is read that is given as the answer. Defaults to the schema of the step around. */
  readonly answer?: Answer | undefined
}

/** Messages of tagged errors tell their fields, and not which error it is. */
const describe = ({ message, tag }: Fault.Fault): string =>
  Option.match(tag, {
    onNone: () => message,
    onSome: (name) => (message.includes(name) ? message : /\w/.test(message) ? `${name}: ${message}` : name)
  })

const handingOver =
  (strategy: string) =>
  <E, R>({
    answer,
    parameters = [],
    question,
    skip: standIn,
    to
  }: ManualOptions<Schema.Schema.Any, unknown, R, E>): Strategy<E, never, Original, Asker | R> =>
    fromOpen(strategy, () => (failure: Failure<E>) => {
      const text = (typeof question === "function" ? question(failure) : question) ?? describe(failure.fault)
      const request = {
        strategy,
        question: text,
        to,
        failure,
        parameters: Array.isArray(parameters) ? parameters : [parameters],
        standIn: standIn === undefined ? Option.none() : Option.some(standIn),
        schema: answer
      }
      return Effect.map(Asker, ({ ask }) => ({ _tag: "HandOver" as const, question: text, ask: ask(request) }))
      // A value comes from the stand-in or is read by the schema; the constructors say so in their types.
    }) as never

/**
 * Hand the failure over to a person: the run stops, durably, and `execute`
 * ends with `RunSuspended`. `Workflow.resolve` answers with a retry, a retry
 * with other parameters, a value, a skip, a rewind or an abort, and whoever
 * executes the run then goes on. An answer that does not fit is refused, and
 * asked for again.
 *
 * @example
 * ```ts
 * import { Step, Strategy } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * class Declined extends Schema.TaggedError<Declined>()("Declined", { reason: Schema.String }) {}
 * declare const gateway: { charge: (amount: number) => Effect.Effect<string, Declined> }
 *
 * export const charge = Step.make("charge", {
 *   success: Schema.String,
 *   error: Declined,
 *   run: (amount: number) => gateway.charge(amount),
 *   recover: { Declined: Strategy.manual("The card was declined. Charge again, or enter a receipt?") }
 * })
 * ```
 *
 * @since 0.1.0
 * @category strategies
 */
export const manual: {
  (question?: string): Strategy<unknown, never, Original, Asker>
  <Answer extends Schema.Schema.Any = never, SA = never, R = never, E = unknown>(
    options: ManualOptions<Answer, SA, R, E>
  ): Strategy<E, NoInfer<Answer["Type"] | SA>, Original, NoInfer<Asker | R | Schema.Schema.Context<Answer>>>
} = (options: string | ManualOptions<Schema.Schema.Any, unknown, unknown, never> = {}): never =>
  // The overloads say what the options make of the strategy.
  handingOver("manual")(typeof options === "string" ? { question: options } : options) as never

/**
 * As `manual`, for when those at hand are not to decide: the question goes to
 * somebody, who stands in the record.
 *
 * @since 0.1.0
 * @category strategies
 */
export const escalate = <Answer extends Schema.Schema.Any = never, SA = never, R = never, E = unknown>(
  to: string,
  options: Omit<ManualOptions<Answer, SA, R, E>, "to"> = {}
): Strategy<E, NoInfer<Answer["Type"] | SA>, Original, NoInfer<Asker | R | Schema.Schema.Context<Answer>>> =>
  // As above.
  handingOver("escalate")<E, R>({ ...options, to } as ManualOptions<Schema.Schema.Any, unknown, R, E>) as never

/**
 * One strategy after the other: the next is asked when the one before is
 * exhausted, or when the way it took failed in turn. Only the failures of the
 * last one surface, and those of an `abort` on the way.
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
  // Each driver is only ever handed failures of the common input, which the result type states.
  fromOpen(
    strategies.map((strategy) => strategy.name).join(", "),
    () => openSequence(strategies),
    strategies.flatMap((strategy) => strategy.budgets)
  ) as never

const openSequence = (strategies: ReadonlyArray<For<never>>): Driver<never, unknown, unknown, unknown> => {
  const drivers = strategies.map((strategy) => strategy.open())
  let current = 0

  const ask: Driver<never, unknown, unknown, unknown> = (failure) => {
    const by = strategies[current]?.name
    return Effect.flatMap(drivers[current]?.(failure) ?? Effect.succeed(Decision.exhausted), (decision) =>
      route(by === undefined || decision.by !== undefined ? decision : { ...decision, by }, failure)
    )
  }

  const route = (decision: AnyDecision, failure: Failure<never>): Effect.Effect<AnyDecision, never, unknown> => {
    if (current >= drivers.length - 1) return Effect.succeed(decision)
    const next = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      current++
      return ask(later(failure, now))
    })
    if (decision._tag === "GiveUp") return decision.exhausted ? next : Effect.succeed(decision)
    // Whoever was asked has the last word.
    if (decision._tag === "HandOver") return Effect.succeed(decision)
    // A nested sequence goes through all of its own ways first.
    const inner = decision.otherwise
    const otherwise = inner === undefined ? next : Effect.flatMap(inner, (other) => route(other, failure))
    return Effect.succeed({ ...decision, otherwise })
  }

  return ask
}

type AnyDecision = Decision.Decision<unknown, unknown, unknown>

/**
 * Orders the names of strategies, the most promising first. Names it does not
 * know it leaves out: they are tried last.
 *
 * @since 0.1.0
 * @category models
 */
export type Rank = (failure: Failure<unknown>, names: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>>

/**
 * Who orders the strategies of {@link auto}. Without one they are tried as they
 * are written; `Insights.layer` of `effect-recovery/operate` goes by what has
 * helped before.
 *
 * @since 0.1.0
 * @category services
 */
export class Ranking extends Context.Reference<Ranking>()("effect-recovery/Strategy/Ranking", {
  defaultValue: (): Rank | undefined => undefined
}) {}

/**
 * Any strategy. It says nothing of the failures it takes, so that each is of
 * the type it would have by itself.
 *
 * @since 0.1.0
 * @category models
 */
export interface Candidate extends Pick<For<never>, "name" | "budgets"> {
  readonly [TypeId]: unknown
}

/**
 * Tries the most promising strategy first, and the next when it has nothing
 * left to try. What is promising, `Insights.layer` learns from what became of
 * earlier recoveries; without it the order is the one they are written in.
 *
 * A failure of another category than those before is ranked anew, and so is
 * one of a step whose process ended meanwhile: what the others had come to by
 * then may count against another one.
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
  // What has the type id is a strategy, and is only ever handed failures of the common input, which the result type states.
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
        return strategy === undefined ? [] : [fromOpen(name, strategy.open) as For<never>]
      })
    )
  return (failure) => {
    const { category } = failure.fault
    const opened = byCategory.get(category)
    if (opened !== undefined) return opened(failure)
    return Effect.flatMap(Ranking, (rank) =>
      Effect.flatMap(rank === undefined ? Effect.succeed(names) : rank(failure, names), (order) => {
        const driver = open(order)
        byCategory.set(category, driver)
        return driver(failure)
      })
    )
  }
}

/**
 * The same failure, seen after another way has taken its time.
 *
 * @internal
 */
export const later = <E>(failure: Failure<E>, now: number): Failure<E> => ({
  ...failure,
  at: now,
  elapsed: Duration.sum(failure.elapsed, Duration.millis(now - failure.at))
})

/**
 * @since 0.1.0
 * @category models
 */
export type InputOf<S> = [S] extends [Strategy<infer E, infer _A, infer _E2, infer _R>] ? E : never

/**
 * @since 0.1.0
 * @category models
 */
export type ValueOf<S> = S extends Strategy<never, infer A, infer _E2, infer _R> ? A : never

/**
 * @since 0.1.0
 * @category models
 */
export type FailureOf<S> = S extends Strategy<never, infer _A, infer E2, infer _R> ? E2 : never

/**
 * @since 0.1.0
 * @category models
 */
export type RequirementsOf<S> = S extends Strategy<never, infer _A, infer _E2, infer R> ? R : never

/** Of a strategy whose failures are not known, an abort may come too. */
type Aborts<Failure> = unknown extends Failure ? unknown : Extract<Failure, Original>

/**
 * What a strategy's failure is once it is known which error it was asked about.
 *
 * @since 0.1.0
 * @category models
 */
export type Resolve<Failure, E> = Failure extends Original ? E : Failure extends Exhausted ? ExhaustedOf<E> : Failure

/**
 * What cannot fail cannot be exhausted either.
 *
 * @since 0.1.0
 * @category models
 */
export type ExhaustedOf<E> = [E] extends [never] ? never : RecoveryExhausted<E>

/**
 * What can surface from a sequence.
 *
 * @since 0.1.0
 * @category models
 */
export type SequenceFailure<S extends ReadonlyArray<unknown>> = S extends readonly [...infer Before, infer Last]
  ? FailureOf<Last> | Aborts<FailureOf<Before[number]>>
  : FailureOf<S[number]>
