import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { outcomeChecksum } from "../checksum.js"
import { claimedRun, leaseLost, leaseOf, refusal } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import type { Lease, Opened, OpenRequest, Outcome, Run, RunStore } from "../Store.js"
import { type RunRow, runColumns } from "../sqlite/runRows.js"
import type { ClientAccess } from "./access.js"
import type { EndChild } from "./endings.js"
import { decoding } from "./errors.js"
import { insertLines } from "./lines.js"
import type { Liveness } from "./liveness.js"
import { isOneOf, startedAt } from "./reading.js"
import type { RunReader } from "./runRows.js"
import { finishing, opening, type ToFinish, type ToInsert } from "./runWrites.js"

/** A row as it was found, before it is known who has the lease. */
interface Found {
  readonly run: Run
  readonly now: number
  readonly owner: string | null
  readonly leaseUntil: unknown
  readonly holdId: string | null
  readonly checksum: number | null
}

/** A run that others change all the time is reported as they left it. */
const mostAttempts = 20

/** A repetition after a broken connection finds the lease that the first attempt got: owners are unique to a call. */
export const makeOpen = (
  access: ClientAccess,
  { toRun }: RunReader,
  insert: (wanted: ToInsert) => Effect.Effect<Run | undefined, StorageError>
): RunStore["open"] => {
  const { dialect, table } = access
  const runs = table("runs")

  const inserted = (request: OpenRequest, owner: string, leaseMillis: number) =>
    Effect.flatMap(Effect.zip(access.now, access.time), ([now, createdAt]) =>
      insert({ request, lease: { owner, millis: leaseMillis }, now, createdAt })
    )

  const find = ({ id, key }: OpenRequest): Effect.Effect<Found | undefined, StorageError> =>
    Effect.gen(function* () {
      const { params, text } = yield* access.now
      const [column, value] = key === undefined ? ["id", id] : ["key", key]
      const [row] = yield* access.read<RunRow & { readonly now: unknown }>(
        opening,
        `SELECT ${runColumns}, ${text} AS now FROM ${runs} WHERE ${column} = ?`,
        [...params, value]
      )
      if (row === undefined) return undefined
      const run = yield* decoding(opening, () => toRun(row, key === undefined ? id : undefined))
      const { checksum, holdId, leaseUntil, owner } = row
      return { run, now: Number(row.now), owner, leaseUntil, holdId, checksum }
    })

  /** Changes the row only if it is as it was found. The checksum tells whether the input was replaced. */
  const claim = (
    { checksum, holdId, leaseUntil, owner: before, run }: Found,
    { isVisit = false }: OpenRequest,
    owner: string,
    leaseMillis: number
  ) =>
    Effect.gen(function* () {
      const { params, text } = yield* access.now
      const [row] = yield* access.write<{ readonly since: unknown }>(
        opening,
        `UPDATE ${runs} SET token = token + 1, owner = ?, lease_until = ${text} + ?, due_at = ${text},
           started_at = ${startedAt(text, isVisit)}, waiting = NULL
         WHERE key = ? AND token = ? AND status IS NULL
           AND ${dialect.isSame("owner", "?")} AND ${dialect.isSame("lease_until", "?")}
           AND ${dialect.isSame("hold_id", "?")} AND ${dialect.isSame("checksum", "?")}
         RETURNING due_at AS since`,
        [
          ...[owner, ...params, leaseMillis, ...params, ...params],
          ...[run.key, run.token, before, leaseUntil, holdId, checksum]
        ],
        { idempotent: true }
      )
      if (row === undefined) return undefined
      const since = Number(row.since)
      return claimedRun(run, owner, since + leaseMillis, since, isVisit)
    })

  const openExisting = (
    request: OpenRequest,
    owner: string,
    leaseMillis: number,
    attempt: number
  ): Effect.Effect<Opened, StorageError> =>
    Effect.gen(function* () {
      const found = yield* find(request)
      // A run that was removed between the two may be created.
      if (found === undefined) {
        return request.key === undefined ? yield* open(request, owner, leaseMillis, attempt + 1) : { _tag: "Gone" }
      }
      const { now, run } = found
      if (found.owner === owner) {
        return { _tag: run.token === 1 ? "Created" : "Claimed", run, lease: leaseOf(run, owner) }
      }
      const refused = refusal(run, request, now)
      if (refused !== undefined) return refused
      const claimed = yield* claim(found, request, owner, leaseMillis)
      if (claimed !== undefined) return { _tag: "Claimed", run: claimed, lease: leaseOf(claimed, owner) }
      return attempt < mostAttempts
        ? yield* openExisting(request, owner, leaseMillis, attempt + 1)
        : { _tag: "Leased", run }
    })

  const open = (
    request: OpenRequest,
    owner: string,
    leaseMillis: number,
    attempt: number
  ): Effect.Effect<Opened, StorageError> =>
    Effect.flatMap(
      request.key === undefined ? inserted(request, owner, leaseMillis) : Effect.succeed(undefined),
      (run): Effect.Effect<Opened, StorageError> =>
        run === undefined
          ? openExisting(request, owner, leaseMillis, attempt)
          : Effect.succeed({ _tag: "Created", run, lease: leaseOf(run, owner) })
    )

  return (request, owner, leaseMillis) => open(request, owner, leaseMillis, 0)
}

