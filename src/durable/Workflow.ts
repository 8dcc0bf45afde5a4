/**
 * A workflow is a program of steps whose runs survive their process. Executing
 * a run again resumes it: completed steps return their recorded result.
 *
 * The body runs again at every resume, so code outside steps must be
 * deterministic and free of side effects.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import type {
  Failure,
  JournalError,
  Machinery,
  RunCancelled,
  RunEnded,
  RunError,
  RunHeld,
  RunMismatch,
  RunNotFound
} from "../journal/RunError.js"
import type { Point } from "../resilience/Decision.js"
import { checkName, type InvalidName } from "../resilience/InvalidName.js"
import { millis, wholeNumber } from "../resilience/internal/kernel/options.js"
import { traced } from "../resilience/internal/kernel/tracing.js"
import { escapeName } from "../resilience/Key.js"
import type * as Strategy from "../resilience/Strategy.js"
import type * as Storage from "../storage/Storage.js"
import * as Answer from "./Answer.js"
import { byCaller, currentRun, Run } from "./internal/execution/execution.js"
import type { Definition } from "./internal/run/advance.js"
import { cancelRun, terminateRun } from "./internal/run/cancel.js"
import * as execute_ from "./internal/run/execute.js"
import * as hold_ from "./internal/run/hold.js"
import { forkRun, inputOf, type RunExists, rewindRun } from "./internal/run/rewindRun.js"
import { type NotOpen, resolve as resolve_, type ValueRefused } from "./internal/wait/resolve.js"
import { wait } from "./internal/wait/wait.js"
import type { Queue } from "./Queue.js"
import type * as State from "./State.js"
import * as Worker from "./Worker.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  CancelFailed,
  /**
   * @since 0.1.0
   * @category models
   */
  type Failure,
  /**
   * @since 0.1.0
   * @category errors
   */
  JournalError,
  /**
   * @since 0.1.0
   * @category errors
   */
  type Machinery,
  /**
   * @since 0.1.0
   * @category errors
   */
  ReplayMismatch,
  /**
   * @since 0.1.0
   * @category errors
   */
  RewindFailed,
  /**
   * @since 0.1.0
   * @category errors
   */
  RunCancelled,
  /**
   * @since 0.1.0
   * @category errors
   */
  RunEnded,
  /**
   * @since 0.1.0
   * @category errors
   */
  type RunError,
  /**
   * @since 0.1.0
   * @category errors
   */
  RunHeld,
  /**
   * @since 0.1.0
   * @category errors
   */
  RunMismatch,
  /**
   * @since 0.1.0
   * @category errors
   */
  RunNotFound,
  /**
   * @since 0.1.0
   * @category errors
   */
  RunQueued,
  /**
   * @since 0.1.0
   * @category errors
   */
  RunSuspended,
  /**
   * @since 0.1.0
   * @category errors
   */
  StepConflict,
  /**
   * @since 0.1.0
   * @category models
   */
  type StepFailure,
  /**
   * @since 0.1.0
   * @category models
   */
  type Waiting
} from "../journal/RunError.js"
/**
 * @since 0.1.0
 * @category models
 */
export * from "../journal/RunStatus.js"
export {
  /**
   * The id or the name cannot be used.
   *
   * @since 0.1.0
   * @category errors
   */
  InvalidName
} from "../resilience/InvalidName.js"
export {
  /**
   * @since 0.1.0
   * @category errors
   */
  InvalidOption
} from "../resilience/InvalidOption.js"
/**
 * @since 0.1.0
 * @category versions
 */
export * from "./Deploys.js"
export {
  /**
   * The run a fiber belongs to.
   *
   * @since 0.1.0
   * @category services
   */
  Run
} from "./internal/execution/execution.js"
export {
  /**
   * Guards changed code: `true` in runs that reach it for the first time,
   * `false` in runs whose journal the code before the change continued. The
   * answer is recorded and stays the same for the whole run.
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
  patched
} from "./internal/execution/replayOrder.js"
export {
  /**
   * A run with its whole journal, as JSON can hold it: `Testing.replay` checks
   * whether changed code still fits it.
   *
   * @since 0.1.0
   * @category versions
   */
  History,
  /**
   * Exports a run for the tests of a change, with its input and the results of
   * its steps.
   *
   * @since 0.1.0
   * @category versions
   */
  history
} from "./internal/run/history.js"
export {
  /**
   * A run with the id of the fork exists already.
   *
   * @since 0.1.0
   * @category errors
   */
  RunExists
} from "./internal/run/rewindRun.js"
export {
  /**
   * The question or signal cannot be answered.
   *
   * @since 0.1.0
   * @category errors
   */
  NotOpen,
  /**
   * The value does not fit the schema of the question.
   *
   * @since 0.1.0
   * @category errors
   */
  ValueRefused
} from "./internal/wait/resolve.js"
/**
 * @since 0.1.0
 * @category points
 */
