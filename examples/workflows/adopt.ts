import { Effect, Schema } from "effect"
import { Signal, Step, Storage, Workflow } from "effect-recovery"

const step = (name: string) => Step.make(name, { run: Effect.void })
const Paid = Signal.make("paid", Schema.String)

// As it was: its runs wait for a payment when the new code is deployed.
const before = Workflow.make("order", { version: "1" }, () =>
  Effect.zipRight(step("reserve"), Effect.asVoid(Paid.wait()))
)

// The same steps so far, and one more.
const after = Workflow.make("order", { version: "2" }, () =>
  Effect.all([step("reserve"), Paid.wait(), step("ship")], { discard: true })
)

// Another first step: no run of version 1 fits.
const other = Workflow.make("order", { version: "3" }, () => Effect.zipRight(step("check"), Effect.asVoid(Paid.wait())))

export const program = Effect.gen(function* () {
  yield* Effect.exit(Workflow.execute(before, { id: "order-1" }))

  const { refused } = yield* Workflow.adopt(other, { from: "1" })
  const { adopted } = yield* Workflow.adopt(after, { from: "1" })

  yield* Paid.send("order-1", "by card")
  yield* Workflow.execute(after, { id: "order-1" })
  return {
    // The run that does not fit version 3 stayed as it was, so that version 2 could adopt it.
    refused: refused.map(({ error, run }) => `${run}: ${error._tag}`),
    adopted,
    status: (yield* Workflow.status("order-1")).status,
    // Versions whose due runs no worker has taken for five minutes.
    unclaimed: yield* Workflow.unclaimed({ after: "5 minutes" })
  }
}).pipe(Effect.provide(Storage.layerMemory))
