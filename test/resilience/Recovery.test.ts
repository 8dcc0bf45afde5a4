import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Decision, Events, Fault, Recovery, RetryPolicy, Strategy } from "effect-recovery"
import { assertFailed, causeOf } from "../support/assertions.js"
import { alwaysFailing, toTheEnd } from "../support/resilience.js"

class Offline extends Data.TaggedError("Offline")<{ readonly n: number }> {}
class NotFound extends Data.TaggedError("NotFound")<{ readonly path: string }> {}

/** Fails with the given errors in turn, then succeeds with the number of calls. */
const failing = <E>(...errors: ReadonlyArray<E>) =>
  Effect.map(Ref.make(0), (calls) => ({
    calls: Ref.get(calls),
    effect: Effect.flatMap(
      Ref.updateAndGet(calls, (n) => n + 1),
      (n): Effect.Effect<number, E> => {
        const error = errors[n - 1]
        return error === undefined ? Effect.succeed(n) : Effect.fail(error)
      }
    )
  }))

const offline = (times: number) => Array.from({ length: times }, (_, i) => new Offline({ n: i + 1 }))

const atOnce = (maxRetries: number) => Strategy.retry(RetryPolicy.fixed({ maxRetries, delay: 0 }))

describe("Recovery.recover", () => {
  it.effect("retries until it works", () =>
    Effect.gen(function* () {
      const { effect } = yield* failing(...offline(3))
      assert.strictEqual(yield* effect.pipe(Recovery.recover({ Offline: atOnce(3) })), 4)
    })
  )

  it.effect("an exhausted retry has the error, attempts and decisions", () =>
    Effect.gen(function* () {
      const { calls, effect } = yield* failing(...offline(9))
      const error = yield* Effect.flip(effect.pipe(Recovery.recover({ Offline: atOnce(2) })))
      assert.instanceOf(error, Recovery.RecoveryExhausted)
      assert.strictEqual(yield* calls, 3)
      assert.strictEqual(error.attempts, 3)
      assert.strictEqual(error.error.n, 3)
      assert.strictEqual(error.fault?.category, "unknown")
      assert.deepStrictEqual(error.decisions, [
        { strategy: "retry", decision: "Again" },
        { strategy: "retry", decision: "Again" },
        { strategy: "retry", decision: "GiveUp" }
      ])
      assert.strictEqual(error.message, `Gave up after 3 attempts: Offline { "n": 3 }`)
    })
  )

  it.effect("waits as the policy says", () =>
    Effect.gen(function* () {
      const { effect } = yield* failing(...offline(3))
      const recovered = effect.pipe(Recovery.recover({ Offline: Strategy.retry() }))
      const fiber = yield* Effect.fork(Effect.zipRight(recovered, Clock.currentTimeMillis))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Fiber.join(fiber), 7_000)
    })
  )

  it.effect("selects the strategy for each failure, and counts each tag separately", () =>
    Effect.gen(function* () {
      const { calls, effect } = yield* failing<Offline | NotFound>(
        new Offline({ n: 1 }),
        new NotFound({ path: "a" }),
        new Offline({ n: 2 }),
        new NotFound({ path: "b" }),
        new NotFound({ path: "c" })
      )
      const error = yield* Effect.flip(effect.pipe(Recovery.recover({ Offline: atOnce(2), NotFound: atOnce(2) })))
      assert.strictEqual(error.error._tag, "NotFound")
      assert.strictEqual(yield* calls, 5)
    })
  )

  it.effect("passes other tags, defects and interruption through", () =>
    Effect.gen(function* () {
      const handlers = { Offline: Strategy.skip("skipped") }
      const other: Effect.Effect<never, Offline | NotFound> = Effect.fail(new NotFound({ path: "a" }))
      assert.instanceOf(yield* Effect.flip(other.pipe(Recovery.recover(handlers))), NotFound)
      const defect: Effect.Effect<never, Offline> = Effect.die("bug")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(defect.pipe(Recovery.recover(handlers)))))
      const both: Effect.Effect<never, Offline> = Effect.failCause(
        Cause.parallel(Cause.fail(new Offline({ n: 1 })), Cause.die("bug"))
      )
      const exit = yield* Effect.exit(both.pipe(Recovery.recover(handlers)))
      assertFailed(exit, "die")
      const interrupted: Effect.Effect<never, Offline> = Effect.interrupt
      assert.isTrue(Exit.isInterrupted(yield* Effect.exit(interrupted.pipe(Recovery.recover(handlers)))))
    })
  )

  it.effect("abort is final: one call, the original error with its cause", () =>
    Effect.gen(function* () {
      const { calls, effect } = yield* failing(...offline(5))
      const error = yield* Effect.flip(
        effect.pipe(Recovery.recover({ Offline: Strategy.sequence(Strategy.abort, Strategy.skip(0)) }))
      )
      assert.instanceOf(error, Offline)
      assert.strictEqual(yield* calls, 1)
    })
  )

  it.effect("a sequence continues when a strategy is exhausted or its alternate fails", () =>
    Effect.gen(function* () {
      const { calls, effect } = yield* failing(...offline(99))
      const seen: Array<string> = []
      const way = (name: string) =>
        Strategy.alternate((error: Offline) => {
          seen.push(`${name} after ${error.n}`)
          return Effect.fail(new NotFound({ path: name }))
        })
      const result = yield* effect.pipe(
        Recovery.recover({
          Offline: Strategy.sequence(atOnce(2), way("mirror"), way("cache"), atOnce(1), Strategy.skip("nothing"))
        })
      )
      assert.strictEqual(result, "nothing")
      assert.deepStrictEqual(seen, ["mirror after 3", "cache after 3"])
      assert.strictEqual(yield* calls, 4)
    })
  )

  it.effect("the failure of the last alternate surfaces unchanged", () =>
    Effect.gen(function* () {
      const { effect } = yield* failing(...offline(9))
      const way = Strategy.alternate(() => Effect.fail(new NotFound({ path: "mirror" })))
      const error = yield* Effect.flip(effect.pipe(Recovery.recover({ Offline: Strategy.sequence(atOnce(1), way) })))
      assert.instanceOf(error, NotFound)
    })
  )

  it.effect("every recovery is bounded", () =>
    Effect.gen(function* () {
      const { calls, effect } = yield* failing(...offline(100_000))
      const stubborn = Strategy.make("stubborn", (_: Strategy.Failure<Offline>) => Decision.again())
      const byCount = yield* Effect.flip(effect.pipe(Recovery.recover({ Offline: stubborn })))
      assert.instanceOf(byCount, Recovery.RecoveryExhausted)
      assert.strictEqual(yield* calls, 1_001)
      const slow = Strategy.make("slow", (_: Strategy.Failure<Offline>) => Decision.again("1 second"))
      const fiber = yield* Effect.fork(
        Effect.flip(effect.pipe(Recovery.recover({ Offline: slow }, { maxElapsed: "10 seconds" })))
      )
      yield* TestClock.adjust("1 minute")
      assert.instanceOf(yield* Fiber.join(fiber), Recovery.RecoveryExhausted)
      assert.strictEqual(yield* calls, 1_001 + 11)
    })
  )

  it.effect("bounds stop a loop, not a decision that ends it", () =>
    Effect.gen(function* () {
      const { effect } = yield* failing(...offline(99))
      const forever = Strategy.retry(RetryPolicy.fixed({ maxRetries: Number.POSITIVE_INFINITY, delay: 0 }))
      const bounded = effect.pipe(
        Recovery.recover({ Offline: Strategy.sequence(forever, Strategy.skip("enough")) }, { maxDecisions: 5 })
      )
      assert.strictEqual(yield* bounded, "enough")
      const { calls, effect: other } = yield* failing(...offline(99))
      const none = other.pipe(Recovery.recover({ Offline: forever }, { maxDecisions: 0 }))
      assert.instanceOf(yield* Effect.flip(none), Recovery.RecoveryExhausted)
      assert.strictEqual(yield* calls, 1)
    })
  )

  it("refuses invalid or missing bounds by name", () => {
    const build = (options: Recovery.Options) => () => Recovery.recover(Effect.void, {}, options)
    for (const maxDecisions of [Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY]) {
      assert.throws(build({ maxDecisions }), `"maxDecisions"`)
    }
    for (const maxElapsed of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      assert.throws(build({ maxElapsed }), `"maxElapsed"`)
    }
  })

  it.effect("a nested sequence runs its own strategies first, and its abort is final", () =>
    Effect.gen(function* () {
      const { effect } = yield* failing(...offline(99))
      const broken = Strategy.alternate(() => Effect.fail(new NotFound({ path: "mirror" })))
      const nested = <A, E>(last: Strategy.Strategy<unknown, A, E>) =>
        Strategy.sequence(Strategy.sequence(broken, last), Strategy.skip("outer"))
      assert.strictEqual(yield* effect.pipe(Recovery.recover({ Offline: nested(Strategy.skip("inner")) })), "inner")
      const aborted = effect.pipe(Recovery.recover({ Offline: nested(Strategy.abort) }))
      assert.instanceOf(yield* Effect.flip(aborted), Offline)
    })
  )

  it.effect("a failure beside a defect surfaces as a defect", () =>
    Effect.gen(function* () {
      const self: Effect.Effect<never, Offline> = Effect.ensuring(Effect.fail(new Offline({ n: 1 })), Effect.die("bug"))
      const exit = yield* Effect.exit(self.pipe(Recovery.recover({ Offline: Strategy.skip(1) })))
      assertFailed(exit, "die")
      assert.include(causeOf(exit), "Offline")
    })
  )

  it.effect("a slow observer does not extend the backoff", () =>
    Effect.gen(function* () {
      const { effect } = yield* failing(...offline(1))
      const slow = Events.layer(({ _tag }) => (_tag === "Decided" ? Effect.sleep("600 millis") : Effect.void))
      const recovered = effect.pipe(Recovery.recover({ Offline: Strategy.retry() }), Effect.provide(slow))
      const fiber = yield* Effect.fork(Effect.zipRight(recovered, Clock.currentTimeMillis))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Fiber.join(fiber), 1_000)
    })
  )

  it.effect("each concurrent run of a recovered effect has its own retries", () =>
    Effect.gen(function* () {
      const strategy = atOnce(2)
      const run = Effect.gen(function* () {
        const { effect } = yield* failing(...offline(2))
        const slow = Effect.zipRight(Effect.yieldNow(), effect)
        return yield* slow.pipe(Recovery.recover({ Offline: strategy }))
      })
      const results = yield* Effect.all(
        Array.from({ length: 50 }, () => run),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(new Set(results), new Set([3]))
    })
  )

  it.effect("interruption during a backoff ends it at once", () =>
    Effect.gen(function* () {
      const { calls, effect } = yield* failing(...offline(9))
      const fiber = yield* Effect.fork(effect.pipe(Recovery.recover({ Offline: Strategy.retry() })))
      yield* TestClock.adjust("500 millis")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* calls, 1)
    })
  )

  it.effect("an observer receives every decision, and its failure changes nothing", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const { effect } = yield* failing(...offline(2))
      const observer = Events.layer((event) => {
        if (event._tag === "Decided") {
          seen.push(`${event.source.recovery} ${event.attempt} ${event.strategy} ${event.decision}`)
        }
        return seen.length === 1 ? Effect.die("observer bug") : Effect.void
      })
      const program = effect.pipe(
        Recovery.recover({ Offline: atOnce(2) }, { name: "download" }),
        Effect.provide(observer)
      )
      assert.strictEqual(yield* program, 3)
      assert.deepStrictEqual(seen, ["download 1 retry Again", "download 2 retry Again"])
    })
  )

  it.effect("a defect of a strategy surfaces as a defect", () =>
    Effect.gen(function* () {
      const { effect } = yield* failing(...offline(2))
      const broken = Strategy.make("broken", (_: Strategy.Failure<Offline>): Decision.Again => {
        throw new Error("strategy bug")
      })
      const exit = yield* Effect.exit(effect.pipe(Recovery.recover({ Offline: broken })))
      assertFailed(exit, "die")
    })
  )
})

