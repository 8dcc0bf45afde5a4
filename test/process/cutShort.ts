/**
 * Executes a run whose step, or its compensation, ends the process by SIGKILL, unless the mode is `survive`. `release`
 * ends the hold on the run.
 */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Step, Storage, Transaction, Workflow } from "effect-recovery"
import { childStorage } from "./childStorage.js"
import { say } from "./points.js"

const [folder = "", ledger = "", mode = "", id = "step"] = process.argv.slice(2)

const kill = Effect.sync(() => {
  fs.appendFileSync(ledger, "attempt\n")
  if (mode === "survive") return
  process.kill(process.pid, "SIGKILL")
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})

const fatal = Step.make("fatal", { maxCutShort: 2, run: kill })
const undone = Step.make("undone", { maxCutShort: 2, run: Effect.void, compensate: () => kill })
const transfer = Transaction.run(Effect.zipRight(undone, Effect.fail("declined")))

const One = Workflow.make("one", { error: Schema.String }, () => (id === "step" ? fatal : transfer))

// The lease of a process that was killed is free as soon as the storage knows it.
const execute = Effect.retry(Workflow.execute(One, { id }), {
  while: (error) => typeof error !== "string" && error._tag === "LeaseHeld",
  schedule: Schedule.spaced("50 millis")
})

const release = Effect.flatMap(Storage.Storage, (storage) => storage.releaseHold(id, "cut-short"))

const program = Effect.match(mode === "release" ? release : execute, {
  onFailure: (error) => say(typeof error === "string" ? error : `${error._tag} ${"hold" in error ? error.hold : ""}`),
  onSuccess: () => say("done")
})

Effect.runPromise(Effect.provide(program, childStorage(folder))).then(() => process.exit(0))
