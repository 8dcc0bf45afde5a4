import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/TestClock"
import { CircuitBreaker, Fault, RetryPolicy } from "effect-recovery"

const curves = FastCheck.constantFrom(
  "exponential" as const,
  "linear" as const,
  "fixed" as const,
  "fibonacci" as const,
  "custom" as const
)

const policies: FastCheck.Arbitrary<RetryPolicy.RetryPolicy> = FastCheck.record({
  curve: curves,
  maxRetries: FastCheck.nat({ max: 6 }),
  delay: FastCheck.constantFrom(0, 1, 70, 1_000),
  maxDelay: FastCheck.constantFrom(1_000, 1_500, 90_000),
  jitter: FastCheck.constantFrom<Array<RetryPolicy.Jitter>>("none", "full", "equal", "random", "decorrelated", 0.3),
  maxElapsed: FastCheck.constantFrom(undefined, 0, 1_000, 5_000),
  honourRetryAfter: FastCheck.boolean()
}).map(({ curve, delay, ...options }) => {
  if (curve === "fixed") return RetryPolicy.fixed({ ...options, delay })
  if (curve !== "custom") return RetryPolicy[curve]({ ...options, initialDelay: delay })
  return RetryPolicy.custom((retry) => {
    if (retry === 2) throw new Error("a bug of the curve")
    return delay * retry
  }, options)
})

const tables = FastCheck.record({
  network: policies,
  "rate-limit": policies,
  unknown: policies,
  // Not one of ours any more, so it is asked as a schedule.
  "not-found": policies.map((policy) =>
    Object.assign(
      Schedule.map(policy, (delay) => delay),
      policy
    )
  )
}).map((table) => RetryPolicy.byCategory(table as Parameters<typeof RetryPolicy.byCategory>[0]))

const declared = { [Fault.declared]: { category: "rate-limit", retryAfter: "7 seconds" } }

const errors: ReadonlyArray<unknown> = [
  "offline",
  new Error("down"),
  { code: "ECONNRESET" },
  { status: 404 },
  { status: 429, retryAfter: 3 },
  { status: 429, response: { headers: { "retry-after": "2" } } },
  { status: 503, headers: new Map([["retry-after", "Thu, 01 Jan 1970 00:01:00 GMT"]]) },
  declared,
  new Error("outside", { cause: declared }),
  new TypeError("fetch failed", { cause: declared }),
  new Error("outside", { cause: { retryAfter: Duration.seconds(4) } }),
  { _tag: "Busy" }
]

const rules = Fault.layer(Fault.tag("Busy", { category: "network", retryAfter: "11 seconds" }))

type Retry = (self: Effect.Effect<string, unknown>) => Effect.Effect<string, unknown>

/** A clock that passes only while a program sleeps, which takes no time. */
const passingClock = (): Clock.Clock => {
  let now = 0
  const clock: Pick<Clock.Clock, "sleep" | "unsafeCurrentTimeMillis"> = {
    sleep: (duration) =>
      Effect.sync(() => {
        now += Duration.toMillis(duration)
      }),
    unsafeCurrentTimeMillis: () => now
  }
  return Object.assign(Clock.make(), clock, { currentTimeMillis: Effect.sync(() => now) })
}

/** What an observer of a retry can see: when each attempt starts, what it is given, and how all ends. */
const traceOf = (retry: Retry, failures: ReadonlyArray<unknown>, seed: string) =>
  Effect.gen(function* () {
    const attempts: Array<unknown> = []
    const attempt = Effect.gen(function* () {
      const { elapsed, elapsedSincePrevious, now: asked, ...metadata } = yield* Schedule.CurrentIterationMetadata
      const [{ output }, start] = [metadata, metadata.recurrence === 0 ? 0 : metadata.start]
      const times = [elapsed, elapsedSincePrevious, Duration.isDuration(output) ? output : Duration.zero]
      const now = yield* Clock.currentTimeMillis
      attempts.push({
        now,
        asked,
        ...metadata,
        start,
        output: null,
        times: times.map((time) => Duration.toMillis(time))
      })
      return attempts.length > failures.length ? "done" : yield* Effect.fail(failures[attempts.length - 1])
    })
    const clock = passingClock()
    const exit = yield* retry(attempt).pipe(Effect.withRandom(Random.make(seed)), Effect.withClock(clock), Effect.exit)
    return { attempts, exit }
  })

