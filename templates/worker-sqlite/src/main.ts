import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { Workflow } from "effect-recovery"
import { Production } from "effect-recovery/operate"
import { Order } from "./order.js"
import { storage } from "./storage.js"

const main = Production.layer({ storage, workflows: [Order], worker: { concurrency: 10 } })

// A web server would do this for each request. The id makes it safe to repeat.
const firstOrder = Layer.effectDiscard(
  Effect.gen(function* () {
    yield* Workflow.start(Order, { id: "order-1", input: { item: "book", amount: 12 } })
    yield* Effect.log(`order-1 has a ${yield* Workflow.join(Order, "order-1")}`)
  })
)

// Runs until SIGTERM or Ctrl-C. Steps that run may end; the next start resumes what is left.
NodeRuntime.runMain(Layer.launch(Layer.provide(firstOrder, main)))
