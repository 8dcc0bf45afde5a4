import { type SqlClient as Client, SqlClient } from "@effect/sql/SqlClient"
import * as StockClient from "@effect/sql-sqlite-node/SqliteClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { Storage } from "effect-recovery"
import { SqlStorage } from "effect-recovery/sql"
import { pgStatements } from "../../../src/storage/sql/claims.js"
import { makePgDialect } from "../../../src/storage/sql/dialect.js"
import { type Part, part, type Tables } from "../../../src/storage/sql/reading.js"
import { afterPrefix, recordColumns } from "../../../src/storage/sql/recordRows.js"
import { selectFullSnapshots } from "../../../src/storage/sql/snapshotQuery.js"
import { fullColumns } from "../../../src/storage/sql/snapshotRows.js"
import { lengthOf, seedOf } from "../../support/campaigns.js"
import { inAnyPostgres } from "../../support/postgres.js"

/** Texts that a database could read in another way than it wrote them. */
const word = FastCheck.oneof(
  FastCheck.string({ maxLength: 5 }),
  FastCheck.string({
    unit: FastCheck.constantFrom("\0", "\u0001", "\\", '"', "u", "0", "\ud800", "é", "\n"),
    maxLength: 4
  })
)
const value = FastCheck.oneof(
  word,
  FastCheck.integer(),
  FastCheck.double({ noNaN: true, noDefaultInfinity: true }),
  FastCheck.boolean(),
  FastCheck.constant(null),
  FastCheck.array(word, { maxLength: 2 }),
  FastCheck.dictionary(word, word, { maxKeys: 1 })
)
const properties = FastCheck.dictionary(FastCheck.oneof(word, FastCheck.constantFrom("a", "b", "toString")), value, {
  maxKeys: 3
})

/** Bodies, some of them no JSON, and conditions of which many hold for one of them. */
const cases = FastCheck.tuple(
  FastCheck.array(
    FastCheck.oneof(
      { weight: 9, arbitrary: properties.map((body) => JSON.stringify(body)) },
      FastCheck.constantFrom("{", "[1]", "1", "null", "")
    ),
    {
      minLength: 5,
      maxLength: 20
    }
  ),
  FastCheck.array(FastCheck.tuple(FastCheck.nat(19), FastCheck.nat(2), properties), { minLength: 10, maxLength: 10 })
)

const conditionOf = (
  bodies: ReadonlyArray<string>,
  [index, take, other]: readonly [number, number, object]
): string => {
  const body = bodies[index % bodies.length] ?? "{}"
  if (!body.startsWith('{"')) return JSON.stringify(other)
  return JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(body)).slice(0, take + 1)))
}

const idsOf = (rows: ReadonlyArray<Storage.RecordRow>) => rows.map(({ id }) => id)

/** Asks both stores the same, and compares their answers. */
const alike = Effect.gen(function* () {
  const store = yield* SqlStorage.store()
  const samples = FastCheck.sample(cases, { seed: seedOf(20), numRuns: lengthOf("JSON_QUERIES") })
  for (const [round, [bodies, conditions]] of samples.entries()) {
    const memory = Storage.memoryStore()
    const kind = `kind-${round}`
    for (const [i, body] of bodies.entries()) {
      const record = { kind, id: `${i}`, subject: "", scope: "", status: "", labels: {}, revision: 0, body }
      yield* Effect.all([store.write(record, []), memory.write(record, [])])
    }
    for (const condition of conditions) {
      const query = { kind, body: conditionOf(bodies, condition) }
      const [found, wanted] = yield* Effect.all([store.records(query), memory.records(query)])
      assert.deepStrictEqual(idsOf(found), idsOf(wanted), JSON.stringify({ query, bodies }))
    }
  }
})

describe("conditions on JSON, by the stock client of SQLite", () => {
  it.scopedLive("hold for the records for which they hold in memory", () =>
    Effect.provide(alike, StockClient.layer({ filename: ":memory:" }))
  )
})

const tables: Tables = { table: (name) => `"plans_${name}"`, dialect: makePgDialect((name) => `"plans_${name}"`) }

/** Enough rows for an index to pay. */
const fill = (sql: Client) =>
  Effect.forEach(
    [
      `INSERT INTO plans_snapshots SELECT i, 'run-' || (i / 20), '', i, 'name-' || (i % 100), 'own-' || lpad(i::text, 8, '0'),
         'manual', 1, 's', 'd', 10, 'json', '{}', '{}', i, 0, NULL, md5(i::text), NULL FROM generate_series(1, 20000) i`,
      `INSERT INTO plans_labels SELECT 'tenant', (i % 1000)::text, i FROM generate_series(1, 20000) i`,
      `INSERT INTO plans_records (kind, id, subject, scope, status, labels, at, updated_at, revision, body)
         SELECT 'failure', i::text, 'run-' || (i / 10), 'scope-' || (i % 500), CASE WHEN i < 50 THEN 'open' ELSE 'resolved' END,
           '{}', i, i, 1, '{}' FROM generate_series(1, 20000) i`,
      `INSERT INTO plans_counters SELECT (i % 100) || '/' || i, 1 FROM generate_series(1, 20000) i`,
      "ANALYZE"
    ],
    (statement) => sql.unsafe(statement)
  )

