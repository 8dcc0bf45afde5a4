import * as fs from "node:fs"
import * as path from "node:path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Lock from "../../../remember/Lock.js"
import type { LockError } from "../../../remember/LockError.js"
import { CurrentCalls } from "../system/calls.js"
import { uniqueOwner } from "../system/names.js"
import type { Native } from "./native.js"
import { foreign, placesIn, placesOf, toLockError } from "./places.js"
import { parseRecord, type Record, statusOf } from "./record.js"

export interface Options {
  readonly folder: string
  readonly poll: Duration.DurationInput
  readonly heartbeat: Duration.DurationInput
}

/**
 * Locks of the operating system. These calls are not handed to a thread: each
 * of them is shorter than the way there, and a lock is on a local disk.
 */
export const osDriver = (native: Native, { folder, heartbeat, poll }: Options): Lock.Driver => {
  const attempt = (at: string, lock: string, now: number): Lock.Attempt => {
    for (;;) {
      const file = openLock(at)
      try {
        if (!native.tryLock(file)) {
          const status = statusOf(lock, readRecord(file))
          fs.closeSync(file)
          return { _tag: "Busy", status: { ...status, state: "held" } }
        }
        if (isCurrent(file, at)) return { _tag: "Acquired", grip: grip(file, at, lock, now) }
        // Somebody removed the file between our opening and locking it: the lock is with the new one.
        fs.closeSync(file)
      } catch (error) {
        closeQuietly(file)
        throw error
      }
    }
  }

  const grip = (file: number, at: string, lock: string, now: number): Lock.Grip => {
    const token = Lock.nextToken(readRecord(file)?.token ?? 0, now)
    writeRecord(file, { token, since: now, owner: uniqueOwner() })
    return {
      token,
      renew: tried(lock, at, () => isCurrent(file, at)),
      release: Effect.clockWith((clock) =>
        tried(lock, at, () => release(file, at, token, clock.unsafeCurrentTimeMillis()))
      )
    }
  }

  return {
    keyOf: placesOf(folder),
    attempt: (at, name) =>
      Effect.clockWith((clock) => {
        const lock = Lock.format(name)
        return tried(lock, at, () => attempt(at, lock, clock.unsafeCurrentTimeMillis()))
      }),
    status: (at, name) => tried(Lock.format(name), at, () => look(at, Lock.format(name))),
    list: all(folder, (places) => places.map(({ at, lock }) => look(at, lock))),
    cleanup: (olderThan) =>
      Effect.clockWith((clock) => {
        const now = clock.unsafeCurrentTimeMillis()
        return all(folder, (places) => places.filter(({ at }) => removeUnused(native, at, now - olderThan, now)).length)
      }),
    heartbeat,
    // Nobody takes it over: only the file can be gone, and that is certain.
    patience: Number.POSITIVE_INFINITY,
    poll
  }
}

const tried = <A>(lock: string, at: string, run: () => A): Effect.Effect<A, LockError> =>
  // Whatever is thrown comes from the file system.
  Effect.try({ try: run, catch: (cause) => toLockError(lock, at)(cause as NodeJS.ErrnoException) })

const all = <A>(
  folder: string,
  use: (places: ReadonlyArray<{ readonly lock: string; readonly at: string }>) => A
): Effect.Effect<A, LockError> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.flatMap(Effect.mapError(placesIn(calls, folder), toLockError("all", folder)), (places) =>
      tried("all", folder, () => use(places))
    )
  )

// A link could lead to a file of somebody else's. Windows has no such flag.
const flags = fs.constants.O_RDWR | fs.constants.O_CREAT | (fs.constants.O_NOFOLLOW ?? 0)

const openLock = (at: string): number => {
  const open = () => fs.openSync(at, flags, 0o666)
  let file: number
  try {
    file = open()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
    fs.mkdirSync(path.dirname(at), { recursive: true })
    file = open()
  }
  if (fs.fstatSync(file).isFile()) return file
  fs.closeSync(file)
  throw foreign("it is no file")
}

/** Whether the path still leads to the file that is open. */
const isCurrent = (file: number, at: string): boolean => {
  const there = fs.statSync(at, { throwIfNoEntry: false })
  const ours = fs.fstatSync(file)
  return there !== undefined && there.ino === ours.ino && there.dev === ours.dev
}

const longest = 1024

const readRecord = (file: number): Record | undefined => {
  const buffer = Buffer.alloc(longest)
  return parseRecord(buffer.toString("utf8", 0, fs.readSync(file, buffer, 0, longest, 0)))
}

const writeRecord = (file: number, record: Record): void => {
  fs.writeSync(file, `${JSON.stringify(record)}\n`, 0)
}

const closeQuietly = (file: number): void => {
  try {
    fs.closeSync(file)
  } catch {
    // It was closed before, or is beyond help: the first error says more.
  }
}

/** Closing the file gives the lock back, whatever happened to the rest. */
const release = (file: number, at: string, token: number, now: number): boolean => {
  try {
    const ours = isCurrent(file, at)
    writeRecord(file, { token, since: now })
    return ours
  } finally {
    closeQuietly(file)
  }
}

const look = (at: string, lock: string) => {
  let file: number
  try {
    file = fs.openSync(at, fs.constants.O_RDONLY | (fs.constants.O_NOFOLLOW ?? 0))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return statusOf(lock, undefined)
    throw error
  }
  try {
    return statusOf(lock, readRecord(file))
  } finally {
    closeQuietly(file)
  }
}

/** Removes the file of a lock while it is held: whoever opened it before finds that it is gone, and makes a new one. */
const removeUnused = (native: Native, at: string, before: number, now: number): boolean => {
  const file = fs.openSync(at, fs.constants.O_RDWR | (fs.constants.O_NOFOLLOW ?? 0))
  try {
    if (fs.fstatSync(file).mtimeMs >= before || !native.tryLock(file) || !isCurrent(file, at)) return false
    // The next token is made of the time alone, and must not be one that was given out.
    if ((readRecord(file)?.token ?? 0) >= now) return false
    fs.unlinkSync(at)
    return true
  } finally {
    closeQuietly(file)
  }
}
