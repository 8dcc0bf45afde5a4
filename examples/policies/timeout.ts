import { Effect } from "effect"
import { Recovery, RetryPolicy } from "effect-recovery"

let attempts = 0
let stopped = 0

/** The first attempt hangs. */
const rates = Effect.suspend(() => (++attempts === 1 ? Effect.never : Effect.succeed(1.08))).pipe(
  Effect.onInterrupt(() => Effect.sync(() => stopped++))
)

export const program = rates.pipe(
  // Inside of the retry: each attempt has its own two seconds, and one that takes longer is stopped.
  Recovery.attemptTimeout("20 millis"),
  RetryPolicy.retry(RetryPolicy.fixed({ delay: "1 millis" })),
  // Outside of it: everything together has a minute.
  Effect.timeout("1 minute"),
  Effect.map((rate) => ({ rate, attempts, stopped }))
)
