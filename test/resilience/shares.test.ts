import { assert, describe, it } from "@effect/vitest"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { CircuitBreaker } from "effect-recovery"
import { trendOf } from "../../src/operate/internal/insights/statistics.js"
import { reachesShare } from "../../src/resilience/internal/kernel/options.js"
import { seedOf } from "../support/campaigns.js"

const percents = Arr.range(1, 100)

describe("shares", () => {
  it("a part reaches a whole percentage exactly, for all sizes up to 10,000", () => {
    for (const percent of percents) {
      for (let size = 1; size <= 10_000; size++) {
        const exact = Math.ceil((percent * size) / 100)
        for (let part = Math.max(0, exact - 1); part <= Math.min(size, exact + 1); part++) {
          if (reachesShare(part, size, percent / 100) !== part * 100 >= percent * size) {
            assert.fail(`${part} of ${size} against ${percent} %`)
          }
        }
      }
    }
  })

  const opensAt = (trip: CircuitBreaker.Trip, size: number, failed: number, last: "success" | "failure") => {
    const state = trip.open()
    for (let i = 0; i < size - failed; i++) state.record("success", 0, 0)
    let opens = false
    for (let i = 0; i < failed; i++) opens = state.record(last, 0, 1_000)
    return opens
  }

  it("each breaker with a rate opens exactly at its rate", () => {
    const cases = FastCheck.record({
      percent: FastCheck.integer({ min: 1, max: 100 }),
      size: FastCheck.integer({ min: 1, max: 1_000 })
    })
    const property = FastCheck.property(cases, ({ percent, size }) => {
      const rate = percent / 100
      const exact = Math.ceil((percent * size) / 100)
      const trips = [
        ["failure", CircuitBreaker.countWindow({ size, failureRate: rate, minimum: size })],
        ["failure", CircuitBreaker.timeWindow({ failureRate: rate, minimum: size })],
        ["success", CircuitBreaker.slowCalls({ slowerThan: "500 millis", slowRate: rate, minimum: size })]
      ] as const
      for (const [last, trip] of trips) {
        assert.isTrue(opensAt(trip, size, exact, last), `${trip.description.kind}: ${exact} of ${size}`)
        if (exact > 1) assert.isFalse(opensAt(trip, size, exact - 1, last), `${trip.description.kind}: one less`)
      }
    })
    FastCheck.assert(property, { seed: seedOf(7), numRuns: 300 })
  })

  it.effect("a breaker opens at 7 failures of 100 calls with a rate of 0.07", () =>
    Effect.gen(function* () {
      const trip = CircuitBreaker.countWindow({ size: 100, failureRate: 0.07, minimum: 100 })
      const breaker = yield* CircuitBreaker.make({ name: "rates", trip, counts: () => true })
      const call = (effect: Effect.Effect<void, string>) => Effect.exit(CircuitBreaker.protect(effect, breaker))
      yield* Effect.repeatN(call(Effect.void), 92)
      yield* Effect.repeatN(call(Effect.fail("down")), 6)
      assert.strictEqual((yield* breaker.snapshot).state, "open")
    })
  )

  it("the trend changes only beyond 20 %", () => {
    const week = (before: number, recent: number) =>
      [before, before, before, before, recent, recent, recent].map((failures) => ({ failures }))
    for (let before = 5; before <= 5_000; before += 5) {
      const fifth = before / 5
      assert.strictEqual(trendOf(week(before, before + fifth)), "steady", `${before}`)
      assert.strictEqual(trendOf(week(before, before + fifth + 1)), "worse", `${before}`)
      assert.strictEqual(trendOf(week(before, before - fifth)), "steady", `${before}`)
      assert.strictEqual(trendOf(week(before, before - fifth - 1)), "better", `${before}`)
    }
  })
})
