import { Data, Effect } from "effect"
import { Fault, Recovery, RecoveryPolicy, RetryPolicy, Strategy } from "effect-recovery"

class Offline extends Data.TaggedError("Offline")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "network" })
}

let charges = 0
let reads = 0

// Programs say what they do; how failures are answered is said elsewhere.
const charge = Effect.sync(() => charges++).pipe(
  Effect.zipRight(Effect.fail(new Offline())),
  Recovery.auto("charge-card")
)
const balance = Effect.suspend(() => (++reads < 3 ? Effect.fail(new Offline()) : Effect.succeed(42))).pipe(
  Recovery.auto("read-balance")
)

const production = RecoveryPolicy.layer({
  // Charging twice is worse than not charging at all.
  names: { "charge-card": Strategy.abort },
  categories: { network: Strategy.retry(RetryPolicy.fixed({ delay: "10 millis" })) }
})

export const program = Effect.gen(function* () {
  const failure = yield* Effect.flip(charge)
  return { failure: failure._tag, charges, balance: yield* balance, reads }
}).pipe(Effect.provide(production))
