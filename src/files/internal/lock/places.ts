import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Lock from "../../../lock/Lock.js"
import { LockError, type LockReason } from "../../../lock/LockError.js"
import { FileError } from "../../FileError.js"
import { type Call, type Calls, CurrentCalls, errno } from "../system/calls.js"
import { unless } from "../system/errors.js"
import { decodeName, encodeName } from "../system/names.js"
import { locate, realFolder } from "../system/replace.js"

const suffix = ".lock"

/**
 * Where the locks of a folder are: `<folder>/<kind>/<id>.lock`. A resource is
 * called by its path from there, so that hosts that mount a share at different
 * places call it the same.
 */
export const placesOf = (folder: string) => {
  /** Behind symbolic links; found out once, since it has to be there for that. */
  let real: string | undefined
  const realFolder = Effect.suspend(
    (): Call<string> =>
      real !== undefined
        ? Effect.succeed(real)
        : Effect.flatMap(CurrentCalls, (calls) =>
            Effect.tap(Effect.zipRight(makeFolders(calls, folder), calls.realpath(folder)), (found) =>
              Effect.sync(() => {
                real = found
              })
            )
          )
  )
  const at = (kind: string, id: string) => path.join(folder, encodeName(kind), `${encodeName(id)}${suffix}`)
  return (name: Lock.Name): Effect.Effect<string, LockError> =>
    name.kind !== "resource"
      ? Effect.succeed(at(name.kind, name.id))
      : Effect.zipWith(realFolder, canonical(name.id), (from, to) => at("resource", path.relative(from, to))).pipe(
          Effect.mapError(toLockError(Lock.format(name), name.id))
        )
}

/** However it is written: one file has one path, whether it exists or not. */
const canonical = (given: string): Effect.Effect<string, NodeJS.ErrnoException | FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const target = yield* locate(given)
    return path.join(yield* realFolder(calls, path.dirname(target.path)), path.basename(target.path))
  })

/** Makes a folder, and those it lies in. */
export const makeFolders = (calls: Calls, folder: string): Call<void> =>
  Effect.catchAll(calls.mkdir(folder), (error): Call<void> => {
    if (error.code === "EEXIST") return Effect.void
    if (error.code !== "ENOENT" || path.dirname(folder) === folder) return Effect.fail(error)
    return Effect.zipRight(makeFolders(calls, path.dirname(folder)), unless(calls.mkdir(folder), ["EEXIST"], undefined))
  })

/** The name of the lock at a place in the folder. */
export const nameAt = (kind: string, file: string): string =>
  `${decodeName(kind)}/${decodeName(file.slice(0, -suffix.length))}`

const isLock = (file: string): boolean => file.endsWith(suffix) && !file.startsWith(".")

export interface Place {
  readonly lock: string
  readonly at: string
}

/** The places of all locks of a folder; none, if there is no folder yet. */
export const placesIn = (calls: Calls, folder: string): Call<ReadonlyArray<Place>> =>
  Effect.gen(function* () {
    const kinds = yield* unless(calls.readdir(folder), ["ENOENT"], [])
    const found = yield* Effect.forEach([...kinds].sort(), (kind) =>
      Effect.map(unless(calls.readdir(path.join(folder, kind)), ["ENOENT", "ENOTDIR"], []), (files) =>
        [...files]
          .sort()
          .filter(isLock)
          .map((file) => ({ lock: nameAt(kind, file), at: path.join(folder, kind, file) }))
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
export const foreign = (what: string): NodeJS.ErrnoException => errno("EFOREIGN", what)
