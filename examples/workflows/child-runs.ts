import { Effect, Layer, Schema } from "effect"
import { Step, Storage, Worker, Workflow } from "effect-recovery"

const Ship = Workflow.make("ship", { input: Schema.String, success: Schema.String }, (item) =>
  Step.make("pack", { success: Schema.String, run: (item: string) => Effect.succeed(`parcel of ${item}`) })(item)
)
const Mail = Workflow.make("mail", { input: Schema.String }, (to) =>
  Step.make("send", { run: (to: string) => Effect.logDebug(`mail to ${to}`) })(to)
)

const Order = Workflow.make("order", { input: Schema.String, success: Schema.String }, (item) =>
  Effect.gen(function* () {
    yield* Workflow.start(Mail, { id: "mail", input: "ada" }) // a worker executes it, this run continues
    const parcel = yield* Workflow.execute(Ship, { id: "ship", input: item }) // waits
    yield* Workflow.join(Mail, "mail") // waits
    return parcel
  })
)

export const program = Effect.gen(function* () {
  yield* Workflow.start(Order, { id: "order-1", input: "book" })
  const parcel = yield* Workflow.join(Order, "order-1")
  const { children } = yield* Workflow.status("order-1")
  return { parcel, children: children.map(({ id, status }) => `${id} ${status}`).sort() }
}).pipe(Effect.provide(Worker.layer([Order, Mail]).pipe(Layer.provideMerge(Storage.layerMemory))))