export * from "./RunPoint.js"
export {
  /**
   * Defines a schedule for `Worker.layer`: each due time starts a run of a workflow.
   * See `RunSchedule`.
   *
   * @since 0.1.0
   * @category constructors
   */
  make as schedule
} from "./RunSchedule.js"
/**
 * @since 0.1.0
 * @category inspection
 */
export * from "./StoredRuns.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Workflow<in Input, out A, out E, out R, out S = never> {
  readonly name: string
  readonly version: string
  /** @internal */
  readonly definition: Definition<Input, A, E, R>
  /** What the schema of its input needs, which `start` needs too. */
  readonly _S?: Types.Covariant<S>
}

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
  body: (input: Input["Type"], continueAs: ContinueAs<Input["Type"]>) => Effect.Effect<A, E, R>
): Workflow<
  Input["Type"],
  Success["Type"],
  E,
  | Exclude<R, Run | Strategy.Rewinder | Strategy.Asker | State.Cells>
  | Schema.Schema.Context<Input>
  | Schema.Schema.Context<Success>
  | Schema.Schema.Context<Error>,
  Schema.Schema.Context<Input>
> => {
  const version = options.version ?? "1"
  const definition = {
    name: checkName("workflow", name),
    version: checkName("version", version),
    input: options.input ?? Schema.Void,
    success: options.success ?? Schema.Void,
    error: options.error ?? Schema.Never,
    body
  }
  // The schemas were given for just these types; `Run` is provided by `execute`.
  return { name, version, definition: definition as never }
}

/**
 * The second parameter of a workflow's body. It ends this generation of the run and
 * begins the next one under the same id, with another input and an empty journal, in one commit.
 * A loop that never ends needs no more journal, and no more memory, than one round.
 *
 * `execute` and `join` wait for the outcome of the last generation. Labels, checkpoints and signals
 * that the body has not waited for stay with the run. State begins anew, and so do
 * idempotency keys: pass what the next generation needs as its input. No round
 * can be rewound once the next one has begun.
 *
 * Call it in the body itself, after every fiber that the body has forked: in a step, a transaction, a finalizer or beside another
 * fiber it dies, and the run stays open. An input that its schema cannot encode stops the run with `JournalError`.
 *
 * @example
 * ```ts
 * import { Step, Workflow } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const importPage = Step.make("import page", {
 *   success: Schema.NullOr(Schema.Number),
 *   run: (page: number) => Effect.succeed(page < 1_000 ? page + 1 : null)
 * })
 *
 * export const Import = Workflow.make("import", { input: Schema.Number }, (page, continueAs) =>
 *   Effect.flatMap(importPage(page), (next) => (next === null ? Effect.void : continueAs(next)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type ContinueAs<in Input> = (next: Input) => Effect.Effect<never, never, Run>

/**
 * Starts the run, resumes it, or returns its recorded outcome. Executing the
 * same run again is always safe.
 *
 * Fails with the workflow's own errors, or with a `RunError`: then the run has
 * stopped, its journal is intact, and it can be executed again. The same holds
 * after a defect or an interruption.
 *
 * @since 0.1.0
 * @category execution
 */
export const execute = <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R, unknown>,
  run: Request<Input>
): Effect.Effect<A, E | RunError, R | Storage.Storage> => executeAs(workflow, run, {})

const executeAs = <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R, unknown>,
  run: Request<Input>,
  { heldAs }: HeldAs
): Effect.Effect<A, E | RunError, R | Storage.Storage> => {
  // `Request` lets an input be missing only if its type allows undefined.
  const request = { id: run.id, labels: run.labels, input: run.input as never }
  return traced(
    "Workflow.execute",
    () => ({ workflow: workflow.name, run: run.id }),
    execute_.execute(workflow.definition, request, { ...byCaller, heldAs })
  )
}

