import { Effect, Schema } from "effect"
import { Step, Storage, Workflow } from "effect-recovery"

const importPage = Step.make("import page", {
  success: Schema.NullOr(Schema.Number),
  run: (page: number) => Effect.succeed(page < 1_000 ? page + 1 : null)
})

const Import = Workflow.make("import", { input: Schema.Number }, (page, continueAs) =>
  Effect.flatMap(importPage(page), (next) => (next === null ? Effect.void : continueAs(next)))
)

export const program = Effect.gen(function* () {
  yield* Workflow.execute(Import, { id: "import-1", input: 998 })
  const { generation, steps } = yield* Workflow.status("import-1")
  return { generation, steps: steps.length }
}).pipe(Effect.provide(Storage.layerMemory))
