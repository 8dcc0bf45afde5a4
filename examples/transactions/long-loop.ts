import { Effect, Option, Schema } from "effect"
import { Checkpoint, RetryPolicy, Step, Storage, Workflow } from "effect-recovery"

class DiskFull extends Schema.TaggedError<DiskFull>()("DiskFull", { file: Schema.Number }) {}

const Progress = Checkpoint.make("progress", {
  schema: Schema.Struct({ files_processed: Schema.Number, total: Schema.Number }),
  // A long loop needs its newest ones only.
  retention: { keep: 3 }
})

const processed: Array<number> = []
let full = true

const processFile = (file: number) =>
  file === 700 && full
    ? Effect.zipRight(
        Effect.sync(() => {
          full = false
        }),
        new DiskFull({ file })
      )
    : Effect.sync(() => void processed.push(file))

// One step with a thousand files: the next attempt, or the next process, begins where the last one left off.
const convert = Step.make("convert", {
  success: Schema.Number,
  error: Schema.Union(DiskFull, Checkpoint.CheckpointInvalid, Checkpoint.CheckpointNotFound),
  run: (total: number) =>
    Effect.gen(function* () {
      const latest = yield* Progress.latest()
      const first = Option.match(latest, { onNone: () => 0, onSome: ({ state }) => state.files_processed })
      for (let file = first; file < total; file++) {
        yield* processFile(file)
        if ((file + 1) % 100 === 0) yield* Progress.save({ files_processed: file + 1, total })
      }
      return total - first
    }),
  retry: RetryPolicy.fixed({ maxRetries: 1, delay: "10 millis" })
})

const Convert = Workflow.make(
  "convert",
  {
    input: Schema.Number,
    success: Schema.Number,
    error: Schema.Union(DiskFull, Checkpoint.CheckpointInvalid, Checkpoint.CheckpointNotFound)
  },
  (total) => convert(total)
)

export const program = Effect.gen(function* () {
  const lastAttempt = yield* Workflow.execute(Convert, { id: "convert-1", input: 1_000 })
  const kept = yield* Progress.list({ run: "convert-1" })
  return { lastAttempt, processed: processed.length, kept: kept.length }
}).pipe(Effect.provide(Storage.layerMemory))
