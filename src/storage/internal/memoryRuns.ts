import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import {
  claimedRun,
  dueSince,
  enqueuedRun,
  isListed,
  isReplaceable,
  isWaitingFor,
  leaseLost,
  leaseOf,
  limitOf,
  newRun,
  type Plain,
  refusal,
  statusOf
} from "../rows.js"
import type { LeaseLost } from "../StorageError.js"
import * as Store from "../Store.js"
import { isInShards, isPlacedLease, ownersOf } from "../shards.js"
import { restoredRun } from "../storedRows.js"
import { claimDue } from "./memoryClaims.js"
import { makeMemoryControls } from "./memoryControls.js"
import type { SnapshotTable } from "./memorySnapshots.js"
import { makeMemoryTransactional } from "./memoryTransactional.js"

export interface StoredRun {
  run: Store.Run
  /** Transactions of the program that commit now. No other owner gets the run until they have. */
  commits: number
  readonly journal: Array<Store.Entry>
  readonly signals: Array<Store.Signal>
  /** A run may have thousands, and each new one is compared with them. */
  readonly signalKeys: Set<string>
}

/** Runs with their journals and signals. */
export class RunTable {
  readonly byId = new Map<string, StoredRun>()
  readonly byKey = new Map<number, StoredRun>()
  /** The runs without an outcome. */
  readonly open = new Set<StoredRun>()
  readonly listeners = new Set<(change: Store.Change) => void>()
  private lastKey = 0

  openRun(request: Store.OpenRequest, owner: string, leaseUntil: number, now: number): Store.Opened {
    const stored = request.key === undefined ? this.byId.get(request.id) : this.byKey.get(request.key)
    if (stored === undefined && request.key !== undefined) return { _tag: "Gone" }
    if (stored !== undefined) {
      const leased: Store.Opened | undefined = stored.commits === 0 ? undefined : { _tag: "Leased", run: stored.run }
      return (
        refusal(stored.run, request, now) ??
        leased ?? { ...claim(stored, owner, leaseUntil, now, request.isVisit), _tag: "Claimed" }
      )
    }
    const run = newRun(request, ++this.lastKey, owner, leaseUntil, now)
    this.add(run)
    return { _tag: "Created", run, lease: leaseOf(run, owner) }
  }

  enqueue(request: Store.EnqueueRequest, now: number): Store.Enqueued {
    const { debounce, delay = 0, id, input } = request
    const stored = this.byId.get(id)
    if (stored === undefined) {
      const run = enqueuedRun(request, ++this.lastKey, now)
      this.add(run)
      this.changed(id, delay <= 0)
      return { _tag: "Created", run }
    }
    if (debounce !== true || !isReplaceable(stored.run, request)) return { _tag: "Existing", run: stored.run }
    stored.run = { ...stored.run, input, dueAt: now + delay }
    this.changed(id, delay <= 0)
    return { _tag: "Replaced", run: stored.run }
  }

  private add(run: Store.Run): void {
    const stored: StoredRun = { run, commits: 0, journal: [], signals: [], signalKeys: new Set() }
    this.byId.set(run.id, stored)
    this.byKey.set(run.key, stored)
    this.open.add(stored)
  }

  /** Adds a run of another store. */
  restoreRun({ journal, run, signals }: Extract<Store.StoredRow, { readonly _tag: "Run" }>): void {
    const stored: StoredRun = {
      run: restoredRun(run, ++this.lastKey, signals.length),
      commits: 0,
      journal: [...journal],
      signals: [...signals],
      signalKeys: new Set(signals.map(({ key }) => key))
    }
    this.byId.set(run.id, stored)
    this.byKey.set(stored.run.key, stored)
    if (run.outcome === undefined) this.open.add(stored)
    this.changed(run.id, run.outcome === undefined)
  }

  /** The run, if the lease is its latest and was not ended. */
  leased(lease: Store.Lease): StoredRun | undefined {
    const stored = this.byKey.get(lease.key)
    return stored?.run.token === lease.token && stored.run.owner === lease.owner ? stored : undefined
  }

  /** Runs a synchronous write if the lease is in force. */
  fenced<A extends Plain>(lease: Store.Lease, write: (stored: StoredRun) => A): Effect.Effect<A, LeaseLost> {
    return Effect.suspend(() => {
      const stored = this.leased(lease)
      return stored === undefined ? leaseLost(lease) : Effect.succeed(write(stored))
    })
  }

  /** Adds lines at their places: another fiber may have appended later ones meanwhile. */
  insert({ journal }: StoredRun, entries: ReadonlyArray<Store.Entry>): void {
    for (const entry of entries) journal.splice(journal.findLastIndex(({ seq }) => seq < entry.seq) + 1, 0, entry)
  }

  /** Records the outcome of a run that has none, and tells the parent. */
  end(stored: StoredRun, given: Omit<Store.Outcome, "at">, at: number): Store.Outcome {
    const outcome = { ...given, at }
    stored.run = { ...stored.run, ...noLease, waiting: undefined, outcome }
    this.open.delete(stored)
    this.changed(stored.run.id, false)
    const { parent } = stored.run
    if (parent !== undefined) this.signal(parent.run, parent.signal, "{}", at)
    return outcome
  }

