import { Effect, Schema } from "effect"
import { RetryPolicy, Step, Workflow } from "effect-recovery"

export class StoreOffline extends Schema.TaggedError<StoreOffline>()("StoreOffline", {}) {}

const resize = Step.make("resize", {
  success: Schema.String,
  error: StoreOffline,
  retry: RetryPolicy.exponential({ initialDelay: "1 second", maxRetries: 5 }),
  run: (image: string) => Effect.as(Effect.log(`Resizing ${image} in process ${process.pid}`), `${image}.small`)
})

export const Resize = Workflow.make(
  "resize",
  { input: Schema.String, success: Schema.String, error: StoreOffline },
  (image) => resize(image)
)
