/**
 * The errors that stop a run, beside the program's own errors.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { messageOf } from "../resilience/Foreign.js"
import { InvalidName } from "../resilience/InvalidName.js"
import type { AttemptTimeout, RecoveryExhausted, RewindRefused } from "../resilience/RecoveryError.js"
import type { OutcomeStatus } from "../storage/RunStore.js"
import { LeaseHeld, LeaseLost, StorageError } from "../storage/StorageError.js"
import type { RollbackFailed, UndoFailure } from "../transaction/RollbackFailed.js"

/**
 * The errors of `Workflow.execute` beside the workflow's own. The program cannot
 * catch them: the run stops, and can be executed again.
 *
 * @since 0.1.0
 * @category errors
 */
export type RunError =
  | StorageError
  | LeaseHeld
  | LeaseLost
  | InvalidName
  | RunMismatch
  | JournalError
  | StepConflict
  | RewindFailed
  | ReplayMismatch
  | RunSuspended
  | RunHeld
  | RunQueued
  | RunCancelled
  | CancelFailed

/**
 * Something a suspended run waits for.
 *
 * @since 0.1.0
 * @category models
 */
export const Waiting = Schema.Struct({
  /** Answers a question: `Workflow.resolve(run, answer, { question: id })`. */
  id: Schema.String,
  kind: Schema.Literal("sleep", "signal", "question", "child"),
  /** The question, or the name of the signal, sleep or child. */
  about: Schema.String,
  /** Who is asked. */
  to: Schema.OptionFromNullOr(Schema.String),
  /** The failure behind a question. */
  fault: Schema.OptionFromNullOr(
    Schema.Struct({
      category: Schema.String,
      message: Schema.String,
      /** The tag of the error. */
      tag: Schema.optional(Schema.String)
    })
  ),
  /** The parameters an answer may change. */
  parameters: Schema.Array(Schema.String),
  /** Why the previous answer was refused. */
  refused: Schema.OptionFromNullOr(Schema.String),
  /** The name of the signal, and the id that tells it from others of this name. */
  signal: Schema.optional(Schema.Struct({ name: Schema.String, id: Schema.optional(Schema.String) })),
  /** The id of the child run. */
  child: Schema.optional(Schema.String),
  /** The JSON Schema of the signal, or of a value as the answer; missing if the schema has none. */
  schema: Schema.optional(Schema.Unknown),
  since: Schema.Date,
  /** When the wait ends without an answer or signal. */
  until: Schema.OptionFromNullOr(Schema.Date)
})
/**
 * @since 0.1.0
 * @category models
 */
export type Waiting = typeof Waiting.Type

/**
 * The run waits for an answer, a signal or a time, and holds no process
 * meanwhile. Execute it again, or let a worker resume it.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunSuspended extends Data.TaggedError("RunSuspended")<{
  readonly run: string
  /** The open waits. Empty if the run stopped because its worker shuts down. */
  readonly waits: ReadonlyArray<Waiting>
  /** When it can resume without an answer or signal. */
  readonly until: Option.Option<Date>
}> {
  override get message(): string {
    const what = this.waits.map(({ about, child, id, kind }) =>
      kind === "question"
        ? `an answer to "${about}" (question "${id}")`
        : child === undefined
          ? `the ${kind} "${about}"`
          : `the end of run "${child}"`
    )
    const until = Option.match(this.until, { onNone: () => "", onSome: (date) => ` until ${date.toISOString()}` })
    const refused = this.waits.flatMap(({ refused }) => Option.toArray(refused))
    const why = refused.map((reason) => ` The last answer was refused: ${reason}.`).join("")
    const cure = this.waits.some(({ kind }) => kind === "question") ? "Answer with Workflow.resolve; it" : "It"
    return `Run "${this.run}" waits${what.length === 0 ? "" : ` for ${what.join(", ")}`}${until}.${why} ${cure} continues when it is executed again, or when a worker takes it.`
  }
}

