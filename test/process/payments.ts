/**
 * Payments in the database of the journal, four at a time. Each of them moves money once; the commits of some are
 * refused at first. At point number `killAt` the process prints the point and waits to be killed.
 */
import * as fs from "node:fs"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Step, Storage, Workflow } from "effect-recovery"
import { prefixOf } from "../support/kept.js"
import { childStorage } from "./childStorage.js"
import { aroundStatements, makePoints, say } from "./points.js"

const [folder = "", count = "0", killAt = "0"] = process.argv.slice(2)

const { between, pass, passed } = makePoints(Number(killAt))

/** What happened, for the parent: a line is there even if the process is killed next. */
const note = (line: string) => Effect.sync(() => fs.appendFileSync(`${folder}/notes`, `${line}\n`))

const table = (name: string) => `${prefixOf(folder)}${name}`

/** That of every fifth payment is missing at first: its commit is refused. */
const bankOf = (payment: number) => (payment % 5 === 0 ? payment : 1)

const move = Step.transactional("move", {
  success: Schema.Number,
  run: (payment: number) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`INSERT INTO ${sql(table("moves"))} (payment, bank) VALUES (${payment}, ${bankOf(payment)})`
      yield* sql`UPDATE ${sql(table("accounts"))} SET balance = balance - ${payment} WHERE name = 'ada'`
      pass("inside of a move")
      yield* sql`UPDATE ${sql(table("accounts"))} SET balance = balance + ${payment} WHERE name = 'bob'`
      // A move that is made again finds another number.
      const [row] = yield* sql<{ readonly moves: number }>`SELECT COUNT(*) AS moves FROM ${sql(table("moves"))}`
      return Number(row?.moves)
    }).pipe(Effect.orDie)
})

const receipt = Step.make("receipt", { run: (payment: number) => note(`writes receipt ${payment}`) })

const Payment = Workflow.make("payment", { input: Schema.Number, success: Schema.Number }, (payment) =>
  Effect.gen(function* () {
    const number = yield* move(payment)
    yield* note(`moved ${payment} as ${number}`)
    yield* receipt(payment)
    yield* note(`has receipt ${payment}`)
    return number
  })
)

const tables = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE IF NOT EXISTS ${sql(table("banks"))} (id INTEGER PRIMARY KEY)`
  yield* sql`CREATE TABLE IF NOT EXISTS ${sql(table("accounts"))} (name TEXT PRIMARY KEY, balance INTEGER NOT NULL)`
  // No key: a move that was made twice would be there twice.
  yield* sql`CREATE TABLE IF NOT EXISTS ${sql(table("moves"))} (payment INTEGER NOT NULL,
    bank INTEGER NOT NULL REFERENCES ${sql(table("banks"))} (id) DEFERRABLE INITIALLY DEFERRED)`
  yield* sql`INSERT INTO ${sql(table("banks"))} VALUES (1) ON CONFLICT DO NOTHING`
  yield* sql`INSERT INTO ${sql(table("accounts"))} VALUES ('ada', 0), ('bob', 0) ON CONFLICT DO NOTHING`
})

const pay = (payment: number) => {
  const execute = Workflow.execute(Payment, { id: `payment-${payment}`, input: payment })
  return Effect.catchIf(
    execute,
    (error) => error instanceof Storage.StorageError && error.reason === "Constraint",
    () =>
      Effect.gen(function* () {
        yield* note(`refused ${payment}`)
        const sql = yield* SqlClient
        yield* sql`INSERT INTO ${sql(table("banks"))} VALUES (${bankOf(payment)}) ON CONFLICT DO NOTHING`
        yield* execute
      })
  )
}

const program = Effect.gen(function* () {
  yield* tables
  const ended = new Set((yield* Workflow.list({ status: "completed", limit: Number(count) })).map(({ id }) => id))
  const left = Array.from({ length: Number(count) }, (_, i) => i + 1).filter((n) => !ended.has(`payment-${n}`))
  yield* Effect.forEach(left, pay, { concurrency: 4, discard: true })
  const sql = yield* SqlClient
  const moves = yield* sql<{ readonly payment: number }>`SELECT payment FROM ${sql(table("moves"))}`
  const accounts = yield* sql<{ readonly balance: number }>`
    SELECT balance FROM ${sql(table("accounts"))} ORDER BY name`
  const result = {
    moves: moves.map(({ payment }) => payment),
    balances: accounts.map(({ balance }) => balance),
    points: passed()
  }
  say(`result ${JSON.stringify(result)}`)
})

/** Each of these is a commit of its own outside of a transaction, or a part of one. */
const writes = /^\s*(COMMIT|INSERT|UPDATE|DELETE|WITH)/

const storage = childStorage(folder, {
  change: (client) =>
    aroundStatements(
      client,
      (sql) => writes.test(sql),
      (sql, self) => between(writes.exec(sql)?.[1] ?? "", self)
    )
})

Effect.runPromise(Effect.provide(program, Layer.orDie(storage))).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
