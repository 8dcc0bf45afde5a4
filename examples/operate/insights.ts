import { Data, Effect, Layer } from "effect"
import { Recovery, RetryPolicy, Storage, Strategy } from "effect-recovery"
import { Insights } from "effect-recovery/operate"

class Offline extends Data.TaggedError("Offline")<{ readonly host: string }> {}

const tried: Array<string> = []
const search = (query: string): Effect.Effect<string, Offline> =>
  Effect.suspend(() => {
    tried.push("search")
    return new Offline({ host: `search-${query}.example` })
  })

// The strategies are tried in the order of what they came to before.
const find = (query: string) =>
  search(query).pipe(
    Recovery.recover(
      {
        Offline: Strategy.auto({
          retry: Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: "1 millis" })),
          skip: Strategy.skip("no results")
        })
      },
      { name: "find" }
    )
  )

const attemptsOf = (query: string) =>
  Effect.map(find(query), () => {
    const count = tried.length
    tried.length = 0
    return count
  })

export const program = Effect.gen(function* () {
  const insights = yield* Insights.Insights
  const first = yield* attemptsOf("a")
  yield* insights.settled
  yield* Effect.forEach(["b", "c", "d"], attemptsOf)
  yield* insights.settled
  // Retrying has never helped here: it is no longer tried first.
  const later = yield* attemptsOf("e")
  yield* insights.settled
  const { byStrategy } = yield* Insights.statistics
  return { first, later, skipped: byStrategy.skip?.successful, retried: byStrategy.retry?.successful }
}).pipe(Effect.provide(Insights.layer.pipe(Layer.provideMerge(Storage.layerMemory))))
