import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Kind, StepRecord } from "../../../journal/Journal.js"
import { causeCodec } from "../../../journal/JournalCodec.js"
import { markOf } from "../../../journal/JournalLine.js"
import { JournalError, machineryOf, type RunError } from "../../../journal/RunError.js"
import type * as Events from "../../../resilience/Events.js"
import * as Fault from "../../../resilience/Fault.js"
import { warning } from "../../../resilience/internal/kernel/logged.js"
import { startTimer } from "../../../resilience/internal/kernel/timer.js"
import type { Entry, LeaseLost, StorageError } from "../../../storage/Storage.js"
import { type Output, settingsOf } from "../../../transaction/Compensation.js"
import type { AnyUndo } from "../../../transaction/Transactor.js"
import type { Attempt } from "../../Step.js"
import type { Permit } from "../execution/activity.js"
import type { PendingWrite } from "../execution/cells.js"
import * as Execution from "../execution/execution.js"
import type { Branch } from "../execution/fiberTree.js"
import { setOrigin } from "../execution/origins.js"
import * as Replay from "../execution/replay.js"
import { register } from "../rollback/compensations.js"
import type { AnyEffect, Definition } from "./definition.js"

/** One use of a step within a run. */
export interface StepUse {
  readonly execution: Execution.Execution
  readonly definition: Definition
  readonly input: unknown
  readonly key: string
  /** What the journal had of it when the execution began. */
  readonly record: StepRecord | undefined
  readonly isTraced: boolean
  /** Whether the fiber can be interrupted where it uses the step. */
  readonly isInterruptible: boolean
  /** The body's own fiber uses it. */
  readonly isRoot: boolean
  readonly branch: Branch | undefined
  readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
  /** The context its compensation runs in. */
  readonly context: Context.Context<never>
  /** What its compensation gets as output. */
  readonly output: Output
  /** The number of the latest attempt. */
  attempt?: number
  /** An attempt was cut short, and it is unknown whether it happened. */
  isUnsure: boolean
  isAttemptRunning?: boolean
  /** The start of the attempt, if it is recorded with the step's next line. */
  unwritten?: { readonly entry: Entry; readonly cancelTimer: () => void } | undefined
  /** The pass over the transaction around it. */
  readonly pass: Execution.Pass | undefined
  /** The place of the graph's node around it. */
  readonly permit: Permit | undefined
  /** The result was committed together with the program's own rows. */
  isCommitted?: boolean
  /** The value of a result that is committed in another database, and not recorded yet. */
  happened?: { readonly value: unknown }
  /** Writes to State, recorded with the step's next line. */
  readonly writes: Array<PendingWrite>
}

export const sourceOf = (use: StepUse): Events.Source => ({ run: use.execution.id, step: use.key })

export const attemptOf = ({ execution, key }: StepUse, number: number): Attempt => ({
  run: execution.id,
  step: key,
  number,
  idempotencyKey: Execution.idempotencyKey(execution, key),
  token: execution.lease.token
})

/** Emits an event about the step. */
export const emitStep = (use: StepUse, event: (source: Events.Source) => Events.Event): Effect.Effect<void> =>
  Execution.emit(use.execution, event, use.key)

/** Stops the run because a record of the step cannot be written or read. */
export const journalError = (use: StepUse, reason: "Encode" | "Decode", what: string) => (cause: unknown) =>
  Execution.stop(
    use.execution,
    new JournalError({ reason, run: use.execution.id, record: `${what} of step "${use.key}"`, cause })
  )

/** Appends a line together with the step's pending writes to State. */
export const append = (use: StepUse, kind: Kind, number: number, payload?: string, at?: number): Effect.Effect<void> =>
  appendEntry(use, Execution.nextEntry(use.execution, kind, use.key, number, payload, at))

/** A storage failure stops the run, or is only logged if the step is `best-effort`. */
const appendEntry = (use: StepUse, entry: Entry): Effect.Effect<void> =>
  // Nothing that follows fails otherwise.
  appendThen(use, [entry], (exit) => exit) as Effect.Effect<void>

