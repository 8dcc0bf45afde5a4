import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bundle, Child } from "../support/children.js"
import { temporaryFolder } from "../support/files.js"
import { inPostgres } from "../support/postgres.js"

const execFile = promisify(childProcess.execFile)

/** A program of a template as one file. */
const bundled = (file: string) => Effect.promise(() => bundle(`../../templates/${file}`))

const start = (program: string, cwd: string, env: Readonly<Record<string, string>> = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => new Child(program, [], { cwd, env: { ...process.env, ...env } })),
    (child) =>
      Effect.promise(() => {
        child.signal("SIGKILL")
        return child.exited
      })
  )

const printed = (child: Child, text: string) => Effect.promise(() => child.line((line) => line.includes(text)))

/** Ends the process as a service manager does. */
const stop = (child: Child) =>
  Effect.promise(() => {
    child.signal("SIGTERM")
    return child.exited
  })

const recovery = (cwd: string, ...args: ReadonlyArray<string>) =>
  Effect.promise(() => execFile(process.execPath, [path.resolve("dist/recovery.mjs"), ...args], { cwd }))

describe("templates", () => {
  it("say in their README how to get and start them, and name files that exist", () => {
    const names = fs.readdirSync("templates")
    assert.deepStrictEqual(names, ["agent-approvals", "fleet-postgres", "worker-sqlite"])
    const pages = ["README.md", "docs/start.md"].map((page) => fs.readFileSync(page, "utf8"))
    for (const name of names) {
      const readme = fs.readFileSync(`templates/${name}/README.md`, "utf8")
      assert.include(readme, `npx degit effect-recovery/effect-recovery/templates/${name} `)
      for (const [, file = ""] of readme.matchAll(/^\| `([\w./-]+)` \|/gm)) {
        assert.isTrue(fs.existsSync(`templates/${name}/${file}`), file)
      }
      for (const page of pages) assert.include(page, `templates/${name}`)
    }
  })

  it.scopedLive("worker-sqlite executes an order, and returns its outcome after a restart", () =>
    Effect.gen(function* () {
      const [main, folder] = [yield* bundled("worker-sqlite/src/main.ts"), yield* temporaryFolder]
      const first = yield* start(main, folder)
      yield* printed(first, "order-1 has a receipt of 12")
      yield* stop(first)
      const second = yield* start(main, folder)
      yield* printed(second, "order-1 has a receipt of 12")
      assert.notInclude(second.lines.join("\n"), "Charging")
    })
  )

  it.scopedLive("agent-approvals keeps its draft over a kill, and sends it once it is approved by command", () =>
    Effect.gen(function* () {
      const [main, folder] = [yield* bundled("agent-approvals/src/main.ts"), yield* temporaryFolder]
      const first = yield* start(main, folder)
      const line = yield* printed(first, "Approve: npx recovery")
      yield* printed(first, "Asking the model")
      first.signal("SIGKILL")
      yield* Effect.promise(() => first.exited)
      const second = yield* start(main, folder)
      yield* printed(second, "Approve: npx recovery")
      assert.include(line, "signal ticket-1 approval")
      const value = JSON.stringify({ by: "carol", approved: true })
      yield* recovery(folder, "signal", "ticket-1", "approval", value, "--database", "agent.db")
      yield* printed(second, "ticket-1 is sent, approved by carol")
    })
  )
})

inPostgres("the template fleet-postgres", (served) => {
  it.scopedLive("executes runs that another process places, also when a worker is killed", () =>
    Effect.gen(function* () {
      const { database, host, port, user } = served.address
      const env = { DATABASE_URL: `postgres://${user}@${host}:${port}/${database}` }
      const main = yield* bundled("fleet-postgres/src/main.ts")
      const place = yield* bundled("fleet-postgres/src/place.ts")
      const folder = yield* temporaryFolder
      const first = yield* start(main, folder, env)
      const second = yield* start(main, folder, env)
      yield* printed(first, "The worker takes runs")
      yield* printed(second, "The worker takes runs")
      first.signal("SIGKILL")
      const placing = yield* start(place, folder, env)
      assert.strictEqual(yield* Effect.promise(() => placing.exited), 0)
      const all = Array.from({ length: 10 }, (_, i) => `image-${i}.small`)
      assert.strictEqual(placing.lines.at(-1), all.join(" "))
    })
  )
})
