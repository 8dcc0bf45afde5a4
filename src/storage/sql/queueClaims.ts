import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { type Candidate, chosen, type DueRow, Places } from "../queueOrder.js"
import { clockTolerance } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import type { DueQuery, QueueLimits } from "../Store.js"
import { placeColumn } from "../sqlite/runRows.js"
import type { ClientAccess, Now, Run } from "./access.js"
import { dueSince, isLeasedAt, isOneOf, isQueued, type Part, part } from "./reading.js"

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
  /** SQLite has numbers for it. */
  readonly isNew: boolean | number
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
      let priority = yield* nextPriority(run, parts)
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
        if (taken.length < most) priority = yield* nextPriority(run, parts, priority)
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

/**
 * A place in the index of queued runs. Postgres compares rows there: the planner, which knows little of a table that
 * grew, would compare single columns by another index, and read the whole backlog.
 */
const inIndex = "queue, workflow, version, priority"

/** The highest priority below the last one, of all the parts. */
const makeNextPriority = ({ dialect, table }: ClientAccess) => {
  const runs = table("runs")
  const text =
    dialect.name === "pg"
      ? `SELECT priority FROM (
           SELECT ${inIndex} FROM ${runs} WHERE ${isQueued} AND (${inIndex}) < (?, ?, ?, ?::bigint)
           ORDER BY queue DESC, workflow DESC, version DESC, priority DESC LIMIT 1
         ) AS last WHERE queue = ? AND workflow = ? AND version = ?`
      : `SELECT MAX(priority) AS priority FROM ${runs} WHERE ${inPart} AND priority < ?`
  return (
    run: Run,
    parts: ReadonlyArray<QueuePart>,
    last: number = Number.MAX_SAFE_INTEGER
  ): Effect.Effect<number | undefined, SqlError> =>
    Effect.map(
      Effect.forEach(parts, (part) => {
        const place = partParams(part)
        return run<{ readonly priority: unknown }>(text, [...place, last, ...(dialect.name === "pg" ? place : [])])
      }),
      (answers) => {
        const found = answers.flat().flatMap(({ priority }) => (priority === null ? [] : [Number(priority)]))
        return found.length === 0 ? undefined : Math.max(...found)
      }
    )
}

/** The first key of a level that has waiting runs, after another one and up to another one if they are given. */
const makeFirstKey = ({ dialect, table }: ClientAccess) => {
  const runs = table("runs")
  return (level: Level, after: Part | undefined, until: string | undefined): Part => {
    const place = [...partParams(level), level.priority]
    const end = until === undefined ? part("") : part("AND queue_key <= ?", until)
    const { params = [], text = "" } = after ?? {}
    if (dialect.name === "sqlite") {
      const start = after === undefined ? "" : `AND queue_key > ${text}`
      return part(
        `SELECT MIN(queue_key) FROM ${runs} WHERE ${inPart} AND priority = ? ${start} ${end.text}`,
        ...[...place, ...params, ...end.params]
      )
    }
    const from =
      after === undefined ? `(${inIndex}) >= (?, ?, ?, ?)` : `(${inIndex}, queue_key) > (?, ?, ?, ?, ${text})`
    return part(
      `SELECT CASE WHEN queue = ? AND workflow = ? AND version = ? AND priority = ? ${end.text} THEN queue_key END
       FROM ${runs} WHERE ${isQueued} AND ${from} ORDER BY ${inIndex}, queue_key LIMIT 1`,
      ...[...place, ...end.params, ...place, ...params]
    )
  }
}

