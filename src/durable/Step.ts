/**
 * A step is a named unit of a run whose result is journaled. When the run is
 * executed again, a completed step returns its recorded result and does not run.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import { type Machinery, StepAmbiguous } from "../journal/RunError.js"
import type { InvalidOption } from "../resilience/InvalidOption.js"
import { age, checked } from "../resilience/internal/kernel/options.js"
import type * as Recovery from "../resilience/Recovery.js"
import type * as Strategy from "../resilience/Strategy.js"
import { removeOnce, onceTable as table } from "../storage/onceTable.js"
import type { StorageError } from "../storage/Storage.js"
import type { Transaction } from "../transaction/Transactor.js"
import type { Run } from "./internal/execution/execution.js"
import { type Definition, define, definitionKey } from "./internal/step/definition.js"
import { runStep } from "./internal/step/runStep.js"

export {
  /**
   * A step had started when its process ended, and must not run again.
   *
   * @since 0.1.0
   * @category errors
   */
  StepAmbiguous
}

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~effect-recovery/Step"
/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~effect-recovery/Step"

/**
 * A step is an Effect: compose it, map it, run it concurrently with steps of
 * other names.
 *
 * @since 0.1.0
 * @category models
 */
export interface Step<out A, out E, out R, out S = never> extends Effect.Effect<A, E, R | Run> {
  readonly [TypeId]: TypeId
  /** What the schema of its result needs, which `Answer.value` needs too. */
  readonly _S?: Types.Covariant<S>
  readonly name: string
}

/**
 * The second argument of `run`. Pass `idempotencyKey` to a system that removes
 * duplicates.
 *
 * @since 0.1.0
 * @category models
 */
export interface Attempt {
  readonly run: string
  /** The step's key in the journal: its name with sections and occurrence. */
  readonly step: string
  /** 1 for the first. */
  readonly number: number
  /** The same for every attempt of this step in this run, and for no other step. */
  readonly idempotencyKey: string
  /**
   * The fencing token of this execution of the run: higher for each takeover. A
   * system that refuses a lower token than it has seen is safe from a process
   * that was paused past its lease.
   */
  readonly token: number
}

/**
 * What to do with a step that had started when its process ended:
 *
 * - `"rerun"`: run it again; it should be idempotent. The run's status shows the
 *   ambiguous attempt.
 * - `"fail"`: fail with `StepAmbiguous`; the step runs at most once.
 * - `"ask"`: ask a person, as `Strategy.manual` does; an abort fails with
 *   `StepAmbiguous`.
 *
 * A `probe` checks instead whether it happened.
 *
 * @since 0.1.0
 * @category models
 */
export type OnAmbiguous = "rerun" | "fail" | "ask"

/**
 * How the start of an attempt is recorded, before the attempt begins:
 *
 * - `"power-loss"`: on stable storage, as far as the storage is configured for that.
 * - `"process-crash"`: it survives the end of the process, and other processes see it at once. A
 *   power cut may take it unless the step has ended: then the step runs again without `StepAmbiguous`
 *   in its record, and without being counted by `maxCutShort`. Of runs that had no result yet
 *   a power cut may take the whole run, unless it was recorded by `Workflow.start`. Spares a step one of
 *   its two syncs on `SqliteStorage`, and on Postgres, where a crash of the server counts as a power cut and takes no
 *   run. Other storages sync both.
 * - `"with-result"`: in one commit with its result, or by itself once the attempt has lasted 100
 *   milliseconds. For steps that change nothing, such as reads and computations: the end of the process leaves no
 *   trace of a shorter attempt, and `maxCutShort` does not count it. Spares a step one of its two
 *   commits on every storage.
 *
 * @since 0.1.0
 * @category models
 */
export type StartMarker = "power-loss" | "process-crash" | "with-result"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<
  Success extends Schema.Schema.Any,
  Error extends Schema.Schema.All,
  Ambiguous extends OnAmbiguous,
  Timeout extends Duration.DurationInput | undefined,
  Handlers,
  R2,
  Input = never,
  R3 = never,
  R4 = never
