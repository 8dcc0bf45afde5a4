import { assert, describe, it } from "@effect/vitest"
import { Data, Duration, Effect, Fiber, Layer, Option, Schema, TestClock } from "effect"
import { Recovery, RetryPolicy, Step, Storage, Strategy, Transaction, Workflow } from "effect-recovery"
import { Insights, RecoveryManager } from "effect-recovery/operate"
import { Resolutions } from "effect-recovery/rules"
import { backends } from "../support/storages.js"

class Offline extends Data.TaggedError("Offline")<{ readonly host: string }> {}

class Gone extends Schema.TaggedError<Gone>()("Gone", {}) {}

const { settled } = Insights

describe.each(backends)("Insights on $name", ({ make }) => {
  const check = <A, E>(name: string, effect: Effect.Effect<A, E, Insights.Insights | Storage.Storage>) =>
    it.scoped(name, () =>
      Effect.flatMap(make, ({ join }) => Effect.provide(effect, Insights.layer.pipe(Layer.provideMerge(join()))))
    )

  check(
    "records recoveries by strategy, and failures that were not recovered",
    Effect.gen(function* () {
      let fails = 2
      const flaky = Effect.suspend(() => (fails-- > 0 ? new Offline({ host: "a" }) : Effect.succeed("up")))
      const retried = flaky.pipe(
        Recovery.recover({ Offline: Strategy.retry(RetryPolicy.fixed({ maxRetries: 3, delay: 0 })) }, { name: "ping" })
      )
      assert.strictEqual(yield* retried, "up")
      const both = Strategy.sequence(
        Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 0 })),
        Strategy.skip("without")
      )
      const skipped = Effect.fail(new Offline({ host: "b" })).pipe(Recovery.recover({ Offline: both }))
      assert.strictEqual(yield* skipped, "without")
      yield* Effect.flip(Effect.fail(new Offline({ host: "c" })).pipe(Recovery.recover({ Offline: Strategy.abort })))
      yield* settled
      const statistics = yield* Insights.statistics
      assert.deepStrictEqual(statistics.recoveries, { successful: 2, total: 3, successRate: Option.some(2 / 3) })
      assert.deepStrictEqual(statistics.byStrategy, {
        retry: { successful: 1, total: 2, successRate: Option.some(0.5) },
        skip: { successful: 1, total: 1, successRate: Option.some(1) }
      })
      assert.strictEqual(statistics.failures, 1)
      assert.strictEqual(statistics.openFailures, 1)
      assert.deepStrictEqual(statistics.byCategory, { unknown: statistics.byStrategy })
      assert.deepStrictEqual(statistics.frequentCategories, [{ name: "unknown", count: 1 }])
      const [failure] = yield* RecoveryManager.failures()
      const { fingerprint: name = "", message = "" } = failure ?? {}
      assert.deepStrictEqual(statistics.frequentErrors, [{ name, count: 1, message: Option.some(message) }])
      assert.deepStrictEqual(statistics.byStep.ping, {
        retry: { successful: 1, total: 1, successRate: Option.some(1) }
      })
      assert.deepStrictEqual(
        Option.map(statistics.timeToRecover, ({ count }) => count),
        Option.some(2)
      )
    })
  )

  check(
    "lists the recoveries of a run, on request and by its strategies, with the tag of their errors",
    Effect.gen(function* () {
      const gone = Step.make("gone", {
        error: Gone,
        run: new Gone(),
        recover: { Gone: Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 0 })) }
      })
      const Cleaning = Workflow.make("cleaning", { error: Gone }, () => gone)
      yield* Effect.exit(Workflow.execute(Cleaning, { id: "c1", input: undefined }))
      yield* Effect.exit(Workflow.execute(Cleaning, { id: "c2", input: undefined }))
      yield* Insights.settled
      const [failure] = yield* RecoveryManager.failures({ run: "c1" })
      const manager = RecoveryManager.layer({ workflows: [Cleaning] })
      yield* Effect.provide(RecoveryManager.initiate(failure?.id ?? "", "retry"), manager)
      yield* Insights.settled
      const found = yield* RecoveryManager.recoveries({ run: "c1" })
      assert.deepStrictEqual(
        found.map(({ by, run, tag }) => [by, run, tag]),
        [
          ["program", "c1", "Gone"],
          ["manager", "c1", "RecoveryExhausted"],
          ["program", "c1", "Gone"]
        ]
      )
      assert.strictEqual((yield* RecoveryManager.recoveries({ run: "c1", limit: 2 })).length, 2)
      assert.strictEqual((yield* RecoveryManager.recoveries({ run: "c2", status: "failed" })).length, 1)
      assert.deepStrictEqual(yield* RecoveryManager.recoveries({ run: "c3" }), [])
    })
  )

  check(
    "records a run whose rollback is incomplete as at least high, with what is not undone",
    Effect.gen(function* () {
      const charge = Step.make("charge", {
        run: Effect.void,
        compensate: () => Effect.fail(new Offline({ host: "bank" }))
      })
      const pack = Step.make("pack", { error: Gone, run: new Gone() })
      const Order = Workflow.make("order", { error: Gone }, () => Transaction.run(Effect.zipRight(charge, pack)))
      const failed = yield* Effect.fork(Effect.exit(Workflow.execute(Order, { id: "o1" })))
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(failed)
      yield* settled
      const [failure] = yield* RecoveryManager.failures({ run: "o1" })
      assert.deepInclude(failure, { step: "transaction/pack", tag: "Gone", category: "unknown", severity: "high" })
      assert.match(failure?.message ?? "", /^The rollback of transaction .* "transaction\/charge" \(Offline .*Gone$/)
    })
  )

  check(
    "records a failed run with its step and labels, and suggests what to do",
    Effect.gen(function* () {
      const charge = Step.make("charge", {
        error: Schema.String,
        run: () => Effect.fail("Request timed out after 30000 ms")
      })
      const Order = Workflow.make("order", { error: Schema.String }, () => Workflow.section("try", 2)(charge()))
      yield* Effect.flip(Workflow.execute(Order, { id: "o1", labels: { repository: "shop" } }))
      yield* settled
      const storage = yield* Storage.Storage
      const [row] = yield* storage.records({ kind: "failure", subject: "o1" })
      assert.strictEqual(row?.scope, "shop")
      const suggestions = yield* Insights.suggest(row?.id ?? "")
      assert.deepStrictEqual(
        suggestions.map(({ cases, confidence, strategy }) => [strategy, confidence, cases]),
        [
          ["modify", 0.8, 0],
          ["restartIteration", 0.7, 0],
          ["retry", 0.6, 0],
          ["restart", 0.3, 0]
        ]
      )
      assert.deepStrictEqual(suggestions[0]?.parameters, { maxIterations: 2, timeout: "60 seconds" })
      const unknown = yield* Effect.flip(Insights.suggest("nothing"))
      assert.strictEqual(unknown._tag, "FailureNotFound")
    })
  )

  check(
    "results for a fingerprint weigh most, then those of the step, then of the category",
    Effect.gen(function* () {
      const fail = (host: string) =>
        Effect.fail(new Offline({ host })).pipe(
          Recovery.recover(
            { Offline: Strategy.auto({ retry: Strategy.abort, skip: Strategy.skip("x") }) },
            { name: "p" }
          )
        )
      // An abort is no trial, so nothing is learned from it.
      for (let i = 0; i < 8; i++) yield* Effect.exit(fail("a"))
      yield* settled
      const before = yield* Insights.statistics
      assert.deepStrictEqual(before.byStrategy, {})
      yield* Effect.fail(new Offline({ host: "a" })).pipe(
        Recovery.recover({ Offline: Strategy.auto({ skip: Strategy.skip("x") }) }, { name: "p" }),
        Effect.repeatN(7)
      )
      yield* settled
      // Eight successes update the prior of 0.4 once each for category, step and fingerprint.
      const expected = [1, 2, 3].reduce((prior) => (4 * prior + 8) / 12, 0.4)
      assert.isAbove(expected, 0.9)
      // Skip now ranks above retry.
      assert.strictEqual(yield* fail("a"), "x")
    })
  )

  check(
    "measures the time of steps, sorted by their total",
    Effect.gen(function* () {
      const slow = Step.make("slow", { run: () => Effect.sleep("2 seconds") })
      const quick = Step.make("quick", { run: () => Effect.sleep("10 millis") })
      const Job = Workflow.make("job", {}, () => Effect.zipRight(slow(), quick()))
      const runs = Effect.forEach(["1", "2", "3"], (id) => Workflow.execute(Job, { id }), { discard: true })
      const fiber = yield* Effect.fork(runs)
      for (let i = 0; i < 12; i++) {
        yield* TestClock.adjust("1 second")
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      }
      yield* fiber
      yield* settled
      const { steps } = yield* Insights.statistics
      assert.deepStrictEqual(
        steps.map(({ count, step }) => [step, count]),
        [
          ["slow", 3],
          ["quick", 3]
        ]
      )
      for (const of of ["mean", "p50", "p95", "p99"] as const) {
        const millis = Duration.toMillis(steps[0]?.[of] ?? 0)
        assert.closeTo(millis, 2_500, 700, of)
      }
    })
  )
})

