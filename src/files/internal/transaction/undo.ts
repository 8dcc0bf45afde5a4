import * as path from "node:path"
import * as Effect from "effect/Effect"
import { FileError } from "../../FileError.js"
import { type Call, type Calls, CurrentCalls } from "../system/calls.js"
import { unless } from "../system/errors.js"
import { rename, syncFolder } from "../system/replace.js"
import { removeTree } from "../system/tree.js"
import { type Entry, folderOf, newOf, oldOf } from "./journal.js"

/**
 * Undoes one change, whether it was made, was only intended, or is undone
 * already: what lies beside the journal tells. Each step leaves the next
 * attempt with less to do, so it may be cut off anywhere and begun anew.
 */
export const undoEntry = (root: string, entry: Entry): Call<void> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.zipRight(
      // Each kind has the undo of its own entries.
      undos[entry.kind](calls, root, entry as never),
      // A folder that was made by the transaction may be gone already.
      unless(syncFolder(calls, path.dirname(path.join(root, entry.path))), ["ENOENT"], undefined)
    )
  )

const placesOf = (entry: Entry) => (entry.kind === "move" ? [entry.path, entry.to] : [entry.path])

/** What a newer change that could not be undone stands upon cannot be undone either. */
export const refuseMeeting = (entry: Entry, stuck: ReadonlyArray<Entry>): Effect.Effect<void, FileError> => {
  const meets = (a: string, b: string) => a === b || a.startsWith(`${b}${path.sep}`) || b.startsWith(`${a}${path.sep}`)
  const first = stuck.find((one) => placesOf(one).some((a) => placesOf(entry).some((b) => meets(a, b))))
  return first === undefined
    ? Effect.void
    : Effect.fail(
        new FileError({
          reason: "Busy",
          operation: "Undoing",
          path: entry.path,
          cause: new Error(`a newer change of ${first.path} was not undone`)
        })
      )
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

  protect: (calls, root, { existed, n, path: at }) =>
    Effect.gen(function* () {
      const place = path.join(root, at)
      const old = yield* calls.lstat(oldOf(root, n))
      if (existed && old === undefined) return
      const stats = yield* calls.lstat(place)
      // A folder cannot be renamed over; a file can.
      if (stats !== undefined && (!existed || stats.isDirectory() || old?.isDirectory() === true)) {
        const aside = path.join(folderOf(root), `${n}.undone`)
        yield* removeTree(calls, aside)
        yield* rename(calls, place, aside)
      }
      if (existed) yield* rename(calls, oldOf(root, n), place)
    })
}
