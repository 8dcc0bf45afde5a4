import { Effect, Schema, type Scope } from "effect"
import { Step, Storage, Transaction, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { Ledger, Scorecard, Testing } from "effect-recovery/testing"

class NoRoom extends Schema.TaggedError<NoRoom>()("NoRoom", {}) {}

// The steps note what they do to the world outside.
const flight = Step.make("flight", {
  run: Ledger.done("flight booked"),
  compensate: () => Ledger.undone("flight booked")
})
const hotel = Step.make("hotel", { error: NoRoom, run: new NoRoom() })

const Trip = Workflow.make("trip", { error: NoRoom }, () => Transaction.run(Effect.zipRight(flight, hotel)))

// One process for each durable write and each side of it, ended right there; another one takes over.
const survives = (store: Effect.Effect<Storage.Store, never, Scope.Scope>) =>
  Effect.map(Testing.crashEverywhere(Trip, { input: undefined, store }), (card) => ({
    crashes: card.crashes,
    clean: Scorecard.isClean(card)
  }))

// The same test, whatever keeps the runs.
export const program = Effect.all([
  survives(Effect.sync(Storage.memoryStore)),
  survives(Effect.orDie(SqliteStorage.store({ filename: ":memory:" })))
])