> {
  /** Encodes the result for the journal. Without it the step returns void, and `run` must return void, too. */
  readonly success?: Success
  /** Encodes its errors. Defaults to `Schema.Never`: a step that cannot fail. */
  readonly error?: Error
  /** Defaults to `"rerun"`. */
  readonly onAmbiguous?: Ambiguous
  /**
   * Checks whether an attempt that was cut short has happened, for example by its
   * idempotency key. A value is the result of the step; with none the step runs
   * again. While the probe fails, the step does not run.
   */
  readonly probe?: (
    input: Input,
    attempt: Attempt
  ) => Effect.Effect<Option.Option<Success["Type"]>, Error["Type"] | Machinery, R4>
  /** The time limit of each attempt. Adds `AttemptTimeout` to the errors; the work is interrupted. */
  readonly timeout?: Timeout
  /**
   * Strategies by tag, as for `Recovery.recover`. Attempts and the time of the
   * next one are journaled, so a crash neither resets nor shortens a backoff. For a
   * decision by category put `Recovery.recoverCategory` around the step.
   */
  readonly recover?: Handlers & Recovery.NoOthers<Errors<Error["Type"], Ambiguous, Timeout>, Handlers>
  /**
   * Retries the errors that `recover` does not name, for example by category with
   * `RetryPolicy.byCategory`. The step fails with the last error itself.
   */
  readonly retry?: Schedule.Schedule<unknown, Error["Type"] | Errors<never, Ambiguous, Timeout>, R2>
  /**
   * What happens when the journal cannot be written: `"required"` (the default)
   * stops the run, `"best-effort"` continues without a record.
   */
  readonly durability?: "required" | "best-effort"
  /**
   * Undoes the step if the transaction around it fails or a rewind removes it.
   * Registered before the step runs, so it also runs for a step that failed or
   * was cut short; then there is no `output`. By default an attempt takes at
   * most a minute and `RetryPolicy.Current` retries it.
   */
  readonly compensate?: Compensation<Success["Type"], Input, R3>
  /**
   * The step cannot be undone. Once it has happened, or may have, the steps
   * before it are not compensated any more.
   */
  readonly pivot?: boolean
  /**
   * How many attempts may be cut short by the end of their process before a person
   * must look at the run. Then the run is put on hold instead of another attempt, and
   * `Workflow.execute` fails with `RunHeld`, whose `hold` is `cut-short`; released, the
   * run has as many attempts again. Without a bound a step that ends its process, for
   * example by using up the memory, would end each process that resumes the run. At
   * least 1; `Infinity` is no bound. Defaults to 20. It bounds `compensate`, too. With `onAmbiguous` `"fail"` or `"ask"`
   * no attempt is made again by itself, so nothing is counted.
   */
  readonly maxCutShort?: number
  /**
   * How durably the start of an attempt is recorded. Defaults to `"process-crash"` for a step that
   * is simply run again. With `compensate`, `pivot`, `probe` and `onAmbiguous` `"fail"` or
   * `"ask"`, which decide by it, it is always `"power-loss"`, and `make` throws at anything else.
   */
  readonly startMarker?: StartMarker
}

/**
 * The argument of a compensation.
 *
 * @since 0.1.0
 * @category models
 */
export interface ToUndo<out A, out Input> {
  readonly input: Input
  /** What the step returned; none if it failed or was cut short. */
  readonly output: Option.Option<A>
  /** The idempotency key of the step. */
  readonly idempotencyKey: string
  /** 1 for the first. */
  readonly attempt: number
}

/**
 * A compensation, with its retries and time limit if they differ from the
 * defaults.
 *
 * @since 0.1.0
 * @category models
 */
export type Compensation<A, Input, R> =
  | ((toUndo: ToUndo<A, Input>) => Effect.Effect<unknown, unknown, R>)
  | {
      readonly undo: (toUndo: ToUndo<A, Input>) => Effect.Effect<unknown, unknown, R>
      /** Defaults to `RetryPolicy.Current`. */
      readonly retry?: Schedule.Schedule<unknown, unknown, R> | undefined
      /** The time limit of each attempt. `Infinity` is no limit. Defaults to a minute. */
      readonly timeout?: Duration.DurationInput | undefined
    }

/**
 * Marks a step without a compensation, which needs no transaction.
 *
 * @since 0.1.0
 * @category models
 */
export interface NoCompensation {
  readonly _: "the step has no compensation"
}

/**
 * The errors of an attempt.
 *
 * @since 0.1.0
 * @category models
 */
export type Errors<E, Ambiguous, Timeout> =
  | E
  | (Timeout extends undefined ? never : Recovery.AttemptTimeout)
  | (Ambiguous extends "fail" | "ask" ? StepAmbiguous : never)

/**
 * Strategies whose values and errors the step's schemas can encode.
 *
 * @since 0.1.0
 * @category models
 */
export type Cases<Raw, A, E> = {
  readonly [Tag in Recovery.Tags<Raw>]?: Strategy.Strategy<
    Extract<Raw, { readonly _tag: Tag }>,
    A,
    E | Strategy.Original | Strategy.Exhausted | Strategy.RewindRefused,
    unknown
  >
}

