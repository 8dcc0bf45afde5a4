import { Data, Effect, Either } from "effect"
import { CircuitBreaker, Fault, RetryPolicy } from "effect-recovery"

class Down extends Data.TaggedError("Down")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "unavailable" })
}

export const program = Effect.gen(function* () {
  const breaker = yield* CircuitBreaker.make({
    name: "rates",
    // Half of at least four calls of the last minute failed, or half of them took longer than two seconds.
    trip: CircuitBreaker.anyOf(
      CircuitBreaker.timeWindow({ window: "1 minute", failureRate: 0.5, minimum: 4 }),
      CircuitBreaker.slowCalls({ slowerThan: "2 seconds", slowRate: 0.5 })
    ),
    // 10 seconds, then 20, 40, and so on up to 5 minutes.
    resetAfter: RetryPolicy.exponential({
      initialDelay: "10 seconds",
      maxDelay: "5 minutes",
      maxRetries: Number.POSITIVE_INFINITY
    }),
    probes: 2
  })

  const rates = Effect.fail(new Down()).pipe(CircuitBreaker.protect(breaker))

  const results = yield* Effect.replicateEffect(Effect.either(rates), 6)
  return results.map((result) => (Either.isLeft(result) ? result.left._tag : "a rate"))
})
