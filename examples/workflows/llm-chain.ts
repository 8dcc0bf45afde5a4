import { AiError, LanguageModel } from "@effect/ai"
import { Effect, Layer, Schema, Stream } from "effect"
import { RetryPolicy, Step, Storage, Strategy } from "effect-recovery"
import { Chain } from "effect-recovery/chain"

/** A model on this machine, in the place of a provider's layer. It is overloaded at first. */
let calls = 0
const localModel = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: ({ prompt }) =>
      Effect.suspend(() => {
        if (++calls === 1) {
          return new AiError.UnknownError({ module: "local", method: "generateText", description: "overloaded" })
        }
        const isWarm = JSON.stringify(prompt).includes("warmer")
        return Effect.succeed([
          { type: "text" as const, text: isWarm ? "Tea, like a hug in a cup!" : "Tea is hot water." }
        ])
      }),
    streamText: () => Stream.empty
  })
)

// A step of its own, since models fail in ways of their own.
const write = Step.make("write", {
  success: Schema.String,
  error: AiError.AiError,
  run: ({ feedback, input }: Chain.Context<string, string>) =>
    Effect.map(
      LanguageModel.generateText({ prompt: [`Write about ${input}.`, ...Object.values(feedback)].join(" ") }),
      ({ text }) => text
    ),
  recover: { UnknownError: Strategy.retry(RetryPolicy.exponential({ initialDelay: "10 millis" })) }
})

const Slogan = Chain.make("slogan", {
  input: Schema.String,
  text: Schema.String,
  error: AiError.AiError,
  generate: write,
  validate: {
    length: (text) => Effect.succeed(text.length < 80 ? Chain.passed : Chain.failed("too long")),
    warmth: (text) => Effect.succeed(text.endsWith("!") ? Chain.passed : Chain.failed("too cold"))
  },
  criticize: { tone: () => Effect.succeed("Make it warmer.") },
  maxIterations: 3
})

export const program = Effect.gen(function* () {
  const result = yield* Slogan.runWithRecovery("tea", { id: "slogan-1" })
  // Once more: it is on record, and no model is asked.
  yield* Slogan.runWithRecovery("tea", { id: "slogan-1" })
  const steps = (yield* Slogan.history("slogan-1")).map(({ iteration, step }) => `${iteration} ${step}`)
  return { text: result.text, iterations: result.iterations, calls, steps: steps.length }
}).pipe(Effect.provide(localModel), Effect.provide(Storage.layerMemory))
