import { Data, Effect, Schedule } from "effect"
import { CircuitBreaker, Fault, Recovery, RetryPolicy, Strategy } from "effect-recovery"

class NotFound extends Data.TaggedError("NotFound")<{}> {}
class Offline extends Data.TaggedError("Offline")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "network" })
}

/** Fails twice. */
const makeDownload = () => {
  let calls = 0
  return Effect.suspend(
    (): Effect.Effect<string, Offline | NotFound> => (++calls < 3 ? new Offline() : Effect.succeed("text"))
  )
}
const download = makeDownload()

// #region before
// Effect<string, Offline | NotFound>: NotFound is retried, too.
const before = download.pipe(
  Effect.retry(Schedule.exponential("1 second").pipe(Schedule.jittered, Schedule.intersect(Schedule.recurs(5))))
)
// #endregion

// #region policy
// The same type. A policy is a Schedule, so Effect's own retry takes it,
const same = download.pipe(Effect.retry(RetryPolicy.exponential({ maxRetries: 5, jitter: "full" })))
// this one costs nothing before the first failure, and knows that NotFound will not pass,
const byKind = download.pipe(RetryPolicy.retry(RetryPolicy.byCategory()))
// and this one leaves the policy to the layer the program runs with.
const layered = download.pipe(Recovery.retry)
// #endregion

// #region recover
// Effect<string, RecoveryExhausted<Offline>>
const recovered = download.pipe(
  Recovery.recover({
    Offline: Strategy.retry(RetryPolicy.exponential({ maxRetries: 5, jitter: "full" })),
    NotFound: Strategy.skip("")
  })
)
// #endregion

const get = async (url: string, signal: AbortSignal) => {
  signal.throwIfAborted()
  if (url.endsWith("none")) throw Object.assign(new Error("not found"), { status: 404 })
  return `text of ${url}`
}

// #region p-retry
const makeText = Recovery.recoverable({
  name: "text",
  retry: RetryPolicy.exponential({ maxRetries: 5, initialDelay: "1 second", jitter: "full" }),
  breaker: false
})

// A 404 is not retried: its status says that it will not pass. The signal is aborted if the caller is interrupted.
const text = (url: string) => Effect.flatMap(makeText, (guard) => guard.try((signal) => get(url, signal)))
// #endregion

// #region cockatiel
const makeGuard = Recovery.recoverable({
  name: "rates",
  bulkhead: { maxConcurrent: 20, maxQueue: 100 },
  retry: RetryPolicy.exponential({ maxRetries: 5, jitter: "decorrelated" }),
  breaker: { trip: CircuitBreaker.consecutive({ failures: 5 }), resetAfter: "30 seconds" },
  timeout: "2 seconds"
})

// The order is fixed, whatever the order of the options. Make the guard once, such as in a Layer: callers share its breaker.
const rates = Effect.map(makeGuard, (guard) => ({
  of: (currency: string) => guard.try((signal) => get(`https://rates.example/${currency}`, signal))
}))
// #endregion

const quick = Effect.provide(RetryPolicy.layer(RetryPolicy.fixed({ delay: "1 millis" })))

export const program = Effect.gen(function* () {
  const euro = yield* Effect.flatMap(rates, ({ of }) => of("EUR"))
  const none = yield* Effect.flip(text("none"))
  return { layered: yield* layered.pipe(quick), euro, none: none._tag }
})

/** Waits for seconds. */
export const slow = Effect.all([before, same, byKind, recovered])
