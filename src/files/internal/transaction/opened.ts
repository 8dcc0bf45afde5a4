import * as path from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Lock from "../../../remember/Lock.js"
import type { Restore } from "../../../storage/Storage.js"
import { FileError } from "../../FileError.js"
import { CurrentCalls } from "../system/calls.js"
import { doing, unless } from "../system/errors.js"
import { type Durability, locate, syncFolder, type Target } from "../system/replace.js"
import { create, type Entry, folderOf, isOurs, type Journal } from "./journal.js"
import { recover } from "./recover.js"

export interface Settings {
  readonly durability: Durability
  readonly timeout: Lock.Options["timeout"]
}

/** The transaction of a root, from its opening to the end of the outermost transaction. */
export class Opened {
  private journal: Journal | undefined
  private readonly held = new Set<string>()
  /** Folders in which names were changed. */
  readonly touched = new Set<string>()
  /** What was intended and is not undone. */
  readonly pending = new Set<number>()
  private last = 0
  private over = false
  /** One change after the other, in the order of the journal. */
  readonly oneByOne = Effect.unsafeMakeSemaphore(1).withPermits(1)

  readonly root: string
  readonly settings: Settings
  readonly lost: Deferred.Deferred<never, Lock.LockLost>
  private readonly locks: Lock.Service
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
  lock(name: Lock.Name, restore: Restore = (wait) => wait): Effect.Effect<void, Lock.LockTimeout | Lock.LockError> {
    const key = Lock.format(name)
    if (this.held.has(key)) return Effect.void
    const acquired = restore(Scope.extend(this.locks.acquire(name, { timeout: this.settings.timeout }), this.scope))
    return Effect.flatMap(acquired, ({ lost }) => {
      this.held.add(key)
      const watch = Effect.catchAll(lost, (error) => Deferred.fail(this.lost, error))
      return Effect.asVoid(Effect.forkIn(Effect.interruptible(watch), this.scope))
    })
  }

  /** Whoever lost the lock must not touch anything: it is the next one's. */
  get isLost(): Effect.Effect<boolean> {
    return Deferred.isDone(this.lost)
  }

  get isOver(): boolean {
    return this.over
  }

  private refuseOutside(at: string, given: string): Effect.Effect<void, FileError> {
    const [first = ""] = path.relative(this.root, at).split(path.sep)
    return first === "" || first === ".." || isOurs(first) || path.isAbsolute(first)
      ? Effect.fail(new FileError({ reason: "Outside", operation: "Changing", path: given }))
      : Effect.void
  }

  /** Where a path leads to, if that is within the root. */
  inside(given: string, follow: boolean): Effect.Effect<Target, FileError> {
    return Effect.gen(this, function* () {
      const calls = yield* CurrentCalls
      const at = path.resolve(this.root, given)
      yield* this.refuseOutside(at, given)
      const target = follow ? yield* locate(at) : { path: at, stats: yield* calls.lstat(at) }
      const folder = yield* calls.realpath(path.dirname(target.path))
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
  readonly ready: Effect.Effect<Journal, NodeJS.ErrnoException> = Effect.suspend(() =>
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
  change(entry: Entry, make: Effect.Effect<void, NodeJS.ErrnoException>): Effect.Effect<void, NodeJS.ErrnoException> {
    return Effect.flatMap(this.ready, (journal) => {
      this.pending.add(entry.n)
      this.touched.add(path.dirname(path.join(this.root, entry.path)))
      return Effect.zipRight(journal.record(entry), make)
    })
  }

  /** One that could not be undone: what stands upon it is left alone, too. */
  readonly stuck: Array<Entry> = []

  undone(n: number): Effect.Effect<void, NodeJS.ErrnoException> {
    return Effect.suspend(() =>
      Effect.zipRight(
        this.journal === undefined ? Effect.void : this.journal.undone(n),
        Effect.sync(() => this.pending.delete(n))
      )
    )
  }

  /** What was done stays done. Before it has succeeded everything can be undone. */
  readonly commit: Effect.Effect<void, FileError> = Effect.suspend(() => {
    const { journal, settings, touched } = this
    if (journal === undefined || this.over) return Effect.void
    return Effect.gen(this, function* () {
      const calls = yield* CurrentCalls
      const folders = settings.durability === "process-crash" ? [] : touched
      // A folder that was removed or moved since has nothing to say any more.
      for (const folder of folders) yield* unless(syncFolder(calls, folder), ["ENOENT", "ENOTDIR"], undefined)
      yield* journal.close
      this.over = true
    }).pipe(doing("Committing the transaction of", this.root))
  })

  /** After the outermost transaction: commits, or closes what was undone, and gives the locks back. */
  end(kept: boolean): Effect.Effect<void> {
    const settle = Effect.flatMap(this.isLost, (lost) => {
      if (lost) return Effect.void
      if (kept) return Effect.orDie(this.commit)
      // What could not be undone stays on record, for the next one who opens the root.
      return this.journal === undefined || this.over || this.pending.size > 0
        ? Effect.void
        : Effect.ignore(this.journal.close)
    })
    // While something can still fail the locks are needed for undoing it.
    return Effect.zipRight(settle, Scope.close(this.scope, Exit.void))
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
    const locked = Effect.zipRight(opened.lock(rootLock(root), restore), recover(root))
    return yield* Effect.as(
      Effect.onError(locked, () => Scope.close(scope, Exit.void)),
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
