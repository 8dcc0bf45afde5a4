import { assert, describe, it } from "@effect/vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import type { FleetOptions } from "./fleet.js"
import { looksTooEarly, withoutSignalsCount } from "./plants.js"
import { simulateScale } from "./scale.js"
import { simulate } from "./scenarios.js"

/** The first of so many seeds, from this one on, whose simulation sees a fault. */
const firstFault = async (from: number, count: number, plant?: FleetOptions["plant"]) => {
  for (let seed = from; seed < from + count; seed++) {
    const { faults } = await simulate(seed, { plant })
    if (faults.length > 0) return { seed, faults }
  }
  return undefined
}

describe("simulated fleets", () => {
  it("end all runs, each step once, whatever fails", async () => {
    const seed = seedOf(1)
    const found = await firstFault(seed, lengthOf("SIMULATED_FLEETS"))
    assert.isUndefined(found, `seed ${found?.seed}: ${found?.faults.join("; ")}`)
  })

  it("have the same history each time", async () => {
    for (const seed of [2, 5, 8]) {
      const first = await simulate(seed, { isRecorded: true })
      await simulate(seed + 1)
      const again = await simulate(seed, { isRecorded: true })
      assert.isAbove(first.lines.length, 30)
      assert.strictEqual(again.lines.join("\n"), first.lines.join("\n"))
    }
  })

  it("show a worker that looks before it asks when the next run is due", async () => {
    const found = await firstFault(1, 200, looksTooEarly)
    assert.match(found?.faults.join(" ") ?? "", /could be resumed since/)
  })

  it("show a store that does not count the signals of a run", async () => {
    const found = await firstFault(1, 200, withoutSignalsCount)
    assert.match(found?.faults.join(" ") ?? "", /has not ended/)
  })

  it("claim few times for each run if they hear of it, and within milliseconds", async () => {
    const scale = { workers: 10, runs: 120, rate: 100, cores: 4, hasNews: true }
    const { claimsPerRun, ended, wakeUp } = await simulateScale(1, scale)
    assert.strictEqual(ended, 120)
    assert.isAtMost(claimsPerRun, 3.5)
    assert.isAtMost(wakeUp.p50, 6)
  })
})
