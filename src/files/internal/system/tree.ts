import type * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { type Call, type Calls, errno } from "./calls.js"
import { unless } from "./errors.js"

/** Removes a file, or a folder with everything in it. What is not there is no failure. */
export const removeTree = (calls: Calls, at: string): Call<void> =>
  Effect.flatMap(calls.lstat(at), (stats): Call<void> => {
    if (stats === undefined) return Effect.void
    if (!stats.isDirectory()) return unless(calls.unlink(at), ["ENOENT"], undefined)
    return Effect.flatMap(unless(calls.readdir(at), ["ENOENT"], []), (names) =>
      Effect.zipRight(
        Effect.forEach(names, (name) => removeTree(calls, path.join(at, name)), { discard: true }),
        unless(calls.rmdir(at), ["ENOENT"], undefined)
      )
    )
  })

/** Copies a file, a link, or a folder with everything in it, with permissions, owners and times. */
export const copyTree = (calls: Calls, from: string, to: string, stats: fs.Stats): Call<void> => {
  if (stats.isSymbolicLink()) return Effect.flatMap(calls.readlink(from), (target) => calls.symlink(target, to))
  if (stats.isFile()) return Effect.zipRight(copyFile(calls, from, to), like(calls, to, stats))
  if (!stats.isDirectory()) {
    return Effect.fail(errno("ENOTDIR", `${from} is neither a file nor a folder`))
  }
  return Effect.gen(function* () {
    yield* calls.mkdir(to, 0o700)
    for (const name of yield* calls.readdir(from)) {
      const inside = yield* calls.lstat(path.join(from, name))
      if (inside !== undefined) yield* copyTree(calls, path.join(from, name), path.join(to, name), inside)
    }
    yield* like(calls, to, stats)
  })
}

/** On disk, too: it will be needed when something has gone wrong. */
const copyFile = (calls: Calls, from: string, to: string): Call<void> =>
  Effect.zipRight(
    calls.copyFile(from, to),
    Effect.flatMap(calls.open(to, "r"), (file) => Effect.ensuring(calls.sync(file), Effect.ignore(calls.close(file))))
  )

const like = (calls: Calls, at: string, stats: fs.Stats): Call<void> =>
  Effect.all(
    [
      // Whoever may not give files away leaves them to this user.
      unless(calls.chown(at, stats.uid, stats.gid), ["EPERM"], undefined),
      calls.chmod(at, stats.mode & 0o7777),
      calls.utimes(at, stats.atime, stats.mtime)
    ],
    { discard: true }
  )
