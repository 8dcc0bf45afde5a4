import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { BreakerChanges, Bulkhead, CircuitBreaker, Events, PolicySchema, RetryPolicy } from "effect-recovery"
import { assertFailed, assertTagged } from "../support/assertions.js"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { metric } from "../support/watch.js"

const down = { status: 503 }

const make = (options?: Partial<CircuitBreaker.Options>) =>
  CircuitBreaker.make({
    name: "rates",
    trip: CircuitBreaker.consecutive({ failures: 2 }),
    resetAfter: "30 seconds",
    ...options
  })

const fail = (breaker: CircuitBreaker.CircuitBreaker) =>
  Effect.flip(Effect.fail(down).pipe(CircuitBreaker.protect(breaker)))

const trip = (breaker: CircuitBreaker.CircuitBreaker) => Effect.repeatN(fail(breaker), 1)

const stateOf = (breaker: CircuitBreaker.CircuitBreaker) => Effect.map(breaker.snapshot, ({ state }) => state)

const isRefused = (result: Either.Either<unknown, unknown>) =>
  Either.isLeft(result) && result.left instanceof CircuitBreaker.CircuitOpen

describe("trip conditions", () => {
  it.effect("the default is 5 failures in a row, and 300 seconds", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({ name: "default" })
      yield* Effect.repeatN(fail(breaker), 3)
      assert.strictEqual(yield* stateOf(breaker), "closed")
      yield* fail(breaker)
      assert.deepInclude(yield* breaker.snapshot, { state: "open", retryAt: 300_000 })
    })
  )

  it.effect("each of several conditions opens it", () =>
    Effect.gen(function* () {
      const any = CircuitBreaker.anyOf(
        CircuitBreaker.consecutive({ failures: 100 }),
        CircuitBreaker.countWindow({ size: 4, failureRate: 0.5, minimum: 4 })
      )
      const breaker = yield* make({ trip: any })
      yield* Effect.succeed(1).pipe(CircuitBreaker.protect(breaker), Effect.repeatN(1))
      yield* fail(breaker)
      assert.strictEqual(yield* stateOf(breaker), "closed")
      yield* fail(breaker)
      assert.strictEqual(yield* stateOf(breaker), "open")
    })
  )

  it.effect("a custom condition opens it", () =>
    Effect.gen(function* () {
      let failures = 0
      const own: CircuitBreaker.Trip = {
        description: { kind: "every third failure" },
        timed: false,
        open: () => ({
          record: (outcome) => outcome === "failure" && ++failures % 3 === 0,
          isSlow: () => false,
          window: () => ({ calls: failures, failures, slow: 0 }),
          clear: () => {},
          save: () => [],
          load: () => {}
        })
      }
      const breaker = yield* make({ trip: own })
      yield* Effect.repeatN(fail(breaker), 2)
      assert.strictEqual(yield* stateOf(breaker), "open")
    })
  )
})

describe("the open time", () => {
  it.effect("grows with each failed probe, and starts again after a recovery", () =>
    Effect.gen(function* () {
      const resetAfter = RetryPolicy.exponential({ initialDelay: "10 seconds", maxDelay: "30 seconds", maxRetries: 3 })
      const breaker = yield* make({ resetAfter })
      const waits: Array<number> = []
      const wait = Effect.gen(function* () {
        const error = yield* fail(breaker)
        assert.instanceOf(error, CircuitBreaker.CircuitOpen)
        if (!(error instanceof CircuitBreaker.CircuitOpen)) return
        waits.push(Duration.toSeconds(error.retryAfter))
        yield* TestClock.adjust(error.retryAfter)
      })
      yield* trip(breaker)
      for (let i = 0; i < 4; i++) {
        yield* wait
        yield* fail(breaker)
      }
      assert.deepStrictEqual(waits, [10, 20, 30, 30])
      yield* wait
      yield* Effect.void.pipe(CircuitBreaker.protect(breaker))
      yield* trip(breaker)
      yield* wait
      assert.deepStrictEqual(waits, [10, 20, 30, 30, 30, 10])
    })
  )
})

