import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Lock } from "effect-recovery"
import { AtomicFile, DirectoryLock, FileLock } from "effect-recovery/files"
import { type Calls, CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { thisProcess } from "../../src/host/owner.js"
import { temporaryFolder } from "../support/files.js"

const name = Lock.task("T-1")
const placeIn = (folder: string) => path.join(folder, "task", "T-1.lock")

const layers = { FileLock: FileLock.layer, DirectoryLock: DirectoryLock.layer }

/** One attempt: the token, or the reason of the failure. */
const attempt = (layer: (options: FileLock.Options) => Layer.Layer<Lock.Lock, Lock.LockError>, folder: string) =>
  Lock.Held.pipe(
    Effect.map(({ token }): number | string => token),
    Lock.withLock(name, { timeout: "50 millis" }),
    Effect.provide(layer({ folder })),
    Effect.catchAll((error) => Effect.succeed(error._tag === "LockError" ? error.reason : error._tag))
  )

const inFolder = <A, E>(use: (folder: string) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(temporaryFolder, (folder) => use(fs.realpathSync(folder))))

/** As a user without permissions: the tests may run as root. */
const unprivileged = <A, E>(use: Effect.Effect<A, E>): Effect.Effect<A, E> => {
  const { geteuid, seteuid } = process
  if (geteuid === undefined || seteuid === undefined || geteuid() !== 0) return use
  return Effect.acquireUseRelease(
    Effect.sync(() => seteuid(65534)),
    () => use,
    () => Effect.sync(() => seteuid(0))
  )
}

const build = <E>(layer: Layer.Layer<Lock.Lock, E>) => Effect.map(Layer.build(layer), Context.get(Lock.Lock))

const errno = (code: string) => Object.assign(new Error(code), { code })

/** In an unrelated fiber, as in another process. */
const elsewhere = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatten(Effect.promise(() => Effect.runPromiseExit(effect)))

/** Waits until the lock is a millisecond old, and the clock alone makes higher tokens: only then cleanup removes it. */
const later = (locks: Lock.Service) =>
  Effect.flatMap(locks.status(name), ({ since = 0, token }) => {
    const old = Math.max(Date.now(), since, token) + 2
    return Effect.repeat(Effect.yieldNow(), { until: () => Date.now() > old })
  })

for (const [kind, layer] of Object.entries(layers)) {
  describe(`${kind}, resources`, () => {
    it.scopedLive("every path of a file is one lock", () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const locks = yield* build(layer({ folder: path.join(folder, "locks") }))
        fs.mkdirSync(path.join(folder, "real"))
        fs.writeFileSync(path.join(folder, "real/data"), "")
        fs.symlinkSync("real", path.join(folder, "alias"))
        fs.symlinkSync("real/data", path.join(folder, "link"))
        const ways = ["real/data", "real/../real/./data", "alias/data", "link"].map((way) =>
          path.join(folder, way).replace("realdata", "real/data")
        )
        const refused = yield* locks.withLock(
          Effect.forEach([...ways, `${folder}/real/../real/data`], (way) =>
            Effect.flip(locks.withLock(Effect.void, Lock.resource(way)))
          ),
          Lock.resource(path.join(folder, "real/data"))
        )
        for (const error of refused) assert.deepInclude(error, { _tag: "LockError", reason: "Reentrant" })
        // A missing file has a lock too; a name with a dot is another file.
        const other = locks.withLock(
          locks.withLock(Effect.void, Lock.resource(`${folder}/alias/new`)),
          Lock.resource(`${folder}/alias/.new`)
        )
        yield* other
        // No files are left beside the locked ones.
        assert.deepStrictEqual(fs.readdirSync(path.join(folder, "real")), ["data"])
        assert.deepStrictEqual(
          (yield* locks.list).map(({ lock }) => lock),
          ["resource/../real/.new", "resource/../real/data", "resource/../real/new"]
        )
      })
    )

    it.scopedLive("every path of a file in a folder that does not exist yet is one lock", () =>
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
            assert.deepStrictEqual(yield* ask("real/new/data"), Option.none())
            fs.mkdirSync(path.join(folder, "real/new"))
            assert.deepStrictEqual(yield* ask("alias/new/data"), Option.none())
            assert.deepStrictEqual(yield* ask("real/new/data"), Option.none())
          }),
          Lock.resource(path.join(folder, "alias/new/data"))
        )
      })
    )

    it.scopedLive("links and parent folders are resolved as the operating system does", () =>
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
        for (const error of errors) assert.deepInclude(error, { _tag: "LockError", reason: "Reentrant" })
      })
    )
  })

  describe(`${kind}, paths that are not locks`, () => {
    it.scopedLive("list and cleanup skip other files, and cleanup keeps held locks", () =>
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
        assert.strictEqual(yield* locks.cleanup("1 millis"), 1)
        assert.deepStrictEqual(fs.readdirSync(path.join(folder, "web")).sort(), [
          "link.lock",
          "node.lock",
          ...(process.platform === "win32" ? [] : ["pipe.lock"]),
          "yarn.lock"
        ])
        assert.deepStrictEqual(fs.readdirSync(path.join(folder, "task")), [])
      })
    )

    it.live("acquiring fails with Foreign and changes nothing", () =>
      inFolder((folder) =>
        Effect.gen(function* () {
          const place = placeIn(folder)
          fs.mkdirSync(path.dirname(place))
          const kinds: Readonly<Record<string, () => void>> = {
            "a link to a file": () => {
              fs.writeFileSync(path.join(folder, "target"), "precious")
              fs.symlinkSync(path.join(folder, "target"), place)
            },
            "the lock of another kind": () => {
              if (kind === "DirectoryLock") fs.writeFileSync(place, "")
              else fs.mkdirSync(place)
            }
          }
          for (const [what, make] of Object.entries(kinds)) {
            make()
            assert.strictEqual(yield* attempt(layer, folder), "Foreign", what)
            fs.rmSync(place, { recursive: true })
          }
          assert.strictEqual(fs.readFileSync(path.join(folder, "target"), "utf8"), "precious")
        })
      )
    )
  })

  describe(`${kind}, folders`, () => {
    it.live("a folder that is a file or not writable is a LockError", () =>
      inFolder((folder) =>
        Effect.gen(function* () {
          const file = path.join(folder, "file")
          fs.writeFileSync(file, "")
          assert.strictEqual(yield* attempt(layer, file), "Folder")
          assert.strictEqual(yield* attempt(layer, path.join(file, "deeper")), "Folder")
          const closed = path.join(folder, "closed")
          fs.mkdirSync(closed)
          fs.chmodSync(folder, 0o755)
          fs.chmodSync(closed, 0o555)
          assert.strictEqual(yield* unprivileged(attempt(layer, closed)), "Permission")
        })
      )
    )

    it.live("removing the folder of a held lock is a LockLost", () =>
      inFolder((folder) =>
        Effect.gen(function* () {
          const remove = Effect.sync(() => fs.rmSync(path.join(folder, "locks"), { recursive: true }))
          const error = yield* Effect.flip(
            remove.pipe(Lock.withLock(name), Effect.provide(layer({ folder: path.join(folder, "locks") })))
          )
          assert.strictEqual(error._tag, "LockLost")
          // The next caller creates the folder again.
          assert.isNumber(yield* attempt(layer, path.join(folder, "locks")))
        })
      )
    )
  })
}

