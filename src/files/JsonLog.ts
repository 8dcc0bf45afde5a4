/**
 * A log with one line of JSON per record. A long log is rotated; the oldest
 * rotated logs are removed.
 *
 * @since 0.1.0
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { messageOf } from "../resilience/Foreign.js"
import { permissions, wholeOrInfinity } from "../resilience/internal/kernel/options.js"
import type { FileError } from "./FileError.js"
import { asFileError, type Call, type Calls, CurrentCalls, errno, orElseIf } from "./internal/system/calls.js"
import { writeAll } from "./internal/system/write.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The log is rotated when it reaches this length in bytes. At least 1; `Infinity` never rotates it. Default: 10 MiB. */
  readonly maxBytes?: number | undefined
  /** How many rotated logs are kept. 0 keeps none, `Infinity` all. Default: 5. */
  readonly keep?: number | undefined
  /** Permissions of a new log. Default: 0o600, since records of failures may contain secrets. */
  readonly mode?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface JsonLog {
  readonly path: string
  /** Appends one record as a line. Several processes may append to one log; their lines never mix. */
  readonly append: (record: unknown) => Effect.Effect<void, FileError>
}

/**
 * A log at a path. Each `append` opens and closes the file, so other programs
 * may move the log away.
 *
 * Rotation appends the time to the name of the log. If it fails, the record is
 * appended all the same, the failure is logged once, and the next append tries
 * again. A line that a full disk or a killed process cut off is removed, or stays
 * on its own line: the next record begins a new one.
 *
 * @example
 * ```ts
 * import { JsonLog } from "effect-recovery/files"
 * import { Effect } from "effect"
 * import * as fs from "node:fs"
 * import * as os from "node:os"
 *
 * const file = `${fs.mkdtempSync(`${os.tmpdir()}/example-`)}/recovery.jsonl`
 * const log = JsonLog.make(file)
 *
 * const program = Effect.zipRight(log.append({ run: "r1", ok: false }), log.append({ run: "r1", ok: true }))
 * Effect.runPromise(program).then(() => console.log(fs.readFileSync(file, "utf8").split("\n").length)) // 3
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (file: string, options: Options = {}): JsonLog => {
  const { keep = 5, maxBytes = 10 * 1024 * 1024, mode = 0o600 } = options
  wholeOrInfinity("maxBytes", maxBytes, 1)
  wholeOrInfinity("keep", keep, 0)
  permissions(mode)
  const at = path.resolve(file)
  const turn = Effect.unsafeMakeSemaphore(1)
  let isReported = false
  const rotated = (calls: Calls): Effect.Effect<void> =>
    Effect.matchEffect(
      Effect.flatMap(Clock.currentTimeMillis, (now) => rotate(calls, at, { now, keep, maxBytes })),
      {
        onSuccess: () =>
          Effect.sync(() => {
            isReported = false
          }),
        onFailure: (error) => {
          if (isReported) return Effect.void
          isReported = true
          return Effect.logWarning(`${at} cannot be rotated and grows on: ${messageOf(error)}`)
        }
      }
    )
  return {
    path: at,
    append: (record) =>
      Effect.gen(function* () {
        const calls = yield* CurrentCalls
        const size = yield* appendLine(calls, at, yield* lineOf(record), mode)
        if (size >= maxBytes) yield* rotated(calls)
      }).pipe(Effect.uninterruptible, turn.withPermits(1), asFileError("Appending to", at))
  }
}

/** Refuses records that JSON cannot represent. */
const lineOf = (record: unknown): Effect.Effect<string, NodeJS.ErrnoException> =>
  Effect.try({
    try: () => {
      const text = JSON.stringify(record)
      if (text === undefined) throw new TypeError("JSON cannot represent it")
      return `${text}\n`
    },
    catch: (cause) => errno("EINVAL", `the record cannot be written: ${messageOf(cause)}`)
  })

