/** One process of B6: makes a run of many steps and stops before its end, or resumes it and tells what that took. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Step, Workflow } from "../../dist/node/index.js"
import { SqliteStorage } from "../../dist/node/sqlite.js"

const [filename, mode, countText, sizeText] = process.argv.slice(2)
const count = Number(countText)
const text = "x".repeat(Number(sizeText))

const step = Step.make("step", { success: Schema.String, run: (_) => Effect.succeed(text) })

/** What is in use after a collection. */
const inUse = () => {
  globalThis.gc()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const first = inUse()
let most = 0

const look = (i) => {
  if (mode === "memory" && i % 500 === 0) most = Math.max(most, inUse())
}

const Long = Workflow.make("long", { success: Schema.Number }, () =>
  Effect.gen(function* () {
    let length = 0
    for (let i = 0; i < count; i++) {
      look(i)
      length += (yield* step(i)).length
    }
    if (mode === "make") yield* Effect.die("stopped here")
    return length
  })
)

const execute = Effect.provide(
  Workflow.execute(Long, { id: "run" }),
  SqliteStorage.layer({ filename, durability: "process-crash" })
)

const began = performance.now()
const exit = await Effect.runPromiseExit(execute)
const millis = performance.now() - began
if (mode !== "make" && (exit._tag !== "Success" || exit.value !== count * text.length)) {
  throw new Error(`resumed to ${JSON.stringify(exit)}`)
}
fs.writeSync(1, `${JSON.stringify({ millis, bytes: most - first })}\n`)
process.exit(0)
