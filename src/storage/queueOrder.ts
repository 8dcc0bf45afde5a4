/** Which due runs of a queue are claimed, and in which order. Every backend decides it here. */
import type { QueueLimits } from "./Store.js"

/** A run that is due. */
export interface DueRow {
  readonly key: number
  /** Since when, see `dueSince`. */
  readonly since: number
}

/** A due run of a queue. */
export interface Candidate extends DueRow {
  readonly priority: number
  readonly queueKey: string
  /** It was leased before. */
  readonly isStarted: boolean
}

/** Due runs of one priority and key that have all been leased before, or never: the first of them is the oldest. */
export interface DueGroup<Row extends DueRow = DueRow> {
  readonly queueKey: string
  readonly isStarted: boolean
  /** The first run that was not taken. */
  readonly head: () => Row | undefined
  /** Takes the first run. */
  readonly take: () => void
}

/** Numbers by the key of a queue. */
type ByKey = Iterable<readonly [queueKey: string, value: number]>

/** The places of a queue that are taken, and those that are left. */
export class Places {
  private readonly limits: QueueLimits
  private readonly running: Map<string, number>
  private readonly started: Map<string, number>
  private readonly lastStarts: ReadonlyMap<string, number>
  /** The keys of runs that were leased for the first time now. */
  private readonly startedNow = new Set<string>()
  private allRunning: number
  private allStarted: number

  /**
   * `running` counts the leased runs, `started` those that were leased for the first time within the period of the
   * rate, and `lastStarts` says when a run of a key was leased for the first time, the last time. It may be filled
   * later, before the key is compared.
   */
  constructor(limits: QueueLimits, running: ByKey, started: ByKey, lastStarts: ReadonlyMap<string, number>) {
    this.limits = limits
    this.running = new Map(running)
    this.started = new Map(started)
    this.lastStarts = lastStarts
    this.allRunning = sum(this.running)
    this.allStarted = sum(this.started)
  }

  /** Nothing of the queue can be claimed, whatever its key. */
  get isFull(): boolean {
    return this.allRunning >= (this.limits.concurrency ?? Number.POSITIVE_INFINITY)
  }

  /** No run can be leased for the first time, whatever its key. */
  get isRateUsed(): boolean {
    const { rate } = this.limits
    return rate !== undefined && (rate.limit <= 0 || (!rate.perKey && this.allStarted >= rate.limit))
  }

  has({ isStarted, queueKey }: Pick<DueGroup, "isStarted" | "queueKey">): boolean {
    const { perKey = Number.POSITIVE_INFINITY, rate } = this.limits
    if (this.isFull || this.runningOf(queueKey) >= perKey) return false
    if (rate === undefined || isStarted) return true
    return !this.isRateUsed && (!rate.perKey || (this.started.get(queueKey) ?? 0) < rate.limit)
  }

  /** Negative if the first key comes before the second one: it has fewer leased runs, or its last start is older. */
  compare(a: string, b: string): number {
    if (a === b) return 0
    const fewer = this.runningOf(a) - this.runningOf(b)
    return fewer === 0 ? Math.sign(this.lastStartOf(a) - this.lastStartOf(b)) || 0 : fewer
  }

  add({ isStarted, queueKey }: Pick<DueGroup, "isStarted" | "queueKey">): void {
    this.running.set(queueKey, this.runningOf(queueKey) + 1)
    this.allRunning++
    if (isStarted) return
    this.started.set(queueKey, (this.started.get(queueKey) ?? 0) + 1)
    this.allStarted++
    this.startedNow.add(queueKey)
  }

  private runningOf(queueKey: string): number {
    return this.running.get(queueKey) ?? 0
  }

  /** Before all times if no run of the key was ever started. */
  private lastStartOf(queueKey: string): number {
    if (this.startedNow.has(queueKey)) return Number.MAX_SAFE_INTEGER
    return this.lastStarts.get(queueKey) ?? Number.MIN_SAFE_INTEGER
  }
}

const sum = (counts: Map<string, number>): number => {
  let all = 0
  for (const count of counts.values()) all += count
  return all
}

/**
 * Takes at most so many runs of groups of one priority, as far as there are places: of the key that comes first, a run
 * that was begun before a new one, and then the one that has been due longest. A run that lost its worker or that woke
 * up was due later than its whole backlog: behind it, ever more runs would be begun and none of them would end.
 */
export const takeFairly = <Row extends DueRow>(
  places: Places,
  groups: ReadonlyArray<DueGroup<Row>>,
  limit: number
): ReadonlyArray<Row> => {
  const taken: Array<Row> = []
  while (taken.length < limit) {
    let first: { readonly group: DueGroup<Row>; readonly row: Row } | undefined
    for (const group of groups) {
      const order = first === undefined ? -1 : places.compare(group.queueKey, first.group.queueKey)
      // The first row may have to be read, so it is asked for last.
      const row = order <= 0 && places.has(group) ? group.head() : undefined
      if (row === undefined) continue
      if (first === undefined || order < 0 || isBefore(group, row, first)) first = { group, row }
    }
    if (first === undefined) break
    first.group.take()
    places.add(first.group)
    taken.push(first.row)
  }
  return taken
}

const isBefore = <Row extends DueRow>(
  { isStarted }: DueGroup,
  row: Row,
  other: { readonly group: DueGroup; readonly row: Row }
): boolean => (isStarted === other.group.isStarted ? byDueTime(row, other.row) < 0 : isStarted)

/** As `takeFairly`, of all priorities: the highest first. The candidates are in any order. */
export const chosen = <Row extends Candidate>(
  places: Places,
  candidates: ReadonlyArray<Row>,
  limit: number
): ReadonlyArray<Row> => {
  const priorities = new Map<number, Map<string, Array<Row>>>()
  for (const row of [...candidates].sort(byDueTime)) {
    const groups = priorities.get(row.priority) ?? new Map<string, Array<Row>>()
    priorities.set(row.priority, groups)
    const name = `${row.isStarted} ${row.queueKey}`
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [row])
    else group.push(row)
  }
  const taken: Array<Row> = []
  for (const [, groups] of [...priorities].sort(([a], [b]) => b - a)) {
    taken.push(...takeFairly(places, [...groups.values()].flatMap(groupOf), limit - taken.length))
  }
  return taken
}

const groupOf = <Row extends Candidate>(rows: ReadonlyArray<Row>): ReadonlyArray<DueGroup<Row>> => {
  const [row] = rows
  if (row === undefined) return []
  const { isStarted, queueKey } = row
  let next = 0
  return [
    {
      queueKey,
      isStarted,
      head: () => rows[next],
      take: () => {
        next++
      }
    }
  ]
}

/** Those that have been due longest come first. */
export const byDueTime = (a: DueRow, b: DueRow): number => a.since - b.since || a.key - b.key

/**
 * Merges lists by due times, and keeps the order within each list. The first row of
 * a list competes with the oldest due time of the list, and so on, so that the limit
 * cuts off the lowest priorities of a queue.
 */
export const merged = <Row extends DueRow>(
  lists: ReadonlyArray<ReadonlyArray<Row>>,
  limit: number
): ReadonlyArray<Row> => {
  const given = lists.filter((list) => list.length > 0)
  if (given.length === 1) return (given[0] ?? []).slice(0, limit)
  return given
    .flatMap((list) => {
      const times = [...list].sort(byDueTime)
      // Both have one row for each index.
      return list.map((row, i) => ({ row, time: times[i] as Row }))
    })
    .sort((a, b) => byDueTime(a.time, b.time))
    .slice(0, limit)
    .map(({ row }) => row)
}
