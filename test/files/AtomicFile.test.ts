import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { Fault, Lock } from "effect-recovery"
import { AtomicFile, DirectoryLock, FileLock, FileTransaction } from "effect-recovery/files"
import { type Calls, CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { crashingCalls } from "../support/crashingCalls.js"
import { temporaryFolder } from "../support/files.js"
import { inRoot, losableLocks, reasonOf, tagOf, unprivileged } from "../support/fileTransactions.js"

/** Replaces some of the system calls. */
const withCalls = (changed: Partial<Calls>) => Effect.provideService(CurrentCalls, { ...nodeCalls, ...changed })

const failing = (code: string) => () => Effect.fail(Object.assign(new Error(code), { code }))

const inFolder = <A, E>(use: (folder: string) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(temporaryFolder, (folder) => use(fs.realpathSync(folder))))

const modeOf = (file: string) => (fs.statSync(file).mode & 0o7777).toString(8)

describe("AtomicFile.write", () => {
  it.live("writes new and existing files, text and bytes, empty and long", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const file = path.join(folder, "file")
        for (const content of ["one", "", "ü🙂\n", "x".repeat(3_000_000), Uint8Array.of(0, 255, 128)]) {
          yield* AtomicFile.write(file, content)
          assert.isTrue(fs.readFileSync(file).equals(Buffer.from(content)))
        }
        assert.deepStrictEqual(fs.readdirSync(folder), ["file"])
      })
    )
  )

  it.live("keeps permissions; a new file gets the mode of the options", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        for (const mode of [0o640, 0o755, 0o666, 0o400, 0o4750, 0o2711]) {
          const file = path.join(folder, mode.toString(8))
          fs.writeFileSync(file, "old")
          fs.chmodSync(file, mode)
          yield* AtomicFile.write(file, "new")
          assert.strictEqual(modeOf(file), mode.toString(8))
        }
        yield* AtomicFile.write(path.join(folder, "a"), "new")
        yield* AtomicFile.write(path.join(folder, "b"), "new", { mode: 0o606 })
        const umask = process.umask()
        assert.deepStrictEqual(
          [modeOf(path.join(folder, "a")), modeOf(path.join(folder, "b"))],
          [(0o666 & ~umask).toString(8), "606"]
        )
      })
    )
  )

  it.live("keeps the owner or fails with Owner; owner: false takes the file over", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const file = path.join(folder, "file")
        fs.writeFileSync(file, "old")
        // As if another user owned it: the tests may run as root, which may change owners.
        const stranger = { ...nodeCalls }
        const lstat: Calls["lstat"] = (at) =>
          Effect.map(nodeCalls.lstat(at), (stats) =>
            stats?.isFile() === true ? Object.assign(stats, { uid: 12345 }) : stats
          )
        const error = yield* Effect.flip(
          AtomicFile.write(file, "new").pipe(withCalls({ ...stranger, lstat, fchown: failing("EPERM") }))
        )
        assert.strictEqual(error.reason, "Owner")
        assert.strictEqual(fs.readFileSync(file, "utf8"), "old")
        yield* AtomicFile.write(file, "new", { owner: false }).pipe(withCalls({ lstat, fchown: failing("EPERM") }))
        assert.strictEqual(fs.readFileSync(file, "utf8"), "new")
        const given: Array<number> = []
        const fchown: Calls["fchown"] = (_, uid) => Effect.sync(() => void given.push(uid))
        yield* AtomicFile.write(file, "newer").pipe(withCalls({ lstat, fchown }))
        assert.deepStrictEqual(given, [12345])
        assert.deepStrictEqual(fs.readdirSync(folder), ["file"])
      })
    )
  )

  it.live("follows symbolic links and keeps them", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        fs.mkdirSync(path.join(folder, "real"))
        fs.symlinkSync("real/file", path.join(folder, "link"))
        fs.symlinkSync(path.join(folder, "link"), path.join(folder, "link-to-link"))
        fs.symlinkSync("round", path.join(folder, "round"))
        yield* AtomicFile.write(path.join(folder, "link"), "made through a link to nothing")
        assert.strictEqual(fs.readFileSync(path.join(folder, "real/file"), "utf8"), "made through a link to nothing")
        yield* AtomicFile.write(path.join(folder, "link-to-link"), "new")
        assert.strictEqual(fs.readFileSync(path.join(folder, "real/file"), "utf8"), "new")
        assert.isTrue(fs.lstatSync(path.join(folder, "link")).isSymbolicLink())
        const round = yield* Effect.flip(AtomicFile.write(path.join(folder, "round"), ""))
        assert.strictEqual(round.reason, "Path")
      })
    )
  )

  it.live("a failed write has a reason and leaves the file unchanged", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        fs.writeFileSync(path.join(folder, "file"), "old")
        const reasonOf = (file: string) =>
          Effect.map(Effect.flip(AtomicFile.write(path.join(folder, file), "")), ({ reason }) => reason)
        assert.strictEqual(yield* reasonOf("no/such/folder"), "NotFound")
        assert.strictEqual(yield* reasonOf("file/file"), "NotAFile")
        assert.strictEqual(yield* reasonOf("."), "NotAFile")
        assert.strictEqual(yield* reasonOf("a\0b"), "Path")
        assert.strictEqual(yield* reasonOf("x".repeat(256)), "Path")
        // The longest possible name: the temporary file has a shorter one.
        yield* AtomicFile.write(path.join(folder, "x".repeat(255)), "new")
        for (const [call, code, reason] of [
          ["write", "ENOSPC", "Full"],
          ["sync", "EIO", "Io"],
          ["close", "EIO", "Io"],
          ["open", "EACCES", "Permission"],
          ["open", "EROFS", "ReadOnly"],
          ["rename", "EPERM", "Permission"]
        ] as const) {
          const error = yield* Effect.flip(
            AtomicFile.write(path.join(folder, "file"), "new").pipe(withCalls({ [call]: failing(code) }))
          )
          assert.strictEqual(error.reason, reason)
          assert.include(error.message, path.join(folder, "file"))
          assert.strictEqual(fs.readFileSync(path.join(folder, "file"), "utf8"), "old")
          assert.strictEqual(fs.readdirSync(folder).length, 2, call)
          const { category } = yield* Fault.classify(error)
          assert.notStrictEqual(category, "unknown")
        }
      })
    )
  )

  it.live("continues a partial write, and retries a busy rename", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const file = path.join(folder, "file")
        let busy = 3
        yield* AtomicFile.write(file, "0ü2🙂456789").pipe(
          withCalls({
            write: (to, content) => nodeCalls.write(to, Buffer.from(content).subarray(0, 3)),
            rename: (from, to) => (busy-- > 0 ? failing("EBUSY")() : nodeCalls.rename(from, to))
          })
        )
        assert.strictEqual(fs.readFileSync(file, "utf8"), "0ü2🙂456789")
        const nothing = yield* Effect.flip(
          AtomicFile.write(file, "x").pipe(withCalls({ write: () => Effect.succeed(0) }))
        )
        assert.strictEqual(nothing.reason, "Io")
      })
    )
  )

  it.live("writes long texts in pieces, several at once", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        // Characters of several bytes: pieces end within characters and surrogate pairs.
        const texts = ["ü🙂€x", "€", "🙂x"].map((part) => part.repeat(700_000))
        yield* Effect.forEach(
          texts,
          (text, i) =>
            AtomicFile.write(path.join(folder, `${i}`), text).pipe(
              withCalls({ write: (to, content) => nodeCalls.write(to, content.subarray(0, 300_001)) })
            ),
          { concurrency: "unbounded" }
        )
        const written = texts.map((_, i) => fs.readFileSync(path.join(folder, `${i}`), "utf8"))
        // Indexes, since a failure would print megabytes.
        assert.deepStrictEqual(
          texts.flatMap((text, i) => (text === written[i] ? [] : [i])),
          []
        )
      })
    )
  )

  it.live("a crash at any system call leaves the old or the new file, and cleanup removes the rest", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const file = path.join(folder, "file")
        const write = AtomicFile.write(file, "new content")
        fs.writeFileSync(file, "old content")
        const undisturbed = crashingCalls(undefined, Effect.never)
        const self = nodeCalls.thisProcess
        yield* Effect.provideService(write, CurrentCalls, undisturbed.calls)
        for (let call = 1; call <= undisturbed.made.length; call++) {
          for (const when of ["before", "half", "after"] as const) {
            fs.writeFileSync(file, "old content")
            yield* Effect.async<void>((resume) => {
              const crash = Effect.zipRight(
                Effect.sync(() => resume(Effect.void)),
                Effect.never
              )
              Effect.runFork(
                Effect.provideService(write, CurrentCalls, crashingCalls({ call, when }, crash, self).calls)
              )
            })
            assert.include(["old content", "new content"], fs.readFileSync(file, "utf8"))
          }
        }
        const leftovers = fs.readdirSync(folder).filter((name) => name !== "file")
        assert.isAbove(leftovers.length, 0)
        // They belong to a living process, so they stay.
        assert.strictEqual(yield* AtomicFile.cleanup(folder), 0)
        for (const name of leftovers)
          fs.renameSync(path.join(folder, name), path.join(folder, name.replace(/@\d+/, "@1")))
        fs.writeFileSync(path.join(folder, ".of-another-program~x.tmp"), "")
        assert.strictEqual(yield* AtomicFile.cleanup(folder), process.platform === "linux" ? leftovers.length : 0)
        assert.deepStrictEqual(fs.readdirSync(folder).sort(), [".of-another-program~x.tmp", "file"])
      })
    )
  )

  it.live("an interruption leaves no temporary file", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const file = path.join(folder, "file")
        fs.writeFileSync(file, "old")
        for (let turns = 0; turns < 30; turns++) {
          const fiber = Effect.runFork(AtomicFile.write(file, "new"))
          for (let i = 0; i < turns; i++) yield* Effect.promise(() => new Promise<void>((done) => setImmediate(done)))
          yield* Effect.promise(() =>
            Effect.runPromise(Effect.flatMap(Effect.void, () => fiber.interruptAsFork(fiber.id())))
          )
          yield* Effect.async<void>((resume) => fiber.addObserver(() => resume(Effect.void)))
          assert.deepStrictEqual(fs.readdirSync(folder), ["file"])
          assert.include(["old", "new"], fs.readFileSync(file, "utf8"))
        }
      })
    )
  )

  it.live("syncs as often as its durability requires", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        for (const [durability, syncs] of [
          ["power-loss", 2],
          ["ordered", 1],
          ["process-crash", 0]
        ] as const) {
          const order: Array<string> = []
          const noted = (name: "sync" | "rename") =>
            ({
              [name]: (...args: [never, never]) =>
                Effect.zipRight(
                  Effect.sync(() => order.push(name)),
                  nodeCalls[name](...args)
                )
            }) as Partial<Calls>
          yield* AtomicFile.write(path.join(folder, "file"), "new", { durability }).pipe(
            withCalls({ ...noted("sync"), ...noted("rename") })
          )
          assert.strictEqual(order.filter((name) => name === "sync").length, syncs)
          if (syncs > 0) assert.deepStrictEqual(order.slice(0, 2), ["sync", "rename"])
        }
      })
    )
  )

  it.live("a folder that cannot be synced is refused before the file changes", () =>
    inRoot(({ at, root, text }) =>
      Effect.gen(function* () {
        fs.chmodSync(at("folder"), 0o333)
        const error = yield* unprivileged(root, Effect.flip(AtomicFile.write(at("folder/b"), "new")))
        assert.strictEqual(error.reason, "Permission")
        assert.strictEqual(text("folder/b"), "old b")
        fs.chmodSync(at("folder"), 0o755)
        assert.deepStrictEqual(fs.readdirSync(at("folder")), ["b"])
      })
    )
  )

  it.live("drops the set-user-id bit if the owner changes", () =>
    inRoot(({ at, root }) =>
      Effect.gen(function* () {
        // Only root can create a file of another user.
        if (process.getuid?.() !== 0) return
        yield* unprivileged(
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

describe("AtomicFile.update and append", () => {
  for (const [name, layer] of [
    ["FileLock", FileLock.layer],
    ["DirectoryLock", DirectoryLock.layer]
  ] as const) {
    const locked = <A, E, R>(folder: string, self: Effect.Effect<A, E, R>) =>
      Effect.provide(self, layer({ folder: path.join(folder, "locks") }))

    it.live(`${name}: concurrent updates and appends lose nothing`, () =>
      inFolder((folder) =>
        Effect.gen(function* () {
          const file = path.join(folder, "file")
          const increment = AtomicFile.update(file, (text) =>
            Effect.succeed(`${Number(Option.getOrElse(text, () => "0")) + 1}`)
          )
          const log = path.join(folder, "log")
          const append = AtomicFile.append(log, "line\n")
          yield* locked(
            folder,
            Effect.replicateEffect(Effect.zip(increment, append, { concurrent: true }), 25, {
              concurrency: "unbounded"
            })
          )
          assert.strictEqual(fs.readFileSync(file, "utf8"), "25")
          assert.strictEqual(fs.readFileSync(log, "utf8"), "line\n".repeat(25))
        })
      )
    )

    it.live(`${name}: a failing update leaves the file unchanged and releases the lock`, () =>
      inFolder((folder) =>
        Effect.gen(function* () {
          const file = path.join(folder, "file")
          fs.writeFileSync(file, "old")
          const updates = Effect.gen(function* () {
            assert.strictEqual(yield* Effect.flip(AtomicFile.update(file, () => Effect.fail("no"))), "no")
            const exit = yield* Effect.exit(AtomicFile.update(file, () => Effect.interrupt))
            assert.isTrue(Exit.isInterrupted(exit))
            assert.strictEqual(fs.readFileSync(file, "utf8"), "old")
            const again = yield* Effect.flip(
              AtomicFile.update(file, () =>
                AtomicFile.update(file, Option.match({ onNone: () => Effect.succeed(""), onSome: Effect.succeed }))
              )
            )
            assert.deepInclude(again, { _tag: "LockError", reason: "Reentrant" })
            return yield* AtomicFile.updateBytes(file, (bytes) =>
              Effect.succeed(Buffer.concat([Option.getOrThrow(bytes), Uint8Array.of(0)]))
            )
          })
          yield* locked(folder, updates)
          assert.strictEqual(fs.readFileSync(file, "utf8"), "old\0")
        })
      )
    )
  }

  it.live("a lost lock prevents the write", () =>
    inRoot(({ at, text }) =>
      Effect.gen(function* () {
        for (const change of [AtomicFile.append, AtomicFile.write]) {
          const { layer, lose } = losableLocks()
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

  it.live("resolves links again after the wait for the lock", () =>
    inRoot(({ at, root, text }) =>
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

  it.live("pipes are refused, as in transactions", () =>
    inRoot(({ at, root }) =>
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

  it.live("a byte order mark is kept, as in transactions", () =>
    inRoot(({ at, root, text }) =>
      Effect.gen(function* () {
        const same = (found: Option.Option<string>) => Effect.succeed(Option.getOrThrow(found))
        fs.writeFileSync(at("a"), "\uFEFFmarked")
        yield* AtomicFile.update(at("a"), same)
        yield* FileTransaction.update("a", same).pipe(FileTransaction.run(root))
        assert.strictEqual(text("a"), "\uFEFFmarked")
      })
    )
  )
})
