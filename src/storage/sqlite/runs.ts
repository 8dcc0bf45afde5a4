import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import {
  entryChecksums,
  entryProblem,
  mismatch,
  outcomeChecksum,
  rowProblem,
  runChecksum,
  type StoredEntry,
  signalChecksum
} from "../checksum.js"
import {
  type Answer,
  claimedRun,
  isOutcomeStatus,
  isWaitingFor,
  leaseLost,
  leaseOf,
  limitOf,
  newRun,
  type Plain,
  refusal,
  statusOf
} from "../rows.js"
import type { LeaseLost, StorageError } from "../StorageError.js"
import * as Store from "../Store.js"
import type { Database } from "./driver.js"
import { isTime, marked, noTime, refuseDamaged, toLabels } from "./rows.js"
import { prepareRunStatements, type RunStatements } from "./runStatements.js"
import type { Access } from "./SqliteStore.js"
import type { Alone } from "./writer.js"

/** A run as it is stored. */
export type RunRow = Omit<Store.Run, "labels" | "owner" | "leaseUntil" | "waiting" | "outcome" | "damaged"> & {
  readonly labels: string
  readonly owner: string | null
  readonly leaseUntil: number | null
  readonly waiting: string | null
  readonly status: Store.Outcome["status"] | null
  readonly exit: string | null
  readonly finishedAt: number | null
  readonly checksum: number | null
  readonly outcomeChecksum: number | null
}

/** What is wrong with the row of a run. What changes while it is open has no checksum, and is only checked for its type. */
export const runProblem = (row: RunRow): string | undefined => {
  const { checksum, createdAt, dueAt, id, input, labels, leaseUntil, owner, token, version, waiting, workflow } = row
  const numbers = [token, dueAt, leaseUntil ?? 0]
  if (numbers.some((value) => typeof value !== "number")) return "a number is stored as something else"
  if (!isTime(createdAt)) return noTime
  const texts = [id, workflow, version, input, labels, owner ?? "", waiting ?? ""]
  return rowProblem(checksum, texts, () => runChecksum(row)) ?? outcomeProblem(row)
}

const outcomeProblem = ({ exit, finishedAt, id, outcomeChecksum: stored, status }: RunRow): string | undefined => {
  if (status === null) return stored === null ? undefined : mismatch
  if (!isOutcomeStatus(status)) return "its status is none that a run has"
  const at = finishedAt ?? 0
  if (!isTime(at)) return noTime
  return rowProblem(stored, [exit ?? ""], () => outcomeChecksum(id, { status, exit: exit ?? "", at }))
}

/** The statements over runs, and the leases this process has. Call its methods while the connection is held. */
export class RunTable {
  readonly sql: RunStatements
  /** The owners of the leases that this process holds. */
  readonly leases = new Set<string>()
  /** The last line that a lease has written, 0 before the first one of a new run. Looked up if it is not here. */
  readonly lastLines = new Map<string, number>()

  private readonly isGone: (owner: string) => boolean

  constructor(database: Database, isGone: (owner: string) => boolean) {
    this.isGone = isGone
    this.sql = prepareRunStatements(database)
  }

  /** With at most one lease, no other write can share the commit, so a write need not wait for others. */
  readonly alone = (): Alone | undefined => (this.leases.size <= 1 ? "alone" : undefined)
  /** As `alone`, for one statement. */
  readonly single = (): Alone | undefined => (this.leases.size <= 1 ? "single" : undefined)

  isLeased({ key, owner, token }: Store.Lease): boolean {
    return this.sql.isLeased.get(key, token, owner) !== undefined
  }

  /** The line names the one before it, which must exist. It is looked up if it is not given. */
  insert(lease: Store.Lease, entry: Store.Entry, previous?: number): boolean {
    const { at, attempt, kind, payload, seq, step } = entry
    const { checksum, payloadChecksum } = entryChecksums(lease.key, entry)
    const { key, owner, token } = lease
    const { append, appendAfter } = this.sql
    if (previous === undefined) this.lastLines.delete(owner)
    // Spelled out twice: most statements of a program are this one, and it is called without an array.
    const inserted =
      previous === undefined
        ? append.run(seq, kind, step, attempt, at, payload, checksum, payloadChecksum, key, token, owner)
        : appendAfter.run(
            seq,
            kind,
            step,
            attempt,
            at,
            payload,
            checksum,
            payloadChecksum,
            previous || null,
            key,
            token,
            owner
          )
    return inserted.changes === 1
  }

