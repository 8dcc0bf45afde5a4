import * as Effect from "effect/Effect"

const nextTurn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Waits for turns of the event loop: work that needs no input or output has proceeded, however slow the machine is. */
export const turns = (count: number): Effect.Effect<void> => Effect.repeatN(nextTurn, Math.max(0, count - 1))

/** Repeats the effect, one turn of the event loop apart, until its value passes. A test that hangs here has its timeout. */
export const eventually = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  passes: (value: A) => boolean
): Effect.Effect<A, E, R> =>
  Effect.repeat(
    Effect.zipLeft(
      self,
      Effect.async<void>((resume) => void setTimeout(() => resume(Effect.void), 1))
    ),
    { until: passes }
  )
