import * as fs from "node:fs"
import * as path from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Workflow } from "effect-recovery"
import { RecoveryManager } from "effect-recovery/operate"
import { SqlStorage } from "effect-recovery/sql"
import * as esbuild from "esbuild"
import type { Finding } from "../../src/cli/doctor/finding.js"
import { inPostgres } from "../support/postgres.js"
import { home } from "./support.js"

/** The library as a configuration in a folder imports it, beside the packages of this project. */
const library = (folder: string) =>
  Effect.promise(async () => {
    await esbuild.build({
      entryPoints: ["src/operate.ts", "src/sql.ts"],
      outdir: path.join(folder, "library"),
      bundle: true,
      splitting: true,
      packages: "external",
      platform: "node",
      format: "esm"
    })
    fs.writeFileSync(path.join(folder, "library", "package.json"), `{"type":"module"}`)
    fs.symlinkSync(path.resolve("node_modules"), path.join(folder, "node_modules"))
  })

const Order = Workflow.make("order", {}, () => Effect.void)

inPostgres("the command line on a server", (database) => {
  const filled = Effect.gen(function* () {
    yield* Workflow.execute(Order, { id: "order-1" })
    yield* RecoveryManager.report("ECONNREFUSED", { id: "failure-1", run: "order-1" })
  }).pipe(
    Effect.provide(
      RecoveryManager.layer({ workflows: [Order] }).pipe(
        Layer.provideMerge(SqlStorage.layer()),
        Layer.provide(database.client())
      )
    )
  )

  const addressOf = (password = "") => {
    const { database: name, host, port, user } = database.address
    return `postgres://${user}${password}@${host}:${port}/${name}`
  }

  it.scopedLive("reads and cleans what the program has recorded there, by the address alone", () =>
    Effect.gen(function* () {
      yield* filled
      const { folder, recovery } = yield* home
      const ask = (...args: ReadonlyArray<string>) => recovery([...args, "--json", "--database", addressOf()])
      const runs = yield* ask("runs")
      assert.strictEqual(runs.code, 0, runs.stderr)
      assert.include(runs.stdout, `"order-1"`)
      const failures = yield* ask("failures")
      assert.include(failures.stdout, `"failure-1"`, failures.stderr)
      const stats = yield* ask("stats")
      assert.strictEqual(stats.code, 0, stats.stderr)
      const check = yield* ask("check")
      assert.strictEqual(check.code, 0, check.stderr)
      assert.deepInclude(JSON.parse(check.stdout), { runs: 1, findings: [] })
      const cleaned = yield* ask("cleanup", "--older-than", "1ms")
      assert.strictEqual(cleaned.code, 0, cleaned.stderr)
      assert.notInclude((yield* ask("runs")).stdout, `"order-1"`)
      // Nothing is left in the home folder: no file was opened.
      assert.deepStrictEqual(fs.readdirSync(folder), [])
    })
  )

  it.scopedLive("changes nothing on a server that is opened read-only", () =>
    Effect.gen(function* () {
      yield* filled
      const { recovery } = yield* home
      const runs = yield* recovery(["runs", "--read-only", "--json", "--database", addressOf()])
      assert.strictEqual(runs.code, 0, runs.stderr)
      assert.include(runs.stdout, `"order-1"`)
      const cleaned = yield* recovery(["cleanup", "--older-than", "1ms", "--read-only", "--database", addressOf()])
      assert.notStrictEqual(cleaned.code, 0)
    })
  )

  it.scopedLive("creates no tables to read, and doctor finds none", () =>
    Effect.gen(function* () {
      yield* database.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
      const { recovery } = yield* home
      for (const args of [["runs"], ["runs", "--read-only"], ["hold", "r", "--reason", "why", "--yes"]]) {
        const empty = yield* recovery([...args, "--database", addressOf()])
        assert.strictEqual(empty.code, 5, empty.stderr)
        assert.include(empty.stderr, "has no tables of effect-recovery: ")
      }
      const doctor = yield* recovery(["doctor", "--json", "--database", addressOf()])
      assert.strictEqual(doctor.code, 0, doctor.stdout)
      const findings: ReadonlyArray<Finding> = JSON.parse(doctor.stdout)
      const found = findings.find(({ check }) => check === "tables")
      assert.strictEqual(found?.status, "ok")
      assert.include(found?.message, "There are none yet")
      assert.deepStrictEqual(yield* database.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'"), [])
    })
  )

  it.scopedLive("names the server without its password, and refuses what needs a file", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const env = { RECOVERY_DATABASE: addressOf(":secret").replace(/:\d+\//, ":1/") }
      const refused = yield* recovery(["runs", "--verbose"], { env })
      assert.strictEqual(refused.code, 5, refused.stderr)
      assert.include(refused.stderr, "Unavailable")
      assert.include(refused.stderr, addressOf().replace(/:\d+\//, ":1/"))
      assert.notInclude(refused.stderr, "secret")
      const exec = yield* recovery(["exec", "--", "true"], { env })
      assert.strictEqual(exec.code, 6, exec.stderr)
      assert.include(exec.stderr, "needs the path of a SQLite file")
      const wrong = yield* recovery(["runs", "--database", "postgres://user:secret@[::bad/db"])
      assert.strictEqual(wrong.code, 2, wrong.stderr)
      assert.notInclude(wrong.stderr, "secret")
      assert.isFalse(fs.existsSync(path.join(folder, ".local")))
    })
  )

  it.scopedLive("takes a configuration that names any storage", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      yield* library(folder)
      fs.writeFileSync(
        path.join(folder, "recovery.config.mjs"),
        `
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { Layer } from "effect"
import { Operator } from "./library/operate.js"
import { SqlStorage } from "./library/sql.js"
const client = SqliteClient.layer({ filename: ${JSON.stringify(path.join(folder, "app.db"))} })
export default Operator.define({ storage: SqlStorage.layer().pipe(Layer.provide(client)) })
`
      )
      for (const command of [["runs"], ["stats"], ["check"], ["cleanup", "--older-than", "1d"]]) {
        const { code, stderr } = yield* recovery(command)
        assert.strictEqual(code, 0, `${command[0]}: ${stderr}`)
      }
    })
  )
})