describe("the open time of other schedules", () => {
  const openFor = (resetAfter: CircuitBreaker.Options["resetAfter"]) =>
    Effect.gen(function* () {
      const breaker = yield* make({ resetAfter, trip: CircuitBreaker.consecutive({ failures: 1 }) })
      const times: Array<number> = []
      // The breaker first opens hours after it was made.
      yield* TestClock.adjust("5 hours")
      for (let i = 0; i < 4; i++) {
        yield* fail(breaker)
        const { retryAt = Number.NaN } = yield* breaker.snapshot
        const now = (yield* Effect.clock).unsafeCurrentTimeMillis()
        times.push(retryAt - now)
        yield* TestClock.adjust(retryAt - now)
      }
      return times
    })

  it.effect("counts from the first opening, not from when the breaker was made", () =>
    Effect.gen(function* () {
      const growing = RetryPolicy.exponential({ maxElapsed: "1 hour" })
      assert.deepStrictEqual(yield* openFor(growing), [1_000, 2_000, 4_000, 4_000])
      const upTo = Schedule.exponential("1 second").pipe(Schedule.upTo("4 seconds"))
      assert.deepStrictEqual(yield* openFor(upTo), [1_000, 2_000, 4_000, 4_000])
      assert.deepStrictEqual(yield* openFor(Schedule.fixed("1 minute")), [60_000, 60_000, 60_000, 60_000])
      assert.deepStrictEqual(yield* openFor("7 seconds"), [7_000, 7_000, 7_000, 7_000])
    })
  )

  it.effect("jitter differs between the keys of a group and between openings", () =>
    Effect.gen(function* () {
      const resetAfter = RetryPolicy.exponential({ initialDelay: "60 seconds", jitter: "full" })
      const trip = CircuitBreaker.consecutive({ failures: 1 })
      const hosts = yield* CircuitBreaker.keyed({ name: "jittered", resetAfter, trip })
      const times = new Set<number | undefined>()
      for (const key of ["a", "b", "c"]) {
        const breaker = yield* hosts.get(key)
        yield* fail(breaker)
        times.add((yield* breaker.snapshot).retryAt)
        yield* breaker.reset
        yield* fail(breaker)
        times.add((yield* breaker.snapshot).retryAt)
      }
      assert.strictEqual(times.size, 6)
    })
  )

  it.effect("a clock that is set back does not extend the open time", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1e12)
      const breaker = yield* make()
      yield* trip(breaker)
      yield* TestClock.setTime(1e12 - 86_400_000)
      const error = yield* fail(breaker)
      assertTagged(error, "CircuitOpen", { retryAfter: Duration.seconds(30) })
      yield* TestClock.adjust("30 seconds")
      yield* Effect.void.pipe(CircuitBreaker.protect(breaker))
      assert.strictEqual(yield* stateOf(breaker), "closed")
    })
  )
})

