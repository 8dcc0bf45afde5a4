import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type {
  Backlog,
  DueQuery,
  Entry,
  Lease,
  Opened,
  OpenRequest,
  Outcome,
  Query,
  Run,
  RunCount,
  Signal,
  Signalled,
  Store,
  Suspension,
  Usage
} from "../Storage.js"
import { LeaseLost } from "../StorageError.js"
import { makeMemoryLocks } from "./memoryLocks.js"
import { makeMemoryRecords } from "./memoryRecords.js"
import { makeMemorySnapshots } from "./memorySnapshots.js"
import { dueSince, statusOf } from "./status.js"

interface Stored {
  run: Run
  readonly journal: Array<Entry>
  readonly signals: Array<Signal>
}

export const makeMemoryStore = (): Store => {
  const byId = new Map<string, Stored>()
  const byKey = new Map<number, Stored>()
  const snapshots = makeMemorySnapshots()
  const locks = makeMemoryLocks()
  const records = makeMemoryRecords()
  let lastKey = 0

  const create = (request: OpenRequest, owner: string, now: number, leaseMillis: number): Opened => {
    const key = ++lastKey
    const { id, input, version, workflow } = request
    const run: Run = {
      id,
      workflow,
      version,
      input,
      labels: { ...request.labels },
      key,
      createdAt: now,
      token: 1,
      owner,
      leaseUntil: now + leaseMillis,
      dueAt: now,
      waiting: undefined,
      outcome: undefined
    }
    const stored: Stored = { run, journal: [], signals: [] }
    byId.set(run.id, stored)
    byKey.set(key, stored)
    return { _tag: "Created", run, lease: leaseOf(run, owner) }
  }

  const claim = (stored: Stored, owner: string, now: number, leaseMillis: number): Opened => {
    const token = stored.run.token + 1
    stored.run = {
      ...stored.run,
      token,
      owner,
      leaseUntil: now + leaseMillis,
      dueAt: Math.min(stored.run.dueAt, now),
      waiting: undefined
    }
    return { _tag: "Claimed", run: stored.run, lease: leaseOf(stored.run, owner) }
  }

  const open = (request: OpenRequest, owner: string, now: number, leaseMillis: number): Opened => {
    const stored = byId.get(request.id)
    if (stored === undefined) return create(request, owner, now, leaseMillis)
    const run = stored.run
    if (run.workflow !== request.workflow || run.input !== request.input) return { _tag: "Different", run }
    if (run.outcome !== undefined) return { _tag: "Finished", run }
    if (statusOf(run, now) === "running") return { _tag: "Held", run }
    if (isLeft(request, run, now)) return { _tag: "Waiting", run }
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

  const signal = (id: string, key: string, payload: string, now: number): Signalled => {
    const stored = byId.get(id)
    if (stored === undefined) return "Unknown"
    if (stored.run.outcome !== undefined) return "Finished"
    if (stored.signals.some((known) => known.key === key)) return "Taken"
    stored.signals.push({ key, payload, at: now })
    stored.run = { ...stored.run, dueAt: Math.min(stored.run.dueAt, now) }
    return "Sent"
  }

  const suspend = (lease: Lease, { dueAt, signals, waiting }: Suspension, now: number) =>
    fenced(lease, (stored) => {
      const due = stored.signals.length > signals ? now : dueAt
      stored.run = { ...stored.run, owner: undefined, leaseUntil: undefined, dueAt: due, waiting }
    })

  const remove = (key: number): boolean => {
    const stored = byKey.get(key)
    if (stored?.run.outcome === undefined) return false
    const { id } = stored.run
    snapshots.remove(snapshots.list({ run: id, rewound: true, limit: Number.MAX_SAFE_INTEGER }).map((one) => one.key))
    return byKey.delete(key) && byId.delete(id)
  }

  return {
    now: Clock.currentTimeMillis,
    suspend: (lease, suspension) => Effect.flatMap(Clock.currentTimeMillis, (now) => suspend(lease, suspension, now)),
    signal: (run, key, payload) => Effect.map(Clock.currentTimeMillis, (now) => signal(run, key, payload, now)),
    signals: (key) => Effect.sync(() => [...(byKey.get(key)?.signals ?? [])]),
    due: (query) => Effect.map(Clock.currentTimeMillis, (now) => due(openRuns(byKey, now), query, now)),
    backlog: Effect.map(Clock.currentTimeMillis, (now) => backlogOf(openRuns(byKey, now), now)),
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
    journal: (key, longest) =>
      Effect.sync(() => (byKey.get(key)?.journal ?? []).map((entry) => shorten(entry, longest))),
    payload: (key, seq) => Effect.sync(() => byKey.get(key)?.journal.find((entry) => entry.seq === seq)?.payload),
    lock: (name, owner, leaseMillis) =>
      Effect.map(Clock.currentTimeMillis, (now) => locks.lock(name, owner, now, leaseMillis)),
    renewLock: (lease, leaseMillis) =>
      Effect.map(Clock.currentTimeMillis, (now) => locks.renew(lease, now + leaseMillis)),
    unlock: (name, owner) => Effect.map(Clock.currentTimeMillis, (now) => locks.unlock(name, owner, now)),
    findLock: (name) => Effect.sync(() => Option.fromNullable(locks.find(name))),
    locks: Effect.sync(locks.list),
    removeLocks: (unusedSince) => Effect.map(Clock.currentTimeMillis, (now) => locks.remove(unusedSince, now)),
    write: (record, counts) =>
      Effect.map(Clock.currentTimeMillis, (now) => Option.fromNullable(records.write(record, counts, now))),
    findRecord: (kind, id) => Effect.sync(() => Option.fromNullable(records.find(kind, id))),
    records: (query) => Effect.sync(() => records.list(query)),
    removeRecords: (keys) => Effect.sync(() => records.remove(keys)),
    count: (counts) => Effect.sync(() => records.count(counts)),
    counters: (prefix) => Effect.sync(() => records.counters(prefix)),
    removeRuns: (keys) => Effect.sync(() => keys.filter(remove).length),
    usage: Effect.sync(() => usageOf([...byKey.values()], snapshots.usage(), records.usage())),
    countRuns: Effect.map(Clock.currentTimeMillis, (now) => countsOf([...byKey.values()], now)),
    list: (query) => Effect.map(Clock.currentTimeMillis, (now) => list([...byKey.values()], query, now))
  }
}

const isLeft = ({ only }: OpenRequest, { dueAt }: Run, now: number): boolean =>
  only === "new" || (only === "due" && dueAt > now)

const usageOf = (
  all: ReadonlyArray<Stored>,
  snapshots: Pick<Usage, "bytes" | "snapshots">,
  records: Pick<Usage, "bytes" | "records">
): Usage => {
  const entries = all.flatMap(({ journal }) => journal)
  const texts = [...all.map(({ run }) => run.input), ...entries.map(({ payload }) => payload ?? "")]
  const bytes = texts.reduce((sum, text) => sum + text.length, snapshots.bytes + records.bytes)
  return { ...snapshots, ...records, bytes, runs: all.length, lines: entries.length }
}

const countsOf = (all: ReadonlyArray<Stored>, now: number): ReadonlyArray<RunCount> => {
  const groups = new Map<string, RunCount>()
  for (const { run } of all) {
    const { createdAt, workflow } = run
    const status = statusOf(run, now)
    const name = JSON.stringify([workflow, status])
    const known = groups.get(name) ?? { workflow, status, runs: 0, oldest: createdAt, newest: createdAt }
    const oldest = Math.min(known.oldest, createdAt)
    groups.set(name, { ...known, runs: known.runs + 1, oldest, newest: Math.max(known.newest, createdAt) })
  }
  return [...groups.values()]
}

const shorten = (entry: Entry, longest: number | undefined): Entry =>
  longest === undefined || (entry.payload?.length ?? 0) <= longest
    ? entry
    : { ...entry, payload: undefined, omitted: true }

/** Without an outcome, and nobody advances them. */
const openRuns = (byKey: ReadonlyMap<number, Stored>, now: number): ReadonlyArray<Run> =>
  [...byKey.values()]
    .map(({ run }) => run)
    .filter((run) => run.outcome === undefined && statusOf(run, now) !== "running")

const due = (open: ReadonlyArray<Run>, { limit, version, workflow }: DueQuery, now: number): ReadonlyArray<Run> =>
  open
    .filter((run) => run.workflow === workflow && run.version === version && run.dueAt <= now)
    .sort((a, b) => a.dueAt - b.dueAt)
    .slice(0, limit)

const backlogOf = (open: ReadonlyArray<Run>, now: number): ReadonlyArray<Backlog> => {
  const groups = new Map<string, Backlog>()
  for (const run of open) {
    const { version, workflow } = run
    const name = JSON.stringify([workflow, version])
    const known = groups.get(name) ?? { workflow, version, due: 0, waiting: 0, oldest: undefined }
    groups.set(
      name,
      run.dueAt <= now
        ? { ...known, due: known.due + 1, oldest: Math.min(known.oldest ?? now, dueSince(run)) }
        : { ...known, waiting: known.waiting + 1 }
    )
  }
  return [...groups.values()]
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
