import { NodeRuntime } from "@effect/platform-node"
import { Layer } from "effect"
import { Worker } from "effect-recovery"
import { PlaceOrder } from "../orders.js"
import { database } from "./database.js"

// SIGTERM: the steps that run may end, and other workers take the runs.
NodeRuntime.runMain(Layer.launch(Layer.provide(Worker.layer([PlaceOrder]), database)))
