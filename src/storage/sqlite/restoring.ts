/**
 * The statements of `Store.restore` in SQLite and Postgres, one after another in one
 * transaction. A generator yields each and gets its rows back, so stores with
 * synchronous and asynchronous clients share them.
 */
import {
  entryChecksums,
  outcomeChecksum,
  recordChecksum,
  runChecksum,
  signalChecksum,
  snapshotChecksum
} from "../checksum.js"
import { isOutcomeStatus } from "../rows.js"
import { RestoreConflict } from "../StorageError.js"
import type { Entry, FullSnapshot, Outcome, RecordRow, Run, Signal, StoredRow } from "../Store.js"
import { shardHash } from "../shards.js"
import { areAlike, rowName } from "../storedRows.js"
import { fromLabels, toLabels } from "./rows.js"
import { storedStatus } from "./runRows.js"

/** A statement. `answers` says whether it returns rows. */
export interface Statement {
  readonly text: string
  readonly params: ReadonlyArray<unknown>
  readonly answers: boolean
}

export interface Tables {
  readonly isSqlite: boolean
  /** The quoted name of one of our tables. */
  readonly table: (name: string) => string
}

type Row = Readonly<Record<string, unknown>>
type Steps<A> = Generator<Statement, A, ReadonlyArray<Row>>
type RowOf<Tag extends StoredRow["_tag"]> = Extract<StoredRow, { readonly _tag: Tag }>

/** Returns how many rows were written. Throws a `RestoreConflict` before anything is written. */
export function* restoring(tables: Tables, given: ReadonlyArray<StoredRow>): Steps<number> {
  const rows = distinct(given)
  if (!tables.isSqlite) yield* oneAtATime(tables)
  const runs = yield* missing(ofTag(rows, "Run"), (wanted) => findRuns(tables, wanted))
  const snapshots = yield* missing(ofTag(rows, "Snapshot"), (wanted) => findSnapshots(tables, wanted))
  const records = yield* missing(ofTag(rows, "Record"), (wanted) => findRecords(tables, wanted))
  const counters = yield* missing(ofTag(rows, "Counter"), (wanted) => findCounters(tables, wanted))
  yield* writeRuns(tables, runs)
  yield* writeSnapshots(
    tables,
    snapshots.map(({ snapshot }) => snapshot)
  )
  yield* insertAll(
    tables.table("records"),
    recordColumns,
    records.map(({ record }) => recordValues(record))
  )
  yield* insertAll(
    tables.table("counters"),
    ["name", "value"],
    counters.map(({ counter }) => [counter.name, counter.value]),
    // One that is 0 counts as absent.
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
  )
  return runs.length + snapshots.length + records.length + counters.length
}

/** Two restores at once would each miss what the other writes. SQLite has one writer. */
function* oneAtATime({ table }: Tables): Steps<void> {
  yield query("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", [`restore ${table("runs")}`])
}

const distinct = (rows: ReadonlyArray<StoredRow>): ReadonlyArray<StoredRow> => {
  const byName = new Map<string, StoredRow>()
  for (const row of rows) {
    const name = rowName(row)
    const known = byName.get(name)
    if (known !== undefined && !areAlike(known, row)) throw new RestoreConflict({ row: name })
    byName.set(name, known ?? row)
  }
  return [...byName.values()]
}

const ofTag = <Tag extends StoredRow["_tag"]>(rows: ReadonlyArray<StoredRow>, tag: Tag) =>
  rows.filter((row): row is RowOf<Tag> => row._tag === tag)

const query = (text: string, params: ReadonlyArray<unknown>): Statement => ({ text, params, answers: true })
const command = (text: string, params: ReadonlyArray<unknown>): Statement => ({ text, params, answers: false })

// ---- what is there

/** The rows that are not there. Those that are there must be alike. */
function* missing<R extends StoredRow>(
  wanted: ReadonlyArray<R>,
  find: (wanted: ReadonlyArray<R>) => Steps<ReadonlyArray<StoredRow>>
): Steps<ReadonlyArray<R>> {
  if (wanted.length === 0) return []
  const found = new Map((yield* find(wanted)).map((row) => [rowName(row), row]))
  return wanted.filter((row) => {
    const there = found.get(rowName(row))
    if (there !== undefined && !areAlike(there, row)) throw new RestoreConflict({ row: rowName(row) })
    return there === undefined
  })
}

const marks = (values: ReadonlyArray<unknown>): string => values.map(() => "?").join(", ")

