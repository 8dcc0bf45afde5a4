import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Lock from "../../../remember/Lock.js"
import { LockError, type LockReason } from "../../../remember/LockError.js"
import { FileError } from "../../FileError.js"
import { type Call, type Calls, CurrentCalls } from "../system/calls.js"
import { unless } from "../system/errors.js"
import { decodeName, encodeName } from "../system/names.js"
import { locate } from "../system/replace.js"

const suffix = ".lock"

/** Where the lock of a name is: by kind in the folder, or beside the resource. */
export const placeOf = (folder: string, name: Lock.Name): Effect.Effect<string, LockError> => {
  if (name.kind !== "resource") {
    return Effect.succeed(path.join(path.resolve(folder), encodeName(name.kind), `${encodeName(name.id)}${suffix}`))
  }
  return Effect.map(canonical(name.id), (found) =>
    path.join(path.dirname(found), `.${encodeName(path.basename(found))}${suffix}`)
  ).pipe(Effect.mapError(toLockError(Lock.format(name), name.id)))
}

/** However it is written: one file has one path. */
const canonical = (given: string): Effect.Effect<string, NodeJS.ErrnoException | FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const target = yield* locate(given)
    const folder = yield* unless(calls.realpath(path.dirname(target.path)), ["ENOENT"], path.dirname(target.path))
    return path.join(folder, path.basename(target.path))
  })

/** The name of the lock at a place in the folder. */
export const nameAt = (kind: string, file: string): string =>
  `${decodeName(kind)}/${decodeName(file.slice(0, -suffix.length))}`

const isLock = (file: string): boolean => file.endsWith(suffix) && !file.startsWith(".")

/** The places of all locks of a folder; none, if there is no folder yet. */
export const placesIn = (
  calls: Calls,
  folder: string
): Call<ReadonlyArray<{ readonly lock: string; readonly at: string }>> =>
  Effect.gen(function* () {
    const root = path.resolve(folder)
    const kinds = yield* unless(calls.readdir(root), ["ENOENT"], [])
    const found = yield* Effect.forEach([...kinds].sort(), (kind) =>
      Effect.map(unless(calls.readdir(path.join(root, kind)), ["ENOENT", "ENOTDIR"], []), (files) =>
        [...files]
          .sort()
          .filter(isLock)
          .map((file) => ({ lock: nameAt(kind, file), at: path.join(root, kind, file) }))
      )
    )
    return found.flat()
  })

const reasons: Readonly<Record<string, LockReason>> = {
  ENOENT: "Folder",
  ENOTDIR: "Folder",
  EEXIST: "Folder",
  ENAMETOOLONG: "Folder",
  EACCES: "Permission",
  EPERM: "Permission",
  EROFS: "Permission",
  ENOSPC: "Full",
  EDQUOT: "Full",
  EMFILE: "Full",
  ENFILE: "Full",
  EISDIR: "Foreign",
  ELOOP: "Foreign",
  EFOREIGN: "Foreign",
  ENOLCK: "Unsupported",
  ENOTSUP: "Unsupported",
  EOPNOTSUPP: "Unsupported",
  ENOSYS: "Unsupported"
}

export const toLockError =
  (lock: string, at: string) =>
  (cause: NodeJS.ErrnoException | FileError): LockError => {
    const code = cause instanceof FileError ? undefined : cause.code
    return new LockError({ reason: reasons[code ?? ""] ?? "Io", lock, path: at, cause })
  }

/** Something that is no lock stands in its place. */
export const foreign = (what: string): NodeJS.ErrnoException => Object.assign(new Error(what), { code: "EFOREIGN" })
