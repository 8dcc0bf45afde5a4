/** One test for each defect that was found in the transactions and writes of files. */
import * as childProcess from "node:child_process"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Lock, Transaction } from "effect-recovery"
import { AtomicFile, FileLock, FileTransaction } from "effect-recovery/files"
import { type Calls, CurrentCalls, errno, nodeCalls } from "../../src/files/internal/system/calls.js"
import { temporaryFolder } from "../support/files.js"
import { treeOf } from "../support/tree.js"

interface Place {
  readonly root: string
  /** The path of a name in it. */
  readonly at: (name: string) => string
  readonly text: (name: string) => string
  readonly before: ReturnType<typeof treeOf>
}

const place = Effect.map(temporaryFolder, (folder): Place => {
  const root = fs.realpathSync(folder)
  const at = (name: string) => path.join(root, name)
  fs.mkdirSync(at("folder"))
  fs.writeFileSync(at("a"), "old a")
  fs.writeFileSync(at("folder/b"), "old b")
  return { root, at, text: (name) => fs.readFileSync(at(name), "utf8"), before: treeOf(root) }
})

const fileLocks = Layer.unwrapScoped(Effect.map(temporaryFolder, (folder) => FileLock.layer({ folder })))

/** With locks of a process of its own. */
const inProcess = <A, E>(self: Effect.Effect<A, E, Lock.Lock>) => Effect.provide(self, fileLocks)

const inPlace = <A, E>(use: (place: Place) => Effect.Effect<A, E, Lock.Lock>) =>
  Effect.scoped(Effect.flatMap(place, (found) => inProcess(use(found))))

/** Locks that everybody gets, and a test can take away. */
const lossy = () => {
  const state = { isLost: false }
  const grip = { token: 1, renew: Effect.sync(() => !state.isLost), release: Effect.sync(() => !state.isLost) }
  const locks = Lock.make({
    keyOf: (name) => Effect.succeed(Lock.format(name)),
    attempt: () => Effect.succeed({ _tag: "Acquired", grip }),
    status: (lock) => Effect.succeed({ lock, state: "held", token: 1, owner: "a", since: 0 }),
    list: Effect.succeed([]),
    cleanup: () => Effect.succeed(0),
    heartbeat: "1 hour",
    patience: "2 hours",
    poll: "10 millis"
  })
  const lose = Effect.sync(() => {
    state.isLost = true
  })
  return { lose, layer: Layer.succeed(Lock.Lock, locks) }
}

const tagOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.match(exit, {
    onSuccess: () => "success",
    onFailure: (cause) =>
      Option.match(Cause.failureOption(cause), {
        onNone: () => Cause.pretty(cause),
        onSome: (error) => (error as { readonly _tag: string })._tag
      })
  })

const reasonOf = (error: unknown): string => (error as { readonly reason: string }).reason

/** As a user who is not allowed everything. */
const asNobody = <A, E, R>(root: string, self: Effect.Effect<A, E, R>) => {
  if (process.getuid?.() !== 0) return self
  const give = (at: string) => {
    fs.lchownSync(at, 65534, 65534)
    if (fs.lstatSync(at).isDirectory()) for (const name of fs.readdirSync(at)) give(path.join(at, name))
  }
  const become = (id: number) =>
    Effect.sync(() => {
      // Only root may change its group.
      process.seteuid?.(0)
      process.setegid?.(id)
      process.seteuid?.(id)
    })
  return Effect.acquireUseRelease(
    Effect.zipRight(
      Effect.sync(() => give(root)),
      become(65534)
    ),
    () => self,
    () => become(0)
  )
}

