import type * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { type Call, type Calls, errno, type Path } from "./calls.js"
import { unless } from "./errors.js"

const inside = (folder: Path, name: Path): Path =>
  typeof folder === "string" && typeof name === "string"
    ? path.join(folder, name)
    : Buffer.concat([Buffer.from(folder), Buffer.from(path.sep), Buffer.from(name)])

const all = 0o700

export const isTight = (stats: fs.Stats): boolean => stats.isDirectory() && (stats.mode & all) !== all

/** What is in a folder can be removed only if it may be changed; and only then it can be put elsewhere itself. */
export const loosen = (calls: Calls, at: Path, stats: fs.Stats): Call<void> =>
  isTight(stats) ? unless(calls.chmod(at, (stats.mode & 0o7777) | all), ["ENOENT", "EPERM"], undefined) : Effect.void

/** Removes a file, or a folder with everything in it. What is not there is no failure. */
export const removeTree = (calls: Calls, at: Path): Call<void> =>
  Effect.flatMap(calls.lstat(at), (stats): Call<void> => {
    if (stats === undefined) return Effect.void
    if (!stats.isDirectory()) return unless(calls.unlink(at), ["ENOENT"], undefined)
    const names = Effect.zipRight(loosen(calls, at, stats), unless(calls.entries(at), ["ENOENT"], []))
    return Effect.flatMap(names, (found) =>
      Effect.zipRight(
        Effect.forEach(found, (name) => removeTree(calls, inside(at, name)), { discard: true }),
        unless(calls.rmdir(at), ["ENOENT"], undefined)
      )
    )
  })

/** Copies a file, a link, or a folder with everything in it, with permissions, owners and times. */
export const copyTree = (calls: Calls, from: Path, to: Path, stats: fs.Stats): Call<void> => {
  if (stats.isSymbolicLink()) {
    const linked = Effect.flatMap(calls.readlink(from), (target) => calls.symlink(target, to))
    return Effect.zipRight(linked, giveAway(calls, to, stats))
  }
  if (stats.isFile()) return Effect.zipRight(copyFile(calls, from, to), like(calls, to, stats))
  if (!stats.isDirectory()) {
    return Effect.fail(errno("ENOTDIR", `${from} is neither a file nor a folder`))
  }
  return Effect.gen(function* () {
    yield* calls.mkdir(to, all)
    for (const name of yield* calls.entries(from)) {
      const found = yield* calls.lstat(inside(from, name))
      if (found !== undefined) yield* copyTree(calls, inside(from, name), inside(to, name), found)
    }
    yield* like(calls, to, stats)
  })
}

/** On disk, too: it will be needed when something has gone wrong. */
const copyFile = (calls: Calls, from: Path, to: Path): Call<void> =>
  Effect.zipRight(calls.copyFile(from, to), sync(calls, to))

const sync = (calls: Calls, at: Path): Call<void> =>
  Effect.flatMap(calls.open(at, "r"), (file) => Effect.ensuring(calls.sync(file), Effect.ignore(calls.close(file))))

/** Puts a file, or a folder with everything in it, on disk; what is not there, or is not to be read, is passed over. */
export const syncTree = (calls: Calls, at: Path): Call<void> =>
  Effect.flatMap(calls.lstat(at), (stats): Call<void> => {
    if (stats?.isFile() === true) return unless(sync(calls, at), unreadable, undefined)
    if (stats?.isDirectory() !== true) return Effect.void
    return Effect.flatMap(unless(calls.entries(at), unreadable, []), (names) =>
      Effect.zipRight(
        Effect.forEach(names, (name) => syncTree(calls, inside(at, name)), { discard: true }),
        process.platform === "win32" ? Effect.void : unless(sync(calls, at), unreadable, undefined)
      )
    )
  })

const unreadable = ["ENOENT", "EACCES", "EPERM"]

/** Whoever may not give files away leaves them to this user. */
const giveAway = (calls: Calls, at: Path, stats: fs.Stats): Call<void> =>
  unless(calls.chown(at, stats.uid, stats.gid), ["EPERM"], undefined)

const like = (calls: Calls, at: Path, stats: fs.Stats): Call<void> =>
  Effect.all(
    [
      giveAway(calls, at, stats),
      calls.chmod(at, stats.mode & 0o7777),
      calls.utimes(at, stats.atimeMs / 1000, stats.mtimeMs / 1000)
    ],
    { discard: true }
  )
