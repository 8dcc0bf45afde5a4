import * as fs from "node:fs"
import * as path from "node:path"
import type * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type FileIdentity, isSameFile } from "../../../host/fileIdentity.js"
import * as Lock from "../../../lock/Lock.js"
import { CurrentCalls } from "../system/calls.js"
import { uniqueOwner } from "../system/names.js"
import { type Holder, type LockPath, lockPathIn, locksIn, notALock, statusOf, toLockError } from "./lockFolder.js"

/** The part of fs-native-extensions in use; the package has no types. */
export interface Native {
  /** Locks the whole file for this descriptor. Returns false if another descriptor, of any process, holds it. */
  readonly tryLock: (file: number) => boolean
}

// Not a literal, so that bundlers and type checkers do not require the optional package.
const library: string = "fs-native-extensions"

export const loadNative: Effect.Effect<Native, Lock.LockError> = Effect.tryPromise({
  try: () => {
    // The binary calls libuv. Deno lacks it, and ends as it loads the binary. Bun lacks a part of it, and ends as it tries a
    // lock that another process holds. Neither raises an error that could be caught.
    if ("bun" in process.versions || "deno" in process.versions) throw new Error(`${library} needs Node`)
    // The package has no types; this is its documented shape.
    return import(library) as Promise<{ readonly default: Native }>
  },
  catch: (cause) => new Lock.LockError({ reason: "Unsupported", lock: "all", cause })
}).pipe(Effect.map((module) => module.default))

export interface Options {
  readonly folder: string
  readonly poll: Duration.DurationInput
  readonly heartbeat: Duration.DurationInput
}

/**
 * Locks of the operating system. The calls are synchronous: each is faster than
 * handing it to a thread, and lock files are on a local disk.
 */
export const osDriver = (native: Native, { folder: given, heartbeat, poll }: Options): Lock.Driver => {
  const folder = path.resolve(given)
  return {
    keyOf: lockPathIn(folder),
    attempt: (at, name) =>
      Effect.clockWith((clock) => {
        const lock = Lock.format(name)
        return tried(lock, at, () => attempt(native, at, lock, clock))
      }),
    status: (at, name) => tried(Lock.format(name), at, () => readStatus(at, Lock.format(name))),
    list: withAll(folder, (locks) => locks.flatMap(({ at, lock }) => skipOthers(() => [readStatus(at, lock)], []))),
    cleanup: (olderThan) =>
      Effect.clockWith((clock) => {
        const now = clock.unsafeCurrentTimeMillis()
        const isRemoved = ({ at }: LockPath) => skipOthers(() => removeUnused(native, at, now - olderThan, now), false)
        return withAll(folder, (locks) => locks.filter(isRemoved).length)
      }),
    heartbeat,
    // A holder loses the lock only if its file is removed, and the heartbeat sees that for certain.
    patience: Number.POSITIVE_INFINITY,
    poll
  }
}

const attempt = (native: Native, at: string, lock: string, clock: Clock.Clock): Lock.Attempt => {
  for (;;) {
    const file = openOrCreate(at)
    try {
      if (!native.tryLock(file.descriptor)) {
        const status = statusOf(lock, readRecord(file))
        fs.closeSync(file.descriptor)
        return { _tag: "Busy", status: { ...status, state: "held" } }
      }
      if (isCurrent(file, at)) return { _tag: "Acquired", grip: makeGrip(file, at, lock, clock) }
      // The file was removed between opening and locking it: only a lock of the new file counts.
      fs.closeSync(file.descriptor)
    } catch (error) {
      closeQuietly(file)
      throw error
    }
  }
}

const makeGrip = (file: OpenFile, at: string, lock: string, clock: Clock.Clock): Lock.Grip => {
  const lastToken = readRecord(file)?.token ?? 0
  // Read the clock under the lock: before it, another holder may have taken a later token.
  const now = clock.unsafeCurrentTimeMillis()
  const token = Lock.nextToken(lastToken, now)
  writeRecord(file, { token, since: now, owner: uniqueOwner() })
  return {
    token,
    renew: tried(lock, at, () => isCurrent(file, at)),
    release: tried(lock, at, () => release(file, at, token, clock.unsafeCurrentTimeMillis()))
  }
}

const tried = <A>(lock: string, at: string, run: () => A): Effect.Effect<A, Lock.LockError> =>
  // Only calls of node:fs throw here, and they throw errors with a code.
  Effect.try({ try: run, catch: (cause) => toLockError(lock, at)(cause as NodeJS.ErrnoException) })

const withAll = <A>(folder: string, use: (locks: ReadonlyArray<LockPath>) => A): Effect.Effect<A, Lock.LockError> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.flatMap(Effect.mapError(locksIn(calls, folder), toLockError("all", folder)), (locks) =>
      tried("all", folder, () => use(locks))
    )
  )

