import * as Effect from "effect/Effect"
import { type DueRow, merged } from "../queueOrder.js"
import { claimedDue, claimedRun, limitOf } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import type { DueQuery, DueRun, RunStore } from "../Store.js"
import { placeColumn, type RunRow, runColumns } from "../sqlite/runRows.js"
import type { ClientAccess, Now, Run } from "./access.js"
import type { Liveness } from "./liveness.js"
import { makeQueueClaims, type QueueClaims, type QueuePart } from "./queueClaims.js"
import { dueSince, isFree, isOneOf, type Part, part, startedAt, type Tables } from "./reading.js"
import type { RunReader } from "./runRows.js"
import { releaseGone } from "./runs.js"
import { isOwnedShard } from "./shards.js"

const claiming = "Claiming due runs"

/** Claims what is due. Looks for leases of dead processes only if that leaves something to claim. */
export const makeClaimDue = (access: ClientAccess, reader: RunReader, liveness: Liveness): RunStore["claimDue"] => {
  const queues = makeQueueClaims(access)
  const claim = access.dialect.name === "pg" ? claimInPg(access, reader, queues) : claimInSqlite(access, reader, queues)
  return (given, owner, leaseMillis) =>
    Effect.gen(function* () {
      const limit = limitOf(given)
      const query = given.orphans === true ? { ...given, queues: [] } : given
      if (limit === 0 || query.workflows.length === 0) return []
      const found = yield* claim(query, owner, leaseMillis)
      if (found.length >= limit) return found
      const gone = yield* liveness.gone(claiming)
      if (gone.length === 0 || (yield* releaseGone(access, liveness, gone)).length === 0) return found
      const rest = { ...query, limit: limit - found.length }
      return [...found, ...(yield* claim(rest, owner, leaseMillis))]
    })
}

type Claim = (query: DueQuery, owner: string, leaseMillis: number) => Effect.Effect<ReadonlyArray<DueRun>, StorageError>

/** What the query leaves out of the due runs: a further condition, or none. */
const unless = (access: Tables, { except = [], orphans = false, placement }: DueQuery): Part => {
  const excepted = isOneOf(access, "id", except, "text")
  const state = orphans ? "AND owner IS NOT NULL" : ""
  const outside = except.length === 0 ? part(state) : part(`${state} AND NOT (${excepted.text})`, ...excepted.params)
  if (placement === undefined) return outside
  const owned = isOwnedShard(access, placement)
  return part(`AND (shard IS NULL OR ${owned.text}) ${outside.text}`, ...owned.params, ...outside.params)
}

interface ClaimedRow extends RunRow {
  /** None of these was there to claim. */
  readonly key: never
  readonly candidates: unknown
  readonly wasDueAt: unknown
  readonly wasStartedAt: unknown
  readonly wasWaiting: string | null
}

/**
 * An array, which is read once. Postgres joins a table with `IN (SELECT …)`, and a plan that it made while the table was
 * small reads all candidates for each open run: 370 ms beside 5,000 of them, where the array takes 3 ms.
 */
const isCandidate = "key = ANY(ARRAY(SELECT key FROM candidates))"

