/**
 * A run of three transfers between accounts in another database than that of the journal.
 * At point number `killAt` it prints the point and waits to be killed.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as StockClient from "@effect/sql-sqlite-node/SqliteClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Step, Storage, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { aroundStatements, makePoints, say } from "./points.js"

/** The database of the rows is of this kind; on Postgres with its address as JSON. */
const [kind = "", folder = "", id = "", killAt = "0", address = "{}", journalName = "runs.db"] = process.argv.slice(2)

const { between, pass, passed } = makePoints(Number(killAt))

/** Points around every append to the journal. */
const journal = Layer.effect(
  Storage.Storage,
  Effect.map(Storage.Storage, (storage) => ({
    ...storage,
    append: (lease: Storage.Lease, entries: ReadonlyArray<Storage.Entry>) =>
      between(entries.map(({ kind }) => kind).join(), storage.append(lease, entries))
  }))
).pipe(Layer.provide(SqliteStorage.layer({ filename: `${folder}/${journalName}` })))

/** Points around every commit, whether the library or the client makes it. */
const withPoints = (client: SqlClient): SqlClient => {
  const withTransaction: SqlClient["withTransaction"] = (self) =>
    Effect.tap(
      client.withTransaction(Effect.tap(self, () => Effect.sync(() => pass("before the client commits")))),
      () => Effect.sync(() => pass("after the client has committed"))
    )
  const counted = new Proxy(client, {
    get: (target, name) => (name === "withTransaction" ? withTransaction : Reflect.get(target, name))
  })
  return aroundStatements(counted, (sql) => sql === "COMMIT", between)
}

const filename = `${folder}/shop.db`
const clients: Readonly<Record<string, () => Layer.Layer<SqlClient, unknown>>> = {
  stock: () => StockClient.layer({ filename }),
  own: () => SqliteClient.layer({ filename }),
  postgres: () => {
    const { user: username, ...rest } = JSON.parse(address)
    return PgClient.layer({ username, ...rest })
  }
}
const base = clients[kind]?.() ?? Layer.fail(`no client "${kind}"`)
const shop = Layer.effect(SqlClient, Effect.map(SqlClient, withPoints)).pipe(Layer.provide(base))

const transfer = Step.once("transfer", {
  success: Schema.Number,
  run: (amount: number) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`UPDATE accounts SET balance = balance - ${amount} WHERE name = ${`ada of ${id}`}`
      pass(`inside of the transfer of ${amount}`)
      yield* sql`UPDATE accounts SET balance = balance + ${amount} WHERE name = ${`bob of ${id}`}`
      const [bob] = yield* sql<{
        readonly balance: number
      }>`SELECT balance FROM accounts WHERE name = ${`bob of ${id}`}`
      return Number(bob?.balance)
    }).pipe(Effect.orDie)
})

const Transfers = Workflow.make("transfers", { success: Schema.Array(Schema.Number) }, () =>
  Effect.forEach([1, 10, 100], (amount) => transfer(amount))
)

const program = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, balance INTEGER NOT NULL)`
  yield* sql`INSERT INTO accounts VALUES (${`ada of ${id}`}, 1000), (${`bob of ${id}`}, 0) ON CONFLICT DO NOTHING`
  const balances = yield* Workflow.execute(Transfers, { id })
  const rows = yield* sql<{ readonly balance: number }>`
    SELECT balance FROM accounts WHERE name LIKE ${`% of ${id}`} ORDER BY name`
  say(`result ${balances.join(" ")}, accounts ${rows.map(({ balance }) => balance).join(" ")}, points ${passed()}`)
})

Effect.runPromise(Effect.provide(program, Layer.merge(journal, shop))).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
