import * as path from "node:path"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Lock from "../../../lock/Lock.js"
import { millisOrInfinity } from "../../../resilience/internal/kernel/options.js"
import type { Restore } from "../../../storage/Storage.js"
import type { Lifetime } from "../../../transaction/Transactor.js"
import type { Durability } from "../../AtomicFile.js"
import { FileError } from "../../FileError.js"
import type { TransactionError } from "../../FileTransaction.js"
import { asFileError, CurrentCalls, orElseIf } from "../system/calls.js"
import { relationOf } from "../system/entries.js"
import { type Mounts, readMounts } from "../system/mounts.js"
import { locate, resolveExisting, syncFolder, type Target } from "../system/replace.js"
import { syncTree } from "../system/tree.js"
import {
  closeJournal,
  create,
  type Entry,
  hasFolder,
  hasJournal,
  isJournalName,
  type Journal,
  journalFolder,
  removeClosed
} from "./journal.js"
import { journalLock, journalLocks } from "./journalLock.js"
import { refuseMounted, refuseUnrestorable } from "./preflight.js"
import { asSystemError, overlaps, pathsOf, type Recovery, recover } from "./undo.js"

export interface Settings {
  /** Of the transaction: each name has a journal of its own. */
  readonly name: string | undefined
  readonly durability: Durability
  readonly timeout: Lock.Options["timeout"]
}

type ChangeError = NodeJS.ErrnoException | FileError | Lock.LockLost

export type Targets = readonly [Target, ...ReadonlyArray<Target>]

/** The open transaction of a root: its locks, its journal, and its state until the outermost transaction ends. */
export class OpenRoot {
  private journal: Journal | undefined
  private readonly heldLocks = new Map<string, Lock.HeldLock>()
  /** Folders whose names were changed; the commit syncs them. */
  readonly changedFolders = new Set<string>()
  /** Paths that the program changes itself; the commit syncs them. */
  readonly protectedPaths = new Set<string>()
  /** The numbers of recorded entries that are not undone. */
  readonly pending = new Set<number>()
  /** Entries that could not be undone. Older changes under them are not undone either. */
  readonly notUndone: Array<Entry> = []
  private lastNumber = 0
  private state: "open" | "committed" | "ended" = "open"
  /** Makes and undoes one change at a time, in the order of the journal. */
  readonly serialized = Effect.unsafeMakeSemaphore(1).withPermits(1)
  private readonly oneLockAtATime = Effect.unsafeMakeSemaphore(1).withPermits(1)

  readonly root: string
  /** The folder of the journal. */
  readonly folder: string
  readonly settings: Settings
  /** Fails when a lock of the transaction is lost. */
  readonly lost = Deferred.unsafeMake<never, Lock.LockLost>(FiberId.none)
  private readonly locks: Lock.Service
  private readonly claims = new Claims()
  private readonly scope: Scope.CloseableScope

  constructor(root: string, settings: Settings, locks: Lock.Service, scope: Scope.CloseableScope) {
    this.root = root
    this.folder = journalFolder(root, settings.name)
    this.settings = settings
    this.locks = locks
    this.scope = scope
  }

  /** Holds a lock until the end of the transaction. Losing it fails the whole transaction. */
  lock(name: Lock.Name): Effect.Effect<void, Lock.LockTimeout | Lock.LockError> {
    const isHeld = () => this.heldLocks.has(Lock.format(name))
    return this.oneLockAtATime(
      Effect.suspend(() => (isHeld() ? Effect.void : Effect.asVoid(this.acquire(this.locks, name))))
    )
  }

