import * as Effect from "effect/Effect"
import type { Recorder } from "../../../transaction/Compensation.js"
import { append, type Execution, emit } from "../execution/execution.js"
import { undoCodec } from "../journal/codec.js"

/** Puts each compensation on record in the journal of a run. */
export const journaled = (execution: Execution): Recorder => ({
  started: ({ attempts, key }) => append(execution, "UndoStarted", key, attempts),
  completed: ({ attempts, key }) =>
    Effect.zipRight(
      append(execution, "UndoCompleted", key, attempts),
      emit(execution, () => ({ _tag: "UndoCompleted", source: { run: execution.id, step: key }, attempts }))
    ),
  failed: ({ attempts, key }, cause) =>
    Effect.zipRight(
      // A defect has a form for everything, so this cannot fail.
      Effect.flatMap(Effect.orDie(undoCodec().encode(cause) as Effect.Effect<string | undefined, unknown>), (payload) =>
        append(execution, "UndoFailed", key, attempts, payload)
      ),
      emit(execution, () => ({ _tag: "UndoFailed", source: { run: execution.id, step: key }, attempts, cause }))
    )
})