const dead = `${thisProcess().replace(/\/\d+@/, "/999999999@")}/1`

describe("FileLock, records", () => {
  it.live("the operating system decides who holds the lock, whatever the record says", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        fs.mkdirSync(path.dirname(placeIn(folder)))
        for (const record of [
          "",
          "{",
          `{"tok`,
          `{"token":12`,
          "\0".repeat(512),
          `{"token":"x","since":0}`,
          `{"token":1e300,"since":0}`,
          `{"token":5,"since":0,"owner":"${dead}"}\n`,
          `{"token":5,"since":0,"owner":"${thisProcess()}/1"}\n`,
          `{"token":5,"since":99999999999999,"owner":"elsewhere/1@1/1"}\n`
        ]) {
          fs.writeFileSync(placeIn(folder), record)
          assert.isNumber(yield* attempt(FileLock.layer, folder), record.slice(0, 80))
        }
        // Files that this library did not write are kept.
        for (const content of ["null", "# yarn lockfile v1", "x".repeat(100_000)]) {
          fs.writeFileSync(placeIn(folder), content)
          assert.strictEqual(yield* attempt(FileLock.layer, folder), "Foreign")
          assert.strictEqual(fs.readFileSync(placeIn(folder), "utf8"), content)
        }
      })
    )
  )
})

