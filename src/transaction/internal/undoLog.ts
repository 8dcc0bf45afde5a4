import type * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { UndoSettings } from "./settings.js"

type Undoing = Effect.Effect<unknown, unknown>

/** One compensation, registered before what it undoes has begun. */
export interface Undo {
  /** That of the step, or one of its own. */
  readonly key: string
  /** When it was registered, among all of its log. */
  readonly order: number
  /** Nothing before it can be undone any more. */
  readonly pivot: boolean
  /** Undoes, with everything it needs; retries and timeout are the caller's. */
  readonly run: (attempt: number) => Undoing
  readonly settings: UndoSettings
  /** Tries so far, in this process and before. */
  attempts: number
  done: boolean
  /** Runs now, for somebody; who else wants it undone waits for that. */
  running: Deferred.Deferred<Exit.Exit<unknown, unknown>> | undefined
}

/** What the work came to, told to its compensation. */
export interface Output {
  value: Option.Option<unknown>
}

/** The compensations of a run, or of a transaction without one. */
export type UndoLog = Map<string, Undo>

export const noOutput = (): Output => ({ value: Option.none() })

/** Those of a section that are still to be run, last registered first. */
export const pending = (log: UndoLog, within: string, only?: ReadonlySet<string>): ReadonlyArray<Undo> =>
  [...log.values()]
    .filter(({ done, key }) => !done && key.startsWith(within) && only?.has(key) !== false)
    .sort((a, b) => b.order - a.order)
