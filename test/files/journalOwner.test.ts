import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Lock } from "effect-recovery"
import { FileLock, FileTransaction } from "effect-recovery/files"
import { vi } from "vitest"
import { type Calls, CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { thisProcess } from "../../src/host/owner.js"
import { useProgram } from "../support/children.js"
import { temporaryFolder } from "../support/files.js"
import { inRoot, leaveBehind, makeRoot, tagOf, withOtherLocks } from "../support/fileTransactions.js"
import { passTime } from "../support/time.js"
import { treeOf } from "../support/tree.js"

const impatient = { timeout: 0 }

const stateIn = (root: string) =>
  fs.readdirSync(path.join(root, ".file-transaction")).find((name) => /^(held|free)~/.test(name)) ?? ""

describe("the journal of a living transaction, beside programs with other locks", () => {
  it.live("refuses their transactions and recoveries by naming its owner, and changes nothing", () =>
    inRoot(({ before, root, text }) =>
      Effect.gen(function* () {
        const failing = Effect.gen(function* () {
          yield* FileTransaction.write("a", "new")
          const other = FileTransaction.write("folder/b", "other").pipe(FileTransaction.run(root, impatient))
          for (const attempt of [other, FileTransaction.recover(root, impatient)]) {
            const error = yield* Effect.flip(Effect.flatten(withOtherLocks(attempt)))
            if (error._tag !== "LockTimeout") return assert.fail(String(error))
            assert.include(error.message, root)
            assert.match(error.status.owner ?? "", new RegExp(`^${thisProcess()}/`))
          }
          assert.strictEqual(text("a"), "new")
          assert.strictEqual(text("folder/b"), "old b")
          return yield* Effect.fail("no")
        })
        assert.strictEqual<unknown>(yield* Effect.flip(failing.pipe(FileTransaction.run(root))), "no")
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("lets them wait until it has ended", () =>
    inRoot(({ root, text }) =>
      Effect.gen(function* () {
        const isWaiting = yield* Deferred.make<void>()
        const readdir: Calls["readdir"] = (at) =>
          Effect.zipRight(
            at.endsWith(".file-transaction") ? Deferred.succeed(isWaiting, undefined) : Effect.void,
            nodeCalls.readdir(at)
          )
        const other = FileTransaction.update("a", (found) => Effect.map(found, (a) => `${a} and newer`)).pipe(
          FileTransaction.run(root),
          Effect.provideService(CurrentCalls, { ...nodeCalls, readdir })
        )
        const waiting = yield* Effect.gen(function* () {
          yield* FileTransaction.write("a", "new")
          const fiber = Effect.runFork(withOtherLocks(other))
          yield* Deferred.await(isWaiting)
          return fiber
        }).pipe(FileTransaction.run(root))
        assert.isTrue(Exit.isSuccess(yield* Fiber.join(waiting)))
        assert.strictEqual(text("a"), "new and newer")
        assert.notInclude(fs.readdirSync(root), ".file-transaction")
      })
    )
  )

  it.live("is there from its first moment: two first changes do not mix", () =>
    inRoot(({ root, text }) =>
      Effect.gen(function* () {
        // Both have opened the root before one of them makes its first change.
        const opened = yield* Deferred.make<void>()
        const other = Effect.gen(function* () {
          yield* FileTransaction.read("a")
          yield* Deferred.succeed(opened, undefined)
          yield* FileTransaction.write("a", "other")
        }).pipe(FileTransaction.run(root))
        const fiber = yield* Effect.gen(function* () {
          const fiber = Effect.runFork(withOtherLocks(other))
          yield* Deferred.await(opened)
          yield* FileTransaction.write("folder/b", "new b")
          return fiber
        }).pipe(FileTransaction.run(root))
        assert.isTrue(Exit.isSuccess(yield* Fiber.join(fiber)))
        assert.deepStrictEqual([text("a"), text("folder/b")], ["other", "new b"])
      })
    )
  )
})

describe("the journal of an owner that was paused", () => {
  it.live("and that another host has taken meanwhile: the owner changes nothing more, and undoes nothing", () =>
    inRoot(({ at, root, text }) =>
      Effect.gen(function* () {
        const error = yield* Effect.gen(function* () {
          yield* FileTransaction.write("a", "new")
          const state = stateIn(root)
          fs.renameSync(
            at(`.file-transaction/${state}`),
            at(`.file-transaction/${state.replace(/~[^~]*~\d+$/, "~elsewhere-0123+1@1+x~0")}`)
          )
          // An hour later, as after the sleep of a machine.
          const now = Date.now()
          yield* Effect.acquireRelease(
            Effect.sync(() => vi.spyOn(Date, "now").mockReturnValue(now + 3_600_000)),
            (clock) => Effect.sync(() => clock.mockRestore())
          )
          yield* FileTransaction.write("folder/b", "new")
        }).pipe(Effect.scoped, FileTransaction.run(root), Effect.exit)
        assert.strictEqual(tagOf(error), "LockLost")
        assert.deepStrictEqual([text("a"), text("folder/b")], ["new", "old b"])
        assert.include(stateIn(root), "elsewhere")
      })
    )
  )
})

describe("the journal of a dead process", () => {
  it.live("is undone by one of several recoveries with different locks", () =>
    Effect.gen(function* () {
      for (let round = 0; round < 10; round++) {
        const here = yield* makeRoot
        const changes = Effect.all([
          FileTransaction.write("a", "new"),
          FileTransaction.remove("folder"),
          FileTransaction.write("c", "created")
        ])
        yield* leaveBehind(here, changes).pipe(Effect.provide(FileLock.layer({ folder: yield* temporaryFolder })))
        const recovery = Effect.flatten(withOtherLocks(FileTransaction.recover(here.root)))
        const recovered = yield* Effect.all([recovery, recovery, recovery], { concurrency: "unbounded" })
        assert.deepStrictEqual(recovered.filter(Boolean), [true], `round ${round}`)
        assert.deepStrictEqual(treeOf(here.root), here.before)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("of another host is undone once it was seen without a heartbeat for 20 seconds", () =>
    inRoot((here) =>
      Effect.gen(function* () {
        const { at, before, root } = here
        yield* leaveBehind(here, FileTransaction.write("a", "new"))
        const state = stateIn(root).replace(/~[^~]*~(\d+)$/, "~elsewhere-0123+1@1+x~$1")
        fs.renameSync(at(`.file-transaction/${stateIn(root)}`), at(`.file-transaction/${state}`))
        const refused = yield* Effect.exit(FileTransaction.recover(root, impatient))
        assert.strictEqual(tagOf(refused), "LockTimeout")
        const recovering = yield* Effect.fork(FileTransaction.recover(root))
        assert.isTrue(yield* passTime(recovering, "1 second"))
        assert.deepStrictEqual(treeOf(root), before)
      }).pipe(Effect.scoped)
    )
  )

  for (const [what, name] of [
    ["of an earlier version, which names no owner,", "state"],
    ["that was not begun", "journal"]
  ] as const) {
    it.live(`${what} is undone as before`, () =>
      inRoot((here) =>
        Effect.gen(function* () {
          const { at, before, root } = here
          yield* leaveBehind(here, name === "state" ? FileTransaction.remove("folder") : FileTransaction.read("a"))
          if (name === "state") fs.rmSync(at(`.file-transaction/${stateIn(root)}`))
          else fs.mkdirSync(at(".file-transaction"))
          assert.strictEqual(yield* FileTransaction.recover(root), name === "state")
          assert.deepStrictEqual(treeOf(root), before)
        }).pipe(Effect.scoped)
      )
    )
  }
})

describe("the journal of another process", () => {
  const { folder, start } = useProgram("heldTransaction.ts")

  it("is left alone while the process lives, and undone once it was killed", async () => {
    const root = path.join(folder, "root")
    fs.mkdirSync(root)
    fs.writeFileSync(path.join(root, "a"), "old")
    const child = start(root, path.join(folder, "locks"))
    await child.line((line) => line === "changed")
    const recover = (options?: Lock.Options) =>
      FileTransaction.recover(root, options).pipe(
        Effect.provide(FileLock.layer({ folder: path.join(folder, "other-locks") }))
      )
    const error = await Effect.runPromise(Effect.flip(recover(impatient)))
    assert.strictEqual(error._tag, "LockTimeout")
    assert.include(error.message, `/${child.pid}@`)
    assert.strictEqual(fs.readFileSync(path.join(root, "a"), "utf8"), "new")
    child.signal("SIGKILL")
    await child.exited
    assert.isTrue(await Effect.runPromise(recover()))
    assert.strictEqual(fs.readFileSync(path.join(root, "a"), "utf8"), "old")
  })
})
