/** One engine of B4e in a process of its own. Runs what its parent asks for, and answers with workflows per second. */
import * as readline from "node:readline"
import { PgClient } from "@effect/sql-pg"
import * as Activity from "@effect/workflow/Activity"
import * as Workflow from "@effect/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { seconds } from "../harness.mjs"
import { numbers, Result } from "./common.mjs"

const [engine, url] = process.argv.slice(2)

const Bench = Workflow.make({
  name: "bench",
  payload: { id: Schema.String },
  success: Schema.Number,
  idempotencyKey: ({ id }) => id
})
const activity = (n, id) => Activity.make({ name: `step-${n}`, success: Result, execute: Effect.succeed({ id, n }) })
const handler = Bench.toLayer(({ id }) =>
  Effect.reduce(numbers, 0, (sum, n) => Effect.map(activity(n, id), (result) => sum + result.n))
)
const client = PgClient.layer({ url: Redacted.make(url), maxConnections: 20 })

const ours = async () => {
  const { PgStorage } = await import("../../dist/node/pg.js")
  const { RecoveryEngine } = await import("../../dist/node/workflow-engine.js")
  return RecoveryEngine.layer().pipe(Layer.provide(PgStorage.layer()), Layer.provide(client))
}

const theirs = async () => {
  const ClusterWorkflowEngine = await import("@effect/cluster/ClusterWorkflowEngine")
  const SingleRunner = await import("@effect/cluster/SingleRunner")
  return ClusterWorkflowEngine.layer.pipe(
    Layer.provideMerge(SingleRunner.layer({ runnerStorage: "memory" })),
    Layer.provide(client)
  )
}

const layer = await { ours, theirs }[engine]()
const runtime = ManagedRuntime.make(
  handler.pipe(Layer.provideMerge(layer), Layer.provide(Logger.minimumLogLevel(LogLevel.None)))
)

let counter = 0

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [count, concurrency] = line.split(" ").map(Number)
  const ids = Array.from({ length: count }, () => `run-${process.pid}-${++counter}`)
  const all = Effect.forEach(ids, (id) => Bench.execute({ id }), { concurrency, discard: true })
  console.log(count / (await seconds(() => runtime.runPromise(all))))
}
process.exit(0)
