import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Database } from "../../src/storage/sqlite/driver.js"
import { ask } from "../support/questions.js"
import { recordingStore } from "../support/statements.js"

/** Steps that read all rows of a table that grows with what is stored, by its rows or by an index. */
const isScan = (step: string): boolean =>
  /^SCAN (recovery_(runs|journal|signals|snapshots|labels|run_labels|records)|runs|snapshots|index_row)\b/.test(step)

/**
 * The statements that read all of such a table, each for a reason. The test looks at all statements that the store
 * prepares, so a new one that scans fails it until it has an index, or a reason here.
 */
const scanning: ReadonlyArray<readonly [reason: string, sql: RegExp]> = [
  ["reads no more than the open runs, from their index alone", /INDEXED BY recovery_runs_due\b/],
  ["counts the rows by the pages of an index", /^SELECT \(SELECT COUNT\(\*\) FROM recovery_runs\) AS runs/],
  [
    "is the check of a storage, which reads everything",
    / AS problem\b|typeof\(name\)|WHERE NOT EXISTS \(SELECT 1 FROM recovery_runs/
  ],
  [
    "lists in the order of the table, and ends with its page",
    /FROM recovery_(snapshots|records)\s.*ORDER BY key (ASC|DESC) LIMIT 10$/s
  ]
]

/** The columns that lead to few rows: a list by one of them must read its index. */
const leading = /\b(run|subject|scope) = \?/

const planOf = (database: Database, sql: string): ReadonlyArray<string> => {
  const names = [...new Set(sql.match(/\$\w+/g) ?? [])].map((name) => [name.slice(1), null])
  const values = names.length > 0 ? [Object.fromEntries(names)] : (sql.match(/\?/g) ?? []).map(() => null)
  const steps = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...values)
  return (steps as ReadonlyArray<{ readonly detail: string }>).map(({ detail }) => detail)
}

describe("plans of the statements on SQLite", () => {
  it.scopedLive("no statement reads a table from end to end, but those that have a reason", () =>
    Effect.gen(function* () {
      const { database, prepared, store } = yield* recordingStore
      yield* ask(store)
      const statements = [...prepared].filter((sql) => /^\s*(SELECT|WITH|UPDATE|DELETE|INSERT)\b/.test(sql))
      assert.isAbove(statements.length, 90)
      const scans = statements.filter((sql) => planOf(database, sql).some(isScan))
      const [excused, others] = [new Set<string>(), [] as Array<string>]
      for (const sql of scans) {
        const reason = scanning.find(([, text]) => text.test(sql.trim()))?.[0]
        if (reason === undefined || (reason.startsWith("lists") && leading.test(sql))) others.push(sql)
        else excused.add(reason)
      }
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(
        [...excused].toSorted(),
        scanning.map(([reason]) => reason).toSorted(),
        "reasons that are used"
      )
    })
  )
})