/**
 * Appends lines together with the step's pending writes to State, and continues. In one operation: each step
 * passes here twice. A storage failure stops the run, or is only logged if the step is `best-effort`.
 */
export const appendThen = (
  use: StepUse,
  lines: ReadonlyArray<Entry>,
  then: (exit: Exit.Exit<void>) => AnyEffect,
  durability?: "process-crash"
): AnyEffect => {
  const { execution, key, writes } = use
  const begun = takeStart(use)
  const started = begun === undefined ? lines : [begun, ...lines]
  const entries = writes.length === 0 ? started : [...started, ...execution.cells.commit(execution, key, writes)]
  return Effect.matchCauseEffect(Execution.tryAppend(execution, entries, durability), {
    onFailure: (cause) => Execution.withExit(ifBestEffort(use, cause), then),
    onSuccess: () => then(Exit.void)
  })
}

/** The line about the start of the attempt, if it is to be written with the next one. */
export const takeStart = (use: StepUse): Entry | undefined => {
  const { unwritten } = use
  use.unwritten = undefined
  unwritten?.cancelTimer()
  return unwritten?.entry
}

/** How long the start of an attempt waits for its result, in milliseconds: then it is written by itself. */
const longestUnwritten = 100

/** The start of the attempt is written with the step's next line, or by itself if the attempt takes long. */
export const deferStart = (use: StepUse, entry: Entry): void => {
  const write = () => {
    const begun = takeStart(use)
    // If it fails, so does the append of the result, which ends after this one.
    if (begun !== undefined) Effect.runFork(Effect.ignore(Execution.tryAppend(use.execution, [begun])))
  }
  use.unwritten = { entry, cancelTimer: startTimer(use.fiber, longestUnwritten, write) }
}

const ifBestEffort = (use: StepUse, cause: Cause.Cause<StorageError | LeaseLost>): Effect.Effect<void> =>
  Effect.catchAll(Effect.failCause(cause), (error) =>
    use.definition.bestEffort && error._tag !== "LeaseLost"
      ? warning(`step "${use.key}" continues without a journal entry`, Cause.fail(error))
      : Execution.stop(use.execution, error)
  )

/** A rollback must know this step: it compensates the step, or stops at it. */
export const concernsRollback = ({ definition }: StepUse): boolean =>
  definition.compensate !== undefined || definition.pivot

const noSettings = settingsOf({})

/** Registers the step's compensation, or the pivot, at its place in the journal. */
export const registerUndo = (use: StepUse, order: number): void => {
  if (!concernsRollback(use)) return
  const { context, definition, execution, input, key, output } = use
  const { compensate, maxCutShort, pivot } = definition
  const undo: AnyUndo | undefined =
    // The definition's own types say that its input and output are what its compensation takes.
    compensate && ((toUndo) => compensate.undo({ ...toUndo, input: input as never }))
  const settings = compensate?.settings ?? noSettings
  register(execution, { key, order, undo, settings, output, pivot, context, maxCutShort })
}

/** A pivot that failed has not happened, so a rollback may pass it. */
export const forgetPivot = ({ definition, execution, key }: StepUse): void => {
  if (definition.pivot) execution.rollback.log.delete(key)
}

/** The program has reached a recorded step again: its writes to State are applied. */
export const markReached = ({ execution, key }: StepUse): void => {
  execution.cells.applyRecorded(key)
  Replay.reached(execution.replay.active, key)
}

/** Records the result of a step, and continues with it: the program sees it afterwards. */
export const recordResult = (
  use: StepUse,
  exit: Exit.Exit<unknown, unknown>,
  then: (exit: Exit.Exit<unknown, unknown>) => AnyEffect
): AnyEffect => {
  const { stopError } = use.execution.lifecycle
  if (stopError === undefined && Exit.isSuccess(exit)) return completed(use, exit.value, then)
  return Execution.withExit(stopError === undefined ? withoutResult(use, exit) : stopped(use, stopError, exit), then)
}

