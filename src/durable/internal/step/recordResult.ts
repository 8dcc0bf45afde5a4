import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { causeCodec } from "../../../journal/JournalCodec.js"
import { markOf } from "../../../journal/JournalLine.js"
import { machineryOf, type RunError } from "../../../journal/RunError.js"
import * as Fault from "../../../resilience/Fault.js"
import * as Execution from "../execution/execution.js"
import type { AnyEffect } from "./definition.js"
import { append, emitStep, forgetPivot, journalError, registerUndo, type StepUse } from "./stepUse.js"

/** Records the result of a step before the program sees it. */
export const recordResult = (use: StepUse, exit: Exit.Exit<unknown, unknown>): AnyEffect => {
  const { stopError } = use.execution.lifecycle
  if (stopError !== undefined) return stopped(use, stopError, exit)
  if (Exit.isSuccess(exit)) return completed(use, exit.value)
  if (Cause.isDie(exit.cause)) return died(use, exit.cause)
  return Cause.isFailure(exit.cause) ? failed(use, exit.cause) : exit
}

/** The run has stopped. A success is still recorded if the journal can be written, so that it is not repeated. */
const stopped = (use: StepUse, error: RunError, exit: Exit.Exit<unknown, unknown>): AnyEffect => {
  const { execution, key } = use
  const recorded =
    Exit.isSuccess(exit) && (error._tag === "StepConflict" || error._tag === "JournalError")
      ? Effect.flatMap(use.definition.success.encode(exit.value), (payload) =>
          Execution.tryAppend(execution, [
            Execution.nextEntry(execution, "StepCompleted", key, use.attempt ?? 1, payload)
          ])
        )
      : Effect.void
  return Effect.zipRight(Effect.ignore(recorded), Execution.stop(execution, error))
}

const completed = (use: StepUse, value: unknown): AnyEffect => {
  use.output.value = Option.some(value)
  const attempts = use.attempt ?? 1
  const recorded =
    use.isCommitted === true
      ? Effect.void
      : Effect.flatMap(encodeSuccess(use, value), (payload) =>
          rebased(use, () => append(use, "StepCompleted", attempts, payload))
        )
  const result = Effect.as(recorded, value)
  return Execution.andEmit(use.execution, result, (source) => ({ _tag: "StepCompleted", source, attempts }), use.key)
}

const encodeSuccess = (use: StepUse, value: unknown) =>
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
  if (use.definition.leavesOpen?.(error) === true) return died(use, Cause.die(new LeftOpen(error)))
  return machinery === undefined ? recordFailure(use, cause) : Execution.stop(use.execution, machinery)
}

/** Recomputes pending writes to State whose cell changed while the step ran. */
const rebased = (use: StepUse, record: () => Effect.Effect<void>): Effect.Effect<void> =>
  use.writes.length === 0
    ? record()
    : Effect.flatMap(
        Effect.catchAll(use.execution.cells.rebase(use.writes), journalError(use, "Encode", "state")),
        record
      )

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
    return yield* Effect.failCause(cause)
  })

/** Records a defect. The step stays open: a bug is mended in the program, and the step runs again. */
const died = (use: StepUse, cause: Cause.Cause<unknown>): AnyEffect =>
  Effect.gen(function* () {
    use.execution.lifecycle.diedIn = use.key
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
    // The body's own failure is the step's; a failure of the storage stops the run.
    const tagged = Effect.mapError(body, (error): BodyFailed => ({ _tag: "BodyFailed", error }))
    return Effect.catchAll(execution.storage.transactional(execution.lease, tagged), (error) =>
      error._tag === "BodyFailed" ? Effect.fail(error.error) : Execution.stop(execution, error)
    )
  })

interface BodyFailed {
  readonly _tag: "BodyFailed"
  readonly error: unknown
}
