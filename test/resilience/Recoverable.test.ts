import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Bulkhead, CircuitBreaker, Events, Fault, Recovery, RetryBudget, RetryPolicy, Strategy } from "effect-recovery"
import { expectTypeOf } from "vitest"
import { assertFailed, assertTagged } from "../support/assertions.js"
import { alwaysFailing, toTheEnd } from "../support/resilience.js"
import { metric } from "../support/watch.js"

class Offline extends Data.TaggedError("Offline")<{ readonly n: number }> {
  readonly [Fault.declared] = Fault.declare({ category: "network" })
}
class Denied extends Data.TaggedError("Denied")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "permission" })
}

/** Fails a number of times, then succeeds with the number of the call. Records the times of calls. */
const failing = <E>(times: number, error: (n: number) => E) => {
  const calls: Array<number> = []
  const effect = Effect.flatMap(Effect.clock, (clock) => {
    calls.push(clock.unsafeCurrentTimeMillis())
    return calls.length <= times ? Effect.fail(error(calls.length)) : Effect.succeed(calls.length)
  })
  return { calls, effect, waits: () => calls.slice(1).map((at, i) => at - (calls[i] ?? 0)) }
}

const offline = (n: number) => new Offline({ n })

describe("Recovery.recoverable", () => {
  it.effect("by default 4 attempts, after 1, 2 and 4 seconds, and then it is exhausted with the original error", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "default" })
      const { effect, waits } = failing(9, offline)
      const error = yield* Effect.flip(yield* toTheEnd(resilient(effect)))
      assert.deepStrictEqual(waits(), [1_000, 2_000, 4_000])
      assert.instanceOf(error, Recovery.RecoveryExhausted)
      assert.deepInclude(error, { attempts: 4, error: new Offline({ n: 4 }) })
    })
  )

  it.effect("returns the value of a successful retry", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "between" })
      assert.deepStrictEqual(yield* toTheEnd(resilient(failing(2, offline).effect)), Exit.succeed(3))
    })
  )

  it.effect("zero retries are one attempt; zero delays are no delay", () =>
    Effect.gen(function* () {
      const none = yield* Recovery.recoverable({ name: "none", retry: RetryPolicy.exponential({ maxRetries: 0 }) })
      const one = failing(9, offline)
      yield* toTheEnd(resilientFlip(none(one.effect)))
      assert.strictEqual(one.calls.length, 1)
      const atOnce = yield* Recovery.recoverable({ name: "at-once", retry: RetryPolicy.fixed({ delay: 0 }) })
      const four = failing(9, offline)
      yield* toTheEnd(resilientFlip(atOnce(four.effect)))
      assert.deepStrictEqual(four.waits(), [0, 0, 0])
    })
  )

  it.effect("surfaces a permanent failure unchanged and at once", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "denied" })
      const { calls, effect } = failing(9, () => new Denied())
      assert.deepStrictEqual(yield* toTheEnd(resilient(effect)), Exit.fail(new Denied()))
      assert.strictEqual(calls.length, 1)
    })
  )

  it.effect("retries an unclassified failure, unless a policy by category does not", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "unknown" })
      const plain = failing(9, () => "plain")
      yield* toTheEnd(resilientFlip(resilient(plain.effect)))
      assert.strictEqual(plain.calls.length, 4)
      const retry = RetryPolicy.byCategory({
        permission: RetryPolicy.fixed({ maxRetries: 1, delay: 5 }),
        unknown: RetryPolicy.none
      })
      const table = yield* Recovery.recoverable({ name: "table", retry })
      const denied = failing(9, () => new Denied())
      const error = yield* Effect.flip(yield* toTheEnd(table(denied.effect)))
      assert.deepStrictEqual(denied.waits(), [5])
      assert.strictEqual(error._tag, "RecoveryExhausted")
      const unknown = failing(9, () => "plain")
      yield* toTheEnd(resilientFlip(table(unknown.effect)))
      assert.strictEqual(unknown.calls.length, 1)
    })
  )

  it.effect("its own rules come before the current ones", () =>
    Effect.gen(function* () {
      const rules = [Fault.code("EACCES", { category: "unavailable" })]
      const resilient = yield* Recovery.recoverable({ name: "rules", rules })
      const refused = () => ({ code: "EACCES" })
      assert.deepStrictEqual(yield* toTheEnd(resilient(failing(2, refused).effect)), Exit.succeed(3))
      const throwing = Fault.when(
        "throws",
        () => {
          throw new Error("a rule that throws")
        },
        { category: "logic" }
      )
      const survives = yield* Recovery.recoverable({ name: "throwing", rules: [throwing] })
      assert.deepStrictEqual(yield* toTheEnd(survives(failing(1, offline).effect)), Exit.succeed(2))
    })
  )

  it.effect("each attempt has its own timeout, which is retried", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "slow", timeout: "1 second" })
      let calls = 0
      const slow = Effect.suspend(() => (++calls < 3 ? Effect.never : Effect.succeed("done")))
      assert.deepStrictEqual(yield* toTheEnd(resilient(slow)), Exit.succeed("done"))
      const error = yield* Effect.flip(yield* toTheEnd(resilient(Effect.never)))
      assertTagged(error, "RecoveryExhausted")
      assertTagged(error.error, "AttemptTimeout")
    })
  )

  it.effect("the breaker admits each attempt, and ends the retries when it opens", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({
        name: "broken",
        retry: RetryPolicy.fixed({ maxRetries: 9, delay: 1 }),
        breaker: { trip: CircuitBreaker.consecutive({ failures: 2 }) }
      })
      const { calls, effect } = failing(9, offline)
      const error = yield* Effect.flip(yield* toTheEnd(resilient(effect)))
      assert.strictEqual(calls.length, 2)
      assert.instanceOf(error, CircuitBreaker.CircuitOpen)
    })
  )

  it.effect("the default breaker is its own: 5 failures, 300 seconds", () =>
    Effect.gen(function* () {
      const one = yield* Recovery.recoverable({ name: "one", retry: RetryPolicy.fixed({ maxRetries: 9, delay: 1 }) })
      const other = yield* Recovery.recoverable({ name: "one" })
      const { calls, effect } = failing(100, offline)
      const fiber = yield* Effect.fork(Effect.flip(one(effect)))
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(calls.length, 5)
      assert.instanceOf(error, CircuitBreaker.CircuitOpen)
      assertTagged(error, "CircuitOpen")
      assert.isAbove(Duration.toSeconds(error.retryAfter), 290)
      assert.strictEqual((yield* one.breaker.snapshot).state, "open")
      assert.strictEqual((yield* other.breaker.snapshot).state, "closed")
    })
  )

  it.effect("breaker, bulkhead and budget may be shared", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({ name: "shared" })
      const bulkhead = yield* Bulkhead.make({ name: "shared", maxConcurrent: 1 })
      const budget = yield* RetryBudget.make({ name: "shared", capacity: 1, ratio: 0, perSecond: 0 })
      const options = { breaker, bulkhead, budget }
      const a = yield* Recovery.recoverable({ name: "a", ...options })
      const b = yield* Recovery.recoverable({ name: "b", ...options })
      const running = yield* Effect.fork(a(Effect.never))
      yield* Effect.yieldNow()
      assert.deepInclude(yield* Effect.flip(b(Effect.void)), { _tag: "BulkheadFull" })
      yield* Fiber.interrupt(running)
      const { calls, effect } = failing(9, offline)
      yield* toTheEnd(resilientFlip(a(effect)))
      yield* toTheEnd(resilientFlip(b(effect)))
      assert.strictEqual(calls.length, 3)
      yield* breaker.isolate
      assert.deepInclude(yield* Effect.flip(b(Effect.void)), { _tag: "CircuitOpen" })
    })
  )

  it.effect("the strategy decides after the last attempt, for any failure", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "strategy", strategy: Strategy.skip("stand-in") })
      const failures: ReadonlyArray<Effect.Effect<number, Offline | Denied>> = [
        failing(9, offline).effect,
        failing(9, () => new Denied()).effect
      ]
      for (const self of failures) {
        assert.deepStrictEqual(yield* toTheEnd(resilient(self)), Exit.succeed("stand-in"))
      }
      yield* resilient.breaker.isolate
      assert.deepStrictEqual(yield* toTheEnd(resilient(Effect.succeed(1))), Exit.succeed("stand-in"))
    })
  )

  it.effect("accepts sync and async functions that return, throw and reject", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "functions", retry: RetryPolicy.none })
      assert.strictEqual(yield* resilient.try(() => 1), 1)
      assert.strictEqual(yield* resilient.try(async () => 2), 2)
      const error = new Error("no")
      for (const work of [
        () => Promise.reject(error),
        () => {
          throw error
        }
      ]) {
        const failure = yield* Effect.flip(resilient.try(work))
        assertTagged(failure, "RecoveryExhausted")
        assertTagged(failure.error, "UnknownException", { error })
      }
      const refused = Object.assign(new Error("no"), { code: "EACCES" })
      const denied = yield* Effect.flip(resilient.try(() => Promise.reject(refused)))
      assert.strictEqual(denied._tag, "UnknownException")
      assert.strictEqual(denied.message, "no")
      // @ts-expect-error an effect would not be run
      assert.isTrue(Effect.isEffect(yield* resilient.try(() => Effect.succeed(1))))
      // Values that are also effects stay values.
      assert.deepStrictEqual(yield* resilient.try(() => Option.some(1)), Option.some(1))
      assert.deepStrictEqual(yield* resilient.try(async () => Exit.fail("no")), Exit.fail("no"))
    })
  )

  it.live("aborts the signal of a function on timeout and on interruption", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "signal", timeout: "5 millis", retry: RetryPolicy.none })
      const aborted: Array<string> = []
      const hang = (name: string) => (signal: AbortSignal) =>
        new Promise<never>(() => signal.addEventListener("abort", () => void aborted.push(name)))
      yield* Effect.flip(resilient.try(hang("timeout")))
      const patient = yield* Recovery.recoverable({ name: "signal" })
      const fiber = yield* Effect.fork(patient.try(hang("interrupt")))
      yield* Effect.yieldNow()
      yield* Effect.promise(() => Promise.resolve())
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(aborted, ["timeout", "interrupt"])
    })
  )

  it.effect("the order is bulkhead, retry, breaker, timeout from the outside", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({
        name: "order",
        timeout: "1 second",
        retry: RetryPolicy.fixed({ maxRetries: 3, delay: "1 second" }),
        breaker: { trip: CircuitBreaker.consecutive({ failures: 2 }) },
        bulkhead: { maxConcurrent: 1 }
      })
      const first = yield* Effect.fork(Effect.flip(resilient(Effect.never)))
      // The call keeps its place during the backoff, each attempt has a timeout, and timeouts count for the breaker.
      yield* TestClock.adjust("1500 millis")
      assert.deepInclude(yield* Effect.flip(resilient(Effect.void)), { _tag: "BulkheadFull" })
      yield* TestClock.adjust("1 hour")
      assert.deepInclude(yield* Fiber.join(first), { _tag: "CircuitOpen" })
      assert.deepStrictEqual(yield* resilient.bulkhead.snapshot, { running: 0, waiting: 0 })
    })
  )

  it("its type has exactly its errors", () => {
    const plain = Effect.map(Recovery.recoverable({ name: "a" }), (made) => made(Effect.fail(new Denied())))
    expectTypeOf<Effect.Effect.Error<Effect.Effect.Success<typeof plain>>>().toEqualTypeOf<
      Denied | CircuitBreaker.CircuitOpen | Recovery.RecoveryExhausted<Denied | CircuitBreaker.CircuitOpen>
    >()
    const bare = Effect.map(Recovery.recoverable({ name: "a", breaker: false, timeout: 5 }), (made) => {
      expectTypeOf(made.breaker).toEqualTypeOf<undefined>()
      return made(Effect.fail(new Denied()))
    })
    expectTypeOf<Effect.Effect.Error<Effect.Effect.Success<typeof bare>>>().toEqualTypeOf<
      Denied | Recovery.AttemptTimeout | Recovery.RecoveryExhausted<Denied | Recovery.AttemptTimeout>
    >()
    const skipping = Effect.map(
      Recovery.recoverable({ name: "a", strategy: Strategy.skip(1), bulkhead: { maxQueue: 1 } }),
      (made) => made.try(() => Promise.resolve("text"))
    )
    const maybe = (flag: boolean) =>
      Effect.map(
        Recovery.recoverable({ name: "a", breaker: flag ? {} : false, strategy: flag ? Strategy.skip(1) : undefined }),
        (made) => {
          expectTypeOf(made.breaker).toEqualTypeOf<CircuitBreaker.CircuitBreaker | undefined>()
          return Effect.fail(new Denied()).pipe(made)
        }
      )
    expectTypeOf<Effect.Effect.Success<ReturnType<typeof maybe>>>().toEqualTypeOf<
      Effect.Effect<
        number,
        Denied | CircuitBreaker.CircuitOpen | Recovery.RecoveryExhausted<Denied | CircuitBreaker.CircuitOpen>,
        never
      >
    >()
    const wide = (options: Recovery.RecoverableOptions) =>
      Effect.flatMap(Recovery.recoverable(options), (made) => made(Effect.succeed(1)))
    expectTypeOf<Effect.Effect.Error<ReturnType<typeof wide>>>().toEqualTypeOf<unknown>()
    expectTypeOf<Effect.Effect.Success<typeof skipping>>().toEqualTypeOf<
      Effect.Effect<string | number, Bulkhead.BulkheadFull, never>
    >()
  })

  it("an effect that cannot fail cannot be exhausted; an unknown option does not compile", () => {
    const safe = Effect.map(Recovery.recoverable({ name: "x", breaker: false }), (made) => made(Effect.succeed(1)))
    expectTypeOf<Effect.Effect.Success<typeof safe>>().toEqualTypeOf<Effect.Effect<number, never, never>>()
    expectTypeOf(Effect.succeed(1).pipe(Recovery.auto("x"))).toEqualTypeOf<Effect.Effect<number, never, never>>()
    // @ts-expect-error it is called timeout
    const misspelt = Recovery.recoverable({ name: "x", timeot: "1 second" })
    assert.isTrue(Effect.isEffect(misspelt))
  })

  it.effect("without its own policy it uses the current one", () =>
    Effect.gen(function* () {
      const once = RetryPolicy.layer(RetryPolicy.fixed({ maxRetries: 1, delay: 5 }))
      const resilient = yield* Recovery.recoverable({ name: "in-force" })
      const one = failing(9, offline)
      yield* toTheEnd(resilientFlip(resilient(one.effect)).pipe(Effect.provide(once)))
      const other = failing(9, offline)
      const recovered = other.effect.pipe(Recovery.recover({ Offline: Strategy.retry() }), Effect.provide(once))
      yield* toTheEnd(resilientFlip(recovered))
      assert.deepStrictEqual([one.waits(), other.waits()], [[5], [5]])
    })
  )

  it.effect("it may create its own budget", () =>
    Effect.gen(function* () {
      const budget = { capacity: 1, ratio: 0, perSecond: 0 }
      const resilient = yield* Recovery.recoverable({ name: "own-budget", budget })
      const { calls, effect } = failing(9, offline)
      yield* toTheEnd(resilientFlip(resilient(effect)))
      assert.strictEqual(calls.length, 2)
    })
  )

  it("invalid options are defects that name the option", () => {
    const build = (options: Partial<Recovery.RecoverableOptions>) => () =>
      Effect.runSync(Recovery.recoverable({ name: "x", ...options }))
    assert.throws(build({ timeout: 0 }), `"timeout"`)
    assert.throws(build({ timeout: Number.NaN }), `"timeout"`)
    assert.throws(build({ breaker: { probes: -1 } }), `"probes"`)
    assert.throws(build({ bulkhead: { maxQueue: -1 } }), `"maxQueue"`)
    assert.throws(build({ maxDecisions: Number.NaN }), `"maxDecisions"`)
    assert.throws(build({ maxElapsed: -1 }), `"maxElapsed"`)
  })
})

