import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { Fault } from "effect-recovery"
import { AtomicFile, DirectoryLock, FileLock } from "effect-recovery/files"
import { type Calls, CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { crashingCalls } from "../support/crashingCalls.js"
import { temporaryFolder } from "../support/files.js"

/** The calls of Node, but for some. */
const withCalls = (changed: Partial<Calls>) => Effect.provideService(CurrentCalls, { ...nodeCalls, ...changed })

const failing = (code: string) => () => Effect.fail(Object.assign(new Error(code), { code }))

const inFolder = <A, E>(use: (folder: string) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(temporaryFolder, (folder) => use(fs.realpathSync(folder))))

const modeOf = (file: string) => (fs.statSync(file).mode & 0o7777).toString(8)

describe("AtomicFile.write", () => {
  it.live("writes new files and whole ones, text and bytes, empty and long", () =>
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

  it.live("keeps permissions, also odd ones, and the owner; a new file gets what it is told", () =>
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

  it.live("a file of another owner stays that owner's, or is refused, unless it is told otherwise", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const file = path.join(folder, "file")
        fs.writeFileSync(file, "old")
        // As if it were somebody else's: this user may be root, who may give files away.
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

  it.live("follows links, and leaves them where they are", () =>
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

  it.live("says what is wrong, and changes nothing", () =>
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
        // As long as a name can be: what is written aside has a shorter one.
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

  it.live("goes on after a short write, and waits for a file that is busy for a moment", () =>
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

  it.live("writes long texts piece by piece, and several of them at once", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        // Three bytes a letter: the ends of the pieces fall within letters and pairs.
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
        assert.isTrue(written.every((text, i) => text === texts[i]))
      })
    )
  )

  it.live("ended at any call, the file is the old one or the new one, and what is left over can be told", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const file = path.join(folder, "file")
        const write = AtomicFile.write(file, "new content")
        fs.writeFileSync(file, "old content")
        const undisturbed = crashingCalls(undefined, Effect.never)
        yield* Effect.provideService(write, CurrentCalls, undisturbed.calls)
        for (let call = 1; call <= undisturbed.made.length; call++) {
          for (const when of ["before", "half", "after"] as const) {
            fs.writeFileSync(file, "old content")
            yield* Effect.async<void>((resume) => {
              const crash = Effect.zipRight(
                Effect.sync(() => resume(Effect.void)),
                Effect.never
              )
              Effect.runFork(Effect.provideService(write, CurrentCalls, crashingCalls({ call, when }, crash).calls))
            })
            assert.include(["old content", "new content"], fs.readFileSync(file, "utf8"))
          }
        }
        const leftovers = fs.readdirSync(folder).filter((name) => name !== "file")
        assert.isAbove(leftovers.length, 0)
        // They are of a living process, so they are left alone.
        assert.strictEqual(yield* AtomicFile.cleanup(folder), 0)
        for (const name of leftovers)
          fs.renameSync(path.join(folder, name), path.join(folder, name.replace(/@\d+/, "@1")))
        fs.writeFileSync(path.join(folder, ".of-somebody-else~x.tmp"), "")
        assert.strictEqual(yield* AtomicFile.cleanup(folder), process.platform === "linux" ? leftovers.length : 0)
        assert.deepStrictEqual(fs.readdirSync(folder).sort(), [".of-somebody-else~x.tmp", "file"])
      })
    )
  )

  it.live("interrupted, it leaves nothing behind", () =>
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

  it.live("is on disk as far as it says", () =>
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
})

describe("AtomicFile.update and append", () => {
  for (const [name, layer] of [
    ["FileLock", FileLock.layer],
    ["DirectoryLock", DirectoryLock.layer]
  ] as const) {
    const locked = <A, E, R>(folder: string, self: Effect.Effect<A, E, R>) =>
      Effect.provide(self, layer({ folder: path.join(folder, "locks") }))

    it.live(`${name}: lose nothing, however many there are at once`, () =>
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

    it.live(`${name}: a failing update leaves the file as it was, and the lock free`, () =>
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
            assert.isTrue(again._tag === "LockError" && again.reason === "Reentrant")
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
})