/**
 * Whose hold the caller has.
 *
 * @since 0.1.0
 * @category models
 */
export interface HeldAs {
  /**
   * The id of the hold that the caller has on the run: `manual` for that of
   * {@link hold}. The run stays on hold. Defaults to none: a held run is refused.
   */
  readonly heldAs?: string | undefined
}

/**
 * The run to execute.
 *
 * @since 0.1.0
 * @category models
 */
export type Request<Input> = {
  /** Identifies the run; use an id of the job itself, such as an order number. */
  readonly id: string
  /** Recorded when the run starts. */
  readonly labels?: Readonly<Record<string, string>> | undefined
} & (undefined extends Input ? { readonly input?: Input } : { readonly input: Input })

/**
 * Executes a run that exists, with the input it was started with. A held run is
 * executed only for its holder.
 *
 * @since 0.1.0
 * @category execution
 */
export const resume = <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R, unknown>,
  id: string,
  options: HeldAs = {}
): Effect.Effect<A, E | RunError | RunNotFound, R | Storage.Storage> =>
  Effect.flatMap(inputOf(workflow.definition, id), (input) =>
    // The workflow's own schema encoded it.
    executeAs(workflow, { id, input } as unknown as Request<Input>, options)
  ) as Effect.Effect<A, E | RunError | RunNotFound, R | Storage.Storage>

/**
 * Rewinds a run from outside: compensates the steps after a point, last first,
 * and ignores them from then on. The journal keeps their lines, and also an
 * outcome the run had. `execute` or `resume` continues from the point.
 *
 * Fails with `RewindRefused`, and changes nothing, if there is no such point or
 * a step after it cannot be undone; with `RewindFailed` if a compensation fails.
 * A held run is rewound only for its holder: `heldAs` is the id of the hold.
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
  workflow: Workflow<Input, A, E, R, unknown>,
  id: string,
  to: Point,
  { heldAs }: HeldAs = {}
): Effect.Effect<void, RunError | RunNotFound | Strategy.RewindRefused, R | Storage.Storage> =>
  // The body's own needs are those of the workflow.
  Effect.asVoid(rewindRun(workflow.definition, id, to, heldAs)) as Effect.Effect<
    void,
    RunError | RunNotFound | Strategy.RewindRefused,
    R | Storage.Storage
  >

/**
 * Puts a run on hold: no worker takes it and `execute` fails with `RunHeld`, in
 * all processes, until {@link release}. Signals and answers are stored meanwhile.
 *
 * A process that executes the run begins no further step and no retry. It ends its
 * running attempts, and then gives the run back: `status` shows `running` until
 * then. The processes of another host see the hold within about a second.
 *
 * Holds a run that has ended, too: then only its holder can rewind it. Holding
 * a held run again changes nothing. Fails with `RunHeld` if a recovery has the
 * run on hold.
 *
 * @example
 * ```ts
 * import { Storage, Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * export const stopOrder = (id: string) =>
 *   Workflow.hold(id, { reason: "the address is wrong", by: "ada" }).pipe(
 *     Effect.provide(Storage.layerMemory)
 *   )
 * ```
 *
 * @since 0.1.0
 * @category holding
 */
export const hold: (
  run: string,
  options: {
    /** Why: shown wherever the run is shown. */
    readonly reason: string
    /** Who holds it. */
    readonly by?: string | undefined
  }
) => Effect.Effect<void, RunNotFound | RunHeld | Storage.StorageError, Storage.Storage> = hold_.hold

/**
 * Ends the hold of {@link hold}, or the one that a rollback left. A worker
 * continues the run if it is due. Returns `false` if the run is not on hold.
 * Fails with `RunHeld` while a recovery has the run on hold.
 *
 * @since 0.1.0
 * @category holding
 */
export const release: (
  run: string
) => Effect.Effect<boolean, RunNotFound | RunHeld | Storage.StorageError, Storage.Storage> = hold_.release

/**
 * Creates a run with a copy of another run's journal up to a point. The other
 * run is only read, and no step is compensated. `execute` or `resume` continues
 * the new run from the point.
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
) => forkRun(id, as, to)

/**
 * The run to record for a worker.
 *
 * @since 0.1.0
 * @category models
 */
export type StartRequest<Input> = Request<Input> & Place & When

