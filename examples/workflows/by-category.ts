import { Effect, Schema } from "effect"
import { Recovery, RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"

// One class for every answer that is not a page: the status decides, not the tag.
class HttpFailure extends Schema.TaggedError<HttpFailure>()("HttpFailure", { status: Schema.Number }) {}

const answers: Record<string, Array<number>> = { "/a": [503, 503, 200], "/gone": [404] }
const keys = new Set<string>()

const get = (path: string, key: string) =>
  Effect.suspend(() => {
    keys.add(key)
    const status = answers[path]?.shift() ?? 500
    return status === 200 ? Effect.succeed(`page ${path}`) : Effect.fail(new HttpFailure({ status }))
  })

const fetchPage = Step.make("fetch page", {
  success: Schema.String,
  error: HttpFailure,
  run: (path: string, { idempotencyKey }) => get(path, idempotencyKey),
  // Which failures are worth another attempt: each is recorded, and has the idempotency key of the first.
  retry: RetryPolicy.byCategory({ unavailable: RetryPolicy.fixed({ maxRetries: 5, delay: "10 millis" }) })
})

const Import = Workflow.make(
  "import pages",
  { input: Schema.Array(Schema.String), success: Schema.Array(Schema.String), error: HttpFailure },
  (paths) =>
    Effect.forEach(paths, (path) =>
      // What the run does with a failure that is final. This decision is recorded, too.
      fetchPage(path).pipe(Recovery.recoverCategory({ "not-found": Strategy.skip("no page") }))
    )
)

export const program = Effect.gen(function* () {
  const pages = yield* Workflow.execute(Import, { id: "import-1", input: ["/a", "/gone"] })
  return { pages, keys: keys.size }
}).pipe(Effect.provide(Storage.layerMemory))
