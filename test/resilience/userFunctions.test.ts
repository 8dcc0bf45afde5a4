import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/TestClock"
import {
  CircuitBreaker,
  Events,
  Failover,
  Fault,
  Lock,
  Recovery,
  RetryPolicy,
  Storage,
  Strategy,
  Transaction
} from "effect-recovery"
import { turns } from "../support/time.js"

class Down extends Data.TaggedError("Down")<{}> {}

const bug = (): never => {
  throw new Error("bug")
}

/** Runs the effect, and requires that the throw of the user's function was logged. */
const withBug = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.suspend(() => {
    const logged: Array<string> = []
    const logger = Logger.make(({ cause, message }) => void logged.push(`${message} ${Cause.pretty(cause)}`))
    return Effect.exit(self).pipe(
      Effect.tap(turns(3)),
      Effect.tap(() => Effect.sync(() => assert.match(logged.join("\n"), /effect-recovery: .*bug/s))),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger))
    )
  })

const broken: CircuitBreaker.Trip = {
  description: { kind: "broken" },
  timed: true,
  open: () => ({ record: bug, isSlow: bug, window: bug, clear: bug, save: bug, load: bug })
}

describe("a function of the user that throws", () => {
  it.effect("a trip condition changes neither a value nor an error, and does not open the breaker", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({ name: "rates", trip: broken, counts: () => true })
      assert.deepStrictEqual(yield* withBug(CircuitBreaker.protect(Effect.succeed(1.08), breaker)), Exit.succeed(1.08))
      const failed = yield* withBug(CircuitBreaker.protect(Effect.fail(new Down()), breaker))
      assert.deepStrictEqual(failed, Exit.fail(new Down()))
      assert.strictEqual((yield* breaker.snapshot).state, "closed")
      yield* withBug(breaker.reset)
      yield* withBug(CircuitBreaker.make({ name: "rates", trip: broken, restore: yield* breaker.snapshot }))
    })
  )

  it.effect("counts of a breaker leaves the error, and the transient faults count", () =>
    Effect.gen(function* () {
      const trip = CircuitBreaker.consecutive({ failures: 1 })
      const breaker = yield* CircuitBreaker.make({ name: "rates", trip, counts: bug })
      const failed = yield* withBug(CircuitBreaker.protect(Effect.fail({ code: "ECONNREFUSED" }), breaker))
      assert.deepStrictEqual(failed, Exit.fail({ code: "ECONNREFUSED" }))
      assert.strictEqual((yield* breaker.snapshot).state, "open")
    })
  )

  it.effect("the open time of a breaker keeps the value of the call that opened it", () =>
    Effect.gen(function* () {
      let calls = 0
      const resetAfter = Schedule.delayed(Schedule.forever, () => (calls++ === 0 ? "1 second" : bug()))
      const trip = CircuitBreaker.slowCalls({ slowerThan: 1, minimum: 1 })
      const breaker = yield* CircuitBreaker.make({ name: "rates", trip, resetAfter })
      const slow = Effect.as(TestClock.adjust("5 millis"), 1.08)
      const exit = yield* withBug(CircuitBreaker.protect(slow, breaker))
      assert.deepStrictEqual(exit, Exit.succeed(1.08))
      assert.strictEqual((yield* breaker.snapshot).state, "open")
    })
  )

  const brokenSchedule = Schedule.whileInput(Schedule.recurs(3), bug)

  it.effect("a retry schedule ends the retries, and the error surfaces", () =>
    Effect.gen(function* () {
      const down = Effect.fail(new Down())
      assert.deepStrictEqual(yield* withBug(RetryPolicy.retry(down, brokenSchedule)), Exit.fail(new Down()))
      const recovered = yield* withBug(Recovery.recover(down, { Down: Strategy.retry(brokenSchedule) }))
      const exhausted = Option.getOrThrow(Option.flatMap(Exit.causeOption(recovered), Cause.failureOption))
      assert.strictEqual(exhausted._tag, "RecoveryExhausted")
      assert.deepStrictEqual(exhausted.error, new Down())
    })
  )

  it.effect("a strategy of one's own and an alternate keep the failure beside their own defect", () =>
    Effect.gen(function* () {
      const strategies = [
        Strategy.make("own", (_: Strategy.Failure<Down>) => bug()),
        Strategy.make("own", (_: Strategy.Failure<Down>) => Effect.sync(bug)),
        Strategy.alternate((_: Down): Effect.Effect<number> => bug())
      ]
      for (const Down_ of strategies) {
        const exit = yield* Effect.exit(Recovery.recover(Effect.fail(new Down()), { Down: Down_ }))
        const found = Option.getOrThrow(Option.map(Exit.causeOption(exit), (cause) => [...Cause.defects(cause)]))
        assert.deepStrictEqual(
          found.map((defect) => (defect instanceof Down ? "Down" : String(defect))),
          ["Error: bug", "Down"]
        )
      }
    })
  )

  it.effect("a ranking leaves the strategies in their written order", () =>
    Effect.gen(function* () {
      const strategy = Strategy.auto({ skip: Strategy.skip("skipped") })
      const recovered = Recovery.recover(Effect.fail(new Down()), { Down: strategy })
      const exit = yield* withBug(Effect.provideService(recovered, Strategy.Ranking, bug))
      assert.deepStrictEqual(exit, Exit.succeed("skipped"))
    })
  )

  it.effect("handles of a failover lets the failure surface", () =>
    Effect.gen(function* () {
      const ways = { a: () => Effect.fail(new Down()), b: () => Effect.succeed(1) }
      const call = yield* Failover.make({ name: "rates", ways, handles: bug })
      assert.deepStrictEqual(yield* withBug(call()), Exit.fail(new Down()))
    })
  )

  it.effect("a rule, a hook and an observer change nothing", () =>
    Effect.gen(function* () {
      const down = Effect.fail(new Down())
      const skipped = (options?: Recovery.Options) => Recovery.recover(down, { Down: Strategy.skip(1) }, options)
      const rules = Fault.layer({ name: "broken", match: bug })
      assert.deepStrictEqual(yield* withBug(Effect.provide(skipped(), rules)), Exit.succeed(1))
      for (const hook of ["onFault", "onDecision", "onOutcome"] as const) {
        assert.deepStrictEqual(yield* withBug(skipped({ hooks: { [hook]: bug } })), Exit.succeed(1))
      }
      assert.deepStrictEqual(yield* withBug(Effect.provide(skipped(), Events.layer(bug))), Exit.succeed(1))
    })
  )

  it.effect("rollbackWhen rolls back, and the error surfaces", () =>
    Effect.gen(function* () {
      const undone: Array<string> = []
      const undo = Transaction.withCompensation(() => Effect.sync(() => undone.push("undone")))
      const work = Effect.zipRight(undo(Effect.void), Effect.fail(new Down()))
      const exit = yield* withBug(Transaction.run(work, { rollbackWhen: bug }))
      assert.deepStrictEqual(exit, Exit.fail(new Down()))
      assert.deepStrictEqual(undone, ["undone"])
    })
  )

  it.effect("the release of a lock keeps the value of the work", () =>
    Effect.gen(function* () {
      const driver: Lock.Driver = {
        keyOf: (name) => Effect.succeed(Lock.format(name)),
        attempt: () =>
          Effect.succeed({ _tag: "Acquired", grip: { token: 1, renew: Effect.sync(bug), release: Effect.sync(bug) } }),
        status: () => Effect.succeed({ lock: "task/a", state: "free", token: 0, owner: undefined, since: undefined }),
        list: Effect.succeed([]),
        cleanup: () => Effect.succeed(0),
        heartbeat: "5 seconds",
        patience: Number.POSITIVE_INFINITY,
        poll: "1 second"
      }
      const locked = Lock.withLock(Effect.succeed(1), Lock.task("a"))
      const exit = yield* withBug(Effect.provideService(locked, Lock.Lock, Lock.make(driver)))
      assert.deepStrictEqual(exit, Exit.succeed(1))
    })
  )

  it.effect("a listener of the storage does not stop a run", () =>
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      storage.onChange(bug)
      assert.strictEqual(yield* storage.signal("unknown", "a", "{}"), "Unknown")
    }).pipe(Effect.provide(Layer.fresh(Storage.layerMemory)))
  )
})
