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
import type { Failure, JournalError, RunError, RunNotFound } from "../journal/RunError.js"
import type { Point } from "../resilience/Decision.js"
import { checkName } from "../resilience/InvalidName.js"
import { millis, wholeNumber } from "../resilience/internal/kernel/options.js"
import { traced } from "../resilience/internal/kernel/tracing.js"
import { escapeName } from "../resilience/Key.js"
import type { NameOf, RecoveryExhausted, Shown } from "../resilience/Recovery.js"
import type * as Strategy from "../resilience/Strategy.js"
import type * as Storage from "../storage/Storage.js"
import type { RollbackFailed } from "../transaction/RollbackFailed.js"
import type { Transaction } from "../transaction/Transactor.js"
import * as Answer from "./Answer.js"
import { executeChild, orInBody } from "./internal/child/child.js"
import { byCaller, currentRun, Run } from "./internal/execution/execution.js"
import type { Definition } from "./internal/run/advance.js"
import * as execute_ from "./internal/run/execute.js"
import { forkRun, inputOf, type RunExists, rewindRun } from "./internal/run/rewindRun.js"
import { type NotOpen, resolve as resolve_, type ValueRefused } from "./internal/wait/resolve.js"
import { wait } from "./internal/wait/wait.js"
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
  type ChildFailure,
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
 * @category children
 */
export * from "./ChildRuns.js"
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
 * @category execution
 */
export * from "./RunControl.js"
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
 * @category execution
 */
export * from "./RunStart.js"
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
 * What a workflow's body must return for its schemas: the compiler shows the text where they cannot write its errors or its result.
 *
 * @since 0.1.0
 * @category models
 */
export type Writable<A, E, Success, Error> = [Unlisted<E, Error>] extends [never]
  ? [A] extends [Success]
    ? unknown
    : // biome-ignore lint/suspicious/noConfusingVoidType: the type of Schema.Void
      [Success] extends [void]
      ? `The body returns a value: record it with a success schema, or drop it with Effect.asVoid`
      : `The body returns a value that the workflow's success schema cannot write`
  : `The body fails with ${OriginalName<Unlisted<E, Error>>}: add it to the workflow's error schema`

/**
 * Needed by a workflow with a step that has `compensate` outside of a transaction.
 * No layer provides it: put `Transaction.run` around the step.
 *
 * @since 0.1.0
 * @category models
 */
export interface CompensateOutsideTransaction {
  readonly _: "a step with compensate needs a transaction: put Transaction.run around it"
}

type Requirements<R> =
  | Exclude<R, Run | Strategy.Rewinder | Strategy.Asker | State.Cells | Transaction>
  | (Transaction extends R ? CompensateOutsideTransaction : never)

// A comparison with `Failure` and `RunError` makes the compiler resolve all of their classes, so errors that it knows
// by identity come first, and so does `unknown`, which it tries before it has inferred the errors.
type Unlisted<E, Error> = unknown extends E
  ? 0 extends 1 & E
    ? never
    : E
  : E extends Error | RollbackFailed<Error>
    ? never
    : Exclude<E, Failure<Error> | RunError>

type OriginalName<E> = E extends RecoveryExhausted<infer Original> ? NameOf<Original> : NameOf<E>

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
  A,
  E,
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
  body: (
    input: Input["Type"],
    continueAs: ContinueAs<Input["Type"]>
  ) => Effect.Effect<A, E, R> & Writable<A, E, Success["Type"], Error["Type"]>
): Workflow<
  Input["Type"],
  Success["Type"],
  E,
  Shown<Requirements<R> | Input["Context"] | Success["Context"] | Error["Context"]>["union"],
  Input["Context"]
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
 * In the body of a workflow it executes a child run: `id` is the child's name in its parent,
 * and the run's own id is that of {@link childId}. The parent's process executes the child; a
 * parent whose child waits is suspended with it. The journal of the parent has the result, so a
 * resume neither starts another child nor reads this one. A child that fails has the error types of its
 * workflow here; one that was cancelled fails with its `RunCancelled`. What stops the child stops the
 * parent too, and no other `RunError` reaches the body. A child that the program
 * interrupts is cancelled. The same name and input again is the same child.
 *
 * @example
 * ```ts
 * import { Workflow } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * declare const Ship: Workflow.Workflow<string, string, never, never>
 * declare const Mail: Workflow.Workflow<string, void, never, never>
 *
 * export const Order = Workflow.make("order", { input: Schema.String, success: Schema.String }, (item) =>
 *   Effect.gen(function* () {
 *     yield* Workflow.start(Mail, { id: "mail", input: item })
 *     const parcel = yield* Workflow.execute(Ship, { id: "ship", input: item })
 *     yield* Workflow.join(Mail, "mail")
 *     return parcel
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category execution
 */
export const execute = <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R, unknown>,
  run: Request<Input>
): Effect.Effect<A, E | RunError, R | Storage.Storage> =>
  // As for `execute`. The child's own schemas decode its outcome.
  orInBody(executeAs(workflow, run, {}), (parent) =>
    executeChild(parent, workflow.definition, { id: run.id, labels: run.labels, input: run.input as never })
  ) as Effect.Effect<A, E | RunError, R | Storage.Storage>

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
