import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { nextEntry, stop } from "../execution/execution.js"
import { markOf } from "../journal/journal.js"
import type { AnyEffect } from "./definition.js"
import { journalError, type Use } from "./stepUse.js"
import { registerUndo } from "./undoStep.js"

/** The program's rows and the result of the step, in one commit of the storage. */
export const transactional = (use: Use, number: number, run: AnyEffect): AnyEffect =>
  Effect.suspend(() => {
    const { definition, key, live } = use
    const body = Effect.flatMap(run, (value) =>
      Effect.map(
        Effect.catchAll(definition.success.encode(value), journalError(use, "Encode", "success")),
        (payload) => {
          const { compensate, pivot } = definition
          const mark = markOf({ pivot, undo: compensate !== undefined, root: false })
          const marked = mark === undefined ? [] : [nextEntry(live, "AttemptStarted", key, number, mark)]
          const entry = nextEntry(live, "StepCompleted", key, number, payload)
          use.committed = true
          use.output.value = Option.some(value)
          // Here, and not after the commit: what comes between must find it.
          registerUndo(use, entry.seq)
          return [value, [...marked, entry, ...live.cells.commit(live, key, use.writes)]] as const
        }
      )
    )
    // Whatever the body fails with is its own; what the storage fails with stops the run.
    const marked = Effect.mapError(body, (error): BodyFailed => ({ _tag: "BodyFailed", error }))
    return Effect.catchAll(live.storage.transactional(live.lease, marked), (error) =>
      error._tag === "BodyFailed" ? Effect.fail(error.error) : stop(live, error)
    )
  })

interface BodyFailed {
  readonly _tag: "BodyFailed"
  readonly error: unknown
}
