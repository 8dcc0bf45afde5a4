import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { type Candidate, chosen, type DueRow, Places } from "../queueOrder.js"
import { clockTolerance } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import type { DueQuery, QueueLimits } from "../Store.js"
import { placeColumn } from "../sqlite/runRows.js"
import type { ClientAccess, Now, Run } from "./access.js"
import { dueSince, isLeasedAt, isOneOf, isQueued, type Part } from "./reading.js"

const claiming = "Claiming due runs"

/** The waiting runs of one workflow in a queue. Some of them are due. */
export interface QueuePart {
  readonly limits: QueueLimits
  readonly workflow: string
  readonly version: string
}
/** Finds what queues admit. */
export interface QueueClaims {
  /** Which of the queues have something due, without a lock. */
  readonly look: (query: DueQuery, excluded: Part) => Effect.Effect<ReadonlyArray<QueuePart>, StorageError>
  /**
   * What the limits of the queues admit, a list in its order for each queue. In
   * Postgres their locks are held until the commit, so no other process counts
   * before it sees these claims.
   */
  readonly choose: (
    run: Run,
    places: ReadonlyArray<QueuePart>,
    excluded: Part,
    most: number
  ) => Effect.Effect<ReadonlyArray<ReadonlyArray<DueRow>>, SqlError>
}

/** The keys that one claim looks at. If a queue has more, the next claim begins behind them. */
const mostKeys = 256

export const makeQueueClaims = (access: ClientAccess): QueueClaims => {
  const { dialect } = access
  const isPg = dialect.name === "pg"
  const look = makeLook(access)
  const endExpired = makeEndExpired(access)
  const placesOf = makePlaces(access)
  const choose = makeChoose(access)
  const lock = (run: Run, { name }: QueueLimits) =>
    run("SELECT pg_advisory_xact_lock(hashtextextended(?, 0)) AS queue_lock", [`queue ${access.table("runs")} ${name}`])

  return {
    look,
    choose: (run, parts, excluded, most) =>
      Effect.gen(function* () {
        // Of two claims that lock several queues, each takes them in the same order.
        const queues = [...new Map(parts.map(({ limits }) => [limits.name, limits])).values()].sort(byName)
        // Alone in their statements: each statement sees what was committed before it.
        if (isPg) yield* Effect.forEach(queues, (limits) => lock(run, limits), { discard: true })
        return yield* Effect.forEach(queues, (limits) =>
          Effect.gen(function* () {
            const now = yield* access.now
            yield* endExpired(run, limits.name, now)
            const taken = yield* placesOf(run, limits, now)
            const own = parts.filter((part) => part.limits.name === limits.name)
            return yield* choose({ ...taken, run, parts: own, limits, excluded, now }, most)
          })
        )
      })
  }
}

const byName = (a: QueueLimits, b: QueueLimits): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)

