import type * as fs from "node:fs"
import * as path from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type InMemory, partOf, serviceOf, Transaction } from "../../../transaction/Transactor.js"
import { FileError } from "../../FileError.js"
import type { Operations } from "../../FileTransaction.js"
import { type Call, CurrentCalls } from "../system/calls.js"
import { doing, unless } from "../system/errors.js"
import { refuseOther, rename, type Target, writeNew } from "../system/replace.js"
import { copyTree, isTight, loosen } from "../system/tree.js"
import { writeAll } from "../system/write.js"
import { changingIn, type Note, type Outcome } from "./changing.js"
import { newOf, oldOf } from "./journal.js"
import type { Opened } from "./opened.js"
import { targetsOf } from "./targets.js"

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** What can be done in a transaction: each change is registered with it before it is made. */
export const operations = (opened: Opened, begun: InMemory): Operations => {
  const { root } = opened
  const { changing, current } = changingIn(opened, begun)
  const { claim, withTargets } = targetsOf(opened, current)

  const write: Operations["write"] = (given, content, options) =>
    withTargets([given], true, ([target]) =>
      changing("Writing", given, (note) =>
        Effect.gen(function* () {
          yield* refuseOther("Writing", target)
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
    withTargets([given], true, ([target]) =>
      Effect.zipRight(
        // Reading a pipe would wait for somebody to write to it.
        refuseOther("Reading", target),
        Effect.flatMap(CurrentCalls, (calls) =>
          unless(Effect.asSome(calls.readFile(target.path)), ["ENOENT"], Option.none())
        )
      ).pipe(doing("Reading", given))
    )

  const readBytes: Operations["readBytes"] = (given) =>
    Effect.flatMap(contentOf(given), (bytes) =>
      Option.match(bytes, { onNone: () => missing("Reading", given), onSome: Effect.succeed })
    )

  /** While it is changed no other fiber of the transaction may have the file. */
  const update: Operations["update"] = (given, f, options) =>
    Effect.flatMap(current, ({ memory }) => {
      const inner = partOf(memory)
      const updated = Effect.flatMap(contentOf(given), (bytes) =>
        Effect.tap(f(Option.map(bytes, (found) => decoder.decode(found))), (content) => write(given, content, options))
      )
      return updated.pipe(
        // What it needs stays the same: the transaction is in its context already, or is asked for by nobody.
        Effect.mapInputContext((context: Context.Context<never>) =>
          Context.add(context, Transaction, serviceOf(inner))
        ) as (self: typeof updated) => typeof updated,
        Effect.ensuring(Effect.sync(() => inner.lifetime.end()))
      )
    })

  const remove: Operations["remove"] = (given) =>
    withTargets([given], false, ([target]) =>
      changing("Removing", given, (note) =>
        target.stats === undefined ? missing("Removing", given) : putAside(note, target)
      )
    )

  const putAside = (note: Note, target: Target): Outcome<void> =>
    Effect.flatMap(CurrentCalls, (calls) => {
      const n = opened.next()
      const entry = { kind: "remove", n, path: opened.relative(target.path) } as const
      return note(entry, rename(calls, target.path, oldOf(root, n)))
    })

  const move: Operations["move"] = (given, destination) =>
    withTargets([given, destination], false, ([from, to = from]) =>
      Effect.gen(function* () {
        if (from.stats === undefined) return yield* missing("Moving", given)
        if (from.path === to.path) return
        if (to.stats !== undefined && (from.stats.isDirectory() || !to.stats.isFile())) {
          return yield* new FileError({ reason: "Exists", operation: "Moving to", path: destination })
        }
        // Of two names of one file the operating system would leave both.
        const isSame = to.stats?.ino === from.stats.ino && to.stats.dev === from.stats.dev
        yield* changing("Moving", given, (note) => (isSame ? putAside(note, from) : replaceBy(note, from, to)))
      })
    )

  const replaceBy = (note: Note, from: Target, to: Target) =>
    Effect.gen(function* () {
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

  /** The folders that have to be made, outermost first. */
  const absentOf = (given: string) =>
    Effect.gen(function* () {
      const calls = yield* CurrentCalls
      const absent: Array<string> = []
      let at = path.resolve(root, given)
      while (at !== path.dirname(at) && (yield* calls.lstat(at)) === undefined) {
        absent.unshift(at)
        at = path.dirname(at)
      }
      return absent
    }).pipe(doing("Making", given))

  const makeDirectory: Operations["makeDirectory"] = (given, options) =>
    Effect.gen(function* () {
      const { memory } = yield* current
      const first = (yield* absentOf(given))[0] ?? given
      yield* claim(memory.lifetime, (yield* opened.inside(first, false)).path)
      yield* opened.oneByOne(
        Effect.flatMap(absentOf(given), (absent) =>
          absent.length === 0
            ? refuseFile(given)
            : changing("Making", given, (note) =>
                Effect.forEach(absent, (at) => makeOne(note, at, options?.mode), { discard: true })
              )
        )
      )
    })

  const makeOne = (note: Note, at: string, mode: number | undefined): Outcome<void> =>
    Effect.gen(function* () {
      const target = yield* opened.inside(at, false)
      const calls = yield* CurrentCalls
      const n = opened.next()
      yield* calls.mkdir(newOf(root, n), mode)
      const entry = { kind: "create", n, path: opened.relative(target.path) } as const
      yield* note(entry, rename(calls, newOf(root, n), target.path))
    })

  const refuseFile = (given: string) =>
    Effect.flatMap(opened.inside(given, true), ({ stats }) =>
      stats?.isDirectory() === true
        ? Effect.void
        : Effect.fail(new FileError({ reason: "Exists", operation: "Making", path: given }))
    )

  const protect: Operations["protect"] = (given) =>
    withTargets([given], true, ([target]) =>
      Effect.as(
        changing("Protecting", given, (note) =>
          Effect.gen(function* () {
            yield* refuseMounted(target)
            const n = opened.next()
            const kept = target.stats === undefined ? undefined : yield* copyAside(target.path, target.stats, n)
            opened.handedOut.add(target.path)
            const entry = { kind: "protect", n, path: opened.relative(target.path) } as const
            yield* note({ ...entry, existed: target.stats !== undefined, ...kept }, Effect.void)
          })
        ),
        target.path
      )
    )

  /** A folder that may not be changed cannot be put back as it is: it gets its permissions afterwards. */
  const copyAside = (at: string, stats: fs.Stats, n: number) =>
    Effect.flatMap(CurrentCalls, (calls) =>
      Effect.as(
        Effect.zipRight(copyTree(calls, at, oldOf(root, n), stats), loosen(calls, oldOf(root, n), stats)),
        isTight(stats) ? { mode: stats.mode & 0o7777 } : undefined
      )
    )

  /** The copy is put back by a rename, which ends where another file system begins. */
  const refuseMounted = ({ path: at, stats }: Target): Outcome<void> =>
    Effect.flatMap(CurrentCalls, (calls) =>
      Effect.flatMap(Effect.all([calls.lstat(root), calls.lstat(path.dirname(at))]), ([first, folder]) =>
        folder?.dev === first?.dev && (stats === undefined || stats.dev === first?.dev)
          ? Effect.void
          : Effect.fail(new FileError({ reason: "OtherDevice", operation: "Protecting", path: at }))
      )
    )

  return {
    root,
    write,
    readBytes,
    read: (given) => Effect.map(readBytes(given), (bytes) => decoder.decode(bytes)),
    update,
    remove,
    move,
    makeDirectory,
    protect
  }
}

const missing = (operation: string, path: string) => Effect.fail(new FileError({ reason: "NotFound", operation, path }))
