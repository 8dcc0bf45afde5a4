import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { Durability } from "../../AtomicFile.js"
import { FileError } from "../../FileError.js"
import { type Call, type Calls, CurrentCalls, errno, orElseIf, type Path } from "./calls.js"
import { temporaryName } from "./names.js"
import type { FileStats } from "./stats.js"

export interface Target {
  /** The real path, behind symbolic links, whether the file exists or not. */
  readonly path: string
  readonly stats: FileStats | undefined
}

/** The permissions and the owner of a file. */
export type Attributes = Pick<FileStats, "mode" | "uid" | "gid">

export interface NewFileOptions {
  readonly durability: Durability
  /** Permissions if no file is replaced. Default: 0o666 minus the umask. */
  readonly mode: number | undefined
  /** Whether the write fails if it cannot keep the owner of the replaced file. */
  readonly owner: boolean
}

/** Follows symbolic links to the file, or to the place where it would be created. */
export const locate = (given: string): Effect.Effect<Target, NodeJS.ErrnoException | FileError> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.flatMap(
      Effect.flatMap(folderFor(given), (from) => absolute(calls, from, given)),
      (at) => follow(calls, at, 0)
    )
  )

/** Where a relative path begins. The working folder may have been removed; an absolute path does not need it. */
const folderFor = (given: string): Call<string> =>
  path.isAbsolute(given)
    ? Effect.succeed(path.sep)
    : // What it throws is the error of the system call.
      Effect.try({ try: () => process.cwd(), catch: (error) => error as NodeJS.ErrnoException })

/** Resolves the existing part of a path; the rest stays as written. */
export const resolveExisting = (calls: Calls, at: string): Call<string> =>
  Effect.catchAll(calls.realpath(at), (error) =>
    error.code === "ENOENT" && path.dirname(at) !== at
      ? Effect.map(resolveExisting(calls, path.dirname(at)), (folder) => path.join(folder, path.basename(at)))
      : Effect.fail(error)
  )

/** The operating system resolves `..`: the parent of a linked folder is not the folder that holds the link. */
const absolute = (calls: Calls, from: string, given: string): Call<string> => {
  if (!/(^|[/\\])\.\.([/\\]|$)/.test(given)) return Effect.succeed(path.resolve(from, given))
  const whole = path.isAbsolute(given) ? given : `${from}/${given}`
  const name = path.basename(whole)
  return name === ".."
    ? resolveExisting(calls, whole)
    : Effect.map(resolveExisting(calls, path.dirname(whole)), (folder) => path.join(folder, name))
}

const follow = (calls: Calls, at: string, links: number): Call<Target> =>
  Effect.flatMap(calls.lstat(at), (stats): Call<Target> => {
    if (stats?.isSymbolicLink() !== true) return Effect.succeed({ path: at, stats })
    if (links >= 40) return Effect.fail(errno("ELOOP", "too many symbolic links"))
    return Effect.flatMap(Effect.zip(calls.readlink(at), resolveExisting(calls, path.dirname(at))), ([to, folder]) =>
      Effect.flatMap(absolute(calls, folder, to.toString()), (next) => follow(calls, next, links + 1))
    )
  })

/** Refuses folders, pipes and devices. Opening a pipe would wait for its other end. */
export const requireFile = (operation: string, { path, stats }: Target): Effect.Effect<void, FileError> =>
  stats === undefined || stats.isFile()
    ? Effect.void
    : Effect.fail(new FileError({ reason: "NotAFile", operation, path }))

/** The content of a file; none if the file does not exist. */
export const readIfExists = (
  target: Target
): Effect.Effect<Option.Option<Uint8Array>, NodeJS.ErrnoException | FileError> =>
  Effect.zipRight(
    requireFile("Reading", target),
    Effect.flatMap(CurrentCalls, (calls) =>
      orElseIf(Effect.asSome(calls.readFile(target.path)), ["ENOENT"], Option.none())
    )
  )

/** Permissions until the owner is set: only users who may read the old file may read the new one. */
const initialMode = ({ gid, mode, uid }: Attributes): number =>
  uid === process.geteuid?.() && gid === process.getegid?.() ? mode & 0o777 : mode & 0o700

