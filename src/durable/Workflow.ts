/**
 * A workflow is a program of steps whose runs survive their process: executing
 * a run again goes on where it stopped, with completed steps answered from the
 * journal.
 *
 * Outside of steps a workflow should do nothing but decide: its body is run
 * again at every resume.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Point } from "../resilience/Decision.js"
import { traced } from "../resilience/internal/kernel/tracing.js"
import type { AttemptTimeout, RecoveryExhausted } from "../resilience/Recovery.js"
import type * as Strategy from "../resilience/Strategy.js"
import type * as Storage from "../storage/Storage.js"
import type { RollbackFailed } from "../transaction/RollbackFailed.js"
import * as Answer from "./Answer.js"
import { escapeName, Run as RunTag } from "./internal/execution/execution.js"
import { patched as patched_ } from "./internal/execution/replayOrder.js"
import type { Definition } from "./internal/run/advance.js"
import * as cleanup_ from "./internal/run/cleanup.js"
import { execute as executeRun, join as join_, start as start_ } from "./internal/run/execute.js"
import * as fork_ from "./internal/run/forkRun.js"
import * as history_ from "./internal/run/history.js"
import { inputOf, rewindRun } from "./internal/run/rewindRun.js"
import * as status_ from "./internal/run/runStatus.js"
import { NotOpen, resolve as resolve_ } from "./internal/wait/resolve.js"
import { wait } from "./internal/wait/wait.js"
import {
  type GraphFailed,
  JournalError,
  type Machinery,
  ReplayMismatch,
  RewindFailed,
  type RunError,
  RunMismatch,
  RunNotFound as RunNotFoundError,
  RunSuspended,
  type StepAmbiguous,
  StepConflict,
  type Waiting
} from "./RunError.js"
import type { RunCount, RunStatus, RunSummary } from "./RunStatus.js"
import type * as State from "./State.js"
import * as Worker from "./Worker.js"

/**
 * @since 0.1.0
 * @category models
 */
export * from "./RunStatus.js"
export {
  /**
   * Something could not be written to the journal or read back from it.
   *
   * @since 0.1.0
   * @category errors
   */
  JournalError,
  /**
   * What a step or a workflow may fail with beside its own errors: it stops
   * the run.
   *
   * @since 0.1.0
   * @category errors
   */
  type Machinery,
  /**
   * There is nothing to answer, or no more.
   *
   * @since 0.1.0
   * @category errors
   */
  NotOpen,
  /**
   * The program takes another way than the journal of its run.
   *
   * @since 0.1.0
   * @category errors
   */
  ReplayMismatch,
  /**
   * A rewind could not compensate what it passes.
   *
   * @since 0.1.0
   * @category errors
   */
  RewindFailed,
  /**
   * Everything `execute` can fail with besides the workflow's own errors.
   *
   * @since 0.1.0
   * @category errors
   */
  type RunError,
  /**
   * The id belongs to a run of another workflow or with another input.
   *
   * @since 0.1.0
   * @category errors
   */
  RunMismatch,
  /**
   * The run waits for somebody, or for a time.
   *
   * @since 0.1.0
   * @category errors
   */
  RunSuspended,
  /**
   * Two steps of one name ran at the same time.
   *
   * @since 0.1.0
   * @category errors
   */
  StepConflict,
  /**
   * Something a suspended run waits for.
   *
   * @since 0.1.0
   * @category models
   */
  type Waiting
}

/**
 * The run a fiber belongs to.
 *
 * @since 0.1.0
 * @category services
 */
export const Run: typeof RunTag = RunTag
/**
 * @since 0.1.0
 * @category services
 */
export type Run = RunTag

/**
 * @since 0.1.0
 * @category models
 */
export interface Workflow<in Input, out A, out E, out R> {
  readonly name: string
  readonly version: string
  /** @internal */
  readonly definition: Definition<Input, A, E, R>
}