/** The keys that have waiting runs, from one to the next by the index: those after the start, then those up to it. */
const makeKeysOf = (access: ClientAccess) => {
  const firstKey = makeFirstKey(access)
  return ({ fullKeys, run }: Choice, level: Level, start: string, most: number) =>
    Effect.gen(function* () {
      if (most === 0) return []
      const isFull = isOneOf(access, "key", fullKeys, "text")
      const scan = (after: string | undefined, until: string | undefined, most: number) => {
        const first = firstKey(level, after === undefined ? undefined : part("?", after), until)
        const next = firstKey(level, part("keys.key"), until)
        return run<{ readonly key: string }>(
          `WITH RECURSIVE keys (key) AS (
             SELECT (${first.text}) UNION ALL SELECT (${next.text}) FROM keys WHERE key IS NOT NULL
           ) SELECT key FROM keys WHERE key IS NOT NULL AND NOT (${isFull.text}) LIMIT ?`,
          [...first.params, ...next.params, ...isFull.params, most]
        )
      }
      const after = yield* scan(start === "" ? undefined : start, undefined, most)
      const left = most - after.length
      const before = start === "" || left === 0 ? [] : yield* scan(undefined, start, left)
      return [...after, ...before].map(({ key }) => key)
    })
}

/** The due runs of keys that have been due longest, new ones and those that were leased before. */
const makeRowsOf = (access: ClientAccess) => {
  const { dialect, table } = access
  const runs = table("runs")
  const since = dueSince(access)

  /** The runs that follow in the index are those of the group, unless it has fewer. */
  const inPg = (now: Now, excluded: Part) =>
    `SELECT due.key, due.since, given.key AS "queueKey", kind.is_new AS "isNew"
     FROM unnest(?::text[]) AS given (key) CROSS JOIN (VALUES (false), (true)) AS kind (is_new) CROSS JOIN LATERAL (
       SELECT key, since FROM (
         SELECT key, ${inIndex}, queue_key, (started_at IS NULL) AS is_new, ${since} AS since FROM ${runs}
         WHERE ${isQueued} AND (${inIndex}, queue_key, (started_at IS NULL)) >= (?, ?, ?, ?, given.key, kind.is_new)
           ${excluded.text}
         ORDER BY ${inIndex}, queue_key, (started_at IS NULL), ${since} LIMIT ?
       ) AS next WHERE queue = ? AND workflow = ? AND version = ? AND priority = ? AND queue_key = given.key
         AND next.is_new = kind.is_new AND since <= ${now.text}
     ) AS due`

  /** SQLite has no LATERAL, but looks up the keys that a correlated list has. */
  const inSqlite = (now: Now, excluded: Part) =>
    `SELECT due.key, MAX(due.due_at, COALESCE(due.lease_until, 0)) AS since, given.key AS "queueKey", kind.is_new AS "isNew"
     FROM (SELECT value AS key FROM json_each(?)) AS given CROSS JOIN (SELECT 0 AS is_new UNION ALL SELECT 1) AS kind
     CROSS JOIN ${runs} AS due ON due.key IN (
       SELECT key FROM (
         SELECT key, ${since} AS since FROM ${runs}
         WHERE ${inPart} AND priority = ? AND queue_key = given.key AND (started_at IS NULL) = kind.is_new
           AND ${since} <= ${now.text} ${excluded.text} ORDER BY ${since} LIMIT ?
       )
     )`

  return ({ excluded, now, run }: Choice, level: Level, keys: ReadonlyArray<string>, most: number) =>
    Effect.gen(function* () {
      if (keys.length === 0) return []
      const place = [...partParams(level), level.priority]
      const rows = yield* dialect.name === "pg"
        ? run<CandidateRow>(inPg(now, excluded), [
            ...[keys, ...place, ...excluded.params, most],
            ...[...place, ...now.params]
          ])
        : run<CandidateRow>(inSqlite(now, excluded), [
            ...[JSON.stringify(keys), ...place],
            ...[...now.params, ...excluded.params, most]
          ])
      return rows.map(
        ({ isNew, key, queueKey, since }): Candidate => ({
          key: Number(key),
          since: Number(since),
          priority: level.priority,
          queueKey,
          isStarted: !isNew
        })
      )
    })
}