describe("calls that do not count", () => {
  const halfOpen = (options?: Partial<CircuitBreaker.Options>) =>
    Effect.tap(make(options), (breaker) => Effect.zipRight(trip(breaker), TestClock.adjust("30 seconds")))

  const boom = () => {
    throw new Error("a bug of its own")
  }

  it.effect("a probe whose classification throws counts as transient faults do, and keeps its failure", () =>
    Effect.gen(function* () {
      let broken = false
      const breaker = yield* halfOpen({ counts: (fault) => (broken ? boom() : fault.transient) })
      broken = true
      const exit = yield* Effect.exit(Effect.fail(down).pipe(CircuitBreaker.protect(breaker)))
      assertFailed(exit, "fail")
      broken = false
      yield* TestClock.adjust("30 seconds")
      yield* Effect.void.pipe(CircuitBreaker.protect(breaker))
      assert.strictEqual(yield* stateOf(breaker), "closed")
      broken = true
      const closed = yield* Effect.exit(Effect.fail(down).pipe(CircuitBreaker.protect(breaker)))
      assertFailed(closed, "fail")
    })
  )

  it.effect("a defect, an inner refusal and an interruption whose finalizer died do not count", () =>
    Effect.gen(function* () {
      const breaker = yield* halfOpen()
      const refusal = new Bulkhead.BulkheadFull({ bulkhead: "inner", maxConcurrent: 1, maxQueue: 0 })
      for (const end of [Effect.die("bug"), Effect.fail(refusal)]) {
        yield* Effect.exit(end.pipe(CircuitBreaker.protect(breaker)))
        assert.strictEqual(yield* stateOf(breaker), "half-open")
      }
      const dying = Effect.never.pipe(Effect.onInterrupt(() => Effect.die("finalizer")))
      const fiber = yield* Effect.fork(dying.pipe(CircuitBreaker.protect(breaker)))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* stateOf(breaker), "half-open")
      yield* Effect.void.pipe(CircuitBreaker.protect(breaker))
      assert.strictEqual(yield* stateOf(breaker), "closed")
    })
  )

  it.effect("the time of a slow observer does not count, and it can be interrupted", () =>
    Effect.gen(function* () {
      const trip_ = CircuitBreaker.anyOf(
        CircuitBreaker.consecutive({ failures: 2 }),
        CircuitBreaker.slowCalls({ slowerThan: "1 second" })
      )
      const breaker = yield* halfOpen({ trip: trip_ })
      const slow = Events.layer(() => Effect.sleep("5 seconds"))
      const probe = yield* Effect.fork(Effect.void.pipe(CircuitBreaker.protect(breaker), Effect.provide(slow)))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(probe)
      assert.strictEqual(yield* stateOf(breaker), "closed")
      const never = Events.layer(() => Effect.never)
      const hanging = yield* Effect.fork(trip(breaker).pipe(Effect.provide(never)))
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      yield* Fiber.interrupt(hanging)
      assert.strictEqual(yield* stateOf(breaker), "open")
    })
  )

  it.effect("reset while closed and isolate while isolated emit no change", () =>
    Effect.gen(function* () {
      const breaker = yield* make({ name: "unchanged" })
      yield* breaker.reset
      yield* breaker.isolate
      yield* breaker.isolate
      assert.strictEqual(yield* metric("breaker_changes", { breaker: "unchanged", to: "closed" }), 0)
      assert.strictEqual(yield* metric("breaker_changes", { breaker: "unchanged", to: "isolated" }), 1)
    })
  )
})

describe("observing", () => {
  it.effect("admits every call, and reports what it would have done", () =>
    Effect.gen(function* () {
      const breaker = yield* make({ name: "observed", mode: "observe" })
      for (let i = 0; i < 5; i++) assert.deepStrictEqual(yield* fail(breaker), down)
      assert.strictEqual(yield* stateOf(breaker), "open")
      assert.strictEqual(yield* metric("breaker_calls", { breaker: "observed", result: "refused" }), 3)
      yield* TestClock.adjust("30 seconds")
      yield* Effect.void.pipe(CircuitBreaker.protect(breaker))
      assert.strictEqual(yield* stateOf(breaker), "closed")
    })
  )

  it.scoped("changes are a stream with reasons", () =>
    Effect.gen(function* () {
      const breaker = yield* make()
      const changes = yield* BreakerChanges.subscribe(breaker)
      yield* trip(breaker)
      yield* TestClock.adjust("30 seconds")
      yield* fail(breaker)
      yield* TestClock.adjust("30 seconds")
      yield* Effect.void.pipe(CircuitBreaker.protect(breaker))
      yield* breaker.isolate
      yield* breaker.reset
      const seen = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(changes, 7))).map(({ reason, to }) => [
        to,
        reason
      ])
      assert.deepStrictEqual(seen, [
        ["open", "tripped"],
        ["half-open", "the reset time is over"],
        ["open", "a probe failed"],
        ["half-open", "the reset time is over"],
        ["closed", "the probes came back well"],
        ["isolated", "isolated"],
        ["closed", "reset"]
      ])
    })
  )

  it.effect("changes are events and metrics too", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const observer = Events.layer((event) =>
        Effect.sync(() => {
          if (event._tag === "BreakerChanged") seen.push(`${event.change.breaker} ${event.change.to}`)
        })
      )
      const breaker = yield* make({ name: "metered" })
      yield* trip(breaker).pipe(Effect.provide(observer))
      yield* fail(breaker)
      assert.deepStrictEqual(seen, ["metered open"])
      assert.strictEqual(yield* metric("breaker_calls", { breaker: "metered", result: "failure" }), 2)
      assert.strictEqual(yield* metric("breaker_calls", { breaker: "metered", result: "refused" }), 1)
      assert.strictEqual(yield* metric("breaker_changes", { breaker: "metered", to: "open" }), 1)
      assert.strictEqual(yield* metric("breaker_state", { breaker: "metered" }), 2)
    })
  )
})

