import { SqlClient } from "@effect/sql/SqlClient"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Step, Workflow } from "effect-recovery"
import { SqlStorage } from "effect-recovery/sql"
import { reserveWatched } from "../../../src/storage/silence.js"
import { makePrepared } from "../../../src/storage/sql/prepared.js"
import { inPostgres } from "../../support/postgres.js"
import { entry, leased, lines, noting, open, reasonOf } from "./support.js"

/** What a statement of a run does. */
const purpose = (text: string): string | undefined => {
  const [, place] = /INSERT INTO \S+?(runs|journal)"/.exec(text) ?? []
  if (place === "journal") return text.includes("synchronous_commit") ? "line, unsynced" : "line"
  if (place === "runs") return "open"
  return /^UPDATE \S+runs" SET status/.test(text) ? "end" : undefined
}

/** The statements that the one connection of a client keeps, and how often each was planned for its values. */
const kept = Effect.flatMap(SqlClient, (sql) =>
  Effect.map(
    sql.unsafe<{ readonly statement: string; readonly planned: number }>(
      "SELECT statement, custom_plans::int AS planned FROM pg_prepared_statements"
    ),
    (rows) => rows.map(({ planned, statement }) => ({ does: purpose(statement), planned }))
  )
)

const steps = ["a", "b", "c", "d"].map((name) => Step.make(name, { run: Effect.void }))
const Four = Workflow.make("four", {}, () => Effect.all(steps, { discard: true }))
const executeAll = (...ids: ReadonlyArray<string>) =>
  Effect.forEach(ids, (id) => Workflow.execute(Four, { id }), { discard: true })

