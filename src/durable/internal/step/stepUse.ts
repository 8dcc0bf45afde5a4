import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Events from "../../../resilience/Events.js"
import type { Entry } from "../../../storage/Storage.js"
import type { Output } from "../../../transaction/Compensation.js"
import { JournalError } from "../../RunError.js"
import * as live_ from "../execution/execution.js"
import type { Kind, StepRecord } from "../journal/journal.js"
import type { PendingWrite } from "../state/cells.js"
import type { Permit } from "../wait/waits.js"
import type { Definition } from "./definition.js"

/** One use of a step within a run. */
export interface Use {
  readonly live: live_.LiveRun
  readonly definition: Definition
  readonly input: unknown
  readonly key: string
  readonly record: StepRecord | undefined
  readonly traced: boolean
  /** Whether it can be interrupted where it is used. */
  readonly isInterruptible: boolean
  /** It is used by the body's own fiber. */
  readonly root: boolean
  /** What its compensation needs. */
  readonly context: Context.Context<never>
  /** What its compensation is told. */
  readonly output: Output
  attempt?: number
  /** An attempt was cut short, and nobody has found out whether it happened. */
  isUnsure: boolean
  /** An attempt of it is under way. */
  isRunning?: boolean
  /** What a node of a graph holds while it works. */
  readonly permit: Permit | undefined
  /** Its result was committed together with rows. */
  committed?: boolean
  /** What it has written to State, to be recorded with what it comes to. */
  readonly writes: Array<PendingWrite>
}

export const sourceOf = (use: Use): Events.Source => ({ run: use.live.id, step: use.key })

export const journalError = (use: Use, reason: "Encode" | "Decode", what: string) => (cause: unknown) =>
  live_.stop(use.live, new JournalError({ reason, run: use.live.id, record: `${what} of step "${use.key}"`, cause }))

/** Appends a line, and with it what the step has written to State until now. */
export const append = (use: Use, kind: Kind, number: number, payload?: string, at?: number): Effect.Effect<void> =>
  appendEntry(use, live_.nextEntry(use.live, kind, use.key, number, payload, at))

/** With best effort a storage in trouble is reported and the program goes on. */
export const appendEntry = (use: Use, entry: Entry): Effect.Effect<void> => {
  const entries = use.writes.length === 0 ? [entry] : [entry, ...writesOf(use)]
  return use.definition.bestEffort
    ? Effect.catchAll(live_.tryAppend(use.live, entries), (error) =>
        error._tag === "LeaseLost"
          ? live_.stop(use.live, error)
          : Effect.logWarning(`effect-recovery: step "${use.key}" goes on without its journal`, error)
      )
    : Effect.catchAll(live_.tryAppend(use.live, entries), (error) => live_.stop(use.live, error))
}

/** What a step writes is the run's once it is recorded with what the step came to. */
const writesOf = (use: Use): ReadonlyArray<Entry> => use.live.cells.commit(use.live, use.key, use.writes)