  /** The insert of the first line checks the lease for all of them. */
  append(lease: Store.Lease, entries: ReadonlyArray<Store.Entry>): Answer<void, LeaseLost> {
    const { owner } = lease
    let previous = this.lastLines.get(owner)
    for (const entry of entries) {
      if (!this.insert(lease, entry, previous)) return leaseLost(lease)
      previous = entry.seq
    }
    if (previous !== undefined && this.leases.has(owner)) this.lastLines.set(owner, previous)
    return Exit.void
  }

  /** Records the outcome, unless the run has one. */
  finish(lease: Store.Lease, outcome: Omit<Store.Outcome, "at">, now: number): Answer<Store.Outcome, LeaseLost> {
    const ended = { ...outcome, at: now }
    const status = ended.status === "exhausted" ? ["failed", 1] : [ended.status, null]
    const values = [...status, ended.exit, now, outcomeChecksum(lease.run, ended)]
    if (this.sql.finishRun.run(...values, lease.key, lease.token, lease.owner).changes === 1) return Exit.succeed(ended)
    const recorded = this.find(lease.run)?.outcome
    return recorded === undefined ? leaseLost(lease) : Exit.succeed(recorded)
  }

  /** The lease ends. */
  forget(owner: string): void {
    this.leases.delete(owner)
    this.lastLines.delete(owner)
  }

  find(id: string): Store.Run | undefined {
    const row = this.findRow(id)
    return row && this.toRun(row)
  }

  /** Throws if the row is damaged. An index that leads to the row of another run is damage, too. */
  findRow(id: string): RunRow | undefined {
    const row = this.sql.findRun.get(id) as RunRow | undefined
    if (row === undefined) return undefined
    refuseDamaged(row.id === id ? runProblem(row) : "the index leads to another row", () => `run "${id}"`)
    return row
  }

  findByKey(key: number): Store.Run | undefined {
    const row = this.sql.findRunByKey.get(key) as RunRow | undefined
    if (row !== undefined) refuseDamaged(runProblem(row), () => `run "${row.id}"`)
    return row && this.toRun(row)
  }

  /** The id of a run, for messages. */
  nameOf(key: number): string {
    const row = this.sql.nameOf.get(key) as { readonly id: string } | undefined
    return row === undefined ? `number ${key}` : `"${row.id}"`
  }

  /** The lease of a dead process has ended, whatever its row says. */
  readonly toRun = (row: RunRow): Store.Run => {
    const { createdAt, dueAt, exit, finishedAt, id, input, key, owner, status, token, version, workflow } = row
    const isLeased = typeof owner === "string" && !this.isGone(owner)
    return {
      key,
      id,
      workflow,
      version,
      input,
      labels: toLabels(row.labels),
      // Lists show damaged rows too, as marked.
      createdAt: isTime(createdAt) ? createdAt : 0,
      token,
      owner: isLeased ? owner : undefined,
      leaseUntil: isLeased ? (row.leaseUntil ?? undefined) : undefined,
      dueAt,
      waiting: row.waiting ?? undefined,
      outcome:
        status === null ? undefined : { status, exit: exit ?? "", at: isTime(finishedAt) ? (finishedAt ?? 0) : 0 }
    }
  }

  /** A damaged row is a row of the list. */
  readonly toListed = (row: RunRow): Store.Run => marked(this.toRun(row), runProblem(row))

