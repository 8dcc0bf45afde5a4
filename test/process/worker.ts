/** A worker that runs until it is killed, or gets a SIGTERM. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Events, Worker } from "effect-recovery"
import { Insights } from "effect-recovery/operate"
import { childStorage } from "./childStorage.js"
import { ended, ledger, makeJob, stoodStill } from "./jobs.js"

const [folder = "", ledgerFile = "", name = "", lease = "1000"] = process.argv.slice(2)

const leaseMillis = Number(lease)
const lines = ledger(ledgerFile, name)
const Job = makeJob(lines)

let tick = performance.now()
setInterval(() => {
  const now = performance.now()
  // A gap of half the lease: a renewal may have been late.
  if (now - tick > leaseMillis / 2) Effect.runSync(lines.write("", stoodStill, 0))
  tick = now
}, 50)

/** Notes what Insights has to record. An interrupted recovery has no result. */
const witness = Events.layer((event) => {
  const { run = "", step = "" } = event.source
  if (event._tag === "RecoveryEnded" && event.outcome !== "interrupted") {
    return lines.write(run, `${ended.recovery} ${step}`, 0)
  }
  return event._tag === "RunFinished" && event.outcome !== "completed"
    ? lines.write(run, ended.failure, 0)
    : Effect.void
})

const worker = Worker.layer([Job], { concurrency: 8, sweep: "50 millis", patience: "20 millis" }).pipe(
  Layer.provide(Layer.provide(Insights.layer, witness)),
  Layer.provide(childStorage(folder, { lease: leaseMillis, durability: "process-crash" }))
)

const program = Effect.gen(function* () {
  yield* Effect.async<void>((resume) => {
    process.on("SIGTERM", () => resume(Effect.void))
    // From here on a SIGTERM ends it.
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
