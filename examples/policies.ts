import { Data, Effect } from "effect"
import { CircuitBreaker, Recovery, RetryPolicy } from "effect-recovery"

class Offline extends Data.TaggedError("Offline")<{ readonly code: string }> {}

const download: Effect.Effect<string, Offline> = Effect.succeed("text")

// With Effect's own retry,
const simple = download.pipe(Effect.retry(RetryPolicy.exponential({ maxRetries: 5, jitter: "full" })))

// or with ours, which costs nothing until the first failure.
const lazy = download.pipe(RetryPolicy.retry(RetryPolicy.byCategory({ network: RetryPolicy.fibonacci() })))

// Everything at once: each attempt is timed, asked of the breaker, and tried again.
const guarded = Effect.gen(function* () {
  const breaker = yield* CircuitBreaker.make({
    name: "downloads",
    trip: CircuitBreaker.consecutive({ failures: 3 }),
    resetAfter: "30 seconds"
  })
  return yield* download.pipe(
    Recovery.attemptTimeout("5 seconds"),
    CircuitBreaker.protect(breaker),
    RetryPolicy.retry(RetryPolicy.byCategory())
  )
})

Effect.runPromise(Effect.all([simple, lazy, guarded])).then(console.log)
