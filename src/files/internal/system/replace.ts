import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { FileError } from "../../FileError.js"
import { type Call, type Calls, CurrentCalls, errno } from "./calls.js"
import { temporaryName } from "./names.js"

/**
 * What a change survives:
 *
 * - `power-loss`: it is on disk when the effect has succeeded
 * - `ordered`: after a power cut the file is the old one or the new one, whole
 * - `process-crash`: the same after the end of the process; a power cut may leave an empty file
 */
export type Durability = "power-loss" | "ordered" | "process-crash"

export interface Target {
  /** Behind symbolic links, whether it exists or not. */
  readonly path: string
  readonly stats: fs.Stats | undefined
}

/** Whose permissions and owner a file is to have. */
export type Like = Pick<fs.Stats, "mode" | "uid" | "gid">

export interface NewFile {
  readonly durability: Durability
  /** Of a file that is new. Without it the umask decides. */
  readonly mode: number | undefined
  /** Whether it must keep the owner of the file it replaces. */
  readonly owner: boolean
}

/** Follows symbolic links to where the file is, or would be. */
export const locate = (given: string): Effect.Effect<Target, NodeJS.ErrnoException | FileError> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.flatMap(absolute(calls, process.cwd(), given), (at) => follow(calls, at, 0))
  )

/** What is behind links, as far as it exists, and the rest as it is written. */
export const realFolder = (calls: Calls, at: string): Call<string> =>
  Effect.catchAll(calls.realpath(at), (error) =>
    error.code === "ENOENT" && path.dirname(at) !== at
      ? Effect.map(realFolder(calls, path.dirname(at)), (folder) => path.join(folder, path.basename(at)))
      : Effect.fail(error)
  )

/** The folder above a link is not the one above its name: `..` is left to the operating system. */
const absolute = (calls: Calls, from: string, given: string): Call<string> => {
  if (!/(^|[/\\])\.\.([/\\]|$)/.test(given)) return Effect.succeed(path.resolve(from, given))
  const whole = path.isAbsolute(given) ? given : `${from}/${given}`
  const name = path.basename(whole)
  return name === ".."
    ? realFolder(calls, whole)
    : Effect.map(realFolder(calls, path.dirname(whole)), (folder) => path.join(folder, name))
}

const follow = (calls: Calls, at: string, links: number): Call<Target> =>
  Effect.flatMap(calls.lstat(at), (stats): Call<Target> => {
    if (stats?.isSymbolicLink() !== true) return Effect.succeed({ path: at, stats })
    if (links >= 40) return Effect.fail(errno("ELOOP", "too many symbolic links"))
    return Effect.flatMap(Effect.zip(calls.readlink(at), realFolder(calls, path.dirname(at))), ([to, folder]) =>
      Effect.flatMap(absolute(calls, folder, to.toString()), (next) => follow(calls, next, links + 1))
    )
  })

export const refuseOther = (operation: string, { path, stats }: Target): Effect.Effect<void, FileError> =>
  stats === undefined || stats.isFile()
    ? Effect.void
    : Effect.fail(new FileError({ reason: "NotAFile", operation, path }))

/** Until it has its owner nobody else may read what is in it. */
const modeOf = (like: Like): number =>
  like.uid === process.geteuid?.() && like.gid === process.getegid?.() ? like.mode & 0o777 : like.mode & 0o700

/** Gives a new file the mode and the owner of the one it takes the place of. */
const dress = (calls: Calls, file: number, like: Like | undefined, { mode, owner }: NewFile): Call<void> =>
  Effect.suspend(() => {
    const now = fs.fstatSync(file)
    const wanted = like === undefined ? mode : like.mode & 0o7777
    const differs = like !== undefined && (like.uid !== now.uid || like.gid !== now.gid)
    if (!differs) {
      return wanted !== undefined && (now.mode & 0o7777) !== wanted ? calls.fchmod(file, wanted) : Effect.void
    }
    // The mode comes second: a change of the owner takes the set-user-id away.
    return Effect.matchEffect(calls.fchown(file, like.uid, like.gid), {
      onSuccess: () => calls.fchmod(file, like.mode & 0o7777),
      // What ran as its owner must not run as this user.
      onFailure: (cause) =>
        owner ? Effect.fail(errno("EOWNER", "the owner cannot be kept", cause)) : calls.fchmod(file, like.mode & 0o1777)
    })
  })

