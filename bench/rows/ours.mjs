import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Step, Workflow } from "../../dist/node/index.js"
import { SqliteStorage } from "../../dist/node/sqlite.js"
import { numbers, Result } from "./common.mjs"

/** `body(n, id)` is what each step does; both engines run the same. */
export const makeOurs = (body) => {
  const steps = numbers.map((n) =>
    Step.make(`step-${n}`, { success: Result, run: (id) => Effect.as(body(n, id), { id, n }) })
  )
  const workflow = Workflow.make("bench", { input: Schema.String, success: Schema.Number }, (id) =>
    Effect.reduce(steps, 0, (sum, step) => Effect.map(step(id), ({ n }) => sum + n))
  )
  return {
    execute: (id) => Workflow.execute(workflow, { id, input: id }),
    layer: (filename, durability) => SqliteStorage.layer({ filename, durability })
  }
}
