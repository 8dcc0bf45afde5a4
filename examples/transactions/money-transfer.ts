import * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Layer, Schema } from "effect"
import { Step, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"

class Overdrawn extends Schema.TaggedError<Overdrawn>()("Overdrawn", { account: Schema.String }) {}

const Transfer = Schema.Struct({ from: Schema.String, to: Schema.String, amount: Schema.Number })

// Both rows and the line that says so are one commit: the money moves once, wherever the process dies.
const move = Step.transactional("move", {
  error: Overdrawn,
  run: ({ amount, from, to }: typeof Transfer.Type) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`UPDATE accounts SET balance = balance - ${amount} WHERE name = ${from}`
      yield* sql`UPDATE accounts SET balance = balance + ${amount} WHERE name = ${to}`
      const [row] = yield* sql<{ readonly balance: number }>`SELECT balance FROM accounts WHERE name = ${from}`
      // Failing takes the rows back.
      if ((row?.balance ?? 0) < 0) return yield* new Overdrawn({ account: from })
    }).pipe(Effect.catchTag("SqlError", Effect.die))
})

const Payment = Workflow.make("payment", { input: Transfer, error: Overdrawn }, (transfer) => move(transfer))

const accounts = Layer.effectDiscard(
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, balance INTEGER NOT NULL)`
    yield* sql`INSERT INTO accounts VALUES ('ada', 100), ('bob', 0) ON CONFLICT DO NOTHING`
  })
)

export const payments = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const pay = (id: string, amount: number) =>
    Workflow.execute(Payment, { id, input: { from: "ada", to: "bob", amount } })
  yield* pay("payment-1", 70)
  yield* pay("payment-1", 70) // The same payment: nothing more happens.
  const refused = yield* Effect.flip(pay("payment-2", 50))
  const balances = yield* sql<{ readonly balance: number }>`SELECT balance FROM accounts ORDER BY name`
  return { refused: refused._tag, balances: balances.map(({ balance }) => balance) }
}).pipe(Effect.provide(accounts))

// The storage lies in the program's own database: that is what lets them commit together.
const layer = SqliteStorage.layerClient().pipe(Layer.provideMerge(SqliteClient.layer({ filename: ":memory:" })))

export const program = Effect.provide(payments, layer)
