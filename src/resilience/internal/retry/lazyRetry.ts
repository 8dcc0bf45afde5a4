import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Tokens } from "./tokenBucket.js"

/**
 * What `Effect.retry` does, from the first failure on. The driver sleeps
 * through the delay itself.
 */
export const lazyRetry =
  <A, E, R, R1>(self: Effect.Effect<A, E, R>, policy: Schedule.Schedule<unknown, E, R1>, tokens?: Tokens) =>
  (first: E): Effect.Effect<A, E, R | R1> =>
    Effect.flatMap(Schedule.driver(policy), (driver) => {
      const known = Effect.provideServiceEffect(self, Schedule.CurrentIterationMetadata, driver.iterationMeta)
      const again = (error: E): Effect.Effect<A, E, R | R1> =>
        Effect.matchEffect(driver.next(error), {
          onFailure: () => Effect.fail(error),
          // Paid for when it starts: a retry that was only planned, and then interrupted, has cost the system nothing.
          onSuccess: () => (tokens?.debit() === false ? Effect.fail(error) : Effect.catchAll(known, again))
        })
      return again(first)
    })
