/** A process of B4w: starts runs and waits for them, or works. */
import * as readline from "node:readline"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Queue, Step, Storage, Worker, Workflow } from "../../dist/node/index.js"
import { numbers, Result } from "./common.mjs"

const [kind, target, role, count, keys, first] = process.argv.slice(2)

const layerOf = async () => {
  if (kind === "sqlite") return (await import("../../dist/node/sqlite.js")).SqliteStorage.layer({ filename: target })
  const { PgClient } = await import("@effect/sql-pg")
  const { PgStorage } = await import("../../dist/node/pg.js")
  return PgStorage.layer().pipe(Layer.provide(PgClient.layer({ url: Redacted.make(target), maxConnections: 10 })))
}

const steps = numbers.map((n) => Step.make(`step-${n}`, { success: Result, run: (id) => Effect.succeed({ id, n }) }))

const workflow = Workflow.make("bench", { input: Schema.String, success: Schema.Number }, (id) =>
  Effect.reduce(steps, 0, (sum, step) => Effect.map(step(id), ({ n }) => sum + n))
)

/** Limits that never bind, so that what is measured is the claim that keeps them. */
const queue = Queue.make("bench", { concurrency: 1_000, perKey: 1_000 })

const storage = ManagedRuntime.make(await layerOf())

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()

const isCompleted = (many) =>
  Effect.gen(function* () {
    const counts = yield* (yield* Storage.Storage).countRuns
    return counts.some(({ runs, status }) => status === "completed" && runs >= many)
  })

const untilCompleted = (many) =>
  storage.runPromise(
    Effect.repeat(Effect.zipLeft(isCompleted(many), Effect.sleep("50 millis")), { until: (done) => done })
  )

if (role === "start") {
  const ids = Array.from({ length: Number(count) }, (_, n) => `run-${n}`)
  const place = (i) => (keys === "0" ? {} : { queue, key: `key-${i % Number(keys)}` })
  const start = (id, i) => Workflow.start(workflow, { id, input: id, ...place(i) })
  await storage.runPromise(Effect.forEach(ids, start, { concurrency: 50, discard: true }))
  console.log("started")
  await lines.next()
  if (Number(first) > 0) {
    await untilCompleted(Number(first))
    console.log("warm")
  }
  await untilCompleted(Number(count))
  console.log("done")
} else {
  // The connection is open before the workers begin together.
  await storage.runPromise(Effect.asVoid(Storage.Storage))
  console.log("ready")
  await lines.next()
  const context = await storage.runPromise(Effect.context())
  await Effect.runPromise(
    Effect.scoped(
      Effect.zipRight(
        Layer.build(
          Worker.layer([workflow], { concurrency: 20, queues: [queue] }).pipe(
            Layer.provide(Layer.succeedContext(context))
          )
        ),
        Effect.never
      )
    )
  )
}
