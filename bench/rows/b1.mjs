/**
 * B1: what policies add to work that succeeds, in one fiber, against those of
 * others around an async function that is awaited.
 */
import asyncRetry from "async-retry"
import { bulkhead, ConsecutiveBreaker, circuitBreaker, ExponentialBackoff, handleAll, retry, wrap } from "cockatiel"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import Opossum from "opossum"
import pRetry from "p-retry"
import { Bulkhead, CircuitBreaker, RetryPolicy } from "../../dist/node/index.js"
import { goal, interleave } from "../harness.mjs"
import { added, awaited, inFiber, rowsOf, work } from "./calls.mjs"

export const run = async () => {
  const effect = Effect.sync(() => 1)
  const breaker = Effect.runSync(CircuitBreaker.make({ name: "bench" }))
  const places = Effect.runSync(Bulkhead.make({ name: "bench", maxConcurrent: 10, maxQueue: 100 }))
  const policy = RetryPolicy.exponential()
  const guard = (self) => self.pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(policy))
  const semaphore = Effect.unsafeMakeSemaphore(10)
  const theirBreaker = circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) })
  const theirRetry = retry(handleAll, { maxAttempts: 3, backoff: new ExponentialBackoff() })
  const theirBulkhead = bulkhead(10, 100)
  const both = wrap(theirRetry, theirBreaker)
  const opossum = new Opossum(work, { timeout: false })

  const ns = await interleave(
    {
      "bare effect": inFiber(effect),
      "ours: retry": inFiber(effect.pipe(RetryPolicy.retry(policy))),
      "ours: breaker": inFiber(effect.pipe(CircuitBreaker.protect(breaker))),
      "ours: breaker + retry": inFiber(guard(effect)),
      "ours: bulkhead": inFiber(effect.pipe(Bulkhead.protect(places))),
      "Effect.retry": inFiber(
        Effect.retry(effect, Schedule.intersect(Schedule.exponential("1 second"), Schedule.recurs(3)))
      ),
      "Effect semaphore": inFiber(semaphore.withPermits(1)(effect)),
      "bare await": awaited(work),
      "cockatiel: retry": awaited(() => theirRetry.execute(work)),
      "cockatiel: breaker": awaited(() => theirBreaker.execute(work)),
      "cockatiel: breaker + retry": awaited(() => both.execute(work)),
      "cockatiel: bulkhead": awaited(() => theirBulkhead.execute(work)),
      "opossum: breaker": awaited(() => opossum.fire()),
      "p-retry": awaited(() => pRetry(work, { retries: 3 })),
      "async-retry": awaited(() => asyncRetry(work, { retries: 3 }))
    },
    7
  )
  opossum.shutdown()
  const ours = added(ns, "ours: breaker + retry", "bare effect")
  const cockatiel = added(ns, "cockatiel: breaker + retry", "bare await")
  const effectRetry = added(ns, "Effect.retry", "bare effect")
  const permits = added(ns, "ours: bulkhead", "bare effect") / added(ns, "Effect semaphore", "bare effect")
  const alone = (policy) =>
    added(ns, `ours: ${policy}`, "bare effect") / added(ns, `cockatiel: ${policy}`, "bare await")
  return {
    title: "B1  policies on success, CPU time per call",
    table: [
      ["", "median", "added"],
      ...rowsOf(ns, "bare effect", [
        "ours: retry",
        "ours: breaker",
        "ours: breaker + retry",
        "ours: bulkhead",
        "Effect.retry",
        "Effect semaphore"
      ]),
      ...rowsOf(ns, "bare await", [
        "cockatiel: retry",
        "cockatiel: breaker",
        "cockatiel: breaker + retry",
        "cockatiel: bulkhead",
        "opossum: breaker",
        "p-retry",
        "async-retry"
      ])
    ],
    goals: [
      goal("breaker and retry, added to cockatiel's", ours / cockatiel, { atMost: 0.7 }),
      goal("breaker alone, added to cockatiel's", alone("breaker"), { atMost: 1.3 }),
      goal("bulkhead alone, added to cockatiel's", alone("bulkhead"), { atMost: 4 }),
      goal("breaker and retry, added to Effect.retry's", ours / effectRetry, { atMost: 0.1 }),
      goal("bulkhead, added to a semaphore's", permits, { atMost: 1 })
    ],
    values: ns
  }
}
