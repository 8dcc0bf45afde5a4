import * as Effect from "effect/Effect"
import type { FileError } from "../../FileError.js"
import { doing } from "../system/errors.js"
import { closeLeft, readLeft } from "./journal.js"
import { undoEntry } from "./undo.js"

/**
 * Undoes the transaction of a process that ended in the middle, newest change
 * first, and answers with whether there was one. The caller holds the lock of
 * the root, so whoever left it is gone. What cannot be undone stays on record.
 */
export const recover = (root: string): Effect.Effect<boolean, FileError> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const left = yield* readLeft(root).pipe(doing("Recovering the transaction of", root))
      if (left === undefined) return false
      // One that cannot be undone does not keep the others from it.
      const [failures] = yield* Effect.partition(left, (entry) =>
        undoEntry(root, entry).pipe(doing(`Undoing (${entry.kind})`, entry.path))
      )
      if (failures[0] !== undefined) return yield* failures[0]
      yield* closeLeft(root).pipe(doing("Recovering the transaction of", root))
      return true
    })
  )