const makeLook = (access: ClientAccess): QueueClaims["look"] => {
  const { dialect, table } = access
  // The index by due times of SQLite has all queued runs of a workflow together.
  const isWaiting = dialect.name === "pg" ? isQueued : `status IS NULL AND ${placeColumn} = 1`
  const since = dueSince(access)
  const wanted =
    dialect.name === "pg"
      ? `unnest(?::text[]) AS named (queue) CROSS JOIN unnest(?::text[], ?::text[]) AS wanted (workflow, version)`
      : `(SELECT value AS queue FROM json_each(?)) AS named
         CROSS JOIN (SELECT value ->> 0 AS workflow, value ->> 1 AS version FROM json_each(?)) AS wanted`
  return ({ queues = [], workflows }, excluded) =>
    Effect.gen(function* () {
      if (queues.length === 0) return []
      const now = yield* access.now
      const isThere = `SELECT 1 AS found FROM ${table("runs")} AS run WHERE ${isWaiting} AND run.queue = named.queue
        AND run.workflow = wanted.workflow AND run.version = wanted.version AND ${since} <= ${now.text} ${excluded.text}`
      const names = queues.map(({ name }) => name)
      const given =
        dialect.name === "pg"
          ? [names, workflows.map(({ workflow }) => workflow), workflows.map(({ version }) => version)]
          : [JSON.stringify(names), JSON.stringify(workflows.map(({ version, workflow }) => [workflow, version]))]
      const rows = yield* access.read<{ readonly queue: string; readonly workflow: string; readonly version: string }>(
        claiming,
        dialect.name === "pg"
          ? `SELECT named.queue, wanted.workflow, wanted.version FROM ${wanted} CROSS JOIN LATERAL (${isThere} LIMIT 1) AS due`
          : `SELECT named.queue, wanted.workflow, wanted.version FROM ${wanted} WHERE EXISTS (${isThere})`,
        [...given, ...now.params, ...excluded.params]
      )
      const limits = new Map(queues.map((queue) => [queue.name, queue]))
      return rows.flatMap(({ queue, version, workflow }): ReadonlyArray<QueuePart> => {
        const found = limits.get(queue)
        return found === undefined ? [] : [{ limits: found, workflow, version }]
      })
    })
}

/**
 * Ends the leases of a queue that have expired. Their processes lose them, or a late
 * renewal would bring back a run whose place was given away.
 */
const makeEndExpired = ({ dialect, table }: ClientAccess) => {
  const runs = table("runs")
  const skip = dialect.name === "pg" ? " FOR UPDATE SKIP LOCKED" : ""
  return (run: Run, queue: string, now: Now): Effect.Effect<unknown, SqlError> => {
    const expired = `SELECT key FROM ${runs} WHERE status IS NULL AND owner IS NOT NULL AND queue = ? AND NOT ${isLeasedAt(now.text)}`
    return run(
      `UPDATE ${runs} SET owner = NULL, lease_until = NULL, due_at = ${dialect.greatest("due_at", "COALESCE(lease_until, 0)")}
       WHERE key IN (${expired} ORDER BY key${skip}) RETURNING key`,
      [queue, ...now.params, ...now.params]
    )
  }
}

interface KeyCount {
  readonly key: string
  readonly count: unknown
}

const toCounts = (rows: ReadonlyArray<KeyCount>) => rows.map(({ count, key }) => [key, Number(count)] as const)

/** The places of a queue, the keys that have none left, and when the others were started last. */
interface Taken {
  readonly places: Places
  readonly fullKeys: ReadonlyArray<string>
  readonly lastStarts: Map<string, number>
}

/** Counts what has a lease: an expired one that is renewed now still has its place. */
const makePlaces = ({ table }: ClientAccess) => {
  const runs = table("runs")
  return (run: Run, limits: QueueLimits, now: Now): Effect.Effect<Taken, SqlError> =>
    Effect.gen(function* () {
      const { name, perKey = Number.POSITIVE_INFINITY, rate } = limits
      const running = yield* run<KeyCount>(
        `SELECT queue_key AS key, COUNT(*) AS count FROM ${runs}
         WHERE status IS NULL AND owner IS NOT NULL AND queue = ? GROUP BY queue_key`,
        [name]
      )
      const started =
        rate === undefined
          ? []
          : yield* run<KeyCount>(
              `SELECT queue_key AS key, COUNT(*) AS count FROM ${runs}
               WHERE queue = ? AND started_at IS NOT NULL AND started_at > ${now.text} - ?
                 AND started_at <= ${now.text} + ${clockTolerance} GROUP BY queue_key`,
              [name, ...now.params, Math.ceil(rate.millis), ...now.params]
            )
      const counts = toCounts(running)
      const fullKeys = counts.flatMap(([key, count]) => (count >= perKey ? [key] : []))
      const lastStarts = new Map<string, number>()
      const places = new Places(limits, counts, toCounts(started), lastStarts)
      return { places, fullKeys, lastStarts }
    })
}

