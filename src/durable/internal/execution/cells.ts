import type * as Effect from "effect/Effect"
import type { Entry, Restore } from "../../../storage/Storage.js"
import type { Execution } from "./execution.js"

/** One value written to a cell. Kept as text, so that readers never share an object. */
export interface Write {
  /** Its place in the journal; the highest one is the current value. */
  readonly seq: number
  /** The key it was written under, with the sections around it. */
  readonly key: string
  readonly text: string | undefined
  readonly at: number
}

/** A value of a cell as JSON text, and when it was written. */
export interface Written {
  readonly text: string | undefined
  readonly at: number
}

/** A write of a step that is still running; it is journaled with the step's result. */
export interface PendingWrite {
  readonly cell: string
  readonly text: string | undefined
  readonly at: number
  /** The journal line of the value it was computed from. */
  readonly base: number
  /** Computes it again if another step wrote the cell meanwhile. */
  readonly next: (current: Written | undefined) => Effect.Effect<string | undefined, unknown>
}

export type CellListener = (written: Written | undefined) => void

/** The cells of a run: its writes, in the order of the journal. `state/` implements it. */
export interface Cells {
  /** Oldest first. */
  readonly writes: (cell: string) => ReadonlyArray<Write>
  readonly apply: (cell: string, write: Write) => void
  readonly isWritten: (section: string) => boolean
  /** Drops the writes made within a section. */
  readonly revert: (section: string) => void
  /** Runs one change of a cell at a time: each change starts from the value the previous one left. */
  readonly alone: <A, E, R>(cell: string, change: Effect.Effect<A, E, R>, restore?: Restore) => Effect.Effect<A, E, R>
  /** Applies the writes an earlier process recorded for this step. */
  readonly applyRecorded: (step: string) => void
  /** Applies a step's pending writes and returns their journal lines. */
  readonly commit: (execution: Execution, step: string, pending: Array<PendingWrite>) => ReadonlyArray<Entry>
  /** Recomputes pending writes whose cell changed since. Call right before `commit`. */
  readonly rebase: (pending: Array<PendingWrite>) => Effect.Effect<void, unknown>
  /** Pending writes of the running steps, by key. */
  readonly working: Map<string, Array<PendingWrite>>
  /** Notifies the listeners of a cell whose values are stored elsewhere. */
  readonly notify: (cell: string, written: Written) => void
  /** Calls back with every change of a cell; returns the function that unsubscribes. */
  readonly listen: (cell: string, listener: CellListener) => () => void
}
