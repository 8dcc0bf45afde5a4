import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Part } from "./scope.js"
import type { UndoSettings } from "./settings.js"
import type { UndoLog } from "./undoLog.js"

/** What a compensation is told. */
export interface ToUndo<out A> {
  readonly output: Option.Option<A>
  readonly idempotencyKey: string
  readonly attempt: number
}

/** An undo whose needs are known only to its types. */
export type AnyUndo = (toUndo: ToUndo<never>) => Effect.Effect<unknown, unknown, unknown>

export interface TransactionService {
  /** Registers the compensation, then runs the work. */
  readonly compensated: <A, E, R>(
    name: string,
    self: Effect.Effect<A, E, R>,
    undo: AnyUndo,
    settings: UndoSettings
  ) => Effect.Effect<A, E, R>
  /** What there is of it without a run. */
  readonly memory: Memory | undefined
}

/** One without a run. */
export interface InMemory extends TransactionService {
  readonly memory: Memory
}

/** A transaction without a run: everything it knows is here. The log and what goes with it are those of the outermost one. */
export interface Memory {
  readonly log: UndoLog
  readonly path: string
  readonly counter: { next: number }
  readonly ends: Array<End>
  readonly part: Part
}

/**
 * What is left to do when the outermost transaction has ended: told whether
 * what was done stays done. If it dies of that, everything is rolled back.
 */
export type End = (kept: boolean) => Effect.Effect<void>

export class Transaction extends Context.Tag("effect-recovery/Transaction")<Transaction, TransactionService>() {}
