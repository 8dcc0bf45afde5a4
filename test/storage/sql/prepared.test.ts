import { SqlClient } from "@effect/sql/SqlClient"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Step, Workflow } from "effect-recovery"
import { SqlStorage } from "effect-recovery/sql"
import { reserveWatched } from "../../../src/storage/silence.js"
import { makePrepared } from "../../../src/storage/sql/prepared.js"
import { inPostgres } from "../../support/postgres.js"
import { entry, leased, lines, open } from "./support.js"

/** The statements that the one connection of a client keeps: what each does, and how often it was executed and planned. */
const kept = Effect.flatMap(SqlClient, (sql) =>
  Effect.map(
    sql.unsafe<{ readonly does: string; readonly times: number; readonly planned: number }>(
      `SELECT substring(statement FROM '(?:INSERT INTO|UPDATE) \\S+?(runs|journal)"') AS does,
         (generic_plans + custom_plans)::int AS times, custom_plans::int AS planned
       FROM pg_prepared_statements ORDER BY 1`
    ),
    (rows) => rows.map(({ does, planned, times }) => ({ does, times, planned }))
  )
)

inPostgres("statements of a run on Postgres", (database) => {
  it.live("are two for each step, one to open it and one to end it, and are planned a few times only", () =>
    Effect.gen(function* () {
      const steps = ["a", "b", "c", "d"].map((name) => Step.make(name, { run: Effect.void }))
      const Four = Workflow.make("four", {}, () => Effect.all(steps, { discard: true }))
      const runs = Array.from({ length: 10 }, (_, i) => `four-${i}`)
      const client = database.client({ maxConnections: 1 })
      const rows = yield* Effect.provide(
        Effect.zipRight(
          Effect.forEach(runs, (id) => Workflow.execute(Four, { id }), { discard: true }),
          kept
        ),
        Layer.provideMerge(SqlStorage.layer(), client)
      )
      const timesOf = (what: string) => rows.filter(({ does }) => does === what).map(({ times }) => times)
      assert.deepStrictEqual(timesOf("journal"), [80])
      // The one opens runs, the other one ends them.
      assert.deepStrictEqual(timesOf("runs"), [10, 10])
      for (const { planned } of rows) assert.isAtMost(planned, 5)
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
