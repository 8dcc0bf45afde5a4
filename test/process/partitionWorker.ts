/** A worker whose connections go through a network that fails. It runs until it is killed, or its standard input ends. */
import * as fs from "node:fs"
import * as readline from "node:readline"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { Worker } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { makeJob, stoodStill, write } from "./partitionJobs.js"

const [address = "", name = "", ledger = "", leaseMillis = "2000"] = process.argv.slice(2)
const { database, host, port, user } = JSON.parse(address)

let tick = performance.now()
setInterval(() => {
  const now = performance.now()
  if (now - tick > Number(leaseMillis) / 2) write(ledger, { run: "", step: stoodStill, token: 0, worker: name })
  tick = now
}, 50)

const worker = Worker.layer([makeJob(ledger, name)], { concurrency: 8, sweep: "200 millis", patience: 0 }).pipe(
  Layer.provide(PgStorage.layer({ lease: Number(leaseMillis), patience: "5 seconds" })),
  Layer.provide(
    PgClient.layer({
      host,
      port,
      database,
      username: user,
      applicationName: name,
      maxConnections: 4,
      connectTimeout: "5 seconds"
    })
  )
)

const program = Effect.gen(function* () {
  fs.writeSync(1, "works\n")
  const { health } = yield* Worker.Worker
  const say = Effect.match(health, {
    onFailure: (error) => error.message,
    onSuccess: ({ running, status, trouble }) => JSON.stringify([status, running.length, trouble])
  })
  const input = readline.createInterface({ input: process.stdin })
  const runFork = Runtime.runFork(yield* Effect.runtime<never>())
  input.on("line", (line) => void runFork(Effect.map(say, (text) => void fs.writeSync(1, `${line} ${text}\n`))))
  yield* Effect.async<void>((resume) => void input.on("close", () => resume(Effect.void)))
}).pipe(Effect.provide(worker))

// Where the network is cut, a process cannot start: its supervisor starts it again.
Effect.runPromise(program).then(
  () => process.exit(0),
  (error) => {
    fs.writeSync(2, String(error))
    process.exit(1)
  }
)
