import { Effect, Schema } from "effect"
import { RetryPolicy, Step, Storage, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"

class Offline extends Schema.TaggedError<Offline>()("Offline", { cause: Schema.Defect }) {}

// A step is named, typed, retried by the kind of its failure, and recorded when it is done.
const download = Step.make("download", {
  success: Schema.String,
  error: Offline,
  retry: RetryPolicy.byCategory(),
  run: (url: string) =>
    Effect.tryPromise({
      try: () => fetch(url).then((response) => response.text()),
      catch: (cause) => new Offline({ cause })
    })
})

const count = Step.make("count", {
  success: Schema.Number,
  run: (text: string) => Effect.succeed(text.split(" ").length)
})

// A workflow composes steps as the Effects they are.
const CountWords = Workflow.make(
  "count-words",
  { input: Schema.String, success: Schema.Number, error: Offline },
  (url) => Effect.flatMap(download(url), count)
)

const program = Workflow.execute(CountWords, { id: "words-1", input: "data:,four words of text" })

// Killed at any point, it continues when it is started again.
const durable = program.pipe(Effect.provide(SqliteStorage.layer({ filename: "words.db" })))

// The same program in a test writes nothing anywhere.
const inTest = program.pipe(Effect.provide(Storage.layerMemory))

Effect.runPromise(Effect.zip(durable, inTest)).then(console.log)
