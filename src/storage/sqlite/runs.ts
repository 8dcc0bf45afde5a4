import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { entryProblem, rowProblem, runChecksum, signalChecksum } from "../checksum.js"
import { type Answer, claimedRun, leaseLost, leaseOf, newRun, type Plain, refusal } from "../rows.js"
import type { LeaseLost, StorageError } from "../StorageError.js"
import type * as Store from "../Store.js"
import { ownersOf, shardHash } from "../shards.js"
import type { Database } from "./driver.js"
import { removeEach } from "./removing.js"
import { refuseDamaged } from "./rows.js"
import { makeRunControls } from "./runControls.js"
import { makeRunQueries } from "./runQueries.js"
import { type EntryRow, lineOf, lineProblem, type SignalRow } from "./runRows.js"
import type { RunStatements } from "./runStatements.js"
import type { RunTable } from "./runTable.js"
import type { Access } from "./SqliteStore.js"
import { shardParams } from "./shards.js"

/** `guarded` operations fail inside of a SQL transaction of the program, the `plain` ones wait for its end. */
export const makeSqliteRuns = (
  database: Database,
  table: RunTable,
  guarded: Access,
  plain: Access
): Omit<Store.RunStore, "transactional"> => ({
  ...leaseOperations(table, guarded, plain),
  ...journalOperations(table, guarded),
  ...signalOperations(table, guarded),
  ...makeRunControls(database, table, guarded),
  ...makeRunQueries(database, table, guarded),
  removeRuns: (keys) => removeEach(guarded, "Removing runs", keys, (key) => removeRun(table.sql, key))
})

const opening = "Opening a run"

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
  const run = claimedRun(found, owner, leaseUntil, now, request.isVisit)
  sql.claimRun.run(run.token, owner, leaseUntil, run.dueAt, run.startedAt ?? null, run.key)
  return { _tag: "Claimed", run, lease: leaseOf(run, owner) }
}

const openOperation = (table: RunTable, guarded: Access): Store.RunStore["open"] => {
  const { sql } = table

  /** Undefined if there is a run with this id. */
  const create = (
    request: Store.OpenRequest,
    owner: string,
    leaseUntil: number,
    now: number
  ): Store.Opened | undefined => {
    const { id, input, labels, parent, version, workflow } = request
    const text = JSON.stringify(labels)
    const checksum = runChecksum({ id, workflow, version, input, labels: text, createdAt: now, parent })
    const above = [parent?.run ?? null, parent?.signal ?? null]
    const values = [id, workflow, version, input, text, now, now, owner, leaseUntil, ...above, checksum, shardHash(id)]
    const inserted = sql.insertRun.run(...values)
    if (inserted.changes === 0) return undefined
    const run = newRun(request, Number(inserted.lastInsertRowid), owner, leaseUntil, now)
    return { _tag: "Created", run, lease: leaseOf(run, owner) }
  }

  /** Undefined if the run with this id was removed meanwhile. */
  const claimFound = (
    request: Store.OpenRequest,
    owner: string,
    leaseUntil: number,
    now: number
  ): Store.Opened | undefined => {
    const { id, key } = request
    const found = key === undefined ? table.find(id) : table.findByKey(key)
    if (found !== undefined) return claim(table, found, request, owner, leaseUntil, now)
    return key === undefined ? undefined : { _tag: "Gone" }
  }

  const open: Store.RunStore["open"] = (request, owner, leaseMillis) => {
    const held = (opened: Store.Opened, lastLine?: number): Effect.Effect<Store.Opened> => {
      if ("lease" in opened) table.hold(opened.lease, lastLine)
      return Effect.succeed(opened)
    }
    const claimed = () =>
      Effect.flatMap(
        guarded.write(opening, (now) => claimFound(request, owner, now + leaseMillis, now), table.first),
        (opened) => (opened === undefined ? open(request, owner, leaseMillis) : held(opened))
      )
    if (request.key !== undefined) return claimed()
    return Effect.flatMap(
      // A run without a line has done nothing, so its first durable line is early enough for it.
      guarded.write(
        opening,
        (now) => create(request, owner, now + leaseMillis, now),
        table.firstSingle,
        "process-crash"
      ),
      (opened) => (opened === undefined ? claimed() : held(opened, 0))
    )
  }

  return open
}

