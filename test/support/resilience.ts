import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"

export class Offline extends Data.TaggedError("Offline")<{}> {}

/** An effect that always fails, with the times of its calls. */
export const alwaysFailing = (error: unknown = new Offline()) => {
  const calls: Array<number> = []
  const effect = Effect.flatMap(Effect.clock, (clock) => {
    calls.push(clock.unsafeCurrentTimeMillis())
    return Effect.fail(error)
  })
  // Tests that pass another error look at the calls only.
  return { calls, effect: effect as Effect.Effect<never, Offline>, seconds: () => calls.map((at) => at / 1_000) }
}

/** Runs an effect to its end under the test clock: a day passes. */
export const toTheEnd = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(self)
    yield* TestClock.adjust("1 day")
    return yield* Fiber.await(fiber)
  })

/** The engine works on unknown requirements; the work of these tests has none. */
export const needingNothing = (self: Effect.Effect<unknown, unknown, unknown>) =>
  self as Effect.Effect<unknown, unknown>