/** The statements by which runs outside of queues are claimed. */
export const pgStatements = (access: Tables) => {
  const runs = access.table("runs")
  const since = dueSince(access)

  /** The runs outside of queues that have been due longest. */
  const free = (query: DueQuery, now: Now, most: number): Part => {
    const excluded = unless(access, query)
    return part(
      `SELECT due.key, due.since FROM unnest(?::text[], ?::text[]) AS wanted (workflow, version)
        CROSS JOIN LATERAL (
          SELECT key, ${since} AS since FROM ${runs}
          WHERE ${isFree} AND workflow = wanted.workflow AND version = wanted.version AND ${since} <= ${now.text} ${excluded.text}
          ORDER BY ${since} LIMIT ?::int
        ) AS due ORDER BY due.since, due.key LIMIT ?::int`,
      query.workflows.map(({ workflow }) => workflow),
      query.workflows.map(({ version }) => version),
      ...now.params,
      ...excluded.params,
      most,
      most
    )
  }

  /**
   * Where `claimOf` finds few candidates by their keys. What stands behind OFFSET is planned by itself: by what else is
   * asked of the runs, Postgres would read all open ones of a table that grew.
   */
  const byKey = `(SELECT * FROM ${runs} WHERE ${isCandidate} OFFSET 0) AS run`

  const claimOf = (candidates: Part, now: Now, limit: number, owner: string, leaseMillis: number, from = runs): Part =>
    part(
      `WITH candidates AS (${candidates.text}), picked AS (
        SELECT key AS picked, ${since} AS since, due_at AS was_due_at, started_at AS was_started_at, waiting AS was_waiting
        FROM ${from}
        WHERE ${isCandidate} AND status IS NULL AND hold_id IS NULL AND ${since} <= ${now.text}
        ORDER BY since, picked LIMIT ?::int FOR UPDATE SKIP LOCKED
      ), claimed AS (
        UPDATE ${runs} SET token = token + 1, owner = ?, lease_until = ${now.text} + ?, due_at = ${now.text},
          started_at = ${startedAt(now.text)}, waiting = NULL
        FROM picked WHERE key = picked
        RETURNING ${runColumns}, since, was_due_at AS "wasDueAt", was_started_at AS "wasStartedAt", was_waiting AS "wasWaiting"
      )
      SELECT (SELECT COUNT(*) FROM candidates) AS candidates, claimed.*
      FROM (SELECT 1) AS one LEFT JOIN claimed ON true ORDER BY since, key`,
      ...candidates.params,
      ...now.params,
      limit,
      owner,
      ...now.params,
      leaseMillis,
      ...now.params,
      ...now.params
    )

  /** Locks the runs outside of queues as it finds them, without those that other claims have locked. */
  const lockFree = (query: DueQuery, now: Now, limit: number): Part => {
    const found = free(query, now, Math.min(limit * 4, maxInt))
    return part(
      `SELECT key, ${since} AS since FROM ${runs} WHERE key = ANY(ARRAY(SELECT key FROM (${found.text}) AS found))
         AND ${isFree} AND ${since} <= ${now.text} ORDER BY since, key LIMIT ?::int FOR UPDATE SKIP LOCKED`,
      ...found.params,
      ...now.params,
      limit
    )
  }

  return { byKey, free, claimOf, lockFree }
}

/**
 * One statement. It looks at more runs than it takes, since other workers may have
 * locked the first ones, and tries again if it saw only such runs. Where a queue has
 * something due, a transaction claims it together with the runs outside of queues.
 */
const claimInPg = (access: ClientAccess, { toListed }: RunReader, queues: QueueClaims): Claim => {
  const runs = access.table("runs")
  const { byKey, claimOf, free, lockFree } = pgStatements(access)

  /** A damaged run is not leased. */
  const putBack = ({ key, owner, wasDueAt, wasStartedAt, wasWaiting }: ClaimedRow) =>
    access.write(
      claiming,
      `UPDATE ${runs} SET owner = NULL, lease_until = NULL, due_at = ?, started_at = ?, waiting = ?
       WHERE key = ? AND owner = ? RETURNING key`,
      [wasDueAt, wasStartedAt, wasWaiting, key, owner]
    )

  const toDue = (row: ClaimedRow, owner: string): Effect.Effect<DueRun, StorageError> => {
    const run = toListed(row)
    return run.damaged === undefined
      ? Effect.succeed(claimedDue(run, owner))
      : Effect.as(putBack(row), { _tag: "Damaged", run: { ...run, owner: undefined, leaseUntil: undefined } })
  }

  /** The runs of queues are chosen under the locks of the queues, those outside of them are locked as they are found. */
  const claimTogether = (
    query: DueQuery,
    parts: ReadonlyArray<QueuePart>,
    limit: number,
    owner: string,
    leaseMillis: number
  ): Effect.Effect<ReadonlyArray<ClaimedRow>, StorageError> =>
    access.transaction(claiming, (run) =>
      Effect.gen(function* () {
        const now = yield* access.now
        const ofQueues = yield* queues.choose(run, parts, unless(access, query), limit)
        const found = lockFree(query, now, limit)
        const others = yield* run<{ readonly key: unknown; readonly since: unknown }>(found.text, found.params)
        const outside = others.map((row): DueRow => ({ key: Number(row.key), since: Number(row.since) }))
        const all = merged([outside, ...ofQueues], limit)
        if (all.length === 0) return []
        const keys = part(
          "SELECT unnest(?::bigint[]) AS key",
          all.map(({ key }) => key)
        )
        const { params, text } = claimOf(keys, now, limit, owner, leaseMillis, byKey)
        const rows = yield* run<ClaimedRow>(text, params)
        const order = new Map(all.map(({ key }, i) => [key, i]))
        const positionOf = (row: ClaimedRow) => order.get(Number(row.key)) ?? 0
        return [...rows].sort((a, b) => positionOf(a) - positionOf(b))
      })
    )

  const attempt = (
    query: DueQuery,
    owner: string,
    leaseMillis: number,
    tries: number
  ): Effect.Effect<ReadonlyArray<DueRun>, StorageError> =>
    Effect.gen(function* () {
      const limit = Math.min(limitOf(query), maxInt)
      const parts = yield* queues.look(query, unless(access, query))
      const now = yield* access.now
      const looked = Math.min(Math.max(limit * 4, 64), maxInt)
      const ordinary = claimOf(free(query, now, looked), now, limit, owner, leaseMillis)
      const rows =
        parts.length === 0
          ? yield* access.write<ClaimedRow>(claiming, ordinary.text, ordinary.params)
          : yield* claimTogether(query, parts, limit, owner, leaseMillis)
      const claimed = rows.filter(({ key }) => key !== null)
      const wereLocked = claimed.length === 0 && Number(rows[0]?.candidates) > 0
      if (wereLocked && tries > 0) return yield* attempt(query, owner, leaseMillis, tries - 1)
      return yield* Effect.forEach(claimed, (row) => toDue(row, owner))
    })

  return (query, owner, leaseMillis) =>
    // Whether a statement leased runs whose answer was lost is not known: no process would advance them.
    Effect.tapError(attempt(query, owner, leaseMillis, 3), () =>
      Effect.forkDaemon(
        Effect.ignore(
          access.write(
            claiming,
            `UPDATE ${runs} SET owner = NULL, lease_until = NULL WHERE owner = ? RETURNING key`,
            [owner],
            {
              idempotent: true,
              anywhere: true
            }
          )
        )
      )
    )
}