const leaseOperations = (table: RunTable, guarded: Access, plain: Access) => {
  const { sql } = table

  const reopen = (
    found: Store.Run,
    entry: Store.Entry,
    owner: string,
    leaseUntil: number,
    now: number,
    heldAs: string | undefined
  ): Option.Option<Store.Lease> => {
    const { key, startedAt = now, token } = found
    const reopened = sql.reopenRun.run(startedAt, owner, leaseUntil, now, key, token, heldAs ?? null)
    if (reopened.changes === 0) return Option.none()
    const lease = { key: found.key, run: found.id, token: found.token + 1, owner, since: now }
    table.insert(lease, entry)
    return Option.some(lease)
  }

  const endLease = <A extends Plain>(
    operation: string,
    lease: Store.Lease,
    job: (now: number) => Answer<A, LeaseLost>
  ): Effect.Effect<A, StorageError | LeaseLost> => {
    const ending = (now: number) => {
      table.forget(lease)
      return job(now)
    }
    return guarded.attempt(operation, ending, table.single)
  }

  return {
    open: openOperation(table, guarded),
    reopen: (found, entry, owner, leaseMillis, heldAs) =>
      Effect.tap(
        guarded.write("Opening a finished run", (now) => reopen(found, entry, owner, now + leaseMillis, now, heldAs)),
        (lease) => {
          if (Option.isSome(lease)) table.hold(lease.value)
        }
      ),
    renew: (held, leaseMillis) =>
      plain.write("Renewing leases", (now) =>
        held.filter(({ key, owner, token }) => sql.renewLease.run(now + leaseMillis, key, token, owner).changes === 0)
      ),
    release: (owner, run) =>
      plain.write("Releasing a lease", () => {
        if (run === undefined) {
          table.forgetAll(owner)
          sql.releaseLeases.run(owner)
        } else {
          table.forget({ owner, run })
          sql.releaseLease.run(run, owner)
        }
      }),
    endPlacedLeases: (leases) =>
      guarded.write("Ending placed leases", (now) => {
        const given = { ...shardParams(leases), by: ownersOf(leases.by), now }
        return Number(sql.endPlaced.run(given).changes)
      }),
    suspend: (lease, { dueAt, signals, waiting }) =>
      endLease("Suspending a run", lease, (now) => {
        const { key, owner, token } = lease
        const suspended = sql.suspendRun.run(waiting ?? null, signals, now, dueAt, key, token, owner)
        return suspended.changes === 1 ? Exit.void : leaseLost(lease)
      }),
    finish: (lease, outcome) =>
      Effect.flatMap(
        endLease("Recording an outcome", lease, (now) => Exit.succeed(table.finishAlone(lease, outcome, now))),
        (ended) =>
          ended === undefined
            ? guarded.attempt("Recording an outcome", (now) => table.finish(lease, outcome, now))
            : Effect.succeed(ended)
      )
  } satisfies Partial<Store.RunStore>
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

const journalOperations = (table: RunTable, guarded: Access) => {
  const { sql } = table
  return {
    append: (lease, entries, durability) =>
      guarded.attempt(
        "Appending to the journal",
        () => table.append(lease, entries),
        entries.length === 1 ? table.single : table.alone,
        durability
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

const signalOperations = (table: RunTable, guarded: Access) => {
  const { sql } = table
  const signal = (id: string, key: string, payload: string, now: number): Store.Signalled => {
    const row = table.findRow(id)
    if (row === undefined) return "Unknown"
    if (row.status !== null) return "Finished"
    return table.signal(row.key, key, payload, now) ? "Sent" : "Taken"
  }
  return {
    signal: (run, key, payload) => guarded.write("Signalling a run", (now) => signal(run, key, payload, now)),
    signals: (run, skip = 0) =>
      guarded.read("Reading signals", () =>
        (sql.signals.all(run, skip) as ReadonlyArray<SignalRow>).map(({ checksum, seq: _, ...signal }) => {
          const { key, payload } = signal
          const problem = rowProblem(checksum, [key, payload], () => signalChecksum(run, signal))
          refuseDamaged(problem, () => `signal "${key}" of run ${table.nameOf(run)}`)
          return signal
        })
      )
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
