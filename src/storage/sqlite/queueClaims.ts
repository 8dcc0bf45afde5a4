import { type DueGroup, type DueRow, Places, takeFairly } from "../queueOrder.js"
import { clockTolerance, compareKeys } from "../rows.js"
import type * as Store from "../Store.js"
import type { Database } from "./driver.js"
import { dueSince, placeColumn } from "./runRows.js"
import { isPlaced, shardParams } from "./shards.js"

/** The runs that wait for a place in a queue, in the order of the index: by workflow, priority, key and due time. */
const queuedRuns = `recovery_runs INDEXED BY recovery_runs_queued
  WHERE status IS NULL AND hold_id IS NULL AND cancel IS NULL AND queue IS NOT NULL`

const ofPriority = `${queuedRuns} AND queue = $queue AND workflow = $workflow AND version = $version AND priority = $priority`

/** The run of a key that has been due longest, of those that the claim may take. */
const firstOf = (isNew: 0 | 1, condition: string): string =>
  `(SELECT key FROM ${ofPriority} AND queue_key = found.queue_key AND (started_at IS NULL) = ${isNew} ${condition}
    ORDER BY ${dueSince} LIMIT 1)`

const sinceOf = (run: string): string => `MAX(${run}.due_at, COALESCE(${run}.lease_until, 0))`

/** Keys in their order, without a look at the runs between them. */
const looseScan = (from: ">" | ">=", condition: string): string =>
  `WITH RECURSIVE found (queue_key) AS (
     SELECT * FROM (SELECT queue_key FROM ${ofPriority} AND queue_key ${from} $from ORDER BY queue_key LIMIT 1)
     UNION ALL
     SELECT (SELECT queue_key FROM ${ofPriority} AND queue_key > found.queue_key ORDER BY queue_key LIMIT 1)
     FROM found WHERE found.queue_key IS NOT NULL
     LIMIT $most
   )
   SELECT found.queue_key AS queueKey, begun.key AS begun, ${sinceOf("begun")} AS begunSince,
     fresh.key AS fresh, ${sinceOf("fresh")} AS freshSince, (
       SELECT started_at FROM recovery_runs INDEXED BY recovery_runs_started
       WHERE queue = $queue AND queue_key = found.queue_key AND started_at IS NOT NULL ORDER BY started_at DESC LIMIT 1
     ) AS lastStart
   FROM found
   LEFT JOIN recovery_runs AS begun ON begun.key = ${firstOf(0, condition)}
   LEFT JOIN recovery_runs AS fresh ON fresh.key = ${firstOf(1, condition)}
   WHERE found.queue_key IS NOT NULL`

/** The statements that look at runs. `condition` restricts them to some shards. */
const prepareLooks = (database: Database, condition: string) => ({
  keysFrom: database.prepare(looseScan(">=", condition)),
  keysAfter: database.prepare(looseScan(">", condition)),
  runsOf: database.prepare(
    `SELECT key, ${dueSince} AS since FROM ${ofPriority} AND queue_key = $queueKey AND (started_at IS NULL) = $isNew
       AND ${dueSince} <= $now ${condition} ORDER BY ${dueSince} LIMIT $most`
  )
})

const prepare = (database: Database) => ({
  isAnyDue: database.prepare(
    `SELECT 1 FROM recovery_runs INDEXED BY recovery_runs_due
     WHERE status IS NULL AND workflow = ? AND version = ? AND ${placeColumn} = 1 AND ${dueSince} <= ? LIMIT 1`
  ),
  running: database.prepare(
    `SELECT queue_key AS queueKey, COUNT(*) AS count FROM recovery_runs INDEXED BY recovery_runs_queue_leased
     WHERE queue = ? AND status IS NULL AND owner IS NOT NULL AND lease_until > ? AND due_at <= ? GROUP BY queue_key`
  ),
  started: database.prepare(
    `SELECT queue_key AS queueKey, COUNT(*) AS count FROM recovery_runs INDEXED BY recovery_runs_queue_started
     WHERE queue = ? AND started_at > ? AND started_at <= ? GROUP BY queue_key`
  ),
  /** A renewal that comes late must not bring back a lease whose place another run has. */
  endExpired: database.prepare(
    `UPDATE recovery_runs SET owner = NULL, due_at = MAX(due_at, lease_until), lease_until = NULL
     WHERE key IN (
       SELECT key FROM recovery_runs INDEXED BY recovery_runs_queue_leased
       WHERE queue = ? AND status IS NULL AND owner IS NOT NULL AND lease_until <= ?
     )`
  ),
  nextPriority: database.prepare(
    `SELECT priority FROM ${queuedRuns} AND queue = ? AND workflow = ? AND version = ? AND priority < ?
     ORDER BY priority DESC LIMIT 1`
  )
})

