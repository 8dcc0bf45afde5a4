import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { runChecksum, signalChecksum } from "../checksum.js"
import { type Answer, cancelling, enqueuedRun, heldRun, isReplaceable, leaseLost, type Plain } from "../rows.js"
import type { LeaseLost } from "../StorageError.js"
import type * as Store from "../Store.js"
import { shardHash } from "../shards.js"
import { type ControlStatements, prepareControlStatements } from "./controlStatements.js"
import type { Database } from "./driver.js"
import { fromLabels } from "./rows.js"
import { checksumOfRow, type RunRow, type SignalRow } from "./runRows.js"
import type { RunTable } from "./runTable.js"
import type { Access } from "./SqliteStore.js"

type Controls = Pick<
  Store.RunStore,
  "enqueue" | "hold" | "releaseHold" | "cancel" | "terminate" | "controls" | "continueAs" | "adopt" | "queues"
>

/** What operators and the program do to a run beside its steps. */
export const makeRunControls = (database: Database, table: RunTable, access: Access): Controls => {
  const sql = prepareControlStatements(database)
  return {
    enqueue: (request) => access.write("Enqueueing a run", (now) => enqueue(table, sql, request, now)),
    hold: (run, wanted, from) => access.write("Holding a run", (now) => hold(table, sql, run, wanted, from, now)),
    releaseHold: (run, id) => access.write("Releasing a run", () => sql.releaseHold.run(run, id).changes === 1),
    cancel: (run, request) => access.write("Cancelling a run", (now) => cancel(table, sql, run, request, now)),
    terminate: (run, outcome) =>
      access.write("Terminating a run", (now) => {
        const found = table.find(run)
        return found === undefined ? Option.none() : Option.some(found.outcome ?? table.end(found, outcome, now))
      }),
    controls: (leases) =>
      leases.length === 0
        ? Effect.succeed([])
        : access.read("Looking for requests to runs", () => leases.flatMap((lease) => controlOf(sql, lease))),
    continueAs: (lease, next) =>
      access.attempt("Continuing a run with a new journal", () => continueAs(table, sql, lease, next)),
    adopt: (lease, version) =>
      access.attempt("Changing the version of a run", () =>
        ofLeased(table, lease, (row) => {
          sql.adoptRun.run(version, checksumOfRow(row, { version }), row.key)
        })
      ),
    queues: access.read("Counting queued runs", (now) => queueCounts(sql, now))
  }
}

const enqueue = (
  table: RunTable,
  sql: ControlStatements,
  request: Store.EnqueueRequest,
  now: number
): Store.Enqueued => {
  const { debounce, delay = 0, id, input, queue, parent, version, workflow } = request
  const labels = fromLabels(request.labels)
  const checksum = runChecksum({ id, workflow, version, input, labels, createdAt: now, queue, parent })
  const place = [queue?.name ?? null, queue?.key ?? null, queue?.priority ?? 0]
  const above = [parent?.run ?? null, parent?.signal ?? null]
  const values = [id, workflow, version, input, labels, now, now + delay, ...place, ...above, checksum, shardHash(id)]
  const inserted = sql.enqueueRun.run(...values)
  if (inserted.changes === 1) {
    return { _tag: "Created", run: enqueuedRun(request, Number(inserted.lastInsertRowid), now) }
  }
  // The insert found it.
  const row = table.findRow(id) as RunRow
  const run = table.toRun(row)
  if (debounce !== true || !isReplaceable(run, request)) return { _tag: "Existing", run }
  sql.replaceRun.run(input, now + delay, checksumOfRow(row, { input }), row.key)
  return { _tag: "Replaced", run: { ...run, input, dueAt: now + delay } }
}

const hold = (
  table: RunTable,
  sql: ControlStatements,
  id: string,
  wanted: Omit<Store.Hold, "at">,
  from: string | undefined,
  now: number
): Store.Holding => {
  const run = table.find(id)
  if (run === undefined) return { _tag: "Unknown" }
  const holding = heldRun(run, wanted, from, now)
  if (holding.run !== run) sql.hold.run(wanted.id, wanted.reason, now, run.key)
  return holding
}

const cancel = (
  table: RunTable,
  sql: ControlStatements,
  id: string,
  request: string,
  now: number
): Store.Cancelling => {
  const run = table.find(id)
  const answer = cancelling(run)
  const isNews = answer === "Requested" || (answer === "Taken" && run !== undefined && run.dueAt > now)
  if (run !== undefined && isNews) sql.cancel.run(run.cancel ?? request, now, run.key)
  return answer
}

interface ControlRow {
  readonly id: string | null
  readonly reason: string | null
  readonly at: number | null
  readonly cancel: string | null
}

const controlOf = (sql: ControlStatements, lease: Store.Lease): ReadonlyArray<Store.Control> => {
  const row = sql.control.get(lease.key, lease.token, lease.owner) as ControlRow | undefined
  if (row === undefined) return []
  const hold = row.id === null ? undefined : { id: row.id, reason: row.reason ?? "", at: row.at ?? 0 }
  return [{ lease, hold, cancel: row.cancel ?? undefined }]
}

/** Runs a write over the row of a run if the lease is in force. */
const ofLeased = <A extends Plain>(
  table: RunTable,
  lease: Store.Lease,
  write: (row: RunRow) => A
): Answer<A, LeaseLost> => {
  const row = table.isLeased(lease) ? table.findRow(lease.run) : undefined
  return row === undefined ? leaseLost(lease) : Exit.succeed(write(row))
}

const continueAs = (
  table: RunTable,
  sql: ControlStatements,
  lease: Store.Lease,
  { entry, input, read }: Store.Continuation
): Answer<number, LeaseLost> =>
  ofLeased(table, lease, (row) => {
    const { key } = row
    const removed = new Set(read)
    const kept = (table.sql.signals.all(key, 0) as ReadonlyArray<SignalRow>).filter(
      (signal) => !removed.has(signal.key)
    )
    table.sql.removeJournal.run(key)
    table.sql.removeSignals.run(key)
    // Signals are read by their positions, so these have no gaps. A damaged one stays so.
    for (const [i, signal] of kept.entries()) {
      const checksum = signal.checksum ?? signalChecksum(key, signal)
      sql.insertSignalAt.run(key, i + 1, signal.key, signal.payload, signal.at, checksum)
    }
    sql.continueRun.run(input, kept.length, checksumOfRow(row, { input }), key)
    table.beginJournal(lease, entry)
    return row.generation + 1
  })

interface QueuedRow extends Omit<Store.QueueCount, "running" | "oldest"> {
  readonly oldest: number | null
}

const queueCounts = (sql: ControlStatements, now: number): ReadonlyArray<Store.QueueCount> => {
  const counts = new Map<string, Store.QueueCount>()
  for (const { queue, ...row } of sql.queuedCounts.all({ now }) as ReadonlyArray<QueuedRow>) {
    if (row.due > 0 || row.waiting > 0)
      counts.set(queue, { queue, running: 0, ...row, oldest: row.oldest ?? undefined })
  }
  const leased = sql.leasedCounts.all({ now }) as ReadonlyArray<Pick<Store.QueueCount, "queue" | "running">>
  for (const { queue, running } of leased) {
    counts.set(queue, { queue, due: 0, waiting: 0, oldest: undefined, ...counts.get(queue), running })
  }
  return [...counts.values()]
}