/**
 * The run is on hold: no worker takes it, and it is not executed until it is
 * released. Its journal is intact.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunHeld extends Data.TaggedError("RunHeld")<{
  readonly run: string
  /**
   * The id of the hold: `manual`, that of a recovery, or `cut-short` if a step was cut short
   * more often than its `maxCutShort` allows.
   */
  readonly hold: string
  readonly reason: string
  readonly since: Date
}> {
  override get message(): string {
    const cure = this.hold.startsWith("recovery/")
      ? "The recovery ends the hold; if its process has died, RecoveryManager.sweep does."
      : `Workflow.release, or "recovery release ${this.run}", lets it continue.`
    return `Run "${this.run}" is on hold since ${this.since.toISOString()}: ${this.reason}. ${cure}`
  }
}

/**
 * The run belongs to a queue, so a worker with this queue executes it.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunQueued extends Data.TaggedError("RunQueued")<{
  readonly run: string
  readonly queue: string
}> {
  override get message(): string {
    return `Run "${this.run}" waits in queue "${this.queue}", whose limits only a worker can keep. Workflow.join waits for its outcome.`
  }
}

/**
 * The run was cancelled: this is its outcome.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunCancelled extends Data.TaggedError("RunCancelled")<{
  readonly run: string
  readonly reason: string
  /** Who asked for it. */
  readonly by: Option.Option<string>
  /** It ended at once: no compensation ran. */
  readonly isTerminated: boolean
  /** The keys of steps that were not compensated, since a pivot comes after them. */
  readonly kept: ReadonlyArray<string>
}> {
  override get message(): string {
    const by = Option.match(this.by, { onNone: () => "", onSome: (name) => ` by ${name}` })
    const kept = this.kept.map((key) => `"${key}"`).join(", ")
    const note = kept === "" ? "" : ` (a pivot keeps ${kept} from being compensated)`
    return `Run "${this.run}" was ${this.isTerminated ? "terminated" : "cancelled"}${by}: ${this.reason}${note}`
  }
}

/**
 * The run has ended before, so it can be neither cancelled nor terminated. Nothing
 * was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunEnded extends Data.TaggedError("RunEnded")<{
  readonly run: string
  /** How it ended. */
  readonly status: OutcomeStatus
}> {
  override get message(): string {
    return `Run "${this.run}" has ended before: it is ${this.status}. Workflow.status shows its steps, and Workflow.rewind undoes them.`
  }
}

/**
 * The program diverges from the journal of its run: its code was changed, or it
 * depends on something that is not recorded. No step ran in its place.
 *
 * @since 0.1.0
 * @category errors
 */
export class ReplayMismatch extends Data.TaggedError("ReplayMismatch")<{
  readonly run: string
  /**
   * - `Missing`: the program skipped a recorded step or wait
   * - `Unexpected`: the program begins a new step where the journal has another one
   * - `Shape`: the name is the same, but the schema or the kind differs
   */
  readonly reason: "Missing" | "Unexpected" | "Shape"
  /** What the journal has at this place. */
  readonly recorded: string
  /** What the program does at this place. */
  readonly found: string
}> {
  override get message(): string {
    return `Run "${this.run}" does not fit its journal: the journal has ${this.recorded}, the program comes to ${this.found}. Put changed code behind Workflow.patched, or execute the run with the version it was started with.`
  }
}

/**
 * Errors that a step may fail with without declaring them: they stop the run, and
 * `execute` fails with them.
 *
 * @since 0.1.0
 * @category errors
 */
export type Machinery = StorageError | JournalError

/**
 * The id belongs to a run of another workflow or with another input, or a child run
 * belongs to another parent. The run is unchanged.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunMismatch extends Data.TaggedError("RunMismatch")<{
  readonly run: string
  readonly field: "workflow" | "input" | "parent"
  readonly recorded: string
  readonly given: string
}> {
  override get message(): string {
    // Inputs may hold secrets, so the message does not show them; the fields do.
    const what = this.field === "input" ? "another input" : `${this.field} "${this.recorded}", not "${this.given}"`
    return `Run "${this.run}" was started with ${what}. Use another run id, or execute it with the recorded ${this.field} (compare the fields recorded and given).`
  }
}

/**
 * A value could not be written to the journal or read from it. The journal is
 * unchanged; correct the schema and execute the run again. With the reason
 * `Version`, a newer version of this library wrote the line: a process of that
 * version continues the run.
 *
 * @since 0.1.0
 * @category errors
 */
