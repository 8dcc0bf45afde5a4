import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { backends } from "../support/storages.js"
import { interpret } from "./model/model.js"
import { programs } from "./model/program.js"
import { execute } from "./model/real.js"

const runs = Number(process.env["RECOVERY_MODEL_RUNS"] ?? 300)
const seed = 20261121

for (const backend of backends) {
  describe(`${backend.name}: random programs of steps, transactions, pivots, checkpoints, failures, interruptions and rewinds`, () => {
    it("do what the model says", { timeout: 600_000 }, async () => {
      await FastCheck.assert(
        FastCheck.asyncProperty(programs, async (program) => {
          const expected = interpret(program)
          const actual = await Effect.runPromise(
            Effect.scoped(Effect.flatMap(backend.make, (place) => execute(program, place.join())))
          )
          assert.deepStrictEqual(actual, expected)
        }),
        { numRuns: backend.name === "memory" ? runs : Math.ceil(runs / 3), seed, endOnFailure: false }
      )
    })
  })
}
