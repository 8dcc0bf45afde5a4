import * as path from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Lock from "../../../lock/Lock.js"
import type { Restore } from "../../../storage/Storage.js"
import { FileError } from "../../FileError.js"
import { CurrentCalls } from "../system/calls.js"
import { doing, unless } from "../system/errors.js"
import { type Durability, locate, realFolder, syncFolder, type Target } from "../system/replace.js"
import { syncTree } from "../system/tree.js"
import { Claims } from "./claims.js"
import { create, type Entry, folderOf, isOurs, type Journal } from "./journal.js"
import { recover } from "./recover.js"
import { placesOf } from "./undo.js"

export interface Settings {
  readonly durability: Durability
  readonly timeout: Lock.Options["timeout"]
}

type ChangeError = NodeJS.ErrnoException | FileError | Lock.LockLost

/** The transaction of a root, from its opening to the end of the outermost transaction. */
export class Opened {
  private journal: Journal | undefined
  private readonly held = new Map<string, Lock.HeldLock>()
  /** Folders in which names were changed. */
  readonly touched = new Set<string>()
  /** What the program changes in its own way. */
  readonly handedOut = new Set<string>()
  /** What was intended and is not undone. */
  readonly pending = new Set<number>()
  /** One that could not be undone: what stands upon it is left alone, too. */
  readonly stuck: Array<Entry> = []
  readonly claims = new Claims()
  private last = 0
  private state: "open" | "committed" | "over" = "open"
  /** One change after the other, in the order of the journal. */
  readonly oneByOne = Effect.unsafeMakeSemaphore(1).withPermits(1)
  private readonly lockOneByOne = Effect.unsafeMakeSemaphore(1).withPermits(1)

  readonly root: string
  readonly settings: Settings
  readonly lost: Deferred.Deferred<never, Lock.LockLost>
  readonly locks: Lock.Service
  private readonly scope: Scope.CloseableScope

  constructor(
    root: string,
    settings: Settings,
    locks: Lock.Service,
    scope: Scope.CloseableScope,
    lost: Deferred.Deferred<never, Lock.LockLost>
  ) {
    this.root = root
    this.settings = settings
    this.locks = locks
    this.scope = scope
    this.lost = lost
  }

  /** Takes a lock until the end; that it is lost is the end of the whole. */
  lock(name: Lock.Name): Effect.Effect<void, Lock.LockTimeout | Lock.LockError> {
    const key = Lock.format(name)
    const take = Effect.suspend(() => (this.held.has(key) ? Effect.void : this.acquire(key, name)))
    return this.lockOneByOne(take)
  }

