import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/**
 * What `Effect.retry` does, from the first failure on. The driver sleeps
 * through the delay itself.
 */
export const lazyRetry =
  <A, E, R, R1>(self: Effect.Effect<A, E, R>, policy: Schedule.Schedule<unknown, E, R1>) =>
  (first: E): Effect.Effect<A, E, R | R1> =>
    Effect.flatMap(Schedule.driver(policy), (driver) => {
      const known = Effect.provideServiceEffect(self, Schedule.CurrentIterationMetadata, driver.iterationMeta)
      const again = (error: E): Effect.Effect<A, E, R | R1> =>
        Effect.matchEffect(driver.next(error), {
          onFailure: () => Effect.fail(error),
          onSuccess: () => Effect.catchAll(known, again)
        })
      return again(first)
    })
