/**
 * `recoverable` protects a call with retries, a timeout per attempt, a circuit
 * breaker, a bulkhead and a strategy. `Recovery` exports all of it.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import type * as Exit from "effect/Exit"
import type * as Option_ from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as Types from "effect/Types"
import * as Bulkhead from "./Bulkhead.js"
import * as CircuitBreaker from "./CircuitBreaker.js"
import type * as Fault from "./Fault.js"
import { messageOf } from "./internal/fault/subject.js"
import { attemptTimeout } from "./internal/kernel/attemptTimeout.js"
import { checkLimits, checkTimeout } from "./internal/kernel/options.js"
import {
  type Hooks,
  type Limits,
  type Plan,
  planForAll,
  type RecoverOptions,
  recover
} from "./internal/kernel/recovery.js"
import type { Asker, Rewinder } from "./internal/kernel/runServices.js"
import { traced } from "./internal/kernel/tracing.js"
import { retryTransient } from "./internal/retry/retryTransient.js"
import type { AttemptTimeout, BulkheadFull, CircuitOpen } from "./RecoveryError.js"
import * as RetryBudget from "./RetryBudget.js"
import * as RetryPolicy from "./RetryPolicy.js"
import * as Strategy from "./Strategy.js"

/**
 * What one call needs to survive.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecoverableOptions extends Limits {
  /** How it is called in errors, events, metrics and spans. */
  readonly name: string
  /**
   * When to try again. Defaults to `RetryPolicy.Current`: 3 retries after 1,
   * 2 and 4 seconds, unless a layer says otherwise. Only faults that are transient, or of which
   * nothing is known, are retried; `RetryPolicy.byCategory()` decides for all.
   */
  readonly retry?: Schedule.Schedule<unknown, unknown> | undefined
  /** What each attempt is given. Defaults to no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Asked before each attempt. Defaults to one of its own: 5 failures in a
   * row open it for 300 seconds. Give a breaker to share it, options to
   * change it, `false` to have none.
   */
  readonly breaker?: CircuitBreaker.CircuitBreaker | Omit<CircuitBreaker.Options, "name"> | false | undefined
  /** Bounds the calls on their way. Defaults to none. */
  readonly bulkhead?: Bulkhead.Bulkhead | Omit<Bulkhead.Options, "name"> | undefined
  /** What retries are paid from. Defaults to none. */
  readonly budget?: RetryBudget.RetryBudget | Omit<RetryBudget.Options, "name"> | undefined
  /** What to do when there is no further attempt. Defaults to letting the failure surface. */
  readonly strategy?: Strategy.Strategy<unknown, unknown, unknown, unknown> | undefined
  /** Classify its failures; asked before the rules in force. */
  readonly rules?: ReadonlyArray<Fault.Rule> | undefined
  readonly hooks?: Hooks | undefined
  /**
   * Record each operation by its id: finished, it answers with what it came
   * to; interrupted, it goes on with its attempt count. Made by
   * `Operation.persist`. Each call then says which operation it is. Defaults to
   * none.
   */
  readonly persist?: Persist<never, never, unknown, unknown> | undefined
}

/**
 * Makes work survive.
 *
 * @since 0.1.0
 * @category models
 */
export interface Recoverable<O extends RecoverableOptions> {
  <A extends PersistedValue<O>, E extends PersistedError<O>, R>(
    self: Effect.Effect<A, E, R>,
    ...at: At<O>
  ): Effect.Effect<A | RecoverableValue<O>, RecoverableError<E, O>, R | RecoverableRequirements<O>>
  /**
   * The same for a function that returns a value or a promise. Its signal is
   * aborted when its time is over, or when nobody waits for it any more.
   */
  readonly try: <A>(
    work: (signal: AbortSignal) => NotToBeRun<A>,
    ...at: Awaited<A> extends PersistedValue<O> ? At<O> : [refused: "what the work returns cannot be recorded"]
  ) => Effect.Effect<
    Awaited<A> | RecoverableValue<O>,
    RecoverableError<Cause.UnknownException, O>,
    RecoverableRequirements<O>
  >
  /** The one that is asked, unless there is none. */
  readonly breaker:
    | ([Exclude<Option<O, "breaker">, false>] extends [never] ? never : CircuitBreaker.CircuitBreaker)
    | (false extends Option<O, "breaker"> ? undefined : never)
  readonly bulkhead:
    | ([Given<O, "bulkhead">] extends [never] ? never : Bulkhead.Bulkhead)
    | (undefined extends Option<O, "bulkhead"> ? undefined : never)
}

