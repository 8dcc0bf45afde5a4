import * as Effect from "effect/Effect"
import type { RewindRecord } from "../../../journal/JournalLine.js"
import { withoutUse } from "../../../resilience/Key.js"
import * as Execution from "../execution/execution.js"
import { cancelOpen } from "../run/cancel.js"
import { childIdOf } from "./childId.js"

/**
 * Cancels the open children whose start a rewind removes: the program starts others in their place. Before the end of the
 * rewind is recorded, so a process that dies in between repeats it.
 */
export const cancelDropped = (
  execution: Execution.Execution,
  { after, point, within }: Pick<RewindRecord, "after" | "point" | "within">
): Effect.Effect<void> => {
  const { id: parent, journal, storage } = execution
  const first = [...journal.waits.values()].filter(
    ({ child, key, lastSeq }) =>
      child !== undefined &&
      child.use !== "join" &&
      withoutUse(key) === key &&
      lastSeq > after &&
      key.startsWith(within)
  )
  const reason = `its parent run "${parent}" was rewound to ${point}`
  return Effect.forEach(
    first,
    ({ child, key }) =>
      Execution.orStop(execution, cancelOpen(storage, childIdOf(execution, key, child?.run), { reason })),
    { discard: true }
  )
}
