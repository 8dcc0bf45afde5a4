/** A worker on Postgres that runs until it is killed. Says which steps begin. */
import * as fs from "node:fs"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Worker } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { ahead } from "../support/clocks.js"
import { makePgJobs } from "./pgJobs.js"

const [address = "", name = "", hangs = "", skew = "0", sweepMillis = "3600000"] = process.argv.slice(2)
const { database, host, port, user } = JSON.parse(address)

const jobs = makePgJobs((run, step) =>
  Effect.zipRight(
    Effect.sync(() => void fs.writeSync(1, `began ${step} of ${run}\n`)),
    step === hangs ? Effect.never : Effect.void
  )
)

/** Unless its parent says otherwise, it never looks for runs by itself: a notification has to wake it. */
const worker = Worker.layer(jobs, {
  concurrency: 8,
  sweep: Number(sweepMillis),
  patience: 0
}).pipe(
  Layer.provide(PgStorage.layer({ lease: "30 seconds" })),
  Layer.provide(PgClient.layer({ host, port, database, username: user, applicationName: name, maxConnections: 4 }))
)

const program = Effect.provide(
  Effect.zipRight(
    Effect.sync(() => void fs.writeSync(1, "works\n")),
    Effect.never
  ),
  worker
)

Effect.runPromise(Effect.withClock(program, ahead(Clock.make(), Number(skew)))).catch((error) => {
  fs.writeSync(2, String(error))
  process.exit(1)
})
