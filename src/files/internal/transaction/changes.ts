import * as path from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Lock from "../../../lock/Lock.js"
import { permissions } from "../../../resilience/internal/kernel/options.js"
import * as RetryPolicy from "../../../resilience/RetryPolicy.js"
import { settingsOf } from "../../../transaction/Compensation.js"
import { type InMemory, partOf, serviceOf, Transaction } from "../../../transaction/Transactor.js"
import { FileError } from "../../FileError.js"
import type { Operations, TransactionError } from "../../FileTransaction.js"
import { asFileError, type Call, CurrentCalls } from "../system/calls.js"
import { relationOf, respell } from "../system/entries.js"
import { readIfExists, rename, requireFile, type Target, writeNewFile } from "../system/replace.js"
import type { FileStats } from "../system/stats.js"
import { copyTree, isRestricted, unrestrict } from "../system/tree.js"
import { writeAll } from "../system/write.js"
import { type Entry, linkFile, newFile, oldFile } from "./journal.js"
import type { OpenRoot, Targets } from "./openRoot.js"
import { refuseOverlap, undoEntry } from "./undo.js"

const modeOf = (options: { readonly mode?: number | undefined } | undefined): number | undefined =>
  options?.mode === undefined ? undefined : permissions(options.mode)

// No retry: a rename waits for a busy file itself, and other failures are not transient.
const undoSettings = settingsOf({ retry: RetryPolicy.none })

type Protected = Extract<Entry, { readonly kind: "protect" }>

type Outcome<A> = Effect.Effect<A, NodeJS.ErrnoException | FileError | Lock.LockLost>

/** Records an entry, then makes its change. */
type Record = (entry: Entry, change: Call<void>) => Outcome<void>

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const missing = (operation: string, path: string) => Effect.fail(new FileError({ reason: "NotFound", operation, path }))

/** The operations of a transaction over a root. Each change registers its compensation before it starts. */
export class RootOperations implements Operations {
  readonly root: string
  private readonly open: OpenRoot
  private readonly begun: InMemory

  constructor(open: OpenRoot, begun: InMemory) {
    this.root = open.root
    this.open = open
    this.begun = begun
  }

  /** The innermost transaction of the calling fiber, if it belongs to this one. */
  private readonly current: Effect.Effect<InMemory> = Effect.contextWith((context: Context.Context<never>) => {
    const { compensated, memory } = Option.getOrElse(Context.getOption(context, Transaction), () => this.begun)
    return memory?.log === this.begun.memory.log ? { compensated, memory } : this.begun
  })

