import * as Effect from "effect/Effect"
import type { Hold } from "../../../storage/Storage.js"
import * as Execution from "./execution.js"

/** How many attempts of a step or of a compensation may be cut short before a person must look at the run. */
export const defaultMaxCutShort = 20

/** The id of the hold of a run in which something was cut short too often. */
const cutShortHold = "cut-short"

/**
 * Puts the run on hold in place of another attempt, and returns the hold. Undefined if another hold is on it: then a
 * person works on the run, and the attempt is made.
 */
export const holdCutShort = (
  execution: Execution.Execution,
  what: string,
  attempt: number
): Effect.Effect<Hold | undefined> => {
  const reason = `${what} was cut short again in attempt ${attempt}: its process ended each time`
  const holding = execution.storage.hold(execution.id, { id: cutShortHold, reason })
  return Effect.map(Execution.orStop(execution, holding), (answer) =>
    answer._tag === "Held" ? answer.run.hold : undefined
  )
}
