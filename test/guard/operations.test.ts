import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Bulkhead, CircuitBreaker, RetryPolicy } from "effect-recovery"
import { operationsPerCall } from "../support/operations.js"

const work = Effect.sync(() => 1)

/** Fails three times, and then succeeds. */
const flaky = () => {
  let calls = 0
  return Effect.suspend(() => (++calls % 4 === 0 ? Effect.succeed(1) : Effect.fail("down")))
}

/** What is called most often. Wings add their own. */
const hotPaths: Readonly<Record<string, Effect.Effect<Effect.Effect<unknown, unknown>>>> = {
  "no policy": Effect.succeed(work),
  retry: Effect.succeed(work.pipe(RetryPolicy.retry(RetryPolicy.exponential()))),
  "three failures, then success": Effect.succeed(flaky().pipe(RetryPolicy.retry(RetryPolicy.fixed({ delay: 0 })))),
  breaker: Effect.map(CircuitBreaker.make({ name: "guard" }), (breaker) => work.pipe(CircuitBreaker.protect(breaker))),
  "breaker and retry": Effect.map(CircuitBreaker.make({ name: "guard" }), (breaker) =>
    work.pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(RetryPolicy.exponential()))
  ),
  "refused by a breaker": Effect.flatMap(CircuitBreaker.make({ name: "guard" }), (breaker) =>
    Effect.as(breaker.isolate, work.pipe(CircuitBreaker.protect(breaker)))
  ),
  bulkhead: Effect.map(Bulkhead.make({ name: "guard" }), (bulkhead) => work.pipe(Bulkhead.protect(bulkhead)))
}

const file = fileURLToPath(new URL("operations.json", import.meta.url))

/** A call may take so much more than is on record before the test fails. */
const bound = 1.03

// `RECOVERY_RECORD=1 npx vitest run test/guard` renews the record.
const renews = process.env["RECOVERY_RECORD"] === "1"

describe("hot paths", () => {
  it("take at most the operations of Effect that are on record, and the record is not out of date", async () => {
    const counted: Record<string, number> = {}
    for (const [name, made] of Object.entries(hotPaths)) counted[name] = await operationsPerCall(Effect.runSync(made))
    if (renews) fs.writeFileSync(file, `${JSON.stringify(counted, null, 2)}\n`)
    const recorded: Record<string, number> = JSON.parse(fs.readFileSync(file, "utf8"))
    assert.deepStrictEqual(Object.keys(recorded), Object.keys(counted))
    for (const [name, operations] of Object.entries(counted)) {
      assert.isAbove(operations, 0)
      const before = recorded[name] ?? 0
      assert.isAtMost(operations, before * bound, `${name}: more operations than the ${before} on record`)
      // What has become cheaper stays so.
      assert.isAtMost(before, operations * bound, `${name}: fewer than the ${before} on record; renew it`)
    }
  })
})
