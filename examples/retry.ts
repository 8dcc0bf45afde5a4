import { Data, Effect } from "effect"
import { Recovery, RetryPolicy, Strategy } from "effect-recovery"

class Offline extends Data.TaggedError("Offline")<{ readonly code: string }> {}
class NotFound extends Data.TaggedError("NotFound")<{ readonly path: string }> {}

const fetchRates: Effect.Effect<number, Offline | NotFound> = Effect.fail(new NotFound({ path: "/rates" }))

// Effect<number, RecoveryExhausted<Offline>>
const rates = fetchRates.pipe(
  Recovery.recover({
    Offline: Strategy.retry(RetryPolicy.exponential({ maxRetries: 5, jitter: "full" })),
    NotFound: Strategy.skip(1)
  })
)

Effect.runPromise(rates).then(console.log)