export class JournalError extends Data.TaggedError("JournalError")<{
  readonly reason: "Encode" | "Decode" | "Version"
  /** Undefined for a record outside of runs. */
  readonly run: string | undefined
  /** The record, such as `success of step "charge"`. */
  readonly record: string
  readonly cause: unknown
}> {
  override get message(): string {
    if (this.reason === "Version") {
      return `The ${this.record} of run "${this.run}" was written by a newer version of effect-recovery: ${messageOf(this.cause)}. The journal is unchanged. Let a process of that version continue the run, or update this one.`
    }
    const verb = this.reason === "Encode" ? "be written to" : "be read from"
    const cause = messageOf(this.cause)
    const cure = this.record === "input" ? "Give an input that fits the schema" : "Correct the schema so that it fits"
    if (this.run === undefined) return `The ${this.record} cannot ${verb} the storage: ${cause}. ${cure}.`
    return `The ${this.record} of run "${this.run}" cannot ${verb} the journal: ${cause}. ${cure}, then execute the run again.`
  }
}

/**
 * Two fibers used one step in an order that can differ between executions, so a
 * resume could not tell their results apart.
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
 * A step with `onAmbiguous: "fail"` had started when its process ended, so it
 * may or may not have happened. It was not run again.
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
    return `Step "${this.step}" of run "${this.run}" was started at ${new Date(this.startedAt).toISOString()} and cut short; it may or may not have happened. Check whether it happened, then continue accordingly.`
  }
}

/**
 * A rewind could not compensate every step after its point. The run has stopped
 * in the middle of the rewind; executing it again retries the rest.
 *
 * @since 0.1.0
 * @category errors
 */
export class RewindFailed extends Data.TaggedError("RewindFailed")<{
  readonly run: string
  /** The point, in words. */
  readonly point: string
  readonly failures: ReadonlyArray<UndoFailure>
  /** Steps that were not compensated: a pivot comes after them, or the program did not reach them again. */
  readonly remaining: ReadonlyArray<string>
  readonly pivot: string | undefined
}> {
  override get message(): string {
    return `Run "${this.run}" could not be rewound to ${this.point}: ${obstacles(this)}. Correct the cause, then execute the run again: it continues the rewind.`
  }
}

/** Why a rollback did not end, in words. */
const obstacles = (left: {
  readonly failures: ReadonlyArray<UndoFailure>
  readonly remaining: ReadonlyArray<string>
  readonly pivot: string | undefined
}): string => {
  const failed = left.failures.map(({ cause, undo }) => `"${undo}" (${messageOf(Cause.squash(cause))})`)
  const remaining = left.remaining.map((key) => `"${key}"`).join(", ")
  const parts = [
    left.pivot === undefined ? [] : [`"${left.pivot}" cannot be undone`],
    failed.length === 0 ? [] : [`the compensation of ${failed.join(", ")} failed`],
    remaining === "" ? [] : [`not compensated, because the program did not reach them again: ${remaining}`]
  ]
  return parts.flat().join("; ")
}

/**
 * The run is to be cancelled, and not every step could be compensated. It is still
 * open; executing it again, or a worker, tries the rest again.
 *
 * @since 0.1.0
 * @category errors
 */
export class CancelFailed extends Data.TaggedError("CancelFailed")<{
  readonly run: string
  readonly failures: ReadonlyArray<UndoFailure>
  /** Steps that were not compensated: the program did not reach them again, or a pivot comes after them. */
  readonly remaining: ReadonlyArray<string>
  readonly pivot: string | undefined
}> {
  override get message(): string {
    return `Run "${this.run}" could not be cancelled: ${obstacles(this)}. Correct the cause, then execute the run again: it continues to cancel. Workflow.terminate ends it without compensations.`
  }
}

