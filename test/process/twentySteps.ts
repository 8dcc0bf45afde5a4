/**
 * A run of twenty steps, each with an effect that leaves one line in a ledger.
 * At point number `killAt` it prints the point and waits to be killed.
 */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Events, Step, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { childDriver } from "./childDriver.js"

const [filename = "", ledger = "", id = "", killAt = "0"] = process.argv.slice(2)

let point = 0

const say = (line: string) => fs.writeSync(1, `${line}\n`)

/** Blocks the whole process at the chosen point until the signal arrives. */
const pass = (name: string) => {
  if (++point !== Number(killAt)) return
  say(`at ${name}`)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

const work = Step.make("work", {
  success: Schema.Number,
  run: (n: number) =>
    Effect.gen(function* () {
      pass(`before the effect of ${n}`)
      fs.appendFileSync(ledger, `${n}\n`)
      pass(`after the effect of ${n}`)
      yield* Effect.yieldNow()
      return n
    })
})

const Twenty = Workflow.make("twenty", { input: Schema.Number, success: Schema.Number }, (count) =>
  Effect.reduce(
    Array.from({ length: count }, (_, i) => i + 1),
    0,
    (sum, n) => Effect.map(work(n), (value) => sum + value)
  )
)

const program = Effect.gen(function* () {
  const sum = yield* Workflow.execute(Twenty, { id, input: 20 })
  const { steps } = yield* Workflow.status(id)
  say(`result ${sum}`)
  say(
    `steps ${JSON.stringify(steps.map(({ ambiguous, key, status }) => ({ key, status, ambiguous: ambiguous.length })))}`
  )
})

const observer = Events.layer((event) => Effect.sync(() => pass(event._tag)))

Effect.runPromise(Effect.provide(program, [SqliteStorage.layer({ filename, driver: childDriver }), observer])).catch(
  (error) => {
    console.error(error)
    process.exitCode = 1
  }
)