inPostgres("statements of a run on Postgres", (database) => {
  it.live("are two for each step, one to open it and one to end it; six of them wait for the disk", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const note = (text: string) => {
        const does = purpose(text)
        if (does !== undefined) ran.push(does)
      }
      const client = noting(note).pipe(Layer.provide(database.client({ maxConnections: 1 })))
      yield* Effect.provide(executeAll("counted"), SqlStorage.layer().pipe(Layer.provide(client)))
      const step = ["line, unsynced", "line"]
      assert.deepStrictEqual(ran, ["open", ...step, ...step, ...step, ...step, "end"])
    })
  )

  it.live("are kept by the server, and planned a few times only", () =>
    Effect.gen(function* () {
      const client = database.client({ maxConnections: 1 })
      const ids = Array.from({ length: 10 }, (_, i) => `kept-${i}`)
      const rows = yield* Effect.provide(
        Effect.zipRight(executeAll(...ids), kept),
        Layer.provideMerge(SqlStorage.layer(), client)
      )
      assert.deepStrictEqual(rows.map(({ does }) => does).toSorted(), ["end", "line", "line, unsynced", "open"])
      // After five plans the server has a plan for all values.
      for (const { planned } of rows) assert.isAtMost(planned, 5)
    })
  )

  it.scopedLive("leave only the commits of start markers unsynced that may be lost", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client({ maxConnections: 1 }))
      yield* sql.unsafe("CREATE TABLE commits (seq BIGINT, setting TEXT)")
      yield* sql.unsafe(`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO commits VALUES (NEW.seq, current_setting('synchronous_commit')); RETURN NEW; END $$`)
      yield* sql.unsafe("CREATE TRIGGER note AFTER INSERT ON recovery_journal FOR EACH ROW EXECUTE FUNCTION note()")
      const lease = yield* leased(store, "markers")
      const append = (durability: "process-crash" | undefined, ...seqs: ReadonlyArray<number>) =>
        store.append(
          lease,
          seqs.map((seq) => entry(seq)),
          durability
        )
      yield* append("process-crash", 1)
      yield* append(undefined, 2)
      // These share a statement, which one of them needs synced.
      yield* Effect.all([append("process-crash", 3), append(undefined, 4)], { concurrency: "unbounded" })
      yield* sql.unsafe("DROP TRIGGER note ON recovery_journal")
      const commits = yield* sql.unsafe<{ readonly seq: number; readonly setting: string }>(
        "SELECT seq::int AS seq, setting FROM commits ORDER BY seq"
      )
      assert.deepStrictEqual(
        commits.map(({ seq, setting }) => [seq, setting]),
        [
          [1, "off"],
          [2, "on"],
          [3, "on"],
          [4, "on"]
        ]
      )
      assert.deepStrictEqual(yield* lines(store, lease.key), [1, 2, 3, 4])
    })
  )

  it.scopedLive("write lines again that a crash of the server took before they were synced", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client({ maxConnections: 1 }))
      const take = (...seqs: ReadonlyArray<number>) =>
        sql.unsafe("DELETE FROM recovery_journal WHERE run = $1 AND seq = ANY($2::bigint[])", [lease.key, seqs])
      const lease = yield* leased(store, "crashed")
      const marker = (seq: number) => store.append(lease, [entry(seq)], "process-crash")
      yield* marker(1)
      yield* take(1)
      yield* store.append(lease, [entry(2)])
      assert.deepStrictEqual(yield* lines(store, lease.key), [1, 2])
      // Several of them, of which the server has kept the first.
      yield* Effect.forEach([3, 4, 5], marker)
      yield* take(4, 5)
      yield* marker(6)
      assert.deepStrictEqual(yield* lines(store, lease.key), [1, 2, 3, 4, 5, 6])
      // Lines that share a statement.
      yield* marker(7)
      yield* take(7)
      yield* Effect.all([store.append(lease, [entry(8)]), store.append(lease, [entry(9)])], {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(yield* lines(store, lease.key), [1, 2, 3, 4, 5, 6, 7, 8, 9])
      // What was synced is not expected again.
      yield* take(9)
      yield* store.append(lease, [entry(10)])
      assert.deepStrictEqual(yield* lines(store, lease.key), [1, 2, 3, 4, 5, 6, 7, 8, 10])
    })
  )

  it.scopedLive("write no lines again under a lease that is lost, or of a journal that was begun again", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client({ maxConnections: 1 }))
      const lease = yield* leased(store, "lost")
      yield* store.append(lease, [entry(1)], "process-crash")
      yield* store.continueAs(lease, { input: "{}", entry: entry(2), read: [] })
      yield* store.append(lease, [entry(3)])
      assert.deepStrictEqual(yield* lines(store, lease.key), [2, 3])
      yield* store.append(lease, [entry(4)], "process-crash")
      yield* sql.unsafe("DELETE FROM recovery_journal WHERE run = $1 AND seq = 4", [lease.key])
      yield* store.release(lease.owner)
      yield* leased(store, "lost", "another/1")
      assert.strictEqual(yield* reasonOf(store.append(lease, [entry(5)])), "LeaseLost")
      assert.deepStrictEqual(yield* lines(store, lease.key), [2, 3])
    })
  )

  it.scopedLive("go without names once the server does not know one, as behind a pooler", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client({ maxConnections: 1 }))
      const lease = yield* leased(store, "pooled")
      yield* store.append(lease, [entry(1)])
      yield* sql.unsafe("DEALLOCATE ALL")
      yield* store.append(lease, [entry(2)])
      yield* store.append(lease, [entry(3)])
      assert.deepStrictEqual(yield* lines(store, lease.key), [1, 2, 3])
      assert.deepStrictEqual(yield* Effect.provideService(kept, SqlClient, sql), [])
    })
  )

  it.scopedLive("go without names where another program of the pooler has used one", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client({ maxConnections: 1 }))
      const lease = yield* leased(store, "named")
      yield* store.append(lease, [entry(1)])
      const [{ name }] = (yield* sql.unsafe(
        "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%_journal%'"
      )) as [{ readonly name: string }] // there is one such statement
      const { sql: other, store: later } = yield* open(database.client({ maxConnections: 1 }))
      yield* other.unsafe(`PREPARE ${name} AS SELECT 1`)
      yield* later.append(lease, [entry(2)])
      assert.deepStrictEqual(yield* lines(store, lease.key), [1, 2])
    })
  )

  it.scopedLive("are planned again once a column that they return has another type", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client({ maxConnections: 1 }))
      const lease = yield* leased(store, "migrated")
      yield* store.append(lease, [entry(1)])
      yield* sql.unsafe("ALTER TABLE recovery_journal ALTER COLUMN seq TYPE numeric")
      yield* store.append(lease, [entry(2)])
      yield* sql.unsafe("ALTER TABLE recovery_journal ALTER COLUMN seq TYPE bigint")
      yield* Effect.forEach([3, 4], (seq) => store.append(lease, [entry(seq)]))
      assert.deepStrictEqual(yield* lines(store, lease.key), [1, 2, 3, 4])
      const rows = yield* Effect.provideService(kept, SqlClient, sql)
      assert.deepStrictEqual(rows.map(({ does }) => does).toSorted(), ["line", "open"])
    })
  )

  it.scopedLive("get a new plan when theirs is old", () =>
    Effect.gen(function* () {
      const { sql } = yield* open(database.client({ maxConnections: 1 }))
      const planOften = makePrepared(0)
      const planOnce = makePrepared(Number.POSITIVE_INFINITY)
      const connection = yield* reserveWatched(sql)
      for (let i = 0; i < 3; i++) {
        assert.deepStrictEqual(yield* planOften(connection, "SELECT $1::int AS often", [i]), [{ often: i }])
        assert.deepStrictEqual(yield* planOnce(connection, "SELECT $1::int AS once", [i]), [{ once: i }])
      }
      const rows = yield* connection.execute(
        "SELECT statement, custom_plans::int AS plans FROM pg_prepared_statements ORDER BY 1",
        [],
        undefined
      )
      assert.deepStrictEqual(rows, [
        { statement: "SELECT $1::int AS often", plans: 1 },
        { statement: "SELECT $1::int AS once", plans: 3 }
      ])
    })
  )
})
