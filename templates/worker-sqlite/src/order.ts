import { Effect, Schema } from "effect"
import { RetryPolicy, Step, Workflow } from "effect-recovery"

export class BankOffline extends Schema.TaggedError<BankOffline>()("BankOffline", {}) {}

// The bank remembers keys, so a payment that may have gone out is not made twice.
const charge = Step.make("charge", {
  success: Schema.String,
  error: BankOffline,
  retry: RetryPolicy.exponential({ initialDelay: "1 second", maxRetries: 5 }),
  run: (amount: number, { idempotencyKey }) =>
    Effect.as(Effect.log(`Charging ${amount} (${idempotencyKey})`), `receipt of ${amount}`)
})

const ship = Step.make("ship", { run: (item: string) => Effect.log(`Shipping a ${item}`) })

export const Order = Workflow.make(
  "order",
  {
    input: Schema.Struct({ item: Schema.String, amount: Schema.Number }),
    success: Schema.String,
    error: BankOffline
  },
  ({ amount, item }) => Effect.zipLeft(charge(amount), ship(item))
)
