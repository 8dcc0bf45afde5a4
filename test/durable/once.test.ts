import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { State, Step, Storage, Transaction, Workflow } from "effect-recovery"
import { inShops, ordersOf, stock, stockOf } from "../support/shops.js"

class SoldOut extends Schema.TaggedError<SoldOut>()("SoldOut", { item: Schema.String }) {}

let processes = 0

/** A process with the journal of this store. */
const processOf = (store: Storage.Store, options: Partial<Storage.Options> = {}) =>
  Layer.scoped(Storage.Storage, Storage.make(store, { owner: `process-${++processes}`, ...options }))

/** The store of a process that ends before a result is recorded. */
const endsBefore = (store: Storage.Store, kind: string): Storage.Store => ({
  ...store,
  append: (lease, entries) =>
    entries.some((entry) => entry.kind === kind)
      ? Effect.fail(new Storage.StorageError({ reason: "Io", operation: "Appending" }))
      : store.append(lease, entries)
})

let placed = 0

const place = Step.once("place", {
  success: Schema.Struct({ id: Schema.Number, at: Schema.Date }),
  error: SoldOut,
  run: (item: string) =>
    Effect.gen(function* () {
      placed++
      const sql = yield* SqlClient
      yield* sql`UPDATE items SET stock = stock - 1 WHERE name = ${item}`
      yield* sql`INSERT INTO orders SELECT coalesce(max(id), 0) + 1, ${item} FROM orders`
      const [order] = yield* sql<{ readonly id: number }>`SELECT max(id) AS id FROM orders`
      const [left] = yield* sql<{ readonly stock: number }>`SELECT stock FROM items WHERE name = ${item}`
      if ((left?.stock ?? 0) < 0) return yield* new SoldOut({ item })
      return { id: order?.id ?? 0, at: new Date(7) }
    }).pipe(Effect.catchTag("SqlError", Effect.die))
})

const Order = Workflow.make(
  "order",
  { input: Schema.String, success: Schema.Struct({ id: Schema.Number, at: Schema.Date }), error: SoldOut },
  (item) => place(item)
)

const buy = (id: string, input = "book") => Workflow.execute(Order, { id, input })

const reasonOf = (error: unknown) => (error instanceof Storage.StorageError ? error.reason : error)