describe("Insights.since", () => {
  it.effect("counts the recoveries of a period, of one run or of all", () =>
    Effect.gen(function* () {
      const recover = (name: string) =>
        Effect.fail(new Offline({ host: name })).pipe(Recovery.recover({ Offline: Strategy.skip() }, { name }))
      yield* recover("old")
      yield* settled
      yield* TestClock.adjust("10 minutes")
      const lately = new Date((yield* TestClock.currentTimeMillis) - 300_000)
      yield* recover("a")
      yield* recover("a")
      yield* Effect.flip(Effect.fail(new Offline({ host: "b" })).pipe(Recovery.recover({ Offline: Strategy.abort })))
      const pay = Step.make("pay", { error: Gone, run: () => new Gone(), recover: { Gone: Strategy.skip() } })
      yield* Effect.ignore(
        Workflow.execute(
          Workflow.make("w", { error: Gone }, () => pay()),
          { id: "r1" }
        )
      )
      yield* settled
      const period = yield* Insights.since(lately)
      assert.strictEqual((yield* Insights.since(new Date(0))).recoveries.total, period.recoveries.total + 1)
      assert.deepStrictEqual(period.byStrategy.skip?.successful, 3)
      assert.isAtLeast(period.affected, 3)
      const ofRun = yield* Insights.since(lately, { run: "r1" })
      assert.deepStrictEqual([ofRun.recoveries.total, ofRun.affected], [1, 1])
      const { mostRetried } = yield* Insights.statistics
      assert.deepStrictEqual(mostRetried, [])
    }).pipe(Effect.provide(Insights.layer.pipe(Layer.provideMerge(Storage.layerMemory))))
  )

  it.effect("suggests something other than a retry where a retry cannot help", () =>
    Effect.gen(function* () {
      const first = (message: string) =>
        Effect.gen(function* () {
          const suggestions = yield* Insights.suggest(yield* RecoveryManager.report(message))
          return suggestions.filter(({ strategy }) => ["manual", "abort", "modify"].includes(strategy))[0]?.strategy
        })
      assert.strictEqual(yield* first("permission denied: /etc/shadow"), "manual")
      assert.strictEqual(yield* first("checksum mismatch in part 3"), "abort")
      assert.strictEqual(yield* first("version conflict: expected 3"), "modify")
      assert.strictEqual(yield* first("connection reset by peer"), undefined)
    }).pipe(Effect.provide(Storage.layerMemory))
  )
})

