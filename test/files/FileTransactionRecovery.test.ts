import * as crypto from "node:crypto"
import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Lock } from "effect-recovery"
import { FileTransaction } from "effect-recovery/files"
import {
  inRoot,
  leaveBehind,
  losableLocks,
  makeRoot,
  reasonOf,
  tagOf,
  unprivileged
} from "../support/fileTransactions.js"
import { treeOf } from "../support/tree.js"

describe("FileTransaction.recover", () => {
  const hostile = {
    "a path that leads out": { kind: "remove", n: 1, path: "../outside" },
    "an absolute path": { kind: "create", n: 1, path: "/outside" },
    "a path into the journal": { kind: "create", n: 1, path: ".file-transaction/journal" },
    "a second path that leads out": { kind: "move", n: 1, path: "a", to: "folder/../../outside" },
    "a number that is a path": { kind: "remove", n: "../../x", path: "a" },
    "an unknown kind": { kind: "constructor", n: 1, path: "a" }
  }
  for (const [name, entry] of Object.entries(hostile)) {
    it.live(`refuses a journal with ${name}`, () =>
      inRoot(({ at, root }) =>
        Effect.gen(function* () {
          const json = JSON.stringify(entry)
          const sum = crypto.createHash("sha256").update(json).digest("hex").slice(0, 16)
          fs.mkdirSync(at(".file-transaction"))
          fs.writeFileSync(at(".file-transaction/1.old"), "hostile")
          fs.writeFileSync(at(".file-transaction/journal"), `+${sum} ${json}\n`)
          const before = treeOf(root)
          assert.strictEqual(reasonOf(yield* Effect.flip(FileTransaction.recover(root))), "Damaged")
          // The lock of the journal was held and released.
          const changed = Object.entries(treeOf(root)).filter(([one]) => !one.includes("/free~"))
          assert.deepStrictEqual(Object.fromEntries(changed), before)
        })
      )
    )
  }

  it.live("refuses a folder that was replaced by a link", () =>
    inRoot((here) =>
      Effect.gen(function* () {
        const { at, root } = here
        const outside = yield* makeRoot
        yield* leaveBehind(here, FileTransaction.write("folder/b", "new"))
        fs.rmSync(at("folder"), { recursive: true })
        fs.symlinkSync(outside.at("folder"), at("folder"))
        assert.strictEqual(reasonOf(yield* Effect.flip(FileTransaction.recover(root))), "Outside")
        assert.deepStrictEqual(treeOf(outside.root), outside.before)
      }).pipe(Effect.scoped)
    )
  )

  it.live("keeps the changes if they are on record elsewhere as made", () =>
    inRoot((here) =>
      Effect.gen(function* () {
        const { at, root, text } = here
        yield* leaveBehind(here, FileTransaction.write("a", "new"))
        assert.isTrue(yield* FileTransaction.recover(root, { commit: true }))
        assert.strictEqual(text("a"), "new")
        assert.isFalse(fs.existsSync(at(".file-transaction")))
        assert.isFalse(yield* FileTransaction.recover(root))
        assert.strictEqual(text("a"), "new")
      }).pipe(Effect.scoped)
    )
  )

  it.live("waits for the locks of the files", () =>
    inRoot((here) =>
      Effect.gen(function* () {
        const { at, before, root, text } = here
        yield* leaveBehind(here, FileTransaction.write("a", "new"))
        const recovered = Effect.flatten(
          Effect.map(Effect.context<Lock.Lock>(), (context) =>
            Effect.promise(() =>
              Effect.runPromiseExit(Effect.provide(FileTransaction.recover(root, { timeout: 0 }), context))
            )
          )
        )
        const exit = yield* Lock.withLock(recovered, Lock.resource(at("a")))
        assert.strictEqual(tagOf(exit), "LockTimeout")
        assert.strictEqual(text("a"), "new")
        assert.isTrue(yield* FileTransaction.recover(root))
        assert.deepStrictEqual(treeOf(root), before)
      }).pipe(Effect.scoped)
    )
  )

  it.live("waits for a living transaction", () =>
    inRoot(({ root, text }) =>
      Effect.gen(function* () {
        const context = yield* Effect.context<Lock.Lock>()
        const recover = Effect.promise(() =>
          Effect.runPromiseExit(Effect.provide(FileTransaction.recover(root, { timeout: 0 }), context))
        )
        const exit = yield* Effect.zipRight(FileTransaction.write("a", "new"), recover).pipe(FileTransaction.run(root))
        assert.strictEqual(tagOf(exit), "LockTimeout")
        assert.strictEqual(text("a"), "new")
      })
    )
  )
})