describe("DirectoryLock, states", () => {
  const reused = `${thisProcess().replace(/@\d+/, "@1")}/1`

  it.live("free and stale states are taken, held ones are not, unknown files are Foreign", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const place = placeIn(folder)
        const owned = (owner: string) => `held~5~0~${owner.replaceAll("/", "+")}~0`
        const isLinux = process.platform === "linux"
        for (const [files, expected] of [
          [[], "token"],
          [["lock_info.json"], "Foreign"],
          [["held~5"], "Foreign"],
          [["held~x~0~a~0"], "Foreign"],
          [["free~007~0"], "Foreign"],
          [[`free~${Number.MAX_SAFE_INTEGER}~0`], "Foreign"],
          [["free~7~0"], "token"],
          [["free~7~0", "notes.txt"], "token"],
          [[owned(dead)], "token"],
          [[owned(reused)], isLinux ? "token" : "LockTimeout"],
          [[owned("elsewhere/1@1/1")], "LockTimeout"],
          [[owned(`${thisProcess()}/1`)], "LockTimeout"],
          [[`held~5~99999999999999~elsewhere+1@1+1~0`], "LockTimeout"]
        ] as const) {
          fs.mkdirSync(place, { recursive: true })
          for (const file of files) fs.writeFileSync(path.join(place, file), "")
          const found = yield* attempt(DirectoryLock.layer, folder)
          assert.strictEqual(typeof found === "number" ? "token" : found, expected, files.join())
          if (expected !== "token") assert.deepStrictEqual(fs.readdirSync(place), [...files])
          fs.rmSync(place, { recursive: true })
        }
      })
    )
  )

  it.scopedLive("a rename that was made but reported as failed does not lose the lock", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const locks = yield* build(DirectoryLock.layer({ folder }))
      let lose = 0
      // The rename is made but reported as failed.
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

  it.scopedLive("an empty folder that cannot be replaced fails with Foreign", () =>
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
      assert.deepInclude(error, { _tag: "LockError", reason: "Foreign" })
      assert.deepStrictEqual(fs.readdirSync(path.join(folder, "task")), ["T-1.lock"])
      // If only the rename is refused, the folder is removed first.
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

  it.scopedLive("a failed creation leaves nothing behind", () =>
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

  it.live("a full disk fails with Full", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const full: Calls["open"] = () => Effect.fail(Object.assign(new Error("ENOSPC"), { code: "ENOSPC" }))
        const reason = yield* Effect.provideService(attempt(DirectoryLock.layer, folder), CurrentCalls, {
          ...nodeCalls,
          open: full
        })
        assert.strictEqual(reason, "Full")
      })
    )
  )

  it.scopedLive("cleanup keeps a lock that is acquired meanwhile, and removes one of a dead process", () =>
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
      // Another process acquires the lock between the check and the removal.
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
      const removed = yield* Effect.provideService(other.cleanup("1 millis"), CurrentCalls, { ...nodeCalls, rename })
      assert.strictEqual(removed, 0)
      assert.strictEqual((yield* other.status(name)).state, "held")
      assert.deepStrictEqual(yield* other.withLockIfAvailable(Effect.void, name), Option.none())
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(holding)
      // The lock of a dead process is removed too.
      const gone = thisProcess()
        .replace(/\/\d+@/, "/999999999@")
        .replace("/", "+")
      fs.mkdirSync(path.join(folder, "task/dead.lock"))
      fs.writeFileSync(path.join(folder, `task/dead.lock/held~5~0~${gone}+1~0`), "")
      assert.isAtLeast(yield* other.cleanup("1 hour"), 1)
      assert.isFalse(fs.existsSync(path.join(folder, "task/dead.lock")))
    })
  )

  it.scopedLive("an infinite stale duration is allowed", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const locks = yield* build(DirectoryLock.layer({ folder, stale: Number.POSITIVE_INFINITY }))
      assert.strictEqual(yield* locks.withLock(Effect.succeed(1), name), 1)
    })
  )
})
