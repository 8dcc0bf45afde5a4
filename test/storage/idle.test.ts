import { assert, describe, it } from "@effect/vitest"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as TestContext from "effect/TestContext"
import { Storage, Worker, Workflow } from "effect-recovery"
import { turns } from "../support/time.js"

/** How many sleeps begin while a day passes. */
const sleepsInADay = (self: Effect.Effect<unknown, unknown, Scope.Scope>) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    let sleeps = 0
    const counting: Clock.Clock = Object.assign(Object.create(clock), {
      sleep: (duration: Duration.Duration) =>
        Effect.suspend(() => {
          if (Duration.toMillis(duration) > 0) sleeps++
          return clock.sleep(duration)
        })
    })
    yield* Effect.withClock(self, counting)
    yield* turns(30)
    const before = sleeps
    yield* TestClock.adjust("1 day")
    yield* turns(30)
    return sleeps - before
  }).pipe(Effect.scoped, Effect.provide(TestContext.TestContext))

const sleeper = Workflow.make("sleeper", {}, () => Workflow.sleep("30 days"))

describe("while nothing happens for a day", () => {
  it.live("a storage sets no timer", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* sleepsInADay(Layer.build(Storage.layerMemory)), 0)
    })
  )

  it.live("a run that sleeps in memory sets no timer but its own", () =>
    Effect.gen(function* () {
      const run = Effect.provide(Workflow.execute(sleeper, { id: "1" }), Storage.layerMemory)
      assert.isAtMost(yield* sleepsInADay(Effect.forkScoped(run)), 1)
    })
  )

  it.live("a worker in memory waits for the next due time", () =>
    Effect.gen(function* () {
      const layer = Layer.provideMerge(Worker.layer([sleeper]), Storage.layerMemory)
      const started = Effect.flatMap(Layer.build(layer), (context) =>
        Effect.provide(Workflow.start(sleeper, { id: "1" }), context)
      )
      assert.isAtMost(yield* sleepsInADay(started), 2)
    })
  )
})
