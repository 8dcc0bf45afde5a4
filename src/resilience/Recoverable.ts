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
import { messageOf } from "./Foreign.js"
import { checkName } from "./InvalidName.js"
import { attemptTimeout } from "./internal/kernel/attemptTimeout.js"
import { checkLimits, checkTimeout } from "./internal/kernel/options.js"
import { type Plan, planForAll } from "./internal/kernel/plan.js"
import { recover } from "./internal/kernel/recovery.js"
import type { Asker, Rewinder } from "./internal/kernel/runServices.js"
import type { Hooks, Limits, RecoverOptions } from "./internal/kernel/session.js"
import { traced } from "./internal/kernel/tracing.js"
import { retryTransient } from "./internal/retry/retryTransient.js"
import type { AttemptTimeout } from "./RecoveryError.js"
import type { BulkheadFull, CircuitOpen } from "./Refusal.js"
import * as RetryBudget from "./RetryBudget.js"
import * as RetryPolicy from "./RetryPolicy.js"
import * as Strategy from "./Strategy.js"

/**
 * Options of {@link recoverable}.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecoverableOptions extends Limits {
  /** The name in errors, events, metrics and spans. */
  readonly name: string
  /**
   * The retry policy. Defaults to `RetryPolicy.Current`: 3 retries after 1, 2 and 4
   * seconds, unless a layer provides another. Only transient and unclassified
   * failures are retried, except that `RetryPolicy.byCategory()` decides for all.
   */
  readonly retry?: Schedule.Schedule<unknown, unknown> | undefined
  /** The timeout of each attempt. Defaults to no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * The circuit breaker around each attempt. Defaults to a breaker that 5 failures
   * in a row open for 300 seconds. Pass a breaker to share it, options to
   * configure it, or `false` for none.
   */
  readonly breaker?: CircuitBreaker.CircuitBreaker | Omit<CircuitBreaker.Options, "name"> | false | undefined
  /** Limits concurrent calls. Defaults to none. */
  readonly bulkhead?: Bulkhead.Bulkhead | Omit<Bulkhead.Options, "name"> | undefined
  /** Pays for retries. Defaults to none. */
  readonly budget?: RetryBudget.RetryBudget | Omit<RetryBudget.Options, "name"> | undefined
  /** Handles the failure when the retries are exhausted. Defaults to none: the failure surfaces. */
  readonly strategy?: Strategy.Strategy<unknown, unknown, unknown, unknown> | undefined
  /** Classification rules that go before the rules in force. */
  readonly rules?: ReadonlyArray<Fault.Rule> | undefined
  readonly hooks?: Hooks | undefined
  /**
   * Records each operation by its id. A finished operation returns its recorded
   * result; an interrupted one continues with its attempt count. Each call then
   * takes an operation. Made by `Operation.persist`. Defaults to none.
   */
  readonly persist?: Persist<never, never, unknown, unknown> | undefined
}

/**
 * A protected call: takes an effect and returns it with all policies applied. As the
 * type of a field, name the options that decide about its errors:
 * `Recoverable<{ name: string; timeout: Duration.DurationInput }>`.
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
   * The same for a function that returns a value or a promise. Its signal aborts on
   * timeout and on interruption.
   */
  readonly try: <A>(
    work: (signal: AbortSignal) => NotAnEffect<A>,
    ...at: Awaited<A> extends PersistedValue<O> ? At<O> : [refused: "what the work returns cannot be recorded"]
  ) => Effect.Effect<
    Awaited<A> | RecoverableValue<O>,
    RecoverableError<Cause.UnknownException, O>,
    RecoverableRequirements<O>
  >
  /** The breaker around each attempt, if there is one. */
  readonly breaker:
    | ([Exclude<Option<O, "breaker">, false>] extends [never] ? never : CircuitBreaker.CircuitBreaker)
    | (false extends Option<O, "breaker"> ? undefined : never)
  readonly bulkhead:
    | ([Given<O, "bulkhead">] extends [never] ? never : Bulkhead.Bulkhead)
    | (undefined extends Option<O, "bulkhead"> ? undefined : never)
}

/**
 * Refuses unknown options.
 *
 * @since 0.1.0
 * @category models
 */
export type NoOtherOptions<O> = {
  readonly [Key in Exclude<keyof O, keyof RecoverableOptions>]: "there is no such option"
}

/** Refuses a function that returns an effect, since `try` would not run it. */
type NotAnEffect<A> = A extends Option_.Option<unknown> | Either.Either<unknown, unknown> | Exit.Exit<unknown, unknown>
  ? A
  : A extends Effect.Effect<unknown, unknown, unknown>
    ? never
    : A

/** The type of an option; includes undefined if it may be missing. */
type Option<O, Key extends keyof RecoverableOptions> = O extends unknown
  ? Key extends keyof O
    ? O[Key]
    : undefined
  : never

type Given<O, Key extends keyof RecoverableOptions> = Exclude<Option<O, Key>, undefined>

/**
 * The errors of one attempt.
 *
 * @since 0.1.0
 * @category models
 */
export type AttemptError<E, O> =
  | E
  | ([Exclude<Option<O, "breaker">, false>] extends [never] ? never : CircuitOpen)
  | ([Given<O, "timeout">] extends [never] ? never : AttemptTimeout)

/**
 * The errors of a protected call.
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
 * The argument that names the operation of a call, if calls are recorded.
 *
 * @since 0.1.0
 * @category models
 */
