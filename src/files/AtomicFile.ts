/**
 * Files that are the old ones or the new ones, at every moment and after every
 * crash: what is written goes to a temporary file beside them, to disk, and is
 * renamed into place.
 *
 * @since 0.1.0
 */
import * as path_ from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Lock from "../lock/Lock.js"
import { FileError, type FileReason } from "./FileError.js"
import { type Call, type Calls, CurrentCalls } from "./internal/system/calls.js"
import { doing, unless } from "./internal/system/errors.js"
import { isLeftover } from "./internal/system/names.js"
import {
  type Durability as Durability_,
  locate,
  type NewFile,
  refuseOther,
  replace,
  type Target
} from "./internal/system/replace.js"
import { writeAll } from "./internal/system/write.js"

export {
  /**
   * A file could not be read or changed.
   *
   * @since 0.1.0
   * @category errors
   */
  FileError,
  /**
   * What went wrong with a file.
   *
   * @since 0.1.0
   * @category models
   */
  type FileReason
}

/**
 * What a change survives once its effect has succeeded:
 *
 * - `power-loss`: everything; the change is on disk
 * - `ordered`: after a power cut the file is the old one or the new one, whole, but it may be the old one
 * - `process-crash`: the end of the process; a power cut may leave an empty file
 *
 * @since 0.1.0
 * @category models
 */
export type Durability = Durability_

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Defaults to `power-loss`. */
  readonly durability?: Durability | undefined
  /** Permissions of a file that is new; one that is there keeps its own. Defaults to what the umask leaves of 0o666. */
  readonly mode?: number | undefined
  /**
   * Whether a file of another owner must stay that owner's: then it fails if this user may not give files
   * away. Defaults to true.
   */
  readonly owner?: boolean | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface UpdateOptions extends Options {
  /** How long to wait for the lock of the file. Defaults to 30 seconds. */
  readonly timeout?: Lock.Options["timeout"]
}

const optionsOf = ({ durability = "power-loss", mode, owner = true }: Options = {}): NewFile => ({
  durability,
  mode,
  owner
})

/**
 * Writes the whole file. Whoever reads it meanwhile sees the old one or the
 * new one. A symbolic link is followed, and stays; permissions and owner stay too.
 *
 * Of two writers the last one wins. Programs that change what is there use
 * {@link update}.
 *
 * @example
 * ```ts
 * import { AtomicFile } from "effect-recovery/files"
 * import { Effect } from "effect"
 * import * as fs from "node:fs"
 * import * as os from "node:os"
 *
 * const file = `${fs.mkdtempSync(`${os.tmpdir()}/example-`)}/settings.json`
 * const program = AtomicFile.write(file, JSON.stringify({ theme: "dark" }))
 *
 * Effect.runPromise(program).then(() => console.log(fs.readFileSync(file, "utf8"))) // {"theme":"dark"}
 * ```
 *
 * @since 0.1.0
 * @category writing
 */
export const write = (path: string, content: string | Uint8Array, options?: Options): Effect.Effect<void, FileError> =>
  Effect.flatMap(locate(path), (target) => put(target, content, options)).pipe(doing(writing, path))

const writing = "Writing"

const put = <E = never>(
  target: Target,
  content: string | Uint8Array,
  options: Options | undefined,
  last: Effect.Effect<void, E> = Effect.void
) =>
  Effect.zipRight(
    refuseOther(writing, target),
    replace(target, (file, calls) => writeAll(calls, file, content), optionsOf(options), last)
  )

/**
 * Reads the file, lets the effect make a new content of it, and writes that,
 * while it holds the lock of the file: `Lock.resource(path)` of the layer that
 * is provided. No update of another process is lost. Answers with the new content.
 *
 * The effect is told nothing (`None`) if the file does not exist. If it fails,
 * the file is as it was.
 *
 * @example
 * ```ts
 * import { AtomicFile, FileLock } from "effect-recovery/files"
 * import { Effect, Option } from "effect"
 * import * as fs from "node:fs"
 * import * as os from "node:os"
 *
 * const folder = fs.mkdtempSync(`${os.tmpdir()}/example-`)
 * const increment = AtomicFile.update(`${folder}/counter`, (text) =>
 *   Effect.succeed(`${Number(Option.getOrElse(text, () => "0")) + 1}`)
 * )
 *
 * Effect.replicateEffect(increment, 5, { concurrency: "unbounded" }).pipe(
 *   Effect.provide(FileLock.layer({ folder: `${folder}/locks` })),
 *   Effect.runPromise
 * ).then((counts) => console.log(counts.at(-1))) // 5
 * ```
 *
 * @since 0.1.0
 * @category writing
 */
