// Loads every door of the package that its arguments name, and runs a program of the main one.
import { Effect, Schema } from "effect"
import { Step, Storage, Workflow } from "effect-recovery"

for (const door of process.argv.slice(2)) {
  if (Object.keys(await import(door)).length === 0) throw new Error(`${door} exports nothing`)
}

const Five = Step.make("five", { success: Schema.Number, run: Effect.succeed(5) })
const Twice = Workflow.make("twice", { success: Schema.Number }, () => Effect.map(Five, (five) => 2 * five))
const result = await Effect.runPromise(Effect.provide(Workflow.execute(Twice, { id: "a" }), Storage.layerMemory))
if (result !== 10) throw new Error(`${result}`)
