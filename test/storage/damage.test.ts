import * as fs from "node:fs"
import * as path from "node:path"
import * as StockClient from "@effect/sql-sqlite-node/SqliteClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import { SqlStorage } from "effect-recovery/sql"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { look, type Open, prepare, wrongIn } from "../support/damage.js"
import { connect } from "../support/drivers.js"
import { temporaryFolder } from "../support/files.js"

const suffixes = ["", "-wal", "-shm"]

const copy = (from: string, to: string) => {
  for (const suffix of suffixes) {
    fs.rmSync(`${to}${suffix}`, { force: true })
    if (fs.existsSync(`${from}${suffix}`)) fs.copyFileSync(`${from}${suffix}`, `${to}${suffix}`)
  }
}

const prepared = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const filename = yield* prepare(folder)
  const victim = path.join(folder, "victim.db")
  copy(filename, victim)
  const expected = yield* look(victim)
  return { filename, victim, expected }
})

const tables = ["runs", "journal", "signals", "snapshots", "labels", "records", "locks", "counters"]

const garbage = FastCheck.oneof(
  FastCheck.constantFrom("{", "", "null", "[]", "{}", `{"a":1}`, `"x"`, `{"_tag":"x"}`, "12", "true", "%", "done"),
  FastCheck.constantFrom(null, 0, -1, 12, 1.5, 9e15, Number.MAX_SAFE_INTEGER),
  FastCheck.string({ unit: "binary", maxLength: 20 }),
  FastCheck.json({ maxDepth: 2 }),
  FastCheck.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes))
)

interface Column {
  readonly table: string
  readonly column: string
}

const columnsOf = (filename: string): ReadonlyArray<Column> => {
  const database = connect(filename, { readonly: true })
  const found = tables.flatMap((table) =>
    (database.prepare(`PRAGMA table_info(recovery_${table})`).all() as ReadonlyArray<{ readonly name: string }>).map(
      ({ name }) => ({
        table: `recovery_${table}`,
        column: name
      })
    )
  )
  database.close()
  return found
}

/** Overwrites a column of one row, or of all. What a constraint forbids stays as it was. */
const overwrite = (
  filename: string,
  { column, table }: Column,
  row: number | undefined,
  value: unknown,
  checks: boolean
) => {
  const database = connect(filename)
  database.exec("PRAGMA foreign_keys = OFF")
  database.exec("PRAGMA ignore_check_constraints = ON")
  const withoutRowid: Readonly<Record<string, string>> = {
    recovery_locks: "name",
    recovery_counters: "name",
    recovery_labels: "snapshot",
    recovery_signals: "key"
  }
  const order = withoutRowid[table] ?? "rowid"
  const rows = database.prepare(`SELECT ${order} AS id FROM ${table}`).all() as ReadonlyArray<{ readonly id: unknown }>
  const chosen = row === undefined ? rows : rows.slice(row % rows.length, (row % rows.length) + 1)
  const update = database.prepare(`UPDATE OR IGNORE ${table} SET ${column} = ? WHERE ${order} = ?`)
  // A rowid refuses what is no integer.
  const isRefused = column === "key" && table !== "recovery_signals" && !Number.isInteger(value)
  for (const { id } of isRefused ? [] : chosen) update.run(value, id)
  if (!checks) {
    database.exec(`UPDATE recovery_runs SET checksum = NULL, outcome_checksum = NULL;
      UPDATE recovery_journal SET checksum = NULL, payload_checksum = NULL, previous = NULL;
      UPDATE recovery_signals SET checksum = NULL; UPDATE recovery_snapshots SET checksum = NULL;
      UPDATE recovery_records SET checksum = NULL`)
  }
  database.close()
}

const byStockClient: Open = (filename) =>
  SqlStorage.layer({ durability: "process-crash", patience: "50 millis" }).pipe(
    Layer.provide(StockClient.layer({ filename }))
  )

describe("a database with damaged columns", () => {
  it.scopedLive("fails with typed errors, or is right; without checksums it never dies, on either client", () =>
    Effect.gen(function* () {
      const { expected, filename, victim } = yield* prepared
      assert.deepStrictEqual(wrongIn(expected, expected), [])
      copy(filename, victim)
      assert.deepStrictEqual(wrongIn(yield* look(victim, byStockClient), expected), [])
      const columns = columnsOf(filename)
      const damage = FastCheck.record({
        column: FastCheck.integer({ min: 0, max: columns.length - 1 }),
        row: FastCheck.option(FastCheck.nat(200), { nil: undefined }),
        value: garbage,
        checks: FastCheck.boolean()
      })
      const all = FastCheck.sample(damage, { seed: seedOf(18), numRuns: lengthOf("DAMAGED_COLUMNS") })
      const found: Array<unknown> = []
      for (const [i, { checks, column, row, value }] of all.entries()) {
        copy(filename, victim)
        const place = columns[column] as Column
        overwrite(victim, place, row, value, checks)
        const open = i % 2 === 0 ? undefined : byStockClient
        const wrong = wrongIn(yield* look(victim, open), checks && isChecked(place) ? expected : undefined)
        if (wrong.length > 0) found.push({ ...place, row, value, checks, isStock: open !== undefined, wrong })
      }
      assert.deepStrictEqual(found, [])
    })
  )
})

/**
 * What changes while a run is open, and locks and counters, have no checksum. A
 * checkpoint that its columns no longer lead to looks like one that was removed.
 */
const isChecked = ({ column, table }: Column): boolean =>
  !(table === "recovery_snapshots" && ["run", "name", "kind", "rewound"].includes(column)) &&
  !["recovery_locks", "recovery_counters"].includes(table) &&
  !["key", "token", "owner", "lease_until", "due_at", "waiting"].includes(column)

describe("a database with flipped bits", () => {
  it.scopedLive("fails with typed errors, is right, or is in an older state", () =>
    Effect.gen(function* () {
      const { expected, filename, victim } = yield* prepared
      const flip = FastCheck.record({
        suffix: FastCheck.constantFrom("", "", "-wal"),
        at: FastCheck.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        bit: FastCheck.nat(7)
      })
      const all = FastCheck.sample(flip, { seed: seedOf(3), numRuns: lengthOf("FLIPS") })
      const found: Array<unknown> = []
      for (const { at, bit, suffix } of all) {
        copy(filename, victim)
        const content = fs.readFileSync(`${victim}${suffix}`)
        const offset = Math.floor(at * content.length)
        content[offset] = (content[offset] as number) ^ (1 << bit)
        fs.writeFileSync(`${victim}${suffix}`, content)
        const wrong = wrongIn(yield* look(victim), expected)
        if (wrong.length > 0) found.push({ suffix, offset, bit, wrong })
      }
      assert.deepStrictEqual(found, [])
    })
  )
})