  /** Returns how to release the lock before the end of the transaction. */
  private acquire(
    locks: Lock.Service,
    name: Lock.Name
  ): Effect.Effect<Effect.Effect<void>, Lock.LockTimeout | Lock.LockError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(this, function* () {
        const scope = yield* Scope.make()
        const acquired = Scope.extend(locks.acquire(name, { timeout: this.settings.timeout }), scope)
        // An interruption right after the acquisition must release the lock.
        const held = yield* Effect.onError(restore(acquired), () => Scope.close(scope, Exit.void))
        yield* Scope.addFinalizer(this.scope, Scope.close(scope, Exit.void))
        this.heldLocks.set(Lock.format(name), held)
        const watch = Effect.catchAll(held.lost, (error) => Deferred.fail(this.lost, error))
        yield* Effect.forkIn(Effect.interruptible(watch), scope)
        const forget = Effect.sync(() => this.heldLocks.delete(Lock.format(name)))
        return Effect.zipRight(forget, Scope.close(scope, Exit.void))
      })
    )
  }

  /** Fails if one of the locks is lost. Called right before a change: a file whose lock is lost belongs to the next holder. */
  private checkLocks(names: Iterable<string>): Effect.Effect<void, Lock.LockLost> {
    const known = Effect.flatMap(
      Deferred.poll(this.lost),
      Option.getOrElse(() => Effect.void)
    )
    const asked = Effect.forEach(names, (name) => this.heldLocks.get(name)?.check ?? Effect.void, { discard: true })
    return Effect.zipRight(
      known,
      Effect.tapError(asked, (error) => Deferred.fail(this.lost, error))
    )
  }

  /** Checks the lock of the root, and those of the journal and of the entry's paths. */
  checkFor(entry?: Entry): Effect.Effect<void, Lock.LockLost> {
    const paths = entry === undefined ? [] : pathsOf(entry).map((at) => Lock.resource(path.join(this.root, at)))
    const names = entry === undefined ? [] : [journalLock(this.folder), ...paths]
    return this.checkLocks([rootLock(this.folder), ...names].map(Lock.format))
  }

  get isCommitted(): boolean {
    return this.state === "committed"
  }

  /** After the end the locks are released, and no rollback would undo a change. */
  readonly refuseEnded: Effect.Effect<void, FileError> = Effect.suspend(() =>
    this.state === "open"
      ? Effect.void
      : Effect.fail(new FileError({ reason: "Ended", operation: "Changing", path: this.root }))
  )

  private refuseOutside(at: string, given: string): Effect.Effect<void, FileError> {
    const [first = ""] = path.relative(this.root, at).split(path.sep)
    return first === "" || first === ".." || isJournalName(first) || path.isAbsolute(first)
      ? Effect.fail(new FileError({ reason: "Outside", operation: "Changing", path: given }))
      : Effect.void
  }

  /** Resolves a path, and refuses it outside the root. */
  inside(given: string, follow: boolean): Effect.Effect<Target, FileError> {
    return Effect.gen(this, function* () {
      yield* this.refuseEnded
      const calls = yield* CurrentCalls
      const at = path.resolve(this.root, given)
      const target = follow ? yield* locate(at) : { path: at, stats: yield* calls.lstat(at) }
      const folder = yield* Effect.tapError(calls.realpath(path.dirname(target.path)), () =>
        // A missing path outside the root is reported as outside.
        Effect.flatMap(resolveExisting(calls, target.path), (real) => this.refuseOutside(real, given))
      )
      const real = path.join(folder, path.basename(target.path))
      yield* this.refuseOutside(real, given)
      return { path: real, stats: target.stats }
    }).pipe(asFileError("Finding", given))
  }

  /** Claims the path for the part, after the parts beside it that claimed it have ended. */
  claim(part: Lifetime, at: string): Effect.Effect<void, Lock.LockTimeout | Lock.LockError> {
    return Effect.gen(this, function* () {
      const started = yield* Clock.currentTimeMillis
      const timeout = millisOrInfinity("timeout", this.settings.timeout ?? "30 seconds")
      for (let blocking = this.claims.take(part, at); blocking !== undefined; blocking = this.claims.take(part, at)) {
        const remaining = timeout - ((yield* Clock.currentTimeMillis) - started)
        const ended = yield* Effect.timeoutOption(Effect.interruptible(blocking.ended), Math.max(0, remaining))
        if (Option.isSome(ended)) continue
        const name = Lock.resource(at)
        const status = yield* this.locks.status(name)
        const limit = Duration.millis(timeout)
        return yield* new Lock.LockTimeout({ lock: Lock.format(name), limit, waited: limit, status })
      }
    })
  }

  /**
   * Resolves the paths, claims and locks them, and uses them. Starts over if a
   * path leads elsewhere after the wait for its lock.
   */
  withTargets<A, E>(
    part: Lifetime,
    given: readonly [string, ...ReadonlyArray<string>],
    follow: boolean,
    use: (targets: Targets) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | TransactionError> {
    const find = Effect.forEach(given, (one) => this.inside(one, follow))
    return Effect.gen(this, function* () {
      const before = yield* find
      for (const [i, target] of before.entries()) {
        yield* this.claim(part, target.path)
        // Where the file system ignores case, the lock of a second spelling may be the lock that is held.
        if (!(yield* isSpelledBefore(target, before.slice(0, i)))) yield* this.lock(yield* lockOf(target))
      }
      return yield* this.serialized(
        Effect.flatMap(find, (now) =>
          now.every(({ path }, i) => path === before[i]?.path) ? Effect.asSome(use(now)) : Effect.succeedNone
        )
      )
    }).pipe(
      Effect.flatMap(Option.match({ onNone: () => this.withTargets(part, given, follow, use), onSome: Effect.succeed }))
    )
  }

  /** Refuses paths that a rollback could not put back. The mounts are read once: what is mounted later is found by the undo. */
  refuseIrreversible(targets: ReadonlyArray<Target>): Effect.Effect<void, NodeJS.ErrnoException | FileError> {
    return Effect.flatMap(this.mounts, (mounts) =>
      Effect.forEach(targets, (target) => refuseMounted(mounts, this.root, target), { discard: true })
    )
  }

  refuseUnrestorable(target: Target): Effect.Effect<void, NodeJS.ErrnoException | FileError> {
    return Effect.flatMap(Effect.zip(CurrentCalls, this.mounts), ([calls, mounts]) =>
      refuseUnrestorable(calls, mounts, this.root, target)
    )
  }

  private knownMounts: { readonly mounts: Mounts | undefined } | undefined
  private readonly mounts: Effect.Effect<Mounts | undefined> = Effect.suspend(() =>
    this.knownMounts !== undefined
      ? Effect.succeed(this.knownMounts.mounts)
      : Effect.tap(readMounts, (mounts) => {
          this.knownMounts = { mounts }
        })
  )

  /** The number and the path of the next entry. */
  nextEntry(target: Target): { readonly n: number; readonly path: string } {
    return { n: ++this.lastNumber, path: path.relative(this.root, target.path) }
  }

  get durable(): boolean {
    return this.settings.durability !== "process-crash"
  }

  /** Rolls back the transaction of a dead process. Runs in an uninterruptible region; only `restore` is interruptible. */
  recover(restore: Restore): Effect.Effect<boolean, FileError | Lock.LockTimeout | Lock.LockError> {
    const { durable, locks, settings } = this
    const acquire: Recovery["acquire"] = (from, name) => restore(from.acquire(name, { timeout: settings.timeout }))
    return recover(this.folder, { acquire, durable, locks })
  }

  /**
   * Creates the journal, for the first change: a transaction that only reads writes nothing. Waits while a
   * transaction with other locks lives in the root.
   */
  readonly openJournal: Effect.Effect<void, ChangeError | Lock.LockTimeout | Lock.LockError> =
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(this, function* () {
        const calls = yield* CurrentCalls
        while (this.journal === undefined) {
          const release = yield* restore(asSystemError(this.acquire(journalLocks(), journalLock(this.folder))))
          if (yield* hasJournal(this.folder)) {
            // Of a process that died during the wait.
            yield* release
            yield* this.recover(restore)
          } else {
            const unmake = Effect.zipRight(Effect.ignore(closeJournal(calls, this.folder, false)), release)
            this.journal = yield* Effect.onError(create(calls, this.folder, this.settings.durability), () => unmake)
          }
        }
      })
    )

  /** Records the entry, then makes the change. The journal is open. */
  change(entry: Entry, make: Effect.Effect<void, NodeJS.ErrnoException>): Effect.Effect<void, ChangeError> {
    return Effect.zipRight(
      this.checkFor(entry),
      Effect.suspend(() => {
        this.pending.add(entry.n)
        this.changedFolders.add(path.dirname(path.join(this.root, entry.path)))
        return Effect.zipRight(this.journal?.record(entry) ?? Effect.void, make)
      })
    )
  }

  markUndone(n: number): Effect.Effect<void, NodeJS.ErrnoException> {
    return Effect.suspend(() =>
      Effect.zipRight(
        this.journal?.markUndone(n) ?? Effect.void,
        Effect.sync(() => this.pending.delete(n))
      )
    )
  }

  /** Runs an undo with the descriptor that is kept free for it. */
  withReserve<A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => this.journal?.withReserve(self) ?? self)
  }

  /** Makes the changes permanent. If it fails, they can still be undone. */
  readonly commit: Effect.Effect<void, FileError | Lock.LockLost> = this.serialized(
    Effect.suspend(() => {
      const { journal } = this
      if (journal === undefined || this.state !== "open") return Effect.void
      return Effect.gen(this, function* () {
        if (this.durable) yield* this.sync
        // After the slow sync, which changes nothing, and right before the point of no return.
        yield* this.checkLocks(this.heldLocks.keys())
        yield* journal.close
        this.state = "committed"
      }).pipe(asFileError("Committing the transaction of", this.root))
    })
  )

  private get sync(): Effect.Effect<void, NodeJS.ErrnoException> {
    return Effect.gen(this, function* () {
      const calls = yield* CurrentCalls
      for (const at of this.protectedPaths) yield* syncTree(calls, at)
      // A changed folder may have been removed or moved since.
      for (const at of this.changedFolders) yield* orElseIf(syncFolder(calls, at), ["ENOENT", "ENOTDIR"], undefined)
    })
  }

  /** Ends with the outermost transaction: commits or, after a rollback, closes the journal; then releases the locks. */
  end(kept: boolean): Effect.Effect<void> {
    // The locks are needed as long as a failing commit may cause a rollback.
    const settled = kept ? Effect.orDie(this.commit) : this.serialized(this.closeAfterRollback)
    const release = Effect.suspend(() => {
      if (this.state === "open") this.state = "ended"
      return Scope.close(this.scope, Exit.void)
    })
    return Effect.zipRight(settled, release)
  }

  /** Leaves the journal for the next recovery if changes could not be undone. */
  private get closeAfterRollback(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { journal } = this
      if (journal === undefined || this.state !== "open") return Effect.void
      this.state = "ended"
      if (this.pending.size > 0) return journal.abandon
      const checked = this.checkLocks([rootLock(this.folder), journalLock(this.folder)].map(Lock.format))
      return Effect.catchAll(Effect.zipRight(checked, journal.close), () => journal.abandon)
    })
  }
}

