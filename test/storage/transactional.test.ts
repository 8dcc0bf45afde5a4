import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlConnection from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Step, Storage, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { endsTransactions } from "../../src/storage/programClient.js"
import { temporaryFile } from "../support/files.js"

/** A client of the stock parts: one connection behind a semaphore, and the transactions of `SqlClient.make`. */
const stock = Layer.scoped(
  SqlClient.SqlClient,
  Effect.gen(function* () {
    const database = yield* Effect.acquireRelease(
      Effect.sync(() => new Database(":memory:")),
      (database) => Effect.sync(() => database.close())
    )
    database.pragma("foreign_keys = ON")
    const run = (sql: string, params: ReadonlyArray<unknown>) =>
      Effect.try({
        try: () => {
          const statement = database.prepare(sql)
          return statement.reader ? statement.all(...params) : [statement.run(...params)].slice(1)
        },
        catch: (cause) => new SqlError({ cause, message: "Failed to execute statement" })
      })
    const connection: SqlConnection.Connection = {
      execute: (sql, params) => run(sql, params),
      executeRaw: (sql, params) => run(sql, params),
      executeValues: (sql, params) => run(sql, params) as never,
      executeUnprepared: (sql, params) => run(sql, params),
      executeStream: () => Stream.die("not used")
    }
    const semaphore = yield* Effect.makeSemaphore(1)
    return yield* SqlClient.make({
      acquirer: semaphore.withPermits(1)(Effect.succeed(connection)),
      transactionAcquirer: Effect.as(
        Effect.acquireRelease(semaphore.take(1), () => semaphore.release(1)),
        connection
      ),
      compiler: Statement.makeCompilerSqlite(),
      spanAttributes: []
    })
  })
).pipe(Layer.provide(Reactivity.layer))

const own = SqliteClient.layer({ filename: ":memory:" })

/** Storages with the clients that the program may have beside them. */
const layers: ReadonlyArray<
  readonly [name: string, Layer.Layer<Storage.Storage | SqlClient.SqlClient, Storage.StorageError>]
> = [
  ["memory with the client of this library", Layer.merge(Storage.layerMemory, own)],
  ["memory with a stock client", Layer.merge(Storage.layerMemory, stock)],
  ["SQLite with its client", Layer.provideMerge(SqliteStorage.layerClient(), own)]
]

class Overdrawn extends Schema.TaggedError<Overdrawn>()("Overdrawn", {}) {}

const transfer = Step.transactional("transfer", {
  error: Overdrawn,
  run: (amount: number) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`UPDATE accounts SET balance = balance - ${amount} WHERE name = 'ada'`
      yield* sql`UPDATE accounts SET balance = balance + ${amount} WHERE name = 'bob'`
      const [ada] = yield* sql<{ readonly balance: number }>`SELECT balance FROM accounts WHERE name = 'ada'`
      if ((ada?.balance ?? 0) < 0) return yield* new Overdrawn()
    }).pipe(Effect.catchTag("SqlError", Effect.die))
})

const Payment = Workflow.make("payment", { input: Schema.Number, error: Overdrawn }, (amount) => transfer(amount))
const pay = (id: string, input: number) => Workflow.execute(Payment, { id, input })

const balances = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.map(sql<{ readonly balance: number }>`SELECT balance FROM accounts ORDER BY name`, (rows) =>
    rows.map(({ balance }) => balance)
  )
)

const tables = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.all([
    sql`CREATE TABLE accounts (name TEXT PRIMARY KEY, balance INTEGER)`,
    sql`INSERT INTO accounts VALUES ('ada', 100), ('bob', 0)`,
    sql`CREATE TABLE parents (n INTEGER PRIMARY KEY)`,
    sql`CREATE TABLE children (parent INTEGER REFERENCES parents (n) DEFERRABLE INITIALLY DEFERRED)`
  ])
)

