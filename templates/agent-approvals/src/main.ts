import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { Workflow } from "effect-recovery"
import { Production } from "effect-recovery/operate"
import { Apology } from "./agent.js"
import { storage } from "./storage.js"

const main = Production.layer({ storage, workflows: [Apology], worker: { concurrency: 10 } })

// An event of your ticket system would start it. The id makes it safe to repeat.
const firstTicket = Layer.effectDiscard(
  Effect.gen(function* () {
    yield* Workflow.start(Apology, { id: "ticket-1", input: "Ada" })
    yield* Effect.log(`Approve: npx recovery signal ticket-1 approval '{"by":"you","approved":true}'`)
    yield* Effect.log(`ticket-1 is ${yield* Workflow.join(Apology, "ticket-1")}`)
  })
)

// Runs until SIGTERM or Ctrl-C. An approval that is sent meanwhile is kept for the next start.
NodeRuntime.runMain(Layer.launch(Layer.provide(firstTicket, main)))