function* findRuns({ table }: Tables, wanted: ReadonlyArray<RowOf<"Run">>): Steps<ReadonlyArray<StoredRow>> {
  const ids = wanted.map(({ run }) => run.id)
  const rows = yield query(`SELECT * FROM ${table("runs")} WHERE id IN (${marks(ids)})`, ids)
  const found: Array<StoredRow> = []
  for (const row of rows) {
    const run = toRun(row)
    const lines = yield query(
      `SELECT seq, kind, step, attempt, at, payload FROM ${table("journal")} WHERE run = ? ORDER BY seq`,
      [run.key]
    )
    const signals = yield query(`SELECT key, payload, at FROM ${table("signals")} WHERE run = ? ORDER BY seq`, [
      run.key
    ])
    found.push({ _tag: "Run", run, journal: lines.map(toEntry), signals: signals.map(toSignal) })
  }
  return found
}

function* findSnapshots({ table }: Tables, wanted: ReadonlyArray<RowOf<"Snapshot">>): Steps<ReadonlyArray<StoredRow>> {
  const keys = wanted.map(({ snapshot }) => snapshot.key)
  const rows = yield query(`SELECT * FROM ${table("snapshots")} WHERE key IN (${marks(keys)})`, keys)
  const found = new Map(rows.map((row) => [Number(row["key"]), toSnapshot(row)]))
  return wanted.flatMap(({ snapshot: { key, name } }): ReadonlyArray<StoredRow> => {
    const there = found.get(key)
    if (there === undefined) return []
    // Under another name it is in the same place.
    if (there.name !== name) throw new RestoreConflict({ row: rowName({ _tag: "Snapshot", snapshot: there }) })
    return [{ _tag: "Snapshot", snapshot: there }]
  })
}

function* findRecords({ table }: Tables, wanted: ReadonlyArray<RowOf<"Record">>): Steps<ReadonlyArray<StoredRow>> {
  const places = wanted.map(() => "(?, ?)").join(", ")
  const rows = yield query(
    `SELECT * FROM ${table("records")} WHERE (kind, id) IN (VALUES ${places})`,
    wanted.flatMap(({ record }) => [record.kind, record.id])
  )
  return rows.map((row): StoredRow => ({ _tag: "Record", record: toRecord(row) }))
}

function* findCounters({ table }: Tables, wanted: ReadonlyArray<RowOf<"Counter">>): Steps<ReadonlyArray<StoredRow>> {
  const names = wanted.map(({ counter }) => counter.name)
  const rows = yield query(
    `SELECT name, value FROM ${table("counters")} WHERE value <> 0 AND name IN (${marks(names)})`,
    names
  )
  return rows.map(
    (row): StoredRow => ({ _tag: "Counter", counter: { name: String(row["name"]), value: Number(row["value"]) } })
  )
}

const textOf = (value: unknown): string | undefined => (value === null || value === undefined ? undefined : `${value}`)

const numberOf = (value: unknown): number | undefined =>
  value === null || value === undefined ? undefined : Number(value)

const toRun = (row: Row): Run => {
  const token = Number(row["token"])
  const createdAt = Number(row["created_at"])
  return {
    key: Number(row["key"]),
    id: String(row["id"]),
    workflow: String(row["workflow"]),
    version: String(row["version"]),
    input: String(row["input"]),
    labels: toLabels(String(row["labels"])),
    createdAt,
    startedAt: numberOf(row["started_at"]) ?? (token > 0 && textOf(row["queue"]) === undefined ? createdAt : undefined),
    token,
    owner: undefined,
    leaseUntil: undefined,
    dueAt: Number(row["due_at"]),
    waiting: textOf(row["waiting"]),
    signals: Number(row["signals"]),
    generation: Number(row["generation"]),
    ...controlOf(row),
    outcome: outcomeOf(row)
  }
}

const controlOf = (row: Row): Pick<Run, "hold" | "cancel" | "queue" | "parent"> => {
  const [hold, queue, parent] = [textOf(row["hold_id"]), textOf(row["queue"]), textOf(row["parent"])]
  return {
    hold: hold === undefined ? undefined : { id: hold, reason: String(row["hold_reason"]), at: Number(row["hold_at"]) },
    cancel: textOf(row["cancel"]),
    queue:
      queue === undefined
        ? undefined
        : { name: queue, key: String(row["queue_key"]), priority: Number(row["priority"]) },
    parent: parent === undefined ? undefined : { run: parent, signal: String(row["parent_signal"]) }
  }
}

const outcomeOf = (row: Row): Outcome | undefined => {
  const kind = numberOf(row["exhausted"])
  const stored = row["status"]
  const status = stored === "failed" && kind !== undefined ? (kind === 2 ? "cancelled" : "exhausted") : stored
  return isOutcomeStatus(status) ? { status, exit: String(row["exit"]), at: Number(row["finished_at"]) } : undefined
}

