import * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Layer, Schema } from "effect"
import { Step, Storage, Workflow } from "effect-recovery"
import { SqliteClient } from "effect-recovery/sqlite"

class SoldOut extends Schema.TaggedError<SoldOut>()("SoldOut", { item: Schema.String }) {}

// These rows are the shop's, in a database of its own. They are committed once, wherever the process dies.
const place = Step.once("place", {
  success: Schema.Struct({ order: Schema.Number }),
  error: SoldOut,
  run: (item: string) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`UPDATE items SET stock = stock - 1 WHERE name = ${item}`
      const [left] = yield* sql<{ readonly stock: number }>`SELECT stock FROM items WHERE name = ${item}`
      // Failing takes the rows back.
      if ((left?.stock ?? -1) < 0) return yield* new SoldOut({ item })
      const [row] = yield* sql<{ readonly id: number }>`INSERT INTO orders (item) VALUES (${item}) RETURNING id`
      return { order: row?.id ?? 0 }
    }).pipe(Effect.catchTag("SqlError", Effect.die))
})

const mail = Step.make("mail", { run: (order: number) => Effect.log(`Thank you for order ${order}`) })

const Order = Workflow.make("order", { input: Schema.String, success: Schema.Number, error: SoldOut }, (item) =>
  Effect.gen(function* () {
    const { order } = yield* place(item)
    yield* mail(order)
    return order
  })
)

const tables = Layer.effectDiscard(
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE TABLE items (name TEXT PRIMARY KEY, stock INTEGER NOT NULL)`
    yield* sql`CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)`
    yield* sql`INSERT INTO items VALUES ('book', 1)`
  })
)

// Any client for SQLite or Postgres.
const shop = Layer.provideMerge(tables, SqliteClient.layer({ filename: ":memory:" }))

// Any storage: here the journal is lost with each process.
const processes = <A, E>(process: Effect.Effect<A, E, Storage.Storage | SqlClient.SqlClient>) =>
  Effect.provide(process, Storage.layerMemory)

export const program = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const first = yield* processes(Workflow.execute(Order, { id: "order-17", input: "book" }))
  const again = yield* processes(Workflow.execute(Order, { id: "order-17", input: "book" }))
  const refused = yield* Effect.flip(processes(Workflow.execute(Order, { id: "order-18", input: "book" })))
  const orders = yield* sql`SELECT id, item FROM orders`
  return { first, again, refused: refused._tag, orders }
}).pipe(Effect.provide(shop))
