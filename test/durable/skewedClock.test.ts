import { assert, describe, it } from "@effect/vitest"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Storage, Worker, Workflow } from "effect-recovery"
import { passTime } from "../support/time.js"

/** A store whose clock differs from that of the process. */
const shifted = (store: Storage.Store, millis: number): Storage.Store => {
  const shift = (self: unknown) =>
    Effect.isEffect(self)
      ? Effect.flatMap(Effect.clock, (clock) => {
          const other: Clock.Clock = Object.assign(Object.create(clock), {
            unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + millis,
            currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + millis)
          })
          return Effect.withClock(self as Effect.Effect<unknown>, other)
        })
      : self
  return new Proxy(store, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key)
      return typeof value === "function" ? (...args: Array<unknown>) => shift(value(...args)) : shift(value)
    }
  })
}

describe("a storage whose clock differs from the worker's", () => {
  it.scoped.each([3_000, -3_000, 3_600_000])("opens a run that sleeps few times (%s ms)", (millis) =>
    Effect.gen(function* () {
      const sleeper = Workflow.make("sleeper", {}, () => Workflow.sleep("5 minutes"))
      const made = Storage.make(shifted(Storage.memoryStore(), millis), { owner: "worker" })
      const storage = Layer.scoped(Storage.Storage, made)
      const context = yield* Layer.build(Layer.provideMerge(Worker.layer([sleeper]), storage))
      const service = Context.get(context, Storage.Storage)
      yield* Effect.provide(Workflow.start(sleeper, { id: "1" }), context)
      const joined = yield* Effect.fork(Effect.provide(Workflow.join(sleeper, "1"), context))
      yield* passTime(joined as Fiber.RuntimeFiber<void>, "1 second")
      const run = yield* service.find("1")
      assert.isAtMost(run._tag === "Some" ? run.value.token : 0, 4)
    })
  )
})