/**
 * The place of a run in a queue.
 *
 * @since 0.1.0
 * @category models
 */
export type Place =
  | {
      /** Limits how many of its runs go at once. Only workers that have the queue take the run. */
      readonly queue: Queue
      /** Runs of one key share a part of the limits, and keys take turns: a tenant, a host. Defaults to no key. */
      readonly key?: string | undefined
      /** Runs of a higher priority start first, a whole number of either sign. Defaults to 0. */
      readonly priority?: number | undefined
    }
  | { readonly queue?: undefined; readonly key?: undefined; readonly priority?: undefined }

/**
 * When a run starts.
 *
 * @since 0.1.0
 * @category models
 */
export type When =
  | {
      /** No worker takes the run earlier. 0 does not wait. Defaults to 0. */
      readonly delay?: Duration.DurationInput | undefined
      readonly debounce?: undefined
    }
  | {
      /**
       * No worker takes the run until it was not started again for this long. Each
       * start until then replaces its input, and the wait begins anew. 0 does not wait.
       */
      readonly debounce: Duration.DurationInput
      readonly delay?: undefined
    }

/**
 * Records a run without executing it, for a {@link worker}: in a queue, and
 * later, if you want. Does not change a run that exists already, so the id
 * deduplicates; only a debounced start changes one that no worker had yet.
 *
 * Fails with `RunMismatch` if the run exists with another workflow or input: of a
 * debounced run, a worker has taken it. Dies with `InvalidOption` if an option is
 * invalid.
 *
 * @example
 * ```ts
 * import { Queue, Workflow } from "effect-recovery"
 *
 * declare const Index: Workflow.Workflow<{ readonly page: string }, void, never, never>
 * const Indexing = Queue.make("indexing", { concurrency: 2, perKey: 1 })
 *
 * // Ten edits within five seconds start one run, with the last input.
 * export const edited = (tenant: string, page: string, edition: number) =>
 *   Workflow.start(Index, {
 *     id: `index/${page}/${edition}`,
 *     input: { page },
 *     queue: Indexing,
 *     key: tenant,
 *     debounce: "5 seconds"
 *   })
 * ```
 *
 * @since 0.1.0
 * @category execution
 */
export const start = <Input, A, E, R, S>(
  workflow: Workflow<Input, A, E, R, S>,
  run: StartRequest<Input>
): Effect.Effect<void, InvalidName | RunMismatch | JournalError | Storage.StorageError, S | Storage.Storage> =>
  // As for `execute`. A run that is only recorded has no lease, so `LeaseHeld` cannot occur.
  Effect.suspend(() =>
    execute_.start(workflow.definition, { id: run.id, labels: run.labels, input: run.input as never }, recordingOf(run))
  ) as Effect.Effect<void, InvalidName | RunMismatch | JournalError | Storage.StorageError, S | Storage.Storage>

const recordingOf = ({ debounce, delay, key, priority, queue }: Place & When): execute_.Recording => ({
  queue: queue && {
    name: queue.name,
    key: key ?? "",
    priority: priority === undefined ? 0 : wholeNumber("priority", priority)
  },
  delay: debounce === undefined ? millis("delay", delay ?? 0) : millis("debounce", debounce),
  debounce: debounce !== undefined
})

/**
 * Waits until a run has its outcome, in whichever process, and returns it. Fails
 * with `RunCancelled` if it was cancelled. Executes nothing.
 *
 * @since 0.1.0
 * @category execution
 */
export const join = <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R, unknown>,
  id: string
): Effect.Effect<
  A,
  E | RunCancelled | RunNotFound | RunMismatch | JournalError | Storage.StorageError,
  R | Storage.Storage
> =>
  // The workflow's own schemas decode the outcome.
  execute_.join(workflow.definition, id) as Effect.Effect<
    A,
    E | RunCancelled | RunNotFound | RunMismatch | JournalError | Storage.StorageError,
    R | Storage.Storage
  >

