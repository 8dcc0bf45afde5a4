import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/TestClock"
import { Decision, Fault, RetryPolicy } from "effect-recovery"
import { assertBetween } from "../support/assertions.js"

/** The start times of the attempts of an effect that always fails, in milliseconds. */
const attemptTimes = (
  retry: (self: Effect.Effect<never, unknown>) => Effect.Effect<never, unknown>,
  error: (attempt: number) => unknown = () => "offline"
) =>
  Effect.gen(function* () {
    const times: Array<number> = []
    const attempt = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      times.push(now)
      return Effect.fail(error(times.length))
    })
    const fiber = yield* Effect.fork(Effect.exit(retry(attempt)))
    yield* TestClock.adjust("1 days")
    const exit = yield* Fiber.join(fiber)
    assert.isTrue(Exit.isFailure(exit))
    return times
  })

const seconds = (...times: ReadonlyArray<number>) => times.map((time) => time * 1_000)

const millis = (delays: ReadonlyArray<Duration.Duration>) => delays.map(Duration.toMillis)

describe("RetryPolicy", () => {
  describe("waits exactly as documented", () => {
    const rows: ReadonlyArray<readonly [string, RetryPolicy.RetryPolicy, ReadonlyArray<number>]> = [
      ["exponential by default 1, 2, 4 s", RetryPolicy.exponential(), seconds(0, 1, 3, 7)],
      [
        "exponential with factor, delay and cap",
        RetryPolicy.exponential({ maxRetries: 4, initialDelay: "2 seconds", factor: 3, maxDelay: "10 seconds" }),
        seconds(0, 2, 8, 18, 28)
      ],
      [
        "a pipeline's 30, 60, 120, 240, 300 s",
        RetryPolicy.exponential({ maxRetries: 5, initialDelay: "30 seconds", maxDelay: "5 minutes" }),
        seconds(0, 30, 90, 210, 450, 750)
      ],
      ["linear by default 1, 2, 3 s", RetryPolicy.linear(), seconds(0, 1, 3, 6)],
      [
        "linear with increment",
        RetryPolicy.linear({ initialDelay: "1 second", increment: "5 seconds", maxDelay: "8 seconds" }),
        seconds(0, 1, 7, 15)
      ],
      ["fixed by default 1 s", RetryPolicy.fixed(), seconds(0, 1, 2, 3)],
      ["fibonacci 1, 1, 2, 3, 5", RetryPolicy.fibonacci({ maxRetries: 5 }), seconds(0, 1, 2, 4, 7, 12)],
      ["custom", RetryPolicy.custom((retry) => `${retry * 10} seconds`), seconds(0, 0, 10, 30)],
      ["no retries", RetryPolicy.exponential({ maxRetries: 0 }), seconds(0)],
      ["none", RetryPolicy.none, seconds(0)],
      [
        "maxElapsed ends it before the retry that would be late",
        RetryPolicy.fixed({ maxRetries: Number.POSITIVE_INFINITY, maxElapsed: "2500 millis" }),
        seconds(0, 1, 2)
      ]
    ]
    for (const [title, policy, expected] of rows) {
      it.effect(title, () =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.retry(policy)), expected)
          assert.deepStrictEqual(yield* attemptTimes(Effect.retry(policy)).pipe(relative), expected)
        })
      )
    }
  })

  it.effect("retries as Effect.retry does, with any schedule", () =>
    Effect.gen(function* () {
      const schedule = Schedule.intersect(Schedule.exponential("1 second"), Schedule.recurs(4))
      const ours = yield* attemptTimes(RetryPolicy.retry(schedule))
      const theirs = yield* relative(attemptTimes(Effect.retry(schedule)))
      assert.deepStrictEqual(ours, theirs)
    })
  )

  it.effect("an effect that succeeds runs once, and the last error surfaces", () =>
    Effect.gen(function* () {
      let calls = 0
      const flaky = Effect.suspend(() => (++calls < 3 ? Effect.fail(`failure ${calls}`) : Effect.succeed(calls)))
      const policy = RetryPolicy.fixed({ maxRetries: 5, delay: 0 })
      assert.strictEqual(yield* RetryPolicy.retry(flaky, policy), 3)
      assert.strictEqual(calls, 3)
      const always = Effect.suspend(() => Effect.fail(`failure ${++calls}`))
      assert.strictEqual(yield* Effect.flip(RetryPolicy.retry(always, policy)), "failure 9")
    })
  )

  it.effect("defects and interruption are not retried", () =>
    Effect.gen(function* () {
      let calls = 0
      const count = Effect.sync(() => ++calls)
      const policy = RetryPolicy.fixed({ delay: 0 })
      yield* Effect.exit(RetryPolicy.retry(Effect.zipRight(count, Effect.die("bug")), policy))
      yield* Effect.exit(RetryPolicy.retry(Effect.zipRight(count, Effect.interrupt), policy))
      assert.strictEqual(calls, 2)
    })
  )

  describe("jitter", () => {
    const bounds: ReadonlyArray<readonly [RetryPolicy.Jitter, low: number, high: number]> = [
      ["full", 0, 1],
      ["equal", 0.5, 1],
      [0.2, 0.8, 1.2]
    ]
    for (const [jitter, low, high] of bounds) {
      it.effect(`${jitter} stays within its bounds and under the cap`, () =>
        Effect.gen(function* () {
          const policy = RetryPolicy.exponential({ maxRetries: 400, initialDelay: 100, maxDelay: 60_000, jitter })
          const delays = millis(yield* RetryPolicy.preview(policy, 400))
          assert.strictEqual(delays.length, 400)
          for (const [retry, delay] of delays.entries()) {
            const plain = Math.min(60_000, 100 * 2 ** retry)
            assert.isAtLeast(delay, plain * low - 1e-6)
            assert.isAtMost(delay, Math.min(60_000, plain * high) + 1e-6)
          }
          const spread = delays.slice(20).map((delay) => delay / 60_000)
          assert.isAbove(Math.max(...spread) - Math.min(...spread), (Math.min(1, high) - low) * 0.8)
        }).pipe(Effect.withRandom(Random.make("jitter")))
      )
    }

    it.effect('"random" lies between the first delay and the delay of the curve', () =>
      Effect.gen(function* () {
        const policy = RetryPolicy.exponential({
          maxRetries: 100,
          initialDelay: 100,
          maxDelay: 60_000,
          jitter: "random"
        })
        const delays = millis(yield* RetryPolicy.preview(policy, 100))
        for (const [retry, delay] of delays.entries()) {
          assert.isAtLeast(delay, 100)
          assert.isAtMost(delay, Math.min(60_000, 100 * 2 ** retry))
        }
        assert.isAbove(Math.max(...delays) - Math.min(...delays.slice(20)), 40_000)
      }).pipe(Effect.withRandom(Random.make("random")))
    )

    it.effect("decorrelated grows from the last delay, never beyond three times it", () =>
      Effect.gen(function* () {
        const policy = RetryPolicy.exponential({
          maxRetries: 200,
          initialDelay: 100,
          maxDelay: 60_000,
          jitter: "decorrelated"
        })
        let last = 100
        for (const delay of millis(yield* RetryPolicy.preview(policy, 200))) {
          assert.isAtLeast(delay, 100)
          assert.isAtMost(delay, Math.min(60_000, 3 * last) + 1e-6)
          last = delay
        }
      }).pipe(Effect.withRandom(Random.make("decorrelated")))
    )
  })

  it.effect("no curve overflows: every delay is finite and within the cap", () =>
    Effect.gen(function* () {
      for (const policy of [
        RetryPolicy.exponential({ maxRetries: 3_000 }),
        RetryPolicy.fibonacci({ maxRetries: 3_000, jitter: "full" }),
        RetryPolicy.linear({ maxRetries: 3_000, jitter: "equal" })
      ]) {
        const delays = millis(yield* RetryPolicy.preview(policy, 3_000))
        assert.strictEqual(delays.length, 3_000)
        for (const delay of delays) assertBetween(delay, 0, 60_000)
      }
      assert.strictEqual(
        millis(yield* RetryPolicy.preview(RetryPolicy.exponential({ maxRetries: 2_000 }), 2_000))[1_999],
        60_000
      )
    })
  )

  describe("Retry-After", () => {
    class Busy extends Data.TaggedError("Busy")<{ readonly retryAfter: unknown }> {}
    const times = (retryAfter: unknown, options?: RetryPolicy.Options) =>
      attemptTimes(
        RetryPolicy.retry(RetryPolicy.exponential({ maxRetries: 1, ...options })),
        () => new Busy({ retryAfter })
      )

    it.effect("overrides the delay of the curve", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* times(Duration.seconds(7)), seconds(0, 7))
      })
    )
    it.effect("is read as seconds and as an HTTP date", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* times("9"), seconds(0, 9))
        const date = new Date((yield* Clock.currentTimeMillis) + 12_000).toUTCString()
        assert.deepStrictEqual(yield* relative(times(date)), seconds(0, 12))
      })
    )
    it.effect("may be declared by the error class", () =>
      Effect.gen(function* () {
        class Quota extends Data.TaggedError("Quota")<{}> {
          readonly [Fault.declared] = Fault.declare({ category: "rate-limit", retryAfter: "5 seconds" })
        }
        const policy = RetryPolicy.fixed({ maxRetries: 1 })
        assert.deepStrictEqual(yield* attemptTimes(RetryPolicy.retry(policy), () => new Quota()), seconds(0, 5))
      })
    )
    it.effect("never exceeds the cap, and can be ignored", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* times(1e9), seconds(0, 60))
        assert.deepStrictEqual(yield* relative(times("30", { honourRetryAfter: false })), seconds(0, 1))
      })
    )
    it.effect("is ignored if it is invalid", () =>
      Effect.gen(function* () {
        for (const nonsense of ["soon", "", "60,", "retry in 5", "1-2", "0x10", Number.NaN, -5, {}, null]) {
          assert.deepStrictEqual(yield* relative(times(nonsense)), seconds(0, 1))
        }
      })
    )
  })

  describe("byCategory", () => {
    it.effect("maxElapsed counts from the first failure of any category", () =>
      Effect.gen(function* () {
        const limited = RetryPolicy.fixed({ maxRetries: 100, delay: "2 seconds", maxElapsed: "5 seconds" })
        const errors = [{ code: "ECONNREFUSED" }, { code: "ETIMEDOUT" }, { status: 503 }]
        const table = { network: limited, timeout: limited, unavailable: limited }
        for (const policy of [
          RetryPolicy.byCategory(table),
          RetryPolicy.byCategory({ network: RetryPolicy.byCategory(table), timeout: limited, unavailable: limited })
        ]) {
          const times = yield* attemptTimes(Effect.retry(policy), (attempt) => errors[attempt % 3])
          assert.deepStrictEqual(
            times,
            [0, 2_000, 4_000].map((time) => (times[0] ?? 0) + time)
          )
        }
      })
    )

    it.effect("retries transient categories only", () =>
      Effect.gen(function* () {
        const policy = RetryPolicy.byCategory()
        const attempts = (error: unknown) =>
          Effect.map(
            attemptTimes(RetryPolicy.retry(policy), () => error),
            (times) => times.length
          )
        assert.strictEqual(yield* attempts({ code: "ECONNREFUSED" }), 5)
        assert.strictEqual(yield* attempts({ code: "ETIMEDOUT" }), 6)
        assert.strictEqual(yield* attempts({ status: 429 }), 11)
        assert.strictEqual(yield* attempts({ status: 503 }), 7)
        assert.strictEqual(yield* attempts(new Error("no idea")), 4)
        for (const error of [
          { status: 403 },
          { status: 404 },
          { status: 422 },
          { code: "SQLITE_CORRUPT" },
          new TypeError("x")
        ]) {
          assert.strictEqual(yield* attempts(error), 1)
        }
      })
    )
    it.effect("a table overrides categories, and rules add them", () =>
      Effect.gen(function* () {
        const policy = RetryPolicy.byCategory({
          "not-found": RetryPolicy.fixed({ maxRetries: 1 }),
          flaky: RetryPolicy.fixed({ maxRetries: 2 }),
          network: RetryPolicy.none
        })
        const attempts = (error: unknown) =>
          Effect.map(
            attemptTimes(RetryPolicy.retry(policy), () => error),
            (times) => times.length
          )
        assert.strictEqual(yield* attempts({ status: 404 }), 2)
        assert.strictEqual(yield* attempts({ code: "ECONNRESET" }), 1)
        const rules = Fault.layer(Fault.tag("Flaky", { category: "flaky" }))
        assert.strictEqual(yield* Effect.provide(attempts({ _tag: "Flaky" }), rules), 3)
      })
    )
    it.effect("a category left undefined keeps its default", () =>
      Effect.gen(function* () {
        const policy = RetryPolicy.byCategory({ permission: undefined } as never)
        const times = yield* attemptTimes(RetryPolicy.retry(policy), () => ({ status: 403 }))
        assert.strictEqual(times.length, 1)
      })
    )
    it.effect("counts each category by itself", () =>
      Effect.gen(function* () {
        const policy = RetryPolicy.byCategory({
          network: RetryPolicy.fixed({ maxRetries: 2 }),
          timeout: RetryPolicy.fixed({ maxRetries: 1 })
        })
        const times = yield* attemptTimes(RetryPolicy.retry(policy), (attempt) =>
          attempt === 2 ? { code: "ETIMEDOUT" } : { code: "ECONNRESET" }
        )
        assert.strictEqual(times.length, 4)
      })
    )
  })

  it.effect("passes each attempt its number, as Effect.retry does", () =>
    Effect.gen(function* () {
      const numbers = (retry: (self: Effect.Effect<never, string>) => Effect.Effect<never, string>) =>
        Effect.gen(function* () {
          const seen: Array<number> = []
          const attempt = Effect.flatMap(Schedule.CurrentIterationMetadata, ({ recurrence }) => {
            seen.push(recurrence)
            return Effect.fail("no")
          })
          yield* Effect.exit(retry(attempt))
          return seen
        })
      const policy = RetryPolicy.fixed({ maxRetries: 3, delay: 0 })
      assert.deepStrictEqual(yield* numbers(RetryPolicy.retry(policy)), yield* numbers(Effect.retry(policy)))
    })
  )

  it("refuses invalid options by name", () => {
    const refused: ReadonlyArray<readonly [string, () => unknown]> = [
      ["maxRetries", () => RetryPolicy.fixed({ maxRetries: -1 })],
      ["maxRetries", () => RetryPolicy.fixed({ maxRetries: 1.5 })],
      ["delay", () => RetryPolicy.fixed({ delay: -1 })],
      ["initialDelay", () => RetryPolicy.exponential({ initialDelay: "-5 seconds" as never })],
      ["maxRetries", () => RetryPolicy.fixed({ maxRetries: Number.NaN })],
      ["initialDelay", () => RetryPolicy.exponential({ initialDelay: -1 })],
      ["initialDelay", () => RetryPolicy.exponential({ initialDelay: Number.NaN })],
      ["maxDelay", () => RetryPolicy.linear({ maxDelay: Number.POSITIVE_INFINITY })],
      ["factor", () => RetryPolicy.exponential({ factor: 0.5 })],
      ["increment", () => RetryPolicy.linear({ increment: -1 })],
      ["jitter", () => RetryPolicy.fixed({ jitter: 1.5 })],
      ["maxElapsed", () => RetryPolicy.fixed({ maxElapsed: Number.NaN })]
    ]
    for (const [option, build] of refused) {
      try {
        build()
        assert.fail(`${option} was taken`)
      } catch (error) {
        assert.instanceOf(error, RetryPolicy.InvalidOption)
        assert.strictEqual((error as RetryPolicy.InvalidOption).option, option)
      }
    }
  })

  it.effect("a delay function that throws or returns an invalid delay waits the longest delay", () =>
    Effect.gen(function* () {
      const policies = [
        RetryPolicy.custom(
          () => {
            throw new Error("bug")
          },
          { maxDelay: "3 seconds" }
        ),
        RetryPolicy.custom(() => "rubbish" as never, { maxDelay: "3 seconds" }),
        RetryPolicy.custom(() => Number.NaN, { maxDelay: "3 seconds" })
      ]
      for (const policy of policies) {
        assert.deepStrictEqual(millis(yield* RetryPolicy.preview(policy, 5)), seconds(3, 3, 3))
      }
    })
  )

  it.effect.prop(
    "whatever the options, a policy makes at most its retries and stays in its bounds",
    {
      maxRetries: FastCheck.nat({ max: 20 }),
      initialDelay: FastCheck.nat({ max: 100_000 }),
      maxDelay: FastCheck.nat({ max: 100_000 }),
      jitter: FastCheck.constantFrom<Array<RetryPolicy.Jitter>>(
        "none",
        "full",
        "equal",
        "random",
        "decorrelated",
        0,
        0.3,
        1
      )
    },
    (given) =>
      Effect.gen(function* () {
        const options = { ...given, maxDelay: Math.max(given.maxDelay, given.initialDelay) }
        for (const make of [RetryPolicy.exponential, RetryPolicy.linear, RetryPolicy.fibonacci]) {
          const delays = millis(yield* RetryPolicy.preview(make(options), 50))
          assert.strictEqual(delays.length, options.maxRetries)
          for (const delay of delays) assertBetween(delay, 0, options.maxDelay)
        }
      })
  )

  it("carries a description that survives JSON", () => {
    const { description } = RetryPolicy.exponential({ maxRetries: 5, jitter: "full", maxElapsed: "1 hour" })
    assert.deepStrictEqual(JSON.parse(JSON.stringify(description)), {
      curve: "exponential",
      maxRetries: 5,
      initialDelay: 1_000,
      maxDelay: 60_000,
      factor: 2,
      jitter: "full",
      maxElapsed: 3_600_000,
      honourRetryAfter: true
    })
  })
})

/** Times relative to the first one. */
const relative = <E, R>(times: Effect.Effect<ReadonlyArray<number>, E, R>) =>
  Effect.map(times, (all) => all.map((time) => time - (all[0] ?? 0)))

describe("a delay that is not a finite number", () => {
  it("is 0 if negative, else the longest delay; policies refuse it by name", () => {
    for (const delay of [Number.NaN, Number.POSITIVE_INFINITY, -5n, Duration.infinity]) {
      const millis = Duration.toMillis(Decision.again(delay).delay)
      assert.strictEqual(millis, delay === -5n ? 0 : 60_000)
    }
    assert.throws(() => RetryPolicy.fixed({ delay: -5n }), `"delay"`)
    assert.throws(() => RetryPolicy.exponential({ initialDelay: [Number.NaN, 0] }), `"initialDelay"`)
  })
})
