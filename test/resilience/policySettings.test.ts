import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { CircuitBreaker, Fault, Recovery, RetryPolicy } from "effect-recovery"
import { DetailedRules } from "effect-recovery/rules"

const from = (settings: Readonly<Record<string, string>>) =>
  Effect.withConfigProvider(
    RetryPolicy.config(),
    ConfigProvider.fromMap(new Map(Object.entries(settings)), { pathDelim: "_" })
  )

const delaysOf = (policy: RetryPolicy.RetryPolicy) =>
  Effect.map(RetryPolicy.preview(policy, 10), (delays) => delays.map(Duration.toMillis))

describe("RetryPolicy.config", () => {
  it.effect("without settings it is the default policy", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* from({})).description, RetryPolicy.exponential().description)
    })
  )

  it.effect("reads every setting", () =>
    Effect.gen(function* () {
      const { description } = yield* from({
        CURVE: "exponential",
        MAX_RETRIES: "7",
        INITIAL_DELAY: "500 millis",
        MAX_DELAY: "2 minutes",
        FACTOR: "3",
        JITTER: "full",
        MAX_ELAPSED: "1 hour",
        HONOUR_RETRY_AFTER: "false"
      })
      assert.deepStrictEqual(description, {
        curve: "exponential",
        maxRetries: 7,
        initialDelay: 500,
        maxDelay: 120_000,
        factor: 3,
        jitter: "full",
        maxElapsed: 3_600_000,
        honourRetryAfter: false
      })
      const linear = yield* from({ CURVE: "linear", INCREMENT: "2 seconds", JITTER: "0" })
      assert.deepStrictEqual(yield* delaysOf(linear), [1_000, 3_000, 5_000])
      assert.deepStrictEqual(
        yield* delaysOf(yield* from({ CURVE: "fixed", INITIAL_DELAY: "5 seconds", MAX_RETRIES: "2" })),
        [5_000, 5_000]
      )
      assert.deepStrictEqual(
        yield* delaysOf(yield* from({ CURVE: "fibonacci", MAX_RETRIES: "4" })),
        [1e3, 1e3, 2e3, 3e3]
      )
      assert.strictEqual((yield* from({ CURVE: "byCategory" })).description.curve, "byCategory")
      assert.deepStrictEqual(yield* delaysOf(yield* from({ CURVE: "none", MAX_RETRIES: "9" })), [])
    })
  )

  it.effect("nested, it reads environment variables with a prefix", () =>
    Effect.gen(function* () {
      process.env["TEST_DOWNLOAD_RETRY_MAX_RETRIES"] = "9"
      const policy = yield* Config.nested(RetryPolicy.config(), "TEST_DOWNLOAD_RETRY").pipe(
        Effect.withConfigProvider(ConfigProvider.fromEnv())
      )
      delete process.env["TEST_DOWNLOAD_RETRY_MAX_RETRIES"]
      assert.deepInclude(policy.description, { maxRetries: 9 })
    })
  )

  const wrong: ReadonlyArray<readonly [setting: string, settings: Readonly<Record<string, string>>]> = [
    ["CURVE", { CURVE: "custom" }],
    ["MAX_RETRIES", { MAX_RETRIES: "-1" }],
    ["MAX_RETRIES", { MAX_RETRIES: "1.5" }],
    ["MAX_RETRIES", { MAX_RETRIES: "many" }],
    ["MAX_RETRIES", { MAX_RETRIES: "NaN" }],
    ["MAX_RETRIES", { MAX_RETRIES: " " }],
    ["FACTOR", { FACTOR: "" }],
    ["INITIAL_DELAY", { INITIAL_DELAY: "-5 seconds" }],
    ["MAX_ELAPSED", { MAX_ELAPSED: " - 5 seconds" }],
    ["INITIAL_DELAY", { INITIAL_DELAY: "soon" }],
    ["INITIAL_DELAY", { INITIAL_DELAY: "infinity" }],
    ["INITIAL_DELAY", { INITIAL_DELAY: "2 minutes", MAX_DELAY: "1 minute" }],
    ["INITIAL_DELAY", { CURVE: "fixed", INITIAL_DELAY: "2 minutes", MAX_DELAY: "1 minute" }],
    ["FACTOR", { FACTOR: "0.5" }],
    ["FACTOR", { FACTOR: "Infinity" }],
    ["FACTOR", { CURVE: "fixed", FACTOR: "2" }],
    ["INCREMENT", { INCREMENT: "1 second" }],
    ["JITTER", { JITTER: "some" }],
    ["JITTER", { JITTER: "" }],
    ["JITTER", { JITTER: "1.5" }],
    ["MAX_RETRIES", { CURVE: "byCategory", MAX_RETRIES: "3" }],
    ["HONOUR_RETRY_AFTER", { HONOUR_RETRY_AFTER: "maybe" }]
  ]
  for (const [setting, settings] of wrong) {
    it.effect(`refuses ${JSON.stringify(settings)} with an error that names the setting`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(from(settings))
        assert.isTrue(ConfigError.isConfigError(error))
        assert.include(String(error), setting)
      })
    )
  }
})

