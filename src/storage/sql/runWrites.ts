import * as Effect from "effect/Effect"
import { runChecksum } from "../checksum.js"
import { enqueuedRun, newRun } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import type { EnqueueRequest, Lease, NewRun, Outcome, Run } from "../Store.js"
import { shardHash } from "../shards.js"
import { storedStatus } from "../sqlite/runRows.js"
import type { ClientAccess, Now } from "./access.js"
import { makeGroups } from "./groups.js"

// ---- new runs

/** A run to create, leased to its creator or to no owner. */
export interface ToInsert {
  readonly request: NewRun & Pick<EnqueueRequest, "queue" | "delay">
  readonly lease: { readonly owner: string; readonly millis: number } | undefined
  /** The store's clock as its caller reads it: a group is carried out in the background. */
  readonly now: Now
  readonly createdAt: number
}

export const opening = "Opening a run"

/** What a row begins with, beside what the store's clock says: each column with its type in Postgres. */
const given = {
  id: ["text", ({ request }) => request.id],
  workflow: ["text", ({ request }) => request.workflow],
  version: ["text", ({ request }) => request.version],
  input: ["text", ({ request }) => request.input],
  labels: ["text", ({ request }) => labelsOf(request)],
  created_at: ["bigint", ({ createdAt }) => createdAt],
  owner: ["text", ({ lease }) => lease?.owner ?? null],
  token: ["bigint", ({ lease }) => (lease === undefined ? 0 : 1)],
  checksum: ["bigint", (wanted) => checksumOf(wanted)],
  queue: ["text", ({ request }) => request.queue?.name ?? null],
  queue_key: ["text", ({ request }) => request.queue?.key ?? null],
  priority: ["bigint", ({ request }) => request.queue?.priority ?? 0],
  parent: ["text", ({ request }) => request.parent?.run ?? null],
  parent_signal: ["text", ({ request }) => request.parent?.signal ?? null],
  shard: ["bigint", ({ request }) => shardHash(request.id)]
} satisfies Readonly<Record<string, readonly [type: string, valueOf: (wanted: ToInsert) => unknown]>>

const labelsOf = ({ labels }: NewRun): string => JSON.stringify(labels)

const checksumOf = ({ createdAt, request }: ToInsert): number =>
  runChecksum({ ...request, labels: labelsOf(request), createdAt })

const columns = Object.keys(given).join(", ")
const values = Object.values(given)

/** How long the run is not due, and how long it is leased, in milliseconds. */
const delayOf = ({ request }: ToInsert): number => Math.ceil(request.delay ?? 0)
const leaseOf = ({ lease }: ToInsert): number | null => lease?.millis ?? null

/** Creates a run. `undefined` if there is one with its id. */
const insertRun = (access: ClientAccess) => {
  const runs = access.table("runs")
  return (wanted: ToInsert): Effect.Effect<Run | undefined, StorageError> =>
    Effect.gen(function* () {
      const { lease, now } = wanted
      const started = lease === undefined ? "NULL" : now.text
      const [row] = yield* access.observing(
        access.write<Inserted>(
          opening,
          `INSERT INTO ${runs} (${columns}, due_at, started_at, lease_until)
           VALUES (${values.map(() => "?").join(", ")}, ${now.text} + ?, ${started}, ${now.text} + ?)
           ON CONFLICT (id) DO NOTHING RETURNING key, due_at AS "dueAt"`,
          [
            ...values.map(([, valueOf]) => valueOf(wanted)),
            ...now.params,
            delayOf(wanted),
            ...(lease === undefined ? [] : now.params),
            ...now.params,
            leaseOf(wanted)
          ],
          { idempotent: true, prepared: true }
        ),
        ([row]) => (row === undefined ? undefined : Number(row.dueAt) - delayOf(wanted))
      )
      return row === undefined ? undefined : created(wanted, row)
    })
}

interface Inserted {
  readonly key: unknown
  readonly dueAt: unknown
}

const created = (wanted: ToInsert, { dueAt, key }: Inserted): Run => {
  const { createdAt, lease, request } = wanted
  const now = Number(dueAt) - delayOf(wanted)
  const run =
    lease === undefined
      ? enqueuedRun(request, Number(key), now)
      : newRun(request, Number(key), lease.owner, now + lease.millis, now)
  return { ...run, createdAt }
}

