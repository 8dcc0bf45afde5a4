import { Effect, Schema } from "effect"
import { CircuitBreaker, Fault, PolicySchema, RetryPolicy, Step, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"

class BankDown extends Schema.TaggedError<BankDown>()("BankDown", {}) {
  readonly [Fault.declared] = Fault.declare({ category: "unavailable" })
}

// Stands for your bank: it is down for two calls.
let calls = 0
const bank = {
  charge: (amount: number, key: string): Effect.Effect<string, BankDown> =>
    Effect.suspend(() => (++calls < 3 ? new BankDown() : Effect.succeed(`${amount} charged as ${key}`)))
}

// #region order
const breaker = Effect.runSync(CircuitBreaker.make({ name: "bank", resetAfter: "30 seconds" }))

const charge = Step.make("charge", {
  success: Schema.String,
  error: Schema.Union(BankDown, PolicySchema.CircuitOpen),
  retry: RetryPolicy.exponential({ initialDelay: "100 millis", maxRetries: 5, jitter: "full" }),
  run: (amount: number, { idempotencyKey }) => bank.charge(amount, idempotencyKey).pipe(CircuitBreaker.protect(breaker))
})

const Order = Workflow.make(
  "order",
  { input: Schema.Number, success: Schema.String, error: Schema.Union(BankDown, PolicySchema.CircuitOpen) },
  (amount) => charge(amount) // and more steps: whatever is done is not done again
)

const program = Workflow.execute(Order, { id: "order-17", input: 30 }).pipe(
  Effect.provide(SqliteStorage.layer({ filename: "orders.db" })) // kill -9 here, start again: it continues
)
// #endregion

Effect.runPromise(program).then(console.log)