type LeaseStore = Pick<RunStore, "finish" | "release" | "renew" | "reopen" | "suspend">

export const makeLeases = (
  access: ClientAccess,
  { toRun }: RunReader,
  finish: (wanted: ToFinish) => Effect.Effect<boolean, StorageError>,
  endChild: EndChild
): LeaseStore => {
  const { table } = access
  const runs = table("runs")
  const insert = insertLines(access)

  const find = ({ key, run }: Lease): Effect.Effect<Run | undefined, StorageError> =>
    Effect.flatMap(access.read<RunRow>(finishing, `SELECT ${runColumns} FROM ${runs} WHERE key = ?`, [key]), ([row]) =>
      decoding(finishing, () => (row === undefined ? undefined : toRun(row, run)))
    )

  return {
    finish: (lease, outcome) =>
      Effect.gen(function* () {
        const at = yield* access.time
        const ended: Outcome = { ...outcome, at }
        const isWritten = yield* finish({ lease, outcome: ended, checksum: outcomeChecksum(lease.run, ended) })
        if (isWritten) return ended
        const found = yield* find(lease)
        if (found?.outcome !== undefined) return found.outcome
        if (found?.parent === undefined) return yield* leaseLost(lease)
        if (yield* endChild(finishing, { run: lease.run, parent: found.parent, lease }, ended)) return ended
        // Another caller may have ended it meanwhile.
        return (yield* find(lease))?.outcome ?? (yield* leaseLost(lease))
      }),
    reopen: (found, entry, owner, leaseMillis, heldAs) =>
      access.transaction("Opening a finished run", (run) =>
        Effect.gen(function* () {
          const { params, text } = yield* access.now
          const [row] = yield* run<{ readonly since: unknown }>(
            `UPDATE ${runs} SET status = NULL, exhausted = NULL, exit = NULL, finished_at = NULL, outcome_checksum = NULL, waiting = NULL,
               cancel = NULL, token = token + 1, owner = ?, lease_until = ${text} + ?, due_at = ${text},
               started_at = COALESCE(started_at, ${text})
             WHERE key = ? AND token = ? AND status IS NOT NULL AND (hold_id IS NULL OR hold_id = ?)
             RETURNING due_at AS since`,
            [owner, ...params, leaseMillis, ...params, ...params, found.key, found.token, heldAs ?? null]
          )
          if (row === undefined) return Option.none()
          const lease = { key: found.key, run: found.id, token: found.token + 1, owner, since: Number(row.since) }
          // The row is ours until the commit.
          yield* Effect.catchTag(insert(run, lease, [entry]), "LeaseLost", Effect.die)
          return Option.some(lease)
        })
      ),
    renew: makeRenew(access),
    release: (owner, run) => {
      const condition = run === undefined ? "owner = ?" : "owner = ? AND id = ?"
      return Effect.asVoid(
        access.write("Releasing a lease", endLeases(access, condition), run === undefined ? [owner] : [owner, run], {
          idempotent: true,
          anywhere: true
        })
      )
    },
    suspend: (lease, { dueAt, signals, waiting }) =>
      Effect.gen(function* () {
        const { params, text } = yield* access.now
        const written = yield* access.write(
          "Suspending a run",
          `UPDATE ${runs} SET owner = NULL, lease_until = NULL, waiting = ?,
             due_at = CASE WHEN signals > ? OR cancel IS NOT NULL THEN ${text} ELSE ? END
           WHERE key = ? AND token = ? AND owner = ? AND status IS NULL RETURNING key`,
          [waiting ?? null, signals, ...params, Math.ceil(dueAt), lease.key, lease.token, lease.owner]
        )
        if (written.length === 0) yield* leaseLost(lease)
      })
  }
}

