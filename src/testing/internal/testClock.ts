import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as TestContext from "effect/TestContext"
import type * as TestServices from "effect/TestServices"

/**
 * Runs an effect with its own test clock, in its own fiber: the test context
 * leaves its clock in the fiber it was provided to, and a later sleep of that
 * fiber would never end.
 */
export const underTestClock = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, TestServices.TestServices>> =>
  Effect.acquireUseRelease(
    Effect.fork(Effect.interruptible(Effect.provide(self, TestContext.TestContext))),
    (fiber) => Effect.flatten(Fiber.await(fiber)),
    Fiber.interrupt
  )

/** One turn of the event loop, in which the storage can make progress. */
export const eventLoopTurn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/**
 * Waits for a fiber and advances the test clock meanwhile. Returns `undefined` if
 * its process crashed.
 */
export const awaitExit = <A, E>(
  fiber: Fiber.RuntimeFiber<A, E>,
  isDead: () => boolean
): Effect.Effect<Exit.Exit<A, E> | undefined, Stuck> =>
  Effect.gen(function* () {
    for (let i = 0; i < maxTurns; i++) {
      yield* eventLoopTurn
      if (isDead()) return undefined
      const exit = fiber.unsafePoll()
      if (exit !== null) return exit
      // Steps of the clock double, so that waits of hours need few turns.
      if (i % 5 === 4) yield* TestClock.adjust(2_000 * 2 ** Math.floor(i / 200))
    }
    return yield* Effect.fail(new Stuck())
  })

const maxTurns = 5_000

/** The run does not end, although the test clock advanced far. */
export class Stuck extends Error {
  readonly _tag = "Stuck"
  override get message(): string {
    return "The run did not end, however far the test clock advanced. Does it wait for a signal that the test does not send?"
  }
}
