/** The workflows of the workers on Postgres. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Signal, Step, Workflow } from "effect-recovery"

export const Go = Signal.make("go", Schema.Number)

export const makePgJobs = (begin: (run: string, step: string) => Effect.Effect<void>) => {
  const step = (name: string) => Step.make(name, { run: (_: number, { run }) => begin(run, name) })(0)
  const Two = Workflow.make("two", {}, () => Effect.zipRight(step("first"), step("second")))
  const Waits = Workflow.make("waits", { success: Schema.Number }, () =>
    Effect.zipRight(step("before"), Effect.zipLeft(Go.wait({ id: "go" }), step("after")))
  )
  const Sleeps = Workflow.make("sleeps", {}, () =>
    Effect.zipRight(step("before"), Effect.zipRight(Workflow.sleep("3 seconds"), step("after")))
  )
  return [Two, Waits, Sleeps] as const
}
