/** A worker of a queue that runs until it is killed. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Worker } from "effect-recovery"
import { childStorage } from "./childStorage.js"
import { makeWork, Work } from "./queueJobs.js"

const [folder = "", ledger = "", name = ""] = process.argv.slice(2)

const worker = Worker.layer([makeWork(ledger, name)], { queues: [Work], concurrency: 4, sweep: "100 millis" }).pipe(
  Layer.provide(childStorage(folder, { lease: "5 minutes", durability: "process-crash" }))
)

const works = Effect.sync(() => void fs.writeSync(1, "works\n"))

Effect.runPromise(Effect.provide(Effect.zipRight(works, Effect.never), worker)).catch((error) => {
  fs.writeSync(2, String(error))
  process.exit(1)
})
