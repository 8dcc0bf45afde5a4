import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Layer, Schema } from "effect"
import { Step, Workflow } from "effect-recovery"

// Migrations of the app, as they were before.
export const tables = Layer.effectDiscard(
  Migrator.make({})({
    loader: Migrator.fromRecord({
      "0001_items_and_orders": Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE items (name TEXT PRIMARY KEY, stock INTEGER NOT NULL)`
        yield* sql`CREATE TABLE orders (id TEXT PRIMARY KEY, item TEXT NOT NULL REFERENCES items (name))`
        yield* sql`INSERT INTO items VALUES ('book', 2)`
      })
    })
  })
)

export class SoldOut extends Schema.TaggedError<SoldOut>()("SoldOut", { item: Schema.String }) {}

const Order = Schema.Struct({ id: Schema.String, item: Schema.String })

// The rows of the app and the journal line of the step are one commit: each order takes one item from the stock.
const reserve = Step.transactional("reserve", {
  error: SoldOut,
  run: ({ id, item }: typeof Order.Type) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const taken = yield* sql`UPDATE items SET stock = stock - 1 WHERE name = ${item} AND stock > 0 RETURNING name`
      if (taken.length === 0) return yield* new SoldOut({ item })
      yield* sql`INSERT INTO orders ${sql.insert({ id, item })}`
    }).pipe(Effect.catchTag("SqlError", Effect.die)) // stops the run; a worker tries it again
})

const confirm = Step.make("confirm", { run: (id: string) => Effect.log(`Order ${id} is confirmed`) })

export const PlaceOrder = Workflow.make("place-order", { input: Order, error: SoldOut }, (order) =>
  Effect.gen(function* () {
    yield* reserve(order)
    yield* Workflow.sleep("1 second")
    yield* confirm(order.id)
  })
)
