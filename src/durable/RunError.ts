/**
 * What can keep a run from going on, apart from the program's own errors.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type LeaseHeld, type LeaseLost, StorageError } from "../storage/StorageError.js"
import { messageOf, type UndoFailure } from "../transaction/RollbackFailed.js"

/**
 * Everything `Workflow.execute` can fail with besides the workflow's own
 * errors. None of them can be caught inside the run: the run stops, and can be
 * executed again.
 *
 * @since 0.1.0
 * @category errors
 */
export type RunError =
  | StorageError
  | LeaseHeld
  | LeaseLost
  | RunMismatch
  | JournalError
  | StepConflict
  | RewindFailed
  | ReplayMismatch
  | RunSuspended

/**
 * Something a suspended run waits for.
 *
 * @since 0.1.0
 * @category models
 */
export const Waiting = Schema.Struct({
  /** How a question is answered: `Workflow.resolve(run, answer, { question: id })`. */
  id: Schema.String,
  kind: Schema.Literal("sleep", "signal", "question"),
  /** What is asked, the name of the signal, or of the sleep. */
  about: Schema.String,
  /** Who is to answer. */
  to: Schema.OptionFromNullOr(Schema.String),
  /** The failure behind a question. */
  fault: Schema.OptionFromNullOr(
    Schema.Struct({
      category: Schema.String,
      message: Schema.String,
      /** Which error it was. */
      tag: Schema.optional(Schema.String)
    })
  ),
  /** The parameters an answer may change. */
  parameters: Schema.Array(Schema.String),
  /** Why the answer before this question was refused. */
  refused: Schema.OptionFromNullOr(Schema.String),
  since: Schema.Date,
  /** When it is over by itself. */
  until: Schema.OptionFromNullOr(Schema.Date)
})
/**
 * @since 0.1.0
 * @category models
 */
export type Waiting = typeof Waiting.Type

/**
 * The run waits for somebody, or for a time, and nothing else of it goes on.
 * It holds no process meanwhile. Execute it again, or leave it to a worker.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunSuspended extends Data.TaggedError("RunSuspended")<{
  readonly run: string
  /** What for. Nothing, if its process was told to leave. */
  readonly waits: ReadonlyArray<Waiting>
  /** When it can go on by itself. */
  readonly until: Option.Option<Date>
}> {
  override get message(): string {
    const what = this.waits.map(({ about, id, kind }) =>
      kind === "question" ? `an answer to "${about}" (question "${id}")` : `the ${kind} "${about}"`
    )
    const until = Option.match(this.until, { onNone: () => "", onSome: (date) => ` until ${date.toISOString()}` })
    const refused = this.waits.flatMap(({ refused }) => Option.toArray(refused))
    const why = refused.map((reason) => ` The last answer was refused: ${reason}.`).join("")
    const cure = this.waits.some(({ kind }) => kind === "question") ? "Answer with Workflow.resolve; it" : "It"
    return `Run "${this.run}" waits${what.length === 0 ? "" : ` for ${what.join(", ")}`}${until}.${why} ${cure} goes on when it is executed again, or by a worker.`
  }
}

/**
 * The program takes another way than the journal of its run: it was changed,
 * or decides by something that is not recorded. Nothing was run in its place.
 *
 * @since 0.1.0
 * @category errors
 */
export class ReplayMismatch extends Data.TaggedError("ReplayMismatch")<{
  readonly run: string
  /**
   * - `Missing`: the program passed by what the journal has here
   * - `Unexpected`: the program asks for something new where the journal has something else
   * - `Shape`: the same name, but another schema or another thing
   */
  readonly reason: "Missing" | "Unexpected" | "Shape"
  /** What the journal has. */
  readonly recorded: string
  /** What the program came to. */
  readonly found: string
}> {
  override get message(): string {
    return `Run "${this.run}" does not fit its journal: there it has ${this.recorded}, the program comes to ${this.found}. Put changed code behind Workflow.patched, or execute the run with the version it was started with.`
  }
}

/**
 * What a step or a workflow may fail with beside its own errors, because it
 * never surfaces there: it stops the run, and `execute` fails with it.
 *
 * @since 0.1.0
 * @category errors
 */
export type Machinery = StorageError | JournalError

/**
 * The id belongs to a run of another workflow or with another input. Nothing
 * was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunMismatch extends Data.TaggedError("RunMismatch")<{
  readonly run: string
  readonly field: "workflow" | "input"
  readonly recorded: string
  readonly given: string
}> {
  override get message(): string {
    // Inputs may hold what does not belong into a log; they are in the fields.
    const what = this.field === "workflow" ? `workflow "${this.recorded}", not "${this.given}"` : "another input"
    return `Run "${this.run}" was started with ${what}. Use another run id, or execute it with the recorded ${this.field} (compare the fields recorded and given).`
  }
}

/**
 * Something could not be written to the journal or read back from it. What is
 * recorded stays as it is; mend the schema and execute the run again.
 *
 * @since 0.1.0
 * @category errors
 */
