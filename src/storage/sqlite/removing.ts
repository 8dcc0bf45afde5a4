import * as Effect from "effect/Effect"
import type { StorageError } from "../StorageError.js"
import type { Access } from "./SqliteStore.js"
import { jobsMillis } from "./writer.js"

/** Bounds a commit: what waits for it waits no longer, and the log stays short. */
const maxRemoved = 250

/**
 * Removes rows in several commits, none of which has longer jobs than those of many writers: between two of them
 * other writes get theirs. Each row is removed entirely or not at all. Returns how many were removed.
 */
export const removeEach = (
  access: Access,
  operation: string,
  keys: ReadonlyArray<number>,
  remove: (key: number) => boolean
): Effect.Effect<number, StorageError> => {
  const removeFrom = (start: number, before: number): Effect.Effect<number, StorageError> => {
    const some = access.write(operation, () => {
      const until = performance.now() + jobsMillis
      let [next, removed] = [start, 0]
      do {
        const key = keys[next++]
        if (key !== undefined && remove(key)) removed++
      } while (next < keys.length && next - start < maxRemoved && performance.now() < until)
      return { next, removed }
    })
    return Effect.flatMap(some, ({ next, removed }) =>
      next < keys.length ? removeFrom(next, before + removed) : Effect.succeed(before + removed)
    )
  }
  return removeFrom(0, 0)
}