/** Appends a line and returns the new length of the file. */
const appendLine = (calls: Calls, file: string, line: string, mode: number): Call<number> =>
  Effect.flatMap(calls.open(file, "a+", mode), (opened) =>
    Effect.ensuring(
      Effect.suspend(() => {
        const { size } = fs.fstatSync(opened)
        const bytes = Buffer.from(endsInLine(opened, size) ? line : `\n${line}`)
        let written = 0
        const write: Calls["write"] = (...args) =>
          Effect.tap(calls.write(...args), (count) => {
            written += count
          })
        // One call, so that lines of several processes do not mix, unless a full disk cuts it off.
        return Effect.mapBoth(writeAll({ write }, opened, bytes), {
          onFailure: (error) => (written === 0 ? error : afterPartialLine(opened, size, written, error)),
          onSuccess: () => size + bytes.length
        })
      }),
      Effect.ignore(calls.close(opened))
    )
  )

/**
 * Removes a line that was cut off, and returns an error that says what became of
 * the file. Synchronous, so that no line of another process comes in between:
 * a file that is longer than the cut line has such lines, and stays.
 */
const afterPartialLine = (
  file: number,
  before: number,
  written: number,
  error: NodeJS.ErrnoException
): NodeJS.ErrnoException => {
  const why = messageOf(error)
  try {
    if (fs.fstatSync(file).size === before + written) {
      fs.ftruncateSync(file, before)
      return error
    }
  } catch {
    // The line stays.
  }
  return errno(error.code ?? "EIO", `${why}; a part of the record was written, and the next record begins a new line`)
}

const endsInLine = (file: number, size: number): boolean => {
  if (size === 0) return true
  const last = Buffer.alloc(1)
  fs.readSync(file, last, 0, 1, size - 1)
  return last.toString() === "\n"
}

interface Rotation {
  readonly now: number
  readonly keep: number
  readonly maxBytes: number
}

/** Renames the log and removes the oldest rotated ones. Another process may do the same at this moment. */
const rotate = (calls: Calls, file: string, { keep, maxBytes, now }: Rotation): Call<void> =>
  Effect.gen(function* () {
    const name = path.basename(file)
    const stamp = new Date(now).toISOString().replaceAll(/[:.]/g, "-")
    const rotatedTo = yield* reserveName(calls, `${file}.${stamp}-${process.pid}`)
    // Another process may have rotated it since it was that long.
    const isLong = ((yield* calls.lstat(file))?.size ?? 0) >= maxBytes
    const renamed = isLong ? Effect.as(calls.rename(file, rotatedTo), true) : Effect.succeed(false)
    const isRenamed = yield* Effect.onError(orElseIf(renamed, ["ENOENT"], false), () =>
      Effect.ignore(calls.unlink(rotatedTo))
    )
    if (!isRenamed) yield* ignoreMissing(calls.unlink(rotatedTo))
    const rotated = (yield* calls.readdir(path.dirname(file))).filter((one) => isRotated(one, name)).sort()
    for (const old of rotated.slice(0, Math.max(0, rotated.length - keep))) {
      yield* ignoreMissing(calls.unlink(path.join(path.dirname(file), old)))
    }
  })

/** Creates a file under a name that no log has: a rename would replace a log that was rotated in the same millisecond. */
const reserveName = (calls: Calls, stem: string, count = 0): Call<string> => {
  // As many digits for each, so that sorting by name sorts by time.
  const name = `${stem}-${String(count).padStart(6, "0")}`
  return Effect.catchAll(Effect.as(Effect.flatMap(calls.open(name, "wx", 0o600), calls.close), name), (error) =>
    error.code === "EEXIST" ? reserveName(calls, stem, count + 1) : Effect.fail(error)
  )
}

const isRotated = (one: string, name: string): boolean =>
  one.startsWith(`${name}.`) && /^\d{4}-\d\d-\d\dT[\d-]+Z-\d+(-\d{6,})?$/.test(one.slice(name.length + 1))

const ignoreMissing = (call: Call<void>): Call<void> => orElseIf(call, ["ENOENT"], undefined)
