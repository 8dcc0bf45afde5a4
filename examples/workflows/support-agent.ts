import { AiError, LanguageModel, Prompt, Response, Tool, Toolkit } from "@effect/ai"
import { Effect, Layer, Schema, Stream } from "effect"
import { RetryPolicy, Signal, Step, Storage, Workflow } from "effect-recovery"

const Order = Schema.Struct({ id: Schema.String, paid: Schema.Number, damaged: Schema.Boolean })

const Tools = Toolkit.make(
  Tool.make("findOrder", { parameters: { id: Schema.String }, success: Order }),
  Tool.make("refund", { parameters: { order: Schema.String, amount: Schema.Number }, success: Schema.String })
)

// The model names tools, and the workflow uses them: nothing is done within the call of the model.
const toolkit: Toolkit.WithHandler<typeof Tools.tools> = {
  tools: Tools.tools,
  handle: () => Effect.dieMessage("The workflow uses the tools")
}

// The answer is recorded with its tool calls, so a resume neither asks nor pays again.
const ask = Step.make("ask", {
  success: Schema.Array(Response.Part(Tools)),
  error: AiError.AiError,
  retry: RetryPolicy.exponential({ initialDelay: "10 millis", maxRetries: 5 }),
  timeout: "2 minutes",
  run: (prompt: Prompt.Prompt) =>
    Effect.map(
      LanguageModel.generateText({ prompt, toolkit, disableToolCallResolution: true }),
      ({ content }) => content
    )
})

// It changes nothing, so it may run again.
const findOrder = Step.make("findOrder", {
  success: Order,
  run: (id: string) => Effect.succeed({ id, paid: 30, damaged: true })
})

const refunds = new Map<string, number>()
// The bank remembers keys, so money that may have been sent is not sent twice.
const refund = Step.make("refund", {
  run: (amount: number, { idempotencyKey }) => Effect.sync(() => void refunds.set(idempotencyKey, amount))
})

const Approval = Signal.make("approval", Schema.Struct({ by: Schema.String, approved: Schema.Boolean }))

/** What a person may refuse waits for a person: for a day, and no process waits with it. */
const refundIfApproved = (id: string, amount: number) =>
  Effect.gen(function* () {
    const { approved, by } = yield* Approval.wait({ id, within: "1 day" }).pipe(
      Effect.catchTag("SignalTimeout", () => Effect.succeed({ by: "the time limit", approved: false }))
    )
    if (approved) yield* refund(amount)
    return approved ? `refunded, approved by ${by}` : `refused by ${by}`
  })

/** Each tool is a step, or a part of the body that waits. */
const use = (call: Response.ToolCallParts<typeof Tools.tools>) =>
  Effect.gen(function* () {
    const { id, name } = call
    const result =
      call.name === "findOrder" ? yield* findOrder(call.params.id) : yield* refundIfApproved(id, call.params.amount)
    return Response.toolResultPart({
      id,
      name,
      result,
      encodedResult: result,
      isFailure: false,
      providerExecuted: false
    })
  })

const Support = Workflow.make(
  "support",
  { input: Schema.String, success: Schema.String, error: AiError.AiError },
  (mail) =>
    Effect.gen(function* () {
      let prompt = Prompt.make(mail)
      for (let turn = 0; turn < 10; turn++) {
        const answer = yield* ask(prompt)
        const calls = answer.filter((part) => part.type === "tool-call")
        if (calls.length === 0) return answer.map((part) => (part.type === "text" ? part.text : "")).join("")
        const results = yield* Effect.forEach(calls, use)
        prompt = Prompt.merge(prompt, Prompt.fromResponseParts([...answer, ...results]))
      }
      return "A person will answer: the model did not come to an end."
    })
)

/** A model on this machine, in the place of a provider's layer. It is overloaded at first. */
let asked = 0
const localModel = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: ({ prompt }) =>
      Effect.suspend((): Effect.Effect<Array<Response.PartEncoded>, AiError.AiError> => {
        if (++asked === 1) {
          return new AiError.UnknownError({ module: "local", method: "generateText", description: "overloaded" })
        }
        const results = prompt.content.filter(({ role }) => role === "tool").length
        const parts: ReadonlyArray<Response.PartEncoded> = [
          { type: "tool-call", id: "call-1", name: "findOrder", params: { id: "order-7" } },
          { type: "tool-call", id: "call-2", name: "refund", params: { order: "order-7", amount: 30 } },
          { type: "text", text: "We are sorry. Your 30 are on their way." }
        ]
        return Effect.succeed(parts.slice(results, results + 1))
      }),
    streamText: () => Stream.empty
  })
)

export const program = Effect.gen(function* () {
  const mail = { id: "mail-1", input: "The cup of order-7 came broken." }
  const waits = yield* Effect.flip(Workflow.execute(Support, mail))
  const before = asked
  // A page or `recovery signal` does this, and a worker resumes the run, which reads two answers and the order from the journal.
  yield* Approval.send("mail-1", { by: "carol", approved: true }, { id: "call-2" })
  const answer = yield* Workflow.execute(Support, mail)
  return { waits: waits._tag, answer, refunds: [...refunds], asked: [before, asked] }
}).pipe(Effect.provide(localModel), Effect.provide(Storage.layerMemory))
