/** One test for each defect that was found in the locks. */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { Lock, Storage } from "effect-recovery"
import { AtomicFile, DirectoryLock, FileLock } from "effect-recovery/files"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { type Calls, CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { thisProcess } from "../../src/host/owner.js"
import { temporaryFile, temporaryFolder } from "../support/files.js"

const errno = (code: string) => Object.assign(new Error(code), { code })

const drivers = { FileLock: FileLock.layer, DirectoryLock: DirectoryLock.layer }

const inMemory = Layer.provide(Lock.layerStorage({ poll: "10 millis" }), Storage.layerMemory)

const build = <E>(layer: Layer.Layer<Lock.Lock, E>) => Effect.map(Layer.build(layer), Context.get(Lock.Lock))

/** In a fiber that knows nothing of ours, as one of another process. */
const elsewhere = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatten(Effect.promise(() => Effect.runPromiseExit(effect)))

const name = Lock.task("T-1")
const placeIn = (folder: string) => path.join(folder, "task", "T-1.lock")

/** A lock is removed only when the time alone makes higher tokens. */
const later = (locks: Lock.Service) =>
  Effect.flatMap(locks.status(name), ({ token }) =>
    Effect.repeat(Effect.yieldNow(), { until: () => Date.now() > token })
  )

/** A driver without a file system, whose parts a test decides. */
const driver = (grip: Partial<Lock.Grip>, more?: Partial<Lock.Driver>): Lock.Driver => ({
  keyOf: (lock) => Effect.succeed(Lock.format(lock)),
  attempt: () =>
    Effect.succeed({
      _tag: "Acquired",
      grip: { token: 1, renew: Effect.succeed(true), release: Effect.succeed(true), ...grip }
    }),
  status: (lock) => Effect.succeed({ lock, state: "held", token: 1, owner: "a", since: 0 }),
  list: Effect.succeed([]),
  cleanup: () => Effect.succeed(0),
  heartbeat: "20 millis",
  patience: "60 millis",
  poll: "10 millis",
  ...more
})

describe("defects of locks that were found", () => {
  it.scopedLive("a lock that is taken where nothing can interrupt does not wait for its loss", () =>
    Effect.gen(function* () {
      const locks = yield* build(inMemory)
      const once = locks.withLock(Effect.succeed(1), name)
      assert.strictEqual(yield* Effect.uninterruptible(once), 1)
      yield* Effect.scoped(Effect.acquireRelease(once, () => Effect.ignore(once)))
      assert.strictEqual((yield* locks.status(name)).state, "free")
    })
  )

  it.scopedLive("two services over one storage have different owners", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const storage = yield* Layer.build(SqliteStorage.layer({ filename }))
      const both = Layer.provide(Lock.layerStorage(), Layer.succeedContext(storage))
      const [one, other] = [yield* build(Layer.fresh(both)), yield* build(Layer.fresh(both))]
      yield* one.withLock(
        Effect.gen(function* () {
          // Whoever is interrupted while it asks gives back nothing but its own.
          for (let turns = 0; turns < 5; turns++) {
            const asking = Effect.runFork(other.withLock(Effect.void, name))
            for (let i = 0; i < turns; i++) yield* Effect.yieldNow()
            yield* Fiber.interrupt(asking)
          }
          yield* (yield* Lock.Held).check
        }),
        name
      )
    })
  )

  for (const [kind, layer] of Object.entries(drivers)) {
    it.scopedLive(`${kind}: a resource in a folder that does not exist yet has one lock, however it is written`, () =>
      Effect.gen(function* () {
        const folder = fs.realpathSync(yield* temporaryFolder)
        fs.mkdirSync(path.join(folder, "real"))
        fs.symlinkSync("real", path.join(folder, "alias"))
        const locks = yield* build(layer({ folder: path.join(folder, "locks") }))
        const other = yield* build(layer({ folder: path.join(folder, "locks") }))
        const ask = (at: string) =>
          elsewhere(other.withLockIfAvailable(Effect.void, Lock.resource(path.join(folder, at))))
        yield* locks.withLock(
          Effect.gen(function* () {
            assert.isTrue(Option.isNone(yield* ask("real/new/data")))
            fs.mkdirSync(path.join(folder, "real/new"))
            assert.isTrue(Option.isNone(yield* ask("alias/new/data")))
            assert.isTrue(Option.isNone(yield* ask("real/new/data")))
          }),
          Lock.resource(path.join(folder, "alias/new/data"))
        )
      })
    )

    it.scopedLive(`${kind}: links lead where the operating system says`, () =>
      Effect.gen(function* () {
        const folder = fs.realpathSync(yield* temporaryFolder)
        fs.mkdirSync(path.join(folder, "deep/er"), { recursive: true })
        fs.symlinkSync("deep/er", path.join(folder, "alias"))
        fs.symlinkSync("../data", path.join(folder, "deep/er/link"))
        fs.writeFileSync(path.join(folder, "deep/data"), "old")
        yield* AtomicFile.write(path.join(folder, "alias/link"), "new")
        assert.strictEqual(fs.readFileSync(path.join(folder, "deep/data"), "utf8"), "new")
        yield* AtomicFile.write(`${folder}/alias/../data`, "newer")
        assert.strictEqual(fs.readFileSync(path.join(folder, "deep/data"), "utf8"), "newer")
        assert.deepStrictEqual(fs.readdirSync(folder).sort(), ["alias", "deep"])
        const locks = yield* build(layer({ folder: path.join(folder, "locks") }))
        const errors = yield* locks.withLock(
          Effect.forEach([`${folder}/alias/link`, `${folder}/alias/../data`], (way) =>
            Effect.flip(locks.withLock(Effect.void, Lock.resource(way)))
          ),
          Lock.resource(`${folder}/deep/data`)
        )
        for (const error of errors) assert.isTrue(error._tag === "LockError" && error.reason === "Reentrant")
      })
    )

    it.scopedLive(`${kind}: looking and cleaning up leave alone what is no lock, and what is held`, () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const locks = yield* build(layer({ folder }))
        fs.mkdirSync(path.join(folder, "web/node.lock"), { recursive: true })
        fs.writeFileSync(path.join(folder, "web/node.lock/module"), "")
        fs.writeFileSync(path.join(folder, "web/yarn.lock"), "# yarn lockfile v1")
        fs.symlinkSync("yarn.lock", path.join(folder, "web/link.lock"))
        if (process.platform !== "win32") childProcess.execFileSync("mkfifo", [path.join(folder, "web/pipe.lock")])
        yield* locks.withLock(Effect.void, name)
        const names = Effect.map(locks.list, (all) => all.map(({ lock }) => lock))
        assert.deepStrictEqual(yield* names, ["task/T-1"])
        yield* later(locks)
        assert.strictEqual(yield* locks.cleanup(-1000), 1)
        assert.deepStrictEqual(fs.readdirSync(path.join(folder, "web")).sort(), [
          "link.lock",
          "node.lock",
          ...(process.platform === "win32" ? [] : ["pipe.lock"]),
          "yarn.lock"
        ])
        assert.deepStrictEqual(fs.readdirSync(path.join(folder, "task")), [])
      })
    )
  }

  it.scopedLive("whoever waits for a fiber holds what that has acquired, and what it held before", () =>
    Effect.gen(function* () {
      const locks = yield* build(inMemory)
      const gate = yield* Deferred.make<void>()
      const earlier = yield* Effect.fork(Effect.zipRight(Deferred.await(gate), locks.withLock(Effect.void, "other")))
      const error = yield* locks.withLock(
        Effect.gen(function* () {
          yield* Deferred.succeed(gate, undefined)
          yield* Fiber.join(earlier)
          return yield* Effect.flip(locks.withLock(Effect.void, "x", { timeout: "1 second" }))
        }),
        "x"
      )
      assert.isTrue(error._tag === "LockError" && error.reason === "Reentrant")
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Effect.all([locks.acquire("a"), locks.acquire("b")], { concurrency: "unbounded" })
          for (const again of ["a", "b"]) {
            const refused = yield* Effect.flip(locks.withLock(Effect.void, again, { timeout: "1 second" }))
            assert.strictEqual(refused._tag, "LockError")
          }
        })
      )
    })
  )

  it.scopedLive("a rename whose answer got lost costs nobody the lock", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const locks = yield* build(DirectoryLock.layer({ folder }))
      let lose = 0
      // It is made, and said not to be.
      const rename: Calls["rename"] = (from, to) =>
        Effect.flatMap(nodeCalls.rename(from, to), () =>
          lose++ % 2 === 1 ? Effect.fail(errno(lose % 4 === 0 ? "EIO" : "ENOENT")) : Effect.void
        )
      yield* Effect.gen(function* () {
        const { check } = yield* Lock.Held
        for (let i = 0; i < 20; i++) yield* check
      }).pipe((work) => locks.withLock(work, name), Effect.provideService(CurrentCalls, { ...nodeCalls, rename }))
      assert.strictEqual((yield* locks.status(name)).state, "free")
    })
  )

  it.scopedLive("an empty folder that cannot be replaced is said to be in the way", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      fs.mkdirSync(placeIn(folder), { recursive: true })
      const locks = yield* build(DirectoryLock.layer({ folder }))
      const error = yield* Effect.flip(locks.withLock(Effect.void, name)).pipe(
        Effect.provideService(CurrentCalls, {
          ...nodeCalls,
          rename: () => Effect.fail(errno("EPERM")),
          rmdir: (at) => (at === placeIn(folder) ? Effect.fail(errno("EPERM")) : nodeCalls.rmdir(at))
        })
      )
      assert.isTrue(error._tag === "LockError" && error.reason === "Foreign", String(error))
      assert.deepStrictEqual(fs.readdirSync(path.join(folder, "task")), ["T-1.lock"])
      // Where only the rename is refused, the folder goes first.
      let refused = false
      yield* locks.withLock(Effect.void, name).pipe(
        Effect.provideService(CurrentCalls, {
          ...nodeCalls,
          rename: (from, to) => {
            if (refused) return nodeCalls.rename(from, to)
            refused = true
            return Effect.fail(errno("EPERM"))
          }
        })
      )
    })
  )

  it.scopedLive("what could not be made leaves nothing behind", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const locks = yield* build(DirectoryLock.layer({ folder }))
      const open: Calls["open"] = () => Effect.fail(errno("ENOSPC"))
      yield* Effect.flip(locks.withLock(Effect.void, name)).pipe(
        Effect.provideService(CurrentCalls, { ...nodeCalls, open })
      )
      assert.deepStrictEqual(fs.readdirSync(path.join(folder, "task")), [])
    })
  )

  it.scopedLive("cleaning up takes away only what is nobody's at that very moment", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const [locks, other] = [
        yield* build(DirectoryLock.layer({ folder })),
        yield* build(DirectoryLock.layer({ folder }))
      ]
      yield* locks.withLock(Effect.void, name)
      yield* later(locks)
      const isIn = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      // Somebody acquires it between the look and the removal.
      let holding: Fiber.Fiber<void, unknown> = Fiber.void
      const rename: Calls["rename"] = (from, to) =>
        Effect.zipRight(
          Effect.sync(() => {
            holding = Effect.runFork(
              locks.withLock(Effect.zipRight(Deferred.succeed(isIn, undefined), Deferred.await(gate)), name)
            )
          }),
          Effect.zipRight(Deferred.await(isIn), nodeCalls.rename(from, to))
        )
      const removed = yield* Effect.provideService(other.cleanup(-1000), CurrentCalls, { ...nodeCalls, rename })
      assert.strictEqual(removed, 0)
      assert.strictEqual((yield* other.status(name)).state, "held")
      assert.isTrue(Option.isNone(yield* other.withLockIfAvailable(Effect.void, name)))
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(holding)
      // The lock of a dead process goes, too.
      const gone = thisProcess()
        .replace(/\/\d+@/, "/999999999@")
        .replace("/", "+")
      fs.mkdirSync(path.join(folder, "task/dead.lock"))
      fs.writeFileSync(path.join(folder, `task/dead.lock/held~5~0~${gone}+1~0`), "")
      assert.isAtLeast(yield* other.cleanup("1 hour"), 1)
      assert.isFalse(fs.existsSync(path.join(folder, "task/dead.lock")))
    })
  )

  it.effect("a loss is told in time, though the renewal hangs, and nothing waits for that", () =>
    Effect.gen(function* () {
      const locks = Lock.make(driver({ renew: Effect.never, release: Effect.never }))
      const isIn = yield* Deferred.make<void>()
      const holding = yield* Effect.fork(
        locks.withLock(Effect.zipRight(Deferred.succeed(isIn, undefined), Effect.never), name)
      )
      yield* Deferred.await(isIn)
      yield* TestClock.adjust("60 millis")
      assert.isTrue((yield* Effect.flip(Fiber.join(holding))) instanceof Lock.LockLost)
    })
  )

  it.effect("a check that cannot be answered is no loss, and one that was answered counts as a heartbeat", () =>
    Effect.gen(function* () {
      const cannot = Effect.fail(new Lock.LockError({ reason: "Io", lock: "task/T-1" }))
      const failing = Lock.make(driver({ renew: cannot }))
      yield* failing.withLock(
        Effect.flatMap(Lock.Held, ({ check }) => Effect.replicateEffect(check, 5)),
        name
      )
      // Heartbeats fail, and the checks between them do not.
      let isCheck = false
      const renew = Effect.suspend(() => (isCheck ? Effect.succeed(true) : cannot))
      const locks = Lock.make(driver({ renew }))
      const checked = Effect.flatMap(Lock.Held, ({ check }) =>
        Effect.suspend(() => {
          isCheck = true
          return Effect.ensuring(
            check,
            Effect.sync(() => {
              isCheck = false
            })
          )
        })
      )
      const everySo = Effect.replicateEffect(Effect.zipRight(checked, Effect.sleep("30 millis")), 20)
      const holding = yield* Effect.fork(locks.withLock(everySo, name))
      yield* Effect.replicateEffect(TestClock.adjust("10 millis"), 60)
      yield* Fiber.join(holding)
    })
  )

  it.scopedLive("a check inside of the storage's own transaction is no loss", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const client = yield* Layer.build(SqliteClient.layer({ filename }))
      const { sql } = Context.get(client, SqliteClient.SqliteClient)
      const storage = Layer.provide(SqliteStorage.layerClient(), Layer.succeedContext(client))
      const locks = yield* build(Layer.provide(Lock.layerStorage(), storage))
      yield* locks.withLock(
        Effect.flatMap(Lock.Held, ({ check }) =>
          sql.withTransaction(Effect.provideService(check, SqlClient.SqlClient, sql))
        ),
        name
      )
    })
  )

  it.scopedLive("kinds and ids cannot be mistaken for one another", () =>
    Effect.gen(function* () {
      const locks = yield* build(inMemory)
      yield* locks.withLock(locks.withLock(Effect.void, { kind: "a/b", id: "c" }), { kind: "a", id: "b/c" })
    })
  )

  it.scopedLive("the time in the line is over where nothing can interrupt, too", () =>
    Effect.gen(function* () {
      const locks = yield* build(inMemory)
      const isIn = yield* Deferred.make<void>()
      const holding = Effect.runFork(
        locks.withLock(Effect.zipRight(Deferred.succeed(isIn, undefined), Effect.never), name)
      )
      yield* Deferred.await(isIn)
      const exit = yield* Effect.exit(
        Effect.uninterruptible(locks.withLock(Effect.void, name, { timeout: "30 millis" }))
      )
      assert.isTrue(Exit.isFailure(exit))
      yield* Fiber.interrupt(holding)
      assert.strictEqual(yield* locks.withLock(Effect.succeed(1), name), 1)
    })
  )

  it.scopedLive("a lock that takes for ever to go stale is no defect", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const locks = yield* build(DirectoryLock.layer({ folder, stale: Number.POSITIVE_INFINITY }))
      assert.strictEqual(yield* locks.withLock(Effect.succeed(1), name), 1)
    })
  )
})