const toEntry = (row: Row): Entry => ({
  seq: Number(row["seq"]),
  kind: String(row["kind"]),
  step: String(row["step"]),
  attempt: Number(row["attempt"]),
  at: Number(row["at"]),
  payload: textOf(row["payload"])
})

const toSignal = (row: Row): Signal => ({
  key: String(row["key"]),
  payload: String(row["payload"]),
  at: Number(row["at"])
})

const toSnapshot = (row: Row): FullSnapshot => {
  const state = row["state"] ?? row["bytes"]
  return {
    key: Number(row["key"]),
    run: textOf(row["run"]),
    step: String(row["step"]),
    seq: Number(row["seq"]),
    name: String(row["name"]),
    own: textOf(row["own"]),
    kind: String(row["kind"]),
    version: Number(row["version"]),
    schema: String(row["schema"]),
    digest: String(row["digest"]),
    size: Number(row["size"]),
    encoding: String(row["encoding"]),
    labels: toLabels(String(row["labels"])),
    about: String(row["about"]),
    at: Number(row["at"]),
    rewound: Number(row["rewound"]) === 1,
    state: state instanceof Uint8Array ? state : String(state)
  }
}

const toRecord = (row: Row): RecordRow => ({
  key: Number(row["key"]),
  kind: String(row["kind"]),
  id: String(row["id"]),
  subject: String(row["subject"]),
  scope: String(row["scope"]),
  status: String(row["status"]),
  labels: toLabels(String(row["labels"])),
  at: Number(row["at"]),
  updatedAt: Number(row["updated_at"]),
  revision: Number(row["revision"]),
  body: String(row["body"])
})

// ---- what is written

/** Below the number of parameters that a statement of either database may have. */
const paramsAtOnce = 10_000

/** A BIGINT is whole. */
const whole = (value: number): number => Math.trunc(value)

/** Inserts rows in their order, many in each statement. Returns what `tail` asks for. */
function* insertAll(
  table: string,
  columns: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<unknown>>,
  tail = "",
  answers = false
): Steps<ReadonlyArray<Row>> {
  const atOnce = Math.floor(paramsAtOnce / columns.length)
  const answered: Array<Row> = []
  for (let start = 0; start < rows.length; start += atOnce) {
    const page = rows.slice(start, start + atOnce)
    const values = page.map((row) => `(${marks(row)})`).join(", ")
    const text = `INSERT INTO ${table} (${columns.join(", ")}) VALUES ${values} ${tail}`
    answered.push(...(yield { text, params: page.flat(), answers }))
  }
  return answered
}

const runColumns = [
  ...["id", "workflow", "version", "input", "labels", "created_at", "due_at", "token", "signals", "waiting"],
  ...["started_at", "generation", "hold_id", "hold_reason", "hold_at", "cancel", "queue", "queue_key", "priority"],
  ...["parent", "parent_signal", "shard"],
  ...["status", "exhausted", "exit", "finished_at", "checksum", "outcome_checksum"]
]

const runValues = ({ run, signals }: RowOf<"Run">): ReadonlyArray<unknown> => {
  const { cancel, createdAt, dueAt, generation, hold, id, input, outcome, parent, queue, startedAt } = run
  const { token, version, waiting, workflow } = run
  const labels = fromLabels(run.labels)
  const end = outcome && { ...outcome, at: whole(outcome.at) }
  const [status, exhausted] = end === undefined ? [null, null] : storedStatus(end)
  return [
    ...[id, workflow, version, input, labels, whole(createdAt), whole(dueAt), token, signals.length, waiting ?? null],
    ...[startedAt === undefined ? null : whole(startedAt), generation],
    ...[hold?.id ?? null, hold?.reason ?? null, hold === undefined ? null : whole(hold.at), cancel ?? null],
    ...[queue?.name ?? null, queue?.key ?? null, queue?.priority ?? 0, parent?.run ?? null, parent?.signal ?? null],
    shardHash(id),
    ...[status, exhausted, end?.exit ?? null, end?.at ?? null],
    runChecksum({ id, workflow, version, input, labels, createdAt: whole(createdAt), queue, parent }),
    end === undefined ? null : outcomeChecksum(id, end)
  ]
}

const entryColumns = [
  ...["run", "seq", "kind", "step", "attempt", "at", "payload"],
  ...["checksum", "payload_checksum", "previous"]
]

