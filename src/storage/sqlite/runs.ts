import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { type Answer, claimedRun, leaseLost, leaseOf, limitOf, newRun, type Plain, refusal, statusOf } from "../rows.js"
import type { LeaseLost, StorageError } from "../StorageError.js"
import type * as Store from "../Store.js"
import type { Database } from "./driver.js"
import { toLabels } from "./rows.js"
import { prepareRunStatements, type RunStatements } from "./runStatements.js"
import type { Access } from "./SqliteStore.js"

type RunRow = Omit<Store.Run, "labels" | "owner" | "leaseUntil" | "waiting" | "outcome"> & {
  readonly labels: string
  readonly owner: string | null
  readonly leaseUntil: number | null
  readonly waiting: string | null
  readonly status: Store.Outcome["status"] | null
  readonly exit: string | null
  readonly finishedAt: number | null
}

/** The statements over runs, and the leases this process has. Call its methods while the connection is held. */
export class RunTable {
  readonly sql: RunStatements
  /** The owners of the leases that this process holds. */
  readonly leases = new Set<string>()

  private readonly isGone: (owner: string) => boolean

  constructor(database: Database, isGone: (owner: string) => boolean) {
    this.isGone = isGone
    this.sql = prepareRunStatements(database)
  }

  /** With at most one lease, no other write can share the commit, so a write need not wait for others. */
  readonly isAlone = (): boolean => this.leases.size <= 1

  isLeased({ key, owner, token }: Store.Lease): boolean {
    return this.sql.isLeased.get(key, token, owner) !== undefined
  }

  insert(lease: Store.Lease, { at, attempt, kind, payload, seq, step }: Store.Entry): boolean {
    return this.sql.append.run(seq, kind, step, attempt, at, payload, lease.key, lease.token, lease.owner).changes === 1
  }

  /** The insert of the first line checks the lease for all of them. */
  append(lease: Store.Lease, entries: ReadonlyArray<Store.Entry>): Answer<void, LeaseLost> {
    return entries.every((entry) => this.insert(lease, entry)) ? Exit.void : leaseLost(lease)
  }

  find(id: string): Store.Run | undefined {
    const row = this.sql.findRun.get(id) as RunRow | undefined
    return row && this.toRun(row)
  }

  /** The lease of a dead process has ended, whatever its row says. */
  readonly toRun = ({ exit, finishedAt, labels, leaseUntil, owner, status, waiting, ...row }: RunRow): Store.Run => {
    const isLeased = owner !== null && !this.isGone(owner)
    return {
      ...row,
      labels: toLabels(labels),
      owner: isLeased ? owner : undefined,
      leaseUntil: isLeased ? (leaseUntil ?? undefined) : undefined,
      waiting: waiting ?? undefined,
      outcome: status === null ? undefined : { status, exit: exit ?? "", at: finishedAt ?? 0 }
    }
  }

  /** The first runs among the rows that the condition holds for. */
  take(rows: () => Iterable<unknown>, limit: number, condition: (run: Store.Run) => boolean): ReadonlyArray<Store.Run> {
    const found: Array<Store.Run> = []
    // An iterator that is created and not read would keep the connection busy.
    if (limit <= 0) return found
    for (const row of rows()) {
      const run = this.toRun(row as RunRow)
      if (condition(run) && found.push(run) >= limit) break
    }
    return found
  }
}

/** `guarded` operations fail inside of a SQL transaction of the program, the `plain` ones wait for its end. */
export const makeSqliteRuns = (
  table: RunTable,
  guarded: Access,
  plain: Access
): Omit<Store.RunStore, "transactional"> => ({
  ...leaseOperations(table, guarded, plain),
  ...journalOperations(table, guarded),
  ...signalOperations(table, guarded),
  ...queryOperations(table, guarded, plain),
  removeRuns: (keys) => guarded.write("Removing runs", () => keys.filter((key) => removeRun(table.sql, key)).length)
})