/**
 * The paths that each part of a transaction has read or changed. While a part
 * is open, parts beside it must not use its paths: its rollback would also undo
 * what they did.
 */
class Claims {
  private readonly paths = new Map<Lifetime, Set<string>>()

  /** Claims the path, or returns the part that blocks it. */
  take(part: Lifetime, at: string): Lifetime | undefined {
    this.inherit()
    for (const [owner, paths] of this.paths) {
      if (part.isWithin(owner)) continue
      for (const path of paths) if (overlaps(path, at)) return owner
    }
    this.pathsOf(part).add(at)
    return undefined
  }

  /** Moves the claims of ended parts to the part around them, which owns their changes now. */
  private inherit(): void {
    for (const [owner, paths] of this.paths) {
      if (!owner.isOver) continue
      this.paths.delete(owner)
      if (owner.active === undefined) continue
      const heir = this.pathsOf(owner.active)
      for (const path of paths) heir.add(path)
    }
  }

  private pathsOf(part: Lifetime): Set<string> {
    const paths = this.paths.get(part) ?? new Set()
    this.paths.set(part, paths)
    return paths
  }
}

/** Whether an earlier target is the same name of the same file. */
const isSpelledBefore = (target: Target, earlier: ReadonlyArray<Target>): Effect.Effect<boolean, FileError> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.exists(earlier, (one) => Effect.map(relationOf(calls, one, target), (found) => found === "one name"))
  ).pipe(asFileError("Finding", target.path))

