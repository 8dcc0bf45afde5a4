import { Effect, Schema } from "effect"
import { Step, Workflow } from "effect-recovery"

// Half a second of work for each page.
const renderPage = Step.make("render", { run: (_page: number) => Effect.sleep("500 millis") })

export const Report = Workflow.make("report", { input: Schema.Struct({ pages: Schema.Number }) }, ({ pages }) =>
  Effect.forEach(
    Array.from({ length: pages }, (_, i) => i + 1),
    (page) => renderPage(page).pipe(Workflow.section("page", page)),
    { discard: true }
  )
)
