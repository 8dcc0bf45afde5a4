import * as path from "node:path"
import * as Array from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Lock from "../../../lock/Lock.js"
import type { FileError } from "../../FileError.js"
import { doing } from "../system/errors.js"
import { locate } from "../system/replace.js"
import { closeLeft, type Entry, type Left, markLeft, readLeft } from "./journal.js"
import { placesOf, refuseMeeting, undoEntry } from "./undo.js"

type Acquire = (name: Lock.Name) => Effect.Effect<unknown, Lock.LockTimeout | Lock.LockError, Scope.Scope>

/**
 * Undoes the transaction of a process that ended in the middle, newest change
 * first, and answers with whether there was one. The caller holds the lock of
 * the root, so whoever left it is gone; those of the files are taken here, since
 * somebody may be changing one. What cannot be undone stays on record.
 */
export const recover = (
  root: string,
  acquire: Acquire
): Effect.Effect<boolean, FileError | Lock.LockTimeout | Lock.LockError> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const left = yield* readLeft(root).pipe(doing("Recovering the transaction of", root))
      if (left === undefined) return false
      yield* undoAll(root, left, acquire)
      yield* closeLeft(root).pipe(doing("Recovering the transaction of", root))
      return true
    })
  )

const undoAll = (root: string, left: ReadonlyArray<Left>, acquire: Acquire) =>
  Effect.gen(function* () {
    for (const at of yield* lockable(root, left)) yield* acquire(Lock.resource(at))
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
  }).pipe(Effect.scoped)

/** Behind links; where their folder is none at this moment nobody can be changing them. */
const lockable = (root: string, left: ReadonlyArray<Left>): Effect.Effect<ReadonlySet<string>> => {
  const places = new Set(left.flatMap(({ entry }) => placesOf(entry)))
  const found = Effect.forEach(places, (at) => Effect.option(locate(path.join(root, at))))
  return Effect.map(found, (targets) => new Set(Array.getSomes(targets).map((target) => target.path)))
}