for (const [name, layer] of layers) {
  const test = <E>(title: string, body: Effect.Effect<void, E, Storage.Storage | SqlClient.SqlClient>) =>
    it.scopedLive(title, () => Effect.provide(Effect.zipRight(tables, body), layer))

  describe(`a transactional step on ${name}`, () => {
    test(
      "moves money once, and not at all if it fails",
      Effect.gen(function* () {
        yield* pay("1", 70)
        yield* pay("1", 70)
        assert.deepStrictEqual(yield* balances, [30, 70])
        const refused = yield* Effect.flip(pay("2", 50))
        assert.strictEqual(refused._tag, "Overdrawn")
        assert.deepStrictEqual(yield* balances, [30, 70])
        assert.strictEqual((yield* Effect.flip(pay("2", 50)))._tag, "Overdrawn")
      })
    )

    test(
      "that is interrupted leaves no rows, and happens at the resume",
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const wrote = yield* Deferred.make<void>()
        let waits = true
        const step = Step.transactional("slow", {
          run: Effect.orDie(sql`UPDATE accounts SET balance = 1 WHERE name = 'ada'`).pipe(
            Effect.zipRight(Deferred.succeed(wrote, undefined)),
            Effect.zipRight(Effect.suspend(() => (waits ? Effect.never : Effect.void)))
          )
        })
        const run = Workflow.execute(
          Workflow.make("slow", {}, () => step),
          { id: "slow" }
        )
        const fiber = yield* Effect.fork(run)
        yield* Deferred.await(wrote)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* balances, [100, 0])
        waits = false
        yield* run
        assert.deepStrictEqual(yield* balances, [1, 0])
      })
    )

    test(
      "whose commit is refused is a typed error, leaves neither rows nor result, and the client works on",
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        let parent = 7
        const step = Step.transactional("orphan", {
          run: Effect.suspend(() => Effect.asVoid(Effect.orDie(sql`INSERT INTO children VALUES (${parent})`)))
        })
        const run = Workflow.execute(
          Workflow.make("orphan", {}, () => step),
          { id: "orphan" }
        )
        const error = yield* Effect.flip(run)
        assert.strictEqual(error._tag === "StorageError" ? error.reason : error._tag, "Constraint")
        // The client is not left in the transaction: another statement stays.
        yield* sql`INSERT INTO parents VALUES (8)`
        yield* Effect.ignore(sql.withTransaction(Effect.fail("no")))
        assert.deepStrictEqual(yield* sql`SELECT n FROM parents`, [{ n: 8 }])
        assert.deepStrictEqual(yield* sql`SELECT parent FROM children`, [])
        parent = 8
        yield* run
        yield* run
        assert.deepStrictEqual(yield* sql`SELECT parent FROM children`, [{ parent: 8 }])
      })
    )

    test(
      "inside of a SQL transaction is refused",
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const error = yield* Effect.flip(sql.withTransaction(pay("1", 1)))
        assert.strictEqual(error._tag === "StorageError" ? error.reason : error._tag, "Client")
        assert.deepStrictEqual(yield* balances, [100, 0])
      })
    )
  })
}

describe("a transactional step", () => {
  const silent = Step.transactional("silent", { run: Effect.void })
  const Silent = Workflow.make("silent", {}, () => silent)

  it.effect("on memory without a client is refused, and the message names the layer that is missing", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.provide(Workflow.execute(Silent, { id: "1" }), Storage.layerMemory))
      assert.strictEqual(error._tag === "StorageError" ? error.reason : error._tag, "Client")
      assert.match(error.message, /no SqlClient in the environment.*layer of the client/)
    })
  )

  it.scopedLive("on SQLite beside another client is refused, and the message names the layers to use", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const layer = Layer.merge(SqliteStorage.layer({ filename }), stock)
      const error = yield* Effect.flip(Effect.provide(Workflow.execute(Silent, { id: "1" }), layer))
      assert.strictEqual(error._tag === "StorageError" ? error.reason : error._tag, "Client")
      assert.match(error.message, /layerClient over SqliteClient\.layer/)
    })
  )

  it.effect("keeps its run from another owner while it commits, on memory", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const request = { id: "1", workflow: "w", version: "1", input: "", labels: {} }
      const opened = yield* store.open(request, "a", 0)
      assert(opened._tag === "Created")
      const [committing, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const client = {
        [endsTransactions]: true,
        withTransaction: <A, E, R>(self: Effect.Effect<A, E, R>) =>
          Effect.tap(self, () => Effect.zipRight(Deferred.succeed(committing, undefined), Deferred.await(goOn)))
      }
      const entry = (seq: number) => ({ seq, kind: "x", step: "", attempt: 1, at: 0, payload: undefined })
      const fiber = yield* store
        .transactional(opened.lease, Effect.succeed(["done", [entry(1)]] as const))
        .pipe(
          Effect.provide(Context.unsafeMake(new Map([[SqlClient.SqlClient.key, client]])) as Context.Context<never>),
          Effect.fork
        )
      yield* Deferred.await(committing)
      // The lease ended at once, but the run is not given away.
      assert.strictEqual((yield* store.open(request, "b", 1_000))._tag, "Leased")
      assert.deepStrictEqual(yield* store.journal(opened.run.key), [])
      yield* store.append(opened.lease, [entry(2)])
      yield* Deferred.succeed(goOn, undefined)
      assert.strictEqual(yield* Fiber.join(fiber), "done")
      assert.deepStrictEqual(
        (yield* store.journal(opened.run.key)).map(({ seq }) => seq),
        [1, 2]
      )
      assert.strictEqual((yield* store.open(request, "b", 1_000))._tag, "Claimed")
      yield* Deferred.succeed(goOn, undefined)
    })
  )
})
