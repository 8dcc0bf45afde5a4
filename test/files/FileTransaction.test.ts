import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { type Lock, Transaction } from "effect-recovery"
import { FileLock, FileTransaction } from "effect-recovery/files"
import { type Calls, CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { temporaryFolder } from "../support/files.js"
import { treeOf } from "../support/tree.js"

/** A folder with something of everything in it. */
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

const inRoot = <A, E>(use: (root: string, before: ReturnType<typeof treeOf>) => Effect.Effect<A, E, Lock.Lock>) =>
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
  it.live("does everything, and leaves nothing of its own behind", () =>
    inRoot((root) =>
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
    it.live(`after a ${name} everything is as it was`, () =>
      inRoot((root, before) =>
        Effect.gen(function* () {
          const exit = yield* Effect.exit(Effect.zipRight(everything, ending).pipe(FileTransaction.run(root)))
          assert.isTrue(Exit.isFailure(exit))
          if (Exit.isFailure(exit)) {
            assert.strictEqual(Cause.isInterruptedOnly(exit.cause), name === "interruption")
            if (name === "failure") assert.deepStrictEqual(Cause.failureOption(exit.cause), Option.some("no"))
          }
          assert.deepStrictEqual(treeOf(root), before)
        })
      )
    )
  }

  it.live("interrupted from outside in the middle, everything is as it was", () =>
    inRoot((root, before) =>
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

  it.live("a file keeps its inode, its times and its other names when it is put back", () =>
    inRoot((root) =>
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

  it.live("an error that is caught inside undoes nothing, a nested transaction undoes its own part", () =>
    inRoot((root) =>
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

  it.live("is part of the transaction around, in the order of its compensations", () =>
    inRoot((root, before) =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const note = (what: string) =>
          Effect.sync(() => void log.push(`${what} ${fs.readFileSync(path.join(root, "index.md"), "utf8")}`))
        const outer = Effect.gen(function* () {
          yield* note("did 1").pipe(Transaction.withCompensation(() => note("undid 1")))
          yield* FileTransaction.write("index.md", "new").pipe(FileTransaction.run(root))
          yield* note("did 2").pipe(Transaction.withCompensation(() => note("undid 2")))
          // The same root is open still: nobody waits for itself.
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

  it.live("keeps what was done for errors that do not roll back", () =>
    inRoot((root) =>
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

  it.live("says what cannot be undone, and goes on when somebody has mended it", () =>
    inRoot((root, before) =>
      Effect.gen(function* () {
        const error = yield* Effect.gen(function* () {
          yield* FileTransaction.write("index.md", "new")
          yield* FileTransaction.makeDirectory("made")
          fs.writeFileSync(path.join(root, "made/of-somebody-else"), "")
          return yield* Effect.fail("no")
        }).pipe(FileTransaction.run(root), Effect.flip)
        assert.isTrue(error instanceof Transaction.RollbackFailed, String(error))
        if (!(error instanceof Transaction.RollbackFailed)) return
        assert.deepStrictEqual(Cause.failureOption(error.original), Option.some("no"))
        assert.match(String(error.failures[0]?.undo), /Making/)
        assert.match(Cause.pretty(error.failures[0]?.cause ?? Cause.empty), /the folder is not empty/)
        const next = yield* Effect.flip(FileTransaction.read("index.md").pipe(FileTransaction.run(root)))
        assert.isTrue(next._tag === "FileError" && next.reason === "NotEmpty" && next.path === "made", String(next))
        fs.rmSync(path.join(root, "made/of-somebody-else"))
        assert.isTrue(yield* FileTransaction.recover(root))
        assert.deepStrictEqual(treeOf(root), before)
        assert.isFalse(yield* FileTransaction.recover(root))
      })
    )
  )

  it.live("one root has one transaction at a time, and a file no update meanwhile", () =>
    inRoot((root) =>
      Effect.gen(function* () {
        const increment = Effect.gen(function* () {
          const count = yield* FileTransaction.update("counter", (text) =>
            Effect.zipRight(Effect.yieldNow(), Effect.succeed(`${Number(Option.getOrElse(text, () => "0")) + 1}`))
          )
          yield* FileTransaction.write("copy", count)
        }).pipe(FileTransaction.run(root, { durability: "process-crash" }))
        yield* Effect.replicateEffect(increment, 25, { concurrency: "unbounded" })
        assert.strictEqual(fs.readFileSync(path.join(root, "counter"), "utf8"), "25")
        assert.strictEqual(fs.readFileSync(path.join(root, "copy"), "utf8"), "25")
      })
    )
  )

  it.live("fibers of one transaction may change files beside one another", () =>
    inRoot((root, before) =>
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

  it.live("refuses what leads out of the root, what is not there, and what is something else", () =>
    inRoot((root, before) =>
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
          assert.isTrue(error._tag === "FileError" && error.reason === reason, String(error))
        }
      })
    )
  )

  it.live("a file that another process deletes meanwhile comes back", () =>
    inRoot((root, before) =>
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

  it.live("a write that fails and is caught leaves no second name behind that could change with the file", () =>
    inRoot((root, before) =>
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

  it.live("a damaged journal is refused, and names itself", () =>
    inRoot((root) =>
      Effect.gen(function* () {
        const folder = path.join(root, ".file-transaction")
        const copy = path.join(root, "copy")
        yield* Effect.gen(function* () {
          yield* FileTransaction.write("index.md", "new")
          yield* FileTransaction.write("index.md", "newer")
          fs.cpSync(folder, copy, { recursive: true })
        }).pipe(FileTransaction.run(root))
        fs.renameSync(copy, folder)
        const journal = path.join(folder, "journal")
        const text = fs.readFileSync(journal, "utf8")
        fs.writeFileSync(journal, text.replace('"n":1', '"n":7'))
        const error = yield* Effect.flip(FileTransaction.recover(root))
        assert.isTrue(error._tag === "FileError" && error.reason === "Damaged" && error.path === journal, String(error))
        // A last line that was cut off while it was written is no damage.
        fs.writeFileSync(journal, `${text}0123456789abcdef {"kind":"rem`)
        assert.isTrue(yield* FileTransaction.recover(root))
        assert.strictEqual(fs.readFileSync(path.join(root, "index.md"), "utf8"), "old index")
      })
    )
  )
})
