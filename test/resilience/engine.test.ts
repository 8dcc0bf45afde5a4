import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import {
  BreakerChanges,
  CircuitBreaker,
  Decision,
  Events,
  Fault,
  Recovery,
  RetryBudget,
  RetryPolicy,
  Strategy
} from "effect-recovery"
import { recoverFrom } from "../../src/resilience/internal/kernel/recovery.js"
import { assertTagged } from "../support/assertions.js"
import { alwaysFailing, needingNothing, Offline, toTheEnd } from "../support/resilience.js"

describe("the strategies of a sequence", () => {
  const slowly = Strategy.alternate(() => Effect.delay(Effect.fail("no"), "10 seconds"))

  it.effect(
    "a later strategy waits from the moment its predecessor failed, and its time counts against maxElapsed",
    () =>
      Effect.gen(function* () {
        const retry = Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: "5 seconds" }))
        const one = alwaysFailing()
        yield* toTheEnd(one.effect.pipe(Recovery.recover({ Offline: Strategy.sequence(slowly, retry) })))
        assert.deepStrictEqual(one.seconds(), [0, 15])
        const other = alwaysFailing()
        const bounded = Recovery.recover({ Offline: Strategy.sequence(slowly, retry) }, { maxElapsed: "12 seconds" })
        yield* toTheEnd(other.effect.pipe(bounded))
        assert.strictEqual(other.calls.length, 1)
      })
  )

  it.effect("events name the strategy that decided", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const strategy = Strategy.sequence(Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 1 })), Strategy.abort)
      const watched = alwaysFailing().effect.pipe(
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

  it.effect("a strategy after a retry without budget waits from that moment", () =>
    Effect.gen(function* () {
      const budget = yield* RetryBudget.make({ name: "used-up", capacity: 1, ratio: 0, perSecond: 0 })
      const paid = Strategy.retry(RetryPolicy.fixed({ maxRetries: 9, delay: "10 seconds" }), { budget })
      const free = Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: "5 seconds" }))
      const { effect, seconds } = alwaysFailing()
      yield* toTheEnd(effect.pipe(Recovery.recover({ Offline: Strategy.sequence(paid, free) })))
      assert.deepStrictEqual(seconds(), [0, 10, 25])
    })
  )

  it.effect("strategies that refer to themselves end", () =>
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
        const exit = yield* toTheEnd(alwaysFailing().effect.pipe(Recovery.recover({ Offline: strategy }, options)))
        assert.instanceOf(yield* Effect.flip(exit), Recovery.RecoveryExhausted)
        assert.isAtMost(asked, 200)
      }
    })
  )

  it.effect("own rules apply to every strategy of the sequence", () =>
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
      const { calls, effect } = alwaysFailing()
      yield* toTheEnd(resilient(effect))
      assert.strictEqual(calls.length, 3)
    })
  )
})

describe("a recovery resumed from recorded failures", () => {
  it.effect("uses the times of the recorded failures for the bounds of a later strategy", () =>
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
      const { calls, effect } = alwaysFailing()
      const exit = yield* toTheEnd(needingNothing(recoverFrom(4, () => effect, plan, { source: {}, past })))
      assert.instanceOf(yield* Effect.flip(exit), Recovery.RecoveryExhausted)
      assert.strictEqual(calls.length, 1)
    })
  )

  it.effect("takes the branch it took then if the retry budget was empty", () =>
    Effect.gen(function* () {
      const budget = yield* RetryBudget.make({ name: "replayed", capacity: 1, ratio: 0, perSecond: 0 })
      const paid = Strategy.retry(RetryPolicy.fixed({ maxRetries: 9, delay: 1 }), { budget })
      const free = Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: 1 }))
      const strategy = Strategy.sequence(paid, free)
      const plan = { find: () => ["*", strategy] as const, budgets: [budget] }
      const error = new Offline()
      // The attempt is recorded twice: the budget refused the first decision, the second one replaced it.
      const past = [1, 2, 2].map((attempt) => ({ error, attempt, at: 0 }))
      const { calls, effect } = alwaysFailing()
      yield* toTheEnd(needingNothing(recoverFrom(3, () => effect, plan, { source: {}, past })))
      assert.strictEqual(calls.length, 2)
    })
  )
})

describe("hooks and observers", () => {
  it.effect("an outcome hook that never ends can be interrupted", () =>
    Effect.gen(function* () {
      const hooks: Recovery.Hooks = { onOutcome: () => Effect.never }
      const fiber = yield* Effect.fork(
        alwaysFailing().effect.pipe(Recovery.recover({ Offline: Strategy.skip(1) }, { hooks }))
      )
      yield* Effect.repeatN(Effect.yieldNow(), 10)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
    })
  )

  it.effect("an outcome hook in an uninterruptible region is not made interruptible", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const hooks: Recovery.Hooks = { onOutcome: () => Effect.void }
      const save = alwaysFailing().effect.pipe(Recovery.recover({ Offline: Strategy.skip(1) }, { hooks }))
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

  it.effect("an observer that never ends can be interrupted", () =>
    Effect.gen(function* () {
      const never = Events.layer(({ _tag }) => (_tag === "RecoveryEnded" ? Effect.never : Effect.void))
      const recovered = alwaysFailing().effect.pipe(
        Recovery.recover({ Offline: Strategy.skip(1) }),
        Effect.provide(never)
      )
      const fiber = yield* Effect.fork(recovered)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
    })
  )

  it.scoped("a subscription to events or breaker changes can be read in pieces", () =>
    Effect.gen(function* () {
      const events = yield* Events.subscribe
      const breaker = yield* CircuitBreaker.make({ name: "pieces" })
      const changes = yield* BreakerChanges.subscribe(breaker)
      yield* breaker.isolate
      yield* breaker.reset
      for (const to of ["isolated", "closed"] as const) {
        const [event] = yield* Stream.runCollect(Stream.take(events, 1))
        assertTagged(event, "BreakerChanged")
        assert.strictEqual(event.change.to, to)
        const [change] = yield* Stream.runCollect(Stream.take(changes, 1))
        assert.strictEqual(change?.to, to)
      }
    }).pipe(Effect.provide(Events.layerHub))
  )

  it.effect("hooks may be methods of a class", () =>
    Effect.gen(function* () {
      class Log implements Recovery.Hooks {
        readonly lines: Array<string> = []
        onFault(failure: Strategy.Failure<unknown>) {
          return Effect.sync(() => this.lines.push(failure.fault.message))
        }
      }
      const hooks = new Log()
      yield* alwaysFailing(new Error("down")).effect.pipe(
        Recovery.recoverCategory({ otherwise: Strategy.skip(1) }, { hooks })
      )
      assert.deepStrictEqual(hooks.lines, ["down"])
    })
  )
})

describe("user code that throws", () => {
  it.effect("is logged, and the recovery continues", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make(
        ({ message }) => void logged.push(String(Array.isArray(message) ? message[0] : message))
      )
      const boom = () => {
        throw new Error("boom")
      }
      const { calls, effect } = alwaysFailing()
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
          `effect-recovery: the classification rule "mine" threw and was skipped`,
          "effect-recovery: the hook onFault failed; the recovery continues",
          "effect-recovery: a delay function threw; maxDelay is used"
        ])
      )
    })
  )
})
