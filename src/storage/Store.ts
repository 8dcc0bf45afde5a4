/**
 * What a storage backend implements: `Store`, plain operations over strings and
 * bytes, in four parts (runs, snapshots, locks, records). `Storage.make` builds
 * the service that programs use over any of them.
 *
 * All times are epoch milliseconds of the store's clock.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { LeaseLost, StorageError } from "./StorageError.js"

/**
 * One run as it is stored. Texts are JSON.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Run {
  /** The store's own number of the run. It never changes. */
  readonly key: number
  readonly id: string
  readonly workflow: string
  readonly version: string
  readonly input: string
  readonly labels: Readonly<Record<string, string>>
  readonly createdAt: number
  /** The fencing token of the latest lease; the first lease has 1. */
  readonly token: number
  /** The owner of the lease; `undefined` if the run is not leased. */
  readonly owner: string | undefined
  readonly leaseUntil: number | undefined
  /** When a worker may advance the run; `untilSignalled` if only a signal makes it due. */
  readonly dueAt: number
  /** What the run waits for, as its process recorded it. */
  readonly waiting: string | undefined
  readonly outcome: Outcome | undefined
}

/**
 * The due time of a run that only a signal makes due.
 *
 * @since 0.1.0
 * @category runs
 */
export const untilSignalled: number = Number.MAX_SAFE_INTEGER

/**
 * @since 0.1.0
 * @category runs
 */
export interface Outcome {
  readonly status: "completed" | "failed"
  readonly exit: string
  readonly at: number
}

/**
 * The status of a run: `suspended` if it waits for a time or a signal, or was
 * postponed because its executions keep stopping; `stopped` if it could be
 * advanced now and no process holds its lease.
 *
 * @since 0.1.0
 * @category runs
 */
export type Status = "running" | "suspended" | "stopped" | "completed" | "failed"

/**
 * One line of a run's journal. The store does not interpret it.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Entry {
  /** Its position in the journal of its run. Numbers rise and may have gaps. */
  readonly seq: number
  readonly kind: string
  readonly step: string
  readonly attempt: number
  readonly at: number
  readonly payload: string | undefined
  /** The payload is longer than the reader asked for; `payload` fetches it. */
  readonly omitted?: true | undefined
}

/**
 * A message to a run. The store does not interpret it.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Signal {
  /** What the signal answers. The first signal of a key wins. */
  readonly key: string
  readonly payload: string
  readonly at: number
}

/**
 * The result of sending a signal: `Taken` if the run has a signal of this key.
 *
 * @since 0.1.0
 * @category runs
 */
export type Signalled = "Sent" | "Taken" | "Finished" | "Unknown"

/**
 * How a process leaves a run that waits.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Suspension {
  /** When the run is due without a signal. */
  readonly dueAt: number
  /** What the run waits for, JSON; `undefined` if it was only interrupted. */
  readonly waiting?: string | undefined
  /** How many signals the run has read. If more are stored, it is due at once. */
  readonly signals: number
}

/**
 * The right to advance a run. Each acquisition has a higher token than the one before.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Lease {
  readonly key: number
  readonly run: string
  readonly token: number
  /** Unique to this acquisition. */
  readonly owner: string
}

/**
 * @since 0.1.0
 * @category runs
 */
export interface OpenRequest {
  readonly id: string
  readonly workflow: string
  readonly version: string
  readonly input: string
  readonly labels: Readonly<Record<string, string>>
  /** Claims only a run that is `due`, or only creates a `new` one. Defaults to either. */
  readonly only?: "due" | "new" | undefined
}

/**
 * What `open` found, and whether the caller may advance the run:
 *
 * - `Created`: the run is new and leased to the caller
 * - `Claimed`: the run had stopped and is leased to the caller
 * - `Held`: another owner holds the lease
 * - `Finished`: the run has an outcome
 * - `Waiting`: the run is not due or not new, and `only` asked for that
 * - `Different`: the run belongs to another workflow or input; nothing changed
 *
 * @since 0.1.0
 * @category runs
 */
export type Opened =
  | { readonly _tag: "Created" | "Claimed"; readonly run: Run; readonly lease: Lease }
  | { readonly _tag: "Held"; readonly run: Run }
  | { readonly _tag: "Waiting"; readonly run: Run }
  | { readonly _tag: "Finished"; readonly run: Run }
  | { readonly _tag: "Different"; readonly run: Run }

/**
 * Which part of the journal a rewind revokes: the lines after `after` of steps
 * whose key begins with `within`.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Rewound {
  readonly after: number
  readonly within: string
}

/**
 * Which due runs to find, oldest first.
 *
 * @since 0.1.0
 * @category runs
 */