/**
 * What a step's `run` must be for its schemas: the compiler shows the text where they cannot write its errors or its result.
 *
 * @since 0.1.0
 * @category models
 */
export type Writable<A, E, Success, Error> = [E] extends [Error | Machinery]
  ? [A] extends [Success]
    ? unknown
    : // biome-ignore lint/suspicious/noConfusingVoidType: the type of Schema.Void
      [Success] extends [void]
      ? `The step returns a value: record it with a success schema, or drop it with Effect.asVoid`
      : `The step returns a value that its success schema cannot write`
  : `The step fails with ${Recovery.NameOf<Exclude<E, Error | Machinery>>}: add it to its error schema`

/**
 * Makes a step. Define it once, at the top of a module. If `run` is a function,
 * the step is a function of the same argument.
 *
 * @example
 * ```ts
 * import { RetryPolicy, Step, Strategy } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * class Declined extends Schema.TaggedError<Declined>()("Declined", { reason: Schema.String }) {}
 * class GatewayDown extends Schema.TaggedError<GatewayDown>()("GatewayDown", {}) {}
 *
 * declare const gateway: {
 *   charge: (amount: number) => Effect.Effect<{ receipt: string }, Declined | GatewayDown>
 * }
 *
 * // (amount: number) => Step<{ receipt: string }, Declined | RecoveryExhausted<GatewayDown>, never>
 * const charge = Step.make("charge", {
 *   success: Schema.Struct({ receipt: Schema.String }),
 *   error: Schema.Union(Declined, GatewayDown),
 *   run: (amount: number) => gateway.charge(amount),
 *   recover: { GatewayDown: Strategy.retry(RetryPolicy.exponential()) }
 * })
 *
 * console.log(typeof charge) // function
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: {
  /**
   * Makes a step with an input: a function that takes the input of `run`. A completed step returns its
   * recorded result and does not run. `success` and `error` are the schemas of what `run` returns and
   * fails with.
   */
  <
    A,
    E,
    R,
    Input = void,
    Success extends Schema.Schema.Any = typeof Schema.Void,
    Error extends Schema.Schema.All = typeof Schema.Never,
    Ambiguous extends OnAmbiguous = "rerun",
    Timeout extends Duration.DurationInput | undefined = undefined,
    const Handlers extends Cases<Errors<Error["Type"], Ambiguous, Timeout>, Success["Type"], Error["Type"]> = {},
    R2 = never,
    R3 = NoCompensation,
    R4 = never
  >(
    name: string,
    options: Options<Success, Error, Ambiguous, Timeout, Handlers, R2, Input, R3, R4> & {
      readonly run: (
        input: Input,
        attempt: Attempt
      ) => Effect.Effect<A, E, R> & Writable<A, E, Success["Type"], Error["Type"]>
    }
  ): (
    input: Input
  ) => Step<
    Success["Type"],
    Recovery.Shown<Recovery.Residual<Errors<Error["Type"], Ambiguous, Timeout>, Handlers>>["union"],
    Recovery.Shown<Requirements<Success, Error, R | R2 | Recovery.Requirements<Handlers> | R4, R3, R>>["union"],
    Success["Context"]
  >
  /**
   * Makes a step without an input: an Effect. A completed step returns its recorded result and does not
   * run. `success` and `error` are the schemas of what `run` returns and fails with.
   */
  <
    A,
    E,
    R,
    Success extends Schema.Schema.Any = typeof Schema.Void,
    Error extends Schema.Schema.All = typeof Schema.Never,
    Ambiguous extends OnAmbiguous = "rerun",
    Timeout extends Duration.DurationInput | undefined = undefined,
    const Handlers extends Cases<Errors<Error["Type"], Ambiguous, Timeout>, Success["Type"], Error["Type"]> = {},
    R2 = never,
    R3 = NoCompensation,
    R4 = never
  >(
    name: string,
    options: Options<Success, Error, Ambiguous, Timeout, Handlers, R2, void, R3, R4> & {
      readonly run: Effect.Effect<A, E, R> & Writable<A, E, Success["Type"], Error["Type"]>
    }
  ): Step<
    Success["Type"],
    Recovery.Shown<Recovery.Residual<Errors<Error["Type"], Ambiguous, Timeout>, Handlers>>["union"],
    Recovery.Shown<Requirements<Success, Error, R | R2 | Recovery.Requirements<Handlers> | R4, R3, R>>["union"],
    Success["Context"]
  >
} = (name: string, options: Parameters<typeof define>[1]): never => makeFrom(define(name, options), options.run)

