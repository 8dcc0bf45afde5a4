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
import type * as Stream from "effect/Stream"
import type { Entry, Lease, Run, RunStore, Signal } from "./RunStore.js"
import type { LeaseLost, RestoreConflict, StorageError } from "./StorageError.js"

/** @since 0.1.0 */
export * from "./RunStore.js"

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
  /** The key that the program gave it; `undefined` for none. */
  readonly own: string | undefined
  readonly kind: string
  /** The version of its schema. */
  readonly version: number
  /** Distinguishes schemas of the same version. */
  readonly schema: string
  /** The digest of the canonical state before compression. */
  readonly digest: string
  /** The length of the canonical state before compression, in bytes. */
  readonly size: number
  /** The encoding of the state, such as `json`, `deflate` or `bytes`. */
  readonly encoding: string
  readonly labels: Readonly<Record<string, string>>
  /** Further facts recorded with it: a JSON object. A store reads only its property `metadata`, for queries. */
  readonly about: string
  readonly at: number
  /** Whether the run was rewound to a point before it. */
  readonly rewound: boolean
  /** Why the row is not what was written. Only lists return such rows: reads with the state fail instead. */
  readonly damaged?: string | undefined
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
 * A snapshot to save. The store numbers it.
 *
 * @since 0.1.0
 * @category snapshots
 */
export type NewSnapshot = Omit<FullSnapshot, "key" | "rewound" | "damaged">

/**
 * Which snapshot comes first in a list. The orders by key compare the keys that
 * the program gave, byte by byte in UTF-8, and leave out snapshots without one.
 *
 * @since 0.1.0
 * @category snapshots
 */
export type SnapshotOrder = "newest" | "oldest" | "highestKey" | "lowestKey"

/**
 * Which snapshots to read.
 *
 * @since 0.1.0
 * @category snapshots
 */
export interface SnapshotQuery {
  /** Of this run; `null` for those of no run. Defaults to all. */
  readonly run?: string | null | undefined
  readonly name?: string | undefined
  /** Only those saved under one of these keys. */
  readonly own?: ReadonlyArray<string> | undefined
  readonly kind?: string | undefined
  /** Not of this kind. */
  readonly except?: string | undefined
  /** Only those with all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** A JSON object. Only those whose metadata has all of its properties with the same JSON. */
  readonly metadata?: string | undefined
  /** Only those with a lower number. */
  readonly before?: number | undefined
  /** Only those with a higher number. */
  readonly after?: number | undefined
  /** Only those taken before this time. */
  readonly takenBefore?: number | undefined
  /** Only those taken after this time. */
  readonly takenAfter?: number | undefined
  /** Only those with a lower key of the program's own. */
  readonly ownBefore?: string | undefined
  /** Only those with a higher key of the program's own. */
  readonly ownAfter?: string | undefined
  /** Includes those that a rewind revoked. Defaults to false. */
  readonly rewound?: boolean | undefined
  /** Defaults to `newest`. */
  readonly order?: SnapshotOrder | undefined
  /** Only those that come after this one in the order: the last one of a page, to get the next page. */
  readonly past?: Pick<Snapshot, "key" | "own"> | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
}

/**
 * What a save does if a snapshot of the same run, step, name and key of the
 * program exists: it removes that one, or saves nothing.
 *
 * @since 0.1.0
 * @category snapshots
 */
export type IfKeyExists = "replace" | "keep"

/**
 * A journal line that is written with a snapshot. If its payload has two parts,
 * the key of the snapshot is written between them.
 *
 * @since 0.1.0
 * @category snapshots
 */
export type SaveEntry = Omit<Entry, "payload" | "omitted"> & {
  readonly payload: string | readonly [before: string, after: string] | undefined
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
  /** Defaults to `replace`. Does nothing for a snapshot without a key of the program. */
  readonly ifKeyExists?: IfKeyExists | undefined
  /** The journal line that is written with it, under the lease. It is not written if nothing is saved. */
  readonly entry?: SaveEntry | undefined
  /** Saves only if this is the newest number of the run and name; 0 for none. */
  readonly after?: number | undefined
}

/**
 * @since 0.1.0
 * @category stores
 */
