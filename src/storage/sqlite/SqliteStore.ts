import type * as SqlClient from "@effect/sql/SqlClient"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { statusOf } from "../internal/status.js"
import type {
  Backlog,
  DueQuery,
  Entry,
  Lease,
  Opened,
  OpenRequest,
  Outcome,
  Query,
  Run,
  RunCount,
  Signal,
  Signalled,
  Store,
  Suspension,
  Usage
} from "../Storage.js"
import { LeaseLost } from "../StorageError.js"
import type { Database } from "./driver.js"
import { toLabels } from "./labels.js"
import { makeSqliteLocks } from "./locks.js"
import { makeSqliteRecords } from "./records.js"
import { makeSqliteSnapshots } from "./snapshots.js"
import { prepareStatements } from "./statements.js"
import { makeTransactional, refuseInside } from "./transactional.js"
import type { Writer } from "./writer.js"

export interface Options {
  readonly database: Database
  readonly writer: Writer
  readonly client: SqlClient.SqlClient
  /** Whether the process behind an owner is known to be gone, so that its leases need not run out. */
  readonly isGone: (owner: string) => boolean
}

/**
 * The store over one connection. Every operation is one synchronous job, so
 * nothing can come between its statements, and jobs that wait together share
 * a commit.
 *
 * The clock is the host's: SQLite has none of its own, and all processes on
 * one file share the host.
 */
