import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { Production } from "effect-recovery/operate"
import { Resize } from "./resize.js"
import { storage } from "./storage.js"

const main = Production.layer({ storage, workflows: [Resize], worker: { concurrency: 10 } })

const ready = Layer.effectDiscard(Effect.log("The worker takes runs"))

// Start it on as many machines as you like. SIGTERM: the steps that run may end, and other workers take the runs.
NodeRuntime.runMain(Layer.launch(Layer.provide(ready, main)))