/**
 * Refuses options there are not.
 *
 * @since 0.1.0
 * @category models
 */
export type NoOtherOptions<O> = {
  readonly [Key in Exclude<keyof O, keyof RecoverableOptions>]: "there is no such option"
}

/** An effect is handed over itself: nobody would run one that a function returns. */
type NotToBeRun<A> = A extends Option_.Option<unknown> | Either.Either<unknown, unknown> | Exit.Exit<unknown, unknown>
  ? A
  : A extends Effect.Effect<unknown, unknown, unknown>
    ? never
    : A

/** What may stand under a key: undefined, if it may be left out. */
type Option<O, Key extends keyof RecoverableOptions> = O extends unknown
  ? Key extends keyof O
    ? O[Key]
    : undefined
  : never

type Given<O, Key extends keyof RecoverableOptions> = Exclude<Option<O, Key>, undefined>

/**
 * What one attempt may fail with.
 *
 * @since 0.1.0
 * @category models
 */
export type AttemptError<E, O> =
  | E
  | ([Exclude<Option<O, "breaker">, false>] extends [never] ? never : CircuitOpen)
  | ([Given<O, "timeout">] extends [never] ? never : AttemptTimeout)

/**
 * What is left to surface.
 *
 * @since 0.1.0
 * @category models
 */
export type RecoverableError<E, O> =
  | (undefined extends Option<O, "strategy"> ? AttemptError<E, O> | Strategy.ExhaustedOf<AttemptError<E, O>> : never)
  | Strategy.Resolve<Strategy.FailureOf<Given<O, "strategy">>, AttemptError<E, O>>
  | ([Given<O, "bulkhead">] extends [never] ? never : BulkheadFull)
  | RecordError<Given<O, "persist">>

/**
 * Which operation a call belongs to; nothing unless it is recorded.
 *
 * @since 0.1.0
 * @category models
 */
export type At<O> = [Given<O, "persist">] extends [never]
  ? []
  : undefined extends Option<O, "persist">
    ? [operation?: Operation]
    : [operation: Operation]

/** What can be recorded; anything, if nothing is. */
type PersistedValue<O> = undefined extends Option<O, "persist"> ? unknown : RecordedValue<Given<O, "persist">>
type PersistedError<O> = undefined extends Option<O, "persist"> ? unknown : RecordedError<Given<O, "persist">>
type RecordedValue<P> = P extends Persist<infer A, never, unknown, unknown> ? A : never
type RecordedError<P> = P extends Persist<never, infer E, unknown, unknown> ? E : never
type RecordError<P> = P extends Persist<never, never, infer E2, unknown> ? E2 : never
type RecordRequirements<P> = P extends Persist<never, never, unknown, infer R> ? R : never

/**
 * @since 0.1.0
 * @category models
 */
export type RecoverableValue<O> = Strategy.ValueOf<Given<O, "strategy">>

/**
 * @since 0.1.0
 * @category models
 */
export type RecoverableRequirements<O> =
  // A recorded operation has a run, which can be asked about and rewound.
  | Exclude<
      Strategy.RequirementsOf<Given<O, "strategy">>,
      [Given<O, "persist">] extends [never] ? never : Asker | Rewinder
    >
  | RecordRequirements<Given<O, "persist">>

/**
 * Which operation a recorded call belongs to.
 *
 * @since 0.1.0
 * @category models
 */
export interface Operation {
  /** Names the operation for good: what identifies the job, such as the number of an order. */
  readonly id: string
  /** Recorded when it starts, to find it by. */
  readonly labels?: Readonly<Record<string, string>> | undefined
}

/**
 * One call of a recoverable that is recorded.
 *
 * @since 0.1.0
 * @category models
 */
export interface Recorded extends Operation {
  readonly name: string
  readonly plan: Plan
  readonly options: RecoverOptions
  readonly attempt: Effect.Effect<unknown, unknown, unknown>
}

