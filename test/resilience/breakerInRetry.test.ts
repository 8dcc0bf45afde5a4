import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { CircuitBreaker, Recovery, RetryPolicy, Strategy } from "effect-recovery"

const down = { _tag: "Down", status: 503 } as const

type Attempt = Effect.Effect<never, typeof down | CircuitBreaker.CircuitOpen>

/** The times in seconds and the errors of all attempts, and the last error, of calls to a system that stays down. */
const scheduleOf = (
  resetAfter: "30 seconds" | "300 seconds",
  again: (attempt: Attempt) => Effect.Effect<never, { readonly _tag: string }>
) =>
  Effect.gen(function* () {
    const breaker = yield* CircuitBreaker.make({
      name: "rates",
      trip: CircuitBreaker.consecutive({ failures: 2 }),
      resetAfter
    })
    const attempts: Array<string> = []
    const attempt = Effect.fail(down).pipe(
      CircuitBreaker.protect(breaker),
      Effect.tapError(({ _tag }) =>
        Effect.map(Clock.currentTimeMillis, (now) => void attempts.push(`${now / 1_000} ${_tag}`))
      )
    )
    const fiber = yield* Effect.fork(Effect.flip(again(attempt)))
    yield* TestClock.adjust("1 hour")
    return [...attempts, (yield* Fiber.join(fiber))._tag]
  })

const policy = RetryPolicy.exponential()

/** As the table of docs/policies/circuit-breaker.md. */
describe("a breaker inside a retry composed by hand", () => {
  it.effect("delays the next attempt by retryAfter, which then may be the probe", () =>
    Effect.gen(function* () {
      const seen = yield* scheduleOf("30 seconds", RetryPolicy.retry(policy))
      assert.deepStrictEqual(seen, ["0 Down", "1 Down", "3 CircuitOpen", "31 Down", "Down"])
    })
  )

  it.effect("waits no longer than maxDelay, so CircuitOpen may be the last error", () =>
    Effect.gen(function* () {
      const seen = yield* scheduleOf("300 seconds", RetryPolicy.retry(policy))
      assert.deepStrictEqual(seen, ["0 Down", "1 Down", "3 CircuitOpen", "63 CircuitOpen", "CircuitOpen"])
    })
  )

  it.effect("keeps the curve without honourRetryAfter", () =>
    Effect.gen(function* () {
      const seen = yield* scheduleOf(
        "300 seconds",
        RetryPolicy.retry(RetryPolicy.exponential({ honourRetryAfter: false }))
      )
      assert.deepStrictEqual(seen, ["0 Down", "1 Down", "3 CircuitOpen", "7 CircuitOpen", "CircuitOpen"])
    })
  )

  it.effect("ends the retries where only other errors are retried", () =>
    Effect.gen(function* () {
      const seen = yield* scheduleOf("30 seconds", Recovery.recover({ Down: Strategy.retry(policy) }))
      assert.deepStrictEqual(seen, ["0 Down", "1 Down", "3 CircuitOpen", "CircuitOpen"])
    })
  )

  it.effect("ends the retries of Effect.retry by its while", () =>
    Effect.gen(function* () {
      const seen = yield* scheduleOf(
        "30 seconds",
        Effect.retry({ schedule: policy, while: (error) => error._tag !== "CircuitOpen" })
      )
      assert.deepStrictEqual(seen, ["0 Down", "1 Down", "3 CircuitOpen", "CircuitOpen"])
    })
  )
})
