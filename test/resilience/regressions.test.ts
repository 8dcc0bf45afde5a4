/** One test for each bug that was found by looking, and might come back by not looking. */
import { assert, describe, it } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { CircuitBreaker, Decision, Events, Fault, Recovery, RetryBudget, RetryPolicy, Strategy } from "effect-recovery"
import { expectTypeOf } from "vitest"
import { recoverFrom } from "../../src/resilience/internal/kernel/recovery.js"

class Offline extends Data.TaggedError("Offline")<{}> {}

const failing = (error: unknown = new Offline()) => {
  const calls: Array<number> = []
  const effect = Effect.flatMap(Effect.clock, (clock) => {
    calls.push(clock.unsafeCurrentTimeMillis())
    return Effect.fail(error)
  })
  return { calls, effect: effect as Effect.Effect<never, Offline>, seconds: () => calls.map((at) => at / 1_000) }
}

const toTheEnd = <A, E>(self: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(self)
    yield* TestClock.adjust("1 day")
    return yield* Fiber.await(fiber)
  })

/** The engine works on unknown; the work of these tests needs nothing. */
const needingNothing = (self: Effect.Effect<unknown, unknown, unknown>) => self as Effect.Effect<unknown, unknown>

const slowly = Strategy.alternate(() => Effect.delay(Effect.fail("no"), "10 seconds"))

