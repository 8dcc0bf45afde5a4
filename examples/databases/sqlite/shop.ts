import * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Layer } from "effect"
import { Worker, Workflow } from "effect-recovery"
import { PlaceOrder } from "../orders.js"
import { database } from "./database.js"

// A request handler of the app. The order is on record before it answers, and is placed once.
const handle = (id: string) =>
  Effect.gen(function* () {
    yield* Workflow.start(PlaceOrder, { id, input: { id, item: "book" } })
    return yield* Workflow.join(PlaceOrder, id).pipe(
      Effect.as(`${id} is placed`),
      Effect.catchTag("SoldOut", ({ item }) => Effect.succeed(`${item} is sold out`))
    )
  })

// One process: it takes orders and executes them, also those that an earlier process left behind.
const app = Layer.provideMerge(Worker.layer([PlaceOrder]), database)

export const program = Effect.gen(function* () {
  const answers = yield* Effect.forEach(["order-1", "order-2", "order-1", "order-3"], handle)
  const sql = yield* SqlClient.SqlClient
  const orders = yield* sql`SELECT id, item FROM orders ORDER BY id`
  return { answers, orders }
}).pipe(Effect.provide(app))
