import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Record from "effect/Record"
import { messageOf } from "../../resilience/Foreign.js"
import { clockTolerance } from "../rows.js"
import { StorageError } from "../StorageError.js"
import { toStorageError } from "./errors.js"

/**
 * All changes of the tables, by number. A released migration is never edited.
 *
 * A migration that ends with `_reader_9` only adds what version 9 of the tables need
 * not know: libraries of version 9 and later still open the file. Other migrations
 * admit none before their own.
 *
 * The journal is append-only: rows of all runs are stored in order of insertion,
 * so a group commit touches few pages. `(run, seq)` finds the rows of one run. An
 * index exists only if a statement uses it, since each costs every run a write.
 */
const migrations = {
  "1_runs_and_journal": [
    `CREATE TABLE recovery_runs (
      key INTEGER PRIMARY KEY AUTOINCREMENT,
      id TEXT NOT NULL UNIQUE,
      workflow TEXT NOT NULL,
      version TEXT NOT NULL,
      input TEXT NOT NULL,
      labels TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      token INTEGER NOT NULL,
      owner TEXT,
      lease_until INTEGER,
      status TEXT CHECK (status IN ('completed', 'failed')),
      exit TEXT,
      finished_at INTEGER
    )`,
    `CREATE TABLE recovery_journal (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      seq INTEGER NOT NULL,
      kind TEXT NOT NULL,
      step TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      at INTEGER NOT NULL,
      payload TEXT
    )`,
    `CREATE UNIQUE INDEX recovery_journal_run ON recovery_journal (run, seq)`
  ],
  "0002_snapshots": [
    `CREATE TABLE recovery_snapshots (
      key INTEGER PRIMARY KEY,
      run TEXT,
      step TEXT NOT NULL,
      seq INTEGER NOT NULL,
      name TEXT NOT NULL,
      kind TEXT NOT NULL,
      version INTEGER NOT NULL,
      schema TEXT NOT NULL,
      digest TEXT NOT NULL,
      size INTEGER NOT NULL,
      encoding TEXT NOT NULL,
      labels TEXT NOT NULL,
      about TEXT NOT NULL,
      at INTEGER NOT NULL,
      rewound INTEGER NOT NULL,
      state BLOB NOT NULL
    )`,
    `CREATE INDEX recovery_snapshots_run ON recovery_snapshots (run, name)`
  ],
  "0003_waiting": [
    `ALTER TABLE recovery_runs ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0`,
    `UPDATE recovery_runs SET due_at = created_at`,
    `ALTER TABLE recovery_runs ADD COLUMN waiting TEXT`,
    `CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version, due_at) WHERE status IS NULL`,
    `CREATE TABLE recovery_signals (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      key TEXT NOT NULL,
      payload TEXT NOT NULL,
      at INTEGER NOT NULL,
      UNIQUE (run, key)
    )`
  ],
  "0004_locks": [
    `CREATE TABLE recovery_locks (
      name TEXT PRIMARY KEY,
      token INTEGER NOT NULL,
      owner TEXT,
      since INTEGER NOT NULL,
      lease_until INTEGER
    ) WITHOUT ROWID`
  ],
  "0005_records": [
    `CREATE TABLE recovery_records (
      key INTEGER PRIMARY KEY AUTOINCREMENT,
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      subject TEXT NOT NULL,
      scope TEXT NOT NULL,
      status TEXT NOT NULL,
      labels TEXT NOT NULL,
      at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      body TEXT NOT NULL,
      UNIQUE (kind, id)
    )`,
    // Each index ends with the key (the rowid), so that the newest page is read without a sort.
    `CREATE INDEX recovery_records_kind ON recovery_records (kind)`,
    `CREATE INDEX recovery_records_subject ON recovery_records (kind, subject)`,
    `CREATE INDEX recovery_records_scope ON recovery_records (kind, scope)`,
    `CREATE INDEX recovery_records_status ON recovery_records (kind, status)`,
    `CREATE TABLE recovery_counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID`
  ],
  // Rows of before have none, and are read unchecked.
  "0006_checksums": [
    `ALTER TABLE recovery_runs ADD COLUMN checksum INTEGER`,
    `ALTER TABLE recovery_runs ADD COLUMN outcome_checksum INTEGER`,
    `ALTER TABLE recovery_journal ADD COLUMN checksum INTEGER`,
    `ALTER TABLE recovery_journal ADD COLUMN payload_checksum INTEGER`,
    // The line before it, so that a missing line is found. Numbers have gaps.
    `ALTER TABLE recovery_journal ADD COLUMN previous INTEGER`,
    `ALTER TABLE recovery_signals ADD COLUMN checksum INTEGER`,
    `ALTER TABLE recovery_snapshots ADD COLUMN checksum INTEGER`,
    `ALTER TABLE recovery_records ADD COLUMN checksum INTEGER`
  ],
  "0007_snapshot_keys_and_labels": [
    // A new table, because an added column would lie behind the state: lists would read the pages of all states.
    `ALTER TABLE recovery_snapshots RENAME TO recovery_snapshots_6`,
    `CREATE TABLE recovery_snapshots (
      key INTEGER PRIMARY KEY,
      run TEXT,
      step TEXT NOT NULL,
      seq INTEGER NOT NULL,
      name TEXT NOT NULL,
      own TEXT,
      kind TEXT NOT NULL,
      version INTEGER NOT NULL,
      schema TEXT NOT NULL,
      digest TEXT NOT NULL,
      size INTEGER NOT NULL,
      encoding TEXT NOT NULL,
      labels TEXT NOT NULL,
      about TEXT NOT NULL,
      at INTEGER NOT NULL,
      rewound INTEGER NOT NULL,
      checksum INTEGER,
      state BLOB NOT NULL
    )`,
    `INSERT INTO recovery_snapshots
     SELECT key, run, step, seq, name, NULL, kind, version, schema, digest, size, encoding, labels, about, at,
       rewound, checksum, state
     FROM recovery_snapshots_6`,
    `DROP TABLE recovery_snapshots_6`,
    `CREATE INDEX recovery_snapshots_run ON recovery_snapshots (run, name)`,
    `CREATE INDEX recovery_snapshots_own ON recovery_snapshots (name, own) WHERE own IS NOT NULL`,
    `CREATE TABLE recovery_labels (
      label TEXT NOT NULL,
      value TEXT NOT NULL,
      snapshot INTEGER NOT NULL,
      PRIMARY KEY (label, value, snapshot)
    ) WITHOUT ROWID`,
    `INSERT OR IGNORE INTO recovery_labels
     SELECT label.key, label.value, snapshot.key
     FROM recovery_snapshots snapshot, json_each(iif(json_valid(labels), labels, '{}')) label
     WHERE label.type = 'text'`,
    // Triggers, because snapshots are removed by several statements. A label is found by its key, so it needs no index by snapshot.
    `CREATE TRIGGER recovery_labels_insert AFTER INSERT ON recovery_snapshots WHEN new.labels <> '{}' BEGIN
      INSERT INTO recovery_labels SELECT key, value, new.key FROM json_each(new.labels);
    END`,
    `CREATE TRIGGER recovery_labels_delete AFTER DELETE ON recovery_snapshots WHEN old.labels <> '{}' BEGIN
      DELETE FROM recovery_labels WHERE (label, value, snapshot) IN (
        SELECT key, value, old.key FROM json_each(iif(json_valid(old.labels), old.labels, '{}'))
      );
    END`
  ],
  "0008_exhausted_runs": [
    // Beside the status, whose check admits no other one. A new table would need new tables of all that refers to it.
    `ALTER TABLE recovery_runs ADD COLUMN exhausted INTEGER`,
    // A damaged row of the index must not refuse a new snapshot.
    `DROP TRIGGER recovery_labels_insert`,
    `CREATE TRIGGER recovery_labels_insert AFTER INSERT ON recovery_snapshots WHEN new.labels <> '{}' BEGIN
      INSERT OR IGNORE INTO recovery_labels SELECT key, value, new.key FROM json_each(new.labels);
    END`
  ],
  "0009_claims_and_signal_positions": [
    // When a run can be claimed, and by whom it is leased: claims and counts of open runs read nothing but the index.
    `DROP INDEX recovery_runs_due`,
    `CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version, MAX(due_at, COALESCE(lease_until, 0)), owner)
     WHERE status IS NULL`,
    `ALTER TABLE recovery_runs ADD COLUMN signals INTEGER NOT NULL DEFAULT 0`,
    `UPDATE recovery_runs SET signals = counted.signals
     FROM (SELECT run, COUNT(*) AS signals FROM recovery_signals GROUP BY run) counted WHERE counted.run = key`,
    // A new table, in the order in which signals are read.
    `ALTER TABLE recovery_signals RENAME TO recovery_signals_8`,
    `CREATE TABLE recovery_signals (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      seq INTEGER NOT NULL,
      key TEXT NOT NULL,
      payload TEXT NOT NULL,
      at INTEGER NOT NULL,
      checksum INTEGER,
      PRIMARY KEY (run, seq),
      UNIQUE (run, key)
    ) WITHOUT ROWID`,
    `INSERT INTO recovery_signals
     SELECT run, ROW_NUMBER() OVER (PARTITION BY run ORDER BY rowid), key, payload, at, checksum FROM recovery_signals_8`,
    `DROP TABLE recovery_signals_8`
  ],
  "0010_controls_and_queues": [
    ...[
      ...["started_at INTEGER", "generation INTEGER NOT NULL DEFAULT 1"],
      ...["hold_id TEXT", "hold_reason TEXT", "hold_at INTEGER", "cancel TEXT"],
      ...["queue TEXT", "queue_key TEXT", "priority INTEGER NOT NULL DEFAULT 0"],
      ...["parent TEXT", "parent_signal TEXT"]
    ].map((column) => `ALTER TABLE recovery_runs ADD COLUMN ${column}`),
    // Held and queued runs stand by themselves, so the claims of others pass over them.
    `DROP INDEX recovery_runs_due`,
    `CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version,
       CASE WHEN hold_id IS NOT NULL THEN 2 WHEN queue IS NOT NULL AND cancel IS NULL THEN 1 ELSE 0 END,
       MAX(due_at, COALESCE(lease_until, 0)), owner)
     WHERE status IS NULL`,
    `CREATE INDEX recovery_runs_queued ON recovery_runs
       (queue, workflow, version, priority, queue_key, (started_at IS NULL), MAX(due_at, COALESCE(lease_until, 0)), owner)
     WHERE status IS NULL AND hold_id IS NULL AND cancel IS NULL AND queue IS NOT NULL`,
    `CREATE INDEX recovery_runs_queue_leased ON recovery_runs (queue, queue_key, lease_until, due_at)
     WHERE queue IS NOT NULL AND status IS NULL AND owner IS NOT NULL`,
    `CREATE INDEX recovery_runs_started ON recovery_runs (queue, queue_key, started_at)
     WHERE queue IS NOT NULL AND started_at IS NOT NULL`,
    `CREATE INDEX recovery_runs_queue_started ON recovery_runs (queue, started_at)
     WHERE queue IS NOT NULL AND started_at IS NOT NULL`,
    `CREATE INDEX recovery_runs_queue ON recovery_runs (queue) WHERE queue IS NOT NULL`,
    `CREATE INDEX recovery_runs_parent ON recovery_runs (parent) WHERE parent IS NOT NULL`,
    `CREATE TABLE recovery_run_labels (
      label TEXT NOT NULL,
      value TEXT NOT NULL,
      run INTEGER NOT NULL,
      PRIMARY KEY (label, value, run)
    ) WITHOUT ROWID`,
    `INSERT OR IGNORE INTO recovery_run_labels
     SELECT label.key, label.value, run.key
     FROM recovery_runs run, json_each(iif(json_valid(labels), labels, '{}')) label WHERE label.type = 'text'`,
    `CREATE TRIGGER recovery_run_labels_insert AFTER INSERT ON recovery_runs WHEN new.labels <> '{}' BEGIN
      INSERT OR IGNORE INTO recovery_run_labels SELECT key, value, new.key FROM json_each(new.labels);
    END`,
    `CREATE TRIGGER recovery_run_labels_delete AFTER DELETE ON recovery_runs WHEN old.labels <> '{}' BEGIN
      DELETE FROM recovery_run_labels WHERE (label, value, run) IN (
        SELECT key, value, old.key FROM json_each(iif(json_valid(old.labels), old.labels, '{}'))
      );
    END`
  ],
  // Rows of before, and of libraries of version 10, have none: each worker may claim them.
  "0011_shards_reader_10": [
    `ALTER TABLE recovery_runs ADD COLUMN shard INTEGER`,
    // With the shard at their ends, so that a claim of some shards passes over the runs of others in the index. The key
    // before it keeps the order of runs that are equally due.
    `DROP INDEX recovery_runs_due`,
    `CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version,
       CASE WHEN hold_id IS NOT NULL THEN 2 WHEN queue IS NOT NULL AND cancel IS NULL THEN 1 ELSE 0 END,
       MAX(due_at, COALESCE(lease_until, 0)), owner, key, shard)
     WHERE status IS NULL`,
    `DROP INDEX recovery_runs_queued`,
    `CREATE INDEX recovery_runs_queued ON recovery_runs (queue, workflow, version, priority, queue_key,
       (started_at IS NULL), MAX(due_at, COALESCE(lease_until, 0)), owner, key, shard)
     WHERE status IS NULL AND hold_id IS NULL AND cancel IS NULL AND queue IS NOT NULL`
  ]
}

