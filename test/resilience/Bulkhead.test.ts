import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import { Bulkhead, PolicySchema } from "effect-recovery"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { metric } from "../support/watch.js"

const make = (options?: Partial<Bulkhead.Options>) => Bulkhead.make({ name: "disk", maxConcurrent: 1, ...options })

/** Forks the effect and runs it until it waits. */
const start = <A, E>(self: Effect.Effect<A, E>) => Effect.tap(Effect.fork(self), () => Effect.yieldNow())

const seeds = Array.from({ length: lengthOf("INTERRUPTION_SEEDS") }, (_, i) => seedOf(1) + i)

describe("Bulkhead", () => {
  it.effect("refuses a call without a free place at once, with a typed error", () =>
    Effect.gen(function* () {
      const bulkhead = yield* make({ name: "small", maxConcurrent: 2, maxQueue: 1 })
      const fibers = yield* Effect.replicateEffect(start(Effect.never.pipe(Bulkhead.protect(bulkhead))), 3)
      assert.deepStrictEqual(yield* bulkhead.snapshot, { running: 2, waiting: 1 })
      let called = false
      const call = Effect.sync(() => {
        called = true
      })
      const error = yield* Effect.flip(call.pipe(Bulkhead.protect(bulkhead)))
      assert.deepInclude(error, { _tag: "BulkheadFull", bulkhead: "small", maxConcurrent: 2, maxQueue: 1 })
      assert.include(error.message, `"small"`)
      assert.isFalse(called)
      assert.strictEqual(yield* metric("bulkhead_refused", { bulkhead: "small" }), 1)
      yield* Effect.forEach(fibers, Fiber.interrupt, { discard: true })
      assert.deepStrictEqual(yield* bulkhead.snapshot, { running: 0, waiting: 0 })
    })
  )

  it.effect("admits 10 calls by default and queues none", () =>
    Effect.gen(function* () {
      const bulkhead = yield* Bulkhead.make({ name: "default" })
      const fibers = yield* Effect.replicateEffect(start(Effect.never.pipe(Bulkhead.protect(bulkhead))), 10)
      assert.isTrue(Either.isLeft(yield* Effect.either(Effect.void.pipe(Bulkhead.protect(bulkhead)))))
      yield* Effect.forEach(fibers, Fiber.interrupt, { discard: true })
    })
  )

  it.effect("serves waiting calls in FIFO order", () =>
    Effect.gen(function* () {
      const bulkhead = yield* make({ maxQueue: 100 })
      const gate = yield* Deferred.make<void>()
      const order: Array<number> = []
      const first = yield* start(Deferred.await(gate).pipe(Bulkhead.protect(bulkhead)))
      const call = (n: number) =>
        Effect.sync(() => void order.push(n)).pipe(Effect.zipLeft(Effect.yieldNow()), Bulkhead.protect(bulkhead))
      const rest = yield* Effect.forEach([1, 2, 3, 4, 5], (n) => start(call(n)))
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(first)
      yield* call(6)
      yield* Effect.forEach(rest, Fiber.join)
      assert.deepStrictEqual(order, [1, 2, 3, 4, 5, 6])
    })
  )

  it.effect("failed, dying and interrupted calls release their places", () =>
    Effect.gen(function* () {
      const bulkhead = yield* make()
      for (const end of [Effect.fail("no"), Effect.die("bug"), Effect.interrupt]) {
        yield* Effect.exit(end.pipe(Bulkhead.protect(bulkhead)))
        assert.deepStrictEqual(yield* bulkhead.snapshot, { running: 0, waiting: 0 })
      }
    })
  )

  it.effect("a call interrupted in the queue leaves it", () =>
    Effect.gen(function* () {
      const bulkhead = yield* make({ maxQueue: 2 })
      const gate = yield* Deferred.make<void>()
      const first = yield* start(Deferred.await(gate).pipe(Bulkhead.protect(bulkhead)))
      const second = yield* start(Effect.void.pipe(Bulkhead.protect(bulkhead)))
      const third = yield* start(Effect.succeed("third").pipe(Bulkhead.protect(bulkhead)))
      yield* Fiber.interrupt(second)
      assert.deepStrictEqual(yield* bulkhead.snapshot, { running: 1, waiting: 1 })
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(first)
      assert.strictEqual(yield* Fiber.join(third), "third")
    })
  )

  it.effect("a call interrupted between receiving and using a place passes it on", () =>
    Effect.gen(function* () {
      const bulkhead = yield* make({ maxQueue: 2 })
      const gate = yield* Deferred.make<Fiber.RuntimeFiber<never, unknown>>()
      const leaving = Deferred.await(gate).pipe(Bulkhead.protect(bulkhead))
      // It passes its place on, then interrupts the call that received it.
      const stop = (fiber: Fiber.RuntimeFiber<never, unknown>) =>
        Effect.sync(() => fiber.unsafeInterruptAsFork(FiberId.none))
      const first = yield* start(Effect.flatMap(leaving, stop))
      const second = yield* start(Effect.never.pipe(Bulkhead.protect(bulkhead)))
      const third = yield* start(Effect.succeed("third").pipe(Bulkhead.protect(bulkhead)))
      yield* Deferred.succeed(gate, second)
      yield* Fiber.join(first)
      assert.strictEqual(yield* Fiber.join(third), "third")
      assert.deepStrictEqual(yield* bulkhead.snapshot, { running: 0, waiting: 0 })
    })
  )

  for (const seed of seeds) {
    it.effect(`never exceeds or loses places under random interruption (seed ${seed})`, () =>
      Effect.gen(function* () {
        const bulkhead = yield* make({ maxConcurrent: 3, maxQueue: 20 })
        let inside = 0
        let most = 0
        const work = Effect.acquireUseRelease(
          Effect.sync(() => {
            most = Math.max(most, ++inside)
          }),
          () => Effect.flatMap(Random.nextIntBetween(0, 4), (n) => Effect.repeatN(Effect.yieldNow(), n)),
          () => Effect.sync(() => void inside--)
        )
        const fibers: Array<Fiber.RuntimeFiber<Either.Either<void, Bulkhead.BulkheadFull>>> = []
        for (let i = 0; i < 1_000; i++) {
          fibers.push(yield* Effect.fork(Effect.either(work.pipe(Bulkhead.protect(bulkhead)))))
          const victim = fibers[yield* Random.nextIntBetween(0, fibers.length)]
          const roll = yield* Random.nextIntBetween(0, 3)
          if (roll === 0 && victim !== undefined) yield* Fiber.interruptFork(victim)
          if (roll === 1) yield* Effect.yieldNow()
        }
        yield* Effect.forEach(fibers, Fiber.await, { discard: true })
        assert.strictEqual(most, 3)
        assert.strictEqual(inside, 0)
        assert.deepStrictEqual(yield* bulkhead.snapshot, { running: 0, waiting: 0 })
      }).pipe(Effect.withRandom(Random.make(seed)))
    )
  }

  it("refuses invalid options by name", () => {
    assert.throws(() => Effect.runSync(make({ maxConcurrent: 0 })), `"maxConcurrent"`)
    assert.throws(() => Effect.runSync(make({ maxConcurrent: Number.POSITIVE_INFINITY })), `"maxConcurrent"`)
    assert.throws(() => Effect.runSync(make({ maxQueue: -1 })), `"maxQueue"`)
    assert.throws(() => Effect.runSync(make({ maxQueue: Number.NaN })), `"maxQueue"`)
  })

  it.effect("its error can be encoded and decoded", () =>
    Effect.gen(function* () {
      const error = new Bulkhead.BulkheadFull({ bulkhead: "disk", maxConcurrent: 1, maxQueue: 0 })
      const codec = Schema.parseJson(PolicySchema.BulkheadFull)
      const back = yield* Effect.flatMap(Schema.encode(codec)(error), Schema.decode(codec))
      assert.instanceOf(back, Bulkhead.BulkheadFull)
      assert.strictEqual(back.message, error.message)
    })
  )
})
