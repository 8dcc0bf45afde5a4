import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { eventLoopTurn } from "../../resilience/internal/kernel/eventLoop.js"
import { type DueRow, merged } from "../queueOrder.js"
import { claimedDue, claimedRun, dueSince, limitOf } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import type * as Store from "../Store.js"
import type { Database, Statement } from "./driver.js"
import { type Admitted, QueueClaims, type Stop } from "./queueClaims.js"
import { marked } from "./rows.js"
import { dueSince as dueColumn, placeColumn, type RunRow, runOf, runProblem } from "./runRows.js"
import { openRuns } from "./runStatements.js"
import type { RunTable } from "./runTable.js"
import type { Access } from "./SqliteStore.js"
import { isPlaced, shardParams } from "./shards.js"

/** What a look for due runs found. */
interface Found {
  /** In the order in which they are claimed. */
  readonly keys: ReadonlyArray<number>
  readonly admitted: ReadonlyArray<Admitted>
}

/** Where the looks at queues continue. */
type Stops = ReadonlyMap<string, Stop | undefined>

interface Look {
  readonly at: number
  /** The processes that have leases and are known to be dead. */
  readonly gone: ReadonlyArray<string>
  readonly isDue: boolean
  readonly stops: Stops
}

const nothing: Found = { keys: [], admitted: [] }

/** The due runs of one workflow outside of queues: those that have been due longest. */
const makeFreeOf = (database: Database, { sql }: RunTable) => {
  const prepared = new Map<string, Statement>()
  const statementOf = (condition: string): Statement => {
    const statement = prepared.get(condition) ?? database.prepare(dueText(condition))
    prepared.set(condition, statement)
    return statement
  }
  return (
    { version, workflow }: Store.WorkflowVersion,
    { orphans = false, placement }: Store.DueQuery,
    now: number,
    most: number
  ): ReadonlyArray<DueRow> => {
    if (placement === undefined && !orphans) return sql.due.all(workflow, version, now, most) as ReadonlyArray<DueRow>
    const isHere = placement === undefined ? "" : ` AND ${isPlaced("$owned", "$shards")}`
    const shards = placement === undefined ? {} : shardParams(placement)
    const statement = statementOf(`${isHere}${orphans ? " AND owner IS NOT NULL" : ""}`)
    return statement.all({ workflow, version, now, most, ...shards }) as ReadonlyArray<DueRow>
  }
}