const leaseOperations = (table: RunTable, guarded: Access, plain: Access) => {
  const { leases, sql } = table

  const open = (request: Store.OpenRequest, owner: string, leaseUntil: number, now: number): Store.Opened => {
    const { id, input, labels, version, workflow } = request
    const values = [id, workflow, version, input, JSON.stringify(labels), now, now, owner, leaseUntil]
    const inserted = sql.insertRun.run(...values)
    if (inserted.changes === 1) {
      const run = newRun(request, Number(inserted.lastInsertRowid), owner, leaseUntil, now)
      return { _tag: "Created", run, lease: leaseOf(run, owner) }
    }
    const found = table.toRun(sql.findRun.get(id) as RunRow)
    const refused = refusal(found, request, now)
    if (refused !== undefined) return refused
    const run = claimedRun(found, owner, leaseUntil, now)
    sql.claimRun.run(run.token, owner, leaseUntil, run.dueAt, run.key)
    return { _tag: "Claimed", run, lease: leaseOf(run, owner) }
  }

  const reopen = (
    found: Store.Run,
    entry: Store.Entry,
    owner: string,
    leaseUntil: number,
    now: number
  ): Option.Option<Store.Lease> => {
    if (sql.reopenRun.run(owner, leaseUntil, now, found.key, found.token).changes === 0) return Option.none()
    const lease = { key: found.key, run: found.id, token: found.token + 1, owner }
    table.insert(lease, entry)
    return Option.some(lease)
  }

  const finish = (
    lease: Store.Lease,
    outcome: Omit<Store.Outcome, "at">,
    now: number
  ): Answer<Store.Outcome, LeaseLost> => {
    const finished = sql.finishRun.run(outcome.status, outcome.exit, now, lease.key, lease.token, lease.owner)
    if (finished.changes === 1) return Exit.succeed({ ...outcome, at: now })
    const recorded = table.find(lease.run)?.outcome
    return recorded === undefined ? leaseLost(lease) : Exit.succeed(recorded)
  }

  const endLease = <A extends Plain>(
    operation: string,
    { owner }: Store.Lease,
    job: (now: number) => Answer<A, LeaseLost>
  ): Effect.Effect<A, StorageError | LeaseLost> => {
    const ending = (now: number) => {
      leases.delete(owner)
      return job(now)
    }
    return guarded.attempt(operation, ending, table.isAlone)
  }

  return {
    open: (request, owner, leaseMillis) =>
      Effect.tap(
        guarded.write(
          "Opening a run",
          (now) => open(request, owner, now + leaseMillis, now),
          () => leases.size === 0
        ),
        (opened) => {
          if ("lease" in opened) leases.add(owner)
        }
      ),
    reopen: (found, entry, owner, leaseMillis) =>
      Effect.tap(
        guarded.write("Opening a finished run", (now) => reopen(found, entry, owner, now + leaseMillis, now)),
        (lease) => {
          if (Option.isSome(lease)) leases.add(owner)
        }
      ),
    renew: (held, leaseMillis) =>
      plain.write("Renewing leases", (now) =>
        held.filter(({ key, owner, token }) => sql.renewLease.run(now + leaseMillis, key, token, owner).changes === 0)
      ),
    release: (run, owner) =>
      plain.write("Releasing a lease", () => {
        leases.delete(owner)
        sql.releaseLease.run(run, owner)
      }),
    suspend: (lease, { dueAt, signals, waiting }) =>
      endLease("Suspending a run", lease, (now) => {
        const { key, owner, token } = lease
        const suspended = sql.suspendRun.run(waiting ?? null, signals, now, dueAt, key, token, owner)
        return suspended.changes === 1 ? Exit.void : leaseLost(lease)
      }),
    finish: (lease, outcome) => endLease("Recording an outcome", lease, (now) => finish(lease, outcome, now))
  } satisfies Partial<Store.RunStore>
}

interface EntryRow extends Omit<Store.Entry, "payload" | "omitted"> {
  readonly payload: string | null
  readonly omitted?: number | null
}

