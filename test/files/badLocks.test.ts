import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Fault, Lock } from "effect-recovery"
import { DirectoryLock, FileLock } from "effect-recovery/files"
import { type Calls, CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { thisProcess } from "../../src/host/owner.js"
import { temporaryFolder } from "../support/files.js"

const name = Lock.task("T-1")
const placeIn = (folder: string) => path.join(folder, "task", "T-1.lock")

const layers = { FileLock: FileLock.layer, DirectoryLock: DirectoryLock.layer }

/** One attempt: the token, or why there is none. */
const attempt = (kind: keyof typeof layers, folder: string) =>
  Lock.Held.pipe(
    Effect.map(({ token }): number | string => token),
    Lock.withLock(name, { timeout: "50 millis" }),
    Effect.provide(layers[kind]({ folder })),
    Effect.catchAll((error) => Effect.succeed(error._tag === "LockError" ? error.reason : error._tag))
  )

const inFolder = <A, E>(use: (folder: string) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(temporaryFolder, (folder) => use(fs.realpathSync(folder))))

/** As a user who may not write here; the tests may run as root, who may. */
const unprivileged = <A, E>(use: Effect.Effect<A, E>): Effect.Effect<A, E> => {
  const { geteuid, seteuid } = process
  if (geteuid === undefined || seteuid === undefined || geteuid() !== 0) return use
  return Effect.acquireUseRelease(
    Effect.sync(() => seteuid(65534)),
    () => use,
    () => Effect.sync(() => seteuid(0))
  )
}

describe("locks that cannot be had", () => {
  for (const kind of ["FileLock", "DirectoryLock"] as const) {
    it.live(`${kind}: the folder is a file, or may not be written`, () =>
      inFolder((folder) =>
        Effect.gen(function* () {
          const file = path.join(folder, "file")
          fs.writeFileSync(file, "")
          assert.strictEqual(yield* attempt(kind, file), "Folder")
          assert.strictEqual(yield* attempt(kind, path.join(file, "deeper")), "Folder")
          const closed = path.join(folder, "closed")
          fs.mkdirSync(closed)
          fs.chmodSync(folder, 0o755)
          fs.chmodSync(closed, 0o555)
          assert.strictEqual(yield* unprivileged(attempt(kind, closed)), "Permission")
        })
      )
    )

    it.live(`${kind}: the folder is gone while the lock is held`, () =>
      inFolder((folder) =>
        Effect.gen(function* () {
          const remove = Effect.sync(() => fs.rmSync(path.join(folder, "locks"), { recursive: true }))
          const error = yield* Effect.flip(
            remove.pipe(Lock.withLock(name), Effect.provide(layers[kind]({ folder: path.join(folder, "locks") })))
          )
          assert.strictEqual(error._tag, "LockLost")
          // Whoever comes next makes it anew.
          assert.isNumber(yield* attempt(kind, path.join(folder, "locks")))
        })
      )
    )

    it.live(`${kind}: something that is no lock is left alone`, () =>
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
            assert.strictEqual(yield* attempt(kind, folder), "Foreign", what)
            fs.rmSync(place, { recursive: true })
          }
          assert.strictEqual(fs.readFileSync(path.join(folder, "target"), "utf8"), "precious")
        })
      )
    )
  }

  it.live("a full disk is said to be full, and leaves nothing", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const full: Calls["open"] = () => Effect.fail(Object.assign(new Error("ENOSPC"), { code: "ENOSPC" }))
        const reason = yield* Effect.provideService(attempt("DirectoryLock", folder), CurrentCalls, {
          ...nodeCalls,
          open: full
        })
        assert.strictEqual(reason, "Full")
      })
    )
  )

  it.live("errors say what to do, and what kind of failure they are", () =>
    Effect.gen(function* () {
      for (const [reason, category] of [
        ["Permission", "permission"],
        ["Full", "resource"],
        ["Unsupported", "dependency"]
      ] as const) {
        const error = new Lock.LockError({ reason, lock: "task/T-1", path: "/locks/T-1.lock" })
        assert.match(error.message, /task\/T-1.*\/locks\/T-1\.lock.*\. [A-Z].+\.$/)
        assert.strictEqual((yield* Fault.classify(error)).category, category)
      }
    })
  )
})

describe("records that cannot be trusted", () => {
  const gone = `${thisProcess().replace(/\/\d+@/, "/999999999@")}/1`
  const reused = `${thisProcess().replace(/@\d+/, "@1")}/1`

  it.live("FileLock: the operating system decides, whatever the record says", () =>
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
          `{"token":5,"since":0,"owner":"${gone}"}\n`,
          `{"token":5,"since":0,"owner":"${thisProcess()}/1"}\n`,
          `{"token":5,"since":99999999999999,"owner":"elsewhere/1@1/1"}\n`
        ]) {
          fs.writeFileSync(placeIn(folder), record)
          assert.isNumber(yield* attempt("FileLock", folder), record.slice(0, 80))
        }
        // What was never one of ours is somebody's file.
        for (const content of ["null", "# yarn lockfile v1", "x".repeat(100_000)]) {
          fs.writeFileSync(placeIn(folder), content)
          assert.strictEqual(yield* attempt("FileLock", folder), "Foreign")
          assert.strictEqual(fs.readFileSync(placeIn(folder), "utf8"), content)
        }
      })
    )
  )

  it.live("DirectoryLock: empty, foreign, of the dead, of a number that was given away, of others", () =>
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
          [[owned(gone)], "token"],
          [[owned(reused)], isLinux ? "token" : "LockTimeout"],
          [[owned("elsewhere/1@1/1")], "LockTimeout"],
          [[owned(`${thisProcess()}/1`)], "LockTimeout"],
          [[`held~5~99999999999999~elsewhere+1@1+1~0`], "LockTimeout"]
        ] as const) {
          fs.mkdirSync(place, { recursive: true })
          for (const file of files) fs.writeFileSync(path.join(place, file), "")
          const found = yield* attempt("DirectoryLock", folder)
          assert.strictEqual(typeof found === "number" ? "token" : found, expected, files.join())
          if (expected !== "token") assert.deepStrictEqual(fs.readdirSync(place), [...files])
          fs.rmSync(place, { recursive: true })
        }
      })
    )
  )
})