/** Writes a file that nobody knows yet, as it is to be seen later. */
export const writeNew = (
  calls: Calls,
  at: string,
  content: (file: number) => Call<void>,
  like: Like | undefined,
  options: NewFile
): Call<void> =>
  Effect.flatMap(calls.open(at, "wx", like === undefined ? (options.mode ?? 0o666) : modeOf(like)), (file) =>
    Effect.zipRight(
      Effect.zipRight(content(file), dress(calls, file, like, options)),
      options.durability === "process-crash" ? Effect.void : calls.sync(file)
    ).pipe(
      Effect.matchEffect({
        onFailure: (error) => Effect.zipRight(Effect.ignore(calls.close(file)), Effect.fail(error)),
        onSuccess: () => calls.close(file)
      }),
      Effect.onError(() => Effect.ignore(calls.unlink(at)))
    )
  )

const patience = 20

/** Virus scanners and the like keep a file busy for a moment; on Windows it is called a lack of permission. */
export const rename = (calls: Calls, from: string, to: string, tries = 1): Call<void> =>
  Effect.catchAll(calls.rename(from, to), (error) => {
    const passes = error.code === "EBUSY" || (process.platform === "win32" && /^(EPERM|EACCES)$/.test(error.code ?? ""))
    if (!passes || tries >= patience) return Effect.fail(error)
    return Effect.flatMap(Random.next, (random) =>
      Effect.zipRight(Effect.sleep(tries * 5 * (1 + random)), rename(calls, from, to, tries + 1))
    )
  })

/** Puts names on disk, as `sync` puts contents there. */
export const syncFolder = (calls: Calls, folder: string): Call<void> => withFolder(calls, folder, (sync) => sync)

/** Opens the folder first: one that cannot be put on disk must be known before anything in it is changed. */
const withFolder = <E>(
  calls: Calls,
  folder: string,
  use: (sync: Call<void>) => Effect.Effect<void, E>
): Effect.Effect<void, NodeJS.ErrnoException | E> =>
  // Windows does not know of it.
  process.platform === "win32"
    ? use(Effect.void)
    : Effect.flatMap(calls.open(folder, "r"), (file) =>
        Effect.ensuring(use(calls.sync(file)), Effect.ignore(calls.close(file)))
      )

/**
 * The file is the old one until it is the new one: written aside, and renamed
 * into place, if nothing speaks against it at the last moment.
 */
export const replace = <E = never>(
  target: { readonly path: string; readonly stats: Like | undefined },
  content: (file: number, calls: Calls) => Call<void>,
  options: NewFile,
  last: Effect.Effect<void, E> = Effect.void
): Effect.Effect<void, NodeJS.ErrnoException | E> =>
  Effect.uninterruptible(
    Effect.flatMap(CurrentCalls, (calls) => {
      const folder = path.dirname(target.path)
      const aside = path.join(folder, temporaryName(path.basename(target.path)))
      const written = writeNew(calls, aside, (file) => content(file, calls), target.stats, options)
      const renamed = Effect.zipRight(last, rename(calls, aside, target.path))
      const replaced = Effect.zipRight(
        written,
        Effect.onError(renamed, () => Effect.ignore(calls.unlink(aside)))
      )
      return options.durability === "power-loss"
        ? withFolder(calls, folder, (sync) => Effect.zipRight(replaced, sync))
        : replaced
    })
  )