const makeFrom = (definition: Definition, run: unknown): never => {
  const made =
    typeof run === "function"
      ? Object.defineProperties((input: unknown) => step(definition, input), {
          name: { value: definition.name },
          [definitionKey]: { value: definition }
        })
      : step(definition, undefined)
  // The overloads derive A, E and R from the definition's schemas and strategies.
  return made as never
}

/**
 * A step whose result is committed together with its rows, so it is never
 * ambiguous.
 *
 * @since 0.1.0
 * @category models
 */
export interface NeverAmbiguous {
  readonly onAmbiguous?: never
  readonly probe?: never
  readonly maxCutShort?: never
  readonly startMarker?: never
}

/**
 * Makes a step of rows. As `make`, without `onAmbiguous` and `probe`.
 *
 * @since 0.1.0
 * @category models
 */
export interface OfRows {
  /**
   * Makes a step of rows with an input: a function that takes the input of `run`, which runs in a
   * transaction of the SQL client and uses only that client. Its rows exist exactly once.
   */
  <
    A,
    E,
    R,
    Input = void,
    Success extends Schema.Schema.Any = typeof Schema.Void,
    Error extends Schema.Schema.All = typeof Schema.Never,
    Timeout extends Duration.DurationInput | undefined = undefined,
    const Handlers extends Cases<Errors<Error["Type"], "rerun", Timeout>, Success["Type"], Error["Type"]> = {},
    R2 = never,
    R3 = NoCompensation
  >(
    name: string,
    options: Options<Success, Error, "rerun", Timeout, Handlers, R2, Input, R3> &
      NeverAmbiguous & {
        readonly run: (
          input: Input,
          attempt: Attempt
        ) => Effect.Effect<A, E, R> & Writable<A, E, Success["Type"], Error["Type"]>
      }
  ): (
    input: Input
  ) => Step<
    Success["Type"],
    Recovery.Shown<Recovery.Residual<Errors<Error["Type"], "rerun", Timeout>, Handlers>>["union"],
    Recovery.Shown<Requirements<Success, Error, R | R2 | Recovery.Requirements<Handlers>, R3, R>>["union"],
    Success["Context"]
  >
  /**
   * Makes a step of rows without an input: an Effect. `run` runs in a transaction of the SQL client and
   * uses only that client. Its rows exist exactly once.
   */
  <
    A,
    E,
    R,
    Success extends Schema.Schema.Any = typeof Schema.Void,
    Error extends Schema.Schema.All = typeof Schema.Never,
    Timeout extends Duration.DurationInput | undefined = undefined,
    const Handlers extends Cases<Errors<Error["Type"], "rerun", Timeout>, Success["Type"], Error["Type"]> = {},
    R2 = never,
    R3 = NoCompensation
  >(
    name: string,
    options: Options<Success, Error, "rerun", Timeout, Handlers, R2, void, R3> &
      NeverAmbiguous & { readonly run: Effect.Effect<A, E, R> & Writable<A, E, Success["Type"], Error["Type"]> }
  ): Step<
    Success["Type"],
    Recovery.Shown<Recovery.Residual<Errors<Error["Type"], "rerun", Timeout>, Handlers>>["union"],
    Recovery.Shown<Requirements<Success, Error, R | R2 | Recovery.Requirements<Handlers>, R3, R>>["union"],
    Success["Context"]
  >
}

