/**
 * A run of twenty steps, each with an effect that leaves one line in a ledger.
 * At point number `killAt` it prints the point and waits to be killed.
 */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Events, Step, Workflow } from "effect-recovery"
import { childStorage } from "./childStorage.js"
import { makePoints, say } from "./points.js"

const [folder = "", ledger = "", id = "", killAt = "0"] = process.argv.slice(2)

const { pass } = makePoints(Number(killAt))

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

Effect.runPromise(Effect.provide(program, [childStorage(folder), observer])).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
