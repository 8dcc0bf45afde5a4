import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { inEveryStorage } from "../support/everyStorage.js"
import { formOf } from "../support/transactionForms.js"
import { interpret } from "./model/model.js"
import { programs } from "./model/program.js"
import { execute } from "./model/real.js"

const runs = lengthOf("MODEL_RUNS")
const seed = seedOf(20261121)

inEveryStorage(
  "random programs of steps, transactions, pivots, checkpoints, failures, interruptions and rewinds",
  (backend, share) => {
    it.each(["run", "layer"])(`do what the model says (Transaction.%s, seed ${seed})`, async (name) => {
      await FastCheck.assert(
        FastCheck.asyncProperty(programs, async (program) => {
          const expected = interpret(program)
          const actual = await Effect.runPromise(
            Effect.scoped(Effect.flatMap(backend.make, (place) => execute(program, formOf(name), place.join())))
          )
          assert.deepStrictEqual(actual, expected)
        }),
        { numRuns: Math.ceil(runs * share), seed, endOnFailure: false }
      )
    })
  }
)