export type At<O> = [Given<O, "persist">] extends [never]
  ? []
  : undefined extends Option<O, "persist">
    ? [operation?: Operation]
    : [operation: Operation]

/** The values and errors that can be recorded; unknown without `persist`. */
type PersistedValue<O> = undefined extends Option<O, "persist"> ? unknown : RecordedValue<Given<O, "persist">>
type PersistedError<O> = undefined extends Option<O, "persist"> ? unknown : RecordedError<Given<O, "persist">>
type RecordedValue<P> = P extends Persist<infer A, never, unknown, unknown> ? A : never
type RecordedError<P> = P extends Persist<never, infer E, unknown, unknown> ? E : never
type RecordError<P> = P extends Persist<never, never, infer E2, unknown> ? E2 : never
type RecordRequirements<P> = P extends Persist<never, never, unknown, infer R> ? R : never

/**
 * The values with which the strategy may replace the result.
 *
 * @since 0.1.0
 * @category models
 */
export type RecoverableValue<O> = Strategy.ValueOf<Given<O, "strategy">>

/**
 * The services that a protected call needs in addition.
 *
 * @since 0.1.0
 * @category models
 */
export type RecoverableRequirements<O> =
  // A recorded operation is a run, which provides Asker and Rewinder.
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
  /** The permanent id of the operation, such as the number of an order. */
  readonly id: string
  /** Labels for queries, recorded when the operation starts. */
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
 * Combines the common policies for calls to one system: retries of transient
 * failures, a timeout and a circuit breaker per attempt, and a strategy for when
 * the retries are exhausted.
 *
 * | option | default |
 * |---|---|
 * | `retry` | 3 retries after 1, 2 and 4 seconds, at most 60 |
 * | `timeout` | none |
 * | `breaker` | 5 failures in a row open it for 300 seconds |
 * | `bulkhead`, `budget`, `strategy`, `rules`, `hooks` | none |
 * | `persist` | none |
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
 *   // Effect<number>: every failure is replaced by 1.
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

const longRetries = RetryPolicy.exponential({ maxRetries: 5, initialDelay: "2 seconds", maxDelay: "5 minutes" })

const breakerOptions = (failures: number, resetAfter: Duration.DurationInput) => ({
  trip: CircuitBreaker.consecutive({ failures }),
  resetAfter
})

/**
 * Options for long work, to spread into those of {@link recoverable}.
 *
 * | preset | timeout per attempt | retries | breaker |
 * |---|---|---|---|
 * | `integration` | no limit | 5, after 2, 4, 8, 16 and 32 s | 5 failures, 10 minutes |
 * | `import` | 30 minutes | `RetryPolicy.Current` | 3 failures, 10 minutes |
 * | `install` | 1 hour | 5, after 2, 4, 8, 16 and 32 s | 5 failures, 15 minutes |
 * | `long` | 2 hours | `RetryPolicy.Current` | 3 failures, 20 minutes |
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
  integration: { retry: longRetries, breaker: breakerOptions(5, "10 minutes") },
  import: { timeout: "30 minutes", breaker: breakerOptions(3, "10 minutes") },
  install: { timeout: "1 hour", retry: longRetries, breaker: breakerOptions(5, "15 minutes") },
  long: { timeout: "2 hours", breaker: breakerOptions(3, "20 minutes") }
} as const satisfies Readonly<Record<string, Omit<RecoverableOptions, "name">>>

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

const makeUntyped = <const O extends RecoverableOptions>(options: O): Effect.Effect<Recoverable<O>> =>
  Effect.gen(function* () {
    checkName("recovery", options.name)
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
    // From the inside out: timeout, breaker, retry and strategy, bulkhead.
    const protect = (self: AnyEffect, operation?: Operation): AnyEffect => {
      const timed = timeout === undefined ? self : attemptTimeout(self, timeout)
      const guarded = breaker === undefined ? timed : breaker.breaker.protect(timed, options.rules)
      if (options.persist !== undefined && operation !== undefined) {
        // The bulkhead is around the attempts, so that a finished operation needs no permit.
        const attempt = bulkhead === undefined ? guarded : Bulkhead.protect(guarded, bulkhead)
        const { name } = options
        return record(options.persist, { ...operation, name, plan, options: recoverOptions, attempt })
      }
      const recovered = recover(guarded, plan, recoverOptions)
      const bounded = bulkhead === undefined ? recovered : Bulkhead.protect(recovered, bulkhead)
      return traced(`Recovery.${options.name}`, () => ({}), bounded)
    }
    const fromWork = (work: (signal: AbortSignal) => unknown, operation?: Operation) =>
      protect(fromFunction(work), operation)
    // The interface states the effect of the options on A, E and R; the implementation works on unknown.
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

/** A failure that is not retried goes to the strategy, or surfaces unchanged if there is none. */
const strategyOf = (
  { retry, strategy }: RecoverableOptions,
  budget: RetryBudget.RetryBudget | undefined
): Strategy.For<never> =>
  strategy === undefined
    ? retryTransient({ policy: retry, budget, refused: "abort" })
    : Strategy.sequence(retryTransient({ policy: retry, budget, refused: "exhausted" }), strategy)

/** The async wrapper makes a function that throws equal to one whose promise rejects. */
const fromFunction = (work: (signal: AbortSignal) => unknown): Effect.Effect<unknown, Cause.UnknownException> =>
  Effect.tryPromise({
    try: async (signal) => work(signal),
    catch: (error) => new Cause.UnknownException(error, messageOf(error))
  })
