import * as readline from "node:readline"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

export type Key = readline.Key

/**
 * The keys that arrive at a terminal, one by one: Node's parser takes several from one chunk, and one from several. An
 * Escape that nothing follows for half a second is a key of its own.
 */
export const keys = (input: NodeJS.ReadableStream): Stream.Stream<Key> =>
  Stream.asyncPush<Key>((emit) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const listener = (_: string | undefined, key: Key) => emit.single(key)
        readline.emitKeypressEvents(input)
        input.on("keypress", listener)
        return listener
      }),
      (listener) => Effect.sync(() => input.off("keypress", listener))
    )
  )
