import { Context, Data, Effect, Layer, Schedule } from "effect"
import { CircuitBreaker, Fault, SharedBreaker, Storage } from "effect-recovery"

class Down extends Data.TaggedError("Down")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "unavailable" })
}

/** One breaker of all processes that call the rates service. */
class Rates extends Context.Tag("Rates")<Rates, CircuitBreaker.CircuitBreaker>() {
  static readonly layer = Layer.scoped(
    this,
    SharedBreaker.make({
      name: "rates",
      trip: CircuitBreaker.consecutive({ failures: 20 }),
      resetAfter: "30 seconds",
      interval: "20 millis"
    })
  )
}

let asked = 0
const rates = Effect.gen(function* () {
  const breaker = yield* Rates
  const call = Effect.zipRight(
    Effect.sync(() => asked++),
    Effect.fail(new Down())
  )
  return yield* call.pipe(CircuitBreaker.protect(breaker))
})

/** Calls until the breaker refuses; returns how often the service was asked. */
const callUntilRefused = Effect.gen(function* () {
  const before = asked
  yield* rates.pipe(
    Effect.retry({ while: ({ _tag }) => _tag === "Down", schedule: Schedule.spaced("20 millis") }),
    Effect.ignore
  )
  return asked - before
})

export const program = Effect.gen(function* () {
  // Two services over one store are like two processes on one database.
  const store = Storage.memoryStore()
  const processOf = (owner: string) =>
    Rates.layer.pipe(Layer.provide(Layer.scoped(Storage.Storage, Storage.make(store, { owner }))))
  const first = yield* Effect.provide(callUntilRefused, processOf("first"))
  const second = yield* Effect.provide(callUntilRefused, processOf("second"))
  return { first, spared: second < 20 }
})