  /** The first runs among the rows that the condition holds for. */
  take(rows: () => Iterable<unknown>, limit: number, condition: (run: Store.Run) => boolean): ReadonlyArray<Store.Run> {
    const found: Array<Store.Run> = []
    // An iterator that is created and not read would keep the connection busy.
    if (limit <= 0) return found
    for (const row of rows()) {
      const run = this.toListed(row as RunRow)
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
  ...queryOperations(table, guarded),
  removeRuns: (keys) => guarded.write("Removing runs", () => keys.filter((key) => removeRun(table.sql, key)).length)
})

const claim = (
  { sql }: RunTable,
  found: Store.Run,
  request: Store.OpenRequest,
  owner: string,
  leaseUntil: number,
  now: number
): Store.Opened => {
  const refused = refusal(found, request, now)
  if (refused !== undefined) return refused
  const run = claimedRun(found, owner, leaseUntil, now)
  sql.claimRun.run(run.token, owner, leaseUntil, run.dueAt, run.key)
  return { _tag: "Claimed", run, lease: leaseOf(run, owner) }
}

const leaseOperations = (table: RunTable, guarded: Access, plain: Access) => {
  const { leases, sql } = table

  const open = (request: Store.OpenRequest, owner: string, leaseUntil: number, now: number): Store.Opened => {
    const { id, input, key, labels, version, workflow } = request
    if (key !== undefined) {
      const found = table.findByKey(key)
      return found === undefined ? { _tag: "Gone" } : claim(table, found, request, owner, leaseUntil, now)
    }
    const text = JSON.stringify(labels)
    const checksum = runChecksum({ id, workflow, version, input, labels: text, createdAt: now })
    const values = [id, workflow, version, input, text, now, now, owner, leaseUntil, checksum]
    const inserted = sql.insertRun.run(...values)
    if (inserted.changes === 1) {
      const run = newRun(request, Number(inserted.lastInsertRowid), owner, leaseUntil, now)
      return { _tag: "Created", run, lease: leaseOf(run, owner) }
    }
    // The insert found it.
    return claim(table, table.find(id) as Store.Run, request, owner, leaseUntil, now)
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

  const endLease = <A extends Plain>(
    operation: string,
    { owner }: Store.Lease,
    job: (now: number) => Answer<A, LeaseLost>
  ): Effect.Effect<A, StorageError | LeaseLost> => {
    const ending = (now: number) => {
      table.forget(owner)
      return job(now)
    }
    return guarded.attempt(operation, ending, table.single)
  }

  return {
    open: (request, owner, leaseMillis) =>
      Effect.tap(
        guarded.write(
          "Opening a run",
          (now) => open(request, owner, now + leaseMillis, now),
          () => (leases.size === 0 ? "alone" : undefined)
        ),
        (opened) => {
          if ("lease" in opened) leases.add(owner)
          if (opened._tag === "Created") table.lastLines.set(owner, 0)
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
        table.forget(owner)
        sql.releaseLease.run(run, owner)
      }),
    suspend: (lease, { dueAt, signals, waiting }) =>
      endLease("Suspending a run", lease, (now) => {
        const { key, owner, token } = lease
        const suspended = sql.suspendRun.run(waiting ?? null, signals, now, dueAt, key, token, owner)
        return suspended.changes === 1 ? Exit.void : leaseLost(lease)
      }),
    finish: (lease, outcome) => endLease("Recording an outcome", lease, (now) => table.finish(lease, outcome, now))
  } satisfies Partial<Store.RunStore>
}

/** A line as it is stored. */
export interface EntryRow extends StoredEntry {
  readonly omitted: number | null
  readonly checksum: number | null
  readonly payloadChecksum: number | null
  /** The last line when this one was written. */
  readonly previous: number | null
}

const toEntry = ({ at, attempt, kind, omitted, payload, seq, step }: EntryRow, longest: number): Store.Entry => {
  const entry = { seq, kind, step, attempt, at }
  return omitted === 1 || (payload !== null && payload.length > longest)
    ? { ...entry, payload: undefined, omitted: true }
    : { ...entry, payload: payload ?? undefined }
}

/**
 * Throws at a line that is not what was written, and at a line whose predecessor
 * is missing. A journal whose end is missing is an older state of the run.
 */
const readLines = (
  table: RunTable,
  run: number,
  rows: ReadonlyArray<EntryRow>,
  longest = Number.POSITIVE_INFINITY
): ReadonlyArray<Store.Entry> => {
  let last: number | null = null
  return rows.map((row) => {
    refuseDamaged(lineProblem(run, row, last, rows), () => `${lineOf(row)} of run ${table.nameOf(run)}`)
    last = row.seq
    return toEntry(row, longest)
  })
}

/** What is wrong with a line. `last` is the number of the line before it. */
export const lineProblem = (
  run: number,
  row: EntryRow,
  last: number | null,
  rows: ReadonlyArray<EntryRow>
): string | undefined => {
  const { at, checksum, previous } = row
  if (!isTime(at)) return noTime
  // Concurrent lines may be written in another order than that of their numbers.
  const isThere = previous === last || previous === null || rows.some(({ seq }) => seq === previous)
  return checksum === null || isThere ? entryProblem(run, row, row) : `line ${previous} before it is missing`
}

/** A line in words. */
export const lineOf = ({ kind, seq, step }: EntryRow): string =>
  `line ${seq} (${kind}${step === "" ? "" : ` of "${step}"`})`

const journalOperations = (table: RunTable, guarded: Access) => {
  const { sql } = table
  return {
    append: (lease, entries) =>
      guarded.attempt(
        "Appending to the journal",
        () => table.append(lease, entries),
        entries.length === 1 ? table.single : table.alone
      ),
    rewind: (lease, entry, rewound) =>
      guarded.attempt("Rewinding a run", () => {
        if (!table.insert(lease, entry)) return leaseLost(lease)
        sql.markRewound.run({ run: lease.run, ...rewound })
        return Exit.void
      }),
    journal: (run, longest) =>
      guarded.read("Reading a journal", () => {
        const rows = longest === undefined ? sql.journal.all(run) : sql.shortJournal.all({ run, longest })
        return readLines(table, run, rows as ReadonlyArray<EntryRow>, longest)
      }),
    payload: (key, seq) =>
      guarded.read("Reading a journal", () => {
        const row = sql.line.get(key, seq) as EntryRow | undefined
        if (row !== undefined)
          refuseDamaged(entryProblem(key, row, row), () => `${lineOf(row)} of run ${table.nameOf(key)}`)
        return row?.payload ?? undefined
      })
  } satisfies Partial<Store.RunStore>
}

/** A signal as it is stored. */
export type SignalRow = Store.Signal & { readonly checksum: number | null }

const signalOperations = (table: RunTable, guarded: Access) => {
  const { sql } = table
  const signal = (id: string, key: string, payload: string, now: number): Store.Signalled => {
    const row = table.findRow(id)
    if (row === undefined) return "Unknown"
    if (row.status !== null) return "Finished"
    const checksum = signalChecksum(row.key, { key, payload, at: now })
    if (sql.insertSignal.run(row.key, key, payload, now, checksum).changes === 0) return "Taken"
    sql.wakeRun.run(now, row.key, now)
    return "Sent"
  }
  return {
    signal: (run, key, payload) => guarded.write("Signalling a run", (now) => signal(run, key, payload, now)),
    signals: (run) =>
      guarded.read("Reading signals", () =>
        (sql.signals.all(run) as ReadonlyArray<SignalRow>).map(({ checksum, ...signal }) => {
          const { key, payload } = signal
          const problem = rowProblem(checksum, [key, payload], () => signalChecksum(run, signal))
          refuseDamaged(problem, () => `signal "${key}" of run ${table.nameOf(run)}`)
          return signal
        })
      )
  } satisfies Partial<Store.RunStore>
}

const queryOperations = (table: RunTable, guarded: Access) => {
  const { sql } = table

  const list = (query: Store.Query, now: number): ReadonlyArray<Store.Run> => {
    const { before = null, status, waitsFor, workflow = null } = query
    const limit = limitOf(query)
    // Only open runs wait.
    if (waitsFor === undefined && (status === undefined || isOutcomeStatus(status))) {
      const rows = sql.list.all({ workflow, before, status: status ?? null, limit })
      return (rows as ReadonlyArray<RunRow>).map(table.toListed)
    }
    // The status of an open run depends on its lease and on whether its process is dead, so it is computed for each row.
    return table.take(
      () => sql.listOpen.iterate({ workflow, before, isWaiting: waitsFor === undefined ? 0 : 1 }),
      limit,
      (run) =>
        (status === undefined || statusOf(run, now) === status) &&
        (waitsFor === undefined || isWaitingFor(run, waitsFor))
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
    backlog: guarded.read("Counting open runs", (now) =>
      (sql.backlog.all({ now, untilSignalled: Store.untilSignalled }) as ReadonlyArray<BacklogRow>).map((row) => ({
        ...row,
        oldest: row.oldest ?? undefined,
        next: row.next ?? undefined
      }))
    ),
    find: (id) => guarded.read("Finding a run", () => Option.fromNullable(table.find(id))),
    list: (query) => guarded.read("Listing runs", (now) => list(query, now)),
    countRuns: guarded.read("Counting runs", (now) => sql.countRuns.all({ now }) as ReadonlyArray<Store.RunCount>)
  } satisfies Partial<Store.RunStore>
}

type BacklogRow = Omit<Store.Backlog, "oldest" | "next"> & {
  readonly oldest: number | null
  readonly next: number | null
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
