import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RetryPolicy from "../../../react/RetryPolicy.js"
import type { TransactionService } from "../../../remember/internal/undo/service.js"
import { settingsOf } from "../../../remember/internal/undo/settings.js"
import * as Lock from "../../../remember/Lock.js"
import { FileError } from "../../FileError.js"
import type { Operations, TransactionError } from "../../FileTransaction.js"
import { type Call, CurrentCalls } from "../system/calls.js"
import { doing, unless } from "../system/errors.js"
import { locate, refuseOther, rename, type Target, writeAll, writeNew } from "../system/replace.js"
import { copyTree } from "../system/tree.js"
import { type Entry, newOf, oldOf } from "./journal.js"
import type { Opened } from "./opened.js"
import { refuseMeeting, undoEntry } from "./undo.js"

/** What undoes a change knows of it: nothing, until it is on record. */
interface Noted {
  readonly entries: Array<Entry>
}

// A file that is busy is waited for where it is renamed; of what else can go wrong nothing passes by itself.
const settings = settingsOf({ retry: RetryPolicy.none })

const decoder = new TextDecoder()

/** What can be done in a transaction: each change is registered with it before it is made. */
export const operations = (opened: Opened, transaction: TransactionService): Operations => {
  const { root } = opened

  const undo = ({ entries }: Noted): Effect.Effect<void, FileError> =>
    Effect.forEach([...entries], undoOne, { discard: true })

  const undoOne = (entry: Entry): Effect.Effect<void, FileError> =>
    Effect.flatMap(opened.isLost, (lost) => {
      if (lost || !opened.pending.has(entry.n)) return Effect.void
      if (opened.isOver) return committed(entry.path)
      return Effect.zipRight(
        refuseMeeting(entry, opened.stuck),
        Effect.zipRight(undoEntry(root, entry), opened.undone(entry.n)).pipe(
          doing(`Undoing (${entry.kind})`, entry.path)
        )
      ).pipe(Effect.tapError(() => Effect.sync(() => opened.stuck.push(entry))))
    })

  /** The lock of a link is that of what it leads to. */
  const lockFile = ({ path: at, stats }: Target) =>
    stats?.isSymbolicLink() === true
      ? Effect.flatMap(locate(at).pipe(doing("Finding", at)), (found) => opened.lock(Lock.resource(found.path)))
      : opened.lock(Lock.resource(at))

  /** One change, registered before anything of it happens. */
  const changing = (
    what: string,
    given: string,
    make: (
      note: (entry: Entry, change: Call<void>) => Call<void>
    ) => Effect.Effect<void, NodeJS.ErrnoException | FileError>
  ): Effect.Effect<void, TransactionError> =>
    Effect.suspend(() => {
      const noted: Noted = { entries: [] }
      const note = (entry: Entry, change: Call<void>) =>
        Effect.suspend(() => {
          noted.entries.unshift(entry)
          return opened.change(entry, change)
        })
      // What has failed is undone at once: what it has kept is the file itself, and must not change with it.
      const made = make(note).pipe(
        doing(what, given),
        Effect.tapError(() => Effect.ignore(undo(noted))),
        Effect.uninterruptible
      )
      const alive = Effect.flatMap(opened.isLost, (lost) => (lost ? Effect.never : made))
      return transaction.compensated(`${what} ${given}`, alive, () => undo(noted), settings)
    })

  /** Finds the file and takes its lock: what was found before may have changed while we waited. */
  const found = (given: string, follow: boolean): Effect.Effect<Target, TransactionError> =>
    Effect.flatMap(opened.inside(given, follow), (before) =>
      Effect.zipRight(lockFile(before), opened.inside(before.path, follow))
    )

  const write: Operations["write"] = (given, content, options) =>
    opened.oneByOne(
      Effect.flatMap(found(given, true), (target) =>
        changing("Writing", given, (note) =>
          Effect.gen(function* () {
            yield* refuseOther("Writing", target)
            yield* opened.ready
            const calls = yield* CurrentCalls
            const n = opened.next()
            const { durability } = opened.settings
            const put = { durability, mode: options?.mode, owner: options?.owner ?? true }
            yield* writeNew(calls, newOf(root, n), (file) => writeAll(calls, file, content), target.stats, put)
            const kind = target.stats === undefined ? "create" : "replace"
            if (target.stats !== undefined) yield* keep(target, n)
            yield* note({ kind, n, path: opened.relative(target.path) }, rename(calls, newOf(root, n), target.path))
          })
        )
      )
    )

  /** Another name for the file as it is; where there are no links, a copy of it. */
  const keep = ({ path: at, stats }: Target, n: number): Call<void> =>
    Effect.flatMap(CurrentCalls, (calls) =>
      Effect.catchAll(calls.link(at, oldOf(root, n)), (error) =>
        stats !== undefined && /^(EPERM|ENOTSUP|EOPNOTSUPP|ENOSYS|EMLINK|EXDEV)$/.test(error.code ?? "")
          ? copyTree(calls, at, oldOf(root, n), stats)
          : Effect.fail(error)
      )
    )

  const contentOf = (given: string) =>
    Effect.flatMap(found(given, true), ({ path: at }) =>
      Effect.flatMap(CurrentCalls, (calls) =>
        unless(Effect.asSome(calls.readFile(at)), ["ENOENT"], Option.none())
      ).pipe(doing("Reading", given))
    )

  const readBytes: Operations["readBytes"] = (given) =>
    Effect.flatMap(opened.oneByOne(contentOf(given)), (bytes) =>
      Option.match(bytes, {
        onNone: () => Effect.fail(new FileError({ reason: "NotFound", operation: "Reading", path: given })),
        onSome: Effect.succeed
      })
    )

  const remove: Operations["remove"] = (given) =>
    opened.oneByOne(
      Effect.flatMap(found(given, false), (target) =>
        changing("Removing", given, (note) =>
          Effect.gen(function* () {
            if (target.stats === undefined) return yield* missing("Removing", given)
            yield* opened.ready
            const calls = yield* CurrentCalls
            const n = opened.next()
            const entry = { kind: "remove", n, path: opened.relative(target.path) } as const
            yield* note(entry, rename(calls, target.path, oldOf(root, n)))
          })
        )
      )
    )

  const move: Operations["move"] = (given, destination) =>
    opened.oneByOne(
      Effect.gen(function* () {
        const [from, to] = [yield* found(given, false), yield* found(destination, false)]
        if (from.stats === undefined) return yield* missing("Moving", given)
        if (from.path === to.path) return
        if (to.stats !== undefined) {
          if (from.stats.isDirectory() || !to.stats.isFile()) {
            return yield* new FileError({ reason: "Exists", operation: "Moving to", path: destination })
          }
        }
        yield* changing("Moving", given, (note) =>
          Effect.gen(function* () {
            yield* opened.ready
            // What is there goes first, as if it were removed; nobody sees that, since a link keeps it.
            if (to.stats !== undefined) {
              const n = opened.next()
              yield* keep(to, n)
              yield* note({ kind: "replace", n, path: opened.relative(to.path) }, Effect.void)
            }
            const calls = yield* CurrentCalls
            opened.touched.add(path.dirname(to.path))
            const entry = { kind: "move", n: opened.next(), path: opened.relative(from.path) } as const
            yield* note({ ...entry, to: opened.relative(to.path) }, rename(calls, from.path, to.path))
          })
        )
      })
    )

  const makeDirectory: Operations["makeDirectory"] = (given, options) =>
    opened.oneByOne(
      Effect.gen(function* () {
        const calls = yield* CurrentCalls
        const wanted = path.resolve(root, given)
        const absent: Array<string> = []
        for (let at = wanted; at !== path.dirname(at); at = path.dirname(at)) {
          const stats = yield* calls.lstat(at).pipe(doing("Making", given))
          if (stats !== undefined) break
          absent.unshift(at)
        }
        for (const at of absent) {
          const target = yield* opened.inside(at, false)
          yield* changing("Making", opened.relative(at), (note) =>
            Effect.gen(function* () {
              yield* opened.ready
              const n = opened.next()
              yield* calls.mkdir(newOf(root, n), options?.mode)
              const entry = { kind: "create", n, path: opened.relative(target.path) } as const
              yield* note(entry, rename(calls, newOf(root, n), target.path))
            })
          )
        }
        if (absent.length === 0) {
          const { stats } = yield* opened.inside(wanted, true)
          if (stats?.isDirectory() !== true) {
            return yield* new FileError({ reason: "Exists", operation: "Making", path: given })
          }
        }
      })
    )

  const protect: Operations["protect"] = (given) =>
    opened.oneByOne(
      Effect.flatMap(found(given, true), (target) =>
        Effect.as(
          changing("Protecting", given, (note) =>
            Effect.gen(function* () {
              yield* opened.ready
              const calls = yield* CurrentCalls
              const n = opened.next()
              const existed = target.stats !== undefined
              if (target.stats !== undefined) yield* copyTree(calls, target.path, oldOf(root, n), target.stats)
              yield* note({ kind: "protect", n, path: opened.relative(target.path), existed }, Effect.void)
            })
          ),
          target.path
        )
      )
    )

  return {
    root,
    write,
    readBytes,
    read: (given) => Effect.map(readBytes(given), (bytes) => decoder.decode(bytes)),
    update: (given, f, options) =>
      Effect.flatMap(opened.oneByOne(contentOf(given)), (bytes) =>
        Effect.tap(f(Option.map(bytes, (found) => decoder.decode(found))), (content) => write(given, content, options))
      ),
    remove,
    move,
    makeDirectory,
    protect
  }
}

/** Of several roots in one transaction one could be committed, and the next one not. */
const committed = (path: string) => {
  const cause = new Error("it was committed before something else failed")
  return Effect.fail(new FileError({ reason: "Io", operation: "Undoing", path, cause }))
}

const missing = (operation: string, path: string) => new FileError({ reason: "NotFound", operation, path })