export const makeSqliteStore = ({ client, database, isGone, writer }: Options): Store => {
  const sql = prepareStatements(database)
  const snapshots = makeSqliteSnapshots(database)
  const locks = makeSqliteLocks(database, isGone)
  const records = makeSqliteRecords(database)

  /** The leases given out and not ended, by owner: with one of them, no write can hope for company. */
  const leases = new Set<string>()

  const write = <A, E>(operation: string, job: (now: number) => Effect.Effect<A, E>, alone: boolean) =>
    Effect.clockWith((clock) => writer.write(operation, () => job(clock.unsafeCurrentTimeMillis()), alone))

  const read = <A>(operation: string, rows: () => A) => writer.read(operation, () => Effect.succeed(rows()))

  const open = (request: OpenRequest, owner: string, leaseMillis: number, now: number): Opened => {
    const { id, input, labels, version, workflow } = request
    const until = now + leaseMillis
    const inserted = sql.insertRun.run(id, workflow, version, input, JSON.stringify(labels), now, now, owner, until)
    if (inserted.changes === 1) {
      const key = Number(inserted.lastInsertRowid)
      const since = { createdAt: now, token: 1, owner, leaseUntil: until, dueAt: now, waiting: undefined }
      const run: Run = { id, workflow, version, input, labels, key, ...since, outcome: undefined }
      return { _tag: "Created", run, lease: leaseOf(run, owner) }
    }
    const run = toRun(sql.findRun.get(id) as RunRow)
    if (run.workflow !== workflow || run.input !== input) return { _tag: "Different", run }
    if (run.outcome !== undefined) return { _tag: "Finished", run }
    const held = statusOf(run, now) === "running" && run.owner !== undefined && !isGone(run.owner)
    if (held) return { _tag: "Held", run }
    const isLeft = request.only === "new" || (request.only === "due" && run.dueAt > now)
    return isLeft ? { _tag: "Waiting", run } : claim(run, owner, until, now)
  }

  const claim = (stopped: Run, owner: string, leaseUntil: number, now: number): Opened => {
    // A clock that is put back makes nothing due later than it was.
    const dueAt = Math.min(stopped.dueAt, now)
    const run: Run = { ...stopped, token: stopped.token + 1, owner, leaseUntil, dueAt, waiting: undefined }
    sql.claimRun.run(run.token, owner, leaseUntil, dueAt, run.key)
    return { _tag: "Claimed", run, lease: leaseOf(run, owner) }
  }

  const finish = (lease: Lease, outcome: Omit<Outcome, "at">, now: number) => {
    const finished = sql.finishRun.run(outcome.status, outcome.exit, now, lease.key, lease.token, lease.owner)
    if (finished.changes === 1) return Effect.succeed({ ...outcome, at: now })
    const recorded = toRun(sql.findRun.get(lease.run) as RunRow).outcome
    return recorded === undefined ? Effect.fail(lost(lease)) : Effect.succeed(recorded)
  }

  /** The lease of a process that is gone has ended, whatever it says. */
  const toLiving = (row: RunRow): Run => {
    const run = toRun(row)
    return run.owner !== undefined && isGone(run.owner) ? { ...run, owner: undefined, leaseUntil: undefined } : run
  }

  const list = (query: Query, now: number): ReadonlyArray<Run> => {
    const limit = query.limit ?? 100
    const page = { workflow: query.workflow ?? null, before: query.before ?? null }
    if (!isOpenStatus(query.status)) {
      return (sql.list.all({ ...page, status: query.status ?? null, limit }) as ReadonlyArray<RunRow>).map(toLiving)
    }
    const found: Array<Run> = []
    for (const row of limit <= 0 ? [] : sql.listOpen.iterate(page)) {
      const run = toLiving(row as RunRow)
      if (statusOf(run, now) === query.status && found.push(run) >= limit) break
    }
    return found
  }

  const lost = (lease: Lease) => new LeaseLost({ run: lease.run, token: lease.token })

  const insert = (lease: Lease, { at, attempt, kind, payload, seq, step }: Entry): boolean =>
    sql.append.run(seq, kind, step, attempt, at, payload, lease.key, lease.token, lease.owner).changes === 1

  /** The first line says whether the lease still holds, for all of them. */
  const append = (lease: Lease, entries: ReadonlyArray<Entry>): Effect.Effect<void, LeaseLost> =>
    entries.every((entry) => insert(lease, entry)) ? Effect.void : Effect.fail(lost(lease))

  const reopen = (found: Run, entry: Entry, owner: string, now: number, leaseMillis: number): Option.Option<Lease> => {
    if (sql.reopenRun.run(owner, now + leaseMillis, now, found.key, found.token).changes === 0) return Option.none()
    const lease = { key: found.key, run: found.id, token: found.token + 1, owner }
    insert(lease, entry)
    return Option.some(lease)
  }

  const save: (...args: Parameters<Store["save"]>) => Effect.Effect<Option.Option<number>, LeaseLost> = (
    snapshot,
    { after, entry, lease }
  ) => {
    if (lease !== undefined && sql.isLeased.get(lease.key, lease.token, lease.owner) === undefined) {
      return Effect.fail(lost(lease))
    }
    const key = snapshots.save(snapshot, after)
    if (key !== undefined && lease !== undefined && entry !== undefined) insert(lease, entry(key))
    return Effect.succeed(Option.fromNullable(key))
  }

  const renew = (held: ReadonlyArray<Lease>, until: number) =>
    held.filter((lease) => sql.renewLease.run(until, lease.key, lease.token, lease.owner).changes === 0)

  const suspend = (lease: Lease, { dueAt, signals, waiting }: Suspension, now: number) =>
    sql.suspendRun.run(waiting ?? null, signals, now, dueAt, lease.key, lease.token, lease.owner).changes === 1
      ? Effect.void
      : Effect.fail(lost(lease))

  const signal = (id: string, key: string, payload: string, now: number): Signalled => {
    const row = sql.findRun.get(id) as RunRow | undefined
    if (row === undefined) return "Unknown"
    if (row.status !== null) return "Finished"
    if (sql.insertSignal.run(row.key, key, payload, now).changes === 0) return "Taken"
    sql.wakeRun.run(now, row.key, now)
    return "Sent"
  }

  /** Those that run are passed over, unless their process is gone. */
  const due = ({ limit, version, workflow }: DueQuery, now: number): ReadonlyArray<Run> => {
    const found: Array<Run> = []
    if (limit <= 0) return found
    for (const row of sql.due.iterate(workflow, version, now)) {
      const run = toLiving(row as RunRow)
      if (statusOf(run, now) === "running") continue
      if (found.push(run) >= limit) break
    }
    return found
  }

  const backlog = (now: number): ReadonlyArray<Backlog> =>
    (sql.backlog.all({ now }) as ReadonlyArray<BacklogRow>).map((row) => ({
      ...row,
      oldest: row.oldest ?? undefined
    }))

  const removeRun = (key: number): boolean => {
    const row = sql.removableRun.get(key) as { readonly id: string } | undefined
    if (row === undefined) return false
    sql.removeJournal.run(key)
    sql.removeSignals.run(key)
    sql.removeSnapshots.run(row.id)
    sql.removeRun.run(key)
    return true
  }

  const countRuns = (now: number): ReadonlyArray<RunCount> =>
    (sql.countRuns.all({ now }) as ReadonlyArray<CountRow>).map(({ newest, oldest, runs, state, workflow }) => ({
      workflow,
      status: state,
      runs,
      oldest,
      newest
    }))

  const journal = (run: number, longest: number | undefined): ReadonlyArray<Entry> =>
    longest === undefined
      ? (sql.journal.all(run) as ReadonlyArray<EntryRow>).map(toEntry)
      : (sql.shortJournal.all({ run, longest }) as ReadonlyArray<EntryRow>).map(toEntry)

  const store: Store = {
    now: Clock.currentTimeMillis,
    open: (request, owner, leaseMillis) =>
      Effect.suspend(() =>
        Effect.tap(
          write("Opening a run", (now) => Effect.succeed(open(request, owner, leaseMillis, now)), leases.size === 0),
          ({ _tag }) => {
            if (_tag === "Created" || _tag === "Claimed") leases.add(owner)
          }
        )
      ),
    append: (lease, entries) =>
      writer.write("Appending to the journal", () => append(lease, entries), leases.size <= 1),
    transactional: makeTransactional(client, database, append),
    rewind: (lease, entry, rewound) =>
      writer.write("Rewinding a run", () =>
        Effect.tap(append(lease, [entry]), () => Effect.sync(() => snapshots.markRewound(lease.run, rewound)))
      ),
    reopen: (found, entry, owner, leaseMillis) =>
      Effect.tap(
        write("Opening a finished run", (now) => Effect.succeed(reopen(found, entry, owner, now, leaseMillis)), false),
        (lease) => Effect.sync(() => Option.isSome(lease) && leases.add(owner))
      ),
    save: (snapshot, options) => writer.write("Saving a snapshot", () => save(snapshot, options), leases.size <= 1),
    snapshots: (query) => read("Listing snapshots", () => snapshots.list(query)),
    newest: (query) => read("Reading a snapshot", () => Option.fromNullable(snapshots.newest(query))),
    snapshot: (key) => read("Reading a snapshot", () => Option.fromNullable(snapshots.get(key))),
    remove: (keys) => writer.write("Removing snapshots", () => Effect.succeed(snapshots.remove(keys))),
    finish: (lease, outcome) =>
      Effect.suspend(() => {
        const alone = leases.size <= 1
        leases.delete(lease.owner)
        return write("Recording an outcome", (now) => finish(lease, outcome, now), alone)
      }),
    renew: (held, leaseMillis) =>
      write("Renewing leases", (now) => Effect.succeed(renew(held, now + leaseMillis)), false),
    release: (run, owner) =>
      Effect.suspend(() => {
        leases.delete(owner)
        return writer.write("Releasing a lease", () => {
          sql.releaseLease.run(run, owner)
          return Effect.void
        })
      }),
    find: (id) =>
      read("Finding a run", () => Option.map(Option.fromNullable(sql.findRun.get(id) as RunRow | undefined), toLiving)),
    journal: (key, longest) => read("Reading a journal", () => journal(key, longest)),
    payload: (key, seq) =>
      read("Reading a journal", () => (sql.payload.get(key, seq) as EntryRow | undefined)?.payload ?? undefined),
    suspend: (lease, suspension) =>
      Effect.suspend(() => {
        const alone = leases.size <= 1
        leases.delete(lease.owner)
        return write("Suspending a run", (now) => suspend(lease, suspension, now), alone)
      }),
    signal: (run, key, payload) =>
      write("Signalling a run", (now) => Effect.succeed(signal(run, key, payload, now)), false),
    signals: (key) => read("Reading signals", () => sql.signals.all(key) as ReadonlyArray<Signal>),
    due: (query) => Effect.flatMap(Clock.currentTimeMillis, (now) => read("Finding due runs", () => due(query, now))),
    backlog: Effect.flatMap(Clock.currentTimeMillis, (now) => read("Counting open runs", () => backlog(now))),
    lock: (name, owner, leaseMillis) =>
      write("Acquiring a lock", (now) => Effect.succeed(locks.lock(name, owner, now, leaseMillis)), false),
    renewLock: (lease, leaseMillis) =>
      write("Renewing a lock", (now) => Effect.succeed(locks.renew(lease, now + leaseMillis)), false),
    unlock: (name, owner) =>
      write("Giving a lock back", (now) => Effect.succeed(locks.unlock(name, owner, now)), false),
    findLock: (name) => read("Finding a lock", () => Option.fromNullable(locks.find(name))),
    locks: read("Listing locks", locks.list),
    removeLocks: (unusedSince) =>
      write("Removing locks", (now) => Effect.succeed(locks.remove(unusedSince, now)), false),
    write: (record, counts) =>
      write(
        "Writing a record",
        (now) => Effect.succeed(Option.fromNullable(records.write(record, counts, now))),
        false
      ),
    findRecord: (kind, id) => read("Finding a record", () => Option.fromNullable(records.find(kind, id))),
    records: (query) => read("Listing records", () => records.list(query)),
    removeRecords: (keys) => writer.write("Removing records", () => Effect.sync(() => records.remove(keys))),
    count: (counts) => writer.write("Counting", () => Effect.sync(() => records.count(counts))),
    counters: (prefix) => read("Reading counters", () => records.counters(prefix)),
    removeRuns: (keys) =>
      writer.write("Removing runs", () => Effect.succeed(keys.filter((key) => removeRun(key)).length)),
    usage: read("Measuring the storage", () => sql.usage.get() as Usage),
    countRuns: Effect.flatMap(Clock.currentTimeMillis, (now) => read("Counting runs", () => countRuns(now))),
    list: (query) => Effect.flatMap(Clock.currentTimeMillis, (now) => read("Listing runs", () => list(query, now)))
  }
  return refuseInside(store, client)
}

