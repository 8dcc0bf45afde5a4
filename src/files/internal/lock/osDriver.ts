import * as fs from "node:fs"
import * as path from "node:path"
import type * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Lock from "../../../lock/Lock.js"
import type { LockError, LockStatus } from "../../../lock/LockError.js"
import { CurrentCalls } from "../system/calls.js"
import { uniqueOwner } from "../system/names.js"
import type { Native } from "./native.js"
import { foreign, type Place, placesIn, placesOf, toLockError } from "./places.js"
import { beginning, parseRecord, type Record, statusOf } from "./record.js"

export interface Options {
  readonly folder: string
  readonly poll: Duration.DurationInput
  readonly heartbeat: Duration.DurationInput
}

/**
 * Locks of the operating system. These calls are not handed to a thread: each
 * of them is shorter than the way there, and a lock is on a local disk.
 */
export const osDriver = (native: Native, { folder: given, heartbeat, poll }: Options): Lock.Driver => {
  const folder = path.resolve(given)

  const attempt = (at: string, lock: string, clock: Clock.Clock): Lock.Attempt => {
    for (;;) {
      const file = openLock(at)
      try {
        if (!native.tryLock(file.descriptor)) {
          const status = statusOf(lock, readRecord(file))
          fs.closeSync(file.descriptor)
          return { _tag: "Busy", status: { ...status, state: "held" } }
        }
        if (isCurrent(file, at)) return { _tag: "Acquired", grip: grip(file, at, lock, clock) }
        // Somebody removed the file between our opening and locking it: the lock is with the new one.
        fs.closeSync(file.descriptor)
      } catch (error) {
        closeQuietly(file)
        throw error
      }
    }
  }

  const grip = (file: Open, at: string, lock: string, clock: Clock.Clock): Lock.Grip => {
    const last = readRecord(file)?.token ?? 0
    // Not before the lock is there: somebody else may have had it meanwhile.
    const now = clock.unsafeCurrentTimeMillis()
    const token = Lock.nextToken(last, now)
    writeRecord(file, { token, since: now, owner: uniqueOwner() })
    return {
      token,
      renew: tried(lock, at, () => isCurrent(file, at)),
      release: tried(lock, at, () => release(file, at, token, clock.unsafeCurrentTimeMillis()))
    }
  }

  return {
    keyOf: placesOf(folder),
    attempt: (at, name) =>
      Effect.clockWith((clock) => {
        const lock = Lock.format(name)
        return tried(lock, at, () => attempt(at, lock, clock))
      }),
    status: (at, name) => tried(Lock.format(name), at, () => look(at, Lock.format(name))),
    list: all(folder, (places) => places.flatMap(({ at, lock }) => skipForeign(() => [look(at, lock)], []))),
    cleanup: (olderThan) =>
      Effect.clockWith((clock) => {
        const now = clock.unsafeCurrentTimeMillis()
        const isRemoved = ({ at }: Place) => skipForeign(() => removeUnused(native, at, now - olderThan, now), false)
        return all(folder, (places) => places.filter(isRemoved).length)
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

const all = <A>(folder: string, use: (places: ReadonlyArray<Place>) => A): Effect.Effect<A, LockError> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.flatMap(Effect.mapError(placesIn(calls, folder), toLockError("all", folder)), (places) =>
      tried("all", folder, () => use(places))
    )
  )

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ""

/** What is no lock, or was removed in this moment, is none of the folder's. */
const skipForeign = <A>(use: () => A, instead: A): A => {
  try {
    return use()
  } catch (error) {
    if (/^(EFOREIGN|EISDIR|ELOOP|ENXIO|ENOENT)$/.test(codeOf(error))) return instead
    throw error
  }
}

// A link could lead to a file of somebody else's, and a pipe would keep us waiting. Windows has no such flags.
const careful = (fs.constants.O_NOFOLLOW ?? 0) | (fs.constants.O_NONBLOCK ?? 0)

/** A file that is open, and which one it is. */
interface Open {
  readonly descriptor: number
  readonly ino: number
  readonly dev: number
  readonly mtimeMs: number
}

const openFile = (at: string, flags: number): Open => {
  const descriptor = fs.openSync(at, flags | careful, 0o666)
  const stats = fs.fstatSync(descriptor)
  if (stats.isFile()) return { descriptor, ino: stats.ino, dev: stats.dev, mtimeMs: stats.mtimeMs }
  fs.closeSync(descriptor)
  throw foreign("it is no file")
}

const openLock = (at: string): Open => {
  const open = () => openFile(at, fs.constants.O_RDWR | fs.constants.O_CREAT)
  try {
    return open()
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error
    fs.mkdirSync(path.dirname(at), { recursive: true })
    return open()
  }
}

/** Whether the path still leads to the file that is open. */
const isCurrent = ({ dev, ino }: Open, at: string): boolean => {
  try {
    const there = fs.statSync(at, { throwIfNoEntry: false })
    return there !== undefined && there.ino === ino && there.dev === dev
  } catch (error) {
    if (/^(ENOTDIR|ELOOP)$/.test(codeOf(error))) return false
    throw error
  }
}

/** Read and parsed in one go, so one memory does for all. */
const scratch = Buffer.alloc(1024)

/** None, if the file is empty or was cut off while it was written; a file of somebody else's is refused. */
const readRecord = ({ descriptor }: Open): Record | undefined => {
  let length: number
  try {
    length = fs.readSync(descriptor, scratch, 0, scratch.length, 0)
  } catch (error) {
    // Windows lets nobody read what somebody else has locked.
    if (codeOf(error) === "EBUSY") return undefined
    throw error
  }
  const text = scratch.toString("utf8", 0, length).replace(/\0+$/, "")
  if (!text.startsWith(beginning) && !beginning.startsWith(text)) throw foreign("it is a file of somebody else's")
  return parseRecord(text)
}

const writeRecord = ({ descriptor }: Open, record: Record): void => {
  fs.writeSync(descriptor, `${JSON.stringify(record)}\n`, 0)
}

const closeQuietly = ({ descriptor }: Open): void => {
  try {
    fs.closeSync(descriptor)
  } catch {
    // It was closed before, or is beyond help: the first error says more.
  }
}

/** Closing the file gives the lock back, whatever happened to the rest. */
const release = (file: Open, at: string, token: number, now: number): boolean => {
  try {
    const ours = isCurrent(file, at)
    writeRecord(file, { token, since: now })
    return ours
  } finally {
    closeQuietly(file)
  }
}

const look = (at: string, lock: string): LockStatus => {
  let file: Open
  try {
    file = openFile(at, fs.constants.O_RDONLY)
  } catch (error) {
    if (codeOf(error) === "ENOENT") return statusOf(lock, undefined)
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
  const file = openFile(at, fs.constants.O_RDWR)
  try {
    if (file.mtimeMs >= before || !native.tryLock(file.descriptor) || !isCurrent(file, at)) return false
    // The next token is made of the time alone, and must not be one that was given out.
    if ((readRecord(file)?.token ?? 0) >= now) return false
    fs.unlinkSync(at)
    return true
  } finally {
    closeQuietly(file)
  }
}
