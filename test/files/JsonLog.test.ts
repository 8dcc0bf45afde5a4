import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { JsonLog } from "effect-recovery/files"
import { type Calls, CurrentCalls, errno, nodeCalls } from "../../src/files/internal/system/calls.js"
import { temporaryFolder } from "../support/files.js"

const inFolder = (body: (folder: string) => Effect.Effect<void, unknown>) =>
  Effect.scoped(Effect.flatMap(temporaryFolder, body))

const linesOf = (file: string) =>
  fs
    .readFileSync(file, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line))

describe("JsonLog", () => {
  it.live("appends one line per record, to a file that only its owner reads", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const log = JsonLog.make(path.join(folder, "log.jsonl"))
        const records = Array.from({ length: 50 }, (_, n) => ({ n, text: "ü\n\u2028" }))
        yield* Effect.forEach(records, log.append, { concurrency: "unbounded" })
        assert.deepStrictEqual(linesOf(log.path), records)
        assert.strictEqual(fs.statSync(log.path).mode & 0o777, 0o600)
        const refused = yield* Effect.flip(log.append(undefined))
        assert.match(refused.message, /JSON cannot represent it/)
        yield* Effect.flip(log.append({ n: 1n }))
        assert.strictEqual(linesOf(log.path).length, 50)
      })
    )
  )

  it.live("rotates a long log, and keeps as many rotated logs as `keep`", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const log = JsonLog.make(path.join(folder, "log.jsonl"), { maxBytes: 100, keep: 2 })
        fs.writeFileSync(path.join(folder, "log.jsonl.old"), "of another program")
        for (let n = 0; n < 40; n++) yield* log.append({ n, filling: "x".repeat(20) })
        const names = fs.readdirSync(folder).sort()
        assert.include(names, "log.jsonl.old")
        const aside = names.filter((name) => /T.*Z-\d+-\d{6}$/.test(name))
        assert.isAtMost(aside.length, 2)
        assert.isAtLeast(aside.length, 1)
        const newest = fs.existsSync(log.path) ? log.path : path.join(folder, aside.at(-1) ?? "")
        assert.strictEqual(linesOf(newest).at(-1)?.n, 39)
      })
    )
  )

  it.live("continues after an unfinished line and after a partial write", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const log = JsonLog.make(path.join(folder, "log.jsonl"))
        yield* log.append({ n: 1 })
        fs.appendFileSync(log.path, `{"n":`)
        const short = {
          ...nodeCalls,
          write: (file: number, bytes: Uint8Array) => nodeCalls.write(file, bytes.subarray(0, 3))
        }
        yield* log.append({ n: 2 }).pipe(Effect.provideService(CurrentCalls, short))
        assert.strictEqual(fs.readFileSync(log.path, "utf8"), `{"n":1}\n{"n":\n{"n":2}\n`)
        const full = { ...nodeCalls, write: () => Effect.fail(errno("ENOSPC", "no space left on device")) }
        const error = yield* Effect.flip(log.append({ n: 3 }).pipe(Effect.provideService(CurrentCalls, full)))
        assert.strictEqual(error._tag, "FileError")
        const nothing = { ...nodeCalls, write: () => Effect.succeed(0) }
        yield* Effect.flip(log.append({ n: 3 }).pipe(Effect.provideService(CurrentCalls, nothing)))
      })
    )
  )

  it.effect("keeps every log that is rotated in one millisecond", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        // The test clock stands still, so every rotation has the same time.
        const log = JsonLog.make(path.join(folder, "log.jsonl"), { maxBytes: 1, keep: 100 })
        for (let n = 0; n < 20; n++) yield* log.append({ n })
        const lines = fs
          .readdirSync(folder)
          .sort()
          .flatMap((name) => linesOf(path.join(folder, name)))
        assert.deepStrictEqual(
          lines.map(({ n }) => n),
          Array.from({ length: 20 }, (_, n) => n)
        )
      })
    )
  )

  it.live("a rotation that fails is logged once, and fails no append", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const log = JsonLog.make(path.join(folder, "log.jsonl"), { maxBytes: 1 })
        const warnings: Array<string> = []
        const noting = Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => void warnings.push(String(message)))
        )
        const stuck = { ...nodeCalls, rename: () => Effect.fail(errno("EACCES", "no permission")) }
        yield* Effect.forEach([1, 2, 3], (n) => log.append({ n })).pipe(
          Effect.provideService(CurrentCalls, stuck),
          Effect.provide(noting)
        )
        assert.deepStrictEqual(linesOf(log.path), [{ n: 1 }, { n: 2 }, { n: 3 }])
        assert.strictEqual(warnings.length, 1)
        assert.match(warnings[0] ?? "", /cannot be rotated.*no permission/)
        assert.deepStrictEqual(fs.readdirSync(folder), ["log.jsonl"])
        yield* log.append({ n: 4 })
        assert.isFalse(fs.existsSync(log.path))
      })
    )
  )

  it.live("a line that a full disk cuts off is removed, unless lines of others follow it", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const log = JsonLog.make(path.join(folder, "log.jsonl"))
        yield* log.append({ n: 1 })
        const cutting = (after: () => void) => {
          let writes = 0
          const write: Calls["write"] = (file, bytes) =>
            Effect.suspend(() => {
              if (writes++ === 0) return nodeCalls.write(file, bytes.subarray(0, 3))
              after()
              return Effect.fail(errno("ENOSPC", "no space left on device"))
            })
          return Effect.provideService(Effect.flip(log.append({ n: 2 })), CurrentCalls, { ...nodeCalls, write })
        }
        const alone = yield* cutting(() => {})
        assert.strictEqual(alone.reason, "Full")
        assert.strictEqual(fs.readFileSync(log.path, "utf8"), `{"n":1}\n`)
        const other = `\n{"n":"of another process"}\n`
        const beside = yield* cutting(() => fs.appendFileSync(log.path, other))
        assert.match(beside.message, /a part of the record was written, and the next record begins a new line/)
        assert.strictEqual(fs.readFileSync(log.path, "utf8"), `{"n":1}\n{"n${other}`)
      })
    )
  )

  it.live("loses no line of several processes that rotate it meanwhile", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        const file = path.join(folder, "log.jsonl")
        const program = `
import { Effect } from "effect"
import { JsonLog } from ${JSON.stringify(path.resolve("src/files.ts"))}
const log = JsonLog.make(${JSON.stringify(file)}, { maxBytes: 2_000, keep: 1_000 })
Effect.runPromise(Effect.forEach(Array.from({ length: 200 }, (_, n) => n), (n) => log.append({ pid: process.pid, n })))`
        const script = path.join(folder, "writer.mts")
        fs.writeFileSync(script, program)
        fs.symlinkSync(path.resolve("node_modules"), path.join(folder, "node_modules"))
        const run = Effect.async<void, Error>((resume) => {
          execFile(process.execPath, ["--import", "tsx", script], { cwd: folder }, (error) =>
            resume(error === null ? Effect.void : Effect.fail(error))
          )
        })
        yield* Effect.all([run, run, run, run], { concurrency: 4 })
        const all = fs.readdirSync(folder).filter((name) => name.startsWith("log.jsonl"))
        const lines = all.flatMap((name) => linesOf(path.join(folder, name)))
        assert.strictEqual(new Set(lines.map(({ n, pid }) => `${pid} ${n}`)).size, 800)
        assert.strictEqual(lines.length, 800)
        assert.isAbove(all.length, 5)
      })
    )
  )
})