/** The code of an error; empty if it has none. */
const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ""

/** Skips paths that are not locks, and locks that were removed meanwhile. */
const skipOthers = <A>(use: () => A, instead: A): A => {
  try {
    return use()
  } catch (error) {
    if (/^(EFOREIGN|EISDIR|ELOOP|ENXIO|ENOENT)$/.test(codeOf(error))) return instead
    throw error
  }
}

// Opening must not follow a link to a foreign file, and not wait for the writer of a pipe. Windows has no such flags.
const safeFlags = (fs.constants.O_NOFOLLOW ?? 0) | (fs.constants.O_NONBLOCK ?? 0)

interface OpenFile {
  readonly descriptor: number
  readonly identity: FileIdentity
  readonly mtimeMs: number
}

const open = (at: string, flags: number): OpenFile => {
  const descriptor = fs.openSync(at, flags | safeFlags, 0o666)
  const stats = fs.fstatSync(descriptor, { bigint: true })
  if (stats.isFile()) return { descriptor, identity: stats, mtimeMs: Number(stats.mtimeMs) }
  fs.closeSync(descriptor)
  throw notALock("it is not a file")
}

const openOrCreate = (at: string): OpenFile => {
  const create = () => open(at, fs.constants.O_RDWR | fs.constants.O_CREAT)
  try {
    return create()
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error
    fs.mkdirSync(path.dirname(at), { recursive: true })
    return create()
  }
}

/** Whether the path still leads to the open file. */
const isCurrent = ({ identity }: OpenFile, at: string): boolean => {
  try {
    const stats = fs.statSync(at, { bigint: true, throwIfNoEntry: false })
    return stats !== undefined && isSameFile(stats, identity)
  } catch (error) {
    if (/^(ENOTDIR|ELOOP)$/.test(codeOf(error))) return false
    throw error
  }
}

/** Shared by all reads: a record is parsed before the next read. */
const buffer = Buffer.alloc(1024)

/** How every record begins: other files are recognized by another start. */
const recordStart = `{"token":`

/** Undefined if the file is empty or its record was cut off. A file that does not hold a record is refused. */
const readRecord = ({ descriptor }: OpenFile): Holder | undefined => {
  let length: number
  try {
    length = fs.readSync(descriptor, buffer, 0, buffer.length, 0)
  } catch (error) {
    // Windows refuses to read a file that another process has locked.
    if (codeOf(error) === "EBUSY") return undefined
    throw error
  }
  const text = buffer.toString("utf8", 0, length).replace(/\0+$/, "")
  if (!text.startsWith(recordStart) && !recordStart.startsWith(text)) {
    throw notALock("the file was not written by this library")
  }
  return parseRecord(text)
}

/** Reads the first line: the rest of a longer earlier record may follow it. */
const parseRecord = (text: string): Holder | undefined => {
  try {
    const { owner, since, token }: Partial<Holder> = JSON.parse(text.split("\n", 1)[0] ?? "")
    if (!Number.isSafeInteger(token) || typeof token !== "number" || typeof since !== "number") return undefined
    return { token, since, owner: typeof owner === "string" ? owner : undefined }
  } catch {
    return undefined
  }
}

const writeRecord = ({ descriptor }: OpenFile, record: Holder): void => {
  fs.writeSync(descriptor, `${JSON.stringify(record)}\n`, 0)
}

/** Ignores errors: the file is closed already, or an earlier error says more. */
const closeQuietly = ({ descriptor }: OpenFile): void => {
  try {
    fs.closeSync(descriptor)
  } catch {}
}

/** Closes the file in any case, which releases the lock. */
const release = (file: OpenFile, at: string, token: number, now: number): boolean =>
  closing(file, () => {
    const isHeld = isCurrent(file, at)
    writeRecord(file, { token, since: now })
    return isHeld
  })

const closing = <A>(file: OpenFile, use: (file: OpenFile) => A): A => {
  try {
    return use(file)
  } finally {
    closeQuietly(file)
  }
}

const readStatus = (at: string, lock: string): Lock.LockStatus => {
  try {
    return closing(open(at, fs.constants.O_RDONLY), (file) => statusOf(lock, readRecord(file)))
  } catch (error) {
    if (codeOf(error) === "ENOENT") return statusOf(lock, undefined)
    throw error
  }
}

/** Removes a lock file while holding its lock. A process that opened it before finds that it is gone, and makes a new one. */
const removeUnused = (native: Native, at: string, before: number, now: number): boolean =>
  closing(open(at, fs.constants.O_RDWR), (file) => {
    if (file.mtimeMs >= before || !native.tryLock(file.descriptor) || !isCurrent(file, at)) return false
    // Without the file the next token comes from the time alone, so it must exceed the last one.
    if ((readRecord(file)?.token ?? 0) >= now) return false
    fs.unlinkSync(at)
    return true
  })