export class JournalError extends Data.TaggedError("JournalError")<{
  readonly reason: "Encode" | "Decode"
  /** Undefined for what belongs to no run. */
  readonly run: string | undefined
  /** The record, such as `success of step "charge"`. */
  readonly record: string
  readonly cause: unknown
}> {
  override get message(): string {
    const verb = this.reason === "Encode" ? "be written to" : "be read from"
    const cause = this.cause instanceof Error ? this.cause.message : String(this.cause)
    const cure = this.record === "input" ? "Give an input that fits the schema" : "Mend the schema so that it fits"
    if (this.run === undefined) return `The ${this.record} cannot ${verb} the storage: ${cause}. ${cure}.`
    return `The ${this.record} of run "${this.run}" cannot ${verb} the journal: ${cause}. ${cure}, then execute the run again.`
  }
}

/**
 * A step was used by two fibers whose order is not certain, so its results
 * could not be told apart when the run is resumed.
 *
 * @since 0.1.0
 * @category errors
 */
export class StepConflict extends Data.TaggedError("StepConflict")<{ readonly run: string; readonly step: string }> {
  override get message(): string {
    return `Step "${this.step}" of run "${this.run}" was used by concurrent fibers. Give concurrent steps different names, or put each into its own Workflow.section(name, index).`
  }
}

/**
 * A step with `onAmbiguous: "fail"` had started when its process ended, so
 * nobody knows whether it happened. It was not run again.
 *
 * @since 0.1.0
 * @category errors
 */
export class StepAmbiguous extends Schema.TaggedError<StepAmbiguous>("effect-recovery/StepAmbiguous")("StepAmbiguous", {
  run: Schema.String,
  step: Schema.String,
  /** The attempt that was cut short. */
  attempt: Schema.Number,
  /** When it started, epoch milliseconds. */
  startedAt: Schema.Number
}) {
  override get message(): string {
    return `Step "${this.step}" of run "${this.run}" was started at ${new Date(this.startedAt).toISOString()} and cut short; it may or may not have happened. Find out, then go on from what you found.`
  }
}

/**
 * A rewind could not compensate what it passes. The run has stopped half-way,
 * with everything on record; executing it again tries the rest once more.
 *
 * @since 0.1.0
 * @category errors
 */
export class RewindFailed extends Data.TaggedError("RewindFailed")<{
  readonly run: string
  /** Where to, in words. */
  readonly point: string
  readonly failures: ReadonlyArray<UndoFailure>
  /** What was not compensated: a pivot stands before it, or the program did not come by it again. */
  readonly remaining: ReadonlyArray<string>
  readonly pivot: string | undefined
}> {
  override get message(): string {
    const failed = this.failures.map(({ cause, undo }) => `"${undo}" (${messageOf(Cause.squash(cause))})`)
    const left = this.remaining.map((key) => `"${key}"`)
    const parts = [
      this.pivot === undefined ? [] : [`"${this.pivot}" cannot be undone`],
      failed.length === 0 ? [] : [`the compensation of ${failed.join(", ")} failed`],
      left.length === 0 ? [] : [`not compensated, since the program did not come by them again: ${left.join(", ")}`]
    ]
    const what = parts.flat().join("; ")
    return `Run "${this.run}" could not be rewound to ${this.point}: ${what}. Mend what keeps the compensations from working, then execute the run again: it goes on with the rewind.`
  }
}

/**
 * @internal
 */
export const machineryOf = (cause: Cause.Cause<unknown>): Machinery | undefined => {
  const error = Option.getOrUndefined(Cause.failureOption(cause))
  return error instanceof StorageError || error instanceof JournalError ? error : undefined
}

/**
 * There is no run with this id.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunNotFound extends Data.TaggedError("RunNotFound")<{ readonly run: string }> {
  override get message(): string {
    return `There is no run "${this.run}" in this storage. Workflow.list shows what there is.`
  }
}

/** As for `RollbackFailed`: a generic class cannot extend an expression that knows its parameter. */
class Ungraphed extends Data.TaggedError("GraphFailed")<{
  readonly graph: string
  /** The nodes that failed. */
  readonly failures: ReadonlyArray<{ readonly node: string; readonly error: unknown }>
  /** The nodes that were not run, and the one that failed before them. */
  readonly skipped: ReadonlyArray<{ readonly node: string; readonly because: string }>
  /** The nodes that came to their end. */
  readonly completed: ReadonlyArray<string>
  /** What they made, as their schemas write it, unless it is nothing: `Graph.partial` reads it. */
  readonly outputs: Readonly<Record<string, unknown>>
}> {}

/**
 * Nodes of a graph failed. Those that do not come after them have come to
 * their end.
 *
 * @since 0.1.0
 * @category errors
 */
export class GraphFailed<out E> extends Ungraphed {
  /**
   * The nodes that failed.
   *
   * @since 0.1.0
   */
  declare readonly failures: ReadonlyArray<{ readonly node: string; readonly error: E }>
  constructor(props: ConstructorParameters<typeof Ungraphed>[0]) {
    super(props)
    // For whoever prints it: the first error stands behind it.
    Object.defineProperty(this, "cause", { value: props.failures[0]?.error, enumerable: false, configurable: true })
  }
  override get message(): string {
    const failed = this.failures.map(({ error, node }) => `"${node}" (${messageOf(error)})`).join(", ")
    const skipped = this.skipped.map(({ node }) => `"${node}"`).join(", ")
    const done = this.completed.length
    return `Graph "${this.graph}" failed at ${failed}. ${skipped === "" ? "" : `Not run: ${skipped}. `}${done} of its nodes came to their end.`
  }
}