interface CandidateRow {
  readonly key: unknown
  readonly since: unknown
  readonly queueKey: string
  readonly isStarted: unknown
}

/** What a choice depends on, and in which transaction it reads. */
interface Choice extends Taken {
  readonly run: Run
  readonly parts: ReadonlyArray<QueuePart>
  readonly limits: QueueLimits
  readonly excluded: Part
  readonly now: Now
}

const makeChoose = (access: ClientAccess) => {
  const keysOf = makeKeysOf(access)
  const rowsOf = makeRowsOf(access)
  const startsOf = makeStartsOf(access)
  const nextPriority = makeNextPriority(access)
  /** The last key that the last claim of a queue looked at, if it did not look at all of them. */
  const lastKeys = new Map<string, string>()

  return (choice: Choice, most: number): Effect.Effect<ReadonlyArray<DueRow>, SqlError> =>
    Effect.gen(function* () {
      const { lastStarts, limits, parts, places, run } = choice
      const start = lastKeys.get(limits.name) ?? ""
      lastKeys.delete(limits.name)
      const taken: Array<DueRow> = []
      let budget = mostKeys
      let priority = yield* nextPriority(run, parts, undefined)
      while (priority !== undefined && budget > 0 && taken.length < most && !places.isFull) {
        const candidates: Array<Candidate> = []
        for (const part of parts) {
          const keys = yield* keysOf(choice, { ...part, priority }, start, budget)
          budget -= keys.length
          const last = keys.at(-1)
          if (budget === 0 && last !== undefined) lastKeys.set(limits.name, last)
          for (const [key, at] of yield* startsOf(run, limits, keys)) lastStarts.set(key, at)
          candidates.push(...(yield* rowsOf(choice, { ...part, priority }, keys, most - taken.length)))
        }
        taken.push(...chosen(places, candidates, most - taken.length))
        priority = yield* nextPriority(run, parts, priority)
      }
      return taken
    })
}

/** When a run of each key was leased for the first time, the last time. */
const makeStartsOf = ({ dialect, table }: ClientAccess) => {
  const isPg = dialect.name === "pg"
  const given = isPg ? "unnest(?::text[]) AS given (key)" : "(SELECT value AS key FROM json_each(?)) AS given"
  const text = `SELECT given.key, (
      SELECT MAX(started_at) FROM ${table("runs")} WHERE queue = ? AND queue_key = given.key AND started_at IS NOT NULL
    ) AS at FROM ${given}`
  return (run: Run, { name }: QueueLimits, keys: ReadonlyArray<string>) =>
    Effect.map(
      keys.length === 0
        ? Effect.succeed([])
        : run<{ readonly key: string; readonly at: unknown }>(text, [name, isPg ? keys : JSON.stringify(keys)]),
      (rows) => rows.flatMap(({ at, key }) => (at === null ? [] : [[key, Number(at)] as const]))
    )
}

/** The waiting runs of one priority. */
interface Level extends QueuePart {
  readonly priority: number
}

const inPart = `${isQueued} AND queue = ? AND workflow = ? AND version = ?`

const partParams = ({ limits, version, workflow }: QueuePart) => [limits.name, workflow, version]

/** The highest priority below the last one, of all the parts. */
const makeNextPriority = ({ table }: ClientAccess) => {
  const text = `SELECT MAX(priority) AS priority FROM ${table("runs")} WHERE ${inPart}`
  return (
    run: Run,
    parts: ReadonlyArray<QueuePart>,
    last: number | undefined
  ): Effect.Effect<number | undefined, SqlError> =>
    Effect.map(
      Effect.forEach(parts, (part) =>
        run<{ readonly priority: unknown }>(
          last === undefined ? text : `${text} AND priority < ?`,
          last === undefined ? partParams(part) : [...partParams(part), last]
        )
      ),
      (answers) => {
        const found = answers.flat().flatMap(({ priority }) => (priority === null ? [] : [Number(priority)]))
        return found.length === 0 ? undefined : Math.max(...found)
      }
    )
}

