import * as path from "node:path"
import * as Array from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Lock from "../../../lock/Lock.js"
import { FileError, type FileReason } from "../../FileError.js"
import { asFileError, type Call, type Calls, CurrentCalls, orElseIf } from "../system/calls.js"
import { relationOf, undoRespell } from "../system/entries.js"
import { locate, rename, syncFolder } from "../system/replace.js"
import {
  closeJournal,
  type Entry,
  hasFolder,
  hasJournal,
  markUndone,
  newFile,
  oldFile,
  type Pending,
  readPending,
  rootOf
} from "./journal.js"
import { journalLock, journalLocks } from "./journalLock.js"
import { moveAside, putBack, putBackLinked, putFileBack } from "./putBack.js"

type Acquired = Effect.Effect<Lock.HeldLock, Lock.LockTimeout | Lock.LockError, Scope.Scope>

/** How a recovery acquires locks, and whether what it undoes survives a power cut. */
export interface Recovery {
  readonly acquire: (locks: Lock.Service, name: Lock.Name) => Acquired
  /** The locks of the files. */
  readonly locks: Lock.Service
  readonly durable: boolean
  /** Keeps the changes instead. */
  readonly commit?: boolean | undefined
}

/**
 * Rolls back the transaction of a dead process, newest change first, and returns
 * whether there was one. Waits for the lock of the journal while its transaction
 * lives, and acquires the locks of the files, since other programs may be changing
 * them. Changes that cannot be undone stay in the journal.
 */
export const recover = (
  folder: string,
  recovery: Recovery
): Effect.Effect<boolean, FileError | Lock.LockTimeout | Lock.LockError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const failure = asFileError("Recovering the transaction of", rootOf(folder))
    if (!(yield* failure(hasFolder(folder)))) return false
    yield* failure(asSystemError(recovery.acquire(journalLocks(), journalLock(folder))))
    // While this waited, the transaction may have ended.
    const wasThere = yield* failure(hasJournal(folder))
    if (recovery.commit !== true) yield* undoAll(folder, yield* failure(readPending(folder)), recovery)
    yield* failure(closeJournal(calls, folder, recovery.durable))
    return wasThere
  }).pipe(Effect.scoped, Effect.uninterruptible)

/** A journal that cannot be locked is one that cannot be written: the cause says why. */
export const asSystemError = <A, E, R>(
  self: Effect.Effect<A, E | Lock.LockError, R>
): Effect.Effect<A, Exclude<E, Lock.LockError> | Lock.LockError | NodeJS.ErrnoException, R> =>
  Effect.mapError(self, (error) => {
    if (!(error instanceof Lock.LockError)) return error as Exclude<E, Lock.LockError>
    // Only system calls fail with a code.
    return error.cause instanceof Error && "code" in error.cause ? (error.cause as NodeJS.ErrnoException) : error
  })

const undoAll = (folder: string, pending: ReadonlyArray<Pending>, { acquire, durable, locks }: Recovery) =>
  Effect.gen(function* () {
    for (const at of yield* lockable(folder, pending)) yield* acquire(locks, Lock.resource(at))
    // An entry that cannot be undone does not stop the others.
    const failed: Array<Entry> = []
    const [failures] = yield* Effect.partition(pending, (one) =>
      Effect.zipRight(
        refuseOverlap(one.entry, failed),
        Effect.zipRight(undoEntry(folder, one.entry, durable), markUndone(folder, one, durable)).pipe(
          asFileError(`Undoing (${one.entry.kind})`, one.entry.path)
        )
      ).pipe(Effect.tapError(() => Effect.sync(() => failed.push(one.entry))))
    )
    if (failures[0] !== undefined) return yield* failures[0]
  }).pipe(Effect.scoped)

/** The real paths to lock. A path whose folder does not exist cannot be changed by other programs, and needs no lock. */
const lockable = (folder: string, pending: ReadonlyArray<Pending>): Effect.Effect<ReadonlySet<string>> => {
  const paths = new Set(pending.flatMap(({ entry }) => pathsOf(entry)))
  const found = Effect.forEach(paths, (at) => Effect.option(locate(path.join(rootOf(folder), at))))
  return Effect.map(found, (targets) => new Set(Array.getSomes(targets).map((target) => target.path)))
}

/**
 * Undoes one change. The files beside the journal show whether the change was
 * made, only intended, or undone already, so a crash during the undo is safe:
 * the next attempt continues.
 */
export const undoEntry = (
  folder: string,
  entry: Entry,
  durable: boolean
): Effect.Effect<void, NodeJS.ErrnoException | FileError> =>
  Effect.flatMap(CurrentCalls, (calls) => {
    const paths = pathsOf(entry).map((at) => path.join(rootOf(folder), at))
    // A folder may be gone if the transaction created it. An unreadable folder was changed all the same.
    const sync = (at: string) => orElseIf(syncFolder(calls, path.dirname(at)), ["ENOENT", "EACCES"], undefined)
    return Effect.all(
      [
        requireJournal(calls, folder),
        Effect.forEach(paths, (at) => refuseLinked(calls, at), { discard: true }),
        // The table maps each kind to the undo of its own entries; the types cannot relate the two.
        undos[entry.kind](calls, folder, entry as never),
        durable ? Effect.forEach(paths, sync, { discard: true }) : Effect.void
      ],
      { discard: true }
    )
  })

