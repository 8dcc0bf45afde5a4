import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { warning } from "../../resilience/internal/kernel/logged.js"
import { liveClock } from "../../resilience/internal/kernel/timer.js"
import { crc32 } from "../checksum.js"
import type { Query } from "./session.js"

/**
 * Each process holds a session lock of the server for as long as its connection
 * lives. The server frees it when the connection ends, however the process ended,
 * so a process whose lock is free is dead or about to connect again.
 *
 * The lock is a shared one: two processes whose names have the same number would
 * otherwise wait for each other.
 */

/** Ends the owner names of processes that hold such a lock. Other owners are judged by their leases alone. */
export const marker = "~s"

/** The process of an owner of a lease, `process/n`; `undefined` if it holds no such lock. */
export const processOf = (owner: string): string | undefined => {
  const end = owner.lastIndexOf("/")
  const process = owner.slice(0, end)
  return end > 0 && process.endsWith(marker) ? process : undefined
}

/** What the locks of one storage are about. */
export interface Place {
  /** Number of the storage in the locks of its database. */
  readonly space: number
  readonly channel: string
}

/** Storages are distinguished by their schema and the prefix of their tables. */
export const placeOf = (schema: string, prefix: string): Place => {
  const space = crc32(`effect-recovery ${JSON.stringify([schema, prefix])}`)
  return { space, channel: `effect_recovery_${(space >>> 0).toString(16)}` }
}

const numberOf = (process: string): number => crc32(process)

export const holdLock = (query: Query, { space }: Place, process: string): Effect.Effect<void, SqlError> =>
  Effect.asVoid(query("SELECT pg_advisory_lock_shared($1::int, $2::int)", [space, numberOf(process)]))

/** The numbers of the processes that hold their locks. The catalog has them without their signs. */
const held = (query: Query, { space }: Place): Effect.Effect<ReadonlySet<number>, SqlError> =>
  Effect.map(
    query<{ readonly number: string | number }>(
      `SELECT objid::bigint AS number FROM pg_locks
       WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid::bigint = $1
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      [space >>> 0]
    ),
    (rows) => new Set(rows.map(({ number }) => Number(number) | 0))
  )

/** The tables with leases. */
export interface Leased {
  readonly runs: string
  readonly locks: string
  /** The store's clock as SQL without parameters. */
  readonly now: Effect.Effect<string>
}

/** The numbers at the end of an owner count the leases of its process. */
const processes = ({ locks, runs }: Leased, now: string): string =>
  `SELECT DISTINCT regexp_replace(owner, '/[^/]*$', '') AS process FROM ${runs}
   WHERE owner IS NOT NULL AND owner LIKE '%${marker}/%' AND lease_until > ${now}
   UNION
   SELECT DISTINCT regexp_replace(owner, '/[^/]*$', '') FROM ${locks}
   WHERE owner LIKE '%${marker}/%' AND lease_until > ${now}`

/**
 * Ends the leases of processes. Their owners stay: one that connects again before
 * another process takes its runs has only to renew. Rows in use are not waited for.
 */
const endLeases = ({ locks, runs }: Leased, now: string): string =>
  `WITH ended AS (
     SELECT key FROM ${runs}
     WHERE owner IS NOT NULL AND lease_until > ${now} AND regexp_replace(owner, '/[^/]*$', '') = ANY ($1::text[])
     ORDER BY key FOR UPDATE SKIP LOCKED),
   freed AS (
     UPDATE ${locks} SET lease_until = ${now}
     WHERE lease_until > ${now} AND regexp_replace(owner, '/[^/]*$', '') = ANY ($1::text[]) RETURNING name)
   UPDATE ${runs} one SET lease_until = ${now} FROM ended WHERE one.key = ended.key RETURNING one.id`

/** At every so many beats the leases are searched, whatever the locks say. */
const searchBeats = 5

export interface LivenessOptions {
  readonly place: Place
  readonly process: string
  readonly leased: Leased
  /** Leases of a dead process were ended. */
  readonly onEnded: (runs: ReadonlyArray<string>) => void
  /** How many beats pass after the connection was opened again before processes are judged: others open theirs at the same time. */
  readonly graceBeats: number
  /** How long the lock of a process must be free for `endIfGone`, in milliseconds. */
  readonly graceMillis: number
}

export interface Liveness {
  readonly beat: (query: Query) => Effect.Effect<void, SqlError>
  /** The connection was opened again: what was seen before is forgotten. */
  readonly reset: () => void
  /** Ends the leases of a process whose lock is free. Answers whether it was. */
  readonly endIfGone: (query: Query, process: string) => Effect.Effect<boolean, SqlError>
}

/**
 * Looks at the locks at each beat. Leases are searched when a lock is gone, after a
 * connect, and now and then for a process that lived for less than a beat. A process counts as dead when its lock was free at two
 * beats, since one whose connection broke connects again within one.
 */
export const makeLiveness = ({
  graceBeats,
  graceMillis,
  leased,
  onEnded,
  place,
  process
}: LivenessOptions): Liveness => {
  let seen: ReadonlySet<number> = new Set()
  let suspects: ReadonlySet<string> = new Set()
  let isDoubtful = true
  let grace = 0
  let beats = 0

  const end = (query: Query, dead: ReadonlyArray<string>): Effect.Effect<void, SqlError> =>
    Effect.map(
      Effect.flatMap(leased.now, (now) => query<{ readonly id: string }>(endLeases(leased, now), [dead])),
      (rows) => onEnded(rows.map(({ id }) => id))
    )

  const search = (query: Query, living: ReadonlySet<number>): Effect.Effect<void, SqlError> => {
    const found = Effect.flatMap(leased.now, (now) => query<{ readonly process: string }>(processes(leased, now)))
    return Effect.flatMap(found, (rows) => {
      const free = rows.map((row) => row.process).filter((one) => one !== process && !living.has(numberOf(one)))
      const dead = free.filter((one) => suspects.has(one))
      suspects = new Set(free)
      isDoubtful = free.length > 0
      return dead.length === 0 ? Effect.void : end(query, dead)
    })
  }

  /** Leases expire all the same. The next beat tries again. */
  let isLogged = false
  const complain = (error: SqlError) => {
    if (isLogged) return Effect.void
    isLogged = true
    return warning("the leases of dead processes could not be ended", Cause.fail(error))
  }

  return {
    beat: (query) =>
      Effect.flatMap(held(query, place), (now) => {
        if ([...seen].some((number) => !now.has(number))) isDoubtful = true
        seen = now
        beats++
        if (grace > 0) grace--
        if (grace > 0 || !(isDoubtful || beats % searchBeats === 0)) return Effect.void
        return Effect.catchAll(search(query, now), complain)
      }),
    reset: () => {
      suspects = new Set()
      isDoubtful = true
      grace = graceBeats
    },
    endIfGone: (query, one) => {
      const isFree = Effect.map(held(query, place), (now) => !now.has(numberOf(one)))
      const isStillFree = Effect.zipRight(Effect.withClock(Effect.sleep(graceMillis), liveClock), isFree)
      const isGone = Effect.if(isFree, { onTrue: () => isStillFree, onFalse: () => Effect.succeed(false) })
      return Effect.tap(isGone, (gone) => (gone ? end(query, [one]) : Effect.void))
    }
  }
}
