import * as path from "node:path"
import * as Effect from "effect/Effect"
import { isGone } from "../../../host/owner.js"
import { format, type Name } from "../../../lock/LockDriver.js"
import { LockError, type LockReason, type LockStatus } from "../../../lock/LockError.js"
import { FileError } from "../../FileError.js"
import { type Call, type Calls, CurrentCalls, errno, orElseIf, reasonByCode } from "../system/calls.js"
import { decodeName, encodeName } from "../system/names.js"
import { locate, resolveExisting } from "../system/replace.js"

const suffix = ".lock"

/**
 * Returns the path of a lock: `<folder>/<kind>/<id>.lock`. The id of a resource
 * is its path relative to the folder, so hosts that mount a share at different
 * places agree on it.
 */
export const lockPathIn = (folder: string) => {
  let known: string | undefined
  /** Created first, since only an existing folder has a real path; resolved once. */
  const resolvedFolder: Effect.Effect<string, NodeJS.ErrnoException> = Effect.suspend(() => {
    if (known !== undefined) return Effect.succeed(known)
    return Effect.flatMap(CurrentCalls, (calls) =>
      Effect.map(Effect.zipRight(makeFolders(calls, folder), calls.realpath(folder)), (real) => {
        known = real
        return real
      })
    )
  })
  const pathOf = (kind: string, id: string) => path.join(folder, encodeName(kind), `${encodeName(id)}${suffix}`)
  return (name: Name): Effect.Effect<string, LockError> =>
    name.kind !== "resource"
      ? Effect.succeed(pathOf(name.kind, name.id))
      : Effect.zipWith(resolvedFolder, canonical(name.id), (from, to) =>
          pathOf("resource", path.relative(from, to))
        ).pipe(Effect.mapError(toLockError(format(name), name.id)))
}

/** One path per file, however it is written, whether it exists or not. */
const canonical = (given: string): Effect.Effect<string, NodeJS.ErrnoException | FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const target = yield* locate(given)
    return path.join(yield* resolveExisting(calls, path.dirname(target.path)), path.basename(target.path))
  })

/** Creates a folder and its missing parents. */
export const makeFolders = (calls: Calls, folder: string): Call<void> =>
  Effect.catchAll(calls.mkdir(folder), (error): Call<void> => {
    if (error.code === "EEXIST") return Effect.void
    if (error.code !== "ENOENT" || path.dirname(folder) === folder) return Effect.fail(error)
    return Effect.zipRight(
      makeFolders(calls, path.dirname(folder)),
      orElseIf(calls.mkdir(folder), ["EEXIST"], undefined)
    )
  })

export interface LockPath {
  readonly lock: string
  readonly at: string
}

/** All locks of a folder, by kind and id. Empty if the folder does not exist. */
export const locksIn = (calls: Calls, folder: string): Call<ReadonlyArray<LockPath>> =>
  Effect.gen(function* () {
    const kinds = yield* orElseIf(calls.readdir(folder), ["ENOENT"], [])
    const found = yield* Effect.forEach([...kinds].sort(), (kind) =>
      Effect.map(orElseIf(calls.readdir(path.join(folder, kind)), ["ENOENT", "ENOTDIR"], []), (files) =>
        [...files]
          .sort()
          .filter((file) => file.endsWith(suffix) && !file.startsWith("."))
          .map((file) => ({
            lock: `${decodeName(kind)}/${decodeName(file.slice(0, -suffix.length))}`,
            at: path.join(folder, kind, file)
          }))
      )
    )
    return found.flat()
  })

/** What the record of a lock says. */
export interface Holder {
  readonly token: number
  /** When the lock was acquired or released: epoch milliseconds, by the clock of that process. */
  readonly since: number
  /** Undefined if the lock is free. */
  readonly owner?: string | undefined
}

/** A lock without a record is free. */
export const statusOf = (lock: string, holder: Holder | undefined): LockStatus => {
  const { owner, since, token = 0 } = holder ?? {}
  return { lock, token, owner, since, state: owner === undefined ? "free" : isGone(owner) ? "stale" : "held" }
}

const reasonOf = reasonByCode<LockReason>([
  ["Folder", ["ENOENT", "ENOTDIR", "EEXIST", "ENAMETOOLONG"]],
  ["Permission", ["EACCES", "EPERM", "EROFS"]],
  ["Full", ["ENOSPC", "EDQUOT"]],
  ["Descriptors", ["EMFILE", "ENFILE"]],
  ["Foreign", ["EISDIR", "ELOOP", "EFOREIGN"]],
  ["Unsupported", ["ENOLCK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]]
])

export const toLockError =
  (lock: string, at: string) =>
  (cause: NodeJS.ErrnoException | FileError): LockError => {
    const reason = cause instanceof FileError ? "Io" : reasonOf(cause.code)
    return new LockError({ reason, lock, path: at, cause })
  }

/** The lock's path holds something that is not a lock. */
export const notALock = (what: string): NodeJS.ErrnoException => errno("EFOREIGN", what)