describe("the engine", () => {
  it.effect("a way after another waits from when that one failed, and its time counts for the bounds", () =>
    Effect.gen(function* () {
      const retry = Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: "5 seconds" }))
      const one = failing()
      yield* toTheEnd(one.effect.pipe(Recovery.recover({ Offline: Strategy.sequence(slowly, retry) })))
      assert.deepStrictEqual(one.seconds(), [0, 15])
      const other = failing()
      const bounded = Recovery.recover({ Offline: Strategy.sequence(slowly, retry) }, { maxElapsed: "12 seconds" })
      yield* toTheEnd(other.effect.pipe(bounded))
      assert.strictEqual(other.calls.length, 1)
    })
  )

  it.effect("of a sequence it is known who has decided", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const strategy = Strategy.sequence(Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 1 })), Strategy.abort)
      const watched = failing().effect.pipe(
        Recovery.recover({ Offline: strategy }),
        Effect.provide(
          Events.layer((event) =>
            Effect.sync(() => {
              if (event._tag === "Decided") seen.push(`${event.strategy} ${event.decision}`)
            })
          )
        )
      )
      yield* toTheEnd(watched)
      assert.deepStrictEqual(seen, ["retry Again", "abort GiveUp"])
    })
  )

  it.effect("a way after a retry that could not be paid waits from then on", () =>
    Effect.gen(function* () {
      const budget = yield* RetryBudget.make({ name: "used-up", capacity: 1, ratio: 0, perSecond: 0 })
      const paid = Strategy.retry(RetryPolicy.fixed({ maxRetries: 9, delay: "10 seconds" }), { budget })
      const free = Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: "5 seconds" }))
      const { effect, seconds } = failing()
      yield* toTheEnd(effect.pipe(Recovery.recover({ Offline: Strategy.sequence(paid, free) })))
      assert.deepStrictEqual(seconds(), [0, 10, 25])
    })
  )

  it.effect("ways that lead to themselves come to an end", () =>
    Effect.gen(function* () {
      let asked = 0
      const ask = <A>(decision: A) => {
        asked++
        return Effect.succeed(decision)
      }
      const again: Decision.Again = {
        ...Decision.again("1 hour"),
        otherwise: Effect.suspend(() => ask(again))
      }
      const instead: Decision.Instead<never, string, never> = {
        _tag: "Instead",
        effect: Effect.fail("no"),
        otherwise: Effect.suspend(() => ask(instead))
      }
      for (const decision of [again, instead]) {
        asked = 0
        const strategy = Strategy.make("circle", (): Decision.Decision<never, string> => decision)
        const options: Recovery.Options = { maxDecisions: 5, maxElapsed: "1 second" }
        const exit = yield* toTheEnd(failing().effect.pipe(Recovery.recover({ Offline: strategy }, options)))
        assert.instanceOf(yield* Effect.flip(exit), Recovery.RecoveryExhausted)
        assert.isAtMost(asked, 200)
      }
    })
  )

  it("a delay that is no number is not a hot loop", () => {
    for (const delay of [Number.NaN, Number.POSITIVE_INFINITY, -5n, Duration.infinity]) {
      const millis = Duration.toMillis(Decision.again(delay).delay)
      assert.strictEqual(millis, delay === -5n ? 0 : 60_000)
    }
    assert.throws(() => RetryPolicy.fixed({ delay: -5n }), `"delay"`)
    assert.throws(() => RetryPolicy.exponential({ initialDelay: [Number.NaN, 0] }), `"initialDelay"`)
  })

  it.effect("an outcome hook that never ends holds nobody who stops waiting", () =>
    Effect.gen(function* () {
      const hooks: Recovery.Hooks = { onOutcome: () => Effect.never }
      const fiber = yield* Effect.fork(
        failing().effect.pipe(Recovery.recover({ Offline: Strategy.skip(1) }, { hooks }))
      )
      yield* Effect.repeatN(Effect.yieldNow(), 10)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
    })
  )

  it.effect("nor does it open a region that cannot be interrupted", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const hooks: Recovery.Hooks = { onOutcome: () => Effect.void }
      const save = failing().effect.pipe(Recovery.recover({ Offline: Strategy.skip(1) }, { hooks }))
      const closing = Effect.zipRight(
        save,
        Effect.sync(() => seen.push("closed"))
      )
      const fiber = yield* Effect.fork(Effect.ensuring(Effect.never, closing))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(seen, ["closed"])
    })
  )

  it.effect("an observer that never ends holds nobody either", () =>
    Effect.gen(function* () {
      const never = Events.layer(({ _tag }) => (_tag === "RecoveryEnded" ? Effect.never : Effect.void))
      const recovered = failing().effect.pipe(Recovery.recover({ Offline: Strategy.skip(1) }), Effect.provide(never))
      const fiber = yield* Effect.fork(recovered)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
    })
  )

  it.effect("own rules hold for the ways after the first", () =>
    Effect.gen(function* () {
      const byKind = Strategy.retry(
        RetryPolicy.byCategory({ mine: RetryPolicy.fixed({ maxRetries: 2, delay: 1 }), unknown: RetryPolicy.none })
      )
      const resilient = yield* Recovery.recoverable({
        name: "ways",
        breaker: false,
        retry: RetryPolicy.none,
        rules: [Fault.tag("Offline", { category: "mine", transient: true })],
        strategy: Strategy.sequence(
          Strategy.alternate(() => Effect.fail("no")),
          byKind
        )
      })
      const { calls, effect } = failing()
      yield* toTheEnd(resilient(effect))
      assert.strictEqual(calls.length, 3)
    })
  )

  it.effect("a way after the first is led again by the time it was asked then", () =>
    Effect.gen(function* () {
      const bounded = Strategy.retry(RetryPolicy.fixed({ maxRetries: 100, delay: 30, maxElapsed: 200, jitter: "full" }))
      const strategy = Strategy.sequence(Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 10 })), bounded)
      const plan = { find: () => ["*", strategy] as const, budgets: [] }
      const error = new Offline()
      const past = [
        { error, attempt: 1, at: 0 },
        { error, attempt: 2, at: 10 },
        { error, attempt: 3, at: 40 }
      ]
      yield* TestClock.adjust("1 hour")
      const { calls, effect } = failing()
      const exit = yield* toTheEnd(needingNothing(recoverFrom(4, () => effect, plan, { source: {}, past })))
      assert.instanceOf(yield* Effect.flip(exit), Recovery.RecoveryExhausted)
      assert.strictEqual(calls.length, 1)
    })
  )

  it.scoped("a subscription may be read piece by piece", () =>
    Effect.gen(function* () {
      const events = yield* Events.subscribe
      const breaker = yield* CircuitBreaker.make({ name: "pieces" })
      const changes = yield* breaker.subscribe
      yield* breaker.isolate
      yield* breaker.reset
      for (const to of ["isolated", "closed"] as const) {
        const [event] = yield* Stream.runCollect(Stream.take(events, 1))
        assert.isTrue(event?._tag === "BreakerChanged" && event.change.to === to)
        const [change] = yield* Stream.runCollect(Stream.take(changes, 1))
        assert.strictEqual(change?.to, to)
      }
    }).pipe(Effect.provide(Events.layerHub))
  )

  it.effect("hooks may be methods", () =>
    Effect.gen(function* () {
      class Log implements Recovery.Hooks {
        readonly lines: Array<string> = []
        onFault(failure: Strategy.Failure<unknown>) {
          return Effect.sync(() => this.lines.push(failure.fault.message))
        }
      }
      const hooks = new Log()
      yield* failing(new Error("down")).effect.pipe(
        Recovery.recoverCategory({ otherwise: Strategy.skip(1) }, { hooks })
      )
      assert.deepStrictEqual(hooks.lines, ["down"])
    })
  )

  it.effect("a failure from before that could not be paid for leads to the way it led to then", () =>
    Effect.gen(function* () {
      const budget = yield* RetryBudget.make({ name: "replayed", capacity: 1, ratio: 0, perSecond: 0 })
      const paid = Strategy.retry(RetryPolicy.fixed({ maxRetries: 9, delay: 1 }), { budget })
      const free = Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: 1 }))
      const strategy = Strategy.sequence(paid, free)
      const plan = { find: () => ["*", strategy] as const, budgets: [budget] }
      const error = new Offline()
      // Twice the same attempt: the first answer was not paid for, the second was given in its place.
      const past = [1, 2, 2].map((attempt) => ({ error, attempt, at: 0 }))
      const { calls, effect } = failing()
      yield* toTheEnd(needingNothing(recoverFrom(3, () => effect, plan, { source: {}, past })))
      assert.strictEqual(calls.length, 2)
    })
  )
})

