import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { CircuitBreaker, Events, Failover, Fault, type Recovery } from "effect-recovery"
import { assertFailed } from "../support/assertions.js"

class Down extends Schema.TaggedError<Down>()("Down", { way: Schema.String }) {
  readonly [Fault.declared] = Fault.declare({ category: "unavailable" })
}
class Wrong extends Data.TaggedError("Wrong")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "validation" })
}

/** Ways whose outcome the test sets, and the order of their calls. */
const ways = (...names: ReadonlyArray<string>) => {
  const called: Array<string> = []
  const down = new Set<string>()
  const take = (way: string) =>
    Effect.suspend((): Effect.Effect<string, Down> => {
      called.push(way)
      return down.has(way) ? Effect.fail(new Down({ way })) : Effect.succeed(way)
    })
  return {
    down,
    ways: Object.fromEntries(names.map((way) => [way, () => take(way)])),
    /** The calls since the last read. */
    called: () => called.splice(0)
  }
}

describe("Failover", () => {
  it.effect("tries the next way when one fails, and stops at the first success", () =>
    Effect.gen(function* () {
      const { called, down, ways: three } = ways("a", "b", "c")
      const failover = yield* Failover.make({ name: "three", ways: three })
      assert.strictEqual(yield* failover(), "a")
      assert.deepStrictEqual(called(), ["a"])
      down.add("a")
      assert.strictEqual(yield* failover(), "b")
      assert.deepStrictEqual(called(), ["a", "b"])
    })
  )

  it.effect("passes its arguments to each way", () =>
    Effect.gen(function* () {
      const sum = yield* Failover.make({
        name: "sum",
        ways: {
          first: (_: number, __: number): Effect.Effect<number, Down> => Effect.fail(new Down({ way: "first" })),
          second: (a: number, b: number): Effect.Effect<number, Down> => Effect.succeed(a + b)
        }
      })
      assert.strictEqual(yield* sum(1, 2), 3)
    })
  )

  it.effect("keeps the failure of every way, and is transient if one of them is", () =>
    Effect.gen(function* () {
      const { down, ways: two } = ways("a", "b")
      down.add("a").add("b")
      const failover = yield* Failover.make({ name: "rates", ways: two })
      const error = yield* Effect.flip(failover())
      assert.strictEqual(error._tag, "FailoverExhausted")
      assert.deepStrictEqual(
        error.failures.map(({ error, fault, way }) => [way, error.way, fault?.category]),
        [
          ["a", "a", "unavailable"],
          ["b", "b", "unavailable"]
        ]
      )
      assert.strictEqual(error.error.way, "b")
      assert.strictEqual(error.cause, error.error)
      assert.match(error.message, /All ways of "rates" failed: a \(.*Down.*\), b \(.*Down.*\)/)
      const fault = yield* Fault.classify(error)
      assert.deepInclude(fault, { category: "unavailable", transient: true })
      const schema = Failover.FailoverExhausted.schema(Down)
      const text = yield* Schema.encode(Schema.parseJson(schema))(error)
      const back = yield* Schema.decode(Schema.parseJson(schema))(text)
      assert.instanceOf(back, Failover.FailoverExhausted)
      assert.deepStrictEqual(
        back.failures.map(({ error, way }) => [way, error instanceof Down]),
        [
          ["a", true],
          ["b", true]
        ]
      )
    })
  )

  it.effect("has the shortest retryAfter of its ways", () =>
    Effect.gen(function* () {
      const asking = (seconds: number) => () =>
        Effect.fail(
          Object.assign(new Error("later"), {
            [Fault.declared]: Fault.declare({ category: "rate-limit", retryAfter: Duration.seconds(seconds) })
          })
        )
      const failover = yield* Failover.make({ name: "limits", ways: { a: asking(30), b: asking(5), c: asking(60) } })
      const fault = yield* Fault.classify(yield* Effect.flip(failover()))
      assert.deepStrictEqual(Option.map(fault.retryAfter, Duration.toSeconds), Option.some(5))
    })
  )

  it.effect("a way is tried last after three failures in a row, until two probes succeed", () =>
    Effect.gen(function* () {
      const { called, down, ways: two } = ways("a", "b")
      const failover = yield* Failover.make({ name: "health", ways: two })
      down.add("a")
      yield* Effect.replicateEffect(failover(), 3)
      assert.deepStrictEqual(called(), ["a", "b", "a", "b", "a", "b"])
      yield* failover()
      assert.deepStrictEqual(called(), ["b"])
      assert.deepStrictEqual(
        (yield* failover.status).map(({ state, way }) => [way, state]),
        [
          ["b", "closed"],
          ["a", "open"]
        ]
      )
      // The last way is still tried.
      down.add("b")
      down.delete("a")
      assert.strictEqual(yield* failover(), "a")
      assert.deepStrictEqual(called(), ["b", "a"])
      down.delete("b")
      yield* TestClock.adjust("30 seconds")
      yield* failover()
      assert.deepStrictEqual((yield* failover.status)[0], { way: "a", state: "half-open", millis: undefined })
      yield* failover()
      assert.deepStrictEqual((yield* failover.status)[0], { way: "a", state: "closed", millis: undefined })
      assert.deepStrictEqual(called(), ["a", "a"])
    })
  )

  it.effect("of many concurrent calls two are probes, the others use a working way", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      let isDown = true
      const called = { a: 0, b: 0 }
      const failover = yield* Failover.make({
        name: "probes",
        ways: {
          a: () =>
            Effect.suspend(() => {
              called.a++
              return isDown ? Effect.fail(new Down({ way: "a" })) : Deferred.await(gate)
            }),
          b: (): Effect.Effect<void, Down> => Effect.sync(() => void called.b++)
        }
      })
      yield* Effect.replicateEffect(failover(), 3)
      isDown = false
      yield* TestClock.adjust("30 seconds")
      const calls = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 10 }, () => failover()),
          { concurrency: 10 }
        )
      )
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(called, { a: 5, b: 11 })
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(calls)
      assert.strictEqual((yield* failover.status)[0]?.way, "a")
    })
  )

  it.effect("an isolated way is the last resort until it is reset", () =>
    Effect.gen(function* () {
      const { called, down, ways: two } = ways("a", "b")
      const failover = yield* Failover.make({ name: "isolated", ways: two })
      const a = failover.breakers.a ?? (yield* Effect.dieMessage("no breaker"))
      yield* a.isolate
      yield* TestClock.adjust("1 hour")
      yield* failover()
      assert.deepStrictEqual(called(), ["b"])
      down.add("b")
      yield* failover()
      assert.deepStrictEqual(called(), ["b", "a"])
      yield* a.reset
      yield* failover()
      assert.deepStrictEqual(called(), ["a"])
    })
  )

  it.effect('with "turns" each call starts with the next way; a snapshot does not advance it', () =>
    Effect.gen(function* () {
      const { called, down, ways: three } = ways("a", "b", "c")
      const failover = yield* Failover.make({ name: "turns", ways: three, order: "turns" })
      const seen: Array<string> = []
      for (let n = 0; n < 4; n++) {
        assert.strictEqual((yield* failover.status)[0]?.way, ["a", "b", "c", "a"][n])
        seen.push(yield* failover())
      }
      assert.deepStrictEqual(seen, ["a", "b", "c", "a"])
      called()
      down.add("b")
      yield* failover()
      assert.deepStrictEqual(called(), ["b", "c"])
    })
  )

  it.effect("tries the fastest way first, and measures a slow one again later with one call", () =>
    Effect.gen(function* () {
      let slow = 1_000
      const called: Array<string> = []
      const way = (name: string, millis: () => number) => () =>
        Effect.suspend((): Effect.Effect<string, Down> => {
          called.push(name)
          return Effect.as(Effect.sleep(millis()), name)
        })
      const failover = yield* Failover.make({
        name: "fastest",
        order: "fastest",
        ways: { slow: way("slow", () => slow), quick: way("quick", () => 100) }
      })
      const call = Effect.gen(function* () {
        const fiber = yield* Effect.fork(failover())
        yield* TestClock.adjust("1 seconds")
        return yield* Fiber.join(fiber)
      })
      // The first calls measure each way once.
      assert.deepStrictEqual([yield* call, yield* call, yield* call, yield* call], ["slow", "quick", "quick", "quick"])
      assert.deepStrictEqual(yield* failover.status, [
        { way: "quick", state: "closed", millis: 100 },
        { way: "slow", state: "closed", millis: 1_000 }
      ])
      // Ten times as slow: it is measured again after more than three half-lives.
      yield* TestClock.adjust("205 seconds")
      yield* call
      slow = 10
      yield* TestClock.adjust("10 seconds")
      called.length = 0
      const several = yield* Effect.fork(Effect.all([failover(), failover(), failover()], { concurrency: 3 }))
      yield* TestClock.adjust("1 seconds")
      yield* Fiber.join(several)
      assert.deepStrictEqual(called, ["slow", "quick", "quick"])
      // The average: 0.8 of the old value and 0.2 of the new one.
      assert.deepInclude(yield* failover.status, { way: "slow", state: "closed", millis: 802 })
    })
  )

  it.effect("a failure it does not handle surfaces unchanged, also from a later way", () =>
    Effect.gen(function* () {
      const calls: Array<string> = []
      const fail = <E>(name: string, error: E) =>
        Effect.suspend(() => {
          calls.push(name)
          return Effect.fail(error)
        })
      const failover = yield* Failover.make({
        name: "picky",
        handles: ({ category }) => category !== "validation",
        ways: {
          a: (isWrong: boolean): Effect.Effect<never, Down | Wrong> =>
            isWrong ? fail("a", new Wrong()) : fail("a", new Down({ way: "a" })),
          b: (_: boolean) => fail("b", new Wrong()),
          c: (_: boolean) => fail("c", new Down({ way: "c" }))
        }
      })
      expectTypeOf(failover).toEqualTypeOf<
        Failover.Failover<
          [isWrong: boolean],
          never,
          Down | Wrong | Failover.FailoverExhausted<Down | Wrong>,
          never,
          "a" | "b" | "c"
        >
      >()
      assert.instanceOf(yield* Effect.flip(failover(true)), Wrong)
      assert.deepStrictEqual(calls.splice(0), ["a"])
      assert.instanceOf(yield* Effect.flip(failover(false)), Wrong)
      assert.deepStrictEqual(calls, ["a", "b"])
    })
  )

  it.effect("an error of the caller does not count against a way", () =>
    Effect.gen(function* () {
      const failover = yield* Failover.make({ name: "innocent", ways: { a: () => Effect.fail(new Wrong()) } })
      yield* Effect.replicateEffect(Effect.flip(failover()), 5)
      assert.strictEqual((yield* failover.status)[0]?.state, "closed")
    })
  )

  it.effect("respects the limit of ways", () =>
    Effect.gen(function* () {
      const { called, down, ways: three } = ways("a", "b", "c")
      down.add("a").add("b")
      const failover = yield* Failover.make({ name: "bounded", ways: three, maxWays: 2 })
      const error = yield* Effect.flip(failover())
      assert.deepStrictEqual(called(), ["a", "b"])
      assert.strictEqual(error.failures.length, 2)
    })
  )

  it.effect("a defect or an interruption passes through and tries no other way", () =>
    Effect.gen(function* () {
      const { called, ways: one } = ways("b")
      const dying = yield* Failover.make({ name: "dying", ways: { a: () => Effect.die("bug"), ...one } })
      const exit = yield* Effect.exit(dying())
      assertFailed(exit, "die")
      const hanging = yield* Failover.make({ name: "hanging", ways: { a: () => Effect.never, ...one } })
      const fiber = yield* Effect.fork(hanging())
      yield* TestClock.adjust(0)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      assert.deepStrictEqual(called(), [])
      assert.strictEqual((yield* hanging.status)[0]?.state, "closed")
    })
  )

  it.scoped("emits the way it took, and exhaustion", () =>
    Effect.gen(function* () {
      const { down, ways: two } = ways("a", "b")
      const reports: Array<Recovery.Report["outcome"]> = []
      const failover = yield* Failover.make({
        name: "told",
        ways: two,
        hooks: { onOutcome: ({ outcome }) => Effect.sync(() => reports.push(outcome)) }
      })
      down.add("a")
      const events = yield* Events.subscribe
      yield* failover()
      const first = yield* Stream.runHead(events)
      assert.deepInclude(Option.getOrThrow(first), {
        _tag: "Decided",
        source: { recovery: "told" },
        strategy: "b",
        decision: "Instead"
      })
      down.add("b")
      yield* Effect.either(failover())
      assert.deepStrictEqual(reports, ["recovered", "exhausted"])
    })
  )

  it.effect("its error is decoded from a journal with its transience", () =>
    Effect.gen(function* () {
      const codec = Schema.parseJson(Failover.FailoverExhausted.schema(Down))
      const asking = Fault.declare({ category: "rate-limit", retryAfter: "5 seconds", severity: "high" })
      const down = new Down({ way: "a" })
      Object.defineProperty(down, Fault.declared, { value: asking })
      const failover = yield* Failover.make({ name: "journaled", ways: { a: () => Effect.fail(down) } })
      const error = yield* Effect.flip(failover())
      const back = yield* Effect.flatMap(Schema.encode(codec)(error), Schema.decode(codec))
      const [before, after] = yield* Effect.all([Fault.classify(error), Fault.classify(back)])
      for (const key of ["category", "severity", "transient", "retryAfter"] as const) {
        assert.deepStrictEqual(after[key], before[key], key)
      }
      assert.isTrue(after.transient)
      assert.deepStrictEqual(
        back.failures.map(({ fault }) => fault?.category),
        ["rate-limit"]
      )
      // Only the fields of the schema are encoded.
      const { failures } = yield* Schema.encode(Failover.FailoverExhausted.schema(Down), {
        onExcessProperty: "preserve"
      })(error)
      assert.deepStrictEqual(Object.keys(failures[0]), ["way", "error", "fault"])
    })
  )

  it.effect(
    "a way that always fails slowly is no fast one, and one that is being measured is waited for by one call",
    () =>
      Effect.gen(function* () {
        const called: Array<string> = []
        const failover = yield* Failover.make({
          name: "slow",
          order: "fastest",
          ways: {
            missing: () =>
              Effect.suspend(() => {
                called.push("missing")
                return Effect.zipRight(Effect.sleep("10 seconds"), Effect.fail(new Wrong()))
              }),
            good: (): Effect.Effect<string, Down> =>
              Effect.suspend(() => {
                called.push("good")
                return Effect.as(Effect.sleep("1 seconds"), "good")
              })
          }
        })
        const first = yield* Effect.fork(Effect.all([failover(), failover(), failover()], { concurrency: 3 }))
        yield* TestClock.adjust("20 seconds")
        yield* Fiber.join(first)
        assert.deepStrictEqual(called.splice(0).slice(0, 2), ["missing", "good"])
        const second = yield* Effect.fork(failover())
        yield* TestClock.adjust("1 seconds")
        yield* Fiber.join(second)
        assert.deepStrictEqual(called, ["good"])
      })
  )

  it.effect("turns stay even while a way fails", () =>
    Effect.gen(function* () {
      const { ways: three } = ways("a", "b", "c")
      const failover = yield* Failover.make({ name: "even", ways: three, order: "turns" })
      yield* failover.breakers.a?.isolate ?? Effect.void
      const taken = yield* Effect.replicateEffect(failover(), 10)
      assert.deepStrictEqual(
        [taken.filter((way) => way === "b").length, taken.filter((way) => way === "c").length],
        [5, 5]
      )
    })
  )

  it.effect("a breaker from the configuration keeps the defaults of the failover", () =>
    Effect.gen(function* () {
      const breaker = yield* Effect.withConfigProvider(
        CircuitBreaker.config("NOTHING"),
        ConfigProvider.fromMap(new Map())
      )
      const { down, ways: two } = ways("a", "b")
      down.add("a")
      const failover = yield* Failover.make({ name: "configured", ways: two, breaker })
      yield* Effect.replicateEffect(failover(), 3)
      assert.strictEqual((yield* failover.status)[0]?.way, "b")
    })
  )

  it.effect("refuses invalid options by name", () =>
    Effect.gen(function* () {
      const { ways: one } = ways("a")
      const refused = (options: object) =>
        // The types refuse these options.
        Effect.sandbox(Failover.make({ name: "bad", ways: one, ...options })).pipe(
          Effect.flip,
          Effect.map((cause) => Cause.pretty(cause))
        )
      assert.match(yield* refused({ order: "random" }), /"order" is random; give "priority", "turns" or "fastest"/)
      assert.match(yield* refused({ ways: {} }), /at least one way/)
      assert.match(yield* refused({ maxWays: 0 }), /"maxWays" is 0/)
      assert.match(yield* refused({ ways: { main: () => Effect.void, 2024: () => Effect.void } }), /2024/)
    })
  )

  it("cannot fail if one of its ways cannot, unless a limit may stop before it", () => {
    const risky = (n: number): Effect.Effect<number, Down> => Effect.succeed(n)
    const safe = (n: number) => Effect.succeed(String(n))
    const both = Failover.make({ name: "safe", ways: { risky, safe } })
    expectTypeOf(both).toEqualTypeOf<
      Effect.Effect<Failover.Failover<[n: number], number | string, never, never, "risky" | "safe">>
    >()
    const bounded = Failover.make({ name: "bounded", ways: { risky, safe }, maxWays: 1 })
    expectTypeOf(bounded).toEqualTypeOf<
      Effect.Effect<
        Failover.Failover<[n: number], number | string, Failover.FailoverExhausted<Down>, never, "risky" | "safe">
      >
    >()
    // @ts-expect-error: an argument of the ways
    Effect.flatMap(both, (failover) => failover("1"))
    // An option that may be a limit counts as one.
    const either = Math.random() < 2 ? { maxWays: 1 } : {}
    const maybe = Failover.make({ name: "maybe", ways: { risky, safe }, ...either })
    expectTypeOf(maybe).toMatchTypeOf<
      Effect.Effect<(n: number) => Effect.Effect<unknown, Failover.FailoverExhausted<Down>>>
    >()
    // @ts-expect-error: it may fail
    expectTypeOf(maybe).toMatchTypeOf<Effect.Effect<(n: number) => Effect.Effect<unknown>>>()
    // @ts-expect-error: an option there is not
    Failover.make({ name: "typo", ways: { risky }, ordr: "turns" })
    // @ts-expect-error: one that takes something else
    Failover.make({ name: "mixed", ways: { risky, other: (text: string) => Effect.succeed(text) } })
  })
})
