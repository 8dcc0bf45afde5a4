import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"

/** The event loop's turn, for whatever the storage has to wait for. */
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/**
 * Waits for a fiber and gives it all the time it asks for, by the test's
 * clock; answers with nothing if it ended in a crash.
 */
export const settle = <A, E>(
  fiber: Fiber.RuntimeFiber<A, E>,
  isDead: () => boolean
): Effect.Effect<Exit.Exit<A, E> | undefined, Stuck> =>
  Effect.gen(function* () {
    for (let i = 0; i < maxTurns; i++) {
      yield* turn
      if (isDead()) return undefined
      const exit = fiber.unsafePoll()
      if (exit !== null) return exit
      if (i % 5 === 4) yield* TestClock.adjust(stepMillis * 2 ** Math.floor(i / 200))
    }
    return yield* Effect.fail(new Stuck())
  })

/** Steps grow, so that hours of waiting take no hours. */
const stepMillis = 2_000

const maxTurns = 5_000

/** A run that does not end, however long it is waited for. */
export class Stuck extends Error {
  readonly _tag = "Stuck"
  override get message(): string {
    return "The run did not end, however long it was waited for. Does it wait for a signal nobody gives?"
  }
}