describe("Recovery.attemptTimeout", () => {
  it.effect("interrupts the work, and its error has the timeout", () =>
    Effect.gen(function* () {
      const stopped = yield* Ref.make(false)
      const work = Effect.onInterrupt(Effect.never, () => Ref.set(stopped, true))
      const fiber = yield* Effect.fork(Effect.flip(work.pipe(Recovery.attemptTimeout("5 seconds"))))
      yield* TestClock.adjust("5 seconds")
      const error = yield* Fiber.join(fiber)
      assert.instanceOf(error, Recovery.AttemptTimeout)
      assert.include(error.message, "5s")
      assert.isTrue(yield* Ref.get(stopped))
    })
  )

  it.effect("applies to each attempt when it is inside the retry", () =>
    Effect.gen(function* () {
      const program = Effect.never.pipe(
        Recovery.attemptTimeout("5 seconds"),
        Recovery.recover({ AttemptTimeout: Strategy.retry(RetryPolicy.fixed({ maxRetries: 2 })) })
      )
      const fiber = yield* Effect.fork(Effect.flip(program))
      yield* TestClock.adjust("16 seconds")
      assert.isNull(fiber.unsafePoll())
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber)).attempts, 3)
    })
  )
})

describe("RecoveryExhausted.schema", () => {
  it.effect("decodes to its class with the original error", () =>
    Effect.gen(function* () {
      class Down extends Schema.TaggedError<Down>()("Down", { since: Schema.Number }) {}
      const schema = Recovery.RecoveryExhausted.schema(Down)
      const decisions = [{ strategy: "retry", decision: "Again" }]
      const encoded = yield* Schema.encode(schema)(
        new Recovery.RecoveryExhausted<Down>({ error: new Down({ since: 5 }), attempts: 2, decisions })
      )
      const decoded = yield* Schema.decodeUnknown(schema)(JSON.parse(JSON.stringify(encoded)))
      assert.instanceOf(decoded, Recovery.RecoveryExhausted)
      assert.instanceOf(decoded.error, Down)
      assert.deepStrictEqual(decoded.decisions, decisions)
    })
  )
})

describe("RecoveryExhausted", () => {
  it.effect("is not transient, even if its fault is unknown", () =>
    Effect.gen(function* () {
      const error = new Recovery.RecoveryExhausted({
        error: new Error("connection refused"),
        attempts: 3,
        decisions: []
      })
      assert.isFalse((yield* Fault.classify(error)).transient)
      const { calls, effect } = alwaysFailing(error)
      const resilient = yield* Recovery.recoverable({ name: "twice" })
      yield* toTheEnd(resilient(effect))
      assert.strictEqual(calls.length, 1)
    })
  )

  it("has the error it gave up on as its cause", () => {
    const error = new Error("down")
    assert.strictEqual(new Recovery.RecoveryExhausted({ error, attempts: 1, decisions: [] }).cause, error)
  })

  it("has a message at any depth of nesting", () => {
    let error: Recovery.RecoveryExhausted<unknown> | Error = new Error("down")
    for (let i = 0; i < 30; i++) error = new Recovery.RecoveryExhausted({ error, attempts: 1, decisions: [] })
    assert.include(error.message, "down")
  })
})