describe("snapshots", () => {
  const json = Schema.parseJson(PolicySchema.BreakerSnapshot)
  const overAWire = (snapshot: CircuitBreaker.Snapshot) =>
    Effect.flatMap(Schema.encode(json)(snapshot), Schema.decode(json))

  it.effect("an open breaker keeps its open time and its growth", () =>
    Effect.gen(function* () {
      const options = { resetAfter: RetryPolicy.exponential({ initialDelay: "10 seconds", maxDelay: "40 seconds" }) }
      const before = yield* make(options)
      yield* trip(before)
      yield* TestClock.adjust("10 seconds")
      yield* fail(before)
      const after = yield* make({ ...options, restore: yield* overAWire(yield* before.snapshot) })
      assert.deepStrictEqual(yield* after.snapshot, yield* before.snapshot)
      yield* TestClock.adjust("19 seconds")
      assert.isTrue((yield* fail(after)) instanceof CircuitBreaker.CircuitOpen)
      yield* TestClock.adjust("1 second")
      yield* fail(after)
      assert.deepInclude(yield* after.snapshot, { state: "open", openings: 3, retryAt: 70_000 })
    })
  )

  for (const [name, trip_] of Object.entries({
    consecutive: CircuitBreaker.consecutive({ failures: 3 }),
    countWindow: CircuitBreaker.countWindow({ size: 3, failureRate: 1, minimum: 3 }),
    timeWindow: CircuitBreaker.timeWindow({ failureRate: 1, minimum: 3 }),
    anyOf: CircuitBreaker.anyOf(
      CircuitBreaker.slowCalls({ slowerThan: 1 }),
      CircuitBreaker.consecutive({ failures: 3 })
    )
  })) {
    it.effect(`the counts are kept and not shared: ${name}`, () =>
      Effect.gen(function* () {
        const before = yield* make({ trip: trip_ })
        yield* trip(before)
        const snapshot = yield* before.snapshot
        yield* fail(before)
        const after = yield* make({ trip: trip_, restore: yield* overAWire(snapshot) })
        assert.deepStrictEqual(yield* after.snapshot, snapshot)
        assert.strictEqual(yield* stateOf(after), "closed")
        yield* fail(after)
        assert.strictEqual(yield* stateOf(after), "open")
      })
    )
  }

  it.effect("a half-open breaker is restored as open and due", () =>
    Effect.gen(function* () {
      const before = yield* make()
      yield* trip(before)
      yield* TestClock.adjust("30 seconds")
      const probe = yield* Effect.fork(Effect.never.pipe(CircuitBreaker.protect(before)))
      yield* Effect.yieldNow()
      const snapshot = yield* before.snapshot
      yield* Fiber.interrupt(probe)
      assert.strictEqual(snapshot.state, "half-open")
      const after = yield* make({ restore: snapshot })
      yield* Effect.void.pipe(CircuitBreaker.protect(after))
      assert.strictEqual(yield* stateOf(after), "closed")
    })
  )

  it.effect("an invalid snapshot is ignored", () =>
    Effect.gen(function* () {
      const nonsense: ReadonlyArray<Partial<CircuitBreaker.Snapshot>> = [
        { state: "open", retryAt: 1e15, openings: -5 },
        { state: "open", retryAt: Number.NaN, openings: Number.NaN },
        { state: "open", openings: 0.5 },
        { state: "closed", memory: [Number.NaN, -1, 1e300, 0.5] },
        { state: "closed", memory: [1e9] },
        { state: "half-open", openings: 1e9 }
      ]
      const empty: CircuitBreaker.Snapshot = {
        state: "closed",
        openings: 0,
        window: { calls: 0, failures: 0, slow: 0 },
        memory: []
      }
      for (const trip of [undefined, CircuitBreaker.countWindow(), CircuitBreaker.timeWindow()]) {
        for (const restore of nonsense) {
          const breaker = yield* make({ trip, restore: { ...empty, ...restore } })
          yield* TestClock.adjust("30 seconds")
          assert.isTrue(Exit.isSuccess(yield* Effect.exit(CircuitBreaker.protect(Effect.void, breaker))))
          assert.strictEqual(yield* stateOf(breaker), "closed")
        }
      }
    })
  )
})

