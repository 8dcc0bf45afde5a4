import type * as SqlClient from "@effect/sql/SqlClient"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { inPostgres } from "../../support/postgres.js"
import { ask } from "../../support/questions.js"
import { noting, open } from "./support.js"

/** A node of a plan, as EXPLAIN prints it in JSON. */
interface Plan {
  readonly "Node Type": string
  readonly "Relation Name"?: string
  readonly "Index Name"?: string
  readonly "Index Cond"?: string
  readonly Plans?: ReadonlyArray<Plan>
}

const grows = /^recovery_(runs|journal|signals|snapshots|labels|run_labels|records)$/

type Allows = (text: string, scans: ReadonlyArray<string>) => boolean

/** As those of SQLite: a new statement that scans fails the test until it has an index, or a reason here. */
const scanning: ReadonlyArray<readonly [reason: string, allows: Allows]> = [
  ["fills the index of labels, once", (text) => text.startsWith('INSERT INTO "recovery_run_labels"')],
  [
    "reads no more than the open runs, from their index",
    (_, scans) => scans.join() === "recovery_runs by recovery_runs_due"
  ],
  ["counts all runs, for the report of a storage", (text) => text.endsWith("GROUP BY 1, 5")],
  ["is the check of a storage, which reads everything", (text) => text.includes("WHERE NOT EXISTS")],
  ["lists from the newest on, and ends with its page", (text) => isList(text) && !leading.test(text)]
]

/** The columns that lead to few rows: a list by one of them must read its index. */
const leading = /\b(run|subject|scope|queue|parent|label) = /

const isList = (text: string): boolean => /ORDER BY key (DESC|ASC)\s+LIMIT (\$\d+|10)$/.test(text)

/** What a plan reads from end to end: a table that grows, or an index of one. */
const scansOf = (plan: Plan): ReadonlyArray<string> => {
  const table = plan["Relation Name"]
  const reads = /Scan$/.test(plan["Node Type"]) && table !== undefined && grows.test(table)
  const isBitmap = plan["Node Type"] === "Bitmap Heap Scan"
  const scan = reads && !isBitmap && plan["Index Cond"] === undefined
  const own = scan ? [`${table}${plan["Index Name"] === undefined ? "" : ` by ${plan["Index Name"]}`}`] : []
  return [...own, ...(plan.Plans ?? []).flatMap(scansOf)]
}

const conditionsOf = (plan: Plan): string =>
  [plan["Index Cond"] ?? "", ...(plan.Plans ?? []).map(conditionsOf)].join(" ")

/** Columns that lead a list to few rows, and that its plan does not look up in an index. */
const unusedOf = (text: string, plan: Plan): ReadonlyArray<string> => {
  const conditions = conditionsOf(plan)
  const columns = isList(text) ? [...text.matchAll(new RegExp(leading, "g"))].map(([, column = ""]) => column) : []
  return columns.filter((column) => !new RegExp(`\\b${column} = `).test(conditions))
}

/** The plan for any values, on tables that are never read as a whole where there is another way. */
const planOf = (sql: SqlClient.SqlClient, text: string) =>
  Effect.gen(function* () {
    const count = Math.max(0, ...(text.match(/\$\d+/g) ?? []).map((name) => Number(name.slice(1))))
    const values = Array.from({ length: count }, () => "NULL").join(", ")
    yield* sql.unsafe(`PREPARE planned AS ${text}`)
    const execute = count === 0 ? "planned" : `planned(${values})`
    const [row] = yield* sql.unsafe<{ readonly "QUERY PLAN": ReadonlyArray<{ readonly Plan: Plan }> }>(
      `EXPLAIN (FORMAT JSON) EXECUTE ${execute}`
    )
    yield* sql.unsafe("DEALLOCATE planned")
    return row?.["QUERY PLAN"][0]?.Plan ?? assert.fail(`no plan of ${text}`)
  })

inPostgres("plans of the statements on Postgres", (database) => {
  it.scopedLive("no statement reads a table from end to end, but those that have a reason", () =>
    Effect.gen(function* () {
      const statements = new Set<string>()
      const client = database.client({ maxConnections: 1 })
      const { store } = yield* open(noting((text) => statements.add(text)).pipe(Layer.provide(client)))
      yield* ask(store)
      const { sql } = yield* open(client)
      // Between two indexes the server decides by what is stored: many runs, and few names of checkpoints.
      yield* sql.unsafe(`INSERT INTO recovery_snapshots (key, run, step, seq, name, kind, version, schema, digest, size,
          encoding, labels, about, at, rewound, state)
        SELECT i, 'run-' || i % 1000, '', 0, 'draft', 'manual', 1, '', '', 0, '', '{}', '{}', 0, 0, ''
        FROM generate_series(1000, 4000) AS i`)
      yield* sql.unsafe("ANALYZE recovery_snapshots")
      yield* sql.unsafe("SET plan_cache_mode = force_generic_plan")
      yield* sql.unsafe("SET enable_seqscan = off")
      const asked = [...statements].filter((text) => /^\s*(SELECT|WITH|UPDATE|DELETE|INSERT)\b/.test(text))
      const plans = yield* Effect.forEach(asked, (text) =>
        Effect.map(planOf(sql, text), (plan) => [text, plan] as const)
      )
      const [excused, others] = [new Set<string>(), [] as Array<string>]
      for (const [text, plan] of plans) {
        const scans = scansOf(plan)
        for (const column of unusedOf(text, plan)) others.push(`no index by ${column}: ${text}`)
        const reason = scanning.find(([, allows]) => allows(text, scans))?.[0]
        if (scans.length > 0) excused.add(reason ?? "none")
        if (scans.length > 0 && reason === undefined) others.push(`${scans.join()}: ${text}`)
      }
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(
        [...excused].toSorted(),
        scanning.map(([reason]) => reason).toSorted(),
        "reasons that are used"
      )
      assert.isAbove(plans.length, 40)
    })
  )
})
