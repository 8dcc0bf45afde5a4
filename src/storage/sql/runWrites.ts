import * as Effect from "effect/Effect"
import { runChecksum } from "../checksum.js"
import { newRun } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import type { Lease, OpenRequest, Outcome, Run } from "../Store.js"
import type { ClientAccess, Now } from "./access.js"
import { makeGroups } from "./groups.js"

// ---- new runs

/** A run to create, and the lease that its creator gets. */
export interface ToInsert {
  readonly request: OpenRequest
  readonly owner: string
  readonly leaseMillis: number
  /** The store's clock as its caller reads it: a group is carried out in the background. */
  readonly now: Now
  readonly createdAt: number
}

export const opening = "Opening a run"

const columns = "(id, workflow, version, input, labels, created_at, due_at, token, owner, lease_until, checksum)"

/** Creates a run. `undefined` if there is one with its id. */
const insertRun = (access: ClientAccess) => {
  const runs = access.table("runs")
  return (wanted: ToInsert): Effect.Effect<Run | undefined, StorageError> =>
    Effect.gen(function* () {
      const { createdAt, leaseMillis, now, owner, request } = wanted
      const { id, input, version, workflow } = request
      const labels = JSON.stringify(request.labels)
      const checksum = runChecksum({ id, workflow, version, input, labels, createdAt })
      const [row] = yield* access.observing(
        access.write<Inserted>(
          opening,
          `INSERT INTO ${runs} ${columns}
           VALUES (?, ?, ?, ?, ?, ?, ${now.text}, 1, ?, ${now.text} + ?, ?)
           ON CONFLICT (id) DO NOTHING RETURNING key, due_at AS since`,
          [id, workflow, version, input, labels, createdAt, ...now.params, owner, ...now.params, leaseMillis, checksum],
          { idempotent: true }
        ),
        ([row]) => (row === undefined ? undefined : Number(row.since))
      )
      return row === undefined ? undefined : created(wanted, row)
    })
}

interface Inserted {
  readonly key: unknown
  readonly since: unknown
}

const created = ({ createdAt, leaseMillis, owner, request }: ToInsert, { key, since }: Inserted): Run => ({
  ...newRun(request, Number(key), owner, Number(since) + leaseMillis, Number(since)),
  createdAt
})

/** In the order of ids, so that two statements that create the same runs cannot wait for each other. */
const insertRuns = (access: ClientAccess) => {
  const runs = access.table("runs")
  return (wanted: ReadonlyArray<ToInsert>): Effect.Effect<ReadonlyArray<Run | undefined>, StorageError> =>
    Effect.gen(function* () {
      const now = wanted[0]?.now ?? (yield* access.now)
      const texts = wanted.map(({ request }) => JSON.stringify(request.labels))
      const checksums = wanted.map(({ createdAt, request }, i) =>
        runChecksum({ ...request, labels: texts[i] ?? "", createdAt })
      )
      const rows = yield* access.observing(
        access.write<Inserted & { readonly id: string; readonly owner: string }>(
          opening,
          `INSERT INTO ${runs} ${columns}
           SELECT id, workflow, version, input, labels, created_at, ${now.text}, 1, owner, ${now.text} + lease, checksum
           FROM unnest(?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::bigint[])
             AS given (id, workflow, version, input, labels, owner, lease, checksum, created_at)
           ORDER BY id COLLATE "C"
           ON CONFLICT (id) DO NOTHING RETURNING key, due_at AS since, id, owner`,
          [
            ...now.params,
            ...now.params,
            wanted.map(({ request }) => request.id),
            wanted.map(({ request }) => request.workflow),
            wanted.map(({ request }) => request.version),
            wanted.map(({ request }) => request.input),
            texts,
            wanted.map(({ owner }) => owner),
            wanted.map(({ leaseMillis }) => leaseMillis),
            checksums,
            wanted.map(({ createdAt }) => createdAt)
          ],
          { idempotent: true }
        ),
        ([row]) => (row === undefined ? undefined : Number(row.since))
      )
      const byId = new Map(rows.map((row) => [row.id, row]))
      return wanted.map((one) => {
        const row = byId.get(one.request.id)
        // Of several that create one run, one does.
        return row?.owner === one.owner ? created(one, row) : undefined
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

/** How `exhausted` is stored: the status of a file of the first version has no such word. */
const stored = ({ status }: Outcome): readonly [status: string, exhausted: number | null] =>
  status === "exhausted" ? ["failed", 1] : [status, null]

/** Records an outcome. False if the lease is not in force any more. */
const finishRun = (access: ClientAccess) => {
  const text = `UPDATE ${access.table("runs")} SET status = ?, exhausted = ?, exit = ?, finished_at = ?,
      outcome_checksum = ?, owner = NULL, lease_until = NULL
    WHERE key = ? AND token = ? AND owner = ? AND status IS NULL RETURNING key`
  return ({ checksum, lease, outcome }: ToFinish): Effect.Effect<boolean, StorageError> =>
    Effect.map(
      access.write(
        finishing,
        text,
        [...stored(outcome), outcome.exit, outcome.at, checksum, lease.key, lease.token, lease.owner],
        { idempotent: true }
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
      WHERE run.token = given.token AND run.owner = given.owner AND run.status IS NULL
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
          all.map(({ outcome }) => stored(outcome)[0]),
          all.map(({ outcome }) => stored(outcome)[1]),
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
