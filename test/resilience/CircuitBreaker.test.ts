import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { CircuitBreaker, RetryPolicy } from "effect-recovery"
import { assertTagged } from "../support/assertions.js"

const down = { status: 503 }
const refusal = { status: 403 }

const make = (options?: Partial<CircuitBreaker.Options>) =>
  CircuitBreaker.make({
    name: "rates",
    trip: CircuitBreaker.consecutive({ failures: 3 }),
    resetAfter: "30 seconds",
    ...options
  })

const failWith = (breaker: CircuitBreaker.CircuitBreaker, error: unknown) =>
  Effect.flip(Effect.fail(error).pipe(CircuitBreaker.protect(breaker)))

const trip = (breaker: CircuitBreaker.CircuitBreaker) => Effect.repeatN(failWith(breaker, down), 2)

const isOpen = (error: unknown): error is CircuitBreaker.CircuitOpen => error instanceof CircuitBreaker.CircuitOpen

describe("CircuitBreaker", () => {
  it.effect("opens after consecutive failures, and its error has retryAfter", () =>
    Effect.gen(function* () {
      const breaker = yield* make()
      yield* failWith(breaker, down)
      yield* failWith(breaker, down)
      assert.strictEqual(yield* Effect.succeed(1).pipe(CircuitBreaker.protect(breaker)), 1)
      assert.strictEqual((yield* breaker.snapshot).window.failures, 0)
      yield* trip(breaker)
      yield* TestClock.adjust("10 seconds")
      let called = false
      const call = Effect.sync(() => {
        called = true
      })
      const error = yield* Effect.flip(call.pipe(CircuitBreaker.protect(breaker)))
      assertTagged(error, "CircuitOpen", { retryAfter: Duration.seconds(20) })
      assert.include(error.message, "20s")
      assert.include(String(error), "CircuitOpen")
      assert.isFalse(called)
    })
  )

  it.effect("counts transient faults only, not interruption", () =>
    Effect.gen(function* () {
      const breaker = yield* make()
      for (let i = 0; i < 10; i++) yield* failWith(breaker, refusal)
      yield* Effect.exit(Effect.interrupt.pipe(CircuitBreaker.protect(breaker)))
      const { state, window } = yield* breaker.snapshot
      assert.deepStrictEqual([state, window.failures], ["closed", 0])
    })
  )

  it.effect("half-open admits exactly its probes; all must succeed to close it", () =>
    Effect.gen(function* () {
      const breaker = yield* make({ probes: 2 })
      yield* trip(breaker)
      yield* TestClock.adjust("30 seconds")
      const gate = yield* Deferred.make<void>()
      const calls = yield* Effect.forEach(Array.from({ length: 1_000 }), () =>
        Effect.fork(Effect.either(Deferred.await(gate).pipe(CircuitBreaker.protect(breaker))))
      )
      yield* Effect.yieldNow()
      yield* Deferred.succeed(gate, undefined)
      const results = yield* Effect.forEach(calls, Fiber.join)
      assert.strictEqual(results.filter(({ _tag }) => _tag === "Right").length, 2)
      assert.strictEqual((yield* breaker.snapshot).state, "closed")
    })
  )

  it.effect("a failing probe opens it for a fresh period", () =>
    Effect.gen(function* () {
      const breaker = yield* make()
      yield* trip(breaker)
      yield* TestClock.adjust("30 seconds")
      yield* failWith(breaker, down)
      const { openings, retryAt, state } = yield* breaker.snapshot
      assert.deepStrictEqual([state, openings, retryAt], ["open", 2, 60_000])
    })
  )

  it.effect("an interrupted probe releases its place", () =>
    Effect.gen(function* () {
      const breaker = yield* make()
      yield* trip(breaker)
      yield* TestClock.adjust("30 seconds")
      for (let i = 0; i < 20; i++) {
        const probe = yield* Effect.fork(Effect.never.pipe(CircuitBreaker.protect(breaker)))
        yield* Effect.yieldNow()
        assert.isTrue(isOpen(yield* Effect.flip(Effect.void.pipe(CircuitBreaker.protect(breaker)))))
        yield* Fiber.interrupt(probe)
      }
      yield* Effect.void.pipe(CircuitBreaker.protect(breaker))
      assert.strictEqual((yield* breaker.snapshot).state, "closed")
    })
  )

  it.effect("a retry around a breaker that is not open does not spin", () =>
    Effect.gen(function* () {
      const breaker = yield* make()
      yield* breaker.isolate
      const error = yield* Effect.flip(Effect.void.pipe(CircuitBreaker.protect(breaker)))
      assertTagged(error, "CircuitOpen", { retryAfter: Duration.seconds(30) })
    })
  )

  it.effect("refuses every call while isolated", () =>
    Effect.gen(function* () {
      const breaker = yield* make()
      yield* breaker.isolate
      yield* TestClock.adjust("1 day")
      assert.isTrue(isOpen(yield* Effect.flip(Effect.void.pipe(CircuitBreaker.protect(breaker)))))
      yield* breaker.reset
      yield* Effect.void.pipe(CircuitBreaker.protect(breaker))
    })
  )

  it.effect("inside a retry it admits each attempt", () =>
    Effect.gen(function* () {
      const breaker = yield* make()
      let calls = 0
      const call = Effect.suspend(() => {
        calls++
        return Effect.fail(down)
      })
      const policy = RetryPolicy.fixed({ maxRetries: 9, delay: 0, honourRetryAfter: false })
      const error = yield* Effect.flip(call.pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(policy)))
      assert.isTrue(isOpen(error))
      assert.strictEqual(calls, 3)
    })
  )
})