describe("keyed breakers", () => {
  it.effect("all keys of a group are reset at once", () =>
    Effect.gen(function* () {
      const hosts = yield* CircuitBreaker.keyed({ name: "all", trip: CircuitBreaker.consecutive({ failures: 1 }) })
      for (const key of ["a", "b"]) yield* Effect.flip(Effect.fail(down).pipe(CircuitBreaker.protectKey(hosts, key)))
      const states = Effect.map(hosts.snapshot, (all) => [...all.values()].map(({ state }) => state))
      assert.deepStrictEqual(yield* states, ["open", "open"])
      yield* hosts.resetAll
      assert.deepStrictEqual(yield* states, ["closed", "closed"])
    })
  )

  it.scoped("keys are independent", () =>
    Effect.gen(function* () {
      const hosts = yield* CircuitBreaker.keyed({ name: "hosts", trip: CircuitBreaker.consecutive({ failures: 1 }) })
      const call = (host: string, end: Effect.Effect<void, unknown>) =>
        Effect.either(end.pipe(CircuitBreaker.protectKey(hosts, host)))
      yield* call("a", Effect.fail(down))
      const refused = yield* call("a", Effect.void)
      assert.include(String(refused), "hosts/a")
      assert.isTrue(isRefused(refused), String(refused))
      assert.isTrue(Either.isRight(yield* call("b", Effect.void)))
      const isolated = yield* hosts.get("c")
      const changes = yield* BreakerChanges.subscribe(hosts)
      const own = yield* BreakerChanges.subscribe(isolated)
      yield* (yield* hosts.get("d")).isolate
      yield* isolated.isolate
      const keys = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(changes, 2))).map(({ key }) => key)
      assert.deepStrictEqual(keys, ["d", "c"])
      assert.strictEqual(Chunk.unsafeHead(yield* Stream.runCollect(Stream.take(own, 1))).key, "c")
      const refusal = yield* Effect.flip(Effect.void.pipe(CircuitBreaker.protectKey(hosts, "c")))
      assert.strictEqual(refusal.state, "isolated")
      assert.include(refusal.message, "reset it to admit them")
      for (const key of ["c", "d"]) yield* (yield* hosts.get(key)).reset
      const states = [...(yield* hosts.snapshot)].map(([key, { state }]) => [key, state])
      assert.deepStrictEqual(states, [
        ["a", "open"],
        ["b", "closed"],
        ["c", "closed"],
        ["d", "closed"]
      ])
      yield* (yield* hosts.get("a")).reset
      assert.isTrue(Either.isRight(yield* call("a", Effect.void)))
    })
  )

  it.effect("is bounded, and evicts breakers without counts first", () =>
    Effect.gen(function* () {
      const hosts = yield* CircuitBreaker.keyed({
        name: "bounded",
        maxKeys: 3,
        trip: CircuitBreaker.consecutive({ failures: 1 })
      })
      const call = (host: string, end: Effect.Effect<void, unknown>) =>
        Effect.either(end.pipe(CircuitBreaker.protectKey(hosts, host)))
      yield* call("down", Effect.fail(down))
      for (let i = 0; i < 100; i++) yield* call(`host ${i}`, Effect.void)
      assert.deepStrictEqual([...(yield* hosts.snapshot).keys()], ["down", "host 98", "host 99"])
      assert.isTrue(isRefused(yield* call("down", Effect.void)))
    })
  )

  it.effect("a new key beside 16,000 with failures looks at a bounded number of them", () =>
    Effect.gen(function* () {
      let looks = 0
      const plain = CircuitBreaker.consecutive({ failures: 3 })
      const counted: CircuitBreaker.Trip = {
        ...plain,
        open: () => {
          const own = plain.open()
          const window = (now: number) => {
            looks++
            return own.window(now)
          }
          return { ...own, window }
        }
      }
      const hosts = yield* CircuitBreaker.keyed({ name: "many", maxKeys: 16_000, trip: counted, counts: () => true })
      const call = (host: string, end: Effect.Effect<void, unknown>) =>
        Effect.either(end.pipe(CircuitBreaker.protectKey(hosts, host)))
      for (let i = 0; i < 16_000; i++) yield* call(`host ${i}`, Effect.fail(down))
      const perKey: Array<number> = []
      for (let i = 0; i < 150; i++) {
        looks = 0
        yield* call(`new ${i}`, Effect.fail(down))
        perKey.push(looks)
      }
      assert.isAtMost(Math.max(...perKey), 250)
      // Each use of a key is looked at once at most, so evictions beyond the first ones look at few.
      assert.isAtMost(
        perKey.slice(100).reduce((a, b) => a + b, 0),
        50 * 100
      )
      const keys = [...(yield* hosts.snapshot).keys()]
      assert.strictEqual(keys.length, 16_000)
      assert.deepStrictEqual([keys[0], keys.at(-1)], ["host 150", "new 149"])
    })
  )

  it.effect("slow calls and failures of any condition are counts", () =>
    Effect.gen(function* () {
      const trip_ = CircuitBreaker.anyOf(
        CircuitBreaker.consecutive({ failures: 2 }),
        CircuitBreaker.slowCalls({ slowerThan: "1 second" })
      )
      const hosts = yield* CircuitBreaker.keyed({ name: "remembered", maxKeys: 2, trip: trip_ })
      const slow = yield* Effect.fork(Effect.sleep("2 seconds").pipe(CircuitBreaker.protectKey(hosts, "slow")))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(slow)
      for (const key of ["idle", "other"]) yield* Effect.void.pipe(CircuitBreaker.protectKey(hosts, key))
      assert.deepStrictEqual([...(yield* hosts.snapshot).keys()], ["slow", "other"])
    })
  )
})