/**
 * What the body of a workflow may fail with: the errors of its schema, and
 * what recoveries and steps make of them.
 *
 * @since 0.1.0
 * @category models
 */
export type Failure<E> =
  | StepFailure<E>
  | RollbackFailed<Failure<E> | Machinery>
  | GraphFailed<Failure<E> | Machinery>
  | RecoveryExhausted<Failure<E> | Machinery>

/**
 * What a step may fail with.
 *
 * @since 0.1.0
 * @category models
 */
export type StepFailure<E> = Plain<E> | RecoveryExhausted<Plain<E>>

type Plain<E> = E | AttemptTimeout | StepAmbiguous | Strategy.RewindRefused

/**
 * Defines a workflow: its schemas, and its body as a function of the input.
 *
 * @example
 * ```ts
 * import { Step, Storage, Workflow } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const shout = Step.make("shout", {
 *   success: Schema.String,
 *   run: (text: string) => Effect.succeed(text.toUpperCase())
 * })
 *
 * const Greet = Workflow.make(
 *   "greet",
 *   { input: Schema.String, success: Schema.String },
 *   (name) => Effect.map(shout(name), (loud) => `Hello ${loud}`)
 * )
 *
 * Workflow.execute(Greet, { id: "greet-1", input: "Ada" }).pipe(
 *   Effect.provide(Storage.layerMemory),
 *   Effect.runPromise
 * ).then(console.log) // Hello ADA
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <
  A extends Success["Type"],
  E extends Failure<Error["Type"]> | Machinery,
  R,
  Input extends Schema.Schema.Any = typeof Schema.Void,
  Success extends Schema.Schema.Any = typeof Schema.Void,
  Error extends Schema.Schema.All = typeof Schema.Never
>(
  name: string,
  options: {
    /** Defaults to `Schema.Void`. */
    readonly input?: Input
    /** Defaults to `Schema.Void`. */
    readonly success?: Success
    /** The program's own errors. Defaults to `Schema.Never`. */
    readonly error?: Error
    /** Recorded with every run. Defaults to "1". */
    readonly version?: string
  },
  body: (input: Input["Type"]) => Effect.Effect<A, E, R>
): Workflow<
  Input["Type"],
  Success["Type"],
  E,
  | Exclude<R, Run | Strategy.Rewinder | Strategy.Asker | State.Cells>
  | Schema.Schema.Context<Input>
  | Schema.Schema.Context<Success>
  | Schema.Schema.Context<Error>
> => {
  const version = options.version ?? "1"
  const definition = {
    name,
    version,
    input: options.input ?? Schema.Void,
    success: options.success ?? Schema.Void,
    error: options.error ?? Schema.Never,
    body
  }
  // The schemas were given for just these types; `Run` is provided by `execute`.
  return { name, version, definition: definition as never }
}

/**
 * Starts the run, resumes it, or returns its recorded outcome: whatever it
 * takes to have the result of run `id`. Executing the same run again is
 * always safe.
 *
 * Fails with the workflow's own errors, or with a `RunError`: then the run has
 * stopped, nothing that was recorded is lost, and it can be executed again. A
 * defect or an interruption stops it just so.
 *
 * @since 0.1.0
 * @category execution
 */
export const execute: <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R>,
  run: Request<Input>
) => Effect.Effect<A, E | RunError, R | Storage.Storage> = (workflow, run) => {
  // An input that is missing is one that may be undefined; `Request` has made sure of that.
  const request = { id: run.id, labels: run.labels, input: run.input as never }
  return traced(
    "Workflow.execute",
    () => ({ workflow: workflow.name, run: run.id }),
    executeRun(workflow.definition, request)
  )
}

/**
 * Which run to execute.
 *
 * @since 0.1.0
 * @category models
 */
export type Request<Input> = {
  /** Names the run for good; choose what identifies the job, such as an order number. */
  readonly id: string
  /** Recorded when the run starts, to find it by. */
  readonly labels?: Readonly<Record<string, string>> | undefined
} & (undefined extends Input ? { readonly input?: Input } : { readonly input: Input })

