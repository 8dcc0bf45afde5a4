import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { Recovery, RetryBudget, RetryPolicy, Strategy } from "effect-recovery"
import { recoverFrom } from "../../src/resilience/internal/kernel/recovery.js"
import { alwaysFailing, needingNothing, toTheEnd } from "../support/resilience.js"
import { metric } from "../support/watch.js"

const offline = { _tag: "Offline" } as const
const policy = RetryPolicy.fixed({ maxRetries: 10, delay: "1 second" })

const make = (options?: Partial<RetryBudget.Options>) =>
  RetryBudget.make({ name: "budget", capacity: 5, ratio: 0, perSecond: 0, ...options })

/** Runs the effect to its end: all its waits pass. */
const counting = () => {
  const calls = { made: 0 }
  const effect = Effect.suspend(() => {
    calls.made++
    return Effect.fail(offline)
  })
  return { calls, effect }
}

describe("RetryBudget", () => {
  it.effect("limits the retries of all callers to its tokens, and surfaces the error unchanged", () =>
    Effect.gen(function* () {
      const budget = yield* make({ name: "of four callers" })
      const { calls, effect } = counting()
      const callers = Array.from({ length: 4 }, () => effect.pipe(RetryPolicy.retry(policy, { budget })))
      const exit = yield* toTheEnd(Effect.all(callers.map(Effect.flip), { concurrency: "unbounded" }))
      assert.deepStrictEqual(yield* exit, [offline, offline, offline, offline])
      assert.strictEqual(calls.made, 4 + 5)
      assert.deepStrictEqual(yield* budget.snapshot, { tokens: 0, spent: 5, refused: 4 })
      assert.strictEqual(yield* metric("budget_refused", { budget: "of four callers" }), 4)
    })
  )

  it.effect("a strategy out of budget is exhausted, or moves on", () =>
    Effect.gen(function* () {
      const budget = yield* make({ capacity: 2 })
      const { calls, effect } = counting()
      const retry = Strategy.retry(policy, { budget })
      const exit = yield* toTheEnd(effect.pipe(Recovery.recover({ Offline: retry })))
      const error = yield* Effect.flip(exit)
      assert.strictEqual(error._tag, "RecoveryExhausted")
      assert.strictEqual(error.attempts, 3)
      assert.strictEqual(calls.made, 3)
      const recovered = effect.pipe(Recovery.recover({ Offline: Strategy.sequence(retry, Strategy.skip("stand-in")) }))
      assert.strictEqual(yield* yield* toTheEnd(recovered), "stand-in")
      assert.strictEqual(calls.made, 4)
    })
  )

  it.effect("charges a retry when it starts: an interrupted backoff costs nothing", () =>
    Effect.gen(function* () {
      const budget = yield* make()
      const { effect } = counting()
      const forms: ReadonlyArray<Effect.Effect<never, unknown>> = [
        effect.pipe(RetryPolicy.retry(policy, { budget })),
        effect.pipe(Recovery.recover({ Offline: Strategy.retry(policy, { budget }) }))
      ]
      for (const retried of forms) {
        const fiber = yield* Effect.fork(retried)
        yield* TestClock.adjust("999 millis")
        yield* Fiber.interrupt(fiber)
        assert.strictEqual((yield* budget.snapshot).spent, 0)
      }
    })
  )

  it.effect("first attempts and time credit tokens up to the capacity", () =>
    Effect.gen(function* () {
      const budget = yield* make({ ratio: 0.25, perSecond: 0.5 })
      const { effect } = counting()
      yield* toTheEnd(effect.pipe(RetryPolicy.retry(RetryPolicy.fixed({ maxRetries: 5, delay: 0 }), { budget })))
      yield* TestClock.adjust("1 day")
      assert.strictEqual((yield* budget.snapshot).tokens, 5)
      const spend = Effect.exit(
        effect.pipe(RetryPolicy.retry(RetryPolicy.fixed({ maxRetries: 5, delay: 0 }), { budget }))
      )
      yield* spend
      assert.strictEqual((yield* budget.snapshot).tokens, 0)
      const healthy = Effect.void.pipe(RetryPolicy.retry(policy, { budget }))
      const recovered = Effect.void.pipe(
        Effect.zipRight(Effect.fail(offline).pipe(Effect.when(() => false))),
        Recovery.recover({ Offline: Strategy.retry(policy, { budget }) })
      )
      yield* Effect.repeatN(healthy, 3)
      assert.strictEqual((yield* budget.snapshot).tokens, 1)
      yield* Effect.repeatN(recovered, 3)
      assert.strictEqual((yield* budget.snapshot).tokens, 2)
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* budget.snapshot).tokens, 4)
    })
  )

  it("refuses invalid options by name", () => {
    const build = (options: Partial<RetryBudget.Options>) => () => Effect.runSync(make(options))
    assert.throws(build({ ratio: 1.1 }), `"ratio"`)
    assert.throws(build({ ratio: Number.NaN }), `"ratio"`)
    assert.throws(build({ perSecond: -1 }), `"perSecond"`)
    assert.throws(build({ perSecond: Number.POSITIVE_INFINITY }), `"perSecond"`)
    assert.throws(build({ capacity: 0 }), `"capacity"`)
  })
})

describe("the tokens of a RetryBudget", () => {
  it.effect("are credited once per call, and not again when the call resumes", () =>
    Effect.gen(function* () {
      const budget = yield* RetryBudget.make({ name: "once", capacity: 10, ratio: 0.25, perSecond: 0 })
      const policy = RetryPolicy.fixed({ maxRetries: 10, delay: 0 })
      yield* toTheEnd(alwaysFailing().effect.pipe(RetryPolicy.retry(policy, { budget })))
      const strategy = Strategy.retry(policy, { budget })
      const resilient = yield* Recovery.recoverable({ name: "once", budget, strategy })
      yield* resilient(Effect.void)
      assert.strictEqual((yield* budget.snapshot).tokens, 0.25)
      const plan = { find: () => ["*", strategy] as const, budgets: [budget] }
      yield* needingNothing(recoverFrom(3, () => Effect.void, plan, { source: {} }))
      assert.strictEqual((yield* budget.snapshot).tokens, 0.25)
    })
  )

  it.effect("add up without rounding errors: ten tenths are one token", () =>
    Effect.gen(function* () {
      const budget = yield* RetryBudget.make({ name: "tenths", capacity: 1, ratio: 0.1, perSecond: 0 })
      const once = RetryPolicy.fixed({ maxRetries: 1, delay: 0 })
      yield* Effect.exit(alwaysFailing().effect.pipe(RetryPolicy.retry(once, { budget })))
      yield* Effect.repeatN(Effect.void.pipe(RetryPolicy.retry(once, { budget })), 8)
      const { calls, effect } = alwaysFailing()
      yield* toTheEnd(effect.pipe(RetryPolicy.retry(once, { budget })))
      assert.strictEqual(calls.length, 2)
      assert.isAtLeast((yield* budget.snapshot).tokens, 0)
    })
  )
})
