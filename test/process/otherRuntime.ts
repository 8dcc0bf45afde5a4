/**
 * What the tests check of SQLite in Node, for a runtime that the test runner does not run on: the storage contract, a
 * backup, and transfers killed around each durable write. Prints the result as JSON.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { Scorecard, Testing } from "effect-recovery/testing"

const [transfer = "", folder = ""] = process.argv.slice(2)

let files = 0
const newFile = Effect.sync(() => path.join(folder, `${++files}.db`))

const store = Effect.flatMap(newFile, (filename) => SqliteStorage.store({ filename, durability: "process-crash" }))

const contract = Effect.forEach(Testing.storageContract(store), ({ check, name }) =>
  Effect.map(Effect.exit(check), (exit) => (Exit.isSuccess(exit) ? [] : [`${name}: ${Cause.pretty(exit.cause)}`]))
)

const copies = Effect.gen(function* () {
  const filename = yield* newFile
  const context = yield* Layer.build(SqliteClient.layer({ filename }))
  const { driver, sql } = yield* Effect.provide(SqliteClient.SqliteClient, context)
  yield* sql`CREATE TABLE numbers (n INTEGER)`
  yield* sql`INSERT INTO numbers VALUES (1)`
  const copy = yield* newFile
  const open = yield* sql.withTransaction(Effect.zipRight(sql`INSERT INTO numbers VALUES (2)`, sql.backup(copy)))
  const copied = yield* Effect.provide(
    Effect.flatMap(SqliteClient.SqliteClient, ({ sql }) => sql`SELECT n FROM numbers`),
    SqliteClient.layer({ filename: copy, readonly: true })
  )
  const again = yield* Effect.either(sql.backup(copy))
  const exported = yield* newFile
  fs.writeFileSync(exported, yield* sql.export)
  return {
    driver,
    pages: open.totalPages,
    again: Either.isLeft(again) ? again.left.message : "replaced",
    copied,
    exported: fs.readFileSync(exported).subarray(0, 15).toString()
  }
}).pipe(Effect.scoped)

const program = Effect.gen(function* () {
  const checks = yield* contract
  const card = yield* Testing.killEverywhere({
    program: transfer,
    storage: (folder) => SqliteStorage.layer({ filename: `${folder}/runs.db` })
  })
  return {
    checks: checks.length,
    failed: checks.flat(),
    copies: yield* copies,
    kills: { crashes: card.crashes, isClean: Scorecard.isClean(card), card: Scorecard.format(card) }
  }
})

Effect.runPromise(program).then(
  (result) => fs.writeSync(1, `${JSON.stringify(result)}\n`),
  (error) => {
    fs.writeSync(2, String(error))
    process.exitCode = 1
  }
)
