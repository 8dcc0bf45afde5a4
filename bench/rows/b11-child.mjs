/**
 * One process of B11: does one kind of work, and tells how long the event loop stood still: the delay of its timers at
 * p99 and at most, and the longest turn by CPU time, which other processes do not lengthen.
 */
import * as fs from "node:fs"
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Step, Storage, Workflow } from "../../dist/node/index.js"
import { HealthCheck } from "../../dist/node/operate.js"
import { SqliteStorage } from "../../dist/node/sqlite.js"

const [filename, work] = process.argv.slice(2)

const layer = SqliteStorage.layer({ filename, durability: "process-crash" })

const text = Step.make("text", { success: Schema.String, run: (length) => Effect.sync(() => "x".repeat(length)) })

const Big = Workflow.make("big", { success: Schema.Number }, () =>
  Effect.reduce(Array.from({ length: 40 }), 0, (sum) => Effect.map(text(1_000_000), ({ length }) => sum + length))
)

const Item = Schema.Struct({
  id: Schema.String,
  size: Schema.Number,
  done: Schema.Boolean,
  tags: Schema.Array(Schema.String)
})

const objects = Step.make("objects", {
  success: Schema.Array(Item),
  run: (n) =>
    Effect.sync(() =>
      Array.from({ length: 16_000 }, (_, i) => ({ id: `${n}-${i}`, size: i, done: i % 2 === 0, tags: ["a", "b"] }))
    )
})

const Objects = Workflow.make("objects", { success: Schema.Number }, () =>
  Effect.reduce(Array.from({ length: 40 }), 0, (sum, _, i) => Effect.map(objects(i), ({ length }) => sum + length))
)

const bigTogether = Workflow.make("together", { success: Schema.Number }, () =>
  Effect.map(
    Effect.forEach(Array.from({ length: 200 }), (_, i) => Workflow.section("one", i)(text(1_000_000)), {
      concurrency: "unbounded"
    }),
    (all) => all.length
  )
)

const Parallel = Workflow.make("parallel", { success: Schema.Number }, () =>
  Effect.map(
    Effect.forEach(Array.from({ length: 10_000 }), (_, i) => Workflow.section("one", i)(text(10)), {
      concurrency: "unbounded"
    }),
    (all) => all.length
  )
)

const Small = Workflow.make("small", { success: Schema.Number }, () =>
  Effect.reduce(Array.from({ length: 4 }), 0, (sum, _, i) => Effect.map(text(i), ({ length }) => sum + length))
)

/** 100,000 runs of ten lines that ended a day ago. */
const manyRuns = Effect.gen(function* () {
  const storage = yield* Storage.Storage
  yield* Workflow.execute(Small, { id: "first" })
  const { default: Sqlite } = yield* Effect.promise(() => import("better-sqlite3"))
  const database = new Sqlite(filename)
  database.exec(`
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    INSERT INTO recovery_runs (${columnsOf(database, "recovery_runs", ["key", "id", "checksum", "outcome_checksum"])}, id)
      SELECT ${columnsOf(database, "recovery_runs", ["key", "id", "checksum", "outcome_checksum"])}, 'many-' || i FROM n, recovery_runs WHERE id = 'first';
    INSERT INTO recovery_journal (${columnsOf(database, "recovery_journal", ["run", "checksum", "payload_checksum"])}, run)
      SELECT ${columnsOf(database, "recovery_journal", ["run", "checksum", "payload_checksum"])
        .split(", ")
        .map((c) => `j.${c}`)
        .join(", ")}, r.key
      FROM recovery_runs r, recovery_journal j WHERE r.id LIKE 'many-%' AND j.run = (SELECT key FROM recovery_runs WHERE id = 'first');
    UPDATE recovery_runs SET finished_at = finished_at - 86400000;
  `)
  database.close()
  return storage
})

const columnsOf = (database, table, except) =>
  database
    .prepare(`SELECT name FROM pragma_table_info('${table}')`)
    .pluck()
    .all()
    .filter((name) => !except.includes(name))
    .join(", ")

const works = {
  "40 results of 1 MB, text": [Effect.void, Workflow.execute(Big, { id: "run" })],
  "40 results of 1 MB, objects": [Effect.void, Workflow.execute(Objects, { id: "run" })],
  "200 results of 1 MB at once": [Effect.void, Workflow.execute(bigTogether, { id: "run" })],
  "10,000 parallel steps": [Effect.void, Workflow.execute(Parallel, { id: "run" })],
  "cleanup of 100,000 runs": [manyRuns, Workflow.cleanup({ olderThan: "1 hour" })],
  "health beside 100,000 runs": [manyRuns, HealthCheck.run()],
  "list of 10,000 of 100,000 runs": [manyRuns, Workflow.list({ status: "completed", limit: 10_000 })]
}

/** Turns of the event loop by CPU time. */
const watchTurns = () => {
  const turns = []
  let isOn = true
  let last = process.cpuUsage()
  const look = () => {
    const now = process.cpuUsage()
    turns.push((now.user + now.system - last.user - last.system) / 1_000)
    last = now
    if (isOn) setImmediate(look)
  }
  setImmediate(look)
  return () => {
    isOn = false
    return turns.sort((a, b) => b - a)
  }
}

const [prepare, measured] = works[work]
const result = await Effect.runPromise(
  Effect.gen(function* () {
    yield* prepare
    const delays = monitorEventLoopDelay({ resolution: 1 })
    delays.enable()
    const stop = watchTurns()
    const began = performance.now()
    yield* measured
    const millis = performance.now() - began
    delays.disable()
    const turns = stop()
    return {
      millis,
      p99: delays.percentile(99) / 1e6,
      max: delays.max / 1e6,
      cpu: turns[0] ?? 0,
      cpu99: turns[Math.floor(turns.length / 100)] ?? 0,
      turns: turns.length
    }
  }).pipe(Effect.provide(layer))
)
fs.writeSync(1, `${JSON.stringify(result)}\n`)
process.exit(0)
