import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestContext from "effect/TestContext"
import type * as TestServices from "effect/TestServices"

/**
 * Gives an effect a clock of its own. In a fiber of its own, since the test
 * context leaves its clock behind in the fiber it was provided in: whoever
 * slept afterwards would sleep for ever.
 */
export const underTestClock = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, TestServices.TestServices>> =>
  Effect.acquireUseRelease(
    Effect.fork(Effect.interruptible(Effect.provide(self, TestContext.TestContext))),
    (fiber) => Effect.flatten(Fiber.await(fiber)),
    Fiber.interrupt
  )