/**
 * Executes a run that exists, with the input it was started with.
 *
 * @since 0.1.0
 * @category execution
 */
export const resume = <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R>,
  id: string
): Effect.Effect<A, E | RunError | RunNotFound, R | Storage.Storage> =>
  Effect.flatMap(inputOf(workflow.definition, id), (input) =>
    // It was written by the workflow's own schema.
    execute(workflow, { id, input } as unknown as Request<Input>)
  ) as Effect.Effect<A, E | RunError | RunNotFound, R | Storage.Storage>

/**
 * The points a run can be rewound to or forked at: see `Decision.Point`.
 *
 * @since 0.1.0
 * @category points
 */
export const fromStart: Point = { _tag: "Start" }

/**
 * Just before the latest use of a step, by its key or, wherever it is, by its name.
 *
 * @since 0.1.0
 * @category points
 */
export const beforeStep = (step: Strategy.Named): Point => ({
  _tag: "Step",
  step: typeof step === "string" ? step : step.name
})

/**
 * Just after the newest checkpoint, of this name if one is given.
 *
 * @since 0.1.0
 * @category points
 */
export const afterCheckpoint = (checkpoint?: Strategy.Named): Point => ({
  _tag: "Checkpoint",
  name: typeof checkpoint === "object" ? checkpoint.name : checkpoint
})

/**
 * Just after the checkpoint with this id.
 *
 * @since 0.1.0
 * @category points
 */
export const atCheckpoint = (id: string): Point => ({ _tag: "Checkpoint", id })

/**
 * Rewinds a run from outside: what it has done after a point is compensated,
 * last first, and forgotten; its journal keeps it. An outcome it had goes to
 * its journal too. The run is left at the point: `execute` or `resume` goes on
 * from there.
 *
 * Fails with `RewindRefused`, and changes nothing, if there is no such point or
 * something stands in the way; with `RewindFailed` if a compensation fails.
 *
 * @example
 * ```ts
 * import { Storage, Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * declare const Order: Workflow.Workflow<string, void, never, never>
 *
 * export const shipAgain = (id: string) =>
 *   Workflow.rewind(Order, id, Workflow.beforeStep("ship")).pipe(
 *     Effect.zipRight(Workflow.resume(Order, id)),
 *     Effect.provide(Storage.layerMemory)
 *   )
 * ```
 *
 * @since 0.1.0
 * @category execution
 */
export const rewind = <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R>,
  id: string,
  to: Point
): Effect.Effect<void, RunError | RunNotFound | Strategy.RewindRefused, R | Storage.Storage> =>
  // The body's own needs are those of the workflow.
  Effect.asVoid(rewindRun(workflow.definition, id, to)) as Effect.Effect<
    void,
    RunError | RunNotFound | Strategy.RewindRefused,
    R | Storage.Storage
  >

/**
 * Makes a new run that has done what another one had done up to a point. The
 * other one is only read, and nothing is undone. The new run is left there:
 * `execute` or `resume` goes on.
 *
 * @since 0.1.0
 * @category execution
 */
export const fork: (
  id: string,
  options: { readonly as: string; readonly to: Point }
) => Effect.Effect<void, RunError | RunNotFound | RunExists | Strategy.RewindRefused, Storage.Storage> = (
  id,
  { as, to }
) => fork_.forkRun(id, as, to)

/**
 * There is a run with the id a fork was to have.
 *
 * @since 0.1.0
 * @category errors
 */
export const RunExists = fork_.RunExists
/**
 * @since 0.1.0
 * @category errors
 */
export type RunExists = fork_.RunExists

/**
 * Puts a run on record without executing it, for a {@link worker}. One that
 * exists already is left as it is.
 *
 * @since 0.1.0
 * @category execution
 */
