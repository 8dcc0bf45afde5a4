import { Activity, DurableClock, DurableDeferred, Workflow } from "@effect/workflow"
import { Effect, Layer, Schema } from "effect"
import { Workflow as Runs, Storage } from "effect-recovery"
import { RecoveryEngine } from "effect-recovery/workflow-engine"

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}

const Order = Workflow.make({
  name: "order",
  payload: { id: Schema.String },
  success: Schema.String,
  error: Declined,
  idempotencyKey: ({ id }) => id
})

const Approved = DurableDeferred.make("approved", { success: Schema.String })

const OrderLive = Order.toLayer(({ id }) =>
  Effect.gen(function* () {
    yield* Activity.make({ name: "charge", error: Declined, execute: Effect.void }).pipe(
      Order.withCompensation(() => Effect.log("paid back")),
      Activity.retry({ times: 3 })
    )
    yield* DurableClock.sleep({ name: "cooling-off", duration: "50 millis" })
    const by = yield* DurableDeferred.await(Approved)
    return `${id} approved by ${by}`
  })
)

export const program = Effect.gen(function* () {
  const executionId = yield* Order.execute({ id: "o-1" }, { discard: true })
  yield* DurableDeferred.succeed(Approved, {
    token: DurableDeferred.tokenFromExecutionId(Approved, { workflow: Order, executionId }),
    value: "Ada"
  })
  const receipt = yield* Order.execute({ id: "o-1" })
  // The run is one as all others: on the page, in `recovery runs`, in the records of recoveries.
  const { steps } = yield* Runs.status(executionId)
  return { receipt, steps: steps.map(({ key }) => key) }
}).pipe(
  Effect.provide(OrderLive.pipe(Layer.provideMerge(RecoveryEngine.layer()), Layer.provideMerge(Storage.layerMemory)))
)