/**
 * Cancels a run: its open transactions are rolled back, and its outcome is
 * `RunCancelled`. Steps that have completed are not run again, and nothing else
 * begins, in finalizers neither. Running steps are interrupted.
 *
 * Answers `cancelled` if the run has ended with that: it had not begun, or it was
 * cancelled before. Answers `cancelling` if compensations may have to run: the process
 * that has the run does it, or the next one that claims it. The request is stored, so a crash
 * does not end it; of several requests the first one counts. `Workflow.join` waits
 * for the end.
 *
 * A hold ends with the request, unless it is that of a recovery, which comes to its end before. A body that
 * ends by itself first keeps its own outcome. If a compensation fails, executions
 * fail with `CancelFailed` and the run stays open, until a later execution
 * succeeds or `Workflow.terminate` ends it. What lies before a pivot is kept.
 *
 * Fails with `RunNotFound` or `RunEnded`, and then changes nothing.
 *
 * @example
 * ```ts
 * import { Storage, Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * export const cancelOrder = (id: string) =>
 *   Workflow.cancel(id, { reason: "the customer withdrew", by: "ada" }).pipe(Effect.provide(Storage.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category execution
 */
export const cancel: (
  id: string,
  options: CancelOptions
) => Effect.Effect<
  "cancelled" | "cancelling",
  RunNotFound | RunEnded | JournalError | Storage.StorageError,
  Storage.Storage
> = Effect.fn("Workflow.cancel")((id, { by, reason }) => cancelRun(id, { reason, by }))

/**
 * Ends a run at once, wherever it runs, without compensations: its outcome is
 * `RunCancelled` with `isTerminated`. The process that has it cannot write any
 * more, and interrupts the body at its next write or renewal of the lease.
 *
 * Fails with `RunNotFound` or `RunEnded`, and then changes nothing.
 *
 * @since 0.1.0
 * @category execution
 */
export const terminate: (
  id: string,
  options: TerminateOptions
) => Effect.Effect<void, RunNotFound | RunEnded | Storage.StorageError, Storage.Storage> = Effect.fn(
  "Workflow.terminate"
)((id, { by, reason }) => terminateRun(id, { reason, by }))

/**
 * @since 0.1.0
 * @category models
 */
export interface TerminateOptions {
  /** Why, in words: it is part of the outcome. */
  readonly reason: string
  /** Who asks for it. Defaults to none. */
  readonly by?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface CancelOptions extends TerminateOptions {}

/**
 * A worker for these workflows, with the default settings of
 * {@link Worker.layer}.
 *
 * @since 0.1.0
 * @category layers
 */
export const worker = <const W extends ReadonlyArray<Workflow<never, unknown, unknown, unknown, unknown>>>(
  ...workflows: W
): Layer.Layer<Worker.Worker, Worker.Duplicate, Storage.Storage | Worker.Requirements<W[number]>> =>
  Worker.layer(workflows)

/**
 * Answers the only open question of a suspended run, or the named one. The
 * first answer counts. A worker, or the next `execute`, resumes the run. A value
 * that does not fit the schema of the question fails with `ValueRefused`. Any other
 * answer that does not fit is refused when the run resumes, and the run asks again.
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
    /** The id of the question, from `RunSuspended` or `Workflow.list`. */
    readonly question?: string | undefined
  }
) => Effect.Effect<
  void,
  RunNotFound | NotOpen | ValueRefused | JournalError | Storage.StorageError,
  Storage.Storage | R
> = Effect.fn("Workflow.resolve")(function* (run, answer, { question } = {}) {
  yield* resolve_(run, yield* Answer.encode(run, answer), question)
})

/**
 * Sleeps durably: a crash does not change the wake-up time. `execute` waits in
 * memory; a worker suspends a run that sleeps for longer than its `patience`. A
 * duration of 0 does not wait.
 *
 * @since 0.1.0
 * @category combinators
 */
export const sleep = (
  duration: Duration.DurationInput,
  options?: {
    /** The name in the journal; concurrent sleeps need different names. Defaults to "sleep". */
    readonly name?: string | undefined
  }
): Effect.Effect<void, never, Run> => {
  const name = options?.name ?? "sleep"
  return Effect.asVoid(wait({ name, kind: "sleep", about: name, millis: millis("duration", duration) }))
}

/**
 * Prefixes the keys of the steps inside with a name and a whole number: for
 * loops, and for concurrent steps of one name.
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
    Effect.flatMap(currentRun, (run) => {
      const path = `${run.section}${escapeName(checkName("section", name))}${index === undefined ? "" : `[${wholeNumber("index", index)}]`}/`
      return Effect.provideService(self, Run, { ...run, section: path })
    })