export const start: <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R>,
  run: Request<Input>
) => Effect.Effect<void, RunMismatch | JournalError | Storage.StorageError, Storage.Storage> = (workflow, run) =>
  // As for `execute`. Nobody else holds what is only put on record.
  start_(workflow.definition, { id: run.id, labels: run.labels, input: run.input as never }) as Effect.Effect<
    void,
    RunMismatch | JournalError | Storage.StorageError,
    Storage.Storage
  >

/**
 * Waits until a run has its outcome, whoever executes it, and answers with it.
 * Executes nothing.
 *
 * @since 0.1.0
 * @category execution
 */
export const join = <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R>,
  id: string
): Effect.Effect<A, E | RunNotFoundError | RunMismatch | JournalError | Storage.StorageError, R | Storage.Storage> =>
  // It is read by the workflow's own schemas.
  join_(workflow.definition, id) as Effect.Effect<
    A,
    E | RunNotFoundError | RunMismatch | JournalError | Storage.StorageError,
    R | Storage.Storage
  >

/**
 * A worker for these workflows, with the settings of {@link Worker.layer}'s
 * defaults.
 *
 * @since 0.1.0
 * @category layers
 */
export const worker = <const W extends ReadonlyArray<Workflow<never, unknown, unknown, unknown>>>(
  ...workflows: W
): Layer.Layer<Worker.Worker, Worker.DuplicateWorkflow, Storage.Storage | Worker.Requirements<W[number]>> =>
  Worker.layer(workflows)

/**
 * Answers a question a suspended run asks: the only one that is open, or the
 * one that is named. The first answer counts. Whoever executes the run next,
 * or a worker, goes on with it; an answer that does not fit is refused then,
 * and asked for again.
 *
 * @example
 * ```ts
 * import { Answer, Storage, Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * export const chargeAgain = (order: string) =>
 *   Workflow.resolve(order, Answer.from({ by: "ada", note: "card replaced" })(Answer.retry)).pipe(
 *     Effect.provide(Storage.layerMemory)
 *   )
 * ```
 *
 * @since 0.1.0
 * @category answering
 */
export const resolve: <R>(
  run: string,
  answer: Answer.Answer<R>,
  options?: {
    /** The id of the question, as `RunSuspended` and `Workflow.list` tell it. */
    readonly question?: string | undefined
  }
) => Effect.Effect<void, RunNotFoundError | NotOpen | JournalError | Storage.StorageError, Storage.Storage | R> =
  Effect.fn("Workflow.resolve")(function* (run, answer, { question } = {}) {
    yield* resolve_(run, yield* Answer.encode(run, answer), question)
  })

/**
 * Sleeps, durably: the time stands, whatever becomes of the process. Whoever
 * called `execute` waits for it; a worker leaves a run that sleeps for long.
 *
 * @since 0.1.0
 * @category combinators
 */
export const sleep = (
  duration: Duration.DurationInput,
  options?: {
    /** Tells sleeps of concurrent fibers apart. Defaults to "sleep". */
    readonly name?: string | undefined
  }
): Effect.Effect<void, never, Run> => {
  const name = options?.name ?? "sleep"
  return Effect.asVoid(wait({ name, kind: "sleep", about: name, millis: Duration.toMillis(duration) }))
}

/**
 * Guards changed code for runs that are under way: `true` for those that come
 * here for the first time, `false` for those whose journal goes on from here,
 * since the code before the change wrote it. What was answered once stands for
 * the whole run.
 *
 * @example
 * ```ts
 * import { Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * declare const charge: Effect.Effect<void>
 * declare const chargeAndNotify: Effect.Effect<void>
 *
 * export const pay = () =>
 *   Effect.flatMap(Workflow.patched("notify"), (isNew) => (isNew ? chargeAndNotify : charge))
 * ```
 *
 * @since 0.1.0
 * @category versions
 */
export const patched: (name: string) => Effect.Effect<boolean, never, Run> = patched_

