import * as Effect from "effect/Effect"
import type { Recorder } from "../../../transaction/Compensation.js"
import { append, emit, type LiveRun } from "../execution/execution.js"
import { undoCodec } from "../journal/codec.js"

/** Puts each compensation on record in the journal of a run. */
export const journaled = (live: LiveRun): Recorder => ({
  started: ({ attempts, key }) => append(live, "UndoStarted", key, attempts),
  completed: ({ attempts, key }) =>
    Effect.zipRight(
      append(live, "UndoCompleted", key, attempts),
      emit(live, () => ({ _tag: "UndoCompleted", source: { run: live.id, step: key }, attempts }))
    ),
  failed: ({ attempts, key }, cause) =>
    Effect.zipRight(
      // A defect has a form for everything, so this cannot fail.
      Effect.flatMap(Effect.orDie(undoCodec().encode(cause) as Effect.Effect<string | undefined, unknown>), (payload) =>
        append(live, "UndoFailed", key, attempts, payload)
      ),
      emit(live, () => ({ _tag: "UndoFailed", source: { run: live.id, step: key }, attempts, cause }))
    )
})