export interface SnapshotStore {
  /** Returns the number of the snapshot, or none if `after` no longer holds or a snapshot was kept. */
  readonly save: (
    snapshot: NewSnapshot,
    options: SaveOptions
  ) => Effect.Effect<Option.Option<number>, StorageError | LeaseLost>
  /**
   * Saves snapshots, all or none. Returns their numbers in the order they were
   * given; none for one in whose place another was kept.
   */
  readonly saveAll: (
    saves: ReadonlyArray<{ readonly snapshot: NewSnapshot } & Pick<SaveOptions, "ifKeyExists">>,
    lease?: Lease
  ) => Effect.Effect<ReadonlyArray<Option.Option<number>>, StorageError | LeaseLost>
  /** Snapshots without their states. */
  readonly snapshots: (query: SnapshotQuery) => Effect.Effect<ReadonlyArray<Snapshot>, StorageError>
  /** As `snapshots`, with their states. */
  readonly fullSnapshots: (query: SnapshotQuery) => Effect.Effect<ReadonlyArray<FullSnapshot>, StorageError>
  /** The first match, with its state. */
  readonly newest: (query: SnapshotQuery) => Effect.Effect<Option.Option<FullSnapshot>, StorageError>
  readonly snapshot: (key: number) => Effect.Effect<Option.Option<FullSnapshot>, StorageError>
  /** Removes snapshots, in several commits where that keeps commits short. Returns how many it removed. */
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
 * A record about a failure or a recovery. The store reads its body only for queries.
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
  /** Why the row is not what was written. Only lists return such rows: `findRecord` fails instead. */
  readonly damaged?: string | undefined
}

/**
 * A record to write. `revision` is that of the record it replaces, 0 for a new one.
 *
 * @since 0.1.0
 * @category records
 */
export type RecordWrite = Omit<RecordRow, "key" | "at" | "updatedAt" | "damaged">

/**
 * Which records to read, newest first.
 *
 * @since 0.1.0
 * @category records
 */
export interface RecordQuery {
  /** Defaults to all kinds. */
  readonly kind?: string | undefined
  readonly subject?: string | undefined
  readonly scope?: string | undefined
  readonly status?: string | undefined
  /** Only those with a lower key: pass the last key of a page to get the next page. */
  readonly before?: number | undefined
  /** Only those that were not changed since this time. */
  readonly unchangedSince?: number | undefined
  /** A JSON object. Only those whose body has all of its properties with the same JSON. */
  readonly body?: string | undefined
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
  /** Removes records, as `remove`, and leaves the counters as they are. Returns how many it removed. */
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
 * Something in a store that is not what was written.
 *
 * @since 0.1.0
 * @category stores
 */
export interface Damage {
  /** In words, such as `line 5 (StepCompleted of "charge")`. */
  readonly what: string
  /** The run it belongs to. */
  readonly run: string | undefined
  readonly problem: string
}

/**
 * A row as a store returned it, for another store. A run comes with its whole
 * journal and all of its signals.
 *
 * @since 0.1.0
 * @category stores
 */
export type StoredRow =
  | {
      readonly _tag: "Run"
      readonly run: Run
      readonly journal: ReadonlyArray<Entry>
      readonly signals: ReadonlyArray<Signal>
    }
  | { readonly _tag: "Snapshot"; readonly snapshot: FullSnapshot }
  | { readonly _tag: "Record"; readonly record: RecordRow }
  | { readonly _tag: "Counter"; readonly counter: Counter }

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
  /** Reads everything and returns what is damaged. Changes nothing. Slow on a large store. */
  readonly check: Effect.Effect<ReadonlyArray<Damage>, StorageError>
  /**
   * Writes rows of another store as they are, all or none, and leaves those that
   * are here already. Returns how many it wrote. Runs and records get keys of this
   * store, in the order in which they are given, and runs get no lease. Snapshots
   * keep their keys, since journals name them, and later snapshots get higher ones.
   */
  readonly restore: (rows: ReadonlyArray<StoredRow>) => Effect.Effect<number, StorageError | RestoreConflict>
  /** The store's clock. */
  readonly now: Effect.Effect<number, StorageError>
  /**
   * Runs that any process enqueued, signalled, finished, suspended or
   * released, put on or off hold, or asked to cancel, as hints: some may be missing, and a store without such news is an empty
   * stream. It does not fail.
   */
  readonly changes: Stream.Stream<Change>
}

/**
 * A run has changed. A hint: see `changes` of the store.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change {
  /** The id of the run. Empty if it is not known which runs changed. */
  readonly run: string
  /**
   * The run may be due by that: it was enqueued, signalled, released, taken off hold, or asked to be cancelled, or a
   * child of it ended. Any other change concerns those who wait for the run itself, and queues in which it had a place.
   */
  readonly isDue: boolean
}
