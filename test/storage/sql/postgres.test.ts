import { SqlClient } from "@effect/sql/SqlClient"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { pgMigrations } from "../../../src/storage/sql/pgMigrations.js"
import { inOwnPostgres, inPostgres } from "../../support/postgres.js"
import { eventually } from "../../support/time.js"
import { entry, leased, lines, open, reasonOf, request } from "./support.js"

const died = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.catchAll(self, (error) => Effect.die(error))

inPostgres("SqlStorage on Postgres", (database) => {
  it.scopedLive("a refused COMMIT of a transactional step is a Constraint, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client())
      yield* sql.unsafe("CREATE TABLE banks (id INT PRIMARY KEY)")
      yield* sql.unsafe(
        "CREATE TABLE accounts (id INT PRIMARY KEY, bank INT REFERENCES banks DEFERRABLE INITIALLY DEFERRED)"
      )
      const lease = yield* leased(store, "constraint")
      const body = Effect.as(died(sql`INSERT INTO accounts (id, bank) VALUES (1, 7)`), ["done", [entry(1)]] as const)
      assert.strictEqual(yield* reasonOf(store.transactional(lease, body)), "Constraint")
      assert.deepStrictEqual(yield* lines(store, lease.key), [])
      yield* sql`INSERT INTO banks (id) VALUES (7)`
      assert.strictEqual(yield* store.transactional(lease, body), "done")
      assert.deepStrictEqual(yield* lines(store, lease.key), [1])
    })
  )

  it.scopedLive("a caught SQL error aborts the step, unless it is inside of a savepoint", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client())
      yield* sql.unsafe("CREATE TABLE rows (id INT PRIMARY KEY)")
      const lease = yield* leased(store, "aborted")
      const twice = Effect.zipRight(sql`INSERT INTO rows (id) VALUES (1)`, sql`INSERT INTO rows (id) VALUES (1)`)
      const caught = Effect.as(Effect.ignore(twice), ["done", [entry(1)]] as const)
      assert.strictEqual(yield* reasonOf(store.transactional(lease, caught)), "Aborted")
      assert.deepStrictEqual(yield* sql`SELECT id FROM rows`, [])
      const nested = Effect.as(Effect.ignore(sql.withTransaction(twice)), ["done", [entry(1)]] as const)
      assert.strictEqual(yield* store.transactional(lease, nested), "done")
      assert.deepStrictEqual(yield* lines(store, lease.key), [1])
    })
  )

  it.scopedLive("a pool of one serves steps, appends and signals that come at once", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client({ maxConnections: 1 }))
      const all = Array.from({ length: 8 }, (_, i) => `pool-${i}`)
      yield* Effect.forEach(
        all,
        (id) =>
          Effect.gen(function* () {
            const lease = yield* leased(store, id)
            yield* store.append(lease, [entry(1)])
            const body = Effect.gen(function* () {
              yield* died(sql`SELECT 1`)
              const inside = yield* Effect.forEach([store.find(id), store.append(lease, [entry(9)])], reasonOf)
              return [inside, [entry(2)]] as const
            })
            assert.deepStrictEqual(yield* store.transactional(lease, body), ["Client", "Client"])
            yield* store.signal(id, "go", "1")
            assert.deepStrictEqual(yield* lines(store, lease.key), [1, 2])
          }),
        { concurrency: "unbounded" }
      )
    })
  )

  it.scopedLive("texts come back as they were written", () =>
    Effect.gen(function* () {
      const { store } = yield* open(database.client())
      const lease = yield* leased(store, "texts")
      const texts = ["a\0b", "\u0001", "\u0001\u0001\0\u0002", "'\"\\{}", "😀", "x".repeat(1_000)]
      yield* store.append(
        lease,
        texts.map((text, i) => ({ ...entry(i + 1, text), step: text }))
      )
      yield* store.append(lease, [entry(10, "\0")])
      const journal = yield* store.journal(lease.key)
      assert.deepStrictEqual(
        journal.map(({ payload }) => payload),
        [...texts, "\0"]
      )
      assert.deepStrictEqual(
        journal.slice(0, -1).map(({ step }) => step),
        texts
      )
      assert.deepStrictEqual(yield* store.check, [])
    })
  )

  it.scopedLive("the names of the program do not reach the rows of the store", () =>
    Effect.gen(function* () {
      const upper = (name: string) => name.toUpperCase()
      const { store } = yield* open(database.client({ transformQueryNames: upper, transformResultNames: upper }))
      const lease = yield* leased(store, "names")
      yield* store.append(lease, [entry(1)])
      assert.deepStrictEqual(yield* store.journal(lease.key), [entry(1)])
    })
  )

  it.scopedLive("two first starts at once create the tables once, in a schema that is created, too", () =>
    Effect.gen(function* () {
      const start = open(database.client(), { schema: "fresh", prefix: "Two_" })
      const all = yield* Effect.all([start, start, start], { concurrency: "unbounded" })
      for (const { store } of all) assert.deepStrictEqual(yield* store.list({}), [])
    })
  )

  it.scopedLive("tables of a newer version are refused, unless that version admits this one", () =>
    Effect.gen(function* () {
      const start = open(database.client(), { prefix: "newer_" })
      const { sql } = yield* start
      const insert = (id: number, reader: number) =>
        sql`INSERT INTO newer_migrations (id, name, reader) VALUES (${id}, 'later', ${reader})`
      yield* insert(9_998, 1)
      yield* start
      yield* insert(9_999, 9_999)
      assert.strictEqual(yield* reasonOf(start), "Version")
    })
  )

  it.scopedLive("tables of the version before are migrated beside its processes, whose rows are read", () =>
    Effect.gen(function* () {
      const names = (name: string) => `"older_${name}"`
      const [before] = pgMigrations(names, names)
      const context = yield* Layer.build(database.client())
      const sql = yield* Effect.provide(SqlClient, context)
      yield* sql.unsafe(`CREATE TABLE ${names("migrations")} (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, reader INTEGER NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT now()
      )`)
      yield* sql.unsafe(`INSERT INTO ${names("migrations")} (id, name, reader) VALUES (1, 'tables', 1)`)
      for (const statement of before?.statements ?? []) yield* sql.unsafe(statement)
      // As a process of the version before writes it, with or without our columns.
      const insert = (id: string) =>
        sql.unsafe(
          `INSERT INTO ${names("runs")} (id, workflow, version, input, labels, created_at, due_at, token, owner, lease_until)
           VALUES ('${id}', 'Order', '1', '{}', '{"tenant":"${id}"}', 1000, 2000, 1, NULL, NULL)`
        )
      yield* insert("early")
      const { store } = yield* open(database.client(), { prefix: "older_" })
      yield* insert("late")
      for (const id of ["early", "late"]) {
        const [run] = yield* store.list({ labels: { tenant: id } })
        assert.deepStrictEqual(
          [run?.id, run?.startedAt, run?.generation, run?.hold, run?.queue],
          [id, 1_000, 1, undefined, undefined]
        )
      }
      const due = yield* store.claimDue({ workflows: [{ workflow: "Order", version: "1" }], limit: 9 }, "new/1", 1_000)
      assert.strictEqual(due.length, 2)
    })
  )

  it.scopedLive("a schema without rights is Forbidden, and one that nothing selects is CannotOpen", () =>
    Effect.gen(function* () {
      yield* database.query("CREATE SCHEMA locked")
      assert.strictEqual(yield* reasonOf(open(database.client(), { schema: "locked" })), "Forbidden")
      const { sql } = yield* open(database.client({ maxConnections: 1 }))
      assert.isDefined(sql)
    })
  )

  it.scopedLive("a server that takes no writes is ReadOnly", () =>
    Effect.gen(function* () {
      yield* Effect.scoped(open(database.client()))
      yield* database.readOnly(true)
      yield* Effect.addFinalizer(() => database.readOnly(false))
      const { store } = yield* open(database.client())
      assert.strictEqual(yield* reasonOf(store.open(request("read-only"), "a/1", 1_000)), "ReadOnly")
      assert.strictEqual((yield* store.find("read-only"))._tag, "None")
    })
  )

  it.scopedLive("a server out of connections is Unavailable after the patience, and served again later", () =>
    Effect.gen(function* () {
      const { store } = yield* open(database.client({ idleTimeout: "1 millis" }), { patience: "50 millis" })
      yield* Effect.addFinalizer(() => database.limitConnections(-1))
      yield* database.limitConnections(0)
      yield* database.endBackends()
      yield* eventually(reasonOf(store.find("none")), (reason) => reason === "Unavailable")
      yield* database.limitConnections(-1)
      yield* eventually(reasonOf(store.find("none")), (reason) => reason === "Success")
    })
  )

  it.scopedLive("a transaction that a program of the pool has left open takes no line with it", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client({ maxConnections: 1 }))
      const { store: other } = yield* open(database.client())
      const leftOpen = Effect.scoped(
        Effect.flatMap(sql.reserve, (own) => own.executeUnprepared("BEGIN", [], undefined))
      )
      const lease = yield* leased(store, "left-open")
      yield* leftOpen
      yield* store.append(lease, [entry(1)])
      assert.deepStrictEqual(yield* lines(other, lease.key), [1])
      yield* leftOpen
      yield* store.renew([lease], 60_000)
      yield* sql.unsafe("ROLLBACK")
      yield* leftOpen
      yield* store.transactional(lease, Effect.succeed([undefined, [entry(2)]] as const))
      assert.deepStrictEqual(yield* lines(other, lease.key), [1, 2])
    })
  )

  it.scopedLive("appends whose backends are ended are stored once, in order", () =>
    Effect.gen(function* () {
      const { store } = yield* open(database.client({ applicationName: "victim" }))
      const leases = yield* Effect.forEach([1, 2, 3, 4], (n) => leased(store, `victim-${n}`))
      const killing = yield* Effect.fork(Effect.forever(database.endBackends("victim")))
      const numbers = Array.from({ length: 40 }, (_, i) => i + 1)
      yield* Effect.forEach(
        leases,
        (lease) =>
          Effect.forEach(
            numbers,
            // An append that failed for want of a connection finds its own line when it is repeated.
            (seq) => Effect.retry(store.append(lease, [entry(seq)]), { while: isTransient, times: 1_000 }),
            { discard: true }
          ),
        { concurrency: "unbounded" }
      )
      yield* Fiber.interrupt(killing)
      for (const { key } of leases) assert.deepStrictEqual(yield* lines(store, key), numbers)
      assert.deepStrictEqual(yield* store.check, [])
    })
  )

  it.scopedLive("steps whose backends are ended around the commit are recorded with their rows, or not at all", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client({ applicationName: "steps" }))
      yield* sql.unsafe("CREATE TABLE transfers (id INT PRIMARY KEY)")
      const lease = yield* leased(store, "transfers")
      const killing = yield* Effect.fork(Effect.forever(database.endBackends("steps")))
      const step = (id: number) =>
        store.transactional(
          lease,
          Effect.as(sql`INSERT INTO transfers (id) VALUES (${id})`, [id, [entry(id)]] as const)
        )
      const numbers = Array.from({ length: 30 }, (_, i) => i + 1)
      // A step that failed is done again, as a run does it. One that was recorded would violate the key.
      yield* Effect.forEach(numbers, (id) => Effect.retry(step(id), { while: isTransient, times: 1_000 }))
      yield* Fiber.interrupt(killing)
      assert.deepStrictEqual(yield* lines(store, lease.key), numbers)
      const rows = yield* eventually(Effect.either(sql`SELECT id FROM transfers`), ({ _tag }) => _tag === "Right")
      assert.strictEqual(rows._tag === "Right" ? rows.right.length : 0, numbers.length)
    })
  )

  it.scopedLive("a caller that is interrupted while it opens a run leaves no lease", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(database.client())
      for (let i = 0; i < 30; i++) {
        const owner = `interrupted/${i}`
        const fiber = yield* Effect.fork(store.open(request(`interrupted-${i}`), owner, 60_000))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(fiber)
        yield* store.release(owner)
      }
      const held = yield* sql`SELECT id FROM recovery_runs WHERE owner LIKE 'interrupted/%'`
      assert.deepStrictEqual(held, [])
    })
  )
})

/** What a run does again: the connection broke before the commit. */
const isTransient = (error: { readonly _tag: string; readonly reason?: string }): boolean =>
  error._tag === "SqlError" || error.reason === "Unavailable" || error.reason === "Transaction"

inOwnPostgres("SqlStorage on a Postgres that restarts", (database, server) => {
  it.scopedLive("waits for the server, and continues", () =>
    Effect.gen(function* () {
      const { store } = yield* open(database.client())
      const lease = yield* leased(store, "restart")
      yield* store.append(lease, [entry(1)])
      yield* Effect.promise(() => server().down("fast"))
      const appended = yield* Effect.fork(store.append(lease, [entry(2)]))
      const found = yield* Effect.fork(store.find("restart"))
      yield* Effect.promise(() => server().up())
      yield* Fiber.join(appended)
      assert.strictEqual((yield* Fiber.join(found))._tag, "Some")
      assert.deepStrictEqual(yield* lines(store, lease.key), [1, 2])
    })
  )
})
