import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"

const nextTurn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

/**
 * Waits for turns of the event loop: work that needs no input or output has proceeded, however slow the machine is.
 * The writer of SQLite takes one turn for each batch.
 */
export const turns = (count = 50): Effect.Effect<void> => Effect.repeatN(nextTurn, Math.max(0, count - 1))

/** Repeats the effect until its value passes. Only the test's own timeout ends a wait for something that never comes. */
export const eventually = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  passes: (value: A) => boolean
): Effect.Effect<A, E, R> => Effect.repeat(Effect.zipRight(nextTurn, self), { until: passes })

/** Moves the test clock, with turns of the event loop between, until the fiber ends. */
export const passTime = <A, E>(fiber: Fiber.RuntimeFiber<A, E>, step: "1 second" | "1 minute"): Effect.Effect<A, E> =>
  Effect.zipRight(
    Effect.repeat(Effect.zipRight(turns(), TestClock.adjust(step)), { until: () => fiber.unsafePoll() !== null }),
    Fiber.join(fiber)
  )

/** Milliseconds of processor time that the work takes: unlike the time on the wall, they do not count other processes. */
export const processorMillis = (work: () => void): number => {
  const before = process.cpuUsage()
  work()
  const { system, user } = process.cpuUsage(before)
  return (system + user) / 1_000
}
