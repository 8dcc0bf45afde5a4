import { byDueTime, type Candidate, chosen, merged, Places } from "../queueOrder.js"
import { claimedDue, claimedRun, clockTolerance, dueSince, isLeased, isQueued, limitOf } from "../rows.js"
import type * as Store from "../Store.js"
import { isInShards } from "../shards.js"
import type { RunTable, StoredRun } from "./memoryRuns.js"

interface Due extends Candidate {
  readonly stored: StoredRun
}

/** Claims runs outside of queues, and of the given queues within their limits: those that have been due longest. */
export const claimDue = (
  table: RunTable,
  query: Store.DueQuery,
  owner: string,
  leaseUntil: number,
  now: number
): ReadonlyArray<Store.DueRun> => {
  const { except, orphans = false, placement, workflows } = query
  const { queues = [] } = orphans ? {} : query
  const versions = new Set(workflows.map(placeOf))
  const excluded = new Set(except)
  const isPlaced = placement === undefined ? () => true : isInShards(placement)
  const due = [...table.open]
    .filter(({ commits, run }) => commits === 0 && run.hold === undefined && dueSince(run) <= now)
    .filter(({ run }) => versions.has(placeOf(run)) && !excluded.has(run.id) && isPlaced(run.id))
    .filter(({ run }) => !orphans || run.owner !== undefined)
    .map(dueOf)
    .sort(byDueTime)
  const limit = limitOf(query)
  // As other stores, which write nothing if there is nothing to claim.
  if (due.length === 0) return []
  const queued = queues.map((queue) =>
    admitted(
      queue,
      table,
      due.filter(({ stored: { run } }) => isQueued(run) && run.queue?.name === queue.name),
      limit,
      now
    )
  )
  return merged([due.filter(({ stored: { run } }) => !isQueued(run)), ...queued], limit).map(({ stored }) => {
    stored.run = claimedRun(stored.run, owner, leaseUntil, now)
    return claimedDue(stored.run, owner)
  })
}

const dueOf = (stored: StoredRun): Due => {
  const { run } = stored
  const { key, queue, startedAt } = run
  const place = { priority: queue?.priority ?? 0, queueKey: queueKeyOf(run), isStarted: startedAt !== undefined }
  return { ...place, stored, key, since: dueSince(run) }
}

const placeOf = ({ version, workflow }: Store.WorkflowVersion): string => JSON.stringify([workflow, version])

const queueKeyOf = ({ queue }: Store.Run): string => queue?.key ?? ""

const countByKey = (runs: ReadonlyArray<Store.Run>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const run of runs) counts.set(queueKeyOf(run), (counts.get(queueKeyOf(run)) ?? 0) + 1)
  return counts
}

/** When a run of each key was leased for the first time, the last time. */
const lastStartsOf = (runs: ReadonlyArray<Store.Run>): ReadonlyMap<string, number> => {
  const starts = new Map<string, number>()
  for (const run of runs) {
    const { startedAt } = run
    if (startedAt === undefined) continue
    starts.set(queueKeyOf(run), Math.max(startedAt, starts.get(queueKeyOf(run)) ?? startedAt))
  }
  return starts
}

/** A renewal that comes late must not bring back a lease whose place another run has. */
const endExpired = (table: RunTable, queue: string, now: number): void => {
  for (const stored of table.open) {
    const { dueAt, leaseUntil, queue: place } = stored.run
    if (place?.name !== queue || leaseUntil === undefined || leaseUntil > now) continue
    stored.run = { ...stored.run, owner: undefined, leaseUntil: undefined, dueAt: Math.max(dueAt, leaseUntil) }
  }
}

/** What the limits of a queue admit of its due runs, in the order of the queue. */
const admitted = (
  limits: Store.QueueLimits,
  table: RunTable,
  due: ReadonlyArray<Due>,
  limit: number,
  now: number
): ReadonlyArray<Due> => {
  const { name, rate } = limits
  endExpired(table, name, now)
  const all = table.runs.filter(({ queue }) => queue?.name === name)
  const since = rate === undefined ? now : now - rate.millis
  const places = new Places(
    limits,
    countByKey(all.filter((run) => isLeased(run, now))),
    countByKey(all.filter(({ startedAt = since }) => startedAt > since && startedAt - now <= clockTolerance)),
    lastStartsOf(all)
  )
  return chosen(places, due, limit)
}