const seeds = Array.from({ length: lengthOf("INTERRUPTION_SEEDS") }, (_, i) => seedOf(1) + i)

describe("1,000 callers of a half-open breaker", () => {
  for (const seed of seeds) {
    it.effect(`admits exactly the probes, and leaks none under random interruption (seed ${seed})`, () =>
      Effect.gen(function* () {
        const probes = 1 + (seed % 3)
        const breaker = yield* make({ probes })
        yield* trip(breaker)
        yield* TestClock.adjust("30 seconds")
        for (let round = 0; round < 5; round++) {
          const gate = yield* Deferred.make<void>()
          let inside = 0
          let most = 0
          const work = Effect.acquireUseRelease(
            Effect.sync(() => {
              most = Math.max(most, ++inside)
            }),
            () => Deferred.await(gate),
            () => Effect.sync(() => void inside--)
          )
          const fibers: Array<Fiber.RuntimeFiber<Either.Either<void, unknown>>> = []
          for (let i = 0; i < 1_000; i++) {
            const yields = yield* Random.nextIntBetween(0, 4)
            const call = Effect.repeatN(Effect.yieldNow(), yields).pipe(
              Effect.zipRight(Effect.either(work.pipe(CircuitBreaker.protect(breaker))))
            )
            fibers.push(yield* Effect.fork(call))
            if ((yield* Random.nextIntBetween(0, 10)) === 0) {
              const victim = fibers[yield* Random.nextIntBetween(0, fibers.length)]
              if (victim !== undefined) yield* Fiber.interruptFork(victim)
            }
          }
          yield* Effect.repeatN(Effect.yieldNow(), 10)
          assert.isAtMost(most, probes)
          yield* Effect.forEach(fibers, Fiber.interrupt, { discard: true })
          assert.strictEqual(inside, 0)
        }
        const last = yield* Effect.forEach(Array.from({ length: 1_000 }), () =>
          Effect.fork(Effect.either(Effect.yieldNow().pipe(CircuitBreaker.protect(breaker))))
        )
        const results = yield* Effect.forEach(last, Fiber.join)
        assert.strictEqual(results.filter(Either.isRight).length, probes)
        assert.strictEqual(yield* stateOf(breaker), "closed")
      }).pipe(Effect.withRandom(Random.make(seed)))
    )
  }
})