/** The migrations for tables whose names begin with this prefix. */
export const migrationsOf = (prefix: string): Readonly<Record<string, ReadonlyArray<string>>> =>
  Record.map(migrations, (statements) => statements.map((text) => text.replaceAll("recovery_", prefix)))

/** The table that says which migrations were done. */
export const migrationsTable = (prefix: string): string => `effect_${prefix}migrations`

/** Runs the statements of one migration. */
const run = (statements: ReadonlyArray<string>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.forEach(statements, (text) => sql.unsafe(text), { discard: true })
  )

const table = migrationsTable("recovery_")

const newest = Math.max(...Object.keys(migrations).map((name) => Number.parseInt(name, 10)))

/** How far tables are, and the oldest version whose libraries may use them. */
export interface Version {
  readonly version: number
  readonly reader: number
}

/** The version that the newest recorded migration says; that of no tables without one. */
export const versionOfMigration = (row: { readonly version: unknown; readonly name: unknown } | undefined): Version => {
  if (row === undefined) return { version: 0, reader: 0 }
  const version = Number(row.version)
  const reader = /_reader_(\d+)$/.exec(String(row.name))?.[1]
  return { version, reader: reader === undefined ? version : Number(reader) }
}

/** The statement for `versionOfMigration`. */
export const newestMigration = (table: string): string =>
  `SELECT migration_id AS version, name FROM ${table} ORDER BY migration_id DESC LIMIT 1`

