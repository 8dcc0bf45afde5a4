/** Some steps in nested transactions, and one that cancels the run. Its parent says where it is killed. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Step, Storage, Workflow } from "effect-recovery"
import { Ledger, Testing } from "effect-recovery/testing"
import { formOf } from "../support/transactionForms.js"
import { childStorage } from "./childStorage.js"

/** The form of the transactions is the second argument. */
const { transact } = formOf(process.argv[2])

const noted = (name: string) => Step.make(name, { run: Ledger.done(name), compensate: () => Ledger.undone(name) })

const cancels = Step.make("cancels", {
  run: (reason: string, { run }: Step.Attempt) =>
    Effect.zipRight(Effect.orDie(Workflow.cancel(run, { reason })), Effect.never),
  compensate: () => Ledger.undone("cancels")
})

const Trip = Workflow.make("trip", {}, () =>
  noted("hotel").pipe(
    Effect.zipRight(transact(Effect.zipRight(noted("flight"), cancels("no longer needed")))),
    Effect.zipRight(noted("never")),
    (self) => transact(self)
  )
)

Effect.runPromise(
  Testing.child(Trip, { input: undefined, storage: childStorage, services: Layer.service(Storage.Storage) })
)
