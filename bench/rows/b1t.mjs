/**
 * B1t: the same with a timeout for each attempt. The work ends one promise
 * later, so that a timer must be set.
 */
import {
  bulkhead,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleAll,
  retry,
  TimeoutStrategy,
  timeout,
  wrap
} from "cockatiel"
import * as Effect from "effect/Effect"
import Opossum from "opossum"
import { Recovery } from "../../dist/node/index.js"
import { goal, interleave } from "../harness.mjs"
import { added, atBoundary, awaited, inFiber, rowsOf, work, workEffect } from "./calls.mjs"

export const run = async () => {
  const all = Effect.runSync(
    Recovery.recoverable({ name: "bench", timeout: "10 seconds", bulkhead: { maxConcurrent: 10, maxQueue: 100 } })
  )
  const theirTimeout = timeout(10_000, TimeoutStrategy.Aggressive)
  const theirs = wrap(
    bulkhead(10, 100),
    retry(handleAll, { maxAttempts: 3, backoff: new ExponentialBackoff() }),
    circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) }),
    theirTimeout
  )
  const opossum = new Opossum(work, { timeout: 10_000 })
  const ns = await interleave(
    {
      "bare effect": inFiber(workEffect),
      "ours: timeout": inFiber(workEffect.pipe(Recovery.attemptTimeout("10 seconds"))),
      "ours: four policies": inFiber(all(workEffect)),
      "Effect.timeout": inFiber(Effect.timeout(workEffect, "10 seconds")),
      "bare await": awaited(work),
      "cockatiel: timeout": awaited(() => theirTimeout.execute(work)),
      "cockatiel: four policies": awaited(() => theirs.execute(work)),
      "opossum: timeout + breaker": awaited(() => opossum.fire()),
      "bare runPromise": atBoundary(workEffect),
      "ours: four policies, runPromise": atBoundary(all(workEffect))
    },
    7
  )
  opossum.shutdown()
  const compare = (ours, bare) => {
    const [own, theirs] = [added(ns, ours, bare), added(ns, "cockatiel: four policies", "bare await")]
    return own / theirs
  }
  const fiber = compare("ours: four policies", "bare effect")
  const boundary = compare("ours: four policies, runPromise", "bare runPromise")
  return {
    title: "B1t  timeout, bulkhead, retry and breaker on success, CPU time per call",
    table: [
      ["", "median", "added"],
      ...rowsOf(ns, "bare effect", ["ours: timeout", "ours: four policies", "Effect.timeout"]),
      ...rowsOf(ns, "bare await", ["cockatiel: timeout", "cockatiel: four policies", "opossum: timeout + breaker"]),
      ...rowsOf(ns, "bare runPromise", ["ours: four policies, runPromise"])
    ],
    goals: [
      goal("four policies, added to cockatiel's", fiber, { atMost: 1 }),
      goal("four policies at the Promise boundary, added to cockatiel's", boundary, { atMost: 1 })
    ],
    values: ns
  }
}