const toEntry = ({ omitted, ...row }: EntryRow): Store.Entry => {
  const entry = { ...row, payload: row.payload ?? undefined }
  return omitted === 1 ? { ...entry, omitted: true } : entry
}

const journalOperations = (table: RunTable, guarded: Access) => {
  const { sql } = table
  return {
    append: (lease, entries) =>
      guarded.attempt("Appending to the journal", () => table.append(lease, entries), table.isAlone),
    rewind: (lease, entry, rewound) =>
      guarded.attempt("Rewinding a run", () => {
        if (!table.insert(lease, entry)) return leaseLost(lease)
        sql.markRewound.run({ run: lease.run, ...rewound })
        return Exit.void
      }),
    journal: (run, longest) =>
      guarded.read("Reading a journal", () => {
        const rows = longest === undefined ? sql.journal.all(run) : sql.shortJournal.all({ run, longest })
        return (rows as ReadonlyArray<EntryRow>).map(toEntry)
      }),
    payload: (key, seq) =>
      guarded.read("Reading a journal", () => (sql.payload.get(key, seq) as EntryRow | undefined)?.payload ?? undefined)
  } satisfies Partial<Store.RunStore>
}

const signalOperations = ({ sql }: RunTable, guarded: Access) => {
  const signal = (id: string, key: string, payload: string, now: number): Store.Signalled => {
    const row = sql.findRun.get(id) as RunRow | undefined
    if (row === undefined) return "Unknown"
    if (row.status !== null) return "Finished"
    if (sql.insertSignal.run(row.key, key, payload, now).changes === 0) return "Taken"
    sql.wakeRun.run(now, row.key, now)
    return "Sent"
  }
  return {
    signal: (run, key, payload) => guarded.write("Signalling a run", (now) => signal(run, key, payload, now)),
    signals: (key) => guarded.read("Reading signals", () => sql.signals.all(key) as ReadonlyArray<Store.Signal>)
  } satisfies Partial<Store.RunStore>
}

const queryOperations = (table: RunTable, guarded: Access, plain: Access) => {
  const { sql } = table

  const list = (query: Store.Query, now: number): ReadonlyArray<Store.Run> => {
    const { before = null, status, workflow = null } = query
    const limit = limitOf(query)
    if (status === undefined || status === "completed" || status === "failed") {
      const rows = sql.list.all({ workflow, before, status: status ?? null, limit })
      return (rows as ReadonlyArray<RunRow>).map(table.toRun)
    }
    // The status of an open run depends on its lease and on whether its process is dead, so it is computed for each row.
    return table.take(
      () => sql.listOpen.iterate({ workflow, before }),
      limit,
      (run) => statusOf(run, now) === status
    )
  }

  const due = ({ limit, version, workflow }: Store.DueQuery, now: number): ReadonlyArray<Store.Run> =>
    table.take(
      () => sql.due.iterate(workflow, version, now),
      limit,
      (run) => statusOf(run, now) !== "running"
    )

  return {
    due: (query) => guarded.read("Finding due runs", (now) => due(query, now)),
    backlog: plain.read("Counting open runs", (now) =>
      (sql.backlog.all({ now }) as ReadonlyArray<Store.Backlog & { readonly oldest: number | null }>).map((row) => ({
        ...row,
        oldest: row.oldest ?? undefined
      }))
    ),
    find: (id) => guarded.read("Finding a run", () => Option.fromNullable(table.find(id))),
    list: (query) => guarded.read("Listing runs", (now) => list(query, now)),
    countRuns: plain.read("Counting runs", (now) => sql.countRuns.all({ now }) as ReadonlyArray<Store.RunCount>)
  } satisfies Partial<Store.RunStore>
}

const removeRun = (sql: RunStatements, key: number): boolean => {
  const row = sql.removableRun.get(key) as { readonly id: string } | undefined
  if (row === undefined) return false
  sql.removeJournal.run(key)
  sql.removeSignals.run(key)
  sql.removeSnapshots.run(row.id)
  sql.removeRun.run(key)
  return true
}
