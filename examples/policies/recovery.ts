import { Data, Effect } from "effect"
import { Decision, Recovery, RetryPolicy, Strategy } from "effect-recovery"

class Offline extends Data.TaggedError("Offline")<{ readonly host: string }> {}
class Throttled extends Data.TaggedError("Throttled")<{ readonly seconds: number }> {}
class NotFound extends Data.TaggedError("NotFound")<{ readonly path: string }> {}

let attempts = 0
const download = (path: string): Effect.Effect<string, Offline | Throttled | NotFound> =>
  Effect.gen(function* () {
    if (path === "missing.txt") return yield* new NotFound({ path })
    if (++attempts === 1) return yield* new Throttled({ seconds: 0.01 })
    return yield* new Offline({ host: "a.example" })
  })

const fromMirror = (path: string) => Effect.succeed(`${path} from the mirror`)

// A strategy is a function from a failure to a decision.
const asTold = Strategy.make("asTold", ({ attempt, error }: Strategy.Failure<Throttled>) =>
  attempt < 5 ? Decision.again(`${error.seconds} seconds`) : Decision.exhausted
)

// Effect<string, Throttled | RecoveryExhausted<Throttled>>: Offline and NotFound are answered, whatever happens.
const recovered = (path: string) =>
  download(path).pipe(
    Recovery.recover({
      Offline: Strategy.sequence(
        Strategy.retry(RetryPolicy.fixed({ maxRetries: 2, delay: "10 millis" })),
        Strategy.alternate(() => fromMirror(path))
      ),
      Throttled: asTold,
      NotFound: Strategy.skip("")
    })
  )

export const program = Effect.gen(function* () {
  const file = yield* recovered("a.txt")
  return { file, attempts, missing: yield* recovered("missing.txt") }
})
