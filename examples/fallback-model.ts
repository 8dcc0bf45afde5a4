/**
 * A call of a language model with two models to fall back to. The program
 * knows one function; which others may stand in for it, and when, is said in
 * layers, and checked against its type.
 */
import { Data, Effect } from "effect"
import { Fault, Recovery, RecoveryPolicy, RetryPolicy, Strategy } from "effect-recovery"

class Overloaded extends Data.TaggedError("Overloaded")<{ readonly model: string }> {
  readonly [Fault.declared] = Fault.declare({ category: "unavailable", retryAfter: "20 millis" })
}
class ContextTooLong extends Data.TaggedError("ContextTooLong")<{ readonly model: string }> {
  readonly [Fault.declared] = Fault.declare({ category: "validation" })
}

/** Stands for any provider's client. */
const model = (name: string, answer: (text: string) => Effect.Effect<string, Overloaded | ContextTooLong>) => {
  const calls = { made: 0 }
  const complete = (text: string) =>
    Effect.suspend(() => {
      calls.made++
      return Effect.map(answer(text), (summary) => `${name}: ${summary}`)
    })
  return { calls, complete }
}

const large = model("large", () => Effect.fail(new Overloaded({ model: "large" })))
const small = model("small", (text) =>
  text.length > 40 ? Effect.fail(new ContextTooLong({ model: "small" })) : Effect.succeed(text.slice(0, 9))
)

export const summarize = Recovery.named("summarize", large.complete)

/** A model of one's own, which always has time. */
const firstSentence = (text: string) => Effect.succeed(`no model: ${text.split(". ")[0]}.`)

const Fallbacks = RecoveryPolicy.layerAlternates(summarize, small.complete, firstSentence)

const Policy = RecoveryPolicy.layer({
  names: { summarize: Strategy.retry(RetryPolicy.fixed({ maxRetries: 2 })) }
})

export const program = Effect.gen(function* () {
  const short = yield* summarize("A short story. It ends.")
  const long = yield* summarize("A story that is longer than the small model can take. It ends, too.")
  return { short, long, calls: [large.calls.made, small.calls.made] }
}).pipe(Effect.provide([Fallbacks, Policy]))
