import * as SqlClient from "@effect/sql/SqlClient"
import type * as PgClient from "@effect/sql-pg/PgClient"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Step, Storage, Worker, Workflow } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { sessionConfig } from "../../../src/storage/pg/config.js"
import { marker, placeOf } from "../../../src/storage/pg/liveness.js"
import { lengthOf } from "../../support/campaigns.js"
import { type Database, inOwnPostgres, inPostgres, type ServedDatabase } from "../../support/postgres.js"
import { eventually } from "../../support/time.js"

const { channel } = placeOf("public", "recovery_")

/** The storage of one process, and the client of its program. */
const processOf = (database: Database, options: PgStorage.Options & PgClient.PgClientConfig = {}) =>
  Layer.provideMerge(PgStorage.layer(options), database.client(options))

const connectionsOf = (database: ServedDatabase, application: string) =>
  Effect.map(
    database.query("SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = $1", [application]),
    ([row]) => row?.["count"]
  )

inPostgres("PgStorage with a pool of one", (database) => {
  it.scopedLive("does not wait for itself when many transactional bodies read the store", () =>
    Effect.gen(function* () {
      yield* Effect.flatMap(SqlClient.SqlClient, (sql) => sql`CREATE TABLE rows (run TEXT)`)
      const Write = Step.transactional("write", {
        success: Schema.String,
        run: (run: string) =>
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* sql`INSERT INTO rows VALUES (${run})`
            const storage = yield* Storage.Storage
            const read = yield* Effect.either(storage.list({}))
            return read._tag === "Left" ? read.left.reason : "read"
          }).pipe(Effect.orDie)
      })
      const Transfer = Workflow.make("transfer", { input: Schema.String, success: Schema.String }, (run) => Write(run))
      const ids = Array.from({ length: 20 }, (_, i) => `transfer-${i}`)
      const answers = yield* Effect.forEach(ids, (id) => Workflow.execute(Transfer, { id, input: id }), {
        concurrency: "unbounded"
      })
      expect(answers).toEqual(ids.map(() => "Client"))
      expect(yield* database.query("SELECT count(*)::int AS rows FROM rows")).toEqual([{ rows: 20 }])
    }).pipe(Effect.provide(processOf(database, { maxConnections: 1 })))
  )

  it.scopedLive("renews leases while a transaction of the program has the only connection", () =>
    Effect.gen(function* () {
      const until = Effect.map(
        database.query("SELECT lease_until AS until FROM recovery_runs WHERE id = 'long'"),
        ([row]) => Number(row?.["until"])
      )
      const Long = Workflow.make("long", {}, () =>
        Step.transactional("hold", {
          run: (_: number) =>
            Effect.gen(function* () {
              yield* Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT 1`)
              const first = yield* until
              for (let renewals = 1; renewals <= 3; renewals++) {
                const before = yield* until
                yield* eventually(until, (now) => now > before)
              }
              expect(yield* until).toBeGreaterThan(first + 300)
            }).pipe(Effect.orDie)
        })(0)
      )
      yield* Workflow.execute(Long, { id: "long" })
    }).pipe(Effect.provide(processOf(database, { maxConnections: 1, lease: "1 second" })))
  )
})

inPostgres("the connection of PgStorage for leases", (database) => {
  it.scopedLive("is distinguished by its name, and needs a place on the server", () =>
    Effect.gen(function* () {
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Layer.build(processOf(database, { applicationName: "orders" }))
          expect(yield* connectionsOf(database, "orders (leases)")).toBe(1)
        })
      )
      yield* eventually(connectionsOf(database, "orders (leases)"), (count) => count === 0)
      yield* database.limitConnections(1)
      const built = Effect.scoped(Layer.build(processOf(database, { maxConnections: 1 })))
      const error = yield* Effect.flip(built)
      yield* database.limitConnections(-1)
      expect(error).toMatchObject({ _tag: "StorageError", reason: "Unavailable" })
    })
  )

  for (const clock of ["server", "program"] as const) {
    it.scopedLive(`ends the leases of a process that is gone, by the clock of the ${clock}`, () =>
      Effect.gen(function* () {
        const client = yield* Layer.build(database.client())
        const store = yield* Effect.provide(PgStorage.store({ prefix: `${clock}_`, clock }), client)
        const request = { id: "1", workflow: "w", version: "1", labels: {}, input: "" }
        yield* store.open(request, `gone${marker}/1`, 3_600_000)
        const due = Effect.map(
          store.claimDue({ workflows: [{ workflow: "w", version: "1" }], limit: 1 }, "me", 1_000),
          (runs) => runs.length
        )
        yield* eventually(due, (count) => count === 1)
      })
    )
  }

  it.scopedLive("opens while other processes say that runs change", () =>
    Effect.gen(function* () {
      const say = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT pg_notify(${channel}, '["changed"]')`)
      const loud = Effect.forEach([1, 2, 3, 4], () => Effect.forever(say), { concurrency: "unbounded" })
      yield* Effect.forkScoped(Effect.provide(loud, database.client()))
      for (let opened = 0; opened < 10; opened++) yield* Effect.scoped(Layer.build(processOf(database)))
    })
  )

  it("goes where the pool goes, except for what is given", () => {
    const client = {
      url: Redacted.make("postgres://ada:secret@pooler:6432/orders?application_name=x"),
      host: "pooler",
      applicationName: "orders"
    }
    expect(sessionConfig(client)).toMatchObject({
      connectionString: "postgres://ada:secret@pooler:6432/orders?application_name=x",
      application_name: "orders (leases)"
    })
    expect(sessionConfig(client, { host: "server", port: 5432 })).toMatchObject({
      host: "server",
      port: 5432,
      user: "ada",
      password: "secret",
      database: "orders"
    })
    const url = Redacted.make("postgres://ada:secret@server/orders")
    expect(sessionConfig(client, { url })).toMatchObject({ connectionString: "postgres://ada:secret@server/orders" })
  })
})

inOwnPostgres("PgStorage while its server is restarted", (database, server) => {
  const restarts = lengthOf("SERVER_RESTARTS")
  const runs = 10 * restarts

  it.scopedLive(`ends all of ${runs} runs in two processes over ${restarts} restarts, without a defect`, () =>
    Effect.gen(function* () {
      const steps = Array.from({ length: 5 }, (_, i) =>
        Step.make(`step-${i}`, {
          success: Schema.Number,
          run: (n: number) => Effect.as(Effect.sleep("5 millis"), n + 1)
        })
      )
      const defects: Array<unknown> = []
      const Count = Workflow.make("count", { success: Schema.Number }, () =>
        Effect.reduce(steps, 0, (n, step) => step(n))
      )
      const worker = Layer.provide(Worker.layer([Count], { sweep: "100 millis" }), processOf(database))
      yield* Layer.build(worker)
      yield* Layer.build(worker)
      const caller = yield* Layer.build(processOf(database))
      const again = Schedule.spaced("20 millis")
      /** What a caller does whose storage cannot be reached. */
      const insist = <A, E, R>(self: Effect.Effect<A, E, R>) =>
        Effect.retry(
          Effect.tapDefect(self, (cause) => Effect.sync(() => defects.push(cause))),
          again
        )
      const callers = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: runs }, (_, i) => `count-${i}`),
          (id) => Effect.zipRight(insist(Workflow.start(Count, { id })), insist(Workflow.join(Count, id))),
          { concurrency: 10 }
        ).pipe(Effect.provide(caller))
      )
      for (let restart = 0; restart < restarts; restart++) {
        const ending = (["fast", "immediate", "killed"] as const)[restart % 3] ?? "fast"
        yield* Effect.promise(() => server().restart(ending))
        // The next one finds it at work again.
        const ended = database.query("SELECT count(*)::int AS ended FROM recovery_runs WHERE status IS NOT NULL")
        yield* eventually(ended, ([row]) => Number(row?.["ended"]) >= Math.min(runs, 10 * restart))
      }
      const exit = yield* Effect.exit(callers)
      expect(Exit.isSuccess(exit) ? exit.value : exit).toEqual(Array.from({ length: runs }, () => 5))
      expect(defects).toEqual([])
    })
  )
})