/** Claims of runs. */
export const makeClaims = (database: Database, table: RunTable, access: Access): Pick<Store.RunStore, "claimDue"> => {
  const { sql } = table
  const queues = new QueueClaims(database)

  const freeOf = makeFreeOf(database, table)

  /** Those that have been due longest, whatever their workflow. */
  const due = (query: Store.DueQuery, now: number, stops: Stops): Found => {
    const { except = [], placement, workflows } = query
    const limit = limitOf(query)
    if (limit === 0) return nothing
    const excluded = new Set(except.flatMap((id) => keyOf(table, id)))
    const free = workflows
      .flatMap((workflow) => freeOf(workflow, query, now, limit + excluded.size))
      .filter(({ key }) => !excluded.has(key))
      .sort((a, b) => a.since - b.since || a.key - b.key)
    const admitted = isQueueDue(query, now)
      ? (query.queues ?? []).map((limits) => {
          const request = { workflows, excluded, limit, now, placement }
          return queues.admitted(limits, request, stops.get(limits.name))
        })
      : []
    return {
      keys: merged([free, ...admitted.map(({ rows }) => rows)], limit).map(({ key }) => key),
      admitted
    }
  }

  const isQueueDue = ({ orphans = false, queues: wanted = [], workflows }: Store.DueQuery, now: number): boolean =>
    !orphans && wanted.length > 0 && queues.isAnyDue({ workflows, now })

  const claim = (key: number, owner: string, leaseUntil: number, now: number): ReadonlyArray<Store.DueRun> => {
    const row = sql.findRunByKey.get(key) as RunRow | undefined
    if (row === undefined) return []
    // Its lease has ended, whether or not its process lives.
    const found = runOf(row, () => false)
    const isDue = found.outcome === undefined && found.hold === undefined && dueSince(found) <= now
    const problem = runProblem(row) ?? (isDue ? undefined : "the index leads to another row")
    if (problem !== undefined) return [{ _tag: "Damaged", run: marked(table.toRun(row), problem) }]
    const run = claimedRun(found, owner, leaseUntil, now)
    sql.claimRun.run(run.token, owner, leaseUntil, run.dueAt, run.startedAt ?? null, key)
    return [claimedDue(run, owner)]
  }

  /** Looks at more keys of the queues while the ones that were looked at have nothing to claim. */
  const look = (query: Store.DueQuery, stops: Stops, tries: number): Effect.Effect<Look, StorageError> =>
    Effect.flatMap(
      access.read("Finding due runs", (now) => {
        const found = due({ ...query, limit: Math.min(1, limitOf(query)) }, now, stops)
        const next = new Map(found.admitted.flatMap(({ queue, stop }) => (stop === undefined ? [] : [[queue, stop]])))
        return { at: now, gone: table.gone(now), isDue: found.keys.length > 0, next }
      }),
      ({ next, ...seen }) =>
        seen.isDue || next.size === 0 || tries === 0
          ? Effect.succeed({ ...seen, stops })
          : Effect.zipRight(eventLoopTurn, look(query, next, tries - 1))
    )

  /** When the last look was, of workflows whose last claim found as much as it wanted: there is probably more. */
  const backlogs = new WeakMap<Store.DueQuery["workflows"], number>()

  /** A look reads as much as a claim, so one at a backlog is spared. It finds the dead, so it is not spared for long. */
  const lookOrTrust = (query: Store.DueQuery): Effect.Effect<Look, StorageError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const at = query.orphans === true ? undefined : backlogs.get(query.workflows)
      return at !== undefined && at <= now && now < at + trustMillis
        ? Effect.succeed({ at, gone: [], isDue: true, stops: new Map() })
        : look(query, new Map(), mostLooks)
    })

  /** A write keeps other processes from writing, so a claim begins one only if there is something to write. */
  const claimDue: Store.Store["claimDue"] = (query, owner, leaseMillis) =>
    Effect.flatMap(lookOrTrust(query), ({ at, gone, isDue, stops }) => {
      if (!isDue && gone.length === 0) return Effect.succeed([])
      const claimAll = access.write(
        "Claiming due runs",
        (now) => {
          if (gone.length > 0) sql.releaseGone.run({ gone: JSON.stringify(gone), now })
          if (isQueueDue(query, now)) for (const { name } of query.queues ?? []) queues.endExpired(name, now)
          const found = due(query, now, stops)
          for (const one of found.admitted) queues.pass(one)
          return found.keys.flatMap((key) => claim(key, owner, now + leaseMillis, now))
        },
        table.first
      )
      return Effect.tap(claimAll, (found) => {
        if (query.orphans === true) backlogs.delete(query.workflows)
        else if (found.length > 0 && found.length >= limitOf(query)) backlogs.set(query.workflows, at)
        else backlogs.delete(query.workflows)
        for (const one of found) if (one._tag === "Claimed") table.hold(one.lease)
      })
    })

  return { claimDue }
}

const dueText = (
  condition: string
): string => `SELECT key, ${dueColumn} AS since FROM ${openRuns} AND workflow = $workflow AND version = $version
  AND ${placeColumn} = 0 AND ${dueColumn} <= $now${condition} ORDER BY ${dueColumn} LIMIT $most`

/** So long after a look a backlog is trusted to have more. */
const trustMillis = 1_000

/** Each looks at some thousand keys. */
const mostLooks = 32

const keyOf = ({ sql }: RunTable, id: string): ReadonlyArray<number> => {
  const row = sql.keyOf.get(id) as { readonly key: number } | undefined
  return row === undefined ? [] : [row.key]
}
