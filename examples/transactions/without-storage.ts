import { Data, Effect } from "effect"
import { Transaction } from "effect-recovery"

class Declined extends Data.TaggedError("Declined")<{}> {}

const log: Array<string> = []
const say = (line: string) => Effect.sync(() => void log.push(line))

const createFolder = say("folder created").pipe(Transaction.withCompensation(() => say("folder removed")))
const createAccount = say("account created").pipe(Transaction.withCompensation(() => say("account removed")))

// Effect<void, Declined | RollbackFailed<Declined>, never>
const signUp = Effect.gen(function* () {
  yield* createFolder
  yield* createAccount
  return yield* new Declined()
}).pipe(Transaction.run())

export const program = Effect.as(Effect.exit(signUp), log)