describe("budgets", () => {
  it.effect("a call earns once, and not again when it is resumed", () =>
    Effect.gen(function* () {
      const budget = yield* RetryBudget.make({ name: "once", capacity: 10, ratio: 0.25, perSecond: 0 })
      const policy = RetryPolicy.fixed({ maxRetries: 10, delay: 0 })
      yield* toTheEnd(failing().effect.pipe(RetryPolicy.retry(policy, { budget })))
      const strategy = Strategy.retry(policy, { budget })
      const resilient = yield* Recovery.recoverable({ name: "once", budget, strategy })
      yield* resilient(Effect.void)
      assert.strictEqual((yield* budget.snapshot).tokens, 0.25)
      const plan = { find: () => ["*", strategy] as const, budgets: [budget] }
      yield* needingNothing(recoverFrom(3, () => Effect.void, plan, { source: {} }))
      assert.strictEqual((yield* budget.snapshot).tokens, 0.25)
    })
  )

  it.effect("ten tenths are one token", () =>
    Effect.gen(function* () {
      const budget = yield* RetryBudget.make({ name: "tenths", capacity: 1, ratio: 0.1, perSecond: 0 })
      const once = RetryPolicy.fixed({ maxRetries: 1, delay: 0 })
      yield* Effect.exit(failing().effect.pipe(RetryPolicy.retry(once, { budget })))
      yield* Effect.repeatN(Effect.void.pipe(RetryPolicy.retry(once, { budget })), 8)
      const { calls, effect } = failing()
      yield* toTheEnd(effect.pipe(RetryPolicy.retry(once, { budget })))
      assert.strictEqual(calls.length, 2)
      assert.isAtLeast((yield* budget.snapshot).tokens, 0)
    })
  )
})

describe("recoverable's own rules", () => {
  it.effect("hold for its policy, its waits and its breaker", () =>
    Effect.gen(function* () {
      const resilient = (declaration: Fault.Declaration, retry = RetryPolicy.exponential()) =>
        Recovery.recoverable({ name: "ruled", rules: [Fault.tag("Offline", declaration)], retry })
      const refused = failing()
      yield* toTheEnd((yield* resilient({ category: "validation" }, RetryPolicy.byCategory()))(refused.effect))
      assert.strictEqual(refused.calls.length, 1)
      const limited = failing()
      yield* toTheEnd((yield* resilient({ category: "rate-limit", retryAfter: "20 seconds" }))(limited.effect))
      assert.deepStrictEqual(
        limited.calls.slice(1).map((at, i) => at - (limited.calls[i] ?? 0)),
        [20_000, 20_000, 20_000]
      )
      const network = yield* resilient({ category: "network" }, RetryPolicy.none)
      for (let i = 0; i < 5; i++) yield* Effect.exit(network(failing().effect))
      assert.strictEqual((yield* network.breaker.snapshot).state, "open")
    })
  )

  it.effect("what is refused after a retry of something else surfaces as it is", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "mixed", retry: RetryPolicy.byCategory() })
      let calls = 0
      const mixed = Effect.suspend(() => Effect.fail(++calls === 1 ? { code: "ECONNRESET" } : { status: 400 }))
      assert.deepStrictEqual(yield* toTheEnd(resilient(mixed)), Exit.fail({ status: 400 }))
    })
  )
})