describe("RetryPolicy.Current", () => {
  const waits = <R>(
    provided: (self: Effect.Effect<void, string>) => Effect.Effect<void, string | ConfigError.ConfigError, R>
  ) =>
    Effect.gen(function* () {
      const times: Array<number> = []
      const failing = Effect.flatMap(Effect.clock, (clock) => {
        times.push(clock.unsafeCurrentTimeMillis())
        return Effect.fail("down")
      })
      const fiber = yield* Effect.fork(Effect.flip(provided(Recovery.retry(failing))))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Fiber.join(fiber), "down")
      return times.slice(1).map((time, i) => time - (times[i] ?? 0))
    })

  it.effect("without a layer, Recovery.retry makes 4 attempts that wait 1, 2 and 4 seconds", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* waits((self) => self), [1_000, 2_000, 4_000])
    })
  )

  it.effect("a layer changes it, from code or from the configuration", () =>
    Effect.gen(function* () {
      const fixed = RetryPolicy.layer(RetryPolicy.fixed({ maxRetries: 2, delay: 10 }))
      assert.deepStrictEqual(yield* waits(Effect.provide(fixed)), [10, 10])
      assert.deepStrictEqual(yield* waits(Effect.provide(RetryPolicy.layer(RetryPolicy.none))), [])
      const provider = ConfigProvider.fromMap(new Map([["MAX_RETRIES", "1"]]))
      const configured = (self: Effect.Effect<void, string>) =>
        self.pipe(Effect.provide(RetryPolicy.layerConfig()), Effect.withConfigProvider(provider))
      assert.deepStrictEqual(yield* waits(configured), [1_000])
    })
  )

  it.effect("the detailed policy waits by category", () =>
    Effect.gen(function* () {
      const retriesOf = (error: unknown) =>
        Effect.gen(function* () {
          const at: Array<number> = []
          const call = Effect.flatMap(TestClock.currentTimeMillis, (now) => {
            at.push(now / 1_000)
            return Effect.fail(error)
          })
          const fiber = yield* Effect.fork(Effect.exit(Effect.retry(call, RetryPolicy.detailed)))
          yield* TestClock.adjust("3 minutes")
          yield* Fiber.interrupt(fiber)
          return at.slice(1).map((time, i) => time - (at[i] ?? 0))
        })
      assert.deepStrictEqual(yield* retriesOf({ code: "ENOTFOUND" }), [5, 10, 15])
      assert.deepStrictEqual(yield* retriesOf({ code: "ENOSPC" }), [])
      assert.deepStrictEqual(yield* retriesOf({ status: 401 }), [])
      assert.deepStrictEqual(yield* retriesOf({ code: "ENOMEM" }), [5, 15])
      assert.deepStrictEqual(yield* retriesOf({ code: "EDQUOT" }), [60, 120])
      assert.deepStrictEqual(yield* retriesOf({ status: 429 }), [60, 60, 60])
    }).pipe(Effect.provide(Fault.layer(...DetailedRules.rules)))
  )

  it.effect("the presets", () =>
    Effect.gen(function* () {
      const { aggressive, conservative, default: standard } = RetryPolicy.presets
      assert.deepStrictEqual(yield* delaysOf(conservative), [2_000, 3_000])
      assert.deepInclude(standard.description, { maxRetries: 3, initialDelay: 1_000, maxDelay: 30_000, jitter: 0.1 })
      const { api } = RetryPolicy.presets
      const tries = (error: unknown) => {
        let calls = 0
        const call = Effect.suspend(() => {
          calls++
          return Effect.fail(error)
        })
        return Effect.gen(function* () {
          const fiber = yield* Effect.fork(Effect.exit(Effect.retry(call, api)))
          yield* TestClock.adjust("10 minutes")
          yield* fiber
          return calls
        })
      }
      assert.isAbove(yield* tries({ code: "ECONNRESET" }), 1)
      assert.isAbove(yield* tries({ code: "ETIMEDOUT" }), 1)
      for (const status of [429, 503, 500, 404, 401]) assert.strictEqual(yield* tries({ status }), 1)
      assert.deepInclude(aggressive.description, { maxRetries: 5, initialDelay: 500, maxDelay: 60_000, jitter: 0.1 })
    })
  )

  it.effect("a first delay longer than the default limit raises it; longer than a given limit it is refused", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* delaysOf(RetryPolicy.fixed({ maxRetries: 1, delay: "5 minutes" })), [300_000])
      const build = () => RetryPolicy.exponential({ initialDelay: "5 minutes", maxDelay: "1 minute" })
      assert.throws(build, `The option "initialDelay"`)
      const short = RetryPolicy.exponential({ maxRetries: 2, maxDelay: "100 millis" })
      assert.deepStrictEqual(yield* delaysOf(short), [100, 100])
    })
  )
})