const entryValues = (run: number, given: Entry, previous: number | undefined): ReadonlyArray<unknown> => {
  const entry = { ...given, at: whole(given.at) }
  const { attempt, at, kind, payload, seq, step } = entry
  const { checksum, payloadChecksum } = entryChecksums(run, entry)
  return [run, seq, kind, step, attempt, at, payload ?? null, checksum, payloadChecksum, previous ?? null]
}

const signalValues = (run: number, given: Signal, seq: number): ReadonlyArray<unknown> => {
  const signal = { ...given, at: whole(given.at) }
  return [run, seq, signal.key, signal.payload, signal.at, signalChecksum(run, signal)]
}

function* writeRuns({ table }: Tables, rows: ReadonlyArray<RowOf<"Run">>): Steps<void> {
  const written = yield* insertAll(table("runs"), runColumns, rows.map(runValues), "RETURNING key, id", true)
  const keys = new Map(written.map((row) => [String(row["id"]), Number(row["key"])]))
  // The insert has returned each of them.
  const keyOf = ({ run }: RowOf<"Run">) => keys.get(run.id) as number
  const lines = rows.flatMap((row) =>
    row.journal.map((entry, i) => entryValues(keyOf(row), entry, row.journal[i - 1]?.seq))
  )
  yield* insertAll(table("journal"), entryColumns, lines)
  const signals = rows.flatMap((row) => row.signals.map((signal, i) => signalValues(keyOf(row), signal, i + 1)))
  yield* insertAll(table("signals"), ["run", "seq", "key", "payload", "at", "checksum"], signals)
}

const snapshotColumns = [
  ...["key", "run", "step", "seq", "name", "own", "kind", "version", "schema", "digest", "size", "encoding"],
  ...["labels", "about", "at", "rewound", "checksum", "state"]
]

const snapshotValues = (snapshot: FullSnapshot, isSqlite: boolean): ReadonlyArray<unknown> => {
  const { about, digest, encoding, key, kind, name, own, run, schema, seq, size, state, step, version } = snapshot
  const labels = fromLabels(snapshot.labels)
  const at = whole(snapshot.at)
  const facts = { key, run, step, seq, name, own, kind, version, schema, digest, size, encoding, labels, about, at }
  const checksum = snapshotChecksum(facts, state)
  const states = isSqlite ? [state] : typeof state === "string" ? [state, null] : [null, state]
  return [
    ...[key, run ?? null, step, seq, name, own ?? null, kind, version, schema, digest, size, encoding],
    ...[labels, about, at, snapshot.rewound ? 1 : 0, snapshot.rewound ? -1 - checksum : checksum],
    ...states
  ]
}

function* writeSnapshots(tables: Tables, snapshots: ReadonlyArray<FullSnapshot>): Steps<void> {
  if (snapshots.length === 0) return
  const { isSqlite, table } = tables
  const columns = isSqlite ? snapshotColumns : [...snapshotColumns, "bytes"]
  const values = snapshots.map((snapshot) => snapshotValues(snapshot, isSqlite))
  yield* insertAll(table("snapshots"), columns, values)
  // SQLite keeps the index of labels by a trigger, and the next key is above all that are there.
  if (isSqlite) return
  const labels = snapshots.flatMap(({ key, labels }) => Object.entries(labels).map((label) => [...label, key]))
  yield* insertAll(table("labels"), ["label", "value", "snapshot"], labels)
  yield* raiseKeys(tables, Math.max(...snapshots.map(({ key }) => key)))
}

/** The sequence of keys continues after this one. */
function* raiseKeys({ table }: Tables, key: number): Steps<void> {
  const sequence = table("snapshot_keys")
  const [row] = yield query(`SELECT last_value AS last FROM ${sequence}`, [])
  if (Number(row?.["last"]) > key) return
  // Changes nothing, and keeps others from taking a number until the commit.
  yield command(`ALTER SEQUENCE ${sequence} NO MAXVALUE`, [])
  const name = sequence.replaceAll("'", "''")
  yield query(`SELECT setval('${name}', GREATEST(last_value, ?::bigint)) FROM ${sequence}`, [key])
}

const recordColumns = [
  ...["kind", "id", "subject", "scope", "status", "labels", "at", "updated_at", "revision", "body", "checksum"]
]

const recordValues = (record: RecordRow): ReadonlyArray<unknown> => {
  const { body, id, kind, revision, scope, status, subject } = record
  const labels = fromLabels(record.labels)
  const [at, updatedAt] = [whole(record.at), whole(record.updatedAt)]
  const row = { kind, id, subject, scope, status, labels, at, updatedAt, revision, body }
  return [kind, id, subject, scope, status, labels, at, updatedAt, revision, body, recordChecksum(row)]
}
