import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** What listeners receive, as a stream. Changes are hints, so a subscriber that does not keep up misses the oldest. */
export const changesOf = (listeners: Set<(run: string) => void>): Stream.Stream<string> =>
  Stream.asyncPush<string>(
    (emit) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const listener = (run: string) => void emit.single(run)
          listeners.add(listener)
          return listener
        }),
        (listener) => Effect.sync(() => listeners.delete(listener))
      ),
    { bufferSize: 1_024, strategy: "sliding" }
  )