export interface DueQuery {
  readonly workflow: string
  readonly version: string
  readonly limit: number
}

/**
 * Which runs to list, newest first.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Query {
  readonly workflow?: string | undefined
  readonly status?: Status | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
  /** Only runs created before the one with this key: pass the last key of a page to get the next page. */
  readonly before?: number | undefined
}

/**
 * The number of runs of one workflow in one status.
 *
 * @since 0.1.0
 * @category runs
 */
export interface RunCount {
  readonly workflow: string
  readonly status: Status
  readonly runs: number
  /** When the first of them was created. */
  readonly oldest: number
  /** When the last of them was created. */
  readonly newest: number
}

/**
 * The number of open runs of one workflow that no process advances.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Backlog {
  readonly workflow: string
  readonly version: string
  readonly due: number
  /** Runs that are not due yet. */
  readonly waiting: number
  /** Since when the oldest due run could be advanced. */
  readonly oldest: number | undefined
}

/**
 * Runs, their leases, journals and signals.
 *
 * @since 0.1.0
 * @category stores
 */
export interface RunStore {
  /**
   * Creates the run, or claims it if it has no outcome and its lease was
   * released, has expired or belongs to a process that is known to be dead.
   */
  readonly open: (request: OpenRequest, owner: string, leaseMillis: number) => Effect.Effect<Opened, StorageError>
  /** Appends lines to the journal, all of them or none. */
  readonly append: (lease: Lease, entries: ReadonlyArray<Entry>) => Effect.Effect<void, StorageError | LeaseLost>
  /**
   * Runs the program's own statements on the store's database and appends the
   * lines that the body returns, in one commit.
   */
  readonly transactional: <A, E, R>(
    lease: Lease,
    body: Effect.Effect<readonly [A, ReadonlyArray<Entry>], E, R>
  ) => Effect.Effect<A, E | StorageError | LeaseLost, R>
  /** Appends a line and marks the snapshots that it revokes as rewound. */
  readonly rewind: (lease: Lease, entry: Entry, rewound: Rewound) => Effect.Effect<void, StorageError | LeaseLost>
  /**
   * Removes the outcome of a run, appends the entry and leases the run to the
   * caller. Returns none and changes nothing if the run is no longer as it was found.
   */
  readonly reopen: (
    found: Run,
    entry: Entry,
    owner: string,
    leaseMillis: number
  ) => Effect.Effect<Option.Option<Lease>, StorageError>
  /** Ends the lease and records the outcome if the run has none. Returns the recorded outcome. */
  readonly finish: (lease: Lease, outcome: Omit<Outcome, "at">) => Effect.Effect<Outcome, StorageError | LeaseLost>
  /** Prolongs leases. Returns those that are lost. */
  readonly renew: (
    leases: ReadonlyArray<Lease>,
    leaseMillis: number
  ) => Effect.Effect<ReadonlyArray<Lease>, StorageError>
  /** Ends the lease of this owner on the run, if there is one. */
  readonly release: (run: string, owner: string) => Effect.Effect<void, StorageError>
  /** Ends the lease of a run that waits. */
  readonly suspend: (lease: Lease, suspension: Suspension) => Effect.Effect<void, StorageError | LeaseLost>
  /** Stores a signal and makes the run due, unless the run has a signal of this key. */
  readonly signal: (run: string, key: string, payload: string) => Effect.Effect<Signalled, StorageError>
  /** The signals of a run, oldest first. */
  readonly signals: (key: number) => Effect.Effect<ReadonlyArray<Signal>, StorageError>
  /** Open runs that are due and not leased, oldest first. */
  readonly due: (query: DueQuery) => Effect.Effect<ReadonlyArray<Run>, StorageError>
  /** Counts the open runs that are not leased. */
  readonly backlog: Effect.Effect<ReadonlyArray<Backlog>, StorageError>
  readonly find: (id: string) => Effect.Effect<Option.Option<Run>, StorageError>
  /** The journal in order, without payloads of more than `longest` characters. */
  readonly journal: (key: number, longest?: number) => Effect.Effect<ReadonlyArray<Entry>, StorageError>
  /** The payload of one line. */
  readonly payload: (key: number, seq: number) => Effect.Effect<string | undefined, StorageError>
  readonly list: (query: Query) => Effect.Effect<ReadonlyArray<Run>, StorageError>
  /**
   * Removes those of the runs that have an outcome, with their journals, signals
   * and snapshots. Returns how many it removed.
   */
  readonly removeRuns: (keys: ReadonlyArray<number>) => Effect.Effect<number, StorageError>
  readonly countRuns: Effect.Effect<ReadonlyArray<RunCount>, StorageError>
}