/** In the order of keys, so that two statements that end or renew leases cannot wait for each other. */
const endLeases = ({ dialect, table }: ClientAccess, condition: string): string =>
  `UPDATE ${table("runs")} SET owner = NULL, lease_until = NULL WHERE key IN (
     SELECT key FROM ${table("runs")} WHERE owner IS NOT NULL AND ${condition} ORDER BY key${dialect.lock("update")}
   ) RETURNING key`

/** Ends the leases of processes that are known to be dead. Their owners stay: the runs were not released by them. */
export const releaseGone = (access: ClientAccess, { process }: Liveness, gone: ReadonlyArray<string>) => {
  const { dialect, table } = access
  const isTheirs = isOneOf(access, process, gone, "text")
  return Effect.flatMap(access.now, ({ params, text }) =>
    access.write(
      "Claiming due runs",
      // Due since the claim, so that they are claimed before what became due later.
      `UPDATE ${table("runs")} SET lease_until = ${dialect.least("due_at", text)} WHERE key IN (
         SELECT key FROM ${table("runs")} WHERE status IS NULL AND owner IS NOT NULL AND lease_until > ${text}
           AND ${isTheirs.text} ORDER BY key${dialect.lock("update")}
       ) RETURNING key`,
      [...params, ...params, ...isTheirs.params],
      { idempotent: true }
    )
  )
}

/** Judged by token and owner: a lease that has expired and was not taken over is in force again. */
const makeRenew = (access: ClientAccess): RunStore["renew"] => {
  const { dialect, table } = access
  const runs = table("runs")
  const isPg = dialect.name === "pg"
  const held = isPg
    ? `SELECT run.key FROM ${runs} AS run
       JOIN unnest(?::bigint[], ?::bigint[], ?::text[]) AS given (key, token, owner)
         ON run.key = given.key AND run.token = given.token AND run.owner = given.owner
       WHERE run.status IS NULL ORDER BY run.key FOR UPDATE OF run`
    : `SELECT run.key FROM json_each(?) AS given JOIN ${runs} AS run ON run.key = given.value ->> 0
       WHERE run.token = given.value ->> 1 AND run.owner = given.value ->> 2 AND run.status IS NULL`
  return (leases, leaseMillis) =>
    Effect.gen(function* () {
      const { params, text } = yield* access.now
      const given = isPg
        ? [leases.map(({ key }) => key), leases.map(({ token }) => token), leases.map(({ owner }) => owner)]
        : [JSON.stringify(leases.map(({ key, owner, token }) => [key, token, owner]))]
      const rows = yield* access.write<{ readonly key: unknown }>(
        "Renewing leases",
        `UPDATE ${runs} SET lease_until = ${text} + ? WHERE key IN (${held}) RETURNING key`,
        [...params, leaseMillis, ...given],
        { idempotent: true, anywhere: true }
      )
      const renewed = new Set(rows.map(({ key }) => Number(key)))
      return leases.filter(({ key }) => !renewed.has(key))
    })
}

/** Finished runs, with their journals, signals and snapshots. */
export const makeRemoveRuns = (access: ClientAccess): RunStore["removeRuns"] => {
  const { dialect, table } = access
  return (keys) =>
    access.transaction("Removing runs", (run) =>
      Effect.gen(function* () {
        const given = isOneOf(access, "key", keys.filter(Number.isSafeInteger), "number")
        const found = yield* run<{ readonly key: unknown; readonly id: string }>(
          `SELECT key, id FROM ${table("runs")} WHERE status IS NOT NULL AND ${given.text} ORDER BY key${dialect.lock("update")}`,
          given.params
        )
        if (found.length === 0) return 0
        const all = found.map(({ key }) => Number(key))
        const ofRuns = isOneOf(access, "run", all, "number")
        const bySnapshot = isOneOf(
          access,
          "run",
          found.map(({ id }) => id),
          "text"
        )
        const theirs = isOneOf(access, "key", all, "number")
        yield* run(`DELETE FROM ${table("journal")} WHERE ${ofRuns.text}`, ofRuns.params)
        yield* run(`DELETE FROM ${table("signals")} WHERE ${ofRuns.text}`, ofRuns.params)
        yield* run(`DELETE FROM ${table("snapshots")} WHERE ${bySnapshot.text}`, bySnapshot.params)
        yield* run(`DELETE FROM ${table("runs")} WHERE ${theirs.text}`, theirs.params)
        return found.length
      })
    )
}