const findVersion = (table: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql.unsafe<{ readonly version: unknown; readonly name: unknown }>(newestMigration(table))
    return versionOfMigration(row)
  })

const refuse = ({ version }: Version) =>
  new StorageError({
    reason: "Version",
    operation: `The file has tables of version ${version}, this library knows ${newest}`
  })

const refuseNewer = Effect.filterOrFail(
  findVersion(table),
  ({ reader, version }) => Math.min(reader, version) <= newest,
  refuse
)

/**
 * The clock was set back, for example by a power cut, and the owners of these
 * leases acquired them later than now. Without this, they would count as alive
 * until the clock is there again.
 */
const endLeasesOfTheFuture = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const now = yield* Clock.currentTimeMillis
  // The first condition is that of the index, so that few rows are read for the second.
  const found = yield* sql`SELECT 1 FROM recovery_runs INDEXED BY recovery_runs_due
    WHERE status IS NULL AND owner IS NOT NULL AND MAX(due_at, COALESCE(lease_until, 0)) > ${now + clockTolerance}
      AND due_at > ${now + clockTolerance} LIMIT 1`
  // An ordinary opening writes nothing.
  if (found.length === 0) return
  yield* sql`UPDATE recovery_runs SET owner = NULL, lease_until = NULL, due_at = ${now}
    WHERE status IS NULL AND owner IS NOT NULL AND due_at > ${now + clockTolerance}`
})