inShops("a step with rows in another database", (shop) => {
  it.scopedLive("happens once, and not at all if it fails", () =>
    Effect.gen(function* () {
      const layer = Layer.merge(Storage.layerMemory, yield* shop.open)
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* buy("1"), { id: 1, at: new Date(7) })
        assert.deepStrictEqual(yield* buy("1"), { id: 1, at: new Date(7) })
        const sql = yield* SqlClient
        yield* sql`UPDATE items SET stock = 0`
        const before = placed
        assert.strictEqual((yield* Effect.flip(buy("2")))._tag, "SoldOut")
        assert.strictEqual((yield* Effect.flip(buy("2")))._tag, "SoldOut")
        assert.strictEqual(placed, before + 1)
        assert.deepStrictEqual(yield* ordersOf, [1])
        assert.strictEqual(yield* stockOf, 0)
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("whose result was not recorded is answered from its row", () =>
    Effect.gen(function* () {
      const client = yield* shop.open
      const store = Storage.memoryStore()
      const before = placed
      const cut = Layer.merge(processOf(endsBefore(store, "StepCompleted")), client)
      assert.strictEqual(reasonOf(yield* Effect.flip(Effect.provide(buy("1"), cut))), "Io")
      const next = Layer.merge(processOf(store), client)
      assert.deepStrictEqual(yield* Effect.provide(buy("1"), next), { id: 1, at: new Date(7) })
      assert.strictEqual(placed, before + 1)
      assert.deepStrictEqual(yield* Effect.provide(ordersOf, next), [1])
      // Nothing is unknown of it.
      const { steps } = yield* Effect.provide(Workflow.status("1"), next)
      assert.deepStrictEqual(
        steps.map(({ ambiguous, status }) => ({ ambiguous, status })),
        [{ ambiguous: [], status: "completed" }]
      )
    })
  )

  it.scopedLive("is answered from its row where the journal was lost", () =>
    Effect.gen(function* () {
      const client = yield* shop.open
      const run = Effect.suspend(() => Effect.provide(buy("1"), Layer.merge(processOf(Storage.memoryStore()), client)))
      assert.deepStrictEqual(yield* run, yield* run)
      assert.deepStrictEqual(yield* Effect.provide(ordersOf, client), [1])
    })
  )

  it.scopedLive(
    "runs although a journal that was lost has failed under a higher token, and not without its lease",
    () =>
      Effect.gen(function* () {
        const client = yield* shop.open
        yield* Effect.provide(Step.cleanupOnce({ olderThan: "1 day" }), client)
        const claim = Effect.flatMap(
          SqlClient,
          (sql) => sql`INSERT INTO effect_recovery_once (key, token, at) VALUES ('order/1/place', 99, 0)`
        )
        yield* Effect.provide(claim, client)
        const store = Storage.memoryStore()
        let starts = 0
        // Another process claims the run after the first line of the attempt.
        const lost: Storage.Store = {
          ...store,
          append: (lease, entries) =>
            entries.some(({ kind }) => kind === "AttemptStarted") && ++starts > 1
              ? Effect.fail(new Storage.LeaseLost({ run: "1", token: lease.token }))
              : store.append(lease, entries)
        }
        const refused = yield* Effect.flip(Effect.provide(buy("1"), Layer.merge(processOf(lost), client)))
        assert.instanceOf(refused, Storage.LeaseLost)
        assert.deepStrictEqual(yield* Effect.provide(ordersOf, client), [])
        yield* Effect.provide(buy("1"), Layer.merge(processOf(store), client))
        assert.deepStrictEqual(yield* Effect.provide(ordersOf, client), [1])
      })
  )

  it.scopedLive("is retried, and only the rows of the last attempt stay", () =>
    Effect.gen(function* () {
      const layer = Layer.merge(Storage.layerMemory, yield* shop.open)
      const step = Step.once("step", {
        error: SoldOut,
        run: (item: string, { number }) =>
          Effect.gen(function* () {
            const sql = yield* SqlClient
            yield* Effect.orDie(sql`INSERT INTO orders VALUES (${number}, ${item})`)
            if (number < 3) return yield* new SoldOut({ item })
          }),
        retry: Schedule.recurs(5)
      })
      const workflow = Workflow.make("retried", { error: SoldOut }, () => step("book"))
      yield* Effect.gen(function* () {
        yield* Workflow.execute(workflow, { id: "1" })
        assert.deepStrictEqual(yield* ordersOf, [3])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("whose commit is refused is a typed error, leaves nothing, and the client works on", () =>
    Effect.gen(function* () {
      const layer = Layer.merge(Storage.layerMemory, yield* shop.open)
      let item = "pen"
      const step = Step.once("orphan", {
        run: Effect.flatMap(SqlClient, (sql) =>
          Effect.asVoid(Effect.orDie(Effect.suspend(() => sql`INSERT INTO orders VALUES (1, ${item})`)))
        )
      })
      const run = Workflow.execute(
        Workflow.make("orphan", {}, () => step),
        { id: "1" }
      )
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient
        assert.strictEqual(reasonOf(yield* Effect.flip(run)), "Constraint")
        // The client is not left in the transaction: another statement stays.
        yield* sql`INSERT INTO items VALUES ('cup', 1)`
        yield* Effect.ignore(sql.withTransaction(Effect.fail("no")))
        assert.deepStrictEqual(yield* sql`SELECT name FROM items ORDER BY name`, [{ name: "book" }, { name: "cup" }])
        assert.deepStrictEqual(yield* ordersOf, [])
        item = "cup"
        yield* run
        yield* run
        assert.deepStrictEqual(yield* ordersOf, [1])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("works after a commit of the program's own was refused", () =>
    Effect.gen(function* () {
      const layer = Layer.merge(Storage.layerMemory, yield* shop.open)
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* Effect.exit(sql.withTransaction(sql`INSERT INTO orders VALUES (7, 'pen')`))
        yield* buy("1")
        // It would end a transaction that was left open, and take the rows of the step back.
        yield* Effect.ignore(sql.withTransaction(Effect.fail("no")))
        assert.deepStrictEqual(yield* ordersOf, [1])
        assert.deepStrictEqual(yield* buy("1"), { id: 1, at: new Date(7) })
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("keeps what a nested transaction has left of it", () =>
    Effect.gen(function* () {
      const layer = Layer.merge(Storage.layerMemory, yield* shop.open)
      const step = Step.once("nested", {
        run: Effect.gen(function* () {
          const sql = yield* SqlClient
          yield* sql`INSERT INTO orders VALUES (1, 'book')`
          yield* Effect.ignore(sql.withTransaction(sql`INSERT INTO orders VALUES (1, 'book')`))
          yield* sql.withTransaction(sql`INSERT INTO orders VALUES (2, 'book')`)
          yield* Effect.ignore(
            sql.withTransaction(Effect.zipRight(sql`INSERT INTO orders VALUES (3, 'book')`, Effect.fail("no")))
          )
        }).pipe(Effect.orDie)
      })
      yield* Effect.gen(function* () {
        yield* Workflow.execute(
          Workflow.make("nested", {}, () => step),
          { id: "1" }
        )
        assert.deepStrictEqual(yield* ordersOf, [1, 2])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("runs again after a rewind and in a fork, also if only the row had its result", () =>
    Effect.gen(function* () {
      const client = yield* shop.open
      const store = Storage.memoryStore()
      const cut = Layer.merge(processOf(endsBefore(store, "StepCompleted")), client)
      assert.strictEqual(reasonOf(yield* Effect.flip(Effect.provide(buy("1"), cut))), "Io")
      yield* Effect.gen(function* () {
        yield* Workflow.rewind(Order, "1", Workflow.fromStart)
        yield* buy("1")
        yield* Workflow.fork("1", { as: "2", to: Workflow.fromStart })
        yield* buy("2")
        assert.deepStrictEqual(yield* ordersOf, [1, 2, 3])
        const sql = yield* SqlClient
        const rows = yield* sql<{ readonly key: string }>`SELECT key FROM effect_recovery_once ORDER BY key`
        assert.deepStrictEqual(
          rows.map(({ key }) => key),
          ["order/1/place", "order/1/place~2", "order/2/place"]
        )
      }).pipe(Effect.provide(Layer.merge(processOf(store), client)))
    })
  )

  it.scopedLive("gives its result to its compensation, also where only the row has it", () =>
    Effect.gen(function* () {
      const client = yield* shop.open
      const store = Storage.memoryStore()
      const undone: Array<Option.Option<number>> = []
      const step = Step.once("place", {
        success: Schema.Number,
        run: Effect.flatMap(SqlClient, (sql) => Effect.as(Effect.orDie(sql`INSERT INTO orders VALUES (5, 'book')`), 5)),
        compensate: ({ output }) => Effect.sync(() => void undone.push(output))
      })
      const workflow = Workflow.make("saga", { error: SoldOut }, () =>
        Transaction.run(Effect.zipRight(step, new SoldOut({ item: "book" })))
      )
      const run = Workflow.execute(workflow, { id: "1" })
      const cut = Layer.merge(processOf(endsBefore(store, "StepCompleted")), client)
      assert.strictEqual(reasonOf(yield* Effect.flip(Effect.provide(run, cut))), "Io")
      const next = Layer.merge(processOf(store), client)
      assert.instanceOf(yield* Effect.flip(Effect.provide(run, next)), SoldOut)
      assert.deepStrictEqual(undone, [Option.some(5)])
    })
  )

  it.scopedLive("that writes State is refused, and its rows are rolled back", () =>
    Effect.gen(function* () {
      const layer = Layer.merge(Storage.layerMemory, yield* shop.open)
      const count = State.make("count", Schema.Number, 0)
      const step = Step.once("place", {
        run: Effect.flatMap(SqlClient, (sql) =>
          Effect.zipRight(Effect.orDie(sql`INSERT INTO orders VALUES (1, 'book')`), count.set(1))
        )
      })
      yield* Effect.gen(function* () {
        const run = Workflow.execute(
          Workflow.make("state", {}, () => step),
          { id: "1" }
        )
        const error = yield* Effect.flip(run)
        assert.strictEqual(reasonOf(error), "Client")
        assert.match(`${error}`, /write it after the step/)
        assert.deepStrictEqual(yield* ordersOf, [])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("inside of a SQL transaction is refused", () =>
    Effect.gen(function* () {
      const layer = Layer.merge(Storage.layerMemory, yield* shop.open)
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient
        assert.strictEqual(reasonOf(yield* Effect.flip(sql.withTransaction(buy("1")))), "Client")
        assert.deepStrictEqual(yield* ordersOf, [])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("has its result encoded in its row, as the journal has it", () =>
    Effect.gen(function* () {
      const client = yield* shop.open
      const store = Storage.memoryStore()
      const flip = (key: number) => (bytes: Uint8Array) => bytes.map((byte) => byte ^ key)
      const payloads = (key: number): Storage.Payloads => ({
        encode: (bytes) => new Uint8Array([key, ...flip(key)(bytes)]),
        decode: ([used = 0, ...bytes]) => (used === key ? flip(key)(new Uint8Array(bytes)) : Effect.fail("wrong key"))
      })
      const on = (given: Storage.Store, key: number) =>
        Layer.merge(processOf(given, { payloads: payloads(key) }), client)
      const cut = Effect.provide(buy("1"), on(endsBefore(store, "StepCompleted"), 1))
      assert.strictEqual(reasonOf(yield* Effect.flip(cut)), "Io")
      const sql = Effect.flatMap(
        SqlClient,
        (sql) => sql<{ readonly result: string }>`SELECT result FROM effect_recovery_once`
      )
      const [row] = yield* Effect.provide(sql, client)
      assert.notInclude(row?.result ?? '"id"', '"id"')
      assert.deepStrictEqual(yield* Effect.provide(buy("1"), on(store, 1)), { id: 1, at: new Date(7) })
      const lost = Effect.provide(buy("1"), on(Storage.memoryStore(), 2))
      assert.strictEqual(reasonOf(yield* Effect.flip(lost)), "Payload")
    })
  )

  it.scoped("has its row until it is removed by its age", () =>
    Effect.gen(function* () {
      const layer = Layer.merge(Storage.layerMemory, yield* shop.open)
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* buy("0")
        const row = sql`INSERT INTO effect_recovery_once (key, token, result, at) VALUES ('old', 1, '1', 0)`
        yield* row
        for (let i = 0; i < 600; i++) {
          yield* sql`INSERT INTO effect_recovery_once (key, token, result, at) VALUES (${`old ${i}`}, 1, '1', 0)`
        }
        yield* TestClock.adjust("10 days")
        yield* buy("1")
        assert.strictEqual(yield* Step.cleanupOnce({ olderThan: "9 days" }), 602)
        assert.deepStrictEqual(yield* sql`SELECT key FROM effect_recovery_once`, [{ key: "order/1/place" }])
        const refused = yield* Effect.flip(Step.cleanupOnce({ olderThan: 0 }))
        assert.strictEqual(refused._tag, "InvalidOption")
      }).pipe(Effect.provide(layer))
    })
  )
})

describe("a step with rows in another database", () => {
  it.effect("without a client is refused, and the message names what is missing", () =>
    Effect.gen(function* () {
      const silent = Workflow.make("silent", {}, () => Step.once("silent", { run: Effect.void }))
      const error = yield* Effect.flip(Effect.provide(Workflow.execute(silent, { id: "1" }), Storage.layerMemory))
      assert.strictEqual(reasonOf(error), "Client")
      assert.match(error.message, /no SqlClient in the environment/)
      assert.strictEqual(reasonOf(yield* Effect.flip(Step.cleanupOnce({ olderThan: "1 day" }))), "Client")
    })
  )

  it.scopedLive("on a client of another dialect is refused", () =>
    Effect.gen(function* () {
      const client = { onDialectOrElse: ({ orElse }: { readonly orElse: () => unknown }) => orElse() }
      const layer = Layer.succeedContext(
        Context.unsafeMake(new Map([[SqlClient.key, client]])) as Context.Context<SqlClient>
      )
      const error = yield* Effect.flip(Effect.provide(buy("1"), Layer.merge(Storage.layerMemory, layer)))
      assert.strictEqual(reasonOf(error), "Client")
      assert.match(`${error}`, /SQLite and Postgres/)
    })
  )

  it.scopedLive("that is interrupted while it commits has happened, and is recorded", () =>
    Effect.gen(function* () {
      const base = Context.get(yield* Layer.build(yield* stock.open), SqlClient)
      const [committing, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const commit = Effect.zipRight(Deferred.succeed(committing, undefined), Deferred.await(goOn))
      // The stock client, with a disk that takes its time for the commit of the step.
      const reserve = Effect.map(base.reserve, (connection) => {
        let last = ""
        const executeUnprepared = (sql: string, params: ReadonlyArray<unknown>) => {
          const isCommit = sql === "COMMIT" && last.includes("UPDATE effect_recovery_once")
          last = sql
          return Effect.zipRight(isCommit ? commit : Effect.void, connection.executeUnprepared(sql, params, undefined))
        }
        return { ...connection, executeUnprepared }
      })
      const client = new Proxy(base, {
        get: (target, name) => Reflect.get(name === "reserve" ? { reserve } : target, name)
      })
      const raced = Workflow.make("raced", { error: SoldOut }, () =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(Effect.provideService(place("book"), SqlClient, client))
          yield* Deferred.await(committing)
          const stopped = yield* Effect.fork(Fiber.interrupt(fiber))
          yield* Deferred.succeed(goOn, undefined)
          const exit = yield* Fiber.join(stopped)
          assert.isTrue(Exit.isInterrupted(exit) || Exit.isSuccess(exit))
        })
      )
      yield* Effect.gen(function* () {
        yield* Workflow.execute(raced, { id: "1" })
        const { steps } = yield* Workflow.status("1")
        assert.deepStrictEqual(
          steps.map(({ key, status }) => [key, status]),
          [["place", "completed"]]
        )
        assert.deepStrictEqual(yield* Effect.provideService(ordersOf, SqlClient, base), [1])
      }).pipe(Effect.provide(Storage.layerMemory))
    })
  )
})
