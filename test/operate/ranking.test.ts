import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Layer, Random } from "effect"
import { Recovery, Storage, Strategy } from "effect-recovery"
import { Insights } from "effect-recovery/operate"
import { lengthOf } from "../support/campaigns.js"
import { turns } from "../support/time.js"

const strategies = ["modify", "restartIteration", "retry", "restartFrom", "skip", "restart"]

/** What a program would try first without insights. */
const firstByOrder = "modify"

class Failed extends Data.TaggedError("Failed")<{ readonly message: string; readonly status: number }> {}

/** A category of failure, with the chance that each strategy recovers it. */
const makeCase = (status: number) =>
  Effect.map(
    Effect.forEach(strategies, (strategy) => Effect.map(Random.next, (chance) => ({ strategy, chance }))),
    (chances) => ({
      error: new Failed({ message: `status ${status}`, status }),
      chances,
      best: chances.reduce((a, b) => (b.chance > a.chance ? b : a)).strategy
    })
  )

/** One recovery in which these strategies succeed: whether any did, and whether the first tried did. */
const recover = (error: Failed, succeeding: ReadonlySet<string>) =>
  Effect.gen(function* () {
    const tried: Array<string> = []
    const attempt = (strategy: string) =>
      Strategy.alternate(() =>
        Effect.suspend(() => {
          tried.push(strategy)
          return succeeding.has(strategy) ? Effect.succeed(strategy) : Effect.fail(error)
        })
      )
    const auto = Strategy.auto(Object.fromEntries(strategies.map((strategy) => [strategy, attempt(strategy)])))
    const { _tag } = yield* Effect.exit(Recovery.recover(Effect.fail(error), { Failed: auto }, { name: "work" }))
    yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
    return { recovered: _tag === "Success", byFirst: succeeding.has(tried[0] ?? "") }
  })

/** How many of 400 recoveries succeeded, after 200 to learn from, beside those of two fixed choices. */
const simulate = (seed: number) =>
  Effect.gen(function* () {
    const cases = yield* Effect.forEach([429, 503, 404, 409], makeCase)
    const successes = { any: 0, byFirst: 0, byOrder: 0, byBest: 0 }
    for (let i = 0; i < 150; i++) {
      for (const { best, chances, error } of cases) {
        const drawn = yield* Effect.filter(chances, ({ chance }) => Effect.map(Random.next, (n) => n < chance))
        const succeeding = new Set(drawn.map(({ strategy }) => strategy))
        const result = yield* recover(error, succeeding)
        if (i < 50) continue
        successes.any += Number(result.recovered)
        successes.byFirst += Number(result.byFirst)
        successes.byOrder += Number(succeeding.has(firstByOrder))
        successes.byBest += Number(succeeding.has(best))
      }
    }
    return successes
  }).pipe(
    Effect.withRandom(Random.make(seed)),
    Effect.provide(Insights.layer.pipe(Layer.provideMerge(Storage.layerMemory)))
  )

describe("Strategy.auto with Insights", () => {
  it.effect(
    "after 200 recoveries, its first choice succeeds 95 % as often as the best, and never less than the order",
    () =>
      Effect.gen(function* () {
        const shares: Array<number> = []
        for (let seed = 1; seed <= lengthOf("RANKING_SEEDS"); seed++) {
          const { any, byBest, byFirst, byOrder } = yield* simulate(seed)
          assert.isAtLeast(any, byBest, `seed ${seed}`)
          assert.isAtLeast(byFirst, byOrder, `seed ${seed}`)
          shares.push(byFirst / byBest)
          // The test process must report to vitest now and then.
          yield* turns(1)
        }
        assert.isAtLeast(shares.reduce((sum, share) => sum + share) / shares.length, 0.95)
      })
  )
})