const leaseOf = (run: Run, owner: string): Lease => ({ key: run.key, run: run.id, token: run.token, owner })

/** Whether a run without an outcome is running only its lease and its owner can tell, row by row. */
const isOpenStatus = (status: Query["status"]): boolean =>
  status === "running" || status === "stopped" || status === "suspended"

interface RunRow {
  readonly key: number
  readonly id: string
  readonly workflow: string
  readonly version: string
  readonly input: string
  readonly labels: string
  readonly created_at: number
  readonly token: number
  readonly owner: string | null
  readonly lease_until: number | null
  readonly due_at: number
  readonly waiting: string | null
  readonly status: "completed" | "failed" | null
  readonly exit: string | null
  readonly finished_at: number | null
}

const toRun = (row: RunRow): Run => ({
  key: row.key,
  id: row.id,
  workflow: row.workflow,
  version: row.version,
  input: row.input,
  labels: toLabels(row.labels),
  createdAt: row.created_at,
  token: row.token,
  owner: row.owner ?? undefined,
  leaseUntil: row.lease_until ?? undefined,
  dueAt: row.due_at,
  waiting: row.waiting ?? undefined,
  outcome: row.status === null ? undefined : { status: row.status, exit: row.exit ?? "", at: row.finished_at ?? 0 }
})

interface EntryRow {
  readonly seq: number
  readonly kind: string
  readonly step: string
  readonly attempt: number
  readonly at: number
  readonly payload: string | null
  readonly omitted?: number | null
}

interface CountRow extends Omit<RunCount, "status"> {
  readonly state: RunCount["status"]
}

interface BacklogRow extends Omit<Backlog, "oldest"> {
  readonly oldest: number | null
}

const toEntry = ({ omitted, ...row }: EntryRow): Entry => {
  const entry = { ...row, payload: row.payload ?? undefined }
  return omitted === 1 ? { ...entry, omitted: true } : entry
}
