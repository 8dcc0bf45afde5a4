import { Effect, Schema } from "effect"
import { Answer, Parameters, Step, Storage, Strategy, Workflow } from "effect-recovery"

class Declined extends Schema.TaggedError<Declined>()("Declined", { reason: Schema.String }) {}

// Settings that an answer may change; the step reads them at each attempt.
const Card = Parameters.make("card", Schema.Struct({ number: Schema.String }), { number: "expired" })

const charge = Step.make("charge", {
  success: Schema.Struct({ receipt: Schema.String }),
  error: Declined,
  run: (amount: number) =>
    Effect.flatMap(Card.get, ({ number }) =>
      number === "expired"
        ? Effect.fail(new Declined({ reason: "expired" }))
        : Effect.succeed({ receipt: `${amount} with ${number}` })
    ),
  recover: {
    Declined: Strategy.manual({
      question: ({ error }: Strategy.Failure<Declined>) => `The card was declined (${error.reason}). What now?`,
      to: "support",
      parameters: Card,
      skip: { receipt: "on the house" }
    })
  }
})

const Order = Workflow.make("order", { success: Schema.String, error: Declined }, () =>
  Effect.map(charge(30), ({ receipt }) => receipt)
)

/** Runs until it is asked, and then with this answer. */
const answered = (id: string, answer: Answer.Answer<never>) =>
  Effect.gen(function* () {
    yield* Effect.exit(Workflow.execute(Order, { id }))
    yield* Workflow.resolve(id, Answer.from({ by: "ada" })(answer))
    return yield* Workflow.execute(Order, { id })
  })

export const program = Effect.gen(function* () {
  yield* Effect.exit(Workflow.execute(Order, { id: "1" }))
  // What a page for support would show.
  const [run] = yield* Workflow.list({ status: "suspended" })
  return {
    asked: run?.waiting.map(({ about, id }) => `${id} ${about}`),
    again: yield* answered("1", Answer.retryWith(Card, { number: "4711" })),
    value: yield* answered("2", Answer.value(charge, { receipt: "paid in cash" })),
    skipped: yield* answered("3", Answer.skip)
  }
}).pipe(Effect.provide(Storage.layerMemory))
