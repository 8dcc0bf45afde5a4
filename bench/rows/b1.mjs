/**
 * B1: what a breaker and a lazy retry add to an effect that succeeds, in one
 * fiber, against cockatiel's breaker and retry around an async function, and
 * against Effect.retry.
 */
import { ConsecutiveBreaker, circuitBreaker, ExponentialBackoff, handleAll, retry, wrap } from "cockatiel"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { CircuitBreaker, RetryPolicy } from "../../dist/index.js"
import { goal, interleave } from "../harness.mjs"

const calls = 100_000

const loop = (effect) =>
  Effect.suspend(() => {
    let i = 0
    return Effect.whileLoop({ while: () => i < calls, body: () => effect, step: () => i++ })
  })

const nanos = async (run) => {
  const start = process.hrtime.bigint()
  await run()
  return Number(process.hrtime.bigint() - start) / calls
}

const inFiber = (effect) => {
  const program = loop(effect)
  return () => nanos(() => Effect.runPromise(program))
}

const awaited = (f) => () =>
  nanos(async () => {
    for (let i = 0; i < calls; i++) await f()
  })

export const run = async () => {
  const effect = Effect.sync(() => 1)
  const breaker = Effect.runSync(CircuitBreaker.make({ name: "bench" }))
  const policy = RetryPolicy.exponential()
  const f = async () => 1
  const theirBreaker = circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) })
  const theirRetry = retry(handleAll, { maxAttempts: 3, backoff: new ExponentialBackoff() })
  const both = wrap(theirRetry, theirBreaker)

  const ns = await interleave(
    {
      "bare effect": inFiber(effect),
      "ours: retry": inFiber(effect.pipe(RetryPolicy.retry(policy))),
      "ours: breaker": inFiber(effect.pipe(CircuitBreaker.protect(breaker))),
      "ours: breaker + retry": inFiber(effect.pipe(CircuitBreaker.protect(breaker), RetryPolicy.retry(policy))),
      "Effect.retry": inFiber(
        Effect.retry(effect, Schedule.intersect(Schedule.exponential("1 second"), Schedule.recurs(3)))
      ),
      "bare await": awaited(f),
      "cockatiel: retry": awaited(() => theirRetry.execute(f)),
      "cockatiel: breaker": awaited(() => theirBreaker.execute(f)),
      "cockatiel: breaker + retry": awaited(() => both.execute(f))
    },
    7
  )
  const added = (name, bare) => ns[name].median - ns[bare].median
  const ours = added("ours: breaker + retry", "bare effect")
  const cockatiel = added("cockatiel: breaker + retry", "bare await")
  const oursRetry = added("ours: retry", "bare effect")
  const effectRetry = added("Effect.retry", "bare effect")
  const row = (name, bare) => [name, `${ns[name].median.toFixed(0)} ns`, `+${added(name, bare).toFixed(0)} ns`]
  return {
    title: "B1  breaker + lazy retry on success, per call",
    table: [
      ["", "median", "added"],
      ["bare effect", `${ns["bare effect"].median.toFixed(0)} ns`, ""],
      row("ours: retry", "bare effect"),
      row("ours: breaker", "bare effect"),
      row("ours: breaker + retry", "bare effect"),
      row("Effect.retry", "bare effect"),
      ["bare await", `${ns["bare await"].median.toFixed(0)} ns`, ""],
      row("cockatiel: retry", "bare await"),
      row("cockatiel: breaker", "bare await"),
      row("cockatiel: breaker + retry", "bare await")
    ],
    goals: [
      goal(`added cost at most cockatiel's: ${ours.toFixed(0)} against ${cockatiel.toFixed(0)} ns`, ours <= cockatiel),
      goal(
        `10x under Effect.retry: retry ${(effectRetry / oursRetry).toFixed(1)}x, with breaker ${(effectRetry / ours).toFixed(1)}x`,
        effectRetry / ours >= 10
      )
    ],
    values: ns
  }
}
