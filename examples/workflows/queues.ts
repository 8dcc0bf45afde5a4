import { Effect, Layer, Schema } from "effect"
import { Queue, Step, Storage, Worker, Workflow } from "effect-recovery"

// Over all processes: two runs at once, one for each tenant, and 100 starts a minute.
const Encode = Queue.make("encode", { concurrency: 2, perKey: 1, rate: { limit: 100, per: "1 minute" } })

const order: Array<string> = []

const encode = Step.make("encode", {
  run: (file: string) =>
    Effect.zipRight(
      Effect.sync(() => void order.push(file)),
      Effect.sleep("20 millis")
    )
})

const Video = Workflow.make("video", { input: Schema.String }, (file) => encode(file))

const upload = (tenant: string, file: string, priority = 0) =>
  Workflow.start(Video, { id: file, input: file, queue: Encode, key: tenant, priority })

// Each start within 50 ms replaces the input of the one before.
const thumbnail = (file: string) => Workflow.start(Video, { id: "thumbnail", input: file, debounce: "50 millis" })

const worker = Worker.layer([Video], { queues: [Encode] })

export const program = Effect.gen(function* () {
  for (const file of ["ada-1", "ada-2", "ada-3"]) yield* upload("ada", file)
  yield* upload("bob", "bob-1")
  yield* upload("eve", "eve-1", 10)
  yield* Effect.gen(function* () {
    for (const file of ["ada-1", "ada-2", "ada-3", "bob-1", "eve-1"]) yield* Workflow.join(Video, file)
    for (const file of ["draft", "better", "final"]) yield* thumbnail(file)
    yield* Workflow.join(Video, "thumbnail")
  }).pipe(Effect.provide(worker))
  return order
}).pipe(Effect.provide(Layer.fresh(Storage.layerMemory)))
