import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { SqlStorage } from "effect-recovery/sql"
import { Testing } from "effect-recovery/testing"
import { inPostgres } from "../../support/postgres.js"

/** What is taken out of the statements of the store, and the checks of the contract that must fail then. */
const faults: ReadonlyArray<{
  readonly without: string
  readonly change: (text: string) => string
  readonly checks: ReadonlyArray<string>
}> = [
  {
    without: "the locks of rows",
    change: (text) => text.replace(/ FOR (SHARE|UPDATE)( OF \w+)?( SKIP LOCKED)?/g, ""),
    checks: [
      "callers that claim at once get different runs, and all of them",
      "a run that is opened and claimed at once goes to one caller",
      "a lease is renewed or taken over, never both",
      "releasing an owner does not end the leases of those that took its runs over",
      "a new owner reads every acknowledged line, and no line comes after it",
      "a new owner reads an acknowledged line, however long it is",
      "a new owner reads every acknowledged snapshot, with its line",
      "a new owner reads all or none of the snapshots that are saved together",
      "a new owner reads everything that an acknowledged rewind revoked",
      "a new owner reads every acknowledged line of a transaction",
      "a finished run is reopened or removed, never both, and counted once",
      "a run that is suspended while it is signalled is due if it has unread signals",
      "a reader that skips what it has read gets each signal once",
      "workers that claim, read and suspend while signals arrive miss none",
      "a lock that is acquired while free ones are removed is not removed",
      "a parent that is suspended while its children end is due, and has a signal of each",
      "a run that continues while it is signalled keeps every signal that it has not read"
    ]
  },
  {
    without: "the lock of a queue",
    change: (text) => (/AS queue_lock$/.test(text) ? "SELECT length($1)" : text),
    checks: ["callers that claim a queue at once start no more runs than its rate allows"]
  },
  {
    without: "a request to cancel in the look of a suspension",
    change: (text) => text.replace(" OR cancel IS NOT NULL THEN", " THEN"),
    checks: ["a run that is cancelled while it is suspended, finished or claimed ends or is due"]
  },
  {
    without: "the hold in the condition of a claim",
    change: (text) =>
      text
        .replace(/ AND hold_id IS NOT DISTINCT FROM \$\d+/, "")
        .replace(/status IS NULL AND hold_id IS NULL AND GREATEST/, "status IS NULL AND GREATEST"),
    checks: ["a run that is put on hold is leased to no owner after the answer"]
  },
  {
    without: "the count of signals on the row of the run",
    // Signals that are counted where they are stored are those of the statement's own beginning.
    change: (text) =>
      text.replace(
        /^(UPDATE (\S+)runs" .*CASE WHEN )signals( > )/s,
        `$1(SELECT COUNT(*) FROM $2signals" AS sent WHERE sent.run = $2runs".key)$3`
      ),
    checks: ["a run that is suspended while it is signalled is due if it has unread signals"]
  },
  {
    without: "the locks of places of snapshots",
    change: (text) =>
      /^SELECT pg_advisory_xact_lock.*, pg_|^SELECT pg_advisory_xact_lock[^,]*, 0\)\)$/s.test(text)
        ? text.replace(/pg_advisory_xact_lock(_shared)?\(/g, "abs(")
        : text,
    checks: [
      "of many saves after one snapshot at once, one succeeds in each place",
      "values that are changed by many at once lose no change",
      "of many saves under one key at once, the last is left or the first is kept",
      "of many saves of several keys together, each key is left once"
    ]
  }
]

/** Statements may not interleave in one run of a check. */
const mostTries = 10

/** The client with changed statements. Counts them. */
const changing = (client: SqlClient.SqlClient, change: (text: string) => string, counted: { changes: number }) => {
  const changed = (text: string) => {
    const other = change(text)
    if (other !== text) counted.changes++
    return other
  }
  const reserve = Effect.map(
    client.reserve,
    (connection): Connection =>
      Object.assign(Object.create(connection), {
        execute: (...[text, ...rest]: Parameters<Connection["execute"]>) => connection.execute(changed(text), ...rest),
        executeRaw: (...[text, ...rest]: Parameters<Connection["executeRaw"]>) =>
          connection.executeRaw(changed(text), ...rest)
      })
  )
  return Object.assign(Object.create(client), { reserve }) as SqlClient.SqlClient // all else is that of the prototype
}

inPostgres("a store over Postgres fails the contract without", (database) => {
  let schemas = 0
  for (const { change, checks, without } of faults) {
    const counted = { changes: 0 }
    const make = Effect.gen(function* () {
      const schema = `lockless_${++schemas}`
      const context = yield* Layer.build(database.client({ maxConnections: 10 }))
      const client = yield* Effect.provide(SqlClient.SqlClient, context)
      yield* Effect.addFinalizer(() => Effect.ignore(client.unsafe(`DROP SCHEMA ${schema} CASCADE`)))
      const store = SqlStorage.store({ schema, clock: "program", patience: 0 })
      return yield* Effect.provideService(store, SqlClient.SqlClient, changing(client, change, counted))
    })
    const contract = Testing.storageContract(make)
    for (const name of checks) {
      it.live(`${without}: ${name}`, () =>
        Effect.gen(function* () {
          const { check } = contract.find((one) => one.name === name) ?? assert.fail(`there is no check "${name}"`)
          for (let tries = 1; ; tries++) {
            // Building the store changes no statement.
            counted.changes = 0
            const exit = yield* Effect.exit(check)
            assert.isAbove(counted.changes, 0, "no statement was changed")
            if (Exit.isFailure(exit)) return
            assert.isBelow(tries, mostTries, "the contract does not see it")
          }
        })
      )
    }
  }
})