/**
 * A snapshot as it is stored: of a checkpoint, or of a value that all runs
 * share. The store does not interpret it.
 *
 * @since 0.1.0
 * @category snapshots
 */
export interface Snapshot {
  /** The store's own number. It rises and is never used again. */
  readonly key: number
  /** The run it belongs to; `undefined` if it belongs to none. */
  readonly run: string | undefined
  /** The step or section of the run in which it was taken. */
  readonly step: string
  /** The last line of the run's journal when it was taken. */
  readonly seq: number
  readonly name: string
  readonly kind: string
  /** The version of its schema. */
  readonly version: number
  /** Distinguishes schemas of the same version. */
  readonly schema: string
  /** The digest of the canonical state before compression. */
  readonly digest: string
  /** The length of the canonical state before compression, in UTF-8 bytes. */
  readonly size: number
  /** The encoding of the state, such as `json` or `deflate`. */
  readonly encoding: string
  readonly labels: Readonly<Record<string, string>>
  /** Further facts recorded with it, JSON. */
  readonly about: string
  readonly at: number
  /** Whether the run was rewound to a point before it. */
  readonly rewound: boolean
}

/**
 * A snapshot with its state.
 *
 * @since 0.1.0
 * @category snapshots
 */
export interface FullSnapshot extends Snapshot {
  readonly state: string | Uint8Array
}

/**
 * Which snapshots to read, newest first.
 *
 * @since 0.1.0
 * @category snapshots
 */
export interface SnapshotQuery {
  /** Of this run; `null` for those of no run. Defaults to all. */
  readonly run?: string | null | undefined
  readonly name?: string | undefined
  readonly kind?: string | undefined
  /** Not of this kind. */
  readonly except?: string | undefined
  /** Only those with all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Only those with a lower key. */
  readonly before?: number | undefined
  /** Only those taken before this time. */
  readonly takenBefore?: number | undefined
  /** Includes those that a rewind revoked. Defaults to false. */
  readonly rewound?: boolean | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
}

/**
 * The conditions of a save, and the journal line written with it.
 *
 * @since 0.1.0
 * @category snapshots
 */
export interface SaveOptions {
  /** The lease of the run it belongs to; the save fails if the lease was taken over. */
  readonly lease?: Lease | undefined
  /** Makes the journal line that is written with it from the snapshot's key. */
  readonly entry?: ((key: number) => Entry) | undefined
  /** Saves only if this is the newest key of the run and name; 0 for none. */
  readonly after?: number | undefined
}

/**
 * @since 0.1.0
 * @category stores
 */
export interface SnapshotStore {
  /** Returns the key of the snapshot, or none if `after` no longer holds. */
  readonly save: (
    snapshot: Omit<FullSnapshot, "key" | "rewound">,
    options: SaveOptions
  ) => Effect.Effect<Option.Option<number>, StorageError | LeaseLost>
  /** Snapshots without their states. */
  readonly snapshots: (query: SnapshotQuery) => Effect.Effect<ReadonlyArray<Snapshot>, StorageError>
  /** The newest match, with its state. */
  readonly newest: (query: SnapshotQuery) => Effect.Effect<Option.Option<FullSnapshot>, StorageError>
  readonly snapshot: (key: number) => Effect.Effect<Option.Option<FullSnapshot>, StorageError>
  /** Removes snapshots. Returns how many it removed. */
  readonly remove: (keys: ReadonlyArray<number>) => Effect.Effect<number, StorageError>
}

/**
 * A lock, held or free.
 *
 * @since 0.1.0
 * @category locks
 */
export interface LockRow {
  readonly name: string
  /** The fencing token of the latest acquisition. */
  readonly token: number
  /** `undefined` if the lock was released. */
  readonly owner: string | undefined
  /** When the lock was acquired or released. */
  readonly since: number
  readonly leaseUntil: number | undefined
}

/**
 * A lock that was acquired.
 *
 * @since 0.1.0
 * @category locks
 */
export interface LockLease {
  readonly name: string
  readonly token: number
  /** Unique to this acquisition. */
  readonly owner: string
}

/**
 * The result of an attempt to acquire a lock.
 *
 * @since 0.1.0
 * @category locks
 */
export type Locked =
  | { readonly _tag: "Locked"; readonly lease: LockLease }
  | { readonly _tag: "Held"; readonly row: LockRow }

/**
 * @since 0.1.0
 * @category stores
 */
