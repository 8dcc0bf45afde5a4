import { Data, Effect } from "effect"
import { Fault, Recovery, RetryPolicy } from "effect-recovery"

class Offline extends Data.TaggedError("Offline")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "network" })
}

/** Fails twice. */
const flaky = () => {
  let attempts = 0
  return Effect.suspend(() => (++attempts < 3 ? Effect.fail(new Offline()) : Effect.succeed(attempts)))
}

// A policy is a Schedule: Effect's own retry takes it,
const own = flaky().pipe(Effect.retry(RetryPolicy.exponential({ initialDelay: "10 millis", jitter: "full" })))

// ours costs nothing until the first failure,
const lazy = flaky().pipe(RetryPolicy.retry(RetryPolicy.fibonacci({ initialDelay: "10 millis" })))

// the kind of failure may decide,
const byKind = flaky().pipe(
  RetryPolicy.retry(RetryPolicy.byCategory({ network: RetryPolicy.fixed({ maxRetries: 9, delay: "10 millis" }) }))
)

// and a pipeline may leave it to the layer it runs with, or to DOWNLOAD_RETRY_MAX_RETRIES and its like.
const policy = RetryPolicy.config("DOWNLOAD_RETRY")
const provided = flaky().pipe(
  Recovery.retry,
  Effect.provide(RetryPolicy.layer(RetryPolicy.linear({ initialDelay: "10 millis", increment: "10 millis" })))
)

export const program = Effect.all({
  attempts: Effect.all([own, lazy, byKind, provided]),
  configured: Effect.map(policy, ({ description }) => description.curve),
  // What it will wait, to look at.
  delays: Effect.map(RetryPolicy.preview(RetryPolicy.exponential(), 10), (delays) => delays.map(String).length)
})