const resilientFlip = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.flip(self)

describe("watching a recovery", () => {
  it.effect("hooks receive the fault, the decisions and the outcome", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const note = (text: string) => Effect.sync(() => void seen.push(text))
      const hooks: Recovery.Hooks = {
        onFault: ({ attempt, fault }) => note(`fault ${attempt} ${fault.category}`),
        onDecision: (_, decision) => note(decision._tag),
        onOutcome: ({ attempts, elapsed, outcome }) => note(`${outcome} ${attempts} ${Duration.toMillis(elapsed)}`)
      }
      const retry = { Offline: Strategy.retry() }
      yield* toTheEnd(failing(1, offline).effect.pipe(Recovery.recover(retry, { hooks })))
      yield* toTheEnd(failing(9, offline).effect.pipe(Recovery.recover(retry, { hooks })))
      yield* toTheEnd(failing(9, offline).effect.pipe(Recovery.recover({ Offline: Strategy.abort }, { hooks })))
      yield* toTheEnd(
        Effect.succeed(1).pipe(
          Effect.tap(() => Effect.fail(offline(1)).pipe(Effect.ignore)),
          Recovery.recover({}, { hooks })
        )
      )
      const fiber = yield* Effect.fork(failing(9, offline).effect.pipe(Recovery.recover(retry, { hooks })))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(seen, [
        ...["fault 1 network", "Again", "recovered 2 1000"],
        ...["fault 1 network", "Again", "fault 2 network", "Again", "fault 3 network", "Again"],
        ...["fault 4 network", "GiveUp", "exhausted 4 7000"],
        ...["fault 1 network", "GiveUp", "failed 1 0"],
        ...["fault 1 network", "Again", "interrupted 1 0"]
      ])
    })
  )

  it.effect("a hook that fails, dies or throws changes nothing", () =>
    Effect.gen(function* () {
      const bad: ReadonlyArray<() => Effect.Effect<unknown, unknown>> = [
        () => Effect.fail("hook"),
        () => Effect.die("hook"),
        () => {
          throw new Error("hook")
        }
      ]
      for (const hook of bad) {
        const hooks = { onFault: hook, onDecision: hook, onOutcome: hook }
        const exit = yield* toTheEnd(
          failing(2, offline).effect.pipe(Recovery.recover({ Offline: Strategy.retry() }, { hooks }))
        )
        assert.deepStrictEqual(exit, Exit.succeed(3))
      }
    })
  )

  it.effect("events are a stream that starts when it is read", () =>
    Effect.gen(function* () {
      const events = yield* Effect.fork(Stream.runCollect(Stream.take(Recovery.events, 5)))
      yield* Effect.yieldNow()
      yield* toTheEnd(
        failing(1, offline).effect.pipe(Recovery.recover({ Offline: Strategy.retry() }, { name: "streamed" }))
      )
      yield* toTheEnd(failing(1, offline).effect.pipe(Recovery.recover({ Offline: Strategy.skip() })))
      const breaker = yield* CircuitBreaker.make({ name: "streamed" })
      yield* breaker.isolate
      const seen = Chunk.toReadonlyArray(yield* Fiber.join(events)).map((event) => event._tag)
      assert.deepStrictEqual(seen, ["Decided", "RecoveryEnded", "Decided", "RecoveryEnded", "BreakerChanged"])
    }).pipe(Effect.provide(Events.layerHub))
  )

  it.effect("metrics count faults, decisions and outcomes by the name of the recovery", () =>
    Effect.gen(function* () {
      const recovery = "metered"
      const run = (times: number) =>
        toTheEnd(
          failing(times, offline).effect.pipe(Recovery.recover({ Offline: Strategy.retry() }, { name: recovery }))
        )
      yield* run(2)
      yield* run(9)
      assert.strictEqual(yield* metric("faults", { recovery, category: "network" }), 6)
      assert.strictEqual(yield* metric("decisions", { recovery, strategy: "retry", decision: "Again" }), 5)
      assert.strictEqual(yield* metric("decisions", { recovery, strategy: "retry", decision: "GiveUp" }), 1)
      assert.strictEqual(yield* metric("recoveries", { recovery, outcome: "recovered" }), 1)
      assert.strictEqual(yield* metric("recoveries", { recovery, outcome: "exhausted" }), 1)
    })
  )

  it.effect("a traced recovery is a span with its decisions", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "traced" })
      const noted: Array<string> = []
      const inside = Effect.tap(Effect.currentSpan, (span) => {
        const event = span.event.bind(span)
        span.event = (name, time, attributes) => {
          noted.push(`${span.name}: ${name} ${String(attributes?.["decision"])} ${String(attributes?.["category"])}`)
          event(name, time, attributes)
        }
      })
      const { effect } = failing(1, offline)
      yield* toTheEnd(
        resilient(
          Effect.zipRight(
            Effect.when(inside, () => noted.length === 0),
            effect
          )
        ).pipe(Effect.withSpan("outer"))
      )
      assert.deepStrictEqual(noted, ["Recovery.traced: recovery.decision Again network"])
    })
  )
})

