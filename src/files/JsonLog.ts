/**
 * A log of JSON, a line for each record, that is set aside when it is long and
 * forgotten when it is old.
 *
 * @since 0.1.0
 */
import * as path from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { FileError } from "./FileError.js"
import { append as appendTo, rotate } from "./internal/log/append.js"
import { CurrentCalls, errno } from "./internal/system/calls.js"
import { doing } from "./internal/system/errors.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** From which length on a log is set aside, in bytes. Defaults to 10 MiB. */
  readonly maxBytes?: number | undefined
  /** How many that were set aside are kept. Defaults to 5. */
  readonly keep?: number | undefined
  /** Of a log that is new. Defaults to 0o600: what fails may tell secrets. */
  readonly mode?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface JsonLog {
  readonly path: string
  /** Writes one record as a line. Any number of processes may write to one log; no line is within another. */
  readonly append: (record: unknown) => Effect.Effect<void, FileError>
}

/**
 * A log at a path. Nothing is opened until something is appended, and nothing
 * stays open in between, so the log may be moved away by others, too.
 *
 * One that is too long gets the time as a further part of its name; the oldest
 * of these are removed. A line that a process was killed in the middle of stays
 * alone: the next one begins a line of its own.
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
  if (!(maxBytes > 0)) throw new RangeError(`JsonLog.make: maxBytes must be more than 0, not ${maxBytes}`)
  if (!(keep >= 0)) throw new RangeError(`JsonLog.make: keep must not be less than 0, not ${keep}`)
  const at = path.resolve(file)
  const turn = Effect.unsafeMakeSemaphore(1)
  return {
    path: at,
    append: (record) =>
      Effect.flatMap(CurrentCalls, (calls) =>
        Effect.flatMap(lineOf(record), (line) =>
          Effect.flatMap(appendTo(calls, at, line, mode), (size) =>
            size < maxBytes
              ? Effect.void
              : Effect.flatMap(Clock.currentTimeMillis, (now) => rotate(calls, at, now, keep))
          )
        )
      ).pipe(Effect.uninterruptible, turn.withPermits(1), doing("Appending to", at))
  }
}

/** What JSON does not know is no record. */
const lineOf = (record: unknown): Effect.Effect<string, NodeJS.ErrnoException> =>
  Effect.try({
    try: () => {
      const text = JSON.stringify(record)
      if (text === undefined) throw new TypeError("it is nothing JSON can hold")
      return `${text}\n`
    },
    catch: (cause) => errno("EINVAL", `the record cannot be written: ${cause instanceof Error ? cause.message : cause}`)
  })