  private withTargets<A, E>(
    given: readonly [string, ...ReadonlyArray<string>],
    follow: boolean,
    use: (targets: Targets) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | TransactionError> {
    return Effect.flatMap(this.current, ({ memory }) => this.open.withTargets(memory.lifetime, given, follow, use))
  }

  /** Registers the undo, then makes the change. A change that fails is undone at once, even if the program catches the failure. */
  private change(
    operation: string,
    given: string,
    targets: ReadonlyArray<Target>,
    make: (record: Record) => Outcome<void>
  ): Effect.Effect<void, TransactionError> {
    const { open } = this
    return Effect.flatMap(this.current, ({ compensated }) => {
      const entries: Array<Entry> = []
      const record: Record = (entry, change) =>
        Effect.suspend(() => {
          entries.unshift(entry)
          return open.change(entry, change)
        })
      const undo = Effect.suspend(() =>
        open.withReserve(Effect.forEach([...entries], (entry) => this.undo(entry), { discard: true }))
      )
      const made = Effect.all([open.refuseEnded, open.checkFor(), make(record)], { discard: true }).pipe(
        asFileError(operation, given),
        Effect.tapError(() => Effect.ignore(undo)),
        Effect.uninterruptible
      )
      return Effect.zipRight(
        Effect.all([open.refuseEnded, open.refuseIrreversible(targets), open.checkFor(), open.openJournal], {
          discard: true
        }).pipe(asFileError(operation, given)),
        compensated(`${operation} ${given}`, made, () => open.serialized(undo), undoSettings)
      )
    })
  }

  private undo(entry: Entry): Effect.Effect<void, FileError | Lock.LockLost> {
    const { open } = this
    return Effect.suspend(() => {
      if (!open.pending.has(entry.n)) return Effect.void
      if (open.isCommitted) {
        // A transaction over several roots commits them one after the other.
        const cause = new Error("its root was committed before a later root failed")
        return Effect.fail(new FileError({ reason: "Io", operation: "Undoing", path: entry.path, cause }))
      }
      return Effect.all(
        [
          open.refuseEnded,
          open.checkFor(entry),
          refuseOverlap(entry, open.notUndone),
          undoEntry(open.folder, entry, open.durable),
          open.markUndone(entry.n)
        ],
        { discard: true }
      ).pipe(
        asFileError(`Undoing (${entry.kind})`, entry.path),
        Effect.tapError(() => Effect.sync(() => open.notUndone.push(entry)))
      )
    })
  }

  readonly readBytes: Operations["readBytes"] = (given) =>
    Effect.flatMap(
      this.contentOf(given),
      Option.match({ onNone: () => missing("Reading", given), onSome: Effect.succeed })
    )

  readonly read: Operations["read"] = (given) => Effect.map(this.readBytes(given), (bytes) => decoder.decode(bytes))

  private contentOf(given: string) {
    return this.withTargets([given], true, ([target]) => readIfExists(target).pipe(asFileError("Reading", given)))
  }

  readonly write: Operations["write"] = (given, content, options) =>
    this.withTargets([given], true, ([target]) =>
      this.change("Writing", given, [target], (record) =>
        Effect.gen(this, function* () {
          yield* requireFile("Writing", target)
          const calls = yield* CurrentCalls
          const entry = this.open.nextEntry(target)
          const { durability } = this.open.settings
          const newOptions = { durability, mode: modeOf(options), owner: options?.owner ?? true }
          const written = newFile(this.open.folder, entry.n)
          yield* writeNewFile(calls, written, (file) => writeAll(calls, file, content), target.stats, newOptions)
          if (target.stats !== undefined) yield* this.keepOld(target, entry.n)
          const kind = target.stats === undefined ? "create" : "replace"
          yield* record({ kind, ...entry }, rename(calls, written, target.path))
        })
      )
    )

  /** Keeps the old file under a second name, or as a copy where hard links are not supported. */
  private keepOld({ path: at, stats }: Target, n: number): Call<void> {
    return Effect.flatMap(CurrentCalls, (calls) =>
      Effect.catchAll(calls.link(at, oldFile(this.open.folder, n)), (error) =>
        stats !== undefined && /^(EPERM|ENOTSUP|EOPNOTSUPP|ENOSYS|EMLINK|EXDEV)$/.test(error.code ?? "")
          ? copyTree(calls, at, oldFile(this.open.folder, n), stats, this.open.durable)
          : Effect.fail(error)
      )
    )
  }

  /** A part of its own holds the claim of the file during the update, so other fibers of the transaction wait. */
  readonly update: Operations["update"] = (given, f, options) =>
    Effect.flatMap(this.current, ({ memory }) => {
      const inner = partOf(memory)
      const updated = Effect.flatMap(this.contentOf(given), (bytes) =>
        Effect.tap(f(Option.map(bytes, (found) => decoder.decode(found))), (content) =>
          this.write(given, content, options)
        )
      )
      return updated.pipe(
        // The requirements stay: the effect finds a transaction in its context, or does not ask for one.
        Effect.mapInputContext((context: Context.Context<never>) =>
          Context.add(context, Transaction, serviceOf(inner))
        ) as (self: typeof updated) => typeof updated,
        Effect.ensuring(Effect.sync(() => inner.lifetime.end()))
      )
    })

  readonly remove: Operations["remove"] = (given) =>
    this.withTargets([given], false, ([target]) =>
      this.change("Removing", given, [target], (record) =>
        target.stats === undefined ? missing("Removing", given) : this.moveAside(record, target)
      )
    )

  private moveAside(record: Record, target: Target): Outcome<void> {
    return Effect.flatMap(CurrentCalls, (calls) => {
      const entry = this.open.nextEntry(target)
      return record({ kind: "remove", ...entry }, rename(calls, target.path, oldFile(this.open.folder, entry.n)))
    })
  }

  readonly move: Operations["move"] = (given, destination) =>
    this.withTargets([given, destination], false, ([from, to = from]) =>
      Effect.gen(this, function* () {
        if (from.stats === undefined) return yield* missing("Moving", given)
        if (from.path === to.path) return
        const calls = yield* CurrentCalls
        const relation = yield* relationOf(calls, from, to).pipe(asFileError("Moving", given))
        const isTaken = to.stats !== undefined && (from.stats.isDirectory() || !to.stats.isFile())
        if (relation === "two files" && isTaken) {
          return yield* new FileError({ reason: "Exists", operation: "Moving to", path: destination })
        }
        yield* this.change("Moving", given, [from, to], (record) => {
          if (relation === "one name") return this.spellAnew(record, from, to)
          // A rename between two names of one file does nothing, so the first name is removed instead.
          return relation === "two names" ? this.moveAside(record, from) : this.moveOver(record, from, to)
        })
      })
    )

  private spellAnew(record: Record, from: Target, to: Target): Outcome<void> {
    return Effect.flatMap(CurrentCalls, (calls) => {
      const entry = this.open.nextEntry(from)
      const spelled = respell(calls, from.path, to.path, newFile(this.open.folder, entry.n))
      return record({ kind: "move", ...entry, to: path.relative(this.root, to.path) }, spelled)
    })
  }

  private moveOver(record: Record, from: Target, to: Target): Outcome<void> {
    return Effect.gen(this, function* () {
      if (to.stats !== undefined) {
        const entry = this.open.nextEntry(to)
        yield* this.keepOld(to, entry.n)
        // Nothing to do yet: the rename below replaces the file, so readers never see it missing.
        yield* record({ kind: "replace", ...entry }, Effect.void)
      }
      const calls = yield* CurrentCalls
      this.open.changedFolders.add(path.dirname(to.path))
      const entry = { kind: "move", ...this.open.nextEntry(from), to: path.relative(this.root, to.path) } as const
      yield* record(entry, rename(calls, from.path, to.path))
    })
  }

  readonly makeDirectory: Operations["makeDirectory"] = (given, options) =>
    Effect.gen(this, function* () {
      const { memory } = yield* this.current
      const first = (yield* this.missingFolders(given))[0] ?? given
      yield* this.open.claim(memory.lifetime, (yield* this.open.inside(first, false)).path)
      yield* this.open.serialized(
        Effect.flatMap(this.missingFolders(given), (folders) =>
          folders.length === 0
            ? this.requireFolder(given)
            : this.change("Making", given, [], (record) =>
                Effect.forEach(folders, (at) => this.makeFolder(record, at, modeOf(options)), { discard: true })
              )
        )
      )
    })

  /** The folders to create, outermost first. */
  private missingFolders(given: string) {
    return Effect.gen(this, function* () {
      const calls = yield* CurrentCalls
      const folders: Array<string> = []
      let at = path.resolve(this.root, given)
      while (at !== path.dirname(at) && (yield* calls.lstat(at)) === undefined) {
        folders.unshift(at)
        at = path.dirname(at)
      }
      return folders
    }).pipe(asFileError("Making", given))
  }

  private makeFolder(record: Record, at: string, mode: number | undefined): Outcome<void> {
    return Effect.gen(this, function* () {
      const target = yield* this.open.inside(at, false)
      const calls = yield* CurrentCalls
      const entry = this.open.nextEntry(target)
      yield* calls.mkdir(newFile(this.open.folder, entry.n), mode)
      yield* record({ kind: "create", ...entry }, rename(calls, newFile(this.open.folder, entry.n), target.path))
    })
  }

  private requireFolder(given: string): Effect.Effect<void, FileError> {
    return Effect.flatMap(this.open.inside(given, true), ({ stats }) =>
      stats?.isDirectory() === true
        ? Effect.void
        : Effect.fail(new FileError({ reason: "Exists", operation: "Making", path: given }))
    )
  }

  /** A link that leads to the path is protected too: the program may replace it. */
  readonly protect: Operations["protect"] = (given) =>
    Effect.flatMap(this.open.inside(given, false), ({ stats }) => {
      const followed = this.withTargets([given], true, ([target]) => this.protectTarget(given, target))
      return stats?.isSymbolicLink() === true
        ? Effect.zipRight(
            this.withTargets([given], false, ([link]) => this.protectTarget(given, link)),
            followed
          )
        : followed
    })

  private protectTarget(given: string, target: Target): Effect.Effect<string, TransactionError> {
    const { path: at, stats } = target
    const protectIt = this.change("Protecting", given, [target], (record) =>
      Effect.gen(this, function* () {
        yield* this.open.refuseUnrestorable(target)
        const entry = this.open.nextEntry(target)
        const kept = stats === undefined ? undefined : yield* this.copyOld(at, stats, entry.n)
        this.open.protectedPaths.add(at)
        yield* record({ kind: "protect", ...entry, existed: stats !== undefined, ...kept }, Effect.void)
      })
    )
    return Effect.as(protectIt, at)
  }

  /** Copies the path, and returns what its undo needs to know besides. */
  private copyOld(at: string, stats: FileStats, n: number): Call<Pick<Protected, "mode" | "linked">> {
    return Effect.gen(this, function* () {
      const calls = yield* CurrentCalls
      if (stats.isFile() && stats.links > 1) {
        yield* copyTree(calls, at, oldFile(this.open.folder, n), stats, this.open.durable)
        const linked = Effect.as(calls.link(at, linkFile(this.open.folder, n)), true)
        return { linked: yield* Effect.orElseSucceed(linked, () => false) }
      }
      yield* copyTree(calls, at, oldFile(this.open.folder, n), stats, this.open.durable)
      // A copied folder must be unrestricted to be moved back.
      yield* unrestrict(calls, oldFile(this.open.folder, n), stats)
      return isRestricted(stats) ? { mode: stats.mode & 0o7777 } : {}
    })
  }
}