describe("Insights.suggest", () => {
  it.effect("combines hints, and matches whole words", () =>
    Effect.gen(function* () {
      const hint = (message: string) =>
        Effect.gen(function* () {
          const suggestions = yield* Insights.suggest(yield* RecoveryManager.report(message))
          return suggestions.find(({ strategy }) => strategy === "modify")?.parameters
        })
      const both = yield* hint("request timed out: out of memory")
      assert.deepInclude(both, { timeout: "60 seconds", batchSize: 1 })
      assert.isUndefined(yield* hint("sometimes the corporate memorial fails to generate text: b-oomph"))
    }).pipe(Effect.provide(Storage.layerMemory))
  )
})

describe("health and trend", () => {
  const dayMillis = 86_400_000
  /** Statistics after these failures on each of the last seven days, oldest first. */
  const over = (failures: ReadonlyArray<number>, recovered = 0, unrecovered = 0) =>
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const named = (day: number, what: string) =>
        `days/${new Date((94 + day) * dayMillis).toISOString().slice(0, 10)}/${what}`
      yield* storage.count([
        ...failures.map((by, day) => ({ name: named(day, "failures"), add: by })),
        { name: named(3, "recovered"), add: recovered },
        { name: named(4, "unrecovered"), add: unrecovered }
      ])
      const { health, trend } = yield* Insights.statistics
      return { health, trend }
    }).pipe(Effect.provide(Storage.layerMemory))

  it.effect("is worse above 1.2 times the days before, and better below 0.8", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(100 * dayMillis)
      const trend = (before: number, recent: number) =>
        Effect.map(over([before, before, before, before, recent, recent, recent]), ({ trend }) => trend)
      assert.strictEqual(yield* trend(0, 0), "steady")
      assert.strictEqual(yield* trend(10, 13), "worse")
      assert.strictEqual(yield* trend(10, 12), "steady")
      assert.strictEqual(yield* trend(10, 8), "steady")
      assert.strictEqual(yield* trend(10, 7), "better")
    })
  )

  it.effect("depends on the share and the number of unsuccessful recoveries", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(100 * dayMillis)
      const health = (recovered: number, unrecovered: number) =>
        Effect.map(over([], recovered, unrecovered), ({ health }) => health)
      assert.strictEqual(yield* health(0, 0), "excellent")
      assert.strictEqual(yield* health(98, 2), "excellent")
      assert.strictEqual(yield* health(97, 3), "good")
      assert.strictEqual(yield* health(30, 5), "good")
      assert.strictEqual(yield* health(94, 6), "fair")
      assert.strictEqual(yield* health(7, 3), "fair")
      assert.strictEqual(yield* health(989, 11), "poor")
      assert.strictEqual(yield* health(2, 1), "poor")
    })
  )
})