/** The lock of a symbolic link is that of its target. */
const lockOf = ({ path: at, stats }: Target): Effect.Effect<Lock.Name, FileError> =>
  stats?.isSymbolicLink() === true
    ? Effect.map(locate(at).pipe(asFileError("Finding", at)), (found) => Lock.resource(found.path))
    : Effect.succeed(Lock.resource(at))

/** Locks the root and rolls back the transaction of a dead process. Runs in an uninterruptible region. */
export const openRoot = (
  root: string,
  settings: Settings,
  locks: Lock.Service,
  restore: Restore
): Effect.Effect<OpenRoot, FileError | Lock.LockTimeout | Lock.LockError> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const opened = new OpenRoot(root, settings, locks, scope)
    const remains = Effect.zipRight(removeClosed(opened.folder), hasFolder(opened.folder)).pipe(
      asFileError("Opening the root", root)
    )
    yield* Effect.zipRight(
      restore(opened.lock(rootLock(opened.folder))),
      Effect.flatMap(remains, (there) => (there ? opened.recover(restore) : Effect.void))
    ).pipe(Effect.onError(() => Scope.close(scope, Exit.void)))
    return opened
  })

export const rootLock = (folder: string): Lock.Name => Lock.resource(folder)

export const realRoot = (given: string): Effect.Effect<string, FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const root = yield* calls.realpath(path.resolve(given))
    if ((yield* calls.lstat(root))?.isDirectory() === true) return root
    return yield* new FileError({ reason: "NotAFile", operation: "Opening the root", path: given })
  }).pipe(asFileError("Opening the root", given))