/** In the order of ids, so that two statements that create the same runs cannot wait for each other. */
const insertRuns = (access: ClientAccess) => {
  const runs = access.table("runs")
  const arrays = [...values.map(([type]) => type), "bigint", "bigint"].map((type) => `?::${type}[]`).join(", ")
  return (wanted: ReadonlyArray<ToInsert>): Effect.Effect<ReadonlyArray<Run | undefined>, StorageError> =>
    Effect.gen(function* () {
      const now = wanted[0]?.now ?? (yield* access.now)
      // Of several that create one run, the first does.
      const first = new Map([...wanted].reverse().map((one) => [one.request.id, one]))
      const all = [...first.values()]
      const rows = yield* access.observing(
        access.write<Inserted & { readonly id: string }>(
          opening,
          `INSERT INTO ${runs} (${columns}, due_at, started_at, lease_until)
           SELECT ${columns}, ${now.text} + delay, CASE WHEN owner IS NOT NULL THEN ${now.text} END, ${now.text} + lease
           FROM unnest(${arrays}) AS given (${columns}, delay, lease)
           ORDER BY id COLLATE "C"
           ON CONFLICT (id) DO NOTHING RETURNING key, due_at AS "dueAt", id`,
          [
            ...now.params,
            ...now.params,
            ...now.params,
            ...values.map(([, valueOf]) => all.map((one) => valueOf(one))),
            all.map(delayOf),
            all.map(leaseOf)
          ],
          { idempotent: true }
        ),
        ([row]) => {
          const one = row === undefined ? undefined : first.get(row.id)
          return row === undefined || one === undefined ? undefined : Number(row.dueAt) - delayOf(one)
        }
      )
      const byId = new Map(rows.map((row) => [row.id, row]))
      return wanted.map((one) => {
        const row = byId.get(one.request.id)
        return row === undefined || first.get(one.request.id) !== one ? undefined : created(one, row)
      })
    })
}

const groupedInserts = (access: ClientAccess) =>
  makeGroups<ToInsert, Run | undefined>(access, {
    operation: opening,
    one: insertRun(access),
    several: insertRuns(access)
  })

// ---- outcomes

/** An outcome to record, with its checksum. */
export interface ToFinish {
  readonly lease: Lease
  readonly outcome: Outcome
  readonly checksum: number
}

export const finishing = "Recording an outcome"

/** Records an outcome. False if the lease is not in force any more, or if the run has a parent. */
const finishRun = (access: ClientAccess) => {
  const text = `UPDATE ${access.table("runs")} SET status = ?, exhausted = ?, exit = ?, finished_at = ?,
      outcome_checksum = ?, owner = NULL, lease_until = NULL
    WHERE key = ? AND token = ? AND owner = ? AND status IS NULL AND parent IS NULL RETURNING key`
  return ({ checksum, lease, outcome }: ToFinish): Effect.Effect<boolean, StorageError> =>
    Effect.map(
      access.write(
        finishing,
        text,
        [...storedStatus(outcome), outcome.exit, outcome.at, checksum, lease.key, lease.token, lease.owner],
        { idempotent: true, prepared: true }
      ),
      ({ length }) => length === 1
    )
}

/** Locks the runs in the order of keys, so that two statements that change the same ones cannot wait for each other. */
const finishRuns = (access: ClientAccess) => {
  const runs = access.table("runs")
  const text = `WITH given AS (
      SELECT * FROM unnest(?::bigint[], ?::bigint[], ?::text[], ?::text[], ?::bigint[], ?::text[], ?::bigint[], ?::bigint[])
        AS given (key, token, owner, status, exhausted, exit, finished_at, checksum)
    ), held AS (
      SELECT run.key FROM ${runs} AS run JOIN given ON run.key = given.key
      WHERE run.token = given.token AND run.owner = given.owner AND run.status IS NULL AND run.parent IS NULL
      ORDER BY run.key FOR UPDATE OF run
    )
    UPDATE ${runs} AS run SET status = given.status, exhausted = given.exhausted, exit = given.exit,
      finished_at = given.finished_at, outcome_checksum = given.checksum, owner = NULL, lease_until = NULL
    FROM given JOIN held USING (key) WHERE run.key = given.key RETURNING run.key`
  return (wanted: ReadonlyArray<ToFinish>): Effect.Effect<ReadonlyArray<boolean>, StorageError> => {
    // The first outcome of a run counts.
    const first = new Map([...wanted].reverse().map((one) => [one.lease.key, one]))
    const all = [...first.values()]
    return Effect.map(
      access.write<{ readonly key: unknown }>(
        finishing,
        text,
        [
          all.map(({ lease }) => lease.key),
          all.map(({ lease }) => lease.token),
          all.map(({ lease }) => lease.owner),
          all.map(({ outcome }) => storedStatus(outcome)[0]),
          all.map(({ outcome }) => storedStatus(outcome)[1]),
          all.map(({ outcome }) => outcome.exit),
          all.map(({ outcome }) => outcome.at),
          all.map(({ checksum }) => checksum)
        ],
        { idempotent: true }
      ),
      (rows) => {
        const ended = new Set(rows.map(({ key }) => Number(key)))
        return wanted.map((one) => first.get(one.lease.key) === one && ended.has(one.lease.key))
      }
    )
  }
}

const groupedFinishes = (access: ClientAccess) =>
  makeGroups<ToFinish, boolean>(access, {
    operation: finishing,
    one: finishRun(access),
    several: finishRuns(access)
  })

/** The two writes of a run that every execution makes. On SQLite the access itself lets all writes share a commit. */
export const makeRunWrites = (access: ClientAccess) =>
  access.dialect.name === "pg"
    ? Effect.all({ insert: groupedInserts(access), finish: groupedFinishes(access) })
    : Effect.succeed({ insert: insertRun(access), finish: finishRun(access) })
