import { claimedDue, claimedRun, dueSince, isLeased, isQueued, limitOf } from "../rows.js"
import type * as Store from "../Store.js"
import type { RunTable, StoredRun } from "./memoryRuns.js"

/** Claims runs outside of queues, and of the given queues within their limits: those that have been due longest. */
export const claimDue = (
  table: RunTable,
  query: Store.DueQuery,
  owner: string,
  leaseUntil: number,
  now: number
): ReadonlyArray<Store.DueRun> => {
  const { except, queues = [], workflows } = query
  const versions = new Set(workflows.map(placeOf))
  const excluded = new Set(except)
  const due = [...table.open]
    .filter(({ commits, run }) => commits === 0 && run.hold === undefined && dueSince(run) <= now)
    .filter(({ run }) => versions.has(placeOf(run)) && !excluded.has(run.id))
    .sort(longestFirst)
  const limit = limitOf(query)
  const queued = queues.flatMap((queue) =>
    admitted(
      queue,
      table,
      due.filter(({ run }) => isQueued(run) && run.queue?.name === queue.name),
      limit,
      now
    )
  )
  return [...due.filter(({ run }) => !isQueued(run)), ...queued]
    .sort(longestFirst)
    .slice(0, limit)
    .map((stored) => {
      stored.run = claimedRun(stored.run, owner, leaseUntil, now)
      return claimedDue(stored.run, owner)
    })
}

const longestFirst = (a: StoredRun, b: StoredRun): number => dueSince(a.run) - dueSince(b.run) || a.run.key - b.run.key

const placeOf = ({ version, workflow }: Store.WorkflowVersion): string => JSON.stringify([workflow, version])

/** How many leases and starts of a queue there are, in all and by key. */
class Taken {
  private readonly byKey = new Map<string, number>()
  private all = 0

  add({ queue }: Store.Run): void {
    this.all++
    this.byKey.set(queue?.key ?? "", this.of(queue?.key ?? "") + 1)
  }

  of(key: string): number {
    return this.byKey.get(key) ?? 0
  }

  get total(): number {
    return this.all
  }
}

/** What the limits of a queue admit of its due runs, in the order of the queue. */
const admitted = (
  { concurrency = Number.POSITIVE_INFINITY, name, perKey = Number.POSITIVE_INFINITY, rate }: Store.QueueLimits,
  table: RunTable,
  due: ReadonlyArray<StoredRun>,
  limit: number,
  now: number
): ReadonlyArray<StoredRun> => {
  const [running, started] = [new Taken(), new Taken()]
  const since = rate === undefined ? now : now - rate.millis
  for (const { run } of table.byKey.values()) {
    if (run.queue?.name !== name) continue
    if (isLeased(run, now)) running.add(run)
    if (run.startedAt !== undefined && run.startedAt > since) started.add(run)
  }
  const hasPlace = ({ queue, startedAt }: Store.Run): boolean => {
    const key = queue?.key ?? ""
    if (running.total >= concurrency || running.of(key) >= perKey) return false
    if (rate === undefined || startedAt !== undefined) return true
    return (rate.perKey ? started.of(key) : started.total) < rate.limit
  }
  const waiting = [...due]
  const chosen: Array<StoredRun> = []
  while (chosen.length < limit) {
    const next = waiting
      .filter(({ run }) => hasPlace(run))
      .reduce<StoredRun | undefined>((first, one) => (isBefore(one.run, first?.run, running) ? one : first), undefined)
    if (next === undefined) break
    waiting.splice(waiting.indexOf(next), 1)
    chosen.push(next)
    running.add(next.run)
    if (next.run.startedAt === undefined) started.add(next.run)
  }
  return chosen
}

/** The given runs are in the order of their due times, so of equals the first one stays. */
const isBefore = (run: Store.Run, first: Store.Run | undefined, running: Taken): boolean => {
  if (first === undefined) return true
  const [a, b] = [run.queue?.priority ?? 0, first.queue?.priority ?? 0]
  return a === b ? running.of(run.queue?.key ?? "") < running.of(first.queue?.key ?? "") : a > b
}