describe("A policy", () => {
  it.effect.prop(
    "retries as Effect.retry does by its Schedule: same times, metadata and end",
    {
      policy: FastCheck.oneof(policies, tables),
      failures: FastCheck.array(FastCheck.constantFrom(...errors), { minLength: 1, maxLength: 8 }),
      seed: FastCheck.string(),
      withRules: FastCheck.boolean()
    },
    ({ failures, policy, seed, withRules }) =>
      Effect.gen(function* () {
        const ours = yield* traceOf(RetryPolicy.retry(policy), failures, seed)
        const theirs = yield* traceOf((self) => Effect.retry(self, policy), failures, seed)
        assert.deepStrictEqual(ours, theirs)
      }).pipe(Effect.provide(withRules ? rules : Layer.empty), Logger.withMinimumLogLevel(LogLevel.None)),
    { fastCheck: { numRuns: 100, seed: 20261129 } }
  )

  const recurrence = Effect.map(Schedule.CurrentIterationMetadata, (metadata) => metadata.recurrence)
  const policy = RetryPolicy.fixed({ maxRetries: 3, delay: 0 })

  it.effect("gives its metadata to attempts alone, whether they succeed, fail, die or are interrupted", () =>
    Effect.gen(function* () {
      const ends: ReadonlyArray<Effect.Effect<never, string> | Effect.Effect<string>> = [
        Effect.succeed("done"),
        Effect.fail("no"),
        Effect.die("bug"),
        Effect.interrupt
      ]
      for (const end of ends) {
        const seen: Array<number> = []
        const look = Effect.map(recurrence, (number) => void seen.push(number))
        const attempt = Effect.flatMap(look, () => (seen.length === 1 ? Effect.fail("first") : end))
        const retried = attempt.pipe(RetryPolicy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 0 })))
        yield* Effect.zipRight(Effect.exit(Effect.ensuring(retried, look)), look)
        assert.deepStrictEqual(seen, [0, 1, 0, 0])
      }
    })
  )

  it.effect("restores the metadata of an outer retry", () =>
    Effect.gen(function* () {
      const seen: Array<ReadonlyArray<number>> = []
      let attempts = 0
      const inner = Effect.suspend(() => (++attempts % 2 === 1 ? Effect.fail("in") : recurrence))
      const outer = Effect.gen(function* () {
        seen.push([yield* recurrence, yield* RetryPolicy.retry(inner, policy), yield* recurrence])
        return yield* Effect.fail("out")
      })
      yield* Effect.exit(RetryPolicy.retry(outer, policy))
      assert.deepStrictEqual(seen, [
        [0, 1, 0],
        [1, 1, 1],
        [2, 1, 2],
        [3, 1, 3]
      ])
    })
  )

  it.effect("stops at once when it is interrupted between two attempts", () =>
    Effect.gen(function* () {
      let attempts = 0
      const failing = Effect.suspend(() => Effect.fail(++attempts))
      const fiber = yield* Effect.fork(RetryPolicy.retry(failing, RetryPolicy.fixed()))
      yield* TestClock.adjust("1500 millis")
      const exit = yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 minute")
      assert.isTrue(Exit.isInterrupted(exit))
      assert.strictEqual(attempts, 2)
    })
  )
})

describe("A failure", () => {
  it.effect("is classified once for the breaker and for the policy that see it", () =>
    Effect.gen(function* () {
      let asked = 0
      const counted = Fault.layer(Fault.when("counted", () => ++asked < 0, { category: "network" }))
      yield* Effect.gen(function* () {
        const breaker = yield* CircuitBreaker.make({ name: "counted" })
        const failing = Effect.fail({ _tag: "Offline" }).pipe(CircuitBreaker.protect(breaker))
        yield* Effect.exit(failing.pipe(RetryPolicy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: 0 }))))
      }).pipe(Effect.provide(counted))
      assert.strictEqual(asked, 3)
    })
  )
})