const maxInt = 2 ** 31 - 1

/** A write keeps other processes from writing, so one that finds no work does not begin it. */
const claimInSqlite = (access: ClientAccess, { toListed }: RunReader, queues: QueueClaims): Claim => {
  const { table } = access
  const runs = table("runs")
  const since = dueSince(access)

  const due = (query: DueQuery, { params, text }: Now): Part => {
    const excluded = unless(access, query)
    const ofOne = `SELECT * FROM (SELECT key, ${since} AS since FROM ${runs}
      WHERE status IS NULL AND workflow = ? AND version = ? AND ${placeColumn} = 0 AND ${since} <= ${text} ${excluded.text} ORDER BY ${since} LIMIT ?)`
    const limit = limitOf(query)
    return part(
      `SELECT key, since FROM (${query.workflows.map(() => ofOne).join(" UNION ALL ")}) ORDER BY since, key LIMIT ?`,
      ...query.workflows.flatMap(({ version, workflow }) => [workflow, version, ...params, ...excluded.params, limit]),
      limit
    )
  }

  const claim = (run: Run, query: DueQuery, owner: string, leaseMillis: number, parts: ReadonlyArray<QueuePart>) =>
    Effect.gen(function* () {
      const now = yield* access.now
      const { params, text } = due(query, now)
      const limit = limitOf(query)
      const found = yield* run<DueRow>(text, params)
      const ofQueues = parts.length === 0 ? [] : yield* queues.choose(run, parts, unless(access, query), limit)
      return yield* Effect.forEach(merged([found, ...ofQueues], limit), ({ key }) =>
        claimOne(run, key, owner, leaseMillis, Number(now.params[0]))
      )
    })

  const claimOne = (run: Run, key: number, owner: string, leaseMillis: number, now: number) =>
    Effect.gen(function* () {
      const [row] = yield* run<RunRow>(`SELECT ${runColumns} FROM ${runs} WHERE key = ?`, [key])
      const found = toListed(row as RunRow) // the statement before it found its key
      if (found.damaged !== undefined) return { _tag: "Damaged", run: found } satisfies DueRun
      const claimed = claimedRun(found, owner, now + leaseMillis, now)
      yield* run(
        `UPDATE ${runs} SET token = token + 1, owner = ?, lease_until = ?, due_at = ?, started_at = ?, waiting = NULL
         WHERE key = ?`,
        [owner, claimed.leaseUntil, now, claimed.startedAt ?? null, key]
      )
      return claimedDue(claimed, owner)
    })

  return (query, owner, leaseMillis) =>
    Effect.gen(function* () {
      const { params, text } = due(query, yield* access.now)
      const parts = yield* queues.look(query, unless(access, query))
      const found = yield* access.read(claiming, text, params)
      if (found.length === 0 && parts.length === 0) return []
      return yield* access.transaction(claiming, (run) => claim(run, query, owner, leaseMillis, parts))
    })
}
