import * as Effect from "effect/Effect"
import type { FileError } from "../../FileError.js"
import { doing } from "../system/errors.js"
import { closeLeft, type Entry, markLeft, readLeft } from "./journal.js"
import { refuseMeeting, undoEntry } from "./undo.js"

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
      const stuck: Array<Entry> = []
      const [failures] = yield* Effect.partition(left, (one) =>
        Effect.zipRight(
          refuseMeeting(one.entry, stuck),
          Effect.zipRight(undoEntry(root, one.entry), markLeft(root, one)).pipe(
            doing(`Undoing (${one.entry.kind})`, one.entry.path)
          )
        ).pipe(Effect.tapError(() => Effect.sync(() => stuck.push(one.entry))))
      )
      if (failures[0] !== undefined) return yield* failures[0]
      yield* closeLeft(root).pipe(doing("Recovering the transaction of", root))
      return true
    })
  )
