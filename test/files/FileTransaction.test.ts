import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { Lock, Transaction } from "effect-recovery"
import { AtomicFile, FileLock, FileTransaction } from "effect-recovery/files"
import { type Calls, CurrentCalls, errno, nodeCalls } from "../../src/files/internal/system/calls.js"
import { deadProcess } from "../support/crashingCalls.js"
import { temporaryFolder } from "../support/files.js"
import { inRoot, leaveBehind, losableLocks, makeRoot, reasonOf, tagOf } from "../support/fileTransactions.js"
import { turns } from "../support/time.js"
import { treeOf } from "../support/tree.js"

/** A root with files, folders, links and several permissions. */
const prepare = (root: string) => {
  fs.mkdirSync(path.join(root, "posts/old"), { recursive: true })
  fs.writeFileSync(path.join(root, "posts/old/1.md"), "one")
  fs.writeFileSync(path.join(root, "posts/2.md"), "two")
  fs.writeFileSync(path.join(root, "index.md"), "old index", { mode: 0o640 })
  fs.writeFileSync(path.join(root, "run.sh"), "#!/bin/sh")
  fs.chmodSync(path.join(root, "run.sh"), 0o755)
  fs.writeFileSync(path.join(root, "secret"), "s3cret")
  fs.chmodSync(path.join(root, "secret"), 0o600)
  fs.symlinkSync("index.md", path.join(root, "latest"))
}

const inFullRoot = <A, E>(use: (root: string, before: ReturnType<typeof treeOf>) => Effect.Effect<A, E, Lock.Lock>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const root = fs.realpathSync(yield* temporaryFolder)
      const locks = yield* temporaryFolder
      prepare(root)
      return yield* use(root, treeOf(root)).pipe(Effect.provide(FileLock.layer({ folder: locks })))
    })
  )

/** One change of each kind, and several of one file. */
const everything = Effect.gen(function* () {
  const { root } = yield* FileTransaction.FileTransaction
  yield* FileTransaction.write("index.md", "new index")
  yield* FileTransaction.write("new.md", "new", { mode: 0o600 })
  yield* FileTransaction.write("latest", "through the link")
  yield* FileTransaction.makeDirectory("a/b")
  yield* FileTransaction.write("a/b/c.md", "deep")
  yield* FileTransaction.move("posts/2.md", "a/2.md")
  yield* FileTransaction.move("a/b/c.md", "run.sh")
  yield* FileTransaction.remove("posts")
  yield* FileTransaction.remove("latest")
  yield* FileTransaction.update("new.md", (text) => Effect.succeed(`${Option.getOrThrow(text)}er`))
  yield* FileTransaction.remove("a/2.md")
  const secret = yield* FileTransaction.protect("secret")
  fs.writeFileSync(secret, "told")
  fs.chmodSync(secret, 0o666)
  const built = yield* FileTransaction.protect("build")
  fs.mkdirSync(path.join(built, "x"), { recursive: true })
  fs.writeFileSync(path.join(built, "x/y"), "built")
  yield* FileTransaction.move("a/b", path.join(root, "b"))
})

const after = {
  "a/": "755",
  "b/": "755",
  "build/": "755",
  "build/x/": "755",
  "build/x/y": "644 1 built",
  "index.md": "640 1 through the link",
  "new.md": "600 1 newer",
  "run.sh": "644 1 deep",
  secret: "666 1 told"
}

