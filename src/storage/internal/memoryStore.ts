import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Entry, Lease, Opened, OpenRequest, Outcome, Query, Run, Store } from "../Storage.js"
import { LeaseLost } from "../StorageError.js"
import { makeMemorySnapshots } from "./memorySnapshots.js"
import { statusOf } from "./status.js"

interface Stored {
  run: Run
  readonly journal: Array<Entry>
}

export const makeMemoryStore = (): Store => {
  const byId = new Map<string, Stored>()
  const byKey = new Map<number, Stored>()
  const snapshots = makeMemorySnapshots()

  const create = (request: OpenRequest, owner: string, now: number, leaseMillis: number): Opened => {
    const key = byKey.size + 1
    const run: Run = {
      ...request,
      labels: { ...request.labels },
      key,
      createdAt: now,
      token: 1,
      owner,
      leaseUntil: now + leaseMillis,
      outcome: undefined
    }
    const stored: Stored = { run, journal: [] }
    byId.set(run.id, stored)
    byKey.set(key, stored)
    return { _tag: "Created", run, lease: leaseOf(run, owner) }
  }

  const claim = (stored: Stored, owner: string, now: number, leaseMillis: number): Opened => {
    stored.run = { ...stored.run, token: stored.run.token + 1, owner, leaseUntil: now + leaseMillis }
    return { _tag: "Claimed", run: stored.run, lease: leaseOf(stored.run, owner) }
  }

  const open = (request: OpenRequest, owner: string, now: number, leaseMillis: number): Opened => {
    const stored = byId.get(request.id)
    if (stored === undefined) return create(request, owner, now, leaseMillis)
    const run = stored.run
    if (run.workflow !== request.workflow || run.input !== request.input) return { _tag: "Different", run }
    if (run.outcome !== undefined) return { _tag: "Finished", run }
    if (statusOf(run, now) === "running") return { _tag: "Held", run }
    return claim(stored, owner, now, leaseMillis)
  }

  /** The run, if the lease is the latest and was neither released nor ended by an outcome. */
  const leased = (lease: Lease): Stored | undefined => {
    const stored = byKey.get(lease.key)
    return stored?.run.token === lease.token && stored.run.owner === lease.owner ? stored : undefined
  }

  const finish = (lease: Lease, outcome: Omit<Outcome, "at">, now: number) => {
    const recorded = byKey.get(lease.key)?.run.outcome
    if (recorded !== undefined) return Effect.succeed(recorded)
    const stored = leased(lease)
    if (stored === undefined) return lost(lease)
    const own: Outcome = { ...outcome, at: now }
    stored.run = { ...stored.run, outcome: own, owner: undefined, leaseUntil: undefined }
    return Effect.succeed(own)
  }

  const renew = (lease: Lease, until: number): boolean => {
    const stored = leased(lease)
    if (stored === undefined) return false
    stored.run = { ...stored.run, leaseUntil: until }
    return true
  }

  /** Runs a synchronous write for whoever holds the lease. */
  const fenced = <A>(lease: Lease, write: (stored: Stored) => A) =>
    Effect.suspend(() => {
      const stored = leased(lease)
      return stored === undefined ? lost(lease) : Effect.succeed(write(stored))
    })

  const append = (lease: Lease, entries: ReadonlyArray<Entry>) =>
    fenced(lease, ({ journal }) => {
      for (const entry of entries) journal.push(entry)
    })

  return {
    now: Clock.currentTimeMillis,
    open: (request, owner, leaseMillis) =>
      Effect.map(Clock.currentTimeMillis, (now) => open(request, owner, now, leaseMillis)),
    append,
    // Nothing here survives the process, so there is nothing to commit together.
    transactional: (lease, body) =>
      Effect.flatMap(body, ([value, entries]) => Effect.as(append(lease, entries), value)),
    rewind: (lease, entry, rewound) =>
      fenced(lease, ({ journal, run }) => {
        journal.push(entry)
        snapshots.markRewound(run.id, rewound)
      }),
    reopen: (found, entry, owner, leaseMillis) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const stored = byKey.get(found.key)
        if (stored?.run.outcome === undefined || stored.run.token !== found.token) return Option.none()
        stored.journal.push(entry)
        stored.run = { ...stored.run, outcome: undefined }
        const opened = claim(stored, owner, now, leaseMillis)
        return "lease" in opened ? Option.some(opened.lease) : Option.none()
      }),
    save: (snapshot, { after, entry, lease }) =>
      Effect.suspend(() => {
        const stored = lease === undefined ? undefined : leased(lease)
        if (lease !== undefined && stored === undefined) return lost(lease)
        const key = snapshots.save(snapshot, after)
        if (key !== undefined && entry !== undefined) stored?.journal.push(entry(key))
        return Effect.succeed(Option.fromNullable(key))
      }),
    snapshots: (query) => Effect.sync(() => snapshots.list(query).map(({ state: _, ...snapshot }) => snapshot)),
    newest: (query) => Effect.sync(() => Option.fromNullable(snapshots.list({ ...query, limit: 1 })[0])),
    snapshot: (key) => Effect.sync(() => Option.fromNullable(snapshots.get(key))),
    remove: (keys) => Effect.sync(() => snapshots.remove(keys)),
    finish: (lease, outcome) => Effect.flatMap(Clock.currentTimeMillis, (now) => finish(lease, outcome, now)),
    renew: (leases, leaseMillis) =>
      Effect.map(Clock.currentTimeMillis, (now) => leases.filter((lease) => !renew(lease, now + leaseMillis))),
    release: (run, owner) =>
      Effect.sync(() => {
        const stored = byId.get(run)
        if (stored?.run.owner === owner) stored.run = { ...stored.run, owner: undefined, leaseUntil: undefined }
      }),
    find: (id) => Effect.sync(() => Option.map(Option.fromNullable(byId.get(id)), ({ run }) => run)),
    journal: (key) => Effect.sync(() => [...(byKey.get(key)?.journal ?? [])]),
    list: (query) => Effect.map(Clock.currentTimeMillis, (now) => list([...byKey.values()], query, now))
  }
}

const leaseOf = (run: Run, owner: string): Lease => ({ key: run.key, run: run.id, token: run.token, owner })

const lost = (lease: Lease) => Effect.fail(new LeaseLost({ run: lease.run, token: lease.token }))

const list = (all: ReadonlyArray<Stored>, query: Query, now: number): ReadonlyArray<Run> =>
  all
    .map(({ run }) => run)
    .filter((run) => query.workflow === undefined || run.workflow === query.workflow)
    .filter((run) => query.status === undefined || statusOf(run, now) === query.status)
    .filter((run) => query.before === undefined || run.key < query.before)
    .reverse()
    .slice(0, query.limit ?? 100)
