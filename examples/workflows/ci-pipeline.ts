import { Effect, Schema } from "effect"
import { Answer, Graph, RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"

class Flaky extends Schema.TaggedError<Flaky>()("Flaky", { test: Schema.String }) {}
class Rejected extends Schema.TaggedError<Rejected>()("Rejected", { by: Schema.String }) {}

const Sources = Schema.Struct({ commit: Schema.String, files: Schema.Number })

const commit = Graph.input<string>()("commit")

const checkout = Graph.node(
  { commit },
  Step.make("checkout", { success: Sources, run: ({ commit }) => Effect.succeed({ commit, files: 12 }) })
)

const lint = Graph.node(
  { checkout },
  Step.make("lint", { success: Schema.Number, run: ({ checkout }) => Effect.succeed(checkout.files % 5) })
)

let runs = 0

const test = Graph.node(
  { checkout },
  Step.make("test", {
    success: Schema.Number,
    error: Flaky,
    run: ({ checkout }) =>
      Effect.suspend(() =>
        ++runs < 3 ? Effect.fail(new Flaky({ test: "clock" })) : Effect.succeed(checkout.files * 10)
      ),
    recover: { Flaky: Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: "10 millis" })) }
  })
)

// A gate is a step that asks a person: an answer with a value lets the run through.
const review = Graph.node(
  { lint, test },
  Step.make("review", {
    success: Schema.Struct({ by: Schema.String }),
    error: Rejected,
    run: () => Effect.fail(new Rejected({ by: "no reviewer yet" })),
    recover: { Rejected: Strategy.manual("Deploy this commit?") }
  })
)

const deploy = Graph.node(
  { checkout, review },
  Step.make("deploy", {
    success: Schema.String,
    run: ({ checkout, review }) => Effect.succeed(`${checkout.commit}, approved by ${review.by}`)
  })
)

const pipeline = Graph.make("ci", { lint, test, deploy })

const Ci = Workflow.make(
  "ci",
  {
    input: Schema.String,
    success: Schema.Struct({ lint: Schema.Number, test: Schema.Number, deploy: Schema.String }),
    error: Schema.Union(Flaky, Rejected)
  },
  (commit) => Graph.run(pipeline, { inputs: { commit }, concurrency: 2 })
)

export const program = Effect.gen(function* () {
  const ci = Workflow.execute(Ci, { id: "ci-c0ffee", input: "c0ffee" })
  const waiting = yield* Effect.flip(ci)
  const drawing = Graph.toMermaid(pipeline, yield* Workflow.status("ci-c0ffee"))
  yield* Workflow.resolve("ci-c0ffee", Answer.json({ by: "ada" }))
  const result = yield* ci
  return { waiting: waiting._tag, asked: drawing.includes("review: asked"), result, testRuns: runs }
}).pipe(Effect.provide(Storage.layerMemory))
