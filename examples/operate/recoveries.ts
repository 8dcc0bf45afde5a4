import { Effect, Layer, Schema } from "effect"
import { Fault, Step, Storage, Transaction, Workflow } from "effect-recovery"
import { Insights, RecoveryManager } from "effect-recovery/operate"
import { PipelineRules } from "effect-recovery/rules"

let mirror: "down" | "up" = "down"
const done: Array<string> = []

const compile = Step.make("compile", {
  run: Effect.sync(() => void done.push("compile")),
  compensate: () => Effect.sync(() => void done.push("clean"))
})
const publish = Step.make("publish", {
  error: Schema.String,
  run: Effect.suspend(() =>
    mirror === "up" ? Effect.sync(() => void done.push("publish")) : Effect.fail("connection refused by the mirror")
  )
})

// What is done stays done when a later step fails: an operator decides what becomes of it.
const Release = Workflow.make("release", { error: Schema.String }, () =>
  Effect.zipRight(compile, publish).pipe(Transaction.run({ rollbackWhen: () => false }))
)

// Failures of other systems are reported, and recovered by an action.
const rerun = (job: string) => Effect.sync(() => void done.push(`rerun ${job}`))

const layer = Layer.merge(
  RecoveryManager.layer({
    workflows: [Release],
    actions: { retry: ({ labels }) => rerun(labels.job ?? "") },
    timeout: "10 minutes"
  }),
  Insights.layer
).pipe(Layer.provideMerge(Layer.merge(Storage.layerMemory, Fault.layer(...PipelineRules.rules))))

export const program = Effect.gen(function* () {
  yield* Effect.ignore(Workflow.execute(Release, { id: "v1", labels: { repository: "shop" } }))
  yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)

  const [failure] = yield* RecoveryManager.failures({ run: "v1" })
  const suggestions = yield* Insights.suggest(failure?.id ?? "")
  mirror = "up"
  const recovery = yield* RecoveryManager.initiate(failure?.id ?? "", "retry", { reason: "the mirror is back" })

  const lint = yield* RecoveryManager.report("", {
    labels: { repository: "shop", job: "lint" },
    log: "running flake8\nsrc/app.py:7: flake8 error: E501 line too long\n"
  })
  // Returns before the work begins. Any process with this storage can wait for the end.
  const { id } = yield* RecoveryManager.begin(lint.id)
  const rerunning = yield* RecoveryManager.join(id)

  const { recoverySummary } = yield* RecoveryManager.dashboard("shop")
  return {
    suggested: suggestions.map(({ strategy }) => strategy),
    steps: recovery.progress.map(({ step }) => step),
    done,
    lint: [lint.category, lint.message, rerunning.status],
    successRate: recoverySummary.successRate
  }
}).pipe(Effect.provide(layer))
