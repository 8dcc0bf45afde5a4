import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as TestClock from "effect/TestClock"
import { Recovery, RetryPolicy } from "effect-recovery"
import { assertFailed } from "../support/assertions.js"

const timed = Recovery.attemptTimeout("1 second")

const elapse = <A, E, R>(self: Effect.Effect<A, E, R>, millis: number) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(self)
    yield* TestClock.adjust(millis)
    return yield* Fiber.await(fiber)
  })

describe("Recovery.attemptTimeout", () => {
  it.effect("interrupts the work, and its finalizers run before the error surfaces", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const work = Effect.never.pipe(Effect.onInterrupt(() => Effect.sync(() => seen.push("stopped"))))
      const exit = yield* elapse(
        work.pipe(
          timed,
          Effect.tapError(() => Effect.sync(() => seen.push("surfaced")))
        ),
        1_000
      )
      assert.deepStrictEqual(seen, ["stopped", "surfaced"])
      const error = yield* Effect.flip(exit)
      assert.instanceOf(error, Recovery.AttemptTimeout)
      assert.include(error.message, "1s")
    })
  )

  it.effect("is exact to the millisecond", () =>
    Effect.gen(function* () {
      assert.isTrue(Exit.isSuccess(yield* elapse(timed(Effect.sleep(999)), 2_000)))
      assert.isTrue(Exit.isFailure(yield* elapse(timed(Effect.sleep(1_001)), 2_000)))
    })
  )

  it.effect("values, failures and defects pass through unchanged, at once and later", () =>
    Effect.gen(function* () {
      for (const before of [Effect.void, Effect.yieldNow(), Effect.sleep(10)]) {
        const ending = <A, E>(end: Effect.Effect<A, E>) => elapse(timed(Effect.zipRight(before, end)), 100)
        assert.deepStrictEqual(yield* ending(Effect.succeed(1)), Exit.succeed(1))
        assert.deepStrictEqual(yield* ending(Effect.fail("no")), Exit.fail("no"))
        assert.deepStrictEqual(yield* ending(Effect.die("bug")), Exit.die("bug"))
      }
    })
  )

  it.effect("interrupting the caller interrupts the work, and waits for it", () =>
    Effect.gen(function* () {
      let stopped = false
      const stopping = Effect.zipRight(
        Effect.sleep(50),
        Effect.sync(() => {
          stopped = true
        })
      )
      const fiber = yield* Effect.fork(
        Effect.never.pipe(
          Effect.onInterrupt(() => stopping),
          timed
        )
      )
      yield* Effect.yieldNow()
      const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust(49)
      assert.isNull(interrupting.unsafePoll())
      yield* TestClock.adjust(1)
      const exit = yield* Fiber.join(interrupting)
      assert.isTrue(stopped, "not stopped")
      assertFailed(exit, "interrupt")
    })
  )

  it.effect("returns the result of uninterruptible work that succeeds after the timeout", () =>
    Effect.gen(function* () {
      const write = Effect.as(Effect.sleep(5_000), "written")
      assert.deepStrictEqual(yield* elapse(Effect.uninterruptible(timed(write)), 5_000), Exit.succeed("written"))
      const failing = Effect.zipRight(Effect.sleep(5_000), Effect.fail("no"))
      assert.deepStrictEqual(yield* elapse(Effect.uninterruptible(timed(failing)), 5_000), Exit.fail("no"))
      const dying = Effect.zipRight(Effect.sleep(5_000), Effect.die("bug"))
      const exit = yield* elapse(Effect.uninterruptible(timed(dying)), 5_000)
      assertFailed(exit, "die", "fail")
    })
  )

  it.effect("interrupts an interruptible part inside an uninterruptible caller", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(
        Effect.uninterruptibleMask((restore) =>
          restore(Effect.sleep("1 hour")).pipe(Recovery.attemptTimeout("2 hours"))
        )
      )
      yield* Effect.yieldNow()
      const exit = yield* Fiber.interrupt(fiber)
      assertFailed(exit, "interrupt")
    })
  )

  it("may be nested deeply", () => {
    let self: Effect.Effect<number, Recovery.AttemptTimeout> = Effect.succeed(1)
    for (let i = 0; i < 2_000; i++) self = Recovery.attemptTimeout(self, "1 hour")
    return Effect.runPromise(self).then((value) => assert.strictEqual(value, 1))
  })

  it.effect("shows the defect of a finalizer", () =>
    Effect.gen(function* () {
      const work = Effect.never.pipe(Effect.ensuring(Effect.die("bug")))
      const exit = yield* elapse(timed(work), 1_000)
      assertFailed(exit, "die", "fail")
    })
  )

  it.scoped("the work has the services, fiber refs and interruptibility of the caller", () =>
    Effect.gen(function* () {
      class Service extends Context.Tag("Service")<Service, string>() {}
      const ref = yield* FiberRef.make("before")
      for (const pause of [Effect.void, Effect.yieldNow()]) {
        const work = Effect.zipRight(pause, Effect.zipRight(FiberRef.set(ref, "inside"), Service))
        assert.strictEqual(yield* timed(work).pipe(Effect.provideService(Service, "here")), "here")
        assert.strictEqual(yield* FiberRef.get(ref), "inside")
        yield* FiberRef.set(ref, "before")
        const flags = yield* Effect.uninterruptible(
          timed(Effect.zipRight(pause, Effect.checkInterruptible(Effect.succeed)))
        )
        assert.isFalse(flags)
      }
    })
  )

  it.live("stops real work by the real clock, and leaves no timer behind", () =>
    Effect.gen(function* () {
      let aborted = false
      const work = Effect.tryPromise(
        (signal) =>
          new Promise((_, reject) =>
            signal.addEventListener("abort", () => {
              aborted = true
              reject(signal.reason)
            })
          )
      )
      const error = yield* Effect.flip(work.pipe(Recovery.attemptTimeout("10 millis")))
      assert.instanceOf(error, Recovery.AttemptTimeout)
      assert.isTrue(aborted, "not aborted")
      const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
      const before = timers()
      const gate = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(Deferred.await(gate).pipe(Recovery.attemptTimeout("1 hour")))
      yield* Effect.yieldNow()
      assert.strictEqual(timers(), before + 1)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      assert.strictEqual(timers(), before)
      // Longer than a timer can wait.
      yield* Effect.yieldNow().pipe(Recovery.attemptTimeout("100000 days"))
    })
  )

  it.effect("inside a retry each attempt has its own, and is retried", () =>
    Effect.gen(function* () {
      let attempts = 0
      const work = Effect.suspend(() => (++attempts < 3 ? Effect.never : Effect.succeed(attempts)))
      const policy = RetryPolicy.fixed({ delay: "1 second" })
      const exit = yield* elapse(work.pipe(timed, RetryPolicy.retry(policy)), 4_000)
      assert.deepStrictEqual(exit, Exit.succeed(3))
    })
  )

  it("refuses an invalid timeout when the program is built", () => {
    for (const timeout of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => Effect.never.pipe(Recovery.attemptTimeout(timeout)), `The option "timeout"`)
    }
  })
})