const refuse = (reason: FileReason, at: string, why: string) =>
  Effect.fail(new FileError({ reason, operation: "Undoing", path: at, cause: new Error(why) }))

/** Without the journal's files an undo cannot tell what was changed. */
const requireJournal = (calls: Calls, folder: string) =>
  Effect.flatMap(exists(calls, folder), (there) =>
    there ? Effect.void : refuse("Damaged", folder, "the journal was removed")
  )

/** Refuses a path that leads through a link now: it did not when the change was recorded. */
const refuseLinked = (calls: Calls, at: string) => {
  const folder = path.dirname(at)
  return Effect.flatMap(orElseIf(calls.realpath(folder), ["ENOENT", "ENOTDIR"], folder), (real) =>
    real === folder ? Effect.void : refuse("Outside", at, `a link leads to ${real} now`)
  )
}

export const pathsOf = (entry: Entry) => (entry.kind === "move" ? [entry.path, entry.to] : [entry.path])

/** Whether one path is the other, or inside it. */
export const overlaps = (a: string, b: string): boolean =>
  a === b || a.startsWith(`${b}${path.sep}`) || b.startsWith(`${a}${path.sep}`)

/** Refuses to undo a change under a newer change that could not be undone. */
export const refuseOverlap = (entry: Entry, failed: ReadonlyArray<Entry>): Effect.Effect<void, FileError> => {
  const newer = failed.find((one) => pathsOf(one).some((a) => pathsOf(entry).some((b) => overlaps(a, b))))
  return newer === undefined
    ? Effect.void
    : refuse("Busy", entry.path, `the newer change of ${newer.path} was not undone`)
}

type Undo<Kind> = (
  calls: Calls,
  folder: string,
  entry: Extract<Entry, { readonly kind: Kind }>
) => Effect.Effect<void, NodeJS.ErrnoException | FileError>

const exists = (calls: Calls, at: string): Call<boolean> => Effect.map(calls.lstat(at), (stats) => stats !== undefined)

const undos: { readonly [Kind in Entry["kind"]]: Undo<Kind> } = {
  replace: (calls, folder, { n, path: at }) =>
    Effect.gen(function* () {
      const old = oldFile(folder, n)
      if (!(yield* exists(calls, old))) return
      yield* putFileBack(calls, { folder, n, place: path.join(rootOf(folder), at) })
      // If both are names of one file, nothing was changed and rename does nothing: then the second name goes.
      if (yield* exists(calls, old)) yield* calls.unlink(old)
    }),

  create: (calls, folder, { n, path: at }) =>
    Effect.gen(function* () {
      // While the new file lies beside the journal, it was not put in place: the path holds a file of another program.
      if (yield* exists(calls, newFile(folder, n))) return
      const place = path.join(rootOf(folder), at)
      const stats = yield* calls.lstat(place)
      if (stats !== undefined) yield* stats.isDirectory() ? calls.rmdir(place) : calls.unlink(place)
    }),

  remove: (calls, folder, { n, path: at }) =>
    Effect.flatMap(exists(calls, oldFile(folder, n)), (kept) =>
      kept ? rename(calls, oldFile(folder, n), path.join(rootOf(folder), at)) : Effect.void
    ),

  move: (calls, folder, { n, path: from, to }) =>
    Effect.gen(function* () {
      const targetOf = (at: string) => Effect.map(calls.lstat(at), (stats) => ({ path: at, stats }))
      const [before, now] = yield* Effect.all([
        targetOf(path.join(rootOf(folder), from)),
        targetOf(path.join(rootOf(folder), to))
      ])
      const staged = newFile(folder, n)
      if ((yield* exists(calls, staged)) || (yield* relationOf(calls, before, now)) === "one name") {
        return yield* undoRespell(calls, before.path, now.path, staged)
      }
      if (before.stats === undefined && now.stats !== undefined) yield* rename(calls, now.path, before.path)
    }),

  protect: (calls, folder, { existed, linked = false, mode, n, path: at }) =>
    Effect.gen(function* () {
      const place = path.join(rootOf(folder), at)
      if (!existed) yield* moveAside(calls, { folder, n, place })
      else if (yield* exists(calls, oldFile(folder, n))) {
        yield* linked ? putBackLinked(calls, { folder, n, place }) : putBack(calls, { folder, n, place })
      }
      if (mode !== undefined) yield* orElseIf(calls.chmod(place, mode), ["ENOENT"], undefined)
    })
}
