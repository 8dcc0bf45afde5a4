import { Duration, Effect, RateLimiter } from "effect"
import { Bulkhead, RetryPolicy } from "effect-recovery"

const rate = Effect.succeed(1.08)

/** At most five calls in a second; the rest waits. Refusing is the bulkhead's business: it bounds who may wait. */
const limited = Effect.gen(function* () {
  const limiter = yield* RateLimiter.make({ limit: 5, interval: "1 second" })
  const bulkhead = yield* Bulkhead.make({ name: "rates", maxConcurrent: 5, maxQueue: 50 })
  // The limiter inside of the retry, so that retries count as calls.
  return yield* rate.pipe(limiter, RetryPolicy.retry(RetryPolicy.exponential()), Bulkhead.protect(bulkhead))
}).pipe(Effect.scoped)

/** A second call, should the first take longer than 95 of 100 do. The first success stops the other. */
const hedged = <A, E, R>(self: Effect.Effect<A, E, R>, after: Duration.DurationInput) =>
  Effect.race(self, Effect.delay(self, after))

let calls = 0
const sometimesSlow = Effect.suspend(() => (++calls === 1 ? Effect.never : Effect.succeed("from the second call")))

export const program = Effect.all([limited, hedged(sometimesSlow, Duration.millis(20))])
