import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { backends } from "../support/storages.js"
import { formOf } from "../support/transactionForms.js"
import { interpret } from "./model/model.js"
import { programs } from "./model/program.js"
import { execute } from "./model/real.js"

const runs = lengthOf("MODEL_RUNS")
const seed = seedOf(20261121)

for (const backend of backends) {
  describe(`${backend.name}: random programs of steps, transactions, pivots, checkpoints, failures, interruptions and rewinds`, () => {
    it.each(["run", "layer"])(`do what the model says (Transaction.%s, seed ${seed})`, async (name) => {
      await FastCheck.assert(
        FastCheck.asyncProperty(programs, async (program) => {
          const expected = interpret(program)
          const actual = await Effect.runPromise(
            Effect.scoped(Effect.flatMap(backend.make, (place) => execute(program, formOf(name), place.join())))
          )
          assert.deepStrictEqual(actual, expected)
        }),
        { numRuns: backend.name === "memory" ? runs : Math.ceil(runs / 3), seed, endOnFailure: false }
      )
    })
  })
}
