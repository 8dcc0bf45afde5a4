import type { SqlClient as Client } from "@effect/sql/SqlClient"
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as StockClient from "@effect/sql-sqlite-node/SqliteClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Storage } from "effect-recovery"
import { SqlStorage } from "effect-recovery/sql"
import { inAnyPostgres } from "../../support/postgres.js"

const entry = (seq: number): Storage.Entry => ({
  seq,
  kind: "StepCompleted",
  step: "charge",
  attempt: 1,
  at: 1_000,
  payload: `{"n":${seq}}`
})

const snapshot = (name: string, more: Partial<Storage.NewSnapshot> = {}): Storage.NewSnapshot => ({
  run: "order-1",
  step: "",
  seq: 1,
  name,
  own: undefined,
  kind: "manual",
  version: 1,
  schema: "s",
  digest: "",
  size: 2,
  encoding: "json",
  labels: {},
  about: "{}",
  at: 1_000,
  state: "{}",
  ...more
})

const record = (id: string): Storage.RecordWrite => ({
  kind: "failure",
  id,
  subject: "order-1",
  scope: "",
  status: "open",
  labels: {},
  revision: 0,
  body: "{}"
})

/** More rows of each kind than one page has. */
const fill = (store: Storage.Store) =>
  Effect.gen(function* () {
    for (let i = 1; i <= 205; i++) {
      const request = { id: `order-${i}`, workflow: "checkout", version: "1", input: "{}", labels: {} }
      const opened = yield* store.open(request, "owner", 30_000)
      if (opened._tag !== "Created") return yield* Effect.dieMessage("The run is not new")
      if (i > 2) continue
      yield* store.append(opened.lease, [entry(1), entry(2), entry(3)])
      yield* store.signal(`order-${i}`, "approval", "{}")
    }
    yield* store.saveAll([
      { snapshot: snapshot("labelled", { labels: { "a\0b": "it's", stage: "1" } }) },
      { snapshot: snapshot("unlabelled") },
      { snapshot: snapshot("bytes", { state: new Uint8Array([1, 2, 3]), encoding: "bytes" }) },
      ...Array.from({ length: 205 }, () => ({ snapshot: snapshot("other", { run: undefined }) }))
    ])
    for (let i = 1; i <= 205; i++) yield* store.write(record(`failure-${i}`), [{ name: "failures", add: 1 }])
    yield* store.lock("lock", "owner", 30_000)
  })

/** Changes rows as a failing disk or a wrong hand would. */
const spoil = (sql: Client): Effect.Effect<void, SqlError> => {
  const isPg = sql.onDialectOrElse({ pg: () => true, orElse: () => false })
  const run = (text: string) => sql.unsafe(text)
  return Effect.all([
    ...(isPg ? [] : [run("PRAGMA foreign_keys = OFF")]),
    run(`UPDATE recovery_runs SET input = '{"amount":2}' WHERE id = 'order-1'`),
    run(`UPDATE recovery_runs SET signals = 2 WHERE id = 'order-2'`),
    run(`DELETE FROM recovery_journal WHERE seq = 2 AND run = (SELECT key FROM recovery_runs WHERE id = 'order-1')`),
    run(
      `UPDATE recovery_journal SET payload = '{"n":9}' WHERE seq = 1 AND run = (SELECT key FROM recovery_runs WHERE id = 'order-2')`
    ),
    run(`UPDATE recovery_signals SET payload = '[]' WHERE run = (SELECT key FROM recovery_runs WHERE id = 'order-1')`),
    isPg
      ? run(`UPDATE recovery_snapshots SET bytes = '\\x0102' WHERE name = 'bytes'`)
      : run(`UPDATE recovery_snapshots SET state = x'0102' WHERE name = 'bytes'`),
    run(`UPDATE recovery_snapshots SET about = '{"x":1}' WHERE key = (SELECT MAX(key) FROM recovery_snapshots)`),
    run(`DELETE FROM recovery_labels WHERE label = 'stage'`),
    run(`INSERT INTO recovery_labels SELECT 'stage', '2', key FROM recovery_snapshots WHERE name = 'unlabelled'`),
    run(`UPDATE recovery_records SET body = '[]' WHERE id = 'failure-203'`),
    run(`DELETE FROM recovery_runs WHERE id = 'order-205'`),
    run(`INSERT INTO recovery_journal (run, seq, kind, step, attempt, at) VALUES (999999, 1, 'x', '', 1, 1)`)
  ]).pipe(Effect.asVoid)
}

const mismatch = "its checksum is not that of its content"

const expected: ReadonlyArray<readonly [what: RegExp, run: string | undefined, problem: string]> = [
  [/^the run$/, "order-1", mismatch],
  [/^line 3 \(StepCompleted of "charge"\)$/, "order-1", "line 2 before it is missing"],
  [/^signal "approval"$/, "order-1", mismatch],
  [/^the run$/, "order-2", "it counts 2 signals, and 1 are stored"],
  [/^line 1 \(StepCompleted of "charge"\)$/, "order-2", mismatch],
  [/^1 lines$/, "number 999999", "their run is not stored"],
  [/^checkpoint "bytes" \(\d+\)$/, "order-1", mismatch],
  [/^checkpoint "other" \(\d+\)$/, undefined, mismatch],
  [/^labels of checkpoint "labelled" \(\d+\)$/, "order-1", "the index of labels lacks one of them"],
  [/^labels of checkpoint "unlabelled" \(\d+\)$/, "order-1", "the index of labels has one that the checkpoint has not"],
  [/^the record of failure "failure-203"$/, undefined, mismatch]
]

const finds = Effect.gen(function* () {
  const store = yield* SqlStorage.store()
  yield* fill(store)
  assert.deepStrictEqual(yield* store.check, [])
  yield* spoil(yield* SqlClient)
  const found = yield* store.check
  const missing = expected.filter(
    ([what, run, problem]) => !found.some((one) => what.test(one.what) && one.run === run && one.problem === problem)
  )
  assert.deepStrictEqual(missing, [], JSON.stringify(found, null, 1))
  assert.strictEqual(found.length, expected.length, JSON.stringify(found, null, 1))
})

describe("the check, by the stock client of SQLite", () => {
  it.scopedLive("finds what is damaged in each table, on every page", () =>
    Effect.provide(finds, StockClient.layer({ filename: ":memory:" }))
  )
})

inAnyPostgres("the check, on Postgres", (database) => {
  it.scopedLive("finds what is damaged in each table, on every page", () => Effect.provide(finds, database.client()))

  it.scopedLive("ends with an error where the tables cannot be read", () =>
    Effect.gen(function* () {
      const store = yield* SqlStorage.store({ prefix: "denied_", patience: 0 })
      yield* database.query(`ALTER TABLE denied_records OWNER TO CURRENT_USER`)
      const error = yield* Effect.flip(store.check)
      assert.instanceOf(error, Storage.StorageError)
      assert.strictEqual(error.reason, "Forbidden")
    }).pipe(Effect.provide(Layer.fresh(database.client())))
  )
})