describe("invalid options", () => {
  const cases: ReadonlyArray<readonly [option: string, build: () => unknown]> = [
    ["failures", () => CircuitBreaker.consecutive({ failures: 0 })],
    ["failures", () => CircuitBreaker.consecutive({ failures: 1.5 })],
    ["size", () => CircuitBreaker.countWindow({ size: Number.NaN })],
    ["failureRate", () => CircuitBreaker.countWindow({ failureRate: 0 })],
    ["failureRate", () => CircuitBreaker.timeWindow({ failureRate: 1.1 })],
    ["minimum", () => CircuitBreaker.countWindow({ size: 5, minimum: 6 })],
    ["window", () => CircuitBreaker.timeWindow({ window: 0 })],
    ["window", () => CircuitBreaker.timeWindow({ window: Number.POSITIVE_INFINITY })],
    ["slowerThan", () => CircuitBreaker.slowCalls({ slowerThan: -1 })],
    ["slowRate", () => CircuitBreaker.slowCalls({ slowerThan: 1, slowRate: Number.NaN })],
    ["resetAfter", () => Effect.runSync(make({ resetAfter: Number.NaN }))],
    ["resetAfter", () => Effect.runSync(make({ resetAfter: RetryPolicy.none }))],
    ["probes", () => Effect.runSync(make({ probes: 0 }))],
    ["resetAfter", () => Effect.runSync(make({ resetAfter: Schedule.spaced(Duration.infinity) }))],
    ["resetAfter", () => Effect.runSync(make({ resetAfter: -5n }))],
    ["resetAfter", () => Effect.runSync(make({ resetAfter: [-5, 0] }))],
    ["restore", () => Effect.runSync(make({ restore: { state: "broken" } as never }))],
    ["restore", () => Effect.runSync(make({ restore: JSON.parse(`{ "state": "closed", "memory": null }`) }))],
    ["mode", () => Effect.runSync(make({ mode: "watch" as never }))],
    ["maxKeys", () => Effect.runSync(CircuitBreaker.keyed({ name: "x", maxKeys: -1 }))]
  ]
  for (const [i, [option, build]] of cases.entries()) {
    it(`are refused by name: ${option} (${i})`, () => {
      assert.throws(build, `The option "${option}"`)
    })
  }
})