describe("Insights.patterns", () => {
  it.effect("groups open failures by category and words, with resolutions", () =>
    Effect.gen(function* () {
      for (const message of [
        "npm install failed: registry timeout after 30 seconds",
        "connect ECONNREFUSED 10.0.0.1:443 registry mirror",
        "connect ECONNREFUSED 10.0.0.2:443 registry mirror",
        "Connect ECONNREFUSED to registry mirror 7",
        "something else entirely happened"
      ]) {
        yield* RecoveryManager.report(message, { labels: { repository: "shop" } })
      }
      const other = yield* RecoveryManager.report("connect ECONNREFUSED registry mirror", {
        labels: { repository: "web" }
      })
      const [pattern, ...more] = yield* Insights.patterns("shop")
      assert.deepStrictEqual(more, [])
      assert.deepInclude(pattern, {
        category: "network",
        words: ["connect", "econnrefused", "registry"],
        count: 3,
        example: "Connect ECONNREFUSED to registry mirror 7"
      })
      assert.match(pattern?.resolutions[0] ?? "", /RetryPolicy/)
      assert.deepStrictEqual(pattern?.resolutions, yield* Insights.advice(other))
      assert.strictEqual((yield* Insights.patterns())[0]?.count, 4)
      for (const message of [
        "\u78c1\u76d8\u5df2\u6ee1",
        "\u041e\u0448\u0438\u0431\u043a\u0430 \u0441\u0435\u0442\u0438",
        "exit code 2"
      ]) {
        yield* RecoveryManager.report(message, { labels: { repository: "shop" } })
      }
      assert.strictEqual((yield* Insights.patterns("shop")).length, 1)
      yield* RecoveryManager.resolve(other.id, "ada")
      assert.strictEqual((yield* Insights.patterns())[0]?.count, 3)
    }).pipe(Effect.provide(Layer.merge(Storage.layerMemory, Insights.layerResolutions(Resolutions.canned))))
  )

  it.effect("have no resolutions unless a program provides them", () =>
    Effect.gen(function* () {
      const failure = yield* RecoveryManager.report("connect ECONNREFUSED")
      yield* RecoveryManager.report("connect ECONNREFUSED")
      assert.deepStrictEqual((yield* Insights.patterns())[0]?.resolutions, [])
      assert.deepStrictEqual(yield* Insights.advice(failure), [])
    }).pipe(Effect.provide(Storage.layerMemory))
  )
})

