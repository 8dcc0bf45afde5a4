import { Effect, Fiber, Schema, TestClock, TestContext } from "effect"
import { Recovery, RetryPolicy, Signal, Step, Storage, Transaction, Workflow } from "effect-recovery"

const log: Array<string> = []
const say = (line: string) => Effect.sync(() => void log.push(line))

// #region order
class BankDown extends Schema.TaggedError<BankDown>()("BankDown", {}) {}
class NotApproved extends Schema.TaggedError<NotApproved>()("NotApproved", {}) {}

const Approve = Signal.make("approve", Schema.String)

const charge = Step.make("charge", {
  success: Schema.String,
  error: BankDown,
  retry: RetryPolicy.exponential({ maxRetries: 5 }),
  timeout: "5 seconds",
  run: (amount: number, { idempotencyKey }) => Effect.as(say(`charged ${amount}`), idempotencyKey),
  compensate: ({ idempotencyKey }) => say(`refunded ${idempotencyKey}`)
})

const ship = Step.make("ship", { run: (item: string) => say(`shipped ${item}`) })

const Order = Workflow.make(
  "order",
  { input: Schema.String, success: Schema.String, error: Schema.Union(BankDown, NotApproved, Recovery.AttemptTimeout) },
  (item) =>
    Effect.gen(function* () {
      yield* charge(30)
      const by = yield* Approve.wait({ within: "3 days" })
      yield* Workflow.sleep("1 hour")
      yield* ship(item)
      return `${item}, approved by ${by}`
    }).pipe(
      Effect.catchTag("SignalTimeout", () => new NotApproved()),
      Transaction.run()
    )
)
// #endregion

// In virtual time: the hour passes at once.
export const program = Effect.gen(function* () {
  yield* Workflow.start(Order, { id: "order-1", input: "book" })
  yield* Approve.send("order-1", "ada")
  const order = yield* Effect.fork(Workflow.execute(Order, { id: "order-1", input: "book" }))
  yield* TestClock.adjust("1 hour")
  return { outcome: yield* Fiber.join(order), log }
}).pipe(Effect.provide(Storage.layerMemory), Effect.provide(TestContext.TestContext))
