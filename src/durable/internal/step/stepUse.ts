import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Kind, StepRecord } from "../../../journal/Journal.js"
import { JournalError } from "../../../journal/RunError.js"
import type * as Events from "../../../resilience/Events.js"
import type { Entry } from "../../../storage/Storage.js"
import { type Output, settingsOf } from "../../../transaction/Compensation.js"
import type { AnyUndo } from "../../../transaction/Transactor.js"
import type { Permit } from "../execution/activity.js"
import type { PendingWrite } from "../execution/cells.js"
import * as Execution from "../execution/execution.js"
import * as Replay from "../execution/replay.js"
import { register } from "../rollback/compensations.js"
import type { Definition } from "./definition.js"

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
  /** The context its compensation runs in. */
  readonly context: Context.Context<never>
  /** What its compensation gets as output. */
  readonly output: Output
  /** The number of the latest attempt. */
  attempt?: number
  /** An attempt was cut short, and it is unknown whether it happened. */
  isUnsure: boolean
  isAttemptRunning?: boolean
  /** The place of the graph's node around it. */
  readonly permit: Permit | undefined
  /** The result was committed together with the program's own rows. */
  isCommitted?: boolean
  /** Writes to State, recorded with the step's next line. */
  readonly writes: Array<PendingWrite>
}

export const sourceOf = (use: StepUse): Events.Source => ({ run: use.execution.id, step: use.key })

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
export const appendEntry = (use: StepUse, entry: Entry): Effect.Effect<void> => {
  const { execution, key, writes } = use
  const entries = writes.length === 0 ? [entry] : [entry, ...execution.cells.commit(execution, key, writes)]
  return Effect.catchAll(Execution.tryAppend(execution, entries), (error) =>
    use.definition.bestEffort && error._tag !== "LeaseLost"
      ? Effect.logWarning(`effect-recovery: step "${key}" continues without a journal entry`, error)
      : Execution.stop(execution, error)
  )
}

/** A rollback must know this step: it compensates the step, or stops at it. */
export const concernsRollback = ({ definition }: StepUse): boolean =>
  definition.compensate !== undefined || definition.pivot

const noSettings = settingsOf({})

/** Registers the step's compensation, or the pivot, at its place in the journal. */
export const registerUndo = (use: StepUse, order: number): void => {
  if (!concernsRollback(use)) return
  const { context, definition, execution, input, key, output } = use
  const { compensate, pivot } = definition
  const undo: AnyUndo | undefined =
    // The definition's own types say that its input and output are what its compensation takes.
    compensate && ((toUndo) => compensate.undo({ ...toUndo, input: input as never }))
  register(execution, { key, order, undo, settings: compensate?.settings ?? noSettings, output, pivot, context })
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
