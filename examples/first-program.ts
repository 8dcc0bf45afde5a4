import { Console, Effect, Schema } from "effect"
import { RetryPolicy, Step, Storage, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"

class Offline extends Schema.TaggedError<Offline>()("Offline", { status: Schema.Number }) {}

const download = Step.make("download", {
  success: Schema.String,
  error: Offline,
  retry: RetryPolicy.byCategory(),
  run: (url: string) =>
    Effect.tryPromise({ try: () => fetch(url), catch: () => new Offline({ status: 503 }) }).pipe(
      Effect.filterOrFail(
        (response) => response.ok,
        ({ status }) => new Offline({ status })
      ),
      Effect.flatMap((response) => Effect.promise(() => response.text()))
    )
})

const count = Step.make("count", {
  success: Schema.Number,
  run: (text: string) => Effect.succeed(text.split(/\s+/).length)
})

const CountWords = Workflow.make(
  "count-words",
  { input: Schema.String, success: Schema.Number, error: Offline },
  (url) => Effect.flatMap(download(url), count)
)

const program = (id: string, url: string) => Workflow.execute(CountWords, { id, input: url })

const url = "data:text/plain,four%20words%20of%20text"

// Durable: killed at any point, it goes on when it is started again.
const durable = program("words-1", url).pipe(Effect.provide(SqliteStorage.layer({ filename: "runs.db" })))

// The same program in a test: nothing is written anywhere.
const test = program("words-1", url).pipe(Effect.provide(Storage.layerMemory))

Effect.runPromise(Effect.zip(durable, test).pipe(Effect.tap(Console.log)))