/**
 * A run with its whole journal, as JSON can hold it: `Testing.replay` shows
 * whether changed code still fits it.
 *
 * @since 0.1.0
 * @category versions
 */
export const History = history_.History
/**
 * @since 0.1.0
 * @category versions
 */
export type History = history_.History

/**
 * Exports a run, for the tests of a change. It holds the input and the results
 * of the steps.
 *
 * @since 0.1.0
 * @category versions
 */
export const history: (id: string) => Effect.Effect<History, RunNotFoundError | Storage.StorageError, Storage.Storage> =
  history_.history

/**
 * Puts the steps inside under a name, and a number: for loops, and for steps
 * of one name that run concurrently.
 *
 * @example
 * ```ts
 * import { Step, Workflow } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const resize = Step.make("resize", {
 *   success: Schema.Number,
 *   run: (width: number) => Effect.succeed(width / 2)
 * })
 *
 * export const Thumbnails = Workflow.make(
 *   "thumbnails",
 *   { input: Schema.Array(Schema.Number), success: Schema.Array(Schema.Number) },
 *   (widths) =>
 *     Effect.forEach(widths, (width, i) => resize(width).pipe(Workflow.section("image", i)), { concurrency: 4 })
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const section =
  (name: string, index?: number) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Run> | Run> =>
    Effect.flatMap(RunTag, (run) => {
      const path = `${run.section}${escapeName(name)}${index === undefined ? "" : `[${index}]`}/`
      return Effect.provideService(self, RunTag, { ...run, section: path })
    })

/**
 * There is no run with this id.
 *
 * @since 0.1.0
 * @category errors
 */
export const RunNotFound = RunNotFoundError
/**
 * @since 0.1.0
 * @category errors
 */
export type RunNotFound = RunNotFoundError

/**
 * Reads how a run stands. Starts nothing and changes nothing.
 *
 * @since 0.1.0
 * @category inspection
 */
export const status: (
  id: string
) => Effect.Effect<RunStatus, RunNotFound | JournalError | Storage.StorageError, Storage.Storage> = Effect.fn(
  "Workflow.status"
)(status_.status)

/**
 * Lists runs, newest first.
 *
 * @since 0.1.0
 * @category inspection
 */
export const list: (query?: {
  readonly workflow?: string | Workflow<never, unknown, unknown, unknown> | undefined
  readonly status?: Storage.Status | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
}) => Effect.Effect<ReadonlyArray<RunSummary>, Storage.StorageError, Storage.Storage> = Effect.fn("Workflow.list")(
  status_.list
)

/**
 * Counts all runs, by workflow and status.
 *
 * @since 0.1.0
 * @category inspection
 */
export const stats: Effect.Effect<ReadonlyArray<RunCount>, Storage.StorageError, Storage.Storage> = cleanup_.stats

/**
 * Removes a run with its journal, signals and checkpoints. One without an
 * outcome is left alone, and answered with `false`.
 *
 * @since 0.1.0
 * @category removing
 */
export const remove: (id: string) => Effect.Effect<boolean, RunNotFoundError | Storage.StorageError, Storage.Storage> =
  Effect.fn("Workflow.remove")(cleanup_.removeRun)

/**
 * Removes runs that ended longer ago than this, and answers with how many
 * there were. Nothing else ever removes a run.
 *
 * @example
 * ```ts
 * import { Storage, Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * Workflow.cleanup({ olderThan: "7 days" }).pipe(
 *   Effect.provide(Storage.layerMemory),
 *   Effect.runPromise
 * ).then(console.log) // 0
 * ```
 *
 * @since 0.1.0
 * @category removing
 */
export const cleanup = (options: {
  readonly olderThan: Duration.DurationInput
  readonly workflow?: string | undefined
}): Effect.Effect<number, Storage.StorageError, Storage.Storage> =>
  cleanup_.cleanup(options.olderThan, options.workflow)
