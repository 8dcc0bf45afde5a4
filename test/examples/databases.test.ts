import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import { Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { program } from "../../examples/databases/sqlite/shop.js"
import { bundle, Child } from "../support/children.js"
import { temporaryFile } from "../support/files.js"
import { type Address, inPostgres } from "../support/postgres.js"

const run = promisify(execFile)

/** A program or configuration of the examples as one file. */
const bundled = (file: string) => Effect.promise(() => bundle(`../../examples/databases/${file}`))

type Env = Readonly<Record<string, string>>

/** The ids and states of runs, as the command line prints them. */
const runsOf = (args: ReadonlyArray<string>, env: Env = {}) =>
  Effect.promise(async () => {
    const { stdout } = await run(process.execPath, ["dist/recovery.mjs", "runs", "--json", ...args], {
      env: { ...process.env, ...env }
    })
    const runs: ReadonlyArray<{ readonly id: string; readonly status: string }> = JSON.parse(stdout)
    return runs.map(({ id, status }) => `${id} ${status}`).sort()
  })

const finished = ["order-1 completed", "order-2 completed", "order-3 failed"]

describe("examples/databases on the stock client of SQLite", () => {
  it.scopedLive(
    "places each order once, also when another process starts on the file, which the command line opens",
    () =>
      Effect.gen(function* () {
        const file = yield* temporaryFile("shop.db")
        const env = { DATABASE_FILE: file }
        const process = Effect.withConfigProvider(program, ConfigProvider.fromMap(new Map(Object.entries(env))))
        const expected = {
          answers: ["order-1 is placed", "order-2 is placed", "order-1 is placed", "book is sold out"],
          orders: [
            { id: "order-1", item: "book" },
            { id: "order-2", item: "book" }
          ]
        }
        assert.deepStrictEqual(yield* process, expected)
        assert.deepStrictEqual(yield* process, expected)
        const runs = yield* Effect.provide(Workflow.list(), SqliteStorage.layer({ filename: file }))
        assert.strictEqual(runs.length, 3)
        const config = yield* bundled("sqlite/recovery.config.ts")
        assert.deepStrictEqual(yield* runsOf(["--config", config], env), finished)
        assert.deepStrictEqual(yield* runsOf(["--database", file]), finished)
      })
  )
})

const urlOf = ({ database, host, port, user }: Address) => `postgres://${user}@${host}:${port}/${database}`

inPostgres("examples/databases on Postgres", (database) => {
  it.scopedLive("places the orders of a worker that was killed on another one, and each one once", () =>
    Effect.gen(function* () {
      const env = { DATABASE_URL: urlOf(database.address) }
      const worker = yield* bundled("postgres/worker.ts")
      const order = yield* bundled("postgres/order.ts")
      const start = (program: string, ...args: ReadonlyArray<string>) =>
        Effect.acquireRelease(
          Effect.sync(() => new Child(program, args, { env: { ...process.env, ...env } })),
          (child) =>
            Effect.promise(() => {
              child.signal("SIGKILL")
              return child.exited
            })
        )
      const reserved = Effect.map(database.query("SELECT id FROM orders ORDER BY id"), (rows) =>
        rows.map(({ id }) => `${id}`)
      )

      const isMigrated = Effect.map(
        database.query("SELECT to_regclass('orders') IS NOT NULL AS there"),
        ([row]) => row?.there === true
      )
      const first = yield* start(worker)
      // The stock migrator does not bear two first starts at once.
      yield* Effect.repeat(Effect.delay(isMigrated, "20 millis"), { until: (there) => there })
      const ordering = yield* start(order, "order-1")
      yield* Effect.promise(() => ordering.line((line) => line === "order-1 is on record"))
      yield* Effect.repeat(Effect.delay(reserved, "20 millis"), { until: (ids) => ids.length === 1 })
      first.signal("SIGKILL")
      const second = yield* start(worker)
      yield* Effect.promise(() => ordering.line((line) => line === "order-1 is placed"))
      assert.strictEqual(yield* Effect.promise(() => ordering.exited), 0)

      for (const [id, answer] of [
        ["order-1", "order-1 is placed"],
        ["order-2", "order-2 is placed"],
        ["order-3", "book is sold out"]
      ] as const) {
        const child = yield* start(order, id)
        assert.strictEqual(yield* Effect.promise(() => child.exited), 0)
        assert.strictEqual(child.lines.at(-1), answer)
      }
      assert.deepStrictEqual(yield* reserved, ["order-1", "order-2"])

      const config = yield* bundled("postgres/recovery.config.ts")
      assert.deepStrictEqual(yield* runsOf(["--config", config], env), finished)
      assert.deepStrictEqual(yield* runsOf(["--database", env.DATABASE_URL]), finished)
      second.signal("SIGTERM")
      assert.strictEqual(yield* Effect.promise(() => second.exited), 0)
    })
  )
})