export const update = <E, R>(
  path: string,
  f: (current: Option.Option<string>) => Effect.Effect<string, E, R>,
  options?: UpdateOptions
): Effect.Effect<
  string,
  E | FileError | Lock.LockTimeout | Lock.LockLost | Lock.LockError,
  Exclude<R, Lock.Held> | Lock.Lock
> => change(path, (bytes) => f(Option.map(bytes, (found) => decoder.decode(found))), options)

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * As {@link update}, for files that are no text.
 *
 * @since 0.1.0
 * @category writing
 */
export const updateBytes = <E, R>(
  path: string,
  f: (current: Option.Option<Uint8Array>) => Effect.Effect<Uint8Array, E, R>,
  options?: UpdateOptions
): Effect.Effect<
  Uint8Array,
  E | FileError | Lock.LockTimeout | Lock.LockLost | Lock.LockError,
  Exclude<R, Lock.Held> | Lock.Lock
> => change(path, f, options)

const change = <A extends string | Uint8Array, E, R>(
  path: string,
  f: (current: Option.Option<Uint8Array>) => Effect.Effect<A, E, R>,
  options: UpdateOptions | undefined
) =>
  locked(path, options, (target, check) =>
    Effect.flatMap(readIfAny(target).pipe(doing("Reading", target.path)), (bytes) =>
      Effect.tap(f(bytes), (content) => put(target, content, options, check).pipe(doing("Updating", target.path)))
    )
  )

const readIfAny = (target: Target): Effect.Effect<Option.Option<Uint8Array>, NodeJS.ErrnoException | FileError> =>
  Effect.zipRight(
    // Reading a pipe would wait for somebody to write to it.
    refuseOther("Reading", target),
    Effect.flatMap(CurrentCalls, (calls) =>
      unless(Effect.asSome(calls.readFile(target.path)), ["ENOENT"], Option.none())
    )
  )

/** Where the link leads is looked up again under the lock: if it has changed while we waited, it was the wrong one. */
const locked = <A, E, R>(
  path: string,
  options: UpdateOptions | undefined,
  use: (target: Target, check: Effect.Effect<void, Lock.LockLost>) => Effect.Effect<A, E, R>
): Effect.Effect<
  A,
  E | FileError | Lock.LockTimeout | Lock.LockLost | Lock.LockError,
  Exclude<R, Lock.Held> | Lock.Lock
> => {
  const find = locate(path).pipe(doing("Finding", path))
  return Effect.flatMap(find, (before) =>
    Effect.gen(function* () {
      const { check } = yield* Lock.Held
      const target = yield* find
      return target.path === before.path ? Option.some(yield* use(target, check)) : Option.none()
    }).pipe(
      Lock.withLock(Lock.resource(before.path), { timeout: options?.timeout }),
      Effect.flatMap(Option.match({ onNone: () => locked(path, options, use), onSome: Effect.succeed }))
    )
  )
}

/**
 * Adds to the end of the file, entirely or not at all, while it holds the lock
 * of the file. The whole file is written anew for it: for logs of many
 * megabytes this is not the right tool.
 *
 * @since 0.1.0
 * @category writing
 */
export const append = (
  path: string,
  content: string | Uint8Array,
  options?: UpdateOptions
): Effect.Effect<void, FileError | Lock.LockTimeout | Lock.LockLost | Lock.LockError, Lock.Lock> =>
  locked(path, options, (target, check) =>
    Effect.zipRight(
      refuseOther("Appending to", target),
      replace(
        target,
        (file, calls) =>
          Effect.zipRight(
            target.stats === undefined ? Effect.void : copyInto(calls, target.path, file),
            writeAll(calls, file, content)
          ),
        optionsOf(options),
        check
      )
    ).pipe(doing("Appending to", target.path))
  )

const copyInto = (calls: Calls, from: string, file: number): Call<void> =>
  Effect.flatMap(calls.readFile(from), (bytes) => (bytes.length === 0 ? Effect.void : writeAll(calls, file, bytes)))

/**
 * Removes what processes that were killed in the middle of a write have left
 * in a folder, and answers with how much there was. Living processes are left alone.
 *
 * @since 0.1.0
 * @category execution
 */
export const cleanup = (folder: string): Effect.Effect<number, FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const leftovers = (yield* calls.readdir(folder)).filter(isLeftover)
    const removed = yield* Effect.forEach(leftovers, (name) =>
      unless(Effect.as(calls.unlink(path_.join(folder, name)), 1), ["ENOENT", "EISDIR", "EPERM"], 0)
    )
    return removed.reduce((sum, one) => sum + one, 0)
  }).pipe(doing("Cleaning up", folder))
