import * as path from "node:path"
import * as Effect from "effect/Effect"
import { isSameFile } from "../../../host/fileIdentity.js"
import { FileError } from "../../FileError.js"
import { type Call, type Calls, orElseIf } from "../system/calls.js"
import { readMounts } from "../system/mounts.js"
import { rename } from "../system/replace.js"
import { copyContent, copyTree, join, overwrite, removeTree, unrestrict } from "../system/tree.js"
import { linkFile, oldFile } from "./journal.js"

type Restored = Effect.Effect<void, NodeJS.ErrnoException | FileError>

/** A kept copy, and the path that it is put back to. */
interface Kept {
  readonly folder: string
  readonly n: number
  readonly place: string
}

/** Puts a copy back, also in the place of a folder. */
export const putBack = (calls: Calls, kept: Kept): Restored =>
  orCopied(calls, kept, Effect.zipRight(moveFolderAside(calls, kept), renameBack(calls, kept)))

/** Puts a file back in the place of the one that replaced it. */
export const putFileBack = (calls: Calls, kept: Kept): Restored => orCopied(calls, kept, renameBack(calls, kept))

const renameBack = (calls: Calls, { n, place, folder }: Kept): Call<void> => rename(calls, oldFile(folder, n), place)

/**
 * Where a rename is refused, copies into the place, and keeps the copy until all of it is there: a later attempt begins
 * anew. A path that became a mount point is refused: what is written there would change another file.
 */
const orCopied = (calls: Calls, kept: Kept, renamed: Call<void>): Restored =>
  Effect.flatMap(readMounts, (mounts) =>
    mounts?.isPoint(kept.place) === true
      ? Effect.fail(new FileError({ reason: "Mounted", operation: "Undoing", path: kept.place }))
      : Effect.catchIf(
          renamed,
          ({ code }) => /^(EXDEV|EBUSY|EPERM|EACCES)$/.test(code ?? ""),
          (refused) => copyBack(calls, kept, refused)
        )
  )

/** What is not needed any more, until the journal is removed. */
const asideOf = (folder: string, n: number): string => path.join(folder, `${n}.undone`)

/** A rename replaces a file, but not a folder. */
const moveFolderAside = (calls: Calls, { n, place, folder }: Kept): Call<void> =>
  Effect.gen(function* () {
    const [old, stats] = yield* Effect.all([calls.lstat(oldFile(folder, n)), calls.lstat(place)])
    if (stats?.isDirectory() === true || (stats !== undefined && old?.isDirectory() === true)) {
      yield* moveAside(calls, { folder, n, place })
    }
  })

export const moveAside = (calls: Calls, { n, place, folder }: Kept): Call<void> =>
  Effect.gen(function* () {
    const stats = yield* calls.lstat(place)
    if (stats === undefined) return
    const aside = asideOf(folder, n)
    yield* removeTree(calls, aside)
    yield* unrestrict(calls, place, stats)
    yield* rename(calls, place, aside)
  })

const copyBack = (calls: Calls, { n, place, folder }: Kept, refused: NodeJS.ErrnoException): Restored =>
  Effect.gen(function* () {
    const old = oldFile(folder, n)
    const [kept, stats] = yield* Effect.all([calls.lstat(old), calls.lstat(place)])
    if (kept?.isFile() === true && stats?.isFile() === true) yield* overwrite(calls, old, place, kept)
    else if (kept?.isDirectory() === true && stats?.isDirectory() === true) {
      yield* unrestrict(calls, place, stats)
      for (const name of yield* calls.entries(place)) yield* removeTree(calls, join(place, name))
      yield* copyContent(calls, old, place, kept, true)
    } else if (kept !== undefined && stats === undefined) yield* copyTree(calls, old, place, kept, true)
    else return yield* Effect.fail(refused)
    // By one rename: half of a copy would be taken for the whole.
    const aside = asideOf(folder, n)
    yield* removeTree(calls, aside)
    yield* rename(calls, old, aside)
  })

/** Puts the content back into a file that has several names, so that all of them have it. */
export const putBackLinked = (calls: Calls, kept: Kept): Restored =>
  Effect.gen(function* () {
    const { n, place, folder } = kept
    const [old, link] = yield* Effect.all([calls.lstat(oldFile(folder, n)), calls.lstat(linkFile(folder, n))])
    if (old === undefined) return
    const stats = yield* calls.lstat(place)
    if (link !== undefined && (stats === undefined || !isSameFile(link, stats))) {
      if (stats?.isDirectory() === true) yield* moveAside(calls, kept)
      yield* rename(calls, linkFile(folder, n), place)
    }
    yield* Effect.zipRight(
      overwrite(calls, oldFile(folder, n), place, old),
      orElseIf(calls.unlink(oldFile(folder, n)), ["ENOENT"], undefined)
    )
  }).pipe(
    Effect.catchIf(
      (error) => "code" in error && /^(EACCES|EPERM|EISDIR|ENOENT|ETXTBSY)$/.test(error.code ?? ""),
      () => putBack(calls, kept)
    )
  )
