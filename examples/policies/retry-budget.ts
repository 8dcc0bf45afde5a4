import { Context, Effect, Layer } from "effect"
import { RetryBudget, RetryPolicy } from "effect-recovery"

/** Shared by everybody who calls the rates service: one retry for five calls, and two more each second. */
class RatesBudget extends Context.Tag("RatesBudget")<RatesBudget, RetryBudget.RetryBudget>() {
  static readonly layer = Layer.effect(this, RetryBudget.make({ name: "rates", ratio: 0.2, perSecond: 2, capacity: 3 }))
}

const rates = Effect.gen(function* () {
  const budget = yield* RatesBudget
  const call = Effect.fail("down")
  return yield* call.pipe(RetryPolicy.retry(RetryPolicy.fixed({ delay: "1 millis" }), { budget }))
})

export const program = Effect.gen(function* () {
  // Ten callers with three retries each would make 40 calls of a system that is down. These make 13 or 14.
  yield* Effect.all(Array.from({ length: 10 }, () => Effect.ignore(rates)))
  const { refused, spent } = yield* Effect.flatMap(RatesBudget, ({ snapshot }) => snapshot)
  return { fewRetries: spent <= 5, refused: refused > 0 }
}).pipe(Effect.provide(RatesBudget.layer))
