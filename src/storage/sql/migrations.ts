import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { clockTolerance } from "../rows.js"
import { StorageError } from "../StorageError.js"
import {
  migrationsOf,
  migrationsTable,
  newestMigration,
  type Tables,
  type Version,
  versionOfMigration
} from "../sqlite/migrations.js"
import type { ClientAccess, Run } from "./access.js"
import { isMissingTable } from "./errors.js"
import { type Migration, pgMigrations } from "./pgMigrations.js"

const operation = "Migrating the tables"

type Row = Readonly<Record<string, unknown>>

/** The names of the tables. */
interface Place {
  readonly prefix: string
  readonly schema?: string | undefined
}

/** What a dialect needs to know how far its tables are. */
interface Plan {
  readonly migrations: ReadonlyArray<Migration>
  /** Finds the newest migration that was done. */
  readonly done: string
  readonly toDone: (row: Row) => Version
  /** Keeps other processes out until the commit, and creates the table of migrations. */
  readonly prepare: (run: Run) => Effect.Effect<unknown, SqlError>
  readonly record: (run: Run, migration: Migration) => Effect.Effect<unknown, SqlError>
}

const planOf = (access: ClientAccess, place: Place): Plan =>
  access.dialect.name === "pg" ? pgPlan(access, place) : sqlitePlan(place)

const newestOf = ({ migrations }: Plan): number => Math.max(...migrations.map(({ id }) => id))

const toDone = (plan: Plan, [row]: ReadonlyArray<Row>): Version =>
  row === undefined ? { version: 0, reader: 0 } : plan.toDone(row)

const readVersion = (access: ClientAccess, plan: Plan): Effect.Effect<Version, StorageError> =>
  Effect.catchIf(
    Effect.map(access.read<Row>(operation, plan.done), (rows) => toDone(plan, rows)),
    ({ cause }) => isMissingTable(cause),
    () => Effect.succeed(toDone(plan, []))
  )

/** The version of the tables, 0 without any, and the newest that this library knows. Changes nothing. */
export const tablesOf = (access: ClientAccess, place: Place): Effect.Effect<Tables, StorageError> => {
  const plan = planOf(access, place)
  return Effect.map(readVersion(access, plan), (version) => ({ ...version, known: newestOf(plan) }))
}

/**
 * Creates or migrates the tables, beside those of the program, in one transaction.
 * If two processes start at once, the second waits and finds nothing to do. Tables
 * of a newer version are used if that version says so.
 */
export const migrate = (access: ClientAccess, place: Place) => {
  const plan = planOf(access, place)
  const newest = newestOf(plan)
  const refuseNewer = ({ reader, version }: Version) =>
    version > newest && reader > newest
      ? Effect.fail(
          new StorageError({
            reason: "Version",
            operation: `The tables have version ${version}, this library knows ${newest}`
          })
        )
      : Effect.void

  const missing = ({ version }: Version) => plan.migrations.filter(({ id }) => id > version)

  const carryOut = access.transaction(
    operation,
    Effect.fnUntraced(function* (run) {
      yield* plan.prepare(run)
      const done = toDone(plan, yield* run<Row>(plan.done))
      yield* refuseNewer(done)
      for (const migration of missing(done)) {
        for (const statement of migration.statements) yield* run(statement)
        yield* plan.record(run, migration)
      }
    }),
    // What is done is not done again.
    { idempotent: true }
  )

  return Effect.flatMap(readVersion(access, plan), (found) =>
    Effect.zipRight(
      refuseNewer(found),
      Effect.zipRight(missing(found).length === 0 ? Effect.void : carryOut, endLeasesOfTheFuture(access))
    )
  )
}

/** The tables of a file are those of `SqliteStorage`, which can open it, too. */
const sqlitePlan = ({ prefix }: { readonly prefix: string }): Plan => {
  const table = `"${migrationsTable(prefix)}"`
  return {
    migrations: Object.entries(migrationsOf(prefix)).map(([name, statements]) => {
      const id = Number.parseInt(name, 10)
      return { id, name: name.slice(name.indexOf("_") + 1), reader: id, statements }
    }),
    done: newestMigration(table),
    toDone: ({ name, version }) => versionOfMigration({ name, version }),
    prepare: (run) =>
      run(`CREATE TABLE IF NOT EXISTS ${table} (
        migration_id integer PRIMARY KEY NOT NULL,
        created_at datetime NOT NULL DEFAULT current_timestamp,
        name VARCHAR(255) NOT NULL
      )`),
    record: (run, { id, name }) => run(`INSERT INTO ${table} (migration_id, name) VALUES (?, ?)`, [id, name])
  }
}

const pgPlan = (
  { table }: ClientAccess,
  { prefix, schema }: { readonly prefix: string; readonly schema?: string | undefined }
): Plan => ({
  // The index of a table is in its schema.
  migrations: pgMigrations(table, (name) => `"${prefix}${name}"`),
  done: `SELECT id AS version, reader FROM ${table("migrations")} ORDER BY id DESC LIMIT 1`,
  toDone: ({ reader, version }) => ({ version: Number(version), reader: Number(reader) }),
  prepare: Effect.fnUntraced(function* (run) {
    const place = `COALESCE(?::text, current_schema(), '') || ?`
    yield* run(`SELECT pg_advisory_xact_lock(hashtextextended(${place}, 0))`, [schema ?? null, `.${prefix}migrations`])
    if (schema !== undefined) {
      // CREATE SCHEMA IF NOT EXISTS asks for the right to create one also where it exists.
      const found = yield* run(`SELECT 1 AS found FROM pg_namespace WHERE nspname = ?`, [schema])
      if (found.length === 0) yield* run(`CREATE SCHEMA "${schema}"`)
    }
    yield* run(`CREATE TABLE IF NOT EXISTS ${table("migrations")} (
      id INTEGER PRIMARY KEY, name TEXT NOT NULL, reader INTEGER NOT NULL, at TIMESTAMPTZ NOT NULL DEFAULT now()
    )`)
  }),
  record: (run, { id, name, reader }) =>
    run(`INSERT INTO ${table("migrations")} (id, name, reader) VALUES (?, ?, ?)`, [id, name, reader])
})

/**
 * The clock was set back, for example by a power cut, and the owners of these
 * leases acquired them later than now. Without this, they would count as alive
 * until the clock is there again.
 */
const endLeasesOfTheFuture = (access: ClientAccess): Effect.Effect<void, StorageError> => {
  const runs = access.table("runs")
  return Effect.flatMap(access.now, ({ params, text }) => {
    const condition = `status IS NULL AND owner IS NOT NULL AND due_at > ${text} + ${clockTolerance}`
    return Effect.flatMap(
      access.read(operation, `SELECT 1 AS found FROM ${runs} WHERE ${condition} LIMIT 1`, params),
      (found) =>
        // An ordinary start writes nothing.
        found.length === 0
          ? Effect.void
          : Effect.asVoid(
              access.write(
                operation,
                `UPDATE ${runs} SET owner = NULL, lease_until = NULL, due_at = ${text} WHERE ${condition}`,
                [...params, ...params],
                { idempotent: true }
              )
            )
    )
  })
}
