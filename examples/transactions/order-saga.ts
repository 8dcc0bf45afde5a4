import { Effect, Option, Schema } from "effect"
import { RetryPolicy, Step, Storage, Transaction, Workflow } from "effect-recovery"

class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { item: Schema.String }) {}
class BankOffline extends Schema.TaggedError<BankOffline>()("BankOffline", {}) {}

const log: Array<string> = []
const say = (line: string) => Effect.sync(() => void log.push(line))

const reserve = Step.make("reserve", {
  run: (item: string) => say(`reserved ${item}`),
  compensate: ({ input }) => say(`released ${input}`)
})

let bankIsOnline = false

const charge = Step.make("charge", {
  success: Schema.String,
  run: (amount: number) => Effect.as(say(`charged ${amount}`), "receipt 17"),
  compensate: {
    // A charge that was cut short may or may not have happened; the bank can look it up by the key.
    undo: ({ idempotencyKey, output }) =>
      bankIsOnline
        ? say(`refunded ${Option.getOrElse(output, () => idempotencyKey)}`)
        : Effect.zipRight(say("refund failed"), new BankOffline()),
    retry: RetryPolicy.fixed({ maxRetries: 1, delay: "10 millis" }),
    timeout: "5 seconds"
  }
})

const pack = Step.make("pack", {
  error: OutOfStock,
  run: (item: string) => Effect.fail(new OutOfStock({ item }))
})

const Order = Workflow.make("order", { input: Schema.String, error: OutOfStock }, (item) =>
  Effect.gen(function* () {
    yield* reserve(item)
    yield* charge(30)
    yield* pack(item)
  }).pipe(Transaction.run())
)

export const program = Effect.gen(function* () {
  const error = yield* Effect.flip(Workflow.execute(Order, { id: "order-1", input: "book" }))
  if (error._tag !== "RollbackFailed") return error._tag
  // What could not be undone is named, and the original error is kept beside it.
  const report = { began: error.error?._tag, failed: error.failures.map(({ undo }) => undo) }
  // The bank is online again. Rewinding retries the compensation that failed.
  bankIsOnline = true
  yield* Workflow.rewind(Order, "order-1", Workflow.fromStart)
  return { ...report, log }
}).pipe(Effect.provide(Storage.layerMemory))