/** Each error that stops a run. A run that was cancelled has ended. */
const stops = [
  StorageError,
  LeaseHeld,
  LeaseLost,
  InvalidName,
  RunMismatch,
  JournalError,
  StepConflict,
  RewindFailed,
  ReplayMismatch,
  RunSuspended,
  RunHeld,
  RunQueued,
  CancelFailed
]

/**
 * Whether an error stops the run that fails with it.
 *
 * @internal
 */
export const isStop = (error: unknown): error is Exclude<RunError, RunCancelled> =>
  stops.some((Class) => error instanceof Class)

/**
 * @internal
 */
export const machineryOf = (cause: Cause.Cause<unknown>): Machinery | undefined => {
  const error = Option.getOrUndefined(Cause.failureOption(cause))
  return error instanceof StorageError || error instanceof JournalError ? error : undefined
}

const excusedTags: ReadonlySet<unknown> = new Set([
  "RunNotFound",
  "LeaseHeld",
  "LeaseLost",
  "RunSuspended",
  "RunHeld",
  "RunQueued",
  "RunCancelled"
])

const excusedReasons: ReadonlySet<StorageError["reason"]> = new Set(["Busy", "Closed", "Unavailable"])

/**
 * Whether an execution stopped for a reason outside of its run: the run waits, another process has it, or the storage
 * was busy, closed or out of reach. Such a stop does not count against the run.
 *
 * @internal
 */
export const isExcused = (error: unknown): boolean => {
  if (error instanceof StorageError) return excusedReasons.has(error.reason)
  return Predicate.hasProperty(error, "_tag") && excusedTags.has(error._tag)
}

/**
 * There is no run with this id.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunNotFound extends Data.TaggedError("RunNotFound")<{ readonly run: string }> {
  override get message(): string {
    return `There is no run "${this.run}" in this storage. Workflow.list shows the runs.`
  }
}

/** The fields of `GraphFailed`: a generic class cannot extend an expression with its own parameter. */
class Ungraphed extends Data.TaggedError("GraphFailed")<{
  readonly graph: string
  /** The nodes that failed. */
  readonly failures: ReadonlyArray<{ readonly node: string; readonly error: unknown }>
  /** The nodes that did not run, and the failed node each depends on. */
  readonly skipped: ReadonlyArray<{ readonly node: string; readonly because: string }>
  /** The nodes that completed. */
  readonly completed: ReadonlyArray<string>
  /** Their results, encoded; `Graph.partial` decodes them. */
  readonly outputs: Readonly<Record<string, unknown>>
}> {}

/**
 * Nodes of a graph failed. The nodes that do not depend on them completed.
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
    // Shown by printers of errors.
    Object.defineProperty(this, "cause", { value: props.failures[0]?.error, enumerable: false, configurable: true })
  }
  override get message(): string {
    const failed = this.failures.map(({ error, node }) => `"${node}" (${messageOf(error)})`).join(", ")
    const skipped = this.skipped.map(({ node }) => `"${node}"`).join(", ")
    const done = this.completed.length
    return `Graph "${this.graph}" failed at ${failed}. ${skipped === "" ? "" : `Not run: ${skipped}. `}${done} of its nodes completed.`
  }
}

/**
 * The errors of a workflow's body: those of its schema, and those that
 * recoveries, transactions and graphs add.
 *
 * @since 0.1.0
 * @category models
 */
export type Failure<E> =
  | StepFailure<E>
  | ChildFailure
  | RollbackFailed<Failure<E> | RunError>
  | GraphFailed<Failure<E> | RunError>
  | RecoveryExhausted<Failure<E> | RunError>

/**
 * How waiting for a child run fails beside its own errors: the child was cancelled, or there
 * is none to join. Each names the child's run. A body that does not handle it fails with it.
 *
 * @since 0.1.0
 * @category models
 */
export type ChildFailure = RunCancelled | RunNotFound

/**
 * The errors of a step: those of its schema, and those that recoveries add.
 *
 * @since 0.1.0
 * @category models
 */
export type StepFailure<E> = Plain<E> | RecoveryExhausted<Plain<E>>

type Plain<E> = E | AttemptTimeout | StepAmbiguous | RewindRefused
