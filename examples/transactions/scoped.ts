import { Data, Effect } from "effect"
import { Transaction } from "effect-recovery"

class Declined extends Data.TaggedError("Declined")<{}> {}

const log: Array<string> = []
const say = (line: string) => Effect.sync(() => void log.push(line))

const book = (what: string) => say(`${what} booked`).pipe(Transaction.withCompensation(() => say(`${what} cancelled`)))

// The layer makes the effect that it is provided to a transaction. Effect<void>
const weekend = book("cabin").pipe(Effect.provide(Transaction.layer({ name: "weekend" })))

// As a resource, the transaction ends with the scope. Effect<void, Declined, Scope>
const trip = Effect.gen(function* () {
  yield* Effect.acquireRelease(say("connected"), () => say("disconnected"))
  const transaction = yield* Transaction.scoped({ name: "trip" })
  yield* Effect.all([book("hotel"), book("flight")]).pipe(Effect.provideService(Transaction.Transaction, transaction))
  return yield* new Declined()
})

export const program = Effect.gen(function* () {
  yield* weekend
  yield* Effect.exit(Effect.scoped(trip))
  return log
})
