import * as path from "node:path"
import * as Effect from "effect/Effect"
import { FileError, type FileReason } from "../../FileError.js"
import { type Call, type Calls, CurrentCalls } from "../system/calls.js"
import { unless } from "../system/errors.js"
import { rename, syncFolder } from "../system/replace.js"
import { loosen, removeTree } from "../system/tree.js"
import { type Entry, folderOf, newOf, oldOf } from "./journal.js"

/**
 * Undoes one change, whether it was made, was only intended, or is undone
 * already: what lies beside the journal tells. Each step leaves the next
 * attempt with less to do, so it may be cut off anywhere and begun anew.
 */
export const undoEntry = (root: string, entry: Entry): Effect.Effect<void, NodeJS.ErrnoException | FileError> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.all(
      [
        refuseWithout(calls, root),
        Effect.forEach(placesOf(entry), (place) => refuseLinked(calls, path.join(root, place)), { discard: true }),
        // Each kind has the undo of its own entries.
        undos[entry.kind](calls, root, entry as never),
        // A folder that was made by the transaction may be gone already; one that cannot be read was changed all the same.
        unless(syncFolder(calls, path.dirname(path.join(root, entry.path))), ["ENOENT", "EACCES"], undefined)
      ],
      { discard: true }
    )
  )

const refused = (reason: FileReason, at: string, why: string) =>
  Effect.fail(new FileError({ reason, operation: "Undoing", path: at, cause: new Error(why) }))

/** What lies beside the journal tells what was done: without it, nothing does. */
const refuseWithout = (calls: Calls, root: string) =>
  Effect.flatMap(exists(calls, folderOf(root)), (there) =>
    there ? Effect.void : refused("Damaged", folderOf(root), "somebody removed the journal")
  )

/** When it was put on record no link led there. */
const refuseLinked = (calls: Calls, at: string) => {
  const folder = path.dirname(at)
  return Effect.flatMap(unless(calls.realpath(folder), ["ENOENT", "ENOTDIR"], folder), (real) =>
    real === folder ? Effect.void : refused("Outside", at, `a link leads to ${real} now`)
  )
}

export const placesOf = (entry: Entry) => (entry.kind === "move" ? [entry.path, entry.to] : [entry.path])

/** Whether one of the paths is the other one, or lies in it. */
export const meets = (a: string, b: string): boolean =>
  a === b || a.startsWith(`${b}${path.sep}`) || b.startsWith(`${a}${path.sep}`)

/** What a newer change that could not be undone stands upon cannot be undone either. */
export const refuseMeeting = (entry: Entry, stuck: ReadonlyArray<Entry>): Effect.Effect<void, FileError> => {
  const first = stuck.find((one) => placesOf(one).some((a) => placesOf(entry).some((b) => meets(a, b))))
  return first === undefined
    ? Effect.void
    : refused("Busy", entry.path, `a newer change of ${first.path} was not undone`)
}

type Undo<Kind> = (calls: Calls, root: string, entry: Extract<Entry, { readonly kind: Kind }>) => Call<void>

const exists = (calls: Calls, at: string): Call<boolean> => Effect.map(calls.lstat(at), (stats) => stats !== undefined)

/** If both are names of one file, nothing was changed, and a rename does nothing: then the second name goes. */
const putBack: Undo<"replace"> = (calls, root, { n, path: at }) =>
  Effect.flatMap(exists(calls, oldOf(root, n)), (kept) =>
    kept
      ? Effect.zipRight(
          rename(calls, oldOf(root, n), path.join(root, at)),
          Effect.flatMap(exists(calls, oldOf(root, n)), (still) => (still ? calls.unlink(oldOf(root, n)) : Effect.void))
        )
      : Effect.void
  )

const undos: { readonly [Kind in Entry["kind"]]: Undo<Kind> } = {
  replace: putBack,

  // Still aside: it was never put there, and what is there is somebody else's.
  create: (calls, root, { n, path: at }) =>
    Effect.flatMap(exists(calls, newOf(root, n)), (aside) =>
      aside
        ? Effect.void
        : Effect.flatMap(calls.lstat(path.join(root, at)), (stats) => {
            if (stats === undefined) return Effect.void
            return stats.isDirectory() ? calls.rmdir(path.join(root, at)) : calls.unlink(path.join(root, at))
          })
    ),

  remove: (calls, root, { n, path: at }) =>
    Effect.flatMap(exists(calls, oldOf(root, n)), (kept) =>
      kept ? rename(calls, oldOf(root, n), path.join(root, at)) : Effect.void
    ),

  move: (calls, root, { path: from, to }) =>
    Effect.gen(function* () {
      if (yield* exists(calls, path.join(root, from))) return
      if (!(yield* exists(calls, path.join(root, to)))) return
      yield* rename(calls, path.join(root, to), path.join(root, from))
      yield* syncFolder(calls, path.dirname(path.join(root, to)))
    }),

  protect: (calls, root, { existed, mode, n, path: at }) =>
    Effect.gen(function* () {
      const place = path.join(root, at)
      const old = yield* calls.lstat(oldOf(root, n))
      const stats = yield* calls.lstat(place)
      if (!existed || old !== undefined) {
        // A folder cannot be renamed over; a file can.
        if (stats !== undefined && (!existed || stats.isDirectory() || old?.isDirectory() === true)) {
          const aside = path.join(folderOf(root), `${n}.undone`)
          yield* removeTree(calls, aside)
          yield* loosen(calls, place, stats)
          yield* rename(calls, place, aside)
        }
        if (existed) yield* rename(calls, oldOf(root, n), place)
      }
      if (mode !== undefined) yield* unless(calls.chmod(place, mode), ["ENOENT"], undefined)
    })
}
