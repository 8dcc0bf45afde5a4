/** Five steps and a failing sixth, in a transaction; killed wherever its parent says. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Step, Transaction, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { Ledger, Testing } from "effect-recovery/testing"

class NoStock extends Schema.TaggedError<NoStock>()("NoStock", { item: Schema.String }) {}

const noted = (name: string) =>
  Step.make(name, {
    success: Schema.String,
    run: Effect.as(Ledger.done(name), `${name} done`),
    compensate: () => Ledger.undone(name)
  })

const sixth = Step.make("sixth", {
  error: NoStock,
  run: Effect.zipRight(Ledger.done("sixth"), new NoStock({ item: "book" }))
})

const Saga = Workflow.make("saga", { error: NoStock }, () =>
  Effect.forEach(["one", "two", "three", "four", "five"], (name) => noted(name)).pipe(
    Effect.zipRight(sixth),
    Transaction.run()
  )
)

Effect.runPromise(
  Testing.child(Saga, {
    input: undefined,
    storage: (folder) => SqliteStorage.layer({ filename: `${folder}/runs.db` })
  })
)