/**
 * Migrates the tables. If two processes start at once, the second waits at BEGIN
 * IMMEDIATE and finds the tables up to date.
 */
export const migrate = Migrator.make({})({ loader: Migrator.fromRecord(Record.map(migrations, run)), table }).pipe(
  Effect.zipRight(refuseNewer),
  Effect.zipRight(endLeasesOfTheFuture),
  Effect.withTracerEnabled(false),
  // The stock migrator dies if a migration fails, for example because a table of the same name exists.
  Effect.catchAllDefect((defect) => Effect.fail(migrationFailed(defect))),
  Effect.mapError((error) => migrationFailed(error))
)

const readVersion = (table: string) =>
  findVersion(table).pipe(
    // The file was never used by this library.
    Effect.catchIf(
      (error) => /no such table/.test(messageOf(rootCause(error))),
      () => Effect.succeed(versionOfMigration(undefined))
    ),
    Effect.mapError((error) => toStorageError("Reading the version of the tables")(rootCause(error))),
    Effect.withTracerEnabled(false)
  )

/** The version of the tables, 0 without any, and the newest that this library knows. */
export interface Tables extends Version {
  readonly known: number
}

/** Of the tables whose names begin with this prefix. Changes nothing. */
export const tablesOf = (prefix: string) =>
  Effect.map(readVersion(migrationsTable(prefix)), (version): Tables => ({ ...version, known: newest }))

/** For a file that is opened read-only: fails unless its tables are up to date. */
export const upToDate = Effect.filterOrFail(
  readVersion(table),
  ({ reader, version }) => version >= newest && reader <= newest,
  refuse
)

const migrationFailed = (error: unknown): StorageError =>
  error instanceof StorageError ? error : toStorageError("Migrating the tables")(rootCause(error))

/** The error of SQLite inside of the wrappers. */
const rootCause = (error: unknown): unknown => {
  const isWrapper = error instanceof SqlError || error instanceof Migrator.MigrationError
  return isWrapper && error.cause !== undefined ? rootCause(error.cause) : error
}
