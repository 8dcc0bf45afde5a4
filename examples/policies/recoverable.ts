import { Context, Effect, Layer } from "effect"
import { type Bulkhead, CircuitBreaker, Recovery, RetryPolicy, Strategy } from "effect-recovery"

/** One for the whole service: its breaker and its places are shared by all callers. */
const makeGuard = Recovery.recoverable({
  name: "rates",
  retry: RetryPolicy.exponential({ maxRetries: 5, initialDelay: "10 millis", jitter: "full" }),
  timeout: "2 seconds",
  breaker: { trip: CircuitBreaker.countWindow({ size: 50, failureRate: 0.3 }), resetAfter: "30 seconds" },
  bulkhead: { maxConcurrent: 20, maxQueue: 100 },
  strategy: Strategy.skip(1)
})

class Rates extends Context.Tag("Rates")<
  Rates,
  { readonly of: (currency: string) => Effect.Effect<number, Bulkhead.BulkheadFull> }
>() {
  static readonly layer = (get: (url: string, signal: AbortSignal) => Promise<number>) =>
    Layer.effect(
      this,
      Effect.map(makeGuard, (guard) => ({
        // An effect would be handed to `guard` itself; a function of promises is tried.
        of: (currency: string) => guard.try((signal) => get(`https://rates.example/${currency}`, signal))
      }))
    )
}

let calls = 0
const get = async (url: string) => {
  if (++calls < 3) throw Object.assign(new Error("reset"), { code: "ECONNRESET" })
  if (url.endsWith("XXX")) throw Object.assign(new Error("no such currency"), { status: 404 })
  return 1.08
}

export const program = Effect.gen(function* () {
  const rates = yield* Rates
  const euro = yield* rates.of("EUR")
  // Not worth a second call: straight to the strategy.
  const unknown = yield* rates.of("XXX")
  return { euro, unknown, calls }
}).pipe(Effect.provide(Rates.layer(get)))