/** The keys that have waiting runs, from one to the next by the index: those after the start, then those up to it. */
const makeKeysOf = (access: ClientAccess) => {
  const runs = access.table("runs")
  const least = `SELECT MIN(queue_key) FROM ${runs} WHERE ${inPart} AND priority = ?`
  const scan = (first: string, rest: string, full: string) => `WITH RECURSIVE keys (key) AS (
      SELECT (${least} ${first}) UNION ALL SELECT (${least} AND queue_key > keys.key ${rest}) FROM keys WHERE key IS NOT NULL
    ) SELECT key FROM keys WHERE key IS NOT NULL AND NOT (${full}) LIMIT ?`
  return ({ fullKeys, run }: Choice, level: Level, start: string, most: number) =>
    Effect.gen(function* () {
      if (most === 0) return []
      const isFull = isOneOf(access, "key", fullKeys, "text")
      const place = [...partParams(level), level.priority]
      const after = yield* run<{ readonly key: string }>(
        scan(start === "" ? "" : "AND queue_key > ?", "", isFull.text),
        [...place, ...(start === "" ? [] : [start]), ...place, ...isFull.params, most]
      )
      const left = most - after.length
      const before =
        start === "" || left === 0
          ? []
          : yield* run<{ readonly key: string }>(scan("AND queue_key <= ?", "AND queue_key <= ?", isFull.text), [
              ...place,
              start,
              ...place,
              start,
              ...isFull.params,
              left
            ])
      return [...after, ...before].map(({ key }) => key)
    })
}

/** The due runs of keys that have been due longest, new ones and those that were leased before. */
const makeRowsOf = (access: ClientAccess) => {
  const { dialect, table } = access
  const runs = table("runs")
  const since = dueSince(access)
  const isPg = dialect.name === "pg"

  const due = (isNew: boolean, now: Now, excluded: Part) =>
    `SELECT key, ${since} AS since, queue_key FROM ${runs}
     WHERE ${inPart} AND priority = ? AND queue_key = given.key AND (started_at IS NULL) = ${isPg ? isNew : Number(isNew)}
       AND ${since} <= ${now.text} ${excluded.text} ORDER BY ${since} LIMIT ?`
  const given = isPg ? "unnest(?::text[]) AS given (key)" : "(SELECT value AS key FROM json_each(?)) AS given"

  return ({ excluded, now, run }: Choice, level: Level, keys: ReadonlyArray<string>, most: number) =>
    Effect.gen(function* () {
      if (keys.length === 0) return []
      const ofDue = [...partParams(level), level.priority, ...now.params, ...excluded.params, most]
      const rowsOf = (isNew: boolean) => {
        const found = due(isNew, now, excluded)
        // SQLite has no LATERAL, but looks up the keys that a correlated list has.
        const joined = isPg
          ? `CROSS JOIN LATERAL (${found}) AS due`
          : `CROSS JOIN ${runs} AS due ON due.key IN (SELECT key FROM (${found}))`
        const dueAt = isPg ? "due.since" : "MAX(due.due_at, COALESCE(due.lease_until, 0))"
        return run<CandidateRow>(
          `SELECT due.key, ${dueAt} AS since, given.key AS "queueKey", ${isNew ? 0 : 1} AS "isStarted" FROM ${given} ${joined}`,
          [isPg ? keys : JSON.stringify(keys), ...ofDue]
        )
      }
      const rows = [...(yield* rowsOf(false)), ...(yield* rowsOf(true))]
      return rows.map(
        ({ isStarted, key, queueKey, since }): Candidate => ({
          key: Number(key),
          since: Number(since),
          priority: level.priority,
          queueKey,
          isStarted: Number(isStarted) === 1
        })
      )
    })
}
