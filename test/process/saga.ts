/** Some steps and one that fails, in a transaction. Its parent says where it is killed. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Step, Workflow } from "effect-recovery"
import { Ledger, Testing } from "effect-recovery/testing"
import { formOf } from "../support/transactionForms.js"
import { childStorage } from "./childStorage.js"

class NoStock extends Schema.TaggedError<NoStock>()("NoStock", { item: Schema.String }) {}

const noted = (name: string) =>
  Step.make(name, {
    success: Schema.String,
    run: Effect.as(Ledger.done(name), `${name} done`),
    compensate: () => Ledger.undone(name)
  })

const failing = Step.make("failing", {
  error: NoStock,
  run: Effect.zipRight(Ledger.done("failing"), new NoStock({ item: "book" }))
})

/** The form of the transaction is the second argument. */
const { transact } = formOf(process.argv[3])

const Saga = Workflow.make("saga", { error: NoStock }, () =>
  Effect.forEach(Array.from({ length: Number(process.argv[2]) }), (_, i) => noted(`step ${i + 1}`)).pipe(
    Effect.zipRight(failing),
    (self) => transact(self)
  )
)

Effect.runPromise(Testing.child(Saga, { input: undefined, storage: childStorage }))