export interface LockStore {
  /** Leases a name to the owner, unless another lease is in force. The token rises each time. */
  readonly lock: (name: string, owner: string, leaseMillis: number) => Effect.Effect<Locked, StorageError>
  /** Prolongs a lock. Returns false if the lock is lost. */
  readonly renewLock: (lease: LockLease, leaseMillis: number) => Effect.Effect<boolean, StorageError>
  /** Releases the lock of this owner. Returns false if the owner no longer has it. */
  readonly unlock: (name: string, owner: string) => Effect.Effect<boolean, StorageError>
  readonly findLock: (name: string) => Effect.Effect<Option.Option<LockRow>, StorageError>
  /** All locks that were acquired and not removed, by name. */
  readonly locks: Effect.Effect<ReadonlyArray<LockRow>, StorageError>
  /** Removes free locks that were not used since. Returns how many it removed. */
  readonly removeLocks: (unusedSince: number) => Effect.Effect<number, StorageError>
}

/**
 * A record about a failure or a recovery. The store does not interpret it.
 *
 * @since 0.1.0
 * @category records
 */
export interface RecordRow {
  /** The store's own number. It rises. */
  readonly key: number
  /** What it records, such as `failure`. */
  readonly kind: string
  /** Unique within its kind. */
  readonly id: string
  /** What it belongs to, such as the run that failed; may be empty. */
  readonly subject: string
  /** A group of subjects, such as a repository; may be empty. */
  readonly scope: string
  readonly status: string
  readonly labels: Readonly<Record<string, string>>
  readonly at: number
  readonly updatedAt: number
  /** Rises by one with each change; the first is 1. */
  readonly revision: number
  readonly body: string
}

/**
 * A record to write. `revision` is that of the record it replaces, 0 for a new one.
 *
 * @since 0.1.0
 * @category records
 */
export type RecordWrite = Omit<RecordRow, "key" | "at" | "updatedAt">

/**
 * Which records to read, newest first.
 *
 * @since 0.1.0
 * @category records
 */
export interface RecordQuery {
  readonly kind: string
  readonly subject?: string | undefined
  readonly scope?: string | undefined
  readonly status?: string | undefined
  /** Only those with a lower key: pass the last key of a page to get the next page. */
  readonly before?: number | undefined
  /** Only those that were not changed since this time. */
  readonly unchangedSince?: number | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
}

/**
 * An amount to add to a counter; a counter that does not exist starts at 0.
 *
 * @since 0.1.0
 * @category records
 */
export interface Count {
  readonly name: string
  readonly add: number
}

/**
 * @since 0.1.0
 * @category records
 */
export interface Counter {
  readonly name: string
  readonly value: number
}

/**
 * Records and counters.
 *
 * @since 0.1.0
 * @category stores
 */
export interface RecordStore {
  /**
   * Writes a record and adds to counters, both or neither. Returns none if the
   * stored record has another revision, or exists already.
   */
  readonly write: (
    record: RecordWrite,
    counts: ReadonlyArray<Count>
  ) => Effect.Effect<Option.Option<RecordRow>, StorageError>
  readonly findRecord: (kind: string, id: string) => Effect.Effect<Option.Option<RecordRow>, StorageError>
  readonly records: (query: RecordQuery) => Effect.Effect<ReadonlyArray<RecordRow>, StorageError>
  /** Removes records and leaves the counters as they are. Returns how many it removed. */
  readonly removeRecords: (keys: ReadonlyArray<number>) => Effect.Effect<number, StorageError>
  /** Adds to counters. */
  readonly count: (counts: ReadonlyArray<Count>) => Effect.Effect<void, StorageError>
  /** The counters whose names begin with `prefix`, by name, without those at 0. */
  readonly counters: (prefix: string) => Effect.Effect<ReadonlyArray<Counter>, StorageError>
}

/**
 * How much a store holds.
 *
 * @since 0.1.0
 * @category stores
 */
export interface Usage {
  /** The size of the file, free pages included; of a store in memory, the length of its texts. */
  readonly bytes: number
  readonly runs: number
  /** Lines of all journals. */
  readonly lines: number
  readonly snapshots: number
  readonly records: number
}

/**
 * What a backend implements. Each operation happens entirely or not at all.
 * When it has returned, its writes are on stable storage, as far as the
 * backend's durability goes. The store's clock alone decides whether a lease has
 * expired.
 *
 * An operation with a lease fails with `LeaseLost` if the lease was taken over,
 * released or ended by an outcome.
 *
 * `Testing.storageContract` checks that a store does all of this.
 *
 * @since 0.1.0
 * @category stores
 */
export interface Store extends RunStore, SnapshotStore, LockStore, RecordStore {
  /** Counts everything, so it is slow on a large store. */
  readonly usage: Effect.Effect<Usage, StorageError>
  /** The store's clock. */
  readonly now: Effect.Effect<number>
}
