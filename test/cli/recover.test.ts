import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { binary, home, type Result } from "./support.js"

/** A project whose action waits until there is a file `up` or `down`, and fails if it is `down`. */
const project = Effect.gen(function* () {
  const { folder, recovery } = yield* home
  fs.writeFileSync(path.join(folder, "package.json"), "{}")
  fs.symlinkSync(path.resolve("node_modules"), path.join(folder, "node_modules"))
  const door = (name: string) => JSON.stringify(path.resolve(`dist/node/${name}.js`))
  fs.writeFileSync(
    path.join(folder, "recovery.config.mjs"),
    `
import * as fs from "node:fs"
import { Effect } from "effect"
import { Operator } from ${door("operate")}
import { SqliteStorage } from ${door("sqlite")}

const look = Effect.sync(() => ["up", "down"].find((name) => fs.existsSync(name)))
const retry = () =>
  Effect.flatMap(
    Effect.repeat(Effect.delay(look, "10 millis"), { until: (found) => found !== undefined }),
    (found) => (found === "up" ? Effect.void : Effect.fail("it is down"))
  )
export default Operator.define({ storage: SqliteStorage.layer({ filename: "recovery.db" }), actions: { retry } })
`
  )
  const command = (...args: ReadonlyArray<string>) => recovery(args)
  const json = (...args: ReadonlyArray<string>) =>
    Effect.map(recovery([...args, "--json"]), ({ code, stderr, stdout }) => {
      assert.strictEqual(code, 0, stderr)
      return JSON.parse(stdout)
    })
  const becomes = (state: "up" | "down") => Effect.sync(() => fs.writeFileSync(path.join(folder, state), ""))
  yield* json("report", "--failure-id", "f1", "--message", "connection refused")
  return { becomes, command, folder, json }
})

describe("a recovery that takes long", () => {
  it.scopedLive("initiate prints the id before the work begins, and the record at its end", () =>
    Effect.gen(function* () {
      const { becomes, folder, json } = yield* project
      const env = { ...process.env, HOME: folder, NO_COLOR: "1" }
      const child = spawn(process.execPath, [binary, "initiate", "--failure-id", "f1"], { cwd: folder, env })
      yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
      const ended = new Promise<number | null>((resolve) => child.once("close", resolve))
      const lines: Array<string> = []
      const first = yield* Effect.async<string>((resume) => {
        readline.createInterface({ input: child.stdout }).on("line", (line) => {
          if (lines.push(line) === 1) resume(Effect.succeed(line))
        })
      })
      const id = /^Recovery (\S+) has begun: retry\.$/.exec(first)?.[1] ?? assert.fail(first)
      assert.include(["pending", "in_progress"], (yield* json("status", "--recovery-id", id)).status)
      yield* becomes("up")
      assert.strictEqual(yield* Effect.promise(() => ended), 0)
      assert.match(lines.join("\n"), /status +completed/)
    })
  )

  it.scopedLive("with --json the standard output is the record alone, and the id is on the standard error", () =>
    Effect.gen(function* () {
      const { becomes, command } = yield* project
      yield* becomes("up")
      const { code, stderr, stdout } = yield* command("initiate", "--failure-id", "f1", "--json")
      assert.deepStrictEqual([code, JSON.parse(stdout).status], [0, "completed"])
      assert.include(stderr, `Recovery ${JSON.parse(stdout).id} has begun`)
    })
  )

  it.scopedLive("--detach returns with the id, the work continues, and status --wait waits for it", () =>
    Effect.gen(function* () {
      const { becomes, command, json } = yield* project
      const begun = yield* json("initiate", "--failure-id", "f1", "--type", "retry", "--detach")
      assert.deepStrictEqual([begun.status, begun.type, begun.failure], ["pending", "retry", "f1"])
      const waiting = yield* Effect.fork(command("status", "--recovery-id", begun.id, "--wait", "--json"))
      // Another process sees that it is under way.
      const refused = yield* command("initiate", "--failure-id", "f1", "--detach")
      assert.deepStrictEqual([refused.code, refused.stdout], [4, ""])
      assert.match(refused.stderr, /is being recovered by/)
      yield* becomes("up")
      const done: Result = yield* Fiber.join(waiting)
      assert.deepStrictEqual([done.code, JSON.parse(done.stdout).status], [0, "completed"])
      assert.strictEqual((yield* json("failures", "f1")).status, "resolved")
    })
  )

  it.scopedLive("a detached recovery that fails is on record, and status --wait fails with it", () =>
    Effect.gen(function* () {
      const { becomes, command, json } = yield* project
      yield* becomes("down")
      const { id } = yield* json("initiate", "--failure-id", "f1", "--detach")
      const waited = yield* command("status", "--recovery-id", id, "--wait")
      assert.strictEqual(waited.code, 1)
      assert.match(waited.stderr, /The recovery is failed: .*it is down/)
    })
  )

  it.scopedLive("--dry-run prints the plan, and changes nothing", () =>
    Effect.gen(function* () {
      const { command, json } = yield* project
      const plan = yield* json("initiate", "--failure-id", "f1", "--dry-run")
      assert.deepInclude(plan, { type: "retry", by: "action", failure: "f1", limit: "retry 1 of 3" })
      const { code, stdout } = yield* command("initiate", "--failure-id", "f1", "--type", "retry", "--dry-run")
      assert.strictEqual(code, 0)
      assert.match(stdout, /carried out by +the action retry of the manager/)
      assert.match(stdout, /check_retry_limits/)
      assert.match(stdout, /Nothing was changed\.\n$/)
      assert.strictEqual((yield* command("initiate", "--failure-id", "f1", "--type", "restart", "--dry-run")).code, 4)
      assert.strictEqual((yield* command("rollback", "--checkpoint-id", "404", "--dry-run")).code, 3)
      assert.strictEqual((yield* command("initiate", "--failure-id", "f1", "--dry-run", "--detach")).code, 2)
      assert.deepStrictEqual(yield* json("status"), [])
    })
  )

  it.scopedLive("--detach reports what is wrong as the command itself does", () =>
    Effect.gen(function* () {
      const { command, folder, json } = yield* project
      assert.strictEqual((yield* command("initiate", "--failure-id", "f0", "--detach")).code, 3)
      const refused = yield* command("initiate", "--failure-id", "f1", "--type", "restart", "--detach", "--json")
      assert.strictEqual(refused.code, 4)
      assert.strictEqual(JSON.parse(refused.stderr).error.tag, "RecoveryRefused")
      assert.deepStrictEqual(yield* json("status"), [])
      fs.writeFileSync(path.join(folder, "recovery.config.mjs"), "throw new Error('no such host')")
      const broken = yield* command("initiate", "--failure-id", "f1", "--detach")
      assert.strictEqual(broken.code, 6)
      assert.match(broken.stderr, /no such host/)
    })
  )
})
