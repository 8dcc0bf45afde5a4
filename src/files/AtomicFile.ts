/**
 * Atomic writes: at every moment, and after every crash, a file has its old or
 * its new content. The new content is written to a temporary file beside it,
 * synced, and renamed into place.
 *
 * @since 0.1.0
 */
import * as path_ from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Lock from "../lock/Lock.js"
import { permissions } from "../resilience/internal/kernel/options.js"
import type { FileError } from "./FileError.js"
import { asFileError, type Call, type Calls, CurrentCalls, orElseIf } from "./internal/system/calls.js"
import { isLeftover } from "./internal/system/names.js"
import {
  locate,
  type NewFileOptions,
  readIfExists,
  replace,
  requireFile,
  type Target
} from "./internal/system/replace.js"
import { writeAll } from "./internal/system/write.js"

/** @since 0.1.0 */
export * from "./FileError.js"

/**
 * What a successful write survives:
 *
 * - `power-loss`: a power cut; the change is on disk
 * - `ordered`: a power cut leaves the whole old or the whole new content, possibly the old one
 * - `process-crash`: the death of the process; a power cut may leave an empty file
 *
 * @since 0.1.0
 * @category models
 */
export type Durability = "power-loss" | "ordered" | "process-crash"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Default: `power-loss`. */
  readonly durability?: Durability | undefined
  /** Permissions of a new file; an existing file keeps its own. Default: 0o666 minus the umask. */
  readonly mode?: number | undefined
  /** Whether the write fails if it cannot keep the owner of the file. With false, this user becomes the owner. Default: true. */
  readonly owner?: boolean | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface UpdateOptions extends Options {
  /** How long to wait for the lock of the file. Default: 30 seconds. 0 does not wait, `Infinity` waits without limit. */
  readonly timeout?: Lock.Options["timeout"]
}

const optionsOf = ({ durability = "power-loss", mode, owner = true }: Options = {}): NewFileOptions => ({
  durability,
  mode: mode === undefined ? undefined : permissions(mode),
  owner
})

/**
 * Writes the whole file. Concurrent readers see the old or the new content. A
 * symbolic link is followed and stays; permissions and owner stay.
 *
 * Of two writers the last one wins. To change existing content, use
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
  Effect.flatMap(locate(path), (target) => writeTo(target, content, options)).pipe(asFileError("Writing", path))

const writeTo = <E = never>(
  target: Target,
  content: string | Uint8Array,
  options: Options | undefined,
  beforeRename: Effect.Effect<void, E> = Effect.void
) =>
  Effect.zipRight(
    requireFile("Writing", target),
    replace(target, (file, calls) => writeAll(calls, file, content), optionsOf(options), beforeRename)
  )

/** An effect that holds the lock of a file. */
type Locked<A, E, R> = Effect.Effect<
  A,
  E | FileError | Lock.LockTimeout | Lock.LockLost | Lock.LockError,
  Exclude<R, Lock.Held> | Lock.Lock
>

/**
 * Reads the file, computes the new content with the effect, and writes it, while
 * holding the lock `Lock.resource(path)` of the provided layer. No update of
 * another process is lost. Returns the new content.
 *
 * The effect receives `None` if the file does not exist. If it fails, the file
 * is unchanged.
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
): Locked<string, E, R> => change(path, (bytes) => f(Option.map(bytes, (found) => decoder.decode(found))), options)

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * {@link update} for bytes.
 *
 * @since 0.1.0
 * @category writing
 */
export const updateBytes: <E, R>(
  path: string,
  f: (current: Option.Option<Uint8Array>) => Effect.Effect<Uint8Array, E, R>,
  options?: UpdateOptions
) => Locked<Uint8Array, E, R> = (path, f, options) => change(path, f, options)

const change = <A extends string | Uint8Array, E, R>(
  path: string,
  f: (current: Option.Option<Uint8Array>) => Effect.Effect<A, E, R>,
  options: UpdateOptions | undefined
) =>
  locked(path, options, (target, check) =>
    Effect.flatMap(readIfExists(target).pipe(asFileError("Reading", target.path)), (bytes) =>
      Effect.tap(f(bytes), (content) =>
        writeTo(target, content, options, check).pipe(asFileError("Updating", target.path))
      )
    )
  )

/** Resolves links again under the lock, and starts over if they changed during the wait: it would be the wrong lock. */
const locked = <A, E, R>(
  path: string,
  options: UpdateOptions | undefined,
  use: (target: Target, check: Effect.Effect<void, Lock.LockLost>) => Effect.Effect<A, E, R>
): Locked<A, E, R> => {
  const find = locate(path).pipe(asFileError("Finding", path))
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
 * Appends to the file atomically, while holding the lock of the file. Rewrites
 * the whole file, so use `JsonLog` or another log for files of many megabytes.
 *
 * @since 0.1.0
 * @category writing
 */
export const append = (
  path: string,
  content: string | Uint8Array,
  options?: UpdateOptions
): Locked<void, never, never> =>
  locked(path, options, (target, check) =>
    Effect.zipRight(
      requireFile("Appending to", target),
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
    ).pipe(asFileError("Appending to", target.path))
  )

const copyInto = (calls: Calls, from: string, file: number): Call<void> =>
  Effect.flatMap(calls.readFile(from), (bytes) => (bytes.length === 0 ? Effect.void : writeAll(calls, file, bytes)))

/**
 * Removes the temporary files of writers in a folder that died, and returns
 * their number. Files of living processes stay.
 *
 * @since 0.1.0
 * @category execution
 */
export const cleanup = (folder: string): Effect.Effect<number, FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const leftovers = (yield* calls.readdir(folder)).filter(isLeftover)
    const removed = yield* Effect.forEach(leftovers, (name) =>
      orElseIf(Effect.as(calls.unlink(path_.join(folder, name)), 1), ["ENOENT", "EISDIR", "EPERM"], 0)
    )
    return removed.reduce((sum, one) => sum + one, 0)
  }).pipe(asFileError("Cleaning up", folder))
