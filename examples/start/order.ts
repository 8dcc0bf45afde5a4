import { Console, Effect, Schema } from "effect"
import { Signal, Step, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"

const Approval = Signal.make("approval", Schema.Struct({ by: Schema.String }))

const reserve = Step.make("reserve", {
  success: Schema.String,
  run: (item: string) => Effect.as(Console.log(`reserving a ${item}`), `${item} 17`)
})

// As a power cut would: the process ends in the middle of the step.
const powerCut = Effect.sync(() => process.kill(process.pid, "SIGKILL"))

const pack = Step.make("pack", {
  run: (unit: string) =>
    Console.log(`packing ${unit}`).pipe(Effect.zipLeft(process.env["CRASH"] ? powerCut : Effect.void))
})

const ship = Step.make("ship", { run: (unit: string) => Console.log(`shipping ${unit}`) })

const Order = Workflow.make("order", { input: Schema.String, success: Schema.String }, (item) =>
  Effect.gen(function* () {
    const unit = yield* reserve(item)
    yield* pack(unit)
    const { by } = yield* Approval.wait()
    yield* ship(unit)
    return `${unit} is on its way, approved by ${by}`
  })
)

Workflow.execute(Order, { id: "order-1", input: "book" }).pipe(
  Effect.catchTag("RunSuspended", ({ waits }) => Effect.succeed(`waits for ${waits.map(({ about }) => about).join()}`)),
  Effect.flatMap(Console.log),
  Effect.provide(SqliteStorage.layer({ filename: "orders.db" })),
  Effect.runPromise
)
