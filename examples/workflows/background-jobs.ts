import { PersistedQueue } from "@effect/experimental"
import { Effect, Layer, Schema } from "effect"
import { RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"

class Timeout extends Schema.TaggedError<Timeout>()("Timeout", {}) {}

const Job = Schema.Struct({ video: Schema.String, width: Schema.Number })

const worked: Array<string> = []

const download = Step.make("download", {
  success: Schema.String,
  run: (video: string) =>
    Effect.as(
      Effect.sync(() => void worked.push(`download ${video}`)),
      `${video}.raw`
    )
})

let resizes = 0

const resize = Step.make("resize", {
  success: Schema.String,
  error: Timeout,
  run: ({ file, width }: { file: string; width: number }) =>
    Effect.suspend(() => {
      worked.push(`resize ${file}`)
      return ++resizes === 1 ? Effect.fail(new Timeout()) : Effect.succeed(`${file} at ${width}`)
    }),
  recover: { Timeout: Strategy.retry(RetryPolicy.exponential({ initialDelay: "10 millis" })) }
})

const Encode = Workflow.make("encode", { input: Job, success: Schema.String, error: Timeout }, ({ video, width }) =>
  Effect.flatMap(download(video), (file) => resize({ file, width }))
)

// The queue hands out each job at least once; the run's id makes sure that it is done once.
const work = Effect.flatMap(PersistedQueue.make({ name: "videos", schema: Job }), (queue) =>
  queue.take((job, { id }) => Workflow.execute(Encode, { id, input: job, labels: { queue: "videos" } }))
)

export const program = Effect.gen(function* () {
  const queue = yield* PersistedQueue.make({ name: "videos", schema: Job })
  yield* queue.offer({ video: "cats", width: 640 }, { id: "video-1" })
  yield* queue.offer({ video: "dogs", width: 640 }, { id: "video-2" })
  const done = yield* Effect.all([work, work])
  // Delivered a second time: its outcome is on record, and nothing is done.
  const before = worked.length
  yield* Workflow.execute(Encode, { id: "video-1", input: { video: "cats", width: 640 } })
  return { done, worked: worked.length, again: worked.length - before }
}).pipe(
  Effect.provide(PersistedQueue.layer.pipe(Layer.provide(PersistedQueue.layerStoreMemory))),
  Effect.provide(Storage.layerMemory)
)
