import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { statusOf } from "../internal/status.js"
import type { Entry, Lease, Opened, OpenRequest, Outcome, Query, Run, Store } from "../Storage.js"
import { LeaseLost, type StorageError } from "../StorageError.js"
import type { Database } from "./driver.js"
import { prepareStatements } from "./statements.js"
import type { Writer } from "./writer.js"

export interface Options {
  readonly database: Database
  readonly writer: Writer
  /** Whether the process behind an owner is known to be gone, so that its leases need not run out. */
  readonly isGone: (owner: string) => boolean
}

/**
 * The store over one connection. Every operation is one synchronous job, so
 * nothing can come between its statements, and jobs that wait together share
 * a commit.
 *
 * The clock is the host's: SQLite has none of its own, and all processes on
 * one file share the host.
 */
export const makeSqliteStore = ({ database, isGone, writer }: Options): Store => {
  const sql = prepareStatements(database)

  /** The leases given out and not ended, by owner: with one of them, no write can hope for company. */
  const leases = new Set<string>()

  const write = <A>(operation: string, job: (now: number) => A, alone: boolean): Effect.Effect<A, StorageError> =>
    Effect.clockWith((clock) => writer.write(operation, () => job(clock.unsafeCurrentTimeMillis()), alone))

  const open = (request: OpenRequest, owner: string, leaseMillis: number, now: number): Opened => {
    const { id, input, labels, version, workflow } = request
    const until = now + leaseMillis
    const inserted = sql.insertRun.run(id, workflow, version, input, JSON.stringify(labels), now, owner, until)
    if (inserted.changes === 1) {
      const key = Number(inserted.lastInsertRowid)
      const run: Run = { ...request, key, createdAt: now, token: 1, owner, leaseUntil: until, outcome: undefined }
      return { _tag: "Created", run, lease: leaseOf(run, owner) }
    }
    const run = toRun(sql.findRun.get(id) as RunRow)
    if (run.workflow !== workflow || run.input !== input) return { _tag: "Different", run }
    if (run.outcome !== undefined) return { _tag: "Finished", run }
    const held = statusOf(run, now) === "running" && run.owner !== undefined && !isGone(run.owner)
    return held ? { _tag: "Held", run } : claim(run, owner, until)
  }

  const claim = (stopped: Run, owner: string, leaseUntil: number): Opened => {
    const run: Run = { ...stopped, token: stopped.token + 1, owner, leaseUntil }
    sql.claimRun.run(run.token, owner, leaseUntil, run.key)
    return { _tag: "Claimed", run, lease: leaseOf(run, owner) }
  }

  /** The recorded outcome, or nothing if the lease was taken over and there is none yet. */
  const finish = (lease: Lease, outcome: Omit<Outcome, "at">, now: number): Outcome | undefined => {
    const finished = sql.finishRun.run(outcome.status, outcome.exit, now, lease.key, lease.token, lease.owner)
    if (finished.changes === 1) return { ...outcome, at: now }
    return toRun(sql.findRun.get(lease.run) as RunRow).outcome
  }

  const append = (lease: Lease, { at, attempt, kind, payload, seq, step }: Entry): boolean =>
    sql.append.run(seq, kind, step, attempt, at, payload, lease.key, lease.token, lease.owner).changes === 1

  const lost = (lease: Lease) => new LeaseLost({ run: lease.run, token: lease.token })

  return {
    now: Clock.currentTimeMillis,
    open: (request, owner, leaseMillis) =>
      Effect.suspend(() =>
        Effect.tap(
          write("Opening a run", (now) => open(request, owner, leaseMillis, now), leases.size === 0),
          ({ _tag }) => {
            if (_tag === "Created" || _tag === "Claimed") leases.add(owner)
          }
        )
      ),
    append: (lease, entry) =>
      Effect.flatMap(
        writer.write("Appending to the journal", () => append(lease, entry), leases.size <= 1),
        (appended) => (appended ? Effect.void : Effect.fail(lost(lease)))
      ),
    finish: (lease, outcome) =>
      Effect.flatMap(
        write("Recording an outcome", (now) => finish(lease, outcome, now), leases.size <= 1),
        (recorded) => {
          leases.delete(lease.owner)
          return recorded === undefined ? Effect.fail(lost(lease)) : Effect.succeed(recorded)
        }
      ),
    renew: (held, leaseMillis) =>
      write(
        "Renewing leases",
        (now) =>
          held.filter(
            (lease) => sql.renewLease.run(now + leaseMillis, lease.key, lease.token, lease.owner).changes === 0
          ),
        false
      ),
    release: (run, owner) =>
      Effect.suspend(() => {
        leases.delete(owner)
        return Effect.asVoid(writer.write("Releasing a lease", () => sql.releaseLease.run(run, owner)))
      }),
    find: (id) =>
      writer.read("Finding a run", () =>
        Option.map(Option.fromNullable(sql.findRun.get(id) as RunRow | undefined), toRun)
      ),
    journal: (key) =>
      writer.read("Reading a journal", () => (sql.journal.all(key) as ReadonlyArray<EntryRow>).map(toEntry)),
    list: (query) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        writer.read("Listing runs", () => (sql.list.all(listParams(query, now)) as ReadonlyArray<RunRow>).map(toRun))
      )
  }
}

const leaseOf = (run: Run, owner: string): Lease => ({ key: run.key, run: run.id, token: run.token, owner })

const listParams = (query: Query, now: number) => ({
  workflow: query.workflow ?? null,
  status: query.status ?? null,
  before: query.before ?? null,
  limit: query.limit ?? 100,
  now
})

interface RunRow {
  readonly key: number
  readonly id: string
  readonly workflow: string
  readonly version: string
  readonly input: string
  readonly labels: string
  readonly created_at: number
  readonly token: number
  readonly owner: string | null
  readonly lease_until: number | null
  readonly status: "completed" | "failed" | null
  readonly exit: string | null
  readonly finished_at: number | null
}

const toRun = (row: RunRow): Run => ({
  key: row.key,
  id: row.id,
  workflow: row.workflow,
  version: row.version,
  input: row.input,
  labels: toLabels(row.labels),
  createdAt: row.created_at,
  token: row.token,
  owner: row.owner ?? undefined,
  leaseUntil: row.lease_until ?? undefined,
  outcome: row.status === null ? undefined : { status: row.status, exit: row.exit ?? "", at: row.finished_at ?? 0 }
})

/** Labels describe and decide nothing, so damaged ones must not keep a run from going on. */
const toLabels = (text: string): Readonly<Record<string, string>> => {
  try {
    return JSON.parse(text)
  } catch {
    return { damaged: text }
  }
}

interface EntryRow {
  readonly seq: number
  readonly kind: string
  readonly step: string
  readonly attempt: number
  readonly at: number
  readonly payload: string | null
}

const toEntry = (row: EntryRow): Entry => ({ ...row, payload: row.payload ?? undefined })