const newest = (query: Storage.SnapshotQuery, rarest?: readonly [string, string]) =>
  selectFullSnapshots(tables, fullColumns(tables), { limit: 5, ...query }, rarest)

const recordsOf = (condition: string) =>
  part(`SELECT ${recordColumns} FROM plans_records WHERE kind = 'failure' AND ${condition} ORDER BY key DESC LIMIT 5`)

/** The index that each query must read. */
const plans: ReadonlyArray<readonly [index: string, statement: Part]> = [
  ["plans_snapshots_run", newest({ run: "run-500", name: "name-4" })],
  ["plans_snapshots_name", newest({ name: "none" })],
  ["plans_labels_pkey", newest({ labels: { tenant: "17" } }, ["tenant", "17"])],
  ["plans_snapshots_own", newest({ name: "name-4", order: "lowestKey", ownAfter: "own-00010000" })],
  ["plans_snapshots_own", newest({ name: "name-4", order: "highestKey", past: { key: 9004, own: "own-00009004" } })],
  ["plans_snapshots_own", newest({ name: "name-4", own: ["own-00010004", "own-00000004"] })],
  ["plans_snapshots_pkey", newest({ before: 10_000 })],
  ["plans_records_subject", recordsOf("subject = 'run-500'")],
  ["plans_records_scope", recordsOf("scope = 'scope-17'")],
  ["plans_records_status", recordsOf("status = 'open'")],
  [
    "plans_counters_pkey",
    part("SELECT name, value FROM plans_counters WHERE name >= ? AND name < ? ORDER BY name", "17/", afterPrefix("17/"))
  ]
]

/** All of them are due: the leases of all but 10 have ended. */
const openRuns = 2_000

/** A claim of 10 runs whose plan Postgres made while there were none. */
const claimOfGrownTable = (sql: Client) =>
  Effect.gen(function* () {
    const grown: Tables = { ...tables, table: (name) => `"grown_${name}"` }
    const { claimOf, free } = pgStatements(grown)
    const now = { text: "1000000::bigint", params: [] }
    const candidates = free({ workflows: [{ workflow: "one", version: "1" }], limit: 10 }, now, 64)
    const { params, text } = claimOf(candidates, now, 10, "process/1", 1_000)
    // Values in the text would be planned anew.
    const literal = (value: unknown) => (Array.isArray(value) ? `'{${value.join()}}'` : `'${value}'`)
    yield* sql.unsafe("SET LOCAL plan_cache_mode = force_generic_plan")
    yield* sql.unsafe(`PREPARE claim AS ${grown.dialect.toText(text)}`)
    const explain = sql.unsafe<{ readonly "QUERY PLAN": string }>(
      `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE claim(${params.map(literal).join(", ")})`
    )
    yield* explain
    yield* sql.unsafe(`INSERT INTO grown_runs (id, workflow, version, input, labels, created_at, due_at, token, owner, lease_until)
      SELECT 'run-' || i, 'one', '1', '', '{}', 0, i, 1, CASE WHEN i > 10 THEN 'process/2' END, CASE WHEN i > 10 THEN i END
      FROM generate_series(1, ${openRuns}) i`)
    const plan = (yield* explain).map((row) => row["QUERY PLAN"])
    yield* sql.unsafe("DEALLOCATE claim")
    return plan
  })

inAnyPostgres("queries on Postgres", (database) => {
  it.scopedLive("a claim planned while the table was empty reads no candidate twice once it has grown", () =>
    Effect.gen(function* () {
      yield* SqlStorage.store({ prefix: "grown_" })
      const sql = yield* SqlClient
      const plan = yield* sql.withTransaction(claimOfGrownTable(sql))
      const loops = plan.map((line) => Number(/loops=(\d+)/.exec(line)?.[1] ?? 0))
      assert.isAbove(Math.max(...loops), 0, plan.join("\n"))
      assert.isAtMost(Math.max(...loops), 64, plan.join("\n"))
    }).pipe(Effect.provide(database.client()))
  )

  it.scopedLive("conditions on JSON hold for the records for which they hold in memory", () =>
    Effect.provide(alike, database.client())
  )

  it.scopedLive("each reads the index made for it, and no table from end to end", () =>
    Effect.gen(function* () {
      yield* SqlStorage.store({ prefix: "plans_" })
      const sql = yield* SqlClient
      yield* fill(sql)
      for (const [index, statement] of plans) {
        const { params, text } = statement
        const rows = yield* sql.unsafe<{ readonly "QUERY PLAN": string }>(
          `EXPLAIN ${tables.dialect.toText(text)}`,
          params
        )
        const plan = rows.map((row) => row["QUERY PLAN"]).join("\n")
        assert.include(plan, index, `${text}\n${plan}`)
        assert.notInclude(plan, "Seq Scan", `${text}\n${plan}`)
      }
    }).pipe(Effect.provide(database.client()))
  )
})
