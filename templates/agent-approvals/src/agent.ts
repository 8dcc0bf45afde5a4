import { Effect, Schema } from "effect"
import { RetryPolicy, Signal, Step, Workflow } from "effect-recovery"

export class ModelBusy extends Schema.TaggedError<ModelBusy>()("ModelBusy", {}) {}

export const Approval = Signal.make("approval", Schema.Struct({ by: Schema.String, approved: Schema.Boolean }))

// Call your model here. The answer is recorded, so a resume neither asks nor pays again.
const draft = Step.make("draft", {
  success: Schema.String,
  error: ModelBusy,
  retry: RetryPolicy.exponential({ initialDelay: "2 seconds", maxRetries: 5 }),
  run: (customer: string) =>
    Effect.as(Effect.log(`Asking the model for ${customer}`), `Dear ${customer}, we are sorry.`)
})

// A mail service that remembers keys sends each mail once.
const send = Step.make("send", {
  run: (mail: string, { idempotencyKey }) => Effect.log(`Sending "${mail}" (${idempotencyKey})`)
})

export const Apology = Workflow.make(
  "apology",
  { input: Schema.String, success: Schema.String, error: ModelBusy },
  (customer) =>
    Effect.gen(function* () {
      const mail = yield* draft(customer)
      // A run that waits costs a row, and no process. After three days the answer is no.
      const { approved, by } = yield* Approval.wait({ within: "3 days" }).pipe(
        Effect.catchTag("SignalTimeout", () => Effect.succeed({ by: "the time limit", approved: false }))
      )
      if (!approved) return `dropped by ${by}`
      yield* send(mail)
      return `sent, approved by ${by}`
    })
)
