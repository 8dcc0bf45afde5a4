import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { CircuitBreaker, State, Storage } from "effect-recovery"
import { Escalation, RecoveryManager } from "effect-recovery/operate"
import { seedOf } from "../support/campaigns.js"

const window = 5_000
/** The window slides by a tenth of its length. */
const step = window / 10

describe("a clock that is set back or ahead", () => {
  it("old failures do not come back into the window of a breaker", () => {
    const trip = CircuitBreaker.timeWindow({ window, minimum: 15 })
    const state = trip.open()
    for (let i = 0; i < 14; i++) state.record("failure", 100_000, 0)
    state.record("success", 40_500, 0)
    assert.isFalse(state.record("failure", 100_000, 0))
    assert.strictEqual(state.window(100_000).failures, 1)
  })

  it("failures of a snapshot of the future do not count", () => {
    const trip = CircuitBreaker.timeWindow({ window, minimum: 15 })
    const ahead = trip.open()
    for (let i = 0; i < 14; i++) ahead.record("failure", 100_000, 0)
    const state = trip.open()
    state.load(ahead.save(100_000))
    assert.strictEqual(state.window(40_500).failures, 0)
    assert.isFalse(state.record("failure", 100_000, 0))
    assert.strictEqual(state.window(100_000).failures, 1)
  })

  it("a snapshot of a breaker whose clock was set back is read again as it was", () => {
    const trip = CircuitBreaker.timeWindow({ window })
    const state = trip.open()
    for (let i = 0; i < 4; i++) state.record("failure", 100_000, 0)
    state.record("failure", 40_000, 0)
    const copy = trip.open()
    copy.load(state.save(40_000))
    assert.deepStrictEqual(copy.window(40_000), state.window(40_000))
  })

  it("a window counts each call once, for its length, whatever the clock does", () => {
    const actions = FastCheck.array(
      FastCheck.oneof(
        { weight: 4, arbitrary: FastCheck.record({ do: FastCheck.constant("call"), failed: FastCheck.boolean() }) },
        {
          weight: 4,
          arbitrary: FastCheck.record({
            do: FastCheck.constant("pass"),
            millis: FastCheck.integer({ min: 0, max: 2 * window })
          })
        },
        {
          weight: 1,
          arbitrary: FastCheck.record({
            do: FastCheck.constant("jump"),
            millis: FastCheck.integer({ min: -10 * window, max: 10 * window })
          })
        },
        { weight: 1, arbitrary: FastCheck.record({ do: FastCheck.constant("restart") }) }
      ),
      { maxLength: 60 }
    )
    const property = FastCheck.property(actions, (all) => {
      const trip = CircuitBreaker.timeWindow({ window })
      let state = trip.open()
      let [now, passed] = [1_000_000, 0]
      /** The time that passed before each failure, without jumps of the clock. */
      let failures: Array<number> = []
      for (const action of all) {
        if ("failed" in action) {
          state.record(action.failed ? "failure" : "success", now, 0)
          if (action.failed) failures.push(passed)
        } else if (action.do === "restart") {
          const saved = state.save(now)
          state = trip.open()
          state.load(saved)
        } else if ("millis" in action) {
          now += action.millis
          if (action.do === "pass") passed += action.millis
          // The window sees a jump at its next call only, so it is asked at once.
          state.window(now)
          if (action.do === "jump" && action.millis > 0) failures = failures.map((at) => at - action.millis)
        }
        const counted = state.window(now).failures
        const atMost = failures.filter((at) => passed - at < window).length
        const atLeast = failures.filter((at) => passed - at <= window - step).length
        assert.isAtMost(counted, atMost)
        if (!all.some(({ do: what }) => what === "restart" || what === "jump")) assert.isAtLeast(counted, atLeast)
      }
    })
    FastCheck.assert(property, { seed: seedOf(11), numRuns: 500 })
  })

  it.effect("a slow call is one that took long, not one during which the clock was set ahead", () =>
    Effect.gen(function* () {
      let wall = 1_000_000
      const clock = yield* Effect.clock
      const jumping = Object.assign(Object.create(clock), {
        unsafeCurrentTimeMillis: () => wall,
        unsafeCurrentTimeNanos: () => 0n
      })
      const trip = CircuitBreaker.slowCalls({ slowerThan: "2 seconds", minimum: 1 })
      const breaker = yield* Effect.withClock(CircuitBreaker.make({ name: "rates", trip }), jumping)
      yield* CircuitBreaker.protect(
        Effect.sync(() => (wall += 3_600_000)),
        breaker
      )
      assert.strictEqual((yield* breaker.snapshot).state, "closed")
    })
  )

  it.effect("a value of State expires at the latest when it is twice its time to live old", () =>
    Effect.gen(function* () {
      const Token = State.make("token", Schema.String, "none", { ttl: "1 minute" })
      yield* TestClock.setTime(3_600_000)
      yield* Token.set("secret")
      assert.strictEqual(yield* Token.get, "secret")
      yield* TestClock.setTime(0)
      assert.strictEqual(yield* Token.get, "none")
    }).pipe(Effect.provide(State.layer))
  )

  it.scoped("failures of the far future are not recent for an escalation", () =>
    Effect.gen(function* () {
      const rules = [Escalation.rule({ threshold: 2, window: "1 minute" })]
      const layer = Layer.provideMerge(Escalation.layer({ rules, sinks: [] }), Storage.layerMemory)
      yield* Effect.gen(function* () {
        yield* TestClock.setTime(300_000)
        yield* RecoveryManager.report(new Error("disk full"))
        yield* RecoveryManager.report(new Error("disk full"))
        yield* TestClock.setTime(0)
        assert.deepStrictEqual(yield* (yield* Escalation.Escalation).check, [])
      }).pipe(Effect.provide(layer))
    })
  )
})