describe("Recovery.recoverCategory", () => {
  it.effect("recovers by category, without tags", () =>
    Effect.gen(function* () {
      const handlers = {
        network: Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 5 })),
        "not-found": Strategy.skip("nothing")
      }
      const reset = failing(1, () => ({ code: "ECONNRESET" }))
      assert.deepStrictEqual(yield* toTheEnd(reset.effect.pipe(Recovery.recoverCategory(handlers))), Exit.succeed(2))
      const missing = failing(9, () => ({ status: 404 }))
      assert.deepStrictEqual(
        yield* toTheEnd(missing.effect.pipe(Recovery.recoverCategory(handlers))),
        Exit.succeed("nothing")
      )
      const other = failing(9, () => "plain")
      assert.deepStrictEqual(yield* toTheEnd(other.effect.pipe(Recovery.recoverCategory(handlers))), Exit.fail("plain"))
      const caught = other.effect.pipe(Recovery.recoverCategory({ ...handlers, otherwise: Strategy.skip("anything") }))
      assert.deepStrictEqual(yield* toTheEnd(caught), Exit.succeed("anything"))
    })
  )

  it.effect("defects and interruption pass through", () =>
    Effect.gen(function* () {
      const all = Recovery.recoverCategory({ otherwise: Strategy.skip(1) })
      assert.deepStrictEqual(yield* Effect.exit(Effect.die("bug").pipe(all)), Exit.die("bug"))
      const exit = yield* Effect.exit(Effect.interrupt.pipe(all))
      assertFailed(exit, "interrupt")
    })
  )

  it("the error stays in the type, unless there is an otherwise", () => {
    const self: Effect.Effect<string, Denied> = Effect.fail(new Denied())
    const some = self.pipe(Recovery.recoverCategory({ network: Strategy.retry(), validation: Strategy.skip(1) }))
    expectTypeOf(some).toEqualTypeOf<
      Effect.Effect<string | number, Denied | Recovery.RecoveryExhausted<Denied>, never>
    >()
    const all = self.pipe(Recovery.recoverCategory({ network: Strategy.retry(), otherwise: Strategy.skip(1) }))
    expectTypeOf(all).toEqualTypeOf<Effect.Effect<string | number, Recovery.RecoveryExhausted<Denied>, never>>()
  })
})