describe("FileTransaction, rollback", () => {
  it.live("without its journal a rollback removes nothing", () =>
    inRoot(({ at, root, text }) =>
      Effect.gen(function* () {
        const exit = yield* FileTransaction.write("new", "new").pipe(
          Effect.zipRight(Effect.sync(() => fs.rmSync(at(".file-transaction"), { recursive: true }))),
          Effect.zipRight(Effect.fail("no")),
          FileTransaction.run(root),
          Effect.exit
        )
        assert.strictEqual(tagOf(exit), "RollbackFailed")
        assert.strictEqual(text("new"), "new")
      })
    )
  )

  it.live("restores restricted folders, and remove deletes them completely", () =>
    inRoot(({ at, root }) =>
      Effect.gen(function* () {
        fs.mkdirSync(at("tree/tight"), { recursive: true })
        fs.writeFileSync(at("tree/tight/file"), "tight")
        fs.mkdirSync(at("tight"))
        fs.writeFileSync(at("tight/file"), "tight")
        for (const name of ["tree/tight", "tight"]) fs.chmodSync(at(name), 0o555)
        yield* Effect.gen(function* () {
          const before = treeOf(root)
          yield* FileTransaction.protect("tree").pipe(
            Effect.zipRight(FileTransaction.protect("tight")),
            Effect.zipRight(Effect.fail("no")),
            FileTransaction.run(root),
            Effect.flip
          )
          assert.deepStrictEqual(treeOf(root), before)
          yield* FileTransaction.protect("tight").pipe(FileTransaction.run(root))
          yield* FileTransaction.remove("tree").pipe(FileTransaction.run(root))
          yield* FileTransaction.write("a", "after it").pipe(FileTransaction.run(root))
          assert.deepStrictEqual(
            fs.readdirSync(root).filter((name) => name.startsWith(".")),
            []
          )
        }).pipe((self) => unprivileged(root, self))
      }).pipe(Effect.provide(losableLocks().layer))
    )
  )

  it.live("restores names that are not valid UTF-8", () =>
    inRoot(({ at, root }) =>
      Effect.gen(function* () {
        const odd = Buffer.concat([Buffer.from(at("folder/")), Buffer.from([0x66, 0xff, 0xfe])])
        fs.writeFileSync(odd, "odd")
        fs.symlinkSync(Buffer.from([0xfa, 0xfb]), at("folder/link"))
        const names = () => fs.readdirSync(at("folder"), "buffer").map(String)
        const before = names()
        yield* FileTransaction.protect("folder").pipe(
          Effect.zipRight(Effect.sync(() => fs.rmSync(at("folder"), { recursive: true }))),
          Effect.zipRight(Effect.fail("no")),
          FileTransaction.run(root),
          Effect.flip
        )
        assert.deepStrictEqual(names(), before)
        assert.strictEqual(fs.readFileSync(odd, "utf8"), "odd")
        assert.deepStrictEqual(fs.readlinkSync(at("folder/link"), "buffer"), Buffer.from([0xfa, 0xfb]))
        yield* FileTransaction.remove("folder").pipe(FileTransaction.run(root))
        assert.deepStrictEqual(fs.readdirSync(root), ["a"])
      })
    )
  )
})
