import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { Step, Storage, Workflow } from "effect-recovery"

export const program = Effect.gen(function* () {
  const started = yield* Deferred.make<void>()
  const attempts: Array<string> = []

  const pack = Step.make("pack", {
    success: Schema.String,
    run: (item: string, attempt) =>
      Effect.suspend(() => {
        attempts.push(`attempt ${attempt.number}`)
        // The first attempt lasts until its process is stopped.
        return attempt.number === 1
          ? Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)
          : Effect.succeed(`${item}, packed`)
      })
  })
  const Order = Workflow.make("order", { input: Schema.String, success: Schema.String }, (item) => pack(item))
  const execute = Workflow.execute(Order, { id: "order-1", input: "book" })

  // Two services over one store behave like two processes on one database.
  const store = Storage.memoryStore()
  const processOf = (owner: string) => Layer.scoped(Storage.Storage, Storage.make(store, { owner }))

  const first = yield* Effect.fork(Effect.provide(execute, processOf("first")))
  yield* Deferred.await(started)
  const refused = yield* Effect.flip(Effect.provide(execute, processOf("second")))
  yield* Fiber.interrupt(first)
  const packed = yield* Effect.provide(execute, processOf("second"))
  return { refused: refused._tag, packed, attempts }
})