const withoutResult = (use: StepUse, exit: Exit.Exit<unknown, unknown>): AnyEffect => {
  if (Exit.isSuccess(exit)) return exit
  if (Cause.isDie(exit.cause)) return died(use, exit.cause)
  if (Cause.isFailure(exit.cause)) return failed(use, exit.cause)
  if (use.isCommitted === true) return exit
  // Interrupted after the commit: it has happened, and must not count as interrupted.
  const { execution, happened } = use
  const recorded =
    happened !== undefined && Execution.isByProgram(execution)
      ? completed(use, happened.value, (written) => written)
      : recordInterruption(use)
  return Effect.zipRight(recorded, exit)
}

/** A step that the program interrupts, such as the loser of a race, does not begin again at a resume. */
export const recordInterruption = (use: StepUse): Effect.Effect<void> =>
  Effect.suspend(() => {
    const attempts = use.attempt ?? use.record?.attempts
    // Interrupted again at its line.
    const isRecorded = use.attempt === undefined && use.record?.interruptedAt !== undefined
    if (attempts === undefined || isRecorded || !Execution.isByProgram(use.execution)) return Effect.void
    use.writes.length = 0
    return append(use, "StepInterrupted", attempts)
  })

/** The run has stopped. A success is still recorded if the journal can be written, so that it is not repeated. */
const stopped = (use: StepUse, error: RunError, exit: Exit.Exit<unknown, unknown>): AnyEffect => {
  const { execution, key } = use
  const recorded =
    Exit.isSuccess(exit) && (error._tag === "StepConflict" || error._tag === "JournalError")
      ? Effect.flatMap(use.definition.success.encode(exit.value), (payload) => {
          const line = Execution.nextEntry(execution, "StepCompleted", key, use.attempt ?? 1, payload)
          const begun = takeStart(use)
          return Execution.tryAppend(execution, begun === undefined ? [line] : [begun, line])
        })
      : Effect.void
  return Effect.zipRight(Effect.ignore(recorded), Execution.stop(execution, error))
}

const completed = (use: StepUse, value: unknown, then: (exit: Exit.Exit<unknown, unknown>) => AnyEffect): AnyEffect => {
  const { definition, execution, key, output, writes } = use
  output.value = Option.some(value)
  const attempts = use.attempt ?? 1
  const ended = (written: Exit.Exit<void>): AnyEffect => {
    if (Exit.isFailure(written)) return then(written)
    if (!execution.watch.isOn()) return then(Exit.succeed(value))
    return Execution.withExit(
      Effect.as(
        emitStep(use, (source) => ({ _tag: "StepCompleted", source, attempts })),
        value
      ),
      then
    )
  }
  if (use.isCommitted === true) return ended(Exit.void)
  const write = (payload: string | undefined) =>
    appendThen(use, [Execution.nextEntry(execution, "StepCompleted", key, attempts, payload)], ended)
  const encoded = definition.success.encode(value)
  // Most values are encoded at once.
  if (writes.length === 0 && isDone(encoded)) return write(encoded.value)
  const ready = Effect.flatMap(encodeSuccess(use, value), (payload) => Effect.as(rebased(use), payload))
  return Execution.withExit(ready, (payload) => (Exit.isSuccess(payload) ? write(payload.value) : then(payload)))
}

/** The effect is its own value already. */
const isDone = <A, E, R>(self: Effect.Effect<A, E, R>): self is Exit.Success<A, E> =>
  Exit.isExit(self) && Exit.isSuccess(self)

export const encodeSuccess = (use: StepUse, value: unknown) =>
  Effect.catchAll(use.definition.success.encode(value), journalError(use, "Encode", "success"))

/** A refusal that leaves the step open, as a defect on its way out of the run. */
export class LeftOpen extends Error {
  readonly error: unknown
  constructor(error: unknown) {
    super("the step was refused and is still open")
    this.name = "LeftOpen"
    this.error = error
  }
}

