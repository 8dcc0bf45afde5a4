import { Effect, Layer, Schema } from "effect"
import { Signal, Step, Storage, Worker, Workflow } from "effect-recovery"

const Approval = Signal.make("approval", Schema.Struct({ by: Schema.String, approved: Schema.Boolean }))

const sent: Array<string> = []

const draft = Step.make("draft", {
  success: Schema.String,
  run: (customer: string) => Effect.succeed(`Dear ${customer}, we are sorry.`)
})

const send = Step.make("send", {
  // The mail service remembers keys, so a mail that may have gone out is not sent twice.
  run: (mail: string, { idempotencyKey }) => Effect.sync(() => void sent.push(`${mail} (${idempotencyKey})`))
})

const Apology = Workflow.make("apology", { input: Schema.String, success: Schema.String }, (customer) =>
  Effect.gen(function* () {
    const mail = yield* draft(customer)
    // The run waits for three days at most, and no process waits with it.
    const answer = yield* Approval.wait({ within: "3 days" }).pipe(
      Effect.catchTag("SignalTimeout", () => Effect.succeed({ by: "the time limit", approved: false }))
    )
    if (!answer.approved) return `dropped by ${answer.by}`
    yield* send(mail)
    return `sent, approved by ${answer.by}`
  })
)

const worker = Worker.layer([Apology], { concurrency: 4 })

export const program = Effect.gen(function* () {
  yield* Workflow.start(Apology, { id: "ticket-7", input: "Ada" })
  yield* Workflow.start(Apology, { id: "ticket-8", input: "Bob" })
  // A web page would do this, in any process on the same storage.
  yield* Approval.send("ticket-7", { by: "carol", approved: true })
  yield* Approval.send("ticket-8", { by: "carol", approved: false })
  const outcomes = yield* Effect.all([Workflow.join(Apology, "ticket-7"), Workflow.join(Apology, "ticket-8")])
  return { outcomes, sent }
}).pipe(Effect.provide(worker.pipe(Layer.provideMerge(Storage.layerMemory))))