describe("Insights.tune", () => {
  /** A call that fails for 300 ms after its first attempt in 7 of 10 cases, and forever in the others. */
  const call = (i: number) =>
    Effect.gen(function* () {
      const upAt = (yield* TestClock.currentTimeMillis) + (i % 10 < 7 ? 300 : Number.POSITIVE_INFINITY)
      return Effect.flatMap(TestClock.currentTimeMillis, (now) =>
        now >= upAt ? Effect.succeed("up") : new Offline({ host: "a" })
      )
    })

  const simulate = (policy: RetryPolicy.RetryPolicy, name: string) =>
    Effect.gen(function* () {
      let attempts = 0
      let successful = 0
      for (let i = 0; i < 50; i++) {
        const calling = yield* call(i)
        const counted = Effect.zipRight(
          Effect.sync(() => attempts++),
          calling
        )
        const fiber = yield* Effect.fork(
          Effect.exit(counted.pipe(Recovery.recover({ Offline: Strategy.retry(policy) }, { name })))
        )
        yield* TestClock.adjust("5 seconds")
        if ((yield* fiber)._tag === "Success") successful++
      }
      yield* settled
      return { attempts, successful }
    })

  const layer = Insights.layer.pipe(Layer.provideMerge(Storage.layerMemory))
  const check = (name: string, effect: Effect.Effect<void, unknown, Insights.Insights | Storage.Storage>) =>
    it.effect(name, () => Effect.provide(effect, layer))

  check(
    "proposes a policy that recovers as often with fewer attempts",
    Effect.gen(function* () {
      const before = yield* simulate(RetryPolicy.fixed({ delay: "100 millis", maxRetries: 5 }), "fetch")
      const tuning = yield* Insights.tune("fetch")
      assert.strictEqual(tuning.cases, 50)
      assert.deepStrictEqual(tuning.successRate, Option.some(0.7))
      assert.deepStrictEqual(
        tuning.retries.map(({ retry, successful, total }) => [retry, successful, total]),
        [
          [1, 0, 50],
          [2, 0, 50],
          [3, 35, 50],
          [4, 0, 15],
          [5, 0, 15]
        ]
      )
      const [most] = (yield* Insights.statistics).mostRetried
      assert.deepInclude(most, { step: "fetch", retries: 180, successful: 35 })
      // Each delay was 100 ms; the histogram is exact to a tenth.
      assert.closeTo(Duration.toMillis(most?.meanDelay ?? 0), 100, 10)
      const proposal = Option.getOrThrow(tuning.proposal)
      assert.deepInclude(proposal.policy.description, {
        curve: "exponential",
        maxRetries: 1,
        initialDelay: 320,
        factor: 1
      })
      assert.closeTo(proposal.estimatedSuccess, 0.7, 0.001)
      assert.match(proposal.reason, /before retry 3 came too soon/)
      const after = yield* simulate(proposal.policy, "fetch with the proposal")
      assert.strictEqual(after.successful, before.successful)
      assert.isBelow(after.attempts, before.attempts / 2)
    })
  )

  check(
    "proposes one more retry if the last one still succeeds, and none if none does",
    Effect.gen(function* () {
      const short = RetryPolicy.exponential({ initialDelay: "50 millis", maxRetries: 1 })
      /** The retry succeeds in every n-th case. */
      const flaky = (every: number, name: string) =>
        Effect.gen(function* () {
          for (let i = 0; i < 40; i++) {
            let calls = 0
            const one = Effect.suspend(() =>
              ++calls === 2 && i % every === 0 ? Effect.void : new Offline({ host: "b" })
            )
            const fiber = yield* Effect.fork(
              Effect.exit(one.pipe(Recovery.recover({ Offline: Strategy.retry(short) }, { name })))
            )
            yield* TestClock.adjust("5 seconds")
            yield* fiber
          }
          yield* settled
        })
      yield* flaky(3, "sometimes")
      const more = Option.getOrThrow((yield* Insights.tune("sometimes")).proposal)
      assert.deepInclude(more.policy.description, { maxRetries: 2 })
      assert.match(more.reason, /one more may/)
      yield* flaky(Number.POSITIVE_INFINITY, "never")
      const none = Option.getOrThrow((yield* Insights.tune("never")).proposal)
      assert.deepStrictEqual(none.policy.description, { curve: "none" })
      assert.strictEqual(none.estimatedSuccess, 0)
    })
  )

  check(
    "proposes an attempt timeout of three times the 99th percentile",
    Effect.gen(function* () {
      const slow = Step.make("slow", { run: () => Effect.sleep("1 second") })
      const Slow = Workflow.make("slow", {}, () => slow())
      for (let i = 0; i < 10; i++) {
        const fiber = yield* Effect.fork(Workflow.execute(Slow, { id: `slow-${i}` }))
        yield* TestClock.adjust("1 second")
        yield* fiber
      }
      yield* settled
      const { attemptTimeout } = yield* Insights.tune("slow")
      assert.closeTo(Duration.toMillis(Option.getOrThrow(attemptTimeout)), 3_000, 300)
    })
  )

  check(
    "keeps the order of retries beyond the ninth, and counts those after the twentieth together",
    Effect.gen(function* () {
      for (let i = 0; i < 12; i++) {
        let calls = 0
        const late = Effect.suspend(() => (++calls > 25 ? Effect.void : new Offline({ host: "c" })))
        const policy = RetryPolicy.fixed({ delay: 0, maxRetries: 30 })
        yield* late.pipe(Recovery.recover({ Offline: Strategy.retry(policy) }, { name: "late" }))
      }
      yield* settled
      const { cases, proposal, retries, successRate } = yield* Insights.tune("late")
      assert.deepStrictEqual([cases, successRate], [12, Option.some(1)])
      assert.deepStrictEqual(
        retries.map(({ retry }) => retry),
        Array.from({ length: 20 }, (_, i) => i + 1)
      )
      assert.notDeepEqual(Option.getOrThrow(proposal).policy.description, { curve: "none" })
    })
  )

  check(
    "does not conclude from one case",
    Effect.gen(function* () {
      for (let i = 0; i < 40; i++) {
        let calls = 0
        const helped = i % 5 === 0 ? 2 : i === 1 ? 3 : Number.POSITIVE_INFINITY
        const one = Effect.suspend(() => (++calls === helped ? Effect.void : new Offline({ host: "d" })))
        const policy = RetryPolicy.fixed({ delay: 0, maxRetries: i === 1 ? 2 : 1 })
        yield* Effect.exit(one.pipe(Recovery.recover({ Offline: Strategy.retry(policy) }, { name: "once" })))
      }
      yield* settled
      const proposal = Option.getOrThrow((yield* Insights.tune("once")).proposal)
      assert.closeTo(proposal.estimatedSuccess, 0.2, 0.01)
      assert.deepInclude(proposal.policy.description, { maxRetries: 1 })
    })
  )

  check(
    "proposes nothing for an unknown step",
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Insights.tune("unheard of"), {
        step: "unheard of",
        cases: 0,
        successRate: Option.none(),
        retries: [],
        attemptTimeout: Option.none(),
        proposal: Option.none()
      })
    })
  )
})

