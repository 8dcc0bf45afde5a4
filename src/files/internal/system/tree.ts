import type * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { type Call, type Calls, errno, orElseIf, type Path } from "./calls.js"

const join = (folder: Path, name: Path): Path =>
  typeof folder === "string" && typeof name === "string"
    ? path.join(folder, name)
    : Buffer.concat([Buffer.from(folder), Buffer.from(path.sep), Buffer.from(name)])

const ownerAccess = 0o700

/** Whether the owner may not read, change and enter the folder. */
export const isRestricted = (stats: fs.Stats): boolean =>
  stats.isDirectory() && (stats.mode & ownerAccess) !== ownerAccess

/** Lets the owner change a restricted folder: only then it can be emptied or moved. */
export const unrestrict = (calls: Calls, at: Path, stats: fs.Stats): Call<void> =>
  isRestricted(stats)
    ? orElseIf(calls.chmod(at, (stats.mode & 0o7777) | ownerAccess), ["ENOENT", "EPERM"], undefined)
    : Effect.void

/** Removes a file, or a folder with its content. Missing paths are ignored. */
export const removeTree = (calls: Calls, at: Path): Call<void> =>
  Effect.flatMap(calls.lstat(at), (stats): Call<void> => {
    if (stats === undefined) return Effect.void
    if (!stats.isDirectory()) return orElseIf(calls.unlink(at), ["ENOENT"], undefined)
    const names = Effect.zipRight(unrestrict(calls, at, stats), orElseIf(calls.entries(at), ["ENOENT"], []))
    return Effect.flatMap(names, (found) =>
      Effect.zipRight(
        Effect.forEach(found, (name) => removeTree(calls, join(at, name)), { discard: true }),
        orElseIf(calls.rmdir(at), ["ENOENT"], undefined)
      )
    )
  })

/** Copies a file, a link, or a folder with its content; keeps permissions, owners and times. */
export const copyTree = (calls: Calls, from: Path, to: Path, stats: fs.Stats): Call<void> => {
  if (stats.isSymbolicLink()) {
    const linked = Effect.flatMap(calls.readlink(from), (target) => calls.symlink(target, to))
    return Effect.zipRight(linked, copyOwner(calls, to, stats))
  }
  if (stats.isFile()) {
    // Synced, since a rollback after a power cut needs the copy.
    return Effect.all([calls.copyFile(from, to), sync(calls, to), copyAttributes(calls, to, stats)], { discard: true })
  }
  if (!stats.isDirectory()) return Effect.fail(errno("ENOTDIR", `${from} is neither a file nor a folder`))
  return Effect.gen(function* () {
    yield* calls.mkdir(to, ownerAccess)
    for (const name of yield* calls.entries(from)) {
      const found = yield* calls.lstat(join(from, name))
      if (found !== undefined) yield* copyTree(calls, join(from, name), join(to, name), found)
    }
    yield* copyAttributes(calls, to, stats)
  })
}

const sync = (calls: Calls, at: Path): Call<void> =>
  Effect.flatMap(calls.open(at, "r"), (file) => Effect.ensuring(calls.sync(file), Effect.ignore(calls.close(file))))

/** Makes a file, or a folder with its content, durable. Missing and unreadable paths are skipped. */
export const syncTree = (calls: Calls, at: Path): Call<void> =>
  Effect.flatMap(calls.lstat(at), (stats): Call<void> => {
    if (stats?.isFile() === true) return orElseIf(sync(calls, at), unreadable, undefined)
    if (stats?.isDirectory() !== true) return Effect.void
    return Effect.flatMap(orElseIf(calls.entries(at), unreadable, []), (names) =>
      Effect.zipRight(
        Effect.forEach(names, (name) => syncTree(calls, join(at, name)), { discard: true }),
        process.platform === "win32" ? Effect.void : orElseIf(sync(calls, at), unreadable, undefined)
      )
    )
  })

const unreadable = ["ENOENT", "EACCES", "EPERM"]

/** A user who may not change owners keeps the copy. */
const copyOwner = (calls: Calls, at: Path, stats: fs.Stats): Call<void> =>
  orElseIf(calls.chown(at, stats.uid, stats.gid), ["EPERM"], undefined)

const copyAttributes = (calls: Calls, at: Path, stats: fs.Stats): Call<void> =>
  Effect.all(
    [
      copyOwner(calls, at, stats),
      calls.chmod(at, stats.mode & 0o7777),
      calls.utimes(at, stats.atimeMs / 1000, stats.mtimeMs / 1000)
    ],
    { discard: true }
  )