describe("the rules of a recoverable", () => {
  it.effect("apply to its policy, its waits and its breaker", () =>
    Effect.gen(function* () {
      const resilient = (declaration: Fault.Declaration, retry = RetryPolicy.exponential()) =>
        Recovery.recoverable({ name: "ruled", rules: [Fault.tag("Offline", declaration)], retry })
      const refused = alwaysFailing()
      yield* toTheEnd((yield* resilient({ category: "validation" }, RetryPolicy.byCategory()))(refused.effect))
      assert.strictEqual(refused.calls.length, 1)
      const limited = alwaysFailing()
      yield* toTheEnd((yield* resilient({ category: "rate-limit", retryAfter: "20 seconds" }))(limited.effect))
      assert.deepStrictEqual(
        limited.calls.slice(1).map((at, i) => at - (limited.calls[i] ?? 0)),
        [20_000, 20_000, 20_000]
      )
      const network = yield* resilient({ category: "network" }, RetryPolicy.none)
      for (let i = 0; i < 5; i++) yield* Effect.exit(network(alwaysFailing().effect))
      assert.strictEqual((yield* network.breaker.snapshot).state, "open")
    })
  )

  it.effect("let a non-transient failure after a retry surface as it is", () =>
    Effect.gen(function* () {
      const resilient = yield* Recovery.recoverable({ name: "mixed", retry: RetryPolicy.byCategory() })
      let calls = 0
      const mixed = Effect.suspend(() => Effect.fail(++calls === 1 ? { code: "ECONNRESET" } : { status: 400 }))
      assert.deepStrictEqual(yield* toTheEnd(resilient(mixed)), Exit.fail({ status: 400 }))
    })
  )
})
