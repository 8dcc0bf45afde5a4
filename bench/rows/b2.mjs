/**
 * B2: the failure path. What an open breaker takes to refuse, and what three
 * failures and a success take without a wait between them.
 */
import asyncRetry from "async-retry"
import { ConsecutiveBreaker, ConstantBackoff, circuitBreaker, handleAll, retry } from "cockatiel"
import * as Effect from "effect/Effect"
import Opossum from "opossum"
import pRetry from "p-retry"
import { CircuitBreaker, RetryPolicy } from "../../dist/node/index.js"
import { goal, interleave } from "../harness.mjs"
import { atBoundary, awaited, inFiber } from "./calls.mjs"

const ignore = () => {}

// At the Promise boundary `Effect.runPromise(Effect.void)` is the floor: it alone takes a third of what the peers do.

/** Few, since some of the peers take milliseconds for each. */
const repeats = 300

const each = (f) => async () => {
  const start = process.hrtime.bigint()
  for (let i = 0; i < repeats; i++) await f()
  return Number(process.hrtime.bigint() - start) / repeats
}

/** Fails three times, and then succeeds. */
const flaky = () => {
  let calls = 0
  return async () => {
    if (++calls % 4 !== 0) throw new Error("down")
    return 1
  }
}

const flakyEffect = () => {
  let calls = 0
  const down = new Error("down")
  return Effect.suspend(() => (++calls % 4 !== 0 ? Effect.fail(down) : Effect.succeed(1)))
}

export const run = async () => {
  const open = Effect.runSync(CircuitBreaker.make({ name: "bench" }))
  Effect.runSync(open.isolate)
  const refused = Effect.ignore(Effect.succeed(1).pipe(CircuitBreaker.protect(open)))
  const theirs = circuitBreaker(handleAll, { halfOpenAfter: 1e9, breaker: new ConsecutiveBreaker(1) })
  theirs.isolate()
  const opossum = new Opossum(async () => 1, { timeout: false })
  opossum.open()
  const policy = RetryPolicy.fixed({ delay: 0 })
  const ownRetry = flakyEffect().pipe(RetryPolicy.retry(policy))
  const effectRetry = Effect.retry(flakyEffect(), { times: 3 })
  const theirRetry = retry(handleAll, { maxAttempts: 3, backoff: new ConstantBackoff(0) })
  const [forCockatiel, forP, forAsync] = [flaky(), flaky(), flaky()]
  const noDelay = { retries: 3, minTimeout: 0, maxTimeout: 0, factor: 1 }

  const ns = await interleave(
    {
      "ours: refused": inFiber(refused),
      "ours: refused, runPromise": atBoundary(refused),
      "Effect.void, runPromise": atBoundary(Effect.void),
      "cockatiel: refused": awaited(() => theirs.execute(async () => 1).catch(ignore)),
      "opossum: refused": awaited(() => opossum.fire().catch(ignore)),
      "ours: three failures": each(() => Effect.runPromise(ownRetry)),
      "Effect.retry: three failures": each(() => Effect.runPromise(effectRetry)),
      "cockatiel: three failures": each(() => theirRetry.execute(forCockatiel)),
      "p-retry: three failures": each(() => pRetry(forP, noDelay)),
      "async-retry: three failures": each(() => asyncRetry(forAsync, noDelay))
    },
    5
  )
  opossum.shutdown()
  const ratio = (peer, ours) => ns[peer].median / ns[ours].median
  return {
    title: "B2  refusal by an open breaker, and three failures before a success without delay",
    table: [["", "median"], ...Object.entries(ns).map(([name, { median }]) => [name, `${median.toFixed(0)} ns`])],
    goals: [
      goal("refusals to cockatiel's", ratio("cockatiel: refused", "ours: refused"), { atLeast: 5 }),
      goal("refusals to opossum's", ratio("opossum: refused", "ours: refused"), { atLeast: 5 }),
      goal(
        "a refusal at the Promise boundary, time to that of Effect.runPromise(Effect.void)",
        ratio("ours: refused, runPromise", "Effect.void, runPromise"),
        { atMost: 1.1 }
      ),
      ...[
        ["Effect.retry", 0.5],
        ["p-retry", 1]
      ].map(([peer, atMost]) =>
        goal(
          `three failures, then success, time to ${peer}'s`,
          ratio("ours: three failures", `${peer}: three failures`),
          {
            atMost
          }
        )
      )
    ],
    values: ns
  }
}