describe("FileTransaction", () => {
  it.live("makes all changes, and removes its journal", () =>
    inFullRoot((root) =>
      Effect.gen(function* () {
        yield* everything.pipe(FileTransaction.run(root))
        assert.deepStrictEqual(treeOf(root), after)
        assert.deepStrictEqual(
          fs.readdirSync(root).filter((name) => name.startsWith(".file-transaction")),
          []
        )
      })
    )
  )

  const endings: Readonly<Record<string, Effect.Effect<never, string>>> = {
    failure: Effect.fail("no"),
    defect: Effect.die("bug"),
    interruption: Effect.interrupt
  }
  for (const [name, ending] of Object.entries(endings)) {
    it.live(`a ${name} rolls back all changes`, () =>
      inFullRoot((root, before) =>
        Effect.gen(function* () {
          const exit = yield* Effect.exit(Effect.zipRight(everything, ending).pipe(FileTransaction.run(root)))
          assert.strictEqual(exit._tag, "Failure")
          if (Exit.isFailure(exit)) {
            assert.strictEqual(Cause.isInterruptedOnly(exit.cause), name === "interruption")
            if (name === "failure") assert.deepStrictEqual(Cause.failureOption(exit.cause), Option.some("no"))
          }
          assert.deepStrictEqual(treeOf(root), before)
        })
      )
    )
  }

  it.live("an interruption from outside rolls back all changes", () =>
    inFullRoot((root, before) =>
      Effect.gen(function* () {
        const isDone = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          Effect.zipRight(everything, Effect.zipRight(Deferred.succeed(isDone, undefined), Effect.never)).pipe(
            FileTransaction.run(root)
          )
        )
        yield* Deferred.await(isDone)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("an interruption restores nothing before the finalizers of the body have ended", () =>
    inFullRoot((root, before) =>
      Effect.gen(function* () {
        const file = path.join(root, "index.md")
        const isDone = yield* Deferred.make<void>()
        let last = ""
        const slowly = Effect.zipRight(
          turns(20),
          Effect.sync(() => {
            last = fs.readFileSync(file, "utf8")
            fs.writeFileSync(file, "written at last")
          })
        )
        const body = Effect.gen(function* () {
          yield* FileTransaction.protect("index.md")
          fs.writeFileSync(file, "changed")
          yield* Deferred.succeed(isDone, undefined)
          return yield* Effect.never
        })
        const fiber = yield* Effect.fork(FileTransaction.run(Effect.ensuring(body, slowly), root))
        yield* Deferred.await(isDone)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(last, "changed")
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("a restored file keeps its inode, times and other names", () =>
    inFullRoot((root) =>
      Effect.gen(function* () {
        const file = path.join(root, "index.md")
        fs.linkSync(file, path.join(root, "other-name"))
        fs.utimesSync(file, 1_000, 2_000)
        const secret = path.join(root, "secret")
        fs.utimesSync(secret, 1_000, 3_000)
        const before = fs.statSync(file)
        yield* Effect.gen(function* () {
          yield* FileTransaction.write("index.md", "x")
          fs.writeFileSync(yield* FileTransaction.protect("secret"), "x")
          return yield* Effect.fail("no")
        }).pipe(FileTransaction.run(root), Effect.flip)
        const now = fs.statSync(file)
        assert.deepStrictEqual([now.ino, now.mtimeMs, now.nlink], [before.ino, 2_000_000, 2])
        assert.strictEqual(fs.statSync(secret).mtimeMs, 3_000_000)
      })
    )
  )

  it.live("a caught error rolls back nothing; a nested transaction rolls back its own changes", () =>
    inFullRoot((root) =>
      Effect.gen(function* () {
        yield* Effect.gen(function* () {
          yield* FileTransaction.write("index.md", "outer")
          yield* Effect.gen(function* () {
            yield* FileTransaction.write("index.md", "inner")
            yield* FileTransaction.write("inner.md", "inner")
            return yield* Effect.fail("no")
          }).pipe(FileTransaction.run(root), Effect.ignore)
          assert.strictEqual(yield* FileTransaction.read("index.md"), "outer")
          yield* FileTransaction.write("inner.md", "outer again").pipe(FileTransaction.run(root))
          yield* Effect.ignore(FileTransaction.remove("nothing"))
        }).pipe(FileTransaction.run(root))
        assert.strictEqual(fs.readFileSync(path.join(root, "index.md"), "utf8"), "outer")
        assert.strictEqual(fs.readFileSync(path.join(root, "inner.md"), "utf8"), "outer again")
      })
    )
  )

  it.live("is a part of the surrounding transaction, in the order of its compensations", () =>
    inFullRoot((root, before) =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const note = (what: string) =>
          Effect.sync(() => void log.push(`${what} ${fs.readFileSync(path.join(root, "index.md"), "utf8")}`))
        const outer = Effect.gen(function* () {
          yield* note("did 1").pipe(Transaction.withCompensation(() => note("undid 1")))
          yield* FileTransaction.write("index.md", "new").pipe(FileTransaction.run(root))
          yield* note("did 2").pipe(Transaction.withCompensation(() => note("undid 2")))
          // The root is still open: a nested transaction does not wait for it.
          yield* FileTransaction.write("new.md", "new").pipe(FileTransaction.run(root))
        })
        yield* Effect.zipRight(outer, Effect.fail("no")).pipe(Transaction.run(), Effect.flip)
        assert.deepStrictEqual(log, ["did 1 old index", "did 2 new", "undid 2 new", "undid 1 old index"])
        assert.deepStrictEqual(treeOf(root), before)
        yield* outer.pipe(Transaction.run())
        assert.deepStrictEqual(treeOf(root), { ...before, "index.md": "640 1 new", "new.md": "644 1 new" })
      })
    )
  )

  it.live("commits on errors that rollbackWhen excludes", () =>
    inFullRoot((root) =>
      Effect.gen(function* () {
        const failing = (error: string) => Effect.zipRight(FileTransaction.write("index.md", error), Effect.fail(error))
        const run = FileTransaction.run(root, { rollbackWhen: (error: unknown) => error === "undo" })
        assert.strictEqual(yield* Effect.flip(run(failing("keep"))), "keep")
        assert.strictEqual(fs.readFileSync(path.join(root, "index.md"), "utf8"), "keep")
        assert.strictEqual(yield* Effect.flip(run(failing("undo"))), "undo")
        assert.strictEqual(fs.readFileSync(path.join(root, "index.md"), "utf8"), "keep")
      })
    )
  )

  it.live("reports what cannot be undone, and recover continues once it is possible", () =>
    inFullRoot((root, before) =>
      Effect.gen(function* () {
        const error = yield* Effect.gen(function* () {
          yield* FileTransaction.write("index.md", "new")
          yield* FileTransaction.makeDirectory("made")
          fs.writeFileSync(path.join(root, "made/of-another-program"), "")
          return yield* Effect.fail("no")
        }).pipe(FileTransaction.run(root), Effect.flip)
        if (!(error instanceof Transaction.RollbackFailed)) return assert.fail(String(error))
        assert.deepStrictEqual(Cause.failureOption(error.original), Option.some("no"))
        assert.match(String(error.failures[0]?.undo), /Making/)
        assert.match(Cause.pretty(error.failures[0]?.cause ?? Cause.empty), /the folder is not empty/)
        const next = yield* Effect.flip(FileTransaction.read("index.md").pipe(FileTransaction.run(root)))
        assert.deepInclude(next, { _tag: "FileError", reason: "NotEmpty", path: "made" })
        fs.rmSync(path.join(root, "made/of-another-program"))
        assert.isTrue(yield* FileTransaction.recover(root))
        assert.deepStrictEqual(treeOf(root), before)
        assert.isFalse(yield* FileTransaction.recover(root))
      })
    )
  )

  it.live("a root has one transaction at a time", () =>
    inFullRoot((root) =>
      Effect.gen(function* () {
        const increment = Effect.gen(function* () {
          const count = yield* FileTransaction.update("counter", (text) =>
            Effect.zipRight(Effect.yieldNow(), Effect.succeed(`${Number(Option.getOrElse(text, () => "0")) + 1}`))
          )
          yield* FileTransaction.write("copy", count)
        }).pipe(FileTransaction.run(root, { durability: "process-crash", timeout: "1 hour" }))
        yield* Effect.replicateEffect(increment, 25, { concurrency: "unbounded" })
        assert.strictEqual(fs.readFileSync(path.join(root, "counter"), "utf8"), "25")
        assert.strictEqual(fs.readFileSync(path.join(root, "copy"), "utf8"), "25")
      })
    )
  )

  it.live("transactions of one root with different names run side by side", () =>
    inFullRoot((root, before) =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const first = Effect.gen(function* () {
          yield* FileTransaction.write("first", "new")
          yield* Deferred.succeed(begun, undefined)
          yield* Deferred.await(ended)
          return yield* Effect.fail("no")
        }).pipe(FileTransaction.run(root, { name: "first" }))
        const fiber = yield* Effect.fork(Effect.flip(first))
        yield* Deferred.await(begun)
        yield* FileTransaction.write("second", "new").pipe(FileTransaction.run(root, { name: "second" }))
        const same = FileTransaction.write("first", "other").pipe(
          FileTransaction.run(root, { name: "second", timeout: 0 }),
          Effect.flip
        )
        assert.strictEqual((yield* same)._tag, "LockTimeout")
        yield* Deferred.succeed(ended, undefined)
        assert.strictEqual(yield* Fiber.join(fiber), "no")
        fs.rmSync(path.join(root, "second"))
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("fibers of one transaction change files concurrently", () =>
    inFullRoot((root, before) =>
      Effect.gen(function* () {
        const writes = Effect.forEach(
          Array.from({ length: 20 }, (_, i) => `file-${i % 10}`),
          (name) => FileTransaction.write(name, name),
          { concurrency: "unbounded", discard: true }
        )
        yield* Effect.zipRight(writes, Effect.fail("no")).pipe(FileTransaction.run(root), Effect.flip)
        assert.deepStrictEqual(treeOf(root), before)
        yield* writes.pipe(FileTransaction.run(root))
        assert.strictEqual(Object.keys(treeOf(root)).length, Object.keys(before).length + 10)
      })
    )
  )

  it.live("refuses paths outside the root, missing files, and files of the wrong kind", () =>
    inFullRoot((root, before) =>
      Effect.gen(function* () {
        fs.symlinkSync("/etc/passwd", path.join(root, "out"))
        fs.symlinkSync("..", path.join(root, "up"))
        const reasons = yield* Effect.forEach(
          [
            FileTransaction.write("../x", ""),
            FileTransaction.write("/etc/x", ""),
            FileTransaction.write("out", ""),
            FileTransaction.write("up/x", ""),
            FileTransaction.remove("."),
            FileTransaction.write(".file-transaction/journal", ""),
            FileTransaction.write("no/such/folder", ""),
            FileTransaction.read("nothing"),
            FileTransaction.remove("nothing"),
            FileTransaction.move("nothing", "x"),
            FileTransaction.write("posts", ""),
            FileTransaction.move("posts", "index.md"),
            FileTransaction.move("index.md", "posts"),
            FileTransaction.makeDirectory("index.md"),
            FileTransaction.write("a\0b", ""),
            FileTransaction.write("x".repeat(300), "")
          ],
          (change) =>
            Effect.map(Effect.flip(change), (error) => (error._tag === "FileError" ? error.reason : error._tag))
        ).pipe(FileTransaction.run(root))
        assert.deepStrictEqual(reasons, [
          ...["Outside", "Outside", "Outside", "Outside", "Outside", "Outside"],
          ...["NotFound", "NotFound", "NotFound", "NotFound"],
          ...["NotAFile", "Exists", "Exists", "Exists", "Path", "Path"]
        ])
        fs.rmSync(path.join(root, "out"))
        fs.rmSync(path.join(root, "up"))
        assert.deepStrictEqual(treeOf(root), before)
        for (const [wrong, reason] of [
          ["nowhere", "NotFound"],
          ["index.md", "NotAFile"]
        ] as const) {
          const error = yield* Effect.flip(Effect.void.pipe(FileTransaction.run(path.join(root, wrong))))
          assert.deepInclude(error, { _tag: "FileError", reason })
        }
      })
    )
  )

  it.live("a rollback restores files that another process deleted meanwhile", () =>
    inFullRoot((root, before) =>
      Effect.gen(function* () {
        yield* Effect.gen(function* () {
          yield* FileTransaction.write("index.md", "new")
          fs.rmSync(path.join(root, "index.md"))
          yield* FileTransaction.write("created", "new")
          fs.rmSync(path.join(root, "created"))
          const secret = yield* FileTransaction.protect("secret")
          fs.rmSync(secret)
          fs.mkdirSync(secret)
          return yield* Effect.fail("no")
        }).pipe(FileTransaction.run(root), Effect.flip)
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("a write that fails is undone, even if its error is caught", () =>
    inFullRoot((root, before) =>
      Effect.gen(function* () {
        let made = 0
        const rename: Calls["rename"] = (from, to) =>
          made++ === 0
            ? Effect.fail(Object.assign(new Error("ENOSPC"), { code: "ENOSPC" }))
            : nodeCalls.rename(from, to)
        yield* Effect.gen(function* () {
          const failing = FileTransaction.write("index.md", "new")
          yield* Effect.flip(Effect.provideService(failing, CurrentCalls, { ...nodeCalls, rename }))
          fs.writeFileSync(yield* FileTransaction.protect("index.md"), "in place")
          return yield* Effect.fail("no")
        }).pipe(FileTransaction.run(root), Effect.flip)
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("a damaged journal is an error that names the journal", () =>
    inFullRoot((root) =>
      Effect.gen(function* () {
        const folder = path.join(root, ".file-transaction")
        const copy = path.join(root, "copy")
        yield* Effect.gen(function* () {
          yield* FileTransaction.write("index.md", "new")
          yield* FileTransaction.write("index.md", "newer")
          fs.cpSync(folder, copy, { recursive: true })
        }).pipe(
          FileTransaction.run(root),
          Effect.provideService(CurrentCalls, { ...nodeCalls, thisProcess: deadProcess })
        )
        fs.renameSync(copy, folder)
        const journal = path.join(folder, "journal")
        const text = fs.readFileSync(journal, "utf8")
        fs.writeFileSync(journal, text.replace('"n":1', '"n":7'))
        const error = yield* Effect.flip(FileTransaction.recover(root))
        assert.deepInclude(error, { _tag: "FileError", reason: "Damaged", path: journal })
        // A half-written last line is not damage.
        fs.writeFileSync(journal, `${text}0123456789abcdef {"kind":"rem`)
        assert.isTrue(yield* FileTransaction.recover(root))
        assert.strictEqual(fs.readFileSync(path.join(root, "index.md"), "utf8"), "old index")
      })
    )
  )
})

describe("FileTransaction, changes", () => {
  it.live("makeDirectory creates all missing folders, or none", () =>
    inRoot(({ before, root }) =>
      Effect.gen(function* () {
        const rename: Calls["rename"] = (from, to) =>
          String(to).endsWith("x/y") ? Effect.fail(errno("ENOSPC", "full")) : nodeCalls.rename(from, to)
        yield* Effect.flip(FileTransaction.makeDirectory("x/y/z")).pipe(
          FileTransaction.run(root),
          Effect.provideService(CurrentCalls, { ...nodeCalls, rename })
        )
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("move handles two names of one file", () =>
    inRoot(({ at, before, root }) =>
      Effect.gen(function* () {
        fs.linkSync(at("a"), at("second"))
        const both = treeOf(root)
        yield* FileTransaction.move("second", "a").pipe(
          Effect.zipRight(Effect.fail("no")),
          FileTransaction.run(root),
          Effect.flip
        )
        assert.deepStrictEqual(treeOf(root), both)
        yield* FileTransaction.move("second", "a").pipe(FileTransaction.run(root))
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("accepts a full path that leads to the root through a link", () =>
    inRoot(({ root, text }) =>
      Effect.gen(function* () {
        const link = path.join(yield* temporaryFolder, "link")
        fs.symlinkSync(root, link)
        yield* FileTransaction.write(path.join(link, "a"), "new").pipe(FileTransaction.run(link))
        assert.strictEqual(text("a"), "new")
      }).pipe(Effect.scoped)
    )
  )

  it.live("a change that fails before the journal exists does not block the next one", () =>
    inRoot(({ root, text }) =>
      Effect.gen(function* () {
        let isFull = true
        const open: Calls["open"] = (one, flags, mode) =>
          isFull && String(one).endsWith("/journal")
            ? Effect.fail(errno("ENOSPC", "full"))
            : nodeCalls.open(one, flags, mode)
        yield* FileTransaction.write("a", "new").pipe(
          Effect.flip,
          Effect.zipRight(Effect.sync(() => (isFull = false))),
          Effect.zipRight(FileTransaction.write("a", "newer")),
          FileTransaction.run(root),
          Effect.provideService(CurrentCalls, { ...nodeCalls, open })
        )
        assert.strictEqual(text("a"), "newer")
      })
    )
  )

  it.live("the commit syncs protected folders that the program changed", () =>
    inRoot(({ at, root }) =>
      Effect.gen(function* () {
        const files = new Map<number, string>()
        const synced: Array<string> = []
        const calls: Calls = {
          ...nodeCalls,
          open: (one, flags, mode) =>
            Effect.tap(nodeCalls.open(one, flags, mode), (file) => Effect.sync(() => files.set(file, String(one)))),
          sync: (file) =>
            Effect.suspend(() => {
              synced.push(files.get(file) ?? "")
              return nodeCalls.sync(file)
            })
        }
        yield* FileTransaction.protect("folder").pipe(
          Effect.zipRight(Effect.sync(() => fs.writeFileSync(at("folder/new"), ""))),
          FileTransaction.run(root),
          Effect.provideService(CurrentCalls, calls)
        )
        assert.includeMembers(synced, [at("folder"), at("folder/b"), at("folder/new")])
      })
    )
  )

  it.live("protect refuses paths of another file system", () =>
    inRoot(({ at, before, root }) =>
      Effect.gen(function* () {
        const lstat: Calls["lstat"] = (one) =>
          Effect.map(nodeCalls.lstat(one), (stats) => {
            if (stats !== undefined && String(one).startsWith(at("folder"))) Object.assign(stats, { dev: 4711n })
            return stats
          })
        const error = yield* FileTransaction.protect("folder/b").pipe(
          FileTransaction.run(root),
          Effect.provideService(CurrentCalls, { ...nodeCalls, lstat }),
          Effect.flip
        )
        assert.strictEqual(reasonOf(error), "OtherDevice")
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("with process-crash nothing is synced: by a commit, a rollback or a recovery", () =>
    inRoot((here) =>
      Effect.gen(function* () {
        const { before, root } = here
        const synced: Array<number> = []
        const sync: Calls["sync"] = (file) => Effect.sync(() => void synced.push(file))
        const fast = FileTransaction.run(root, { durability: "process-crash" })
        const withoutSync = <A, E, R>(self: Effect.Effect<A, E, R>) =>
          Effect.provideService(self, CurrentCalls, { ...nodeCalls, sync })
        const changes = Effect.gen(function* () {
          yield* FileTransaction.write("a", "new")
          yield* FileTransaction.move("folder/b", "b")
          fs.writeFileSync(path.join(yield* FileTransaction.protect("folder"), "c"), "new")
        })
        yield* Effect.zipRight(changes, Effect.fail("no")).pipe(fast, Effect.flip, withoutSync)
        assert.deepStrictEqual(treeOf(root), before)
        yield* leaveBehind(here, changes)
        yield* FileTransaction.read("a").pipe(fast, withoutSync)
        assert.deepStrictEqual(treeOf(root), before)
        yield* changes.pipe(fast, withoutSync)
        assert.deepStrictEqual(synced, [])
      }).pipe(Effect.scoped)
    )
  )

  it.live("a file system that cannot sync folders fails no commit, rollback or recovery", () =>
    inRoot((here) =>
      Effect.gen(function* () {
        const { at, before, root, text } = here
        for (const code of ["EINVAL", "ENOTSUP", "EOPNOTSUPP"]) {
          // As some network and FUSE file systems do.
          const sync: Calls["sync"] = (file) =>
            Effect.suspend(() =>
              fs.fstatSync(file).isDirectory() ? Effect.fail(errno(code, "not supported")) : nodeCalls.sync(file)
            )
          const within = <A, E, R>(self: Effect.Effect<A, E, R>) =>
            Effect.provideService(self, CurrentCalls, { ...nodeCalls, sync })
          const changes = Effect.zipRight(FileTransaction.write("a", "new"), FileTransaction.protect("folder"))
          yield* Effect.zipRight(changes, Effect.fail("no")).pipe(FileTransaction.run(root), Effect.flip, within)
          assert.deepStrictEqual(treeOf(root), before)
          yield* leaveBehind(here, changes)
          assert.isTrue(yield* within(FileTransaction.recover(root)))
          assert.deepStrictEqual(treeOf(root), before)
          yield* changes.pipe(FileTransaction.run(root), within)
          yield* within(AtomicFile.write(at("a"), "newer"))
          assert.strictEqual(text("a"), "newer")
          yield* within(AtomicFile.write(at("a"), "old a"))
        }
      }).pipe(Effect.scoped)
    )
  )

  it.live("concurrent updates of one file lose nothing, and an update may write other files", () =>
    inRoot(({ root, text }) =>
      Effect.gen(function* () {
        const update = FileTransaction.update("a", (found) =>
          Effect.gen(function* () {
            yield* Effect.yieldNow()
            yield* FileTransaction.write("a", "in between")
            yield* FileTransaction.write("c", "beside it")
            return `${Option.getOrThrow(found)}+`
          })
        )
        yield* Effect.replicateEffect(update, 5, { concurrency: "unbounded" }).pipe(FileTransaction.run(root))
        assert.deepStrictEqual([text("a"), text("c")], ["old a+++++", "beside it"])
      })
    )
  )
})

describe("FileTransaction, nested and concurrent parts", () => {
  it.live("a Transaction.run inside rolls back the files changed in it", () =>
    inRoot(({ before, root }) =>
      Effect.gen(function* () {
        yield* FileTransaction.write("a", "inner").pipe(
          Effect.zipRight(FileTransaction.makeDirectory("x/y")),
          Effect.zipRight(Effect.fail("no")),
          Transaction.run(),
          Effect.ignore,
          Effect.zipRight(Effect.sync(() => assert.strictEqual(fs.readFileSync(`${root}/a`, "utf8"), "old a"))),
          FileTransaction.run(root)
        )
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("a failing part does not undo what a concurrent part does to the same file", () =>
    inRoot(({ root, text }) =>
      Effect.gen(function* () {
        const hasWritten = yield* Deferred.make<void>()
        const failing = FileTransaction.write("a", "of the failing one").pipe(
          Effect.zipRight(Deferred.succeed(hasWritten, undefined)),
          Effect.zipRight(Effect.yieldNow()),
          Effect.zipRight(Effect.fail("no")),
          FileTransaction.run(root),
          Effect.ignore
        )
        const other = Effect.zipRight(
          Deferred.await(hasWritten),
          FileTransaction.update("a", (found) => Effect.succeed(`${Option.getOrThrow(found)}, and more`)).pipe(
            FileTransaction.run(root)
          )
        )
        yield* Effect.all([failing, other], { concurrency: "unbounded" }).pipe(Transaction.run())
        assert.strictEqual(text("a"), "old a, and more")
      })
    )
  )

  it.live("parts that wait for each other time out", () =>
    inRoot(({ root }) =>
      Effect.gen(function* () {
        const hasWritten = yield* Deferred.make<void>()
        const isRefused = yield* Deferred.make<void>()
        const first = FileTransaction.write("folder/new", "").pipe(
          Effect.zipRight(Deferred.succeed(hasWritten, undefined)),
          Effect.zipRight(Deferred.await(isRefused)),
          FileTransaction.run(root, { timeout: "20 millis" })
        )
        const second = Effect.zipRight(Deferred.await(hasWritten), FileTransaction.remove("folder")).pipe(
          FileTransaction.run(root, { timeout: "20 millis" }),
          Effect.exit,
          Effect.tap(Deferred.succeed(isRefused, undefined))
        )
        const [, exit] = yield* Effect.all([first, second], { concurrency: "unbounded" }).pipe(Transaction.run())
        assert.strictEqual(tagOf(exit), "LockTimeout")
      })
    )
  )
})

describe("FileTransaction, its end", () => {
  it.live("changes of a fiber that outlives it fail with Ended", () =>
    inRoot(({ before, root }) =>
      Effect.gen(function* () {
        const isOver = yield* Deferred.make<void>()
        const late = yield* Effect.zipRight(Deferred.await(isOver), FileTransaction.write("a", "late")).pipe(
          Effect.forkDaemon,
          FileTransaction.run(root)
        )
        yield* Deferred.succeed(isOver, undefined)
        const error = yield* Effect.flip(Fiber.join(late))
        assert.strictEqual(reasonOf(error), "Ended")
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("a transaction of a fiber that outlives it commits on its own", () =>
    inRoot(({ root }) =>
      Effect.gen(function* () {
        const other = yield* makeRoot
        const isOver = yield* Deferred.make<void>()
        const write = FileTransaction.write("a", "late").pipe(FileTransaction.run(other.root))
        const late = yield* Effect.zipRight(Deferred.await(isOver), write).pipe(
          Effect.forkDaemon,
          FileTransaction.run(root)
        )
        yield* Deferred.succeed(isOver, undefined)
        yield* Fiber.join(late)
        assert.deepStrictEqual(treeOf(other.root), { ...other.before, a: "644 1 late" })
        assert.deepStrictEqual(
          (yield* (yield* Lock.Lock).list).filter(({ state }) => state !== "free"),
          []
        )
      }).pipe(Effect.scoped)
    )
  )

  it.live("an interruption during the commit does not undo it", () =>
    inRoot(({ root, text }) =>
      Effect.gen(function* () {
        const isCommitting = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        const rename: Calls["rename"] = (from, to) =>
          String(to).endsWith(".done")
            ? Deferred.succeed(isCommitting, undefined).pipe(
                Effect.zipRight(Deferred.await(goOn)),
                Effect.zipRight(nodeCalls.rename(from, to))
              )
            : nodeCalls.rename(from, to)
        const fiber = yield* FileTransaction.write("a", "new").pipe(
          FileTransaction.run(root),
          Effect.provideService(CurrentCalls, { ...nodeCalls, rename }),
          Effect.fork
        )
        yield* Deferred.await(isCommitting)
        const interrupted = yield* Effect.fork(Fiber.interrupt(fiber))
        yield* Deferred.succeed(goOn, undefined)
        const exit = yield* Fiber.join(interrupted)
        assert.isTrue(Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause), String(exit))
        assert.strictEqual(text("a"), "new")
        assert.isFalse(yield* FileTransaction.recover(root))
      })
    )
  )

  it.live("a failing commit rolls back, also after an error that should have committed", () =>
    inRoot(({ before, root }) =>
      Effect.gen(function* () {
        const rename: Calls["rename"] = (from, to) =>
          String(to).endsWith(".done") && !isFree ? Effect.fail(errno("ENOSPC", "full")) : nodeCalls.rename(from, to)
        let isFree = false
        const exit = yield* FileTransaction.write("a", "new").pipe(
          Effect.zipRight(Effect.fail("keep")),
          FileTransaction.run(root, { rollbackWhen: () => false }),
          Effect.provideService(CurrentCalls, { ...nodeCalls, rename }),
          Effect.exit
        )
        isFree = true
        if (Exit.isSuccess(exit)) return assert.fail("the commit succeeded")
        assert.include([...Cause.failures(exit.cause)], "keep")
        yield* FileTransaction.recover(root)
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("closes its files, however it ends", () =>
    inRoot(({ at, root }) =>
      Effect.gen(function* () {
        let open = 0
        const counting: Calls = {
          ...nodeCalls,
          open: (...args) => Effect.tap(nodeCalls.open(...args), () => Effect.sync(() => open++)),
          close: (file) => Effect.tap(nodeCalls.close(file), () => Effect.sync(() => open--))
        }
        const { layer, lose } = losableLocks()
        const stuck = Effect.gen(function* () {
          yield* FileTransaction.makeDirectory("made")
          fs.writeFileSync(at("made/of-another-program"), "")
          return yield* Effect.fail("no")
        })
        const all: ReadonlyArray<[string, Effect.Effect<void, unknown, FileTransaction.FileTransaction>]> = [
          ["success", FileTransaction.write("a", "new")],
          ["RollbackFailed", stuck],
          ["LockLost", Effect.zipRight(FileTransaction.write("a", "new"), lose)]
        ]
        for (const [expected, ending] of all) {
          const exit = yield* ending.pipe(
            FileTransaction.run(root),
            Effect.provide(layer),
            Effect.provideService(CurrentCalls, counting),
            Effect.exit
          )
          assert.strictEqual(tagOf(exit), expected)
          assert.strictEqual(open, 0, expected)
          fs.rmSync(at("made"), { recursive: true, force: true })
          yield* FileTransaction.recover(root)
        }
      })
    )
  )
})

describe("FileTransaction, lost locks", () => {
  it.live("a loss found only by the commit fails it, and recover rolls back", () =>
    inRoot(({ before, root, text }) =>
      Effect.gen(function* () {
        const { layer, lose } = losableLocks()
        const transaction = Effect.zipRight(FileTransaction.write("a", "new"), lose).pipe(FileTransaction.run(root))
        assert.strictEqual(tagOf(yield* Effect.exit(Effect.provide(transaction, layer))), "LockLost")
        assert.strictEqual(text("a"), "new")
        assert.isTrue(yield* FileTransaction.recover(root))
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("after a loss a failing transaction undoes nothing and fails with RollbackFailed", () =>
    inRoot(({ before, root, text }) =>
      Effect.gen(function* () {
        const { layer, lose } = losableLocks()
        const exit = yield* FileTransaction.write("a", "new").pipe(
          Effect.zipRight(lose),
          Effect.zipRight(Effect.fail("no")),
          FileTransaction.run(root),
          Effect.provide(layer),
          Effect.exit
        )
        assert.strictEqual(tagOf(exit), "RollbackFailed")
        assert.strictEqual(text("a"), "new")
        assert.isTrue(yield* FileTransaction.recover(root))
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("after a loss changes are refused, also in finalizers", () =>
    inRoot(({ root, text }) =>
      Effect.gen(function* () {
        const { layer, lose } = losableLocks()
        const finalizer = FileTransaction.write("folder/b", "in the finalizer")
        const seen: Array<string> = []
        const transaction = FileTransaction.write("a", "new").pipe(
          Effect.zipRight(lose),
          Effect.zipRight(FileTransaction.write("a", "newer")),
          Effect.ensuring(Effect.map(Effect.exit(finalizer), (exit) => void seen.push(tagOf(exit)))),
          FileTransaction.run(root)
        )
        assert.strictEqual(tagOf(yield* Effect.exit(Effect.provide(transaction, layer))), "LockLost")
        assert.deepStrictEqual(seen, ["LockLost"])
        assert.deepStrictEqual([text("a"), text("folder/b")], ["new", "old b"])
      })
    )
  )

  it.live("a loss in a nested transaction fails the outermost one", () =>
    inRoot(({ root }) =>
      Effect.gen(function* () {
        const { layer, lose } = losableLocks()
        const inner = FileTransaction.write("a", "new").pipe(FileTransaction.run(root))
        const outer = Effect.zipRight(inner, lose).pipe(Transaction.run(), Effect.provide(layer))
        assert.strictEqual(tagOf(yield* Effect.exit(outer)), "RollbackFailed")
        assert.isTrue(yield* FileTransaction.recover(root))
      })
    )
  )
})