type Looks = ReturnType<typeof prepareLooks>

interface Count {
  readonly queueKey: string
  readonly count: number
}

interface KeyRow {
  readonly queueKey: string
  /** Its first run that was leased before, and since when it is due. */
  readonly begun: number | null
  readonly begunSince: number | null
  /** Its first run that was not. */
  readonly fresh: number | null
  readonly freshSince: number | null
  /** When a run of the key was leased for the first time, the last time. */
  readonly lastStart: number | null
}

/** Runs of one workflow in one priority of a queue. */
interface Level extends Store.WorkflowVersion {
  readonly queue: string
  readonly priority: number
}

/** What is asked of one queue. */
interface Request extends Pick<Store.DueQuery, "placement"> {
  readonly workflows: ReadonlyArray<Store.WorkflowVersion>
  readonly excluded: ReadonlySet<number>
  readonly limit: number
  readonly now: number
}

/** Where a look at a queue stopped that had seen as many keys as one look may. */
export interface Stop {
  readonly priority: number
  /** Where it began, in each priority. */
  readonly start: string | undefined
  /** It had come to the last key, and continued with the first one. */
  readonly isSecond?: boolean
  readonly after?: string | undefined
}

/** How far a look has come. */
interface Scan {
  left: number
  readonly start: string | undefined
  /** Where the next window of the same priority begins, if there is one. */
  at?: { readonly isSecond: boolean; readonly after: string | undefined } | undefined
}

/** What a look at one queue found. */
export interface Admitted {
  readonly queue: string
  readonly rows: ReadonlyArray<DueRow>
  readonly stop: Stop | undefined
  /** Where the next call begins, if there are more keys. */
  readonly start: string | undefined
}

/** The keys that are read together, and the most that one call reads: what others wait for is short. */
const [keysAtOnce, mostKeys] = [256, 1_024]

const above = 2 ** 53

/** What the limits of queues admit. Call its methods while the connection is held. */
export class QueueClaims {
  private readonly database: Database
  private readonly sql: ReturnType<typeof prepare>
  private readonly anywhere: Looks
  private placed: Looks | undefined
  /** Where the next call begins, if the last one did not see all keys of the queue. */
  private readonly starts = new Map<string, string>()

  constructor(database: Database) {
    this.database = database
    this.sql = prepare(database)
    this.anywhere = prepareLooks(database, "")
  }

  /** The statements for the runs that a claim may take, and their further parameters. */
  private looks({ placement }: Pick<Request, "placement">): { readonly sql: Looks; readonly shards: object } {
    if (placement === undefined) return { sql: this.anywhere, shards: {} }
    this.placed ??= prepareLooks(this.database, `AND ${isPlaced("$owned", "$shards")}`)
    return { sql: this.placed, shards: shardParams(placement) }
  }

  /** Whether any queued run of these workflows is due, of whichever queue and shard. */
  isAnyDue({ now, workflows }: Pick<Request, "now" | "workflows">): boolean {
    return workflows.some(({ version, workflow }) => this.sql.isAnyDue.get(workflow, version, now) !== undefined)
  }

  endExpired(queue: string, now: number): void {
    this.sql.endExpired.run(queue, now)
  }

  /** Others come after those that were found: the keys of a queue that has many of them take turns. */
  pass({ queue, start }: Admitted): void {
    if (start === undefined) this.starts.delete(queue)
    else this.starts.set(queue, start)
  }

  /** The runs that may be claimed now. `from` is where a look stopped that found none. */
  admitted(limits: Store.QueueLimits, request: Request, from?: Stop): Admitted {
    const queue = limits.name
    const lastStarts = new Map<string, number>()
    const places = this.placesOf(limits, lastStarts, request.now)
    const rows: Array<DueRow> = []
    const scan: Scan = { left: mostKeys, start: from === undefined ? this.starts.get(queue) : from.start }
    let below = from === undefined ? above : from.priority + 1
    while (rows.length < request.limit && !places.isFull && scan.left > 0) {
      const levels = this.nextLevels(queue, request.workflows, below)
      const [level] = levels
      if (level === undefined) break
      below = level.priority
      for (const keys of this.windows(levels, scan, request, from?.priority === below ? from : undefined)) {
        for (const { row } of keys) if (row.lastStart !== null) lastStarts.set(row.queueKey, row.lastStart)
        const groups = keys.flatMap(({ level, row }) => this.groupsOf(level, row, places, request))
        rows.push(...takeFairly(places, groups, request.limit - rows.length))
        if (rows.length >= request.limit || places.isFull) break
      }
    }
    const { at, left, start } = scan
    // A look that ended with the last key of a priority continues with the next one.
    const stop =
      left > 0 || places.isFull ? undefined : { priority: at === undefined ? below - 1 : below, start, ...at }
    return { queue, rows, stop, start: at?.after }
  }