  private acquire(key: string, name: Lock.Name): Effect.Effect<void, Lock.LockTimeout | Lock.LockError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(this, function* () {
        const scope = yield* Scope.make()
        const acquired = Scope.extend(this.locks.acquire(name, { timeout: this.settings.timeout }), scope)
        // Interrupted when it had just been acquired, nobody would know that it is held.
        const held = yield* Effect.onError(restore(acquired), () => Scope.close(scope, Exit.void))
        yield* Scope.addFinalizer(this.scope, Scope.close(scope, Exit.void))
        this.held.set(key, held)
        const watch = Effect.catchAll(held.lost, (error) => Deferred.fail(this.lost, error))
        yield* Effect.forkIn(Effect.interruptible(watch), scope)
      })
    )
  }

  /** Whoever lost a lock must not touch anything: it is the next one's. So this asks at the last moment. */
  private check(names: Iterable<string>): Effect.Effect<void, Lock.LockLost> {
    const known = Effect.flatMap(
      Deferred.poll(this.lost),
      Option.getOrElse(() => Effect.void)
    )
    const asked = Effect.forEach(names, (name) => this.held.get(name)?.check ?? Effect.void, { discard: true })
    return Effect.zipRight(
      known,
      Effect.tapError(asked, (error) => Deferred.fail(this.lost, error))
    )
  }

  /** Asks for the locks of the root and of what the entry is about. */
  checkFor(entry?: Entry): Effect.Effect<void, Lock.LockLost> {
    const places = entry === undefined ? [] : placesOf(entry)
    const names = places.map((place) => Lock.resource(path.join(this.root, place)))
    return this.check([rootLock(this.root), ...names].map(Lock.format))
  }

  get isCommitted(): boolean {
    return this.state === "committed"
  }

  /** Nobody would undo what is done after the end, and the locks are not held any more. */
  readonly refuseEnded: Effect.Effect<void, FileError> = Effect.suspend(() =>
    this.state === "open"
      ? Effect.void
      : Effect.fail(new FileError({ reason: "Ended", operation: "Changing", path: this.root }))
  )

  private refuseOutside(at: string, given: string): Effect.Effect<void, FileError> {
    const [first = ""] = path.relative(this.root, at).split(path.sep)
    return first === "" || first === ".." || isOurs(first) || path.isAbsolute(first)
      ? Effect.fail(new FileError({ reason: "Outside", operation: "Changing", path: given }))
      : Effect.void
  }

  /** Where a path leads to, if that is within the root. */
  inside(given: string, follow: boolean): Effect.Effect<Target, FileError> {
    return Effect.gen(this, function* () {
      yield* this.refuseEnded
      const calls = yield* CurrentCalls
      const at = path.resolve(this.root, given)
      const target = follow ? yield* locate(at) : { path: at, stats: yield* calls.lstat(at) }
      const folder = yield* Effect.tapError(calls.realpath(path.dirname(target.path)), () =>
        // That it leads out is said also of what does not exist.
        Effect.flatMap(realFolder(calls, target.path), (real) => this.refuseOutside(real, given))
      )
      const real = path.join(folder, path.basename(target.path))
      yield* this.refuseOutside(real, given)
      return { path: real, stats: target.stats }
    }).pipe(doing("Finding", given))
  }

  relative(at: string): string {
    return path.relative(this.root, at)
  }

  next(): number {
    return ++this.last
  }

  /** The journal is made for the first change: a transaction that only reads leaves no trace. */
  readonly ready: Effect.Effect<Journal, ChangeError> = Effect.suspend(() =>
    this.journal !== undefined
      ? Effect.succeed(this.journal)
      : Effect.flatMap(CurrentCalls, (calls) =>
          Effect.tap(create(calls, this.root, this.settings.durability), (journal) =>
            Effect.sync(() => {
              this.journal = journal
            })
          )
        )
  )

  /** Puts the intent on record, and then makes the change. */
  change(entry: Entry, make: Effect.Effect<void, NodeJS.ErrnoException>): Effect.Effect<void, ChangeError> {
    return Effect.flatMap(Effect.zipRight(this.checkFor(entry), this.ready), (journal) => {
      this.pending.add(entry.n)
      this.touched.add(path.dirname(path.join(this.root, entry.path)))
      return Effect.zipRight(journal.record(entry), make)
    })
  }

  undone(n: number): Effect.Effect<void, NodeJS.ErrnoException> {
    return Effect.suspend(() =>
      Effect.zipRight(
        this.journal === undefined ? Effect.void : this.journal.undone(n),
        Effect.sync(() => this.pending.delete(n))
      )
    )
  }

  /** What was done stays done. Before it has succeeded everything can be undone. */
  readonly commit: Effect.Effect<void, FileError | Lock.LockLost> = this.oneByOne(
    Effect.suspend(() => {
      const { journal } = this
      if (journal === undefined || this.state !== "open") return Effect.void
      return Effect.gen(this, function* () {
        if (this.settings.durability !== "process-crash") yield* this.sync
        // Directly before nothing can be undone any more: putting things on disk takes a while, and changes nothing.
        yield* this.check(this.held.keys())
        yield* journal.close
        this.state = "committed"
      }).pipe(doing("Committing the transaction of", this.root))
    })
  )

  private get sync(): Effect.Effect<void, NodeJS.ErrnoException> {
    return Effect.gen(this, function* () {
      const calls = yield* CurrentCalls
      for (const at of this.handedOut) yield* syncTree(calls, at)
      // A folder that was removed or moved since has nothing to say any more.
      for (const folder of this.touched) yield* unless(syncFolder(calls, folder), ["ENOENT", "ENOTDIR"], undefined)
    })
  }

  /** After the outermost transaction: commits, or closes what was undone, and gives the locks back. */
  end(kept: boolean): Effect.Effect<void> {
    // While something can still fail the locks are needed for undoing it.
    const settled = kept ? Effect.orDie(this.commit) : this.oneByOne(this.leave)
    const over = Effect.suspend(() => {
      if (this.state === "open") this.state = "over"
      return Scope.close(this.scope, Exit.void)
    })
    return Effect.zipRight(settled, over)
  }

  /** What could not be undone stays on record, for the next one who opens the root. */
  private get leave(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { journal } = this
      if (journal === undefined || this.state !== "open") return Effect.void
      this.state = "over"
      if (this.pending.size > 0) return journal.leave
      return Effect.catchAll(Effect.zipRight(this.checkFor(), journal.close), () => journal.leave)
    })
  }
}

/**
 * Takes the lock of the root, and undoes what a process has left that ended in
 * the middle. Called where nothing can interrupt.
 */
export const open = (
  root: string,
  settings: Settings,
  locks: Lock.Service,
  restore: Restore
): Effect.Effect<Opened, FileError | Lock.LockTimeout | Lock.LockError> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const lost = yield* Deferred.make<never, Lock.LockLost>()
    const opened = new Opened(root, settings, locks, scope, lost)
    const acquire = (name: Lock.Name) => restore(locks.acquire(name, { timeout: settings.timeout }))
    const recovered = Effect.zipRight(restore(opened.lock(rootLock(root))), recover(root, acquire))
    return yield* Effect.as(
      Effect.onError(recovered, () => Scope.close(scope, Exit.void)),
      opened
    )
  })

export const rootLock = (root: string): Lock.Name => Lock.resource(folderOf(root))

export const realRoot = (given: string): Effect.Effect<string, FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const root = yield* calls.realpath(path.resolve(given))
    if ((yield* calls.lstat(root))?.isDirectory() === true) return root
    return yield* new FileError({ reason: "NotAFile", operation: "Opening the root", path: given })
  }).pipe(doing("Opening the root", given))