describe("CircuitBreaker.config", () => {
  const read = (settings: Readonly<Record<string, string>>) =>
    Effect.withConfigProvider(
      CircuitBreaker.config("RATES"),
      ConfigProvider.fromMap(new Map(Object.entries(settings)), { pathDelim: "_" })
    )

  it.effect("reads every setting, and keeps defaults of missing ones", () =>
    Effect.gen(function* () {
      const options = yield* read({
        RATES_FAILURES: "2",
        RATES_RESET_AFTER: "1 minute",
        RATES_PROBES: "3",
        RATES_MODE: "observe"
      })
      assert.deepInclude(options, { resetAfter: 60_000, probes: 3, mode: "observe" })
      assert.deepStrictEqual(options.trip?.description, { kind: "consecutive", failures: 2 })
      const breaker = yield* CircuitBreaker.make({ name: "configured", ...options, mode: "protect" })
      const call = Effect.fail({ code: "ECONNRESET" }).pipe(CircuitBreaker.protect(breaker), Effect.flip)
      yield* call
      yield* call
      assert.deepInclude(yield* call, { _tag: "CircuitOpen", retryAfter: Duration.minutes(1) })
      const byDefault = yield* read({})
      // Unset settings are absent, so the object can be spread over defaults.
      assert.deepStrictEqual(byDefault, {})
      yield* CircuitBreaker.make({ name: "default", ...byDefault })
    })
  )

  it.effect("an invalid setting is a ConfigError that names it", () =>
    Effect.gen(function* () {
      for (const [setting, value] of [
        ["FAILURES", "0"],
        ["FAILURES", "many"],
        ["RESET_AFTER", "soon"],
        ["RESET_AFTER", "0 millis"],
        ["PROBES", "0.5"],
        ["MODE", "off"]
      ]) {
        const error = yield* Effect.flip(read({ [`RATES_${setting}`]: value ?? "" }))
        assert.include(String(error), `RATES.${setting}`)
      }
    })
  )
})

describe("Recovery.presets", () => {
  it.effect("each makes a recoverable with its times, retries and threshold", () =>
    Effect.gen(function* () {
      const { import: importing, install, integration, long } = Recovery.presets
      assert.deepStrictEqual(yield* delaysOf(integration.retry), [2_000, 4_000, 8_000, 16_000, 32_000])
      assert.strictEqual(install.retry, integration.retry)
      const settings = [integration, importing, install, long].map(({ breaker, ...preset }) => [
        "timeout" in preset ? preset.timeout : "none",
        breaker.trip.description,
        breaker.resetAfter
      ])
      const failures = (failures: number) => ({ kind: "consecutive", failures })
      assert.deepStrictEqual(settings, [
        ["none", failures(5), "10 minutes"],
        ["30 minutes", failures(3), "10 minutes"],
        ["1 hour", failures(5), "15 minutes"],
        ["2 hours", failures(3), "20 minutes"]
      ])
      const made = yield* Recovery.recoverable({ name: "import", ...importing })
      const fiber = yield* Effect.fork(Effect.flip(made(Effect.never)))
      for (let minutes = 0; minutes < 130; minutes++) yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      // Three attempts of half an hour each; the breaker refuses the fourth.
      assert.strictEqual(error._tag, "CircuitOpen")
      assert.strictEqual((yield* made.breaker.snapshot).state, "open")
    })
  )
})
