import { SqlClient } from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Step, Storage, Workflow } from "effect-recovery"
import { inPostgres } from "../support/postgres.js"

const reasonOf = (error: unknown) => (error instanceof Storage.StorageError ? error.reason : error)

/** The client, with another COMMIT of its reserved connections. */
const withCommit = (commit: (connection: Connection) => Effect.Effect<unknown, SqlError>) =>
  Layer.effect(
    SqlClient,
    Effect.map(SqlClient, (client) => {
      const reserve = Effect.map(
        client.reserve,
        (connection) =>
          new Proxy(connection, {
            get: (target, name) =>
              name === "executeRaw"
                ? (sql: string, params: ReadonlyArray<unknown>) =>
                    sql === "COMMIT" ? commit(target) : target.executeRaw(sql, params)
                : Reflect.get(target, name)
          })
      )
      return new Proxy(client, { get: (target, name) => (name === "reserve" ? reserve : Reflect.get(target, name)) })
    })
  )

const numbersOf = Effect.flatMap(SqlClient, (sql) =>
  Effect.map(sql<{ readonly n: number }>`SELECT n FROM numbers ORDER BY n`, (rows) => rows.map(({ n }) => n))
)

const insert = (n: number) => Effect.flatMap(SqlClient, (sql) => Effect.asVoid(sql`INSERT INTO numbers VALUES (${n})`))

/** Steps of rows: their rows are in the same database or in another one than their journal. */
const kinds = [
  ["transactional", Step.transactional],
  ["once", Step.once]
] as const

inPostgres("a step with rows in Postgres", (database) => {
  const fresh = Effect.orDie(
    Effect.provide(
      Effect.flatMap(SqlClient, (sql) =>
        Effect.all([
          sql`DROP TABLE IF EXISTS numbers`,
          sql`CREATE TABLE numbers (n INTEGER PRIMARY KEY)`,
          sql`DROP TABLE IF EXISTS effect_recovery_once`
        ])
      ),
      database.client()
    )
  )

  const execute = (step: Effect.Effect<unknown, never, unknown>) =>
    Workflow.execute(
      // The step needs the run around it.
      Workflow.make("numbers", {}, () => Effect.asVoid(step) as Effect.Effect<void>),
      { id: "1" }
    )

  for (const [name, make] of kinds) {
    it.scopedLive(`that catches the error of a statement is refused, and told of savepoints (${name})`, () =>
      Effect.gen(function* () {
        yield* fresh
        const step = make("step", { run: Effect.orDie(Effect.zipRight(insert(1), Effect.ignore(insert(1)))) })
        const error = yield* Effect.flip(Effect.provide(execute(step), [Storage.layerMemory, database.client()]))
        assert.strictEqual(reasonOf(error), "Aborted")
        assert.match(`${error}`, /sql\.withTransaction inside of the step/)
        assert.deepStrictEqual(yield* Effect.provide(numbersOf, database.client()), [])
      })
    )

    it.scopedLive(`continues after a statement that has failed in a savepoint (${name})`, () =>
      Effect.gen(function* () {
        yield* fresh
        const again = Effect.flatMap(SqlClient, (sql) => Effect.ignore(sql.withTransaction(insert(1))))
        const step = make("step", {
          run: Effect.orDie(insert(1).pipe(Effect.zipRight(again), Effect.zipRight(insert(2))))
        })
        yield* Effect.provide(execute(step), [Storage.layerMemory, database.client()])
        assert.deepStrictEqual(yield* Effect.provide(numbersOf, database.client()), [1, 2])
      })
    )

    it.scopedLive(`is not taken for committed if a statement that nothing waits for has aborted it (${name})`, () =>
      Effect.gen(function* () {
        yield* fresh
        const client = withCommit((connection) =>
          Effect.zipRight(Effect.ignore(connection.executeRaw("SELECT 1 / 0", [])), connection.executeRaw("COMMIT", []))
        ).pipe(Layer.provide(database.client()))
        const step = make("step", { run: Effect.orDie(insert(1)) })
        // Makes the table.
        yield* Effect.provide(Step.cleanupOnce({ olderThan: "1 day" }), database.client())
        const error = yield* Effect.flip(Effect.provide(execute(step), [Storage.layerMemory, client]))
        assert.strictEqual(reasonOf(error), "Aborted")
        assert.deepStrictEqual(yield* Effect.provide(numbersOf, database.client()), [])
      })
    )
  }

  it.scopedLive("finds out what became of a commit whose answer was lost", () =>
    Effect.gen(function* () {
      yield* fresh
      let ran = 0
      let breaks: "before" | "after" | undefined
      const client = withCommit((connection) => {
        const [now, lost] = [breaks, new SqlError({ cause: new Error("Connection terminated unexpectedly") })]
        breaks = undefined
        if (now === "before") {
          return Effect.zipRight(database.endBackends("@effect/sql-pg"), connection.executeRaw("COMMIT", []))
        }
        return Effect.zipRight(connection.executeRaw("COMMIT", []), now === "after" ? Effect.fail(lost) : Effect.void)
      }).pipe(Layer.provide(database.client()))
      const step = Step.once("step", { run: Effect.orDie(Effect.suspend(() => insert(++ran))) })
      yield* Effect.gen(function* () {
        yield* Step.cleanupOnce({ olderThan: "1 day" })
        breaks = "before"
        assert.strictEqual(reasonOf(yield* Effect.flip(execute(step))), "Transaction")
        breaks = "after"
        assert.strictEqual(reasonOf(yield* Effect.flip(execute(step))), "Transaction")
        yield* execute(step)
        assert.strictEqual(ran, 2)
        assert.deepStrictEqual(yield* numbersOf, [2])
      }).pipe(Effect.provide([Storage.layerMemory, client]))
    })
  )

  it.scopedLive(
    "of a program that may not create tables works with the table of a migration, and asks for it before",
    () =>
      Effect.gen(function* () {
        yield* fresh
        const step = Step.once("step", { run: Effect.orDie(insert(1)) })
        const run = Effect.provide(execute(step), [Storage.layerMemory, database.client()])
        yield* database.query("ALTER SCHEMA public OWNER TO postgres")
        yield* database.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC, program")
        const error = yield* Effect.flip(run)
        assert.strictEqual(reasonOf(error), "Forbidden")
        assert.match(`${error}`, /Step\.onceTable.*permission denied/)
        yield* database.query(Step.onceTable)
        yield* database.query("GRANT SELECT, INSERT, UPDATE, DELETE ON effect_recovery_once TO program")
        yield* run
        yield* run
        assert.deepStrictEqual(yield* Effect.provide(numbersOf, database.client()), [1])
        yield* database.query("DROP TABLE effect_recovery_once")
        yield* database.query("ALTER SCHEMA public OWNER TO pg_database_owner")
      })
  )

  it.scopedLive("creates its table together with other first starts", () =>
    Effect.gen(function* () {
      for (let round = 0; round < 5; round++) {
        yield* fresh
        const start = Effect.provide(Step.cleanupOnce({ olderThan: "1 day" }), database.client())
        yield* Effect.all(
          Array.from({ length: 6 }, () => start),
          { concurrency: "unbounded" }
        )
      }
    })
  )
})
