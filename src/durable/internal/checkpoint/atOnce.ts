/**
 * Programs save and read the newest checkpoint all the time, and most of it is synchronous. A frame of Effect costs
 * as much as the digest, so there is none where the value is already known.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** Whether the effect is a value already. */
export const isDone = <A>(self: Effect.Effect<A, unknown, unknown>): self is Exit.Success<A, never> =>
  Exit.isExit(self) && self._tag === "Success"

/** As `Effect.flatMap`. Call it where the effect is to run: it calls the function at once if it can. */
export const thenAtOnce = <A, E, R, B, E2, R2>(
  self: Effect.Effect<A, E, R>,
  next: (value: A) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => (isDone(self) ? next(self.value) : Effect.flatMap(self, next))