/**
 * A step that only reads and writes the program's own tables in the database of
 * the storage: its rows and its result are committed together, so it happens
 * exactly once and is never ambiguous. For rows in another database use `once`.
 *
 * Needs a storage over the program's own client (`SqliteStorage.layerClient`,
 * `SqlStorage.layer`, `PgStorage.layer`), or `Storage.layerMemory` beside the layer of any `@effect/sql` client: there the
 * rows are committed by that client, and the result is kept as long as the
 * memory. Anything else is refused with the `StorageError` `Client`, which names the
 * missing layer.
 *
 * `run` must use only that client: other effects may happen twice. Keep it
 * short, because other writers wait. A refused commit is the `StorageError`
 * `Constraint` or `Transaction`, which stops the run. Nothing is committed then,
 * unless the connection broke during the commit.
 *
 * `sql.withTransaction` inside of `run` is a savepoint. On Postgres put a statement
 * there whose error you catch: without a savepoint Postgres refuses all further
 * statements of the step, and the run stops with the `StorageError` `Aborted`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const transactional: OfRows = (name: string, options: Parameters<typeof define>[1]): never =>
  makeFrom(define(name, options, "transactional"), options.run)

/**
 * A step that only reads and writes rows in another database than that of the
 * storage: they exist exactly once, wherever the process ends.
 *
 * `run` runs in a transaction of the `SqlClient` in the environment. A row of the
 * table `effect_recovery_once` is committed in the same transaction; its key is the
 * idempotency key of the step, and it holds the encoded result. If the process ends
 * before the result is on record, the next execution finds that row, returns
 * its result and does not run the step. Of two executions at once the second waits for the
 * first, and an execution that has lost its lease cannot commit after its successor.
 *
 * - A failure rolls the rows back, and is recorded like that of any step.
 * - After a rewind, and in a fork, the step has another key, and runs again.
 * - The row outlives the run, and answers a run with the same workflow and id that is
 *   started later. `cleanupOnce` removes old rows.
 * - The storage's `payloads` encode the result in the row, too.
 * - `run` cannot write `State`, and must use only that client: other effects may
 *   happen twice. What is said of `transactional` about commits, savepoints and
 *   Postgres holds here.
 *
 * Works with clients for SQLite and Postgres. Without such a client, and inside of
 * `sql.withTransaction`, it is refused with the `StorageError` `Client`. The table is
 * made at the first use, unless a migration of yours has made it (`onceTable`).
 *
 * @example
 * ```ts
 * import * as SqlClient from "@effect/sql/SqlClient"
 * import { Step } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * // The journal may be anywhere: these rows are the shop's.
 * const place = Step.once("place", {
 *   success: Schema.Number,
 *   run: (item: string) =>
 *     Effect.gen(function* () {
 *       const sql = yield* SqlClient.SqlClient
 *       yield* sql`UPDATE items SET stock = stock - 1 WHERE name = ${item}`
 *       const [order] = yield* sql<{ readonly id: number }>`INSERT INTO orders (item) VALUES (${item}) RETURNING id`
 *       return order?.id ?? 0
 *     }).pipe(Effect.orDie)
 * })
 *
 * console.log(typeof place) // function
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const once: OfRows = (name: string, options: Parameters<typeof define>[1]): never =>
  makeFrom(define(name, options, "once"), options.run)

/**
 * The statement that creates the table of `once`, on SQLite and on Postgres, for a
 * migration of your own: where the program may not create tables.
 *
 * @since 0.1.0
 * @category exactly once
 */
export const onceTable: string = table

/**
 * Removes rows of `once` that were written longer ago than `olderThan` from the
 * database of the `SqlClient` in the environment, and returns how many. The library
 * removes none by itself. A step whose row is gone may run again: choose a time
 * after which no run is resumed any more. Fails with `InvalidOption`, and removes
 * nothing, unless `olderThan` is finite and above 0.
 *
 * @since 0.1.0
 * @category exactly once
 */
export const cleanupOnce: (options: {
  readonly olderThan: Duration.DurationInput
}) => Effect.Effect<number, StorageError | InvalidOption> = Effect.fnUntraced(function* ({ olderThan }) {
  const millis = yield* checked(() => age("olderThan", olderThan))
  return yield* removeOnce((yield* Clock.currentTimeMillis) - millis)
})

/** What a step needs. A `run` that uses a step or asks a question needs a service that no layer provides. */
type Requirements<Success extends Schema.Schema.Any, Error extends Schema.Schema.All, R, R3, Own> =
  | Exclude<R | Success["Context"] | Error["Context"], Run>
  | (Run extends R | R3 ? StepInsideStep : never)
  | (Strategy.Asker extends Own | R3 ? AskedInsideStep : never)
  | (NoCompensation extends R3 ? never : Exclude<R3, Run | Strategy.Asker> | Transaction)

/**
 * Needed by a step whose `run` or compensation asks a question. No layer provides
 * it: a step cannot wait there for the answer. Let the step's own `recover` ask,
 * or a strategy around the step.
 *
 * @since 0.1.0
 * @category models
 */
export interface AskedInsideStep {
  readonly _: "A step cannot ask while it runs: put the strategy into its recover, or around it"
}

/**
 * Needed by a step whose `run` or strategies use another step, sleep durably or
 * wait for a signal. No layer provides it: do so in the workflow instead.
 *
 * @since 0.1.0
 * @category models
 */
export interface StepInsideStep {
  readonly _: "A step cannot use a step, sleep durably or wait for a signal: do so in the body of the workflow"
}

const step = (definition: Definition, input: unknown): Step<unknown, unknown, unknown> =>
  Object.assign(Object.create(proto), { name: definition.name, definition, input })

interface Prototype {
  readonly definition: Definition
  readonly input: unknown
}

const proto = {
  ...Effectable.CommitPrototype,
  [TypeId]: TypeId,
  commit(this: Prototype) {
    return runStep(this.definition, this.input)
  }
}
