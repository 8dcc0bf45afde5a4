import { Console, Effect } from "effect"
import { Workflow } from "effect-recovery"
import { PlaceOrder } from "../orders.js"
import { database } from "./database.js"

const [id = "order-1", item = "book"] = process.argv.slice(2)

// Puts the order on record, wakes a worker on whichever machine, and waits for the outcome.
const program = Effect.gen(function* () {
  yield* Workflow.start(PlaceOrder, { id, input: { id, item } })
  yield* Console.log(`${id} is on record`)
  yield* Workflow.join(PlaceOrder, id)
  yield* Console.log(`${id} is placed`)
}).pipe(Effect.catchTag("SoldOut", (error) => Console.log(`${error.item} is sold out`)))

Effect.runPromise(Effect.provide(program, database))
