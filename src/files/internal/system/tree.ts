import * as path from "node:path"
import * as Effect from "effect/Effect"
import { type Call, type Calls, errno, orElseIf, type Path } from "./calls.js"
import { syncFolder } from "./replace.js"
import type { FileStats } from "./stats.js"
import { writeAll } from "./write.js"

export const join = (folder: Path, name: Path): Path =>
  typeof folder === "string" && typeof name === "string"
    ? path.join(folder, name)
    : Buffer.concat([Buffer.from(folder), Buffer.from(path.sep), Buffer.from(name)])

const ownerAccess = 0o700

/** Whether the owner may not read, change and enter the folder. */
export const isRestricted = (stats: FileStats): boolean =>
  stats.isDirectory() && (stats.mode & ownerAccess) !== ownerAccess

/** Lets the owner change a restricted folder: only then it can be emptied or moved. */
export const unrestrict = (calls: Calls, at: Path, stats: FileStats): Call<void> =>
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
export const copyTree = (calls: Calls, from: Path, to: Path, stats: FileStats, durable: boolean): Call<void> => {
  if (stats.isSymbolicLink()) {
    const linked = Effect.flatMap(calls.readlink(from), (target) => calls.symlink(target, to))
    return Effect.zipRight(linked, copyOwner(calls, to, stats))
  }
  if (stats.isFile()) {
    // A rollback after a power cut needs the copy.
    const synced = durable ? sync(calls, to) : Effect.void
    return Effect.all([calls.copyFile(from, to), synced, copyAttributes(calls, to, stats)], { discard: true })
  }
  if (!stats.isDirectory()) return Effect.fail(errno("ENOTDIR", `${from} is neither a file nor a folder`))
  return Effect.zipRight(calls.mkdir(to, ownerAccess), copyContent(calls, from, to, stats, durable))
}

/** Copies the content of a folder into an empty one, and its permissions, owner and times. */
export const copyContent = (calls: Calls, from: Path, to: Path, stats: FileStats, durable: boolean): Call<void> =>
  Effect.gen(function* () {
    for (const name of yield* calls.entries(from)) {
      const found = yield* calls.lstat(join(from, name))
      if (found !== undefined) yield* copyTree(calls, join(from, name), join(to, name), found, durable)
    }
    yield* copyAttributes(calls, to, stats)
  })

const chunk = 1 << 20

/** Gives an existing file the content, permissions, owner and times of another, in place. Done again, it begins anew. */
export const overwrite = (calls: Calls, from: string, to: string, stats: FileStats): Call<void> => {
  const copied = (source: number, target: number) =>
    Effect.gen(function* () {
      const buffer = new Uint8Array(chunk)
      let at = 0
      for (let read = yield* calls.read(source, buffer, at); read > 0; read = yield* calls.read(source, buffer, at)) {
        yield* writeAll(calls, target, buffer.subarray(0, read), at)
        at += read
      }
      yield* calls.truncate(target, at)
      yield* calls.sync(target)
    })
  const using = (at: string, flags: string, use: (file: number) => Call<void>) =>
    Effect.flatMap(calls.open(at, flags), (file) => Effect.ensuring(use(file), Effect.ignore(calls.close(file))))
  const written = using(from, "r", (source) => using(to, "r+", (target) => copied(source, target)))
  // Who may write a file may not always change its attributes; then other programs of this user could not either.
  return Effect.zipRight(written, orElseIf(copyAttributes(calls, to, stats), ["EPERM"], undefined))
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
        orElseIf(syncFolder(calls, at), unreadable, undefined)
      )
    )
  })

const unreadable = ["ENOENT", "EACCES", "EPERM"]

/** A user who may not change owners keeps the copy. */
const copyOwner = (calls: Calls, at: Path, stats: FileStats): Call<void> =>
  orElseIf(calls.chown(at, stats.uid, stats.gid), ["EPERM"], undefined)

const copyAttributes = (calls: Calls, at: Path, stats: FileStats): Call<void> =>
  Effect.all(
    [
      copyOwner(calls, at, stats),
      calls.chmod(at, stats.mode & 0o7777),
      calls.utimes(at, stats.accessed, stats.modified)
    ],
    { discard: true }
  )
