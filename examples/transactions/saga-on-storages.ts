import { Effect, Schema } from "effect"
import { RetryPolicy, Step, Storage, Transaction, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"

class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", {}) {}
class BankOffline extends Schema.TaggedError<BankOffline>()("BankOffline", {}) {}

const pack = Step.make("pack", { error: OutOfStock, run: new OutOfStock() })

/** The same test on any storage: an undo that fails stops the rollback, a rewind completes it. */
const test = Effect.gen(function* () {
  let bankIsOnline = false
  const refunds: Array<string> = []
  const charge = Step.make("charge", {
    run: Effect.void,
    compensate: {
      undo: () =>
        Effect.suspend(() => {
          refunds.push(bankIsOnline ? "refunded" : "refused")
          return bankIsOnline ? Effect.void : new BankOffline()
        }),
      retry: RetryPolicy.none
    }
  })
  const Order = Workflow.make("order", { error: OutOfStock }, () =>
    Effect.zipRight(charge, pack).pipe(Transaction.run())
  )

  const failed = yield* Effect.flip(Workflow.execute(Order, { id: "order-1" }))
  const undoFailed = failed._tag === "RollbackFailed" ? failed.failures.map(({ undo }) => undo) : []
  bankIsOnline = true
  yield* Workflow.rewind(Order, "order-1", Workflow.fromStart)
  return { failed: failed._tag, undoFailed, refunds }
})

const storages = [Storage.layerMemory, SqliteStorage.layer({ filename: ":memory:" })]

export const program = Effect.forEach(storages, (storage) => Effect.provide(test, storage))