const failed = (use: StepUse, cause: Cause.Cause<unknown>): AnyEffect => {
  const machinery = machineryOf(cause)
  const error = Option.getOrUndefined(Cause.failureOption(cause))
  if (use.definition.isUnfinished?.(error) === true) return Effect.failCause(cause)
  if (use.definition.leavesOpen?.(error) === true) return died(use, Cause.die(new LeftOpen(error)))
  return machinery === undefined ? recordFailure(use, cause) : Execution.stop(use.execution, machinery)
}

/** Recomputes pending writes to State whose cell changed while the step ran. */
const rebased = (use: StepUse): Effect.Effect<void> =>
  use.writes.length === 0
    ? Effect.void
    : Effect.catchAll(use.execution.cells.rebase(use.writes), journalError(use, "Encode", "state"))

const recordFailure = (use: StepUse, cause: Cause.Cause<unknown>): AnyEffect =>
  Effect.gen(function* () {
    const codec = causeCodec(use.definition.error)
    const payload = yield* Effect.catchAll(codec.encode(cause), journalError(use, "Encode", "error"))
    const attempts = use.attempt ?? 1
    use.writes.length = 0
    // An attempt that may have happened still stops a rollback.
    if (!use.isUnsure) forgetPivot(use)
    yield* append(use, "StepFailed", attempts, payload)
    if (use.execution.watch.isOn()) {
      const fault = yield* Fault.classify(cause)
      yield* emitStep(use, (source) => ({ _tag: "StepFailed", source, attempts, fault }))
    }
    return yield* failFrom(use, cause)
  })

/** Fails with the recorded failure of the step. A recovery around the step knows where the failure came from. */
export const failFrom = ({ execution, key }: StepUse, cause: Cause.Cause<unknown>): Effect.Effect<never, unknown> => {
  setOrigin(execution, cause, key, key)
  return Effect.failCause(cause)
}

/** Records a defect. The step stays open: a bug is mended in the program, and the step runs again. */
const died = (use: StepUse, cause: Cause.Cause<unknown>): AnyEffect =>
  Effect.gen(function* () {
    use.execution.lifecycle.died ??= { step: use.key, in: use.branch }
    use.writes.length = 0
    const payload = yield* Effect.orElseSucceed(causeCodec(Schema.Unknown).encode(cause), () => undefined)
    yield* append(use, "AttemptDied", use.attempt ?? 1, payload)
    return yield* Effect.failCause(cause)
  })

/** Commits the program's rows and the step's result in one transaction of the storage. */
export const transactional = (use: StepUse, number: number, run: AnyEffect): AnyEffect =>
  Effect.suspend(() => {
    const { definition, execution, key, output, writes } = use
    const body = Effect.flatMap(run, (value) =>
      Effect.map(encodeSuccess(use, value), (payload) => {
        const { compensate, pivot } = definition
        const mark = markOf({ pivot, undo: compensate !== undefined, root: false })
        const marked = mark === undefined ? [] : [Execution.nextEntry(execution, "AttemptStarted", key, number, mark)]
        const entry = Execution.nextEntry(execution, "StepCompleted", key, number, payload)
        use.isCommitted = true
        output.value = Option.some(value)
        // Before the commit: a rollback that begins right after it must find the compensation.
        registerUndo(use, entry.seq)
        return [value, [...marked, entry, ...execution.cells.commit(execution, key, writes)]] as const
      })
    )
    return committed(use, body, (tagged) => execution.storage.transactional(execution.lease, tagged))
  })

interface BodyFailed {
  readonly _tag: "BodyFailed"
  readonly error: unknown
}

/** The body's own failure is the step's; a failure of the commit stops the run. */
export const committed = <A, B, R>(
  { execution }: StepUse,
  body: Effect.Effect<A, unknown, R>,
  commit: (tagged: Effect.Effect<A, BodyFailed, R>) => Effect.Effect<B, BodyFailed | StorageError | LeaseLost, R>
): Effect.Effect<B, unknown, R> =>
  Effect.catchAll(commit(Effect.mapError(body, (error): BodyFailed => ({ _tag: "BodyFailed", error }))), (error) =>
    error._tag === "BodyFailed" ? Effect.fail(error.error) : Execution.stop(execution, error)
  )
