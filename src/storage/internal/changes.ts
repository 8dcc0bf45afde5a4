import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Change } from "../Store.js"

/** What listeners receive, as a stream. Changes are hints, so a subscriber that does not keep up misses the oldest. */
export const changesOf = (listeners: Set<(change: Change) => void>): Stream.Stream<Change> =>
  Stream.asyncPush<Change>(
    (emit) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const listener = (change: Change) => void emit.single(change)
          listeners.add(listener)
          return listener
        }),
        (listener) => Effect.sync(() => listeners.delete(listener))
      ),
    { bufferSize: 1_024, strategy: "sliding" }
  )