describe("an exhausted recovery", () => {
  it.effect("is never worth repeating, also when its fault is not known any more", () =>
    Effect.gen(function* () {
      const error = new Recovery.RecoveryExhausted({
        error: new Error("connection refused"),
        attempts: 3,
        decisions: []
      })
      assert.isFalse((yield* Fault.classify(error)).transient)
      const { calls, effect } = failing(error)
      const resilient = yield* Recovery.recoverable({ name: "twice" })
      yield* toTheEnd(resilient(effect))
      assert.strictEqual(calls.length, 1)
    })
  )

  it("has what it gave up on as its cause", () => {
    const error = new Error("down")
    assert.strictEqual(new Recovery.RecoveryExhausted({ error, attempts: 1, decisions: [] }).cause, error)
  })

  it("has a message, however deep it is", () => {
    let error: Recovery.RecoveryExhausted<unknown> | Error = new Error("down")
    for (let i = 0; i < 30; i++) error = new Recovery.RecoveryExhausted({ error, attempts: 1, decisions: [] })
    assert.include(error.message, "down")
  })
})

describe("classification", () => {
  it.effect("tells apart what was wrapped by Effect.tryPromise", () =>
    Effect.gen(function* () {
      const faultOf = (message: string) =>
        Effect.flatMap(Effect.flip(Effect.tryPromise(() => Promise.reject(new Error(message)))), Fault.classify)
      const [one, other] = [yield* faultOf("parse failed"), yield* faultOf("totally different")]
      assert.strictEqual(one.message, "parse failed")
      assert.notStrictEqual(one.fingerprint, other.fingerprint)
    })
  )

  it.effect("survives errors that are no list, and a length that is none", () =>
    Effect.gen(function* () {
      const { proxy, revoke } = Proxy.revocable([], {})
      revoke()
      const get = () => {
        throw new Error("no")
      }
      for (const errors of [proxy, new Proxy([], { get })]) {
        assert.strictEqual((yield* Fault.classify({ errors })).category, "unknown")
      }
      const retryAfter = { [Symbol.for("effect/Duration")]: 1 }
      const { calls, effect } = failing({ retryAfter })
      yield* toTheEnd(effect.pipe(RetryPolicy.retry(RetryPolicy.fixed({ maxRetries: 1 }))))
      assert.strictEqual(calls.length, 2)
    })
  )

  it("of one long word takes no time", () => {
    const message = "a".repeat(2_000)
    const start = performance.now()
    for (let i = 0; i < 100; i++) Effect.runSync(Fault.classify(new Error(message)))
    assert.isBelow(performance.now() - start, 200)
  })
})

describe("what users hand in and is broken", () => {
  it.effect("is on record, and the recovery goes on", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make(
        ({ message }) => void logged.push(String(Array.isArray(message) ? message[0] : message))
      )
      const boom = () => {
        throw new Error("boom")
      }
      const { calls, effect } = failing()
      const policy = RetryPolicy.custom(boom, { maxRetries: 1, maxDelay: "3 seconds", honourRetryAfter: false })
      const hooks: Recovery.Hooks = { onFault: boom }
      const program = effect.pipe(
        Recovery.recoverCategory({ otherwise: Strategy.retry(policy) }, { hooks }),
        Effect.provide([
          Fault.layer(Fault.when("mine", boom, { category: "logic" })),
          Logger.replace(Logger.defaultLogger, logger)
        ])
      )
      yield* toTheEnd(program)
      assert.deepStrictEqual(calls.slice(1), [(calls[0] ?? 0) + 3_000])
      assert.deepStrictEqual(
        new Set(logged),
        new Set([
          `effect-recovery: the rule "mine" threw; it was passed over`,
          "effect-recovery: the hook onFault failed; the recovery continues",
          "effect-recovery: a delay function threw; the longest delay is taken"
        ])
      )
    })
  )
})

describe("types", () => {
  it("recover works inside of what is generic in its errors", () => {
    const guarded = <A, E, R>(self: Effect.Effect<A, E | Offline, R>) =>
      self.pipe(Recovery.recover({ Offline: Strategy.retry() }))
    assert.isTrue(Effect.isEffect(guarded(Effect.void)))
  })

  it("a sequence with a strategy nobody knows may fail with anything", () => {
    const unknown: Strategy.For<unknown> = Strategy.abort
    const program = Effect.fail("boom").pipe(
      Recovery.recoverCategory({ otherwise: Strategy.sequence(unknown, Strategy.skip(1)) })
    )
    expectTypeOf<Effect.Effect.Error<typeof program>>().toEqualTypeOf<unknown>()
  })

  it("a wide breaker option leaves the breaker in doubt", () => {
    const build = (breaker: CircuitBreaker.CircuitBreaker | false) =>
      Effect.map(Recovery.recoverable({ name: "x", breaker }), (made) => made.breaker)
    expectTypeOf<Effect.Effect.Success<ReturnType<typeof build>>>().toEqualTypeOf<
      CircuitBreaker.CircuitBreaker | undefined
    >()
  })
})