  signal(id: string, key: string, payload: string, now: number): Store.Signalled {
    const stored = this.byId.get(id)
    if (stored === undefined) return "Unknown"
    if (stored.run.outcome !== undefined) return "Finished"
    if (stored.signalKeys.has(key)) return "Taken"
    stored.signalKeys.add(key)
    stored.signals.push({ key, payload, at: now })
    stored.run = { ...stored.run, dueAt: Math.min(stored.run.dueAt, now), signals: stored.signals.length }
    this.changed(id, true)
    return "Sent"
  }

  changed(run: string, isDue: boolean): void {
    for (const listener of this.listeners) listener({ run, isDue })
  }

  /** All runs, oldest first. */
  get runs(): ReadonlyArray<Store.Run> {
    return [...this.byKey.values()].map(({ run }) => run)
  }

  get usage() {
    const entries = [...this.byKey.values()].flatMap(({ journal }) => journal)
    const texts = [...this.runs.map(({ input }) => input), ...entries.map(({ payload }) => payload ?? "")]
    const bytes = texts.reduce((sum, text) => sum + text.length, 0)
    return { runs: this.byKey.size, lines: entries.length, bytes }
  }
}

const claim = (stored: StoredRun, owner: string, leaseUntil: number, now: number, isVisit?: boolean) => {
  stored.run = claimedRun(stored.run, owner, leaseUntil, now, isVisit)
  return { run: stored.run, lease: leaseOf(stored.run, owner) }
}

const noLease = { owner: undefined, leaseUntil: undefined }

const timed = <A extends Plain>(operation: (now: number) => A) => Effect.map(Clock.currentTimeMillis, operation)

export const makeMemoryRuns = (table: RunTable, snapshots: SnapshotTable): Store.RunStore => {
  const remove = (key: number): boolean => {
    const run = table.byKey.get(key)?.run
    if (run?.outcome === undefined) return false
    snapshots.removeOf(run.id)
    return table.byKey.delete(key) && table.byId.delete(run.id)
  }
  return {
    ...leaseOperations(table),
    ...journalOperations(table, snapshots),
    ...signalOperations(table),
    ...makeMemoryControls(table),
    ...queryOperations(table),
    removeRuns: (keys) => Effect.sync(() => keys.filter(remove).length)
  }
}

const leaseOperations = (table: RunTable) => {
  const renew = (lease: Store.Lease, leaseUntil: number): boolean => {
    const stored = table.leased(lease)
    if (stored !== undefined) stored.run = { ...stored.run, leaseUntil }
    return stored !== undefined
  }
  const finish = (
    lease: Store.Lease,
    given: Omit<Store.Outcome, "at">,
    now: number
  ): Effect.Effect<Store.Outcome, LeaseLost> => {
    const recorded = table.byKey.get(lease.key)?.run.outcome
    if (recorded !== undefined) return Effect.succeed(recorded)
    return table.fenced(lease, (stored) => table.end(stored, given, now))
  }
  const end = (stored: StoredRun): void => {
    stored.run = { ...stored.run, ...noLease }
    table.changed(stored.run.id, true)
  }
  const endPlaced = (leases: Store.PlacedLeases, now: number): number => {
    const isOurs = isInShards(leases)
    const isToEnd = ({ id, leaseUntil = 0, owner }: Store.Run) =>
      owner !== undefined &&
      leaseUntil > now &&
      isPlacedLease(owner) &&
      !owner.startsWith(ownersOf(leases.by)) &&
      isOurs(id)
    const found = [...table.open].filter(({ run }) => isToEnd(run))
    for (const stored of found) stored.run = { ...stored.run, leaseUntil: now }
    return found.length
  }
  return {
    open: (request, owner, leaseMillis) => timed((now) => table.openRun(request, owner, now + leaseMillis, now)),
    claimDue: (query, owner, leaseMillis) => timed((now) => claimDue(table, query, owner, now + leaseMillis, now)),
    enqueue: (request) => timed((now) => table.enqueue(request, now)),
    reopen: (found, entry, owner, leaseMillis, heldAs) =>
      timed((now) => {
        const stored = table.byKey.get(found.key)
        if (stored?.run.outcome === undefined || stored.run.token !== found.token) return Option.none()
        if (stored.run.hold !== undefined && stored.run.hold.id !== heldAs) return Option.none()
        stored.journal.push(entry)
        stored.run = { ...stored.run, outcome: undefined, cancel: undefined }
        table.open.add(stored)
        return Option.some(claim(stored, owner, now + leaseMillis, now).lease)
      }),
    renew: (leases, leaseMillis) => timed((now) => leases.filter((lease) => !renew(lease, now + leaseMillis))),
    release: (owner, run) =>
      Effect.sync(() => {
        const candidates = run === undefined ? [...table.open] : [table.byId.get(run)]
        for (const stored of candidates) if (stored?.run.owner === owner) end(stored)
      }),
    endPlacedLeases: (leases) => timed((now) => endPlaced(leases, now)),
    suspend: (lease, { dueAt, signals, waiting }) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        table.fenced(lease, (stored) => {
          const due = stored.run.signals > signals || stored.run.cancel !== undefined ? now : dueAt
          stored.run = { ...stored.run, ...noLease, dueAt: due, waiting }
          table.changed(lease.run, due <= now)
        })
      ),
    finish: (lease, outcome) => Effect.flatMap(Clock.currentTimeMillis, (now) => finish(lease, outcome, now))
  } satisfies Partial<Store.RunStore>
}

