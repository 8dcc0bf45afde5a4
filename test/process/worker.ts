/** A worker that works until it is killed, or told to end. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Worker } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { ledger, makeJob } from "./jobs.js"

const [filename = "", ledgerFile = "", name = ""] = process.argv.slice(2)

const Job = makeJob(ledger(ledgerFile, name))

const worker = Worker.layer([Job], { concurrency: 8, sweep: "50 millis", patience: "20 millis" }).pipe(
  Layer.provide(SqliteStorage.layer({ filename, lease: "1 second", durability: "process-crash" }))
)

const program = Effect.gen(function* () {
  yield* Effect.async<void>((resume) => {
    process.on("SIGTERM", () => resume(Effect.void))
    // Whoever reads this may send the signal.
    fs.writeSync(1, "works\n")
  })
}).pipe(Effect.provide(worker))

Effect.runPromise(program).then(
  () => process.exit(0),
  (error) => {
    fs.writeSync(2, String(error))
    process.exit(1)
  }
)
