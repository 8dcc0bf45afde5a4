import * as Duration from "effect/Duration"
import * as FastCheck from "effect/FastCheck"
import { CircuitBreaker } from "effect-recovery"
import { assert, describe, it } from "vitest"
import { durationText } from "../../src/resilience/DurationText.js"

describe("durations in messages", () => {
  it("are rounded to what people read", () => {
    const cases: ReadonlyArray<[Duration.DurationInput, string]> = [
      [Duration.nanos(502_979_333n), "503ms"],
      [Duration.nanos(300n), "1ms"],
      [0, "0"],
      ["1499 millis", "1s 500ms"],
      ["30 seconds", "30s"],
      [Duration.millis(123_456.789), "2m 3s"]
    ]
    for (const [given, expected] of cases) assert.strictEqual(durationText(Duration.decode(given)), expected)
    assert.strictEqual(durationText(Duration.infinity), "Infinity")
  })

  it("have two units at most, and are right to a twentieth", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.double({ min: 0.001, max: 3_600_000, noNaN: true }), (millis) => {
        const text = durationText(Duration.millis(millis))
        assert.match(text, /^\d+(h|m|s|ms)( \d+(s|ms))?$/)
        const said = [...text.matchAll(/(\d+)(h|ms|m|s)/g)].reduce(
          (sum, [, count, unit]) => sum + Number(count) * ({ h: 3_600_000, m: 60_000, s: 1_000 }[unit ?? ""] ?? 1),
          0
        )
        assert.isAtMost(Math.abs(said - millis), Math.max(1, millis / 20))
      }),
      { seed: 7 }
    )
  })

  it("of refusals, too", () => {
    const refused = new CircuitBreaker.CircuitOpen({
      breaker: "api",
      state: "open",
      retryAfter: Duration.nanos(29_502_979_333n)
    })
    assert.strictEqual(refused.message, 'The circuit breaker "api" is open; try again in 29s 500ms.')
  })
})
