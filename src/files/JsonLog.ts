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
 * Rotation appends the time to the name of the log. A line that a killed process
 * left unfinished stays on its own line: the next record begins a new one.
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
  return {
    path: at,
    append: (record) =>
      Effect.gen(function* () {
        const calls = yield* CurrentCalls
        const size = yield* appendLine(calls, at, yield* lineOf(record), mode)
        if (size >= maxBytes) yield* rotate(calls, at, yield* Clock.currentTimeMillis, keep)
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
        // One call, so that lines of several processes do not mix, unless a full disk cuts it off.
        return Effect.as(writeAll(calls, opened, bytes), size + bytes.length)
      }),
      Effect.ignore(calls.close(opened))
    )
  )

const endsInLine = (file: number, size: number): boolean => {
  if (size === 0) return true
  const last = Buffer.alloc(1)
  fs.readSync(file, last, 0, 1, size - 1)
  return last.toString() === "\n"
}

/** Renames the log and removes the oldest rotated ones. Another process may do the same at this moment. */
const rotate = (calls: Calls, file: string, now: number, keep: number): Call<void> =>
  Effect.gen(function* () {
    const name = path.basename(file)
    const stamp = new Date(now).toISOString().replaceAll(/[:.]/g, "-")
    yield* ignoreMissing(calls.rename(file, `${file}.${stamp}-${process.pid}`))
    const rotated = (yield* calls.readdir(path.dirname(file))).filter((one) => isRotated(one, name)).sort()
    for (const old of rotated.slice(0, Math.max(0, rotated.length - keep))) {
      yield* ignoreMissing(calls.unlink(path.join(path.dirname(file), old)))
    }
  })

const isRotated = (one: string, name: string): boolean =>
  one.startsWith(`${name}.`) && /^\d{4}-\d\d-\d\dT[\d-]+Z-\d+$/.test(one.slice(name.length + 1))

const ignoreMissing = (call: Call<void>): Call<void> => orElseIf(call, ["ENOENT"], undefined)
