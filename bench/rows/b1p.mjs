/**
 * B1p: the same at the Promise boundary, where each call is a program of its
 * own: what policies add to it, against those who only know promises.
 */
import { ConsecutiveBreaker, circuitBreaker, ExponentialBackoff, handleAll, retry, wrap } from "cockatiel"
import * as Effect from "effect/Effect"
import { Bulkhead, CircuitBreaker, RetryPolicy } from "../../dist/node/index.js"
import { goal, interleave } from "../harness.mjs"
import { added, atBoundary, awaited, rowsOf, work, workEffect } from "./calls.mjs"

export const run = async () => {
  const breaker = Effect.runSync(CircuitBreaker.make({ name: "bench" }))
  const places = Effect.runSync(Bulkhead.make({ name: "bench", maxConcurrent: 10, maxQueue: 100 }))
  const guarded = workEffect.pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(RetryPolicy.exponential()))
  const theirs = wrap(
    retry(handleAll, { maxAttempts: 3, backoff: new ExponentialBackoff() }),
    circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) })
  )
  // What any policy needs: a handler of the end of the call, and a handler of its failure.
  const watched = Effect.suspend(() =>
    Effect.matchCauseEffect(workEffect, { onFailure: Effect.failCause, onSuccess: Effect.succeed })
  ).pipe(Effect.catchAll(Effect.fail))
  const ns = await interleave(
    {
      "bare runPromise": atBoundary(workEffect),
      "two frames that do nothing": atBoundary(watched),
      "ours: breaker + retry": atBoundary(guarded),
      "ours: bulkhead": atBoundary(workEffect.pipe(Bulkhead.protect(places))),
      "bare await": awaited(work),
      "cockatiel: breaker + retry": awaited(() => theirs.execute(work))
    },
    15
  )
  const ours = added(ns, "ours: breaker + retry", "bare runPromise")
  const cockatiel = added(ns, "cockatiel: breaker + retry", "bare await")
  return {
    title: "B1p  policies on success at the Promise boundary, CPU time per call",
    table: [
      ["", "median", "added"],
      ...rowsOf(ns, "bare runPromise", ["two frames that do nothing", "ours: breaker + retry", "ours: bulkhead"]),
      ...rowsOf(ns, "bare await", ["cockatiel: breaker + retry"])
    ],
    goals: [goal("breaker and retry at the Promise boundary, added to cockatiel's", ours / cockatiel, { atMost: 1 })],
    values: ns
  }
}