/** Gives a new file the permissions and the owner of the file that it replaces. */
const copyAttributes = (
  calls: Calls,
  file: number,
  from: Attributes | undefined,
  { mode, owner }: NewFileOptions
): Call<void> =>
  Effect.suspend(() => {
    const now = fs.fstatSync(file)
    const wanted = from === undefined ? mode : from.mode & 0o7777
    if (from === undefined || (from.uid === now.uid && from.gid === now.gid)) {
      return wanted !== undefined && (now.mode & 0o7777) !== wanted ? calls.fchmod(file, wanted) : Effect.void
    }
    // The mode comes second: chown clears the set-user-id bit.
    return Effect.matchEffect(calls.fchown(file, from.uid, from.gid), {
      onSuccess: () => calls.fchmod(file, from.mode & 0o7777),
      // Without the set-user-id bit: a program of the old owner must not run as this user.
      onFailure: (cause) =>
        owner ? Effect.fail(errno("EOWNER", "the owner cannot be kept", cause)) : calls.fchmod(file, from.mode & 0o1777)
    })
  })

/** Creates a file with the content and the attributes of `like`, and removes it if that fails. */
export const writeNewFile = (
  calls: Calls,
  at: string,
  content: (file: number) => Call<void>,
  like: Attributes | undefined,
  options: NewFileOptions
): Call<void> =>
  Effect.flatMap(calls.open(at, "wx", like === undefined ? (options.mode ?? 0o666) : initialMode(like)), (file) =>
    Effect.zipRight(
      Effect.zipRight(content(file), copyAttributes(calls, file, like, options)),
      options.durability === "process-crash" ? Effect.void : calls.sync(file)
    ).pipe(
      Effect.matchEffect({
        onFailure: (error) => Effect.zipRight(Effect.ignore(calls.close(file)), Effect.fail(error)),
        onSuccess: () => calls.close(file)
      }),
      Effect.onError(() => Effect.ignore(calls.unlink(at)))
    )
  )

const maxRenames = 20

/** Renames, and retries while a virus scanner or similar program keeps the file busy. Windows reports that as a lack of permission. */
export const rename = (calls: Calls, from: string, to: string, attempt = 1): Call<void> =>
  Effect.catchAll(calls.rename(from, to), (error) => {
    const isBusy = error.code === "EBUSY" || (process.platform === "win32" && /^(EPERM|EACCES)$/.test(error.code ?? ""))
    if (!isBusy || attempt >= maxRenames) return Effect.fail(error)
    return Effect.flatMap(Random.next, (random) =>
      Effect.zipRight(Effect.sleep(attempt * 5 * (1 + random)), rename(calls, from, to, attempt + 1))
    )
  })

/**
 * Makes the names in a folder durable, as `sync` makes the content of a file
 * durable. Where the system cannot do that, when they are is up to the file system.
 */
export const syncFolder = (calls: Calls, folder: Path): Call<void> => withFolderSync(calls, folder, (sync) => sync)

/** Codes of file systems that cannot sync folders, such as some network and FUSE file systems. */
const unsyncable = ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]

/** Opens the folder before the change, so that a folder that cannot be synced is refused before anything changes. */
const withFolderSync = <E>(
  calls: Calls,
  folder: Path,
  use: (sync: Call<void>) => Effect.Effect<void, E>
): Effect.Effect<void, NodeJS.ErrnoException | E> =>
  // Windows cannot sync folders.
  process.platform === "win32"
    ? use(Effect.void)
    : Effect.flatMap(calls.open(folder, "r"), (file) =>
        Effect.ensuring(use(orElseIf(calls.sync(file), unsyncable, undefined)), Effect.ignore(calls.close(file)))
      )

/**
 * Replaces a file atomically: writes a temporary file beside it, then renames it
 * into place. `beforeRename` may still refuse.
 */
export const replace = <E = never>(
  target: { readonly path: string; readonly stats: Attributes | undefined },
  content: (file: number, calls: Calls) => Call<void>,
  options: NewFileOptions,
  beforeRename: Effect.Effect<void, E> = Effect.void
): Effect.Effect<void, NodeJS.ErrnoException | E> =>
  Effect.flatMap(CurrentCalls, (calls) => {
    const folder = path.dirname(target.path)
    const temporary = path.join(folder, temporaryName(path.basename(target.path), calls.thisProcess()))
    const written = writeNewFile(calls, temporary, (file) => content(file, calls), target.stats, options)
    const renamed = Effect.zipRight(beforeRename, rename(calls, temporary, target.path))
    const replaced = Effect.zipRight(
      written,
      Effect.onError(renamed, () => Effect.ignore(calls.unlink(temporary)))
    )
    const durable =
      options.durability === "power-loss"
        ? withFolderSync(calls, folder, (sync) => Effect.zipRight(replaced, sync))
        : replaced
    return calls.replacements.withPermits(1)(Effect.uninterruptible(durable))
  })