/**
 * Records the results of calls. `Operation.persist` makes one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Persist<in A, in E, out E2, out R> {
  readonly record: (call: Recorded) => Effect.Effect<unknown, unknown, unknown>
  /** @internal */
  readonly _types?: {
    readonly _A: Types.Contravariant<A>
    readonly _E: Types.Contravariant<E>
    readonly _E2: Types.Covariant<E2>
    readonly _R: Types.Covariant<R>
  }
}

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
): Effect.Effect<Recoverable<O>> => makeUntyped<O>(options)

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

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

const makeUntyped = <const O extends RecoverableOptions>(options: O): Effect.Effect<Recoverable<O>> =>
  Effect.gen(function* () {
    const breaker = yield* breakerOf(options)
    const bulkhead = yield* bulkheadOf(options)
    const budget = yield* budgetOf(options)
    const timeout = options.timeout === undefined ? undefined : checkTimeout(options.timeout)
    const plan = planForAll(strategyOf(options, budget))
    const recoverOptions = {
      source: { recovery: options.name },
      name: options.name,
      limits: checkLimits(options),
      hooks: options.hooks,
      rules: options.rules
    }
    // From the inside out, and in this order everywhere: timeout, breaker, retry and strategy, bulkhead.
    const protect = (self: AnyEffect, operation?: Operation): AnyEffect => {
      const timed = timeout === undefined ? self : attemptTimeout(self, timeout)
      const guarded = breaker === undefined ? timed : breaker.breaker.protect(timed, options.rules)
      if (options.persist !== undefined && operation !== undefined) {
        // An operation that has ended needs no place: the bulkhead is around its attempts.
        const attempt = bulkhead === undefined ? guarded : Bulkhead.protect(guarded, bulkhead)
        const { name } = options
        return record(options.persist, { ...operation, name, plan, options: recoverOptions, attempt })
      }
      const recovered = recover(guarded, plan, recoverOptions)
      const bounded = bulkhead === undefined ? recovered : Bulkhead.protect(recovered, bulkhead)
      return traced(`Recovery.${options.name}`, () => ({}), bounded)
    }
    // The interface says what the options make of A, E and R; in here all of them are unknown.
    const fromWork = (work: (signal: AbortSignal) => unknown, operation?: Operation) =>
      protect(fromFunction(work), operation)
    return Object.assign(protect, { try: fromWork, breaker, bulkhead }) as unknown as Recoverable<O>
  })

const record = ({ record }: Persist<never, never, unknown, unknown>, call: Recorded): AnyEffect => record(call)

const breakerOf = ({
  breaker = {},
  name
}: RecoverableOptions): Effect.Effect<CircuitBreaker.CircuitBreaker | undefined> => {
  if (breaker === false) return Effect.succeed(undefined)
  return CircuitBreaker.TypeId in breaker ? Effect.succeed(breaker) : CircuitBreaker.make({ ...breaker, name })
}

const bulkheadOf = ({ bulkhead, name }: RecoverableOptions): Effect.Effect<Bulkhead.Bulkhead | undefined> => {
  if (bulkhead === undefined) return Effect.succeed(undefined)
  return Bulkhead.TypeId in bulkhead ? Effect.succeed(bulkhead) : Bulkhead.make({ ...bulkhead, name })
}

const budgetOf = ({ budget, name }: RecoverableOptions): Effect.Effect<RetryBudget.RetryBudget | undefined> => {
  if (budget === undefined) return Effect.succeed(undefined)
  return RetryBudget.TypeId in budget ? Effect.succeed(budget) : RetryBudget.make({ ...budget, name })
}

/** A failure no attempt can mend goes on to the strategy, or surfaces as it is if there is none. */
const strategyOf = (
  { retry, strategy }: RecoverableOptions,
  budget: RetryBudget.RetryBudget | undefined
): Strategy.For<never> =>
  strategy === undefined
    ? retryTransient({ policy: retry, budget, refused: "abort" })
    : Strategy.sequence(retryTransient({ policy: retry, budget, refused: "exhausted" }), strategy)

/** Started in a microtask of its own, so that a function that throws and one whose promise fails are alike. */
const fromFunction = (work: (signal: AbortSignal) => unknown): Effect.Effect<unknown, Cause.UnknownException> =>
  Effect.tryPromise({
    try: async (signal) => work(signal),
    catch: (error) => new Cause.UnknownException(error, messageOf(error))
  })
