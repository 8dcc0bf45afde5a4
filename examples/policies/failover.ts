import { Data, Effect } from "effect"
import { Failover, Fault, Recovery } from "effect-recovery"

class Down extends Data.TaggedError("Down")<{ readonly region: string }> {
  readonly [Fault.declared] = Fault.declare({ category: "unavailable" })
}

const asked: Array<string> = []
const region =
  (name: string, isUp: boolean) =>
  (path: string): Effect.Effect<string, Down> =>
    Effect.suspend(() => {
      asked.push(name)
      return isUp ? Effect.succeed(`${path} from ${name}`) : Effect.fail(new Down({ region: name }))
    })

const west = region("west", false)
const east = region("east", true)

export const program = Effect.gen(function* () {
  const read = yield* Failover.make({
    name: "read",
    // Each way is an effect like any other: with a timeout, retries, or a recovery of its own.
    ways: { west: (path: string) => Recovery.attemptTimeout(west(path), "2 seconds"), east }
  })
  const answers = yield* Effect.replicateEffect(read("/rates"), 4)
  const status = yield* read.status
  return { answer: answers[0], asked, order: status.map(({ state, way }) => `${way} ${state}`) }
})