describe("a transaction that has lost its locks", () => {
  it.live("is not committed, though nobody has told it; the next one undoes it", () =>
    inPlace(({ before, root, text }) =>
      Effect.gen(function* () {
        const { layer, lose } = lossy()
        const transaction = Effect.zipRight(FileTransaction.write("a", "new"), lose).pipe(FileTransaction.run(root))
        assert.strictEqual(tagOf(yield* Effect.exit(Effect.provide(transaction, layer))), "LockLost")
        assert.strictEqual(text("a"), "new")
        assert.isTrue(yield* FileTransaction.recover(root))
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("undoes nothing any more, and says so", () =>
    inPlace(({ before, root, text }) =>
      Effect.gen(function* () {
        const { layer, lose } = lossy()
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

  it.live("changes nothing any more, and does not hang where nothing can interrupt it", () =>
    inPlace(({ root, text }) =>
      Effect.gen(function* () {
        const { layer, lose } = lossy()
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

  it.live("inside of another one that goes on: that one does not succeed", () =>
    inPlace(({ root }) =>
      Effect.gen(function* () {
        const { layer, lose } = lossy()
        const inner = FileTransaction.write("a", "new").pipe(FileTransaction.run(root))
        const outer = Effect.zipRight(inner, lose).pipe(Transaction.run(), Effect.provide(layer))
        assert.strictEqual(tagOf(yield* Effect.exit(outer)), "RollbackFailed")
        assert.isTrue(yield* FileTransaction.recover(root))
      })
    )
  )

  it.live("an update that has lost its lock writes nothing", () =>
    inPlace(({ at, text }) =>
      Effect.gen(function* () {
        for (const change of [AtomicFile.append, AtomicFile.write]) {
          const { layer, lose } = lossy()
          const update = AtomicFile.update(at("a"), () => Effect.as(lose, "new"))
          const losing: Partial<Calls> = { readFile: (file) => Effect.zipLeft(nodeCalls.readFile(file), lose) }
          const append = Effect.provideService(AtomicFile.append(at("a"), "more"), CurrentCalls, {
            ...nodeCalls,
            ...losing
          })
          const changing = change === AtomicFile.append ? append : update
          assert.strictEqual(tagOf(yield* Effect.exit(Effect.provide(changing, layer))), "LockLost")
          assert.strictEqual(text("a"), "old a")
        }
      })
    )
  )
})

describe("a transaction that is over", () => {
  it.live("refuses what a fiber still wants to change that nobody waited for", () =>
    inPlace(({ before, root }) =>
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

  it.live("does not take in another one that begins later: that one ends by itself", () =>
    inPlace(({ root }) =>
      Effect.gen(function* () {
        const other = yield* place
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

  it.live("interrupted while it is committed, it is committed", () =>
    inPlace(({ root, text }) =>
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

  it.live("that cannot be committed undoes also what an error should have kept", () =>
    inPlace(({ before, root }) =>
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
        assert.isTrue(Exit.isFailure(exit) && [...Cause.failures(exit.cause)].some((error) => error === "keep"))
        yield* FileTransaction.recover(root)
        assert.deepStrictEqual(treeOf(root), before)
      })
    )
  )

  it.live("has closed its journal, whatever has happened", () =>
    inPlace(({ at, root }) =>
      Effect.gen(function* () {
        let open = 0
        const counting: Calls = {
          ...nodeCalls,
          open: (...args) => Effect.tap(nodeCalls.open(...args), () => Effect.sync(() => open++)),
          close: (file) => Effect.tap(nodeCalls.close(file), () => Effect.sync(() => open--))
        }
        const { layer, lose } = lossy()
        const stuck = Effect.gen(function* () {
          yield* FileTransaction.makeDirectory("made")
          fs.writeFileSync(at("made/of-somebody-else"), "")
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

describe("parts of one transaction", () => {
  it.live("beside one another do not undo what the other one does to the same file", () =>
    inPlace(({ root, text }) =>
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

  it.live("do not wait for ever for one another", () =>
    inPlace(({ root }) =>
      Effect.gen(function* () {
        const hasWritten = yield* Deferred.make<void>()
        const isRefused = yield* Deferred.make<void>()
        const first = FileTransaction.write("folder/new", "").pipe(
          Effect.zipRight(Deferred.succeed(hasWritten, undefined)),
          Effect.zipRight(Deferred.await(isRefused)),
          FileTransaction.run(root, { timeout: "20 millis" })
        )
        const second = Effect.zipRight(Deferred.await(hasWritten), FileTransaction.remove("folder")).pipe(
          FileTransaction.run(root),
          Effect.exit,
          Effect.tap(Deferred.succeed(isRefused, undefined))
        )
        const [, exit] = yield* Effect.all([first, second], { concurrency: "unbounded" }).pipe(Transaction.run())
        assert.strictEqual(tagOf(exit), "LockTimeout")
      })
    )
  )

  it.live("fibers that update one file lose nothing, and an update may change more", () =>
    inPlace(({ root, text }) =>
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

  it.live("a plain transaction inside undoes the files that were changed in it", () =>
    inPlace(({ before, root }) =>
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
})

/** Leaves what a process leaves that was killed after its changes. */
const leaveBehind = ({ at, root }: Place, changes: Effect.Effect<unknown, unknown, FileTransaction.FileTransaction>) =>
  Effect.gen(function* () {
    const copy = yield* temporaryFolder
    yield* Effect.zipRight(
      changes,
      Effect.sync(() => fs.cpSync(root, copy, { recursive: true, preserveTimestamps: true }))
    ).pipe(FileTransaction.run(root))
    for (const name of fs.readdirSync(root)) fs.rmSync(at(name), { recursive: true })
    fs.cpSync(copy, root, { recursive: true })
  })

describe("a recovery", () => {
  const hostile = {
    "a path that leads out": { kind: "remove", n: 1, path: "../outside" },
    "a path that is no relative one": { kind: "create", n: 1, path: "/outside" },
    "a path of its own": { kind: "create", n: 1, path: ".file-transaction/journal" },
    "a second path that leads out": { kind: "move", n: 1, path: "a", to: "folder/../../outside" },
    "a number that is a path": { kind: "remove", n: "../../x", path: "a" },
    "a kind nobody knows": { kind: "constructor", n: 1, path: "a" }
  }
  for (const [name, entry] of Object.entries(hostile)) {
    it.live(`refuses a journal with ${name}`, () =>
      inPlace(({ at, root }) =>
        Effect.gen(function* () {
          const json = JSON.stringify(entry)
          const sum = crypto.createHash("sha256").update(json).digest("hex").slice(0, 16)
          fs.mkdirSync(at(".file-transaction"))
          fs.writeFileSync(at(".file-transaction/1.old"), "hostile")
          fs.writeFileSync(at(".file-transaction/journal"), `+${sum} ${json}\n`)
          const before = treeOf(root)
          assert.strictEqual(reasonOf(yield* Effect.flip(FileTransaction.recover(root))), "Damaged")
          assert.deepStrictEqual(treeOf(root), before)
        })
      )
    )
  }

  it.live("does not follow a link that was put in the place of a folder", () =>
    inPlace((here) =>
      Effect.gen(function* () {
        const { at, root } = here
        const outside = yield* place
        yield* leaveBehind(here, FileTransaction.write("folder/b", "new"))
        fs.rmSync(at("folder"), { recursive: true })
        fs.symlinkSync(outside.at("folder"), at("folder"))
        assert.strictEqual(reasonOf(yield* Effect.flip(FileTransaction.recover(root))), "Outside")
        assert.deepStrictEqual(treeOf(outside.root), outside.before)
      }).pipe(Effect.scoped)
    )
  )

  it.live("waits for whoever is changing one of the files", () =>
    inPlace((here) =>
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

  it.live("touches nothing of a living transaction", () =>
    inPlace(({ root, text }) =>
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

describe("an undo", () => {
  it.live("without its journal removes nothing", () =>
    inPlace(({ at, root, text }) =>
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

  it.live("brings back folders nobody may change, and whoever removes them leaves nothing", () =>
    inPlace(({ at, root }) =>
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
        }).pipe((self) => asNobody(root, self))
      }).pipe(Effect.provide(lossy().layer))
    )
  )

  it.live("brings back names that are no text", () =>
    inPlace(({ at, root }) =>
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

  it.live("of what lies on another file system is refused before it is needed", () =>
    inPlace(({ at, before, root }) =>
      Effect.gen(function* () {
        const lstat: Calls["lstat"] = (one) =>
          Effect.map(nodeCalls.lstat(one), (stats) => {
            if (stats !== undefined && String(one).startsWith(at("folder"))) stats.dev = 4711
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
})

describe("a change", () => {
  it.live("puts on disk what the program has written itself", () =>
    inPlace(({ at, root }) =>
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

  it.live("that fails before there is a journal does not keep the next one from it", () =>
    inPlace(({ root, text }) =>
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

  it.live("of a pipe is refused, and does not wait for somebody to write to it", () =>
    inPlace(({ at, root }) =>
      Effect.gen(function* () {
        childProcess.execFileSync("mkfifo", [at("pipe")])
        const change = () => Effect.succeed("new")
        const errors = [
          yield* Effect.flip(AtomicFile.update(at("pipe"), change)),
          yield* Effect.flip(FileTransaction.read("pipe").pipe(FileTransaction.run(root))),
          yield* Effect.flip(FileTransaction.update("pipe", change).pipe(FileTransaction.run(root)))
        ]
        assert.deepStrictEqual(errors.map(reasonOf), ["NotAFile", "NotAFile", "NotAFile"])
      })
    )
  )

  it.live("keeps a byte order mark", () =>
    inPlace(({ at, root, text }) =>
      Effect.gen(function* () {
        const same = (found: Option.Option<string>) => Effect.succeed(Option.getOrThrow(found))
        fs.writeFileSync(at("a"), "\uFEFFmarked")
        yield* AtomicFile.update(at("a"), same)
        yield* FileTransaction.update("a", same).pipe(FileTransaction.run(root))
        assert.strictEqual(text("a"), "\uFEFFmarked")
      })
    )
  )

  it.live("moves one of two names of a file to the other", () =>
    inPlace(({ at, before, root }) =>
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

  it.live("takes a full path that leads to the root by a link", () =>
    inPlace(({ root, text }) =>
      Effect.gen(function* () {
        const link = path.join(yield* temporaryFolder, "link")
        fs.symlinkSync(root, link)
        yield* FileTransaction.write(path.join(link, "a"), "new").pipe(FileTransaction.run(link))
        assert.strictEqual(text("a"), "new")
      }).pipe(Effect.scoped)
    )
  )

  it.live("is made to what the link leads to when its turn has come", () =>
    inPlace(({ at, root, text }) =>
      Effect.gen(function* () {
        fs.symlinkSync("a", at("link"))
        const context = yield* Effect.context<Lock.Lock>()
        const isAsked = yield* Deferred.make<void>()
        const realpath: Calls["realpath"] = (one) =>
          Effect.zipLeft(nodeCalls.realpath(one), Deferred.succeed(isAsked, undefined))
        const update = AtomicFile.update(at("link"), () => Effect.succeed("new")).pipe(
          Effect.provideService(CurrentCalls, { ...nodeCalls, realpath })
        )
        const updated = yield* Lock.withLock(
          Effect.gen(function* () {
            const promise = Effect.runPromise(Effect.provide(update, context))
            yield* Deferred.await(isAsked)
            fs.rmSync(at("link"))
            fs.symlinkSync("folder/b", at("link"))
            return promise
          }),
          Lock.resource(at("a"))
        )
        yield* Effect.promise(() => updated)
        assert.deepStrictEqual([text("a"), text("folder/b"), root], ["old a", "new", root])
      })
    )
  )

  it.live("that makes several folders makes all of them, or none", () =>
    inPlace(({ before, root }) =>
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

  it.live("in a folder that cannot be put on disk is refused before it is made", () =>
    inPlace(({ at, root, text }) =>
      Effect.gen(function* () {
        fs.chmodSync(at("folder"), 0o333)
        const error = yield* asNobody(root, Effect.flip(AtomicFile.write(at("folder/b"), "new")))
        assert.strictEqual(error.reason, "Permission")
        assert.strictEqual(text("folder/b"), "old b")
        fs.chmodSync(at("folder"), 0o755)
        assert.deepStrictEqual(fs.readdirSync(at("folder")), ["b"])
      })
    )
  )

  it.live("does not let a program of another owner run as this user", () =>
    inPlace(({ at, root }) =>
      Effect.gen(function* () {
        // Without a user to change to there is no file of somebody else's.
        if (process.getuid?.() !== 0) return
        yield* asNobody(
          root,
          Effect.suspend(() => {
            process.seteuid?.(0)
            fs.chownSync(at("a"), 0, 0)
            fs.chmodSync(at("a"), 0o4755)
            process.seteuid?.(65534)
            return AtomicFile.write(at("a"), "new", { owner: false })
          })
        )
        assert.strictEqual(fs.statSync(at("a")).mode & 0o7777, 0o755)
      })
    )
  )
})
