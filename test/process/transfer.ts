/** Transfers in the program's own tables, each in one commit with its journal line. The parent says where it is killed. */
import * as fs from "node:fs"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Step, Workflow } from "effect-recovery"
import { Ledger, Testing } from "effect-recovery/testing"
import { prefixOf } from "../support/kept.js"
import { childStorage } from "./childStorage.js"

/** The first process is killed inside this transfer, between its rows and the commit. */
const endsInside = Number(process.argv[2] ?? 0)
const folder = process.env["RECOVERY_TESTING_FOLDER"] ?? "."
const table = `${prefixOf(folder)}accounts`

const transfer = Step.transactional("transfer", {
  success: Schema.Number,
  run: (amount: number) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`UPDATE ${sql(table)} SET balance = balance - ${amount} WHERE name = 'ada'`
      if (amount === endsInside && !fs.existsSync(`${folder}/ended`)) {
        fs.writeFileSync(`${folder}/ended`, "")
        process.kill(process.pid, "SIGKILL")
        yield* Effect.never
      }
      yield* sql`UPDATE ${sql(table)} SET balance = balance + ${amount} WHERE name = 'bob'`
      const [row] = yield* sql<{ readonly balance: number }>`SELECT balance FROM ${sql(table)} WHERE name = 'bob'`
      return row?.balance ?? 0
    }).pipe(Effect.orDie)
})

const Transfers = Workflow.make("transfers", { success: Schema.Array(Schema.Number) }, () =>
  Effect.forEach([1, 10, 100], (amount) => transfer(amount)).pipe(
    // Notes the final balances for the parent to compare.
    Effect.tap((balances) => Step.make("note", { run: Ledger.done(`balances ${balances.join(" ")}`) }))
  )
)

const tables = Layer.effectDiscard(
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE TABLE IF NOT EXISTS ${sql(table)} (name TEXT PRIMARY KEY, balance INTEGER NOT NULL)`
    yield* sql`INSERT INTO ${sql(table)} VALUES ('ada', 1000), ('bob', 0) ON CONFLICT DO NOTHING`
  }).pipe(Effect.orDie)
)

Effect.runPromise(
  Testing.child(Transfers, {
    input: undefined,
    storage: (folder) => Layer.provideMerge(tables, childStorage(folder))
  })
)