describe("Insights.advice", () => {
  it.effect("gives at most five resolutions by category and component", () =>
    Effect.gen(function* () {
      const of = (step: string | undefined, category: string) =>
        Effect.flatMap(RecoveryManager.report("it failed"), (failure) =>
          Insights.advice({ ...failure, step, category })
        )
      const [model, retriever, validator, other] = yield* Effect.all([
        of("iteration:2/generate#1", "timeout"),
        of("retrieve docs#3", "timeout"),
        of("validate length", "timeout"),
        of("upload", "timeout")
      ])
      assert.match(model[1] ?? "", /fewer tokens/)
      assert.match(model[2] ?? "", /Failover/)
      assert.match(retriever[1] ?? "", /fewer documents/)
      assert.match(validator[1] ?? "", /more time/)
      assert.strictEqual(other.length, 3)
      for (const all of [model, retriever, validator]) {
        assert.strictEqual(all.length, 5)
        assert.strictEqual(all[0], other[0])
      }
      // Every category has advice, also one with the name of a property of Object.
      for (const category of ["network", "timeout", "authentication", "rate-limit", "configuration", "toString"]) {
        assert.isAbove((yield* of("x", category)).length, 0)
      }
      assert.match((yield* of(undefined, "configuration"))[0] ?? "", /setting/)
    }).pipe(Effect.provide(Layer.merge(Storage.layerMemory, Insights.layerResolutions(Resolutions.canned))))
  )
})
