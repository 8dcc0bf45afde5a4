import { Data, Effect } from "effect"
import { Recovery, RetryPolicy, Strategy } from "effect-recovery"

class Overloaded extends Data.TaggedError("Overloaded")<{ readonly level: string }> {}

const asked: Array<string> = []
const ask = (level: string, isUp = false): Effect.Effect<string, Overloaded> =>
  Effect.suspend(() => {
    asked.push(level)
    return isUp ? Effect.succeed(`${level} answer`) : new Overloaded({ level })
  })

// Less and less, but something: each level is tried when the one before it has nothing left to try.
const answer = (isShortUp: boolean) =>
  ask("full").pipe(
    Recovery.recover({
      Overloaded: Strategy.sequence(
        Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: "10 millis" })),
        Strategy.alternate(() => ask("simple")),
        Strategy.alternate(() => ask("short", isShortUp)),
        Strategy.skip("Please come back later.")
      )
    })
  )

export const program = Effect.gen(function* () {
  const answers = [yield* answer(true), yield* answer(false)]
  return { answers, asked: asked.slice(0, 4) }
})