  private placesOf(limits: Store.QueueLimits, lastStarts: ReadonlyMap<string, number>, now: number): Places {
    const { name, rate } = limits
    const toPair = ({ count, queueKey }: Count) => [queueKey, count] as const
    const latest = now + clockTolerance
    const running = this.sql.running.all(name, now, latest) as ReadonlyArray<Count>
    const started =
      rate === undefined ? [] : (this.sql.started.all(name, now - rate.millis, latest) as ReadonlyArray<Count>)
    return new Places(limits, running.map(toPair), started.map(toPair), lastStarts)
  }

  /** The highest priority below another one, of all workflows together. */
  private nextLevels(
    queue: string,
    workflows: ReadonlyArray<Store.WorkflowVersion>,
    below: number
  ): ReadonlyArray<Level> {
    const levels = workflows.flatMap(({ version, workflow }): ReadonlyArray<Level> => {
      const row = this.sql.nextPriority.get(queue, workflow, version, below) as
        | { readonly priority: number }
        | undefined
      return row === undefined ? [] : [{ queue, workflow, version, priority: row.priority }]
    })
    const highest = levels.reduce((most, { priority }) => Math.max(most, priority), Number.NEGATIVE_INFINITY)
    return levels.filter(({ priority }) => priority === highest)
  }

  /** The keys of the levels, in their order: from where the last call stopped, and then from the first key. */
  private *windows(levels: ReadonlyArray<Level>, scan: Scan, request: Request, from: Stop | undefined) {
    const { start } = scan
    let [isSecond, after] =
      from === undefined ? [start === undefined, start] : [from.isSecond ?? start === undefined, from.after ?? start]
    for (;;) {
      const pages = levels.map((level) => this.keysOf(level, after, request).map((row) => ({ level, row })))
      const full = pages.flatMap((page) => (page.length < keysAtOnce ? [] : page.slice(-1)))
      // What is behind the end of a page is not known.
      const last = full.map(({ row }) => row.queueKey).sort(compareKeys)[0]
      const end = isSecond ? (start ?? last) : last
      const until = last !== undefined && end !== undefined && compareKeys(last, end) < 0 ? last : end
      const keys = pages.flat().filter(({ row }) => until === undefined || compareKeys(row.queueKey, until) <= 0)
      scan.left -= keys.length
      const isEnd = last === undefined || (isSecond && start !== undefined && compareKeys(last, start) >= 0)
      if (!isEnd) scan.at = { isSecond, after: last }
      else scan.at = isSecond ? undefined : { isSecond: true, after: undefined }
      yield keys
      if (scan.at === undefined || scan.left <= 0) return
      isSecond = scan.at.isSecond
      after = scan.at.after
    }
  }

  private keysOf(level: Level, after: string | undefined, request: Request): ReadonlyArray<KeyRow> {
    const { shards, sql } = this.looks(request)
    const statement = after === undefined ? sql.keysFrom : sql.keysAfter
    return statement.all({ ...level, from: after ?? "", most: keysAtOnce, ...shards }) as ReadonlyArray<KeyRow>
  }

  private groupsOf(level: Level, row: KeyRow, places: Places, request: Request): ReadonlyArray<DueGroup> {
    const { queueKey } = row
    return [
      { isStarted: true, first: dueRow(row.begun, row.begunSince) },
      { isStarted: false, first: dueRow(row.fresh, row.freshSince) }
    ].flatMap(({ first, isStarted }) => {
      const group = { queueKey, isStarted }
      if (first === undefined || first.since > request.now || !places.has(group)) return []
      return [{ ...group, ...this.rowsOf(level, { queueKey, isNew: Number(!isStarted) }, first, request) }]
    })
  }

  /** The rows of a group. Of most keys only the first row is wanted; the others are read when they are. */
  private rowsOf(
    level: Level,
    group: { readonly queueKey: string; readonly isNew: number },
    first: DueRow,
    request: Request
  ): Pick<DueGroup, "head" | "take"> {
    const { excluded, limit, now } = request
    let rows: ReadonlyArray<DueRow> = excluded.has(first.key) ? [] : [first]
    let [next, isRead] = [0, false]
    return {
      head: () => {
        if (next >= rows.length && !isRead) {
          isRead = true
          const { shards, sql } = this.looks(request)
          const found = sql.runsOf.all({ ...level, ...group, now, most: limit + excluded.size, ...shards })
          rows = (found as ReadonlyArray<DueRow>).filter(({ key }) => !excluded.has(key))
        }
        return rows[next]
      },
      take: () => {
        next++
      }
    }
  }
}

const dueRow = (key: number | null, since: number | null): DueRow | undefined =>
  key === null || since === null ? undefined : { key, since }