const journalOperations = (table: RunTable, snapshots: SnapshotTable) => {
  const append: Store.RunStore["append"] = (lease, entries) =>
    table.fenced(lease, ({ journal }) => {
      for (const entry of entries) journal.push(entry)
    })
  const journalOf = (key: number): ReadonlyArray<Store.Entry> => table.byKey.get(key)?.journal ?? []
  return {
    append,
    transactional: makeMemoryTransactional(table),
    rewind: (lease, entry, rewound) =>
      table.fenced(lease, ({ journal, run }) => {
        journal.push(entry)
        snapshots.markRewound(run.id, rewound)
      }),
    journal: (key, longest) => Effect.sync(() => journalOf(key).map((entry) => shorten(entry, longest))),
    payload: (key, seq) => Effect.sync(() => journalOf(key).find((entry) => entry.seq === seq)?.payload)
  } satisfies Partial<Store.RunStore>
}

const shorten = (entry: Store.Entry, longest: number | undefined): Store.Entry =>
  longest === undefined || (entry.payload?.length ?? 0) <= longest
    ? entry
    : { ...entry, payload: undefined, omitted: true }

const signalOperations = (table: RunTable) =>
  ({
    signal: (run, key, payload) => timed((now) => table.signal(run, key, payload, now)),
    signals: (key, skip) => Effect.sync(() => table.byKey.get(key)?.signals.slice(skip) ?? [])
  }) satisfies Partial<Store.RunStore>

const queryOperations = (table: RunTable) =>
  ({
    backlog: timed((now) => backlog(unleased(table, now), now)),
    find: (id) => Effect.sync(() => Option.map(Option.fromNullable(table.byId.get(id)), ({ run }) => run)),
    list: (query) => timed((now) => list(table.runs, query, now)),
    countRuns: timed((now) => countRuns(table.runs, now))
  }) satisfies Partial<Store.RunStore>

const unleased = (table: RunTable, now: number): ReadonlyArray<Store.Run> =>
  [...table.open].map(({ run }) => run).filter((run) => statusOf(run, now) !== "running")

const list = (runs: ReadonlyArray<Store.Run>, query: Store.Query, now: number): ReadonlyArray<Store.Run> =>
  runs
    .filter((run) => isListed(run, query))
    .filter((run) => query.status === undefined || statusOf(run, now) === query.status)
    .filter((run) => query.waitsFor === undefined || isWaitingFor(run, query.waitsFor))
    .filter((run) => query.before === undefined || run.key < query.before)
    .reverse()
    .slice(0, limitOf(query))

const countRuns = (runs: ReadonlyArray<Store.Run>, now: number): ReadonlyArray<Store.RunCount> =>
  groupRuns(runs, (run) => [run.workflow, statusOf(run, now)]).map((group) => {
    const { workflow } = group[0]
    const oldest = group.reduce((time, { createdAt }) => Math.min(time, createdAt), Number.POSITIVE_INFINITY)
    const newest = group.reduce((time, { createdAt }) => Math.max(time, createdAt), 0)
    return { workflow, status: statusOf(group[0], now), runs: group.length, oldest, newest }
  })

const backlog = (open: ReadonlyArray<Store.Run>, now: number): ReadonlyArray<Store.Backlog> =>
  groupRuns(open, ({ version, workflow }) => [workflow, version]).map((group) => {
    const { version, workflow } = group[0]
    const free = group.filter(({ hold }) => hold === undefined)
    const due = free.filter(({ dueAt }) => dueAt <= now)
    const times = free.flatMap(({ dueAt }) => (dueAt > now && dueAt < Store.untilSignalled ? [dueAt] : []))
    const next = times.length === 0 ? undefined : times.reduce((first, time) => Math.min(first, time))
    const oldest = due.length === 0 ? undefined : due.reduce((time, run) => Math.min(time, dueSince(run)), now)
    return {
      workflow,
      version,
      due: due.length,
      waiting: free.length - due.length,
      held: group.length - free.length,
      oldest,
      next
    }
  })

const groupRuns = (runs: ReadonlyArray<Store.Run>, keyOf: (run: Store.Run) => ReadonlyArray<string>) =>
  Object.values(Arr.groupBy(runs, (run) => JSON.stringify(keyOf(run))))
