/**
 * Where runs and their journals are kept. Two levels: the `Store`, a handful
 * of plain operations over strings that each backend implements, and the
 * `Storage` service built on any of them, which keeps leases alive.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { makeLeases } from "./internal/leases.js"
import { makeMemoryStore } from "./internal/memoryStore.js"
import * as tiers_ from "./internal/tiers.js"
import { LeaseHeld, LeaseLost, type Reason, StorageError } from "./StorageError.js"

export {
  /**
   * Another process advances the run, so this one may not.
   *
   * @since 0.1.0
   * @category errors
   */
  LeaseHeld,
  /**
   * This process lost the right to advance the run.
   *
   * @since 0.1.0
   * @category errors
   */
  LeaseLost,
  /**
   * What went wrong with the storage.
   *
   * @since 0.1.0
   * @category models
   */
  type Reason,
  /**
   * The storage could not do what it was asked.
   *
   * @since 0.1.0
   * @category errors
   */
  StorageError
}

/**
 * One run as it is stored. Times are epoch milliseconds of the storage's
 * clock, texts are JSON.
 *
 * @since 0.1.0
 * @category models
 */
export interface Run {
  /** What the storage calls the run; short, and stable for its life. */
  readonly key: number
  readonly id: string
  readonly workflow: string
  readonly version: string
  readonly input: string
  readonly labels: Readonly<Record<string, string>>
  readonly createdAt: number
  /** The fencing token of the latest lease; the first lease has 1. */
  readonly token: number
  /** Who holds the lease, if anybody does. */
  readonly owner: string | undefined
  readonly leaseUntil: number | undefined
  /** From when on somebody should go on with it; `untilSignalled` for one that waits for a signal. */
  readonly dueAt: number
  /** What it waits for, as its process left it. */
  readonly waiting: string | undefined
  readonly outcome: Outcome | undefined
}

/**
 * The due time of a run that only a signal brings on.
 *
 * @since 0.1.0
 * @category models
 */
export const untilSignalled: number = Number.MAX_SAFE_INTEGER

/**
 * Something a run was told from outside. The storage does not look into it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Signal {
  /** What it answers. The first one counts. */
  readonly key: string
  readonly payload: string
  readonly at: number
}

/**
 * What became of a signal: `Taken` if there was one of its key already.
 *
 * @since 0.1.0
 * @category models
 */
export type Signalled = "Sent" | "Taken" | "Finished" | "Unknown"

/**
 * How a run is left that waits.
 *
 * @since 0.1.0
 * @category models
 */
export interface Suspension {
  /** When it is due by itself. */
  readonly dueAt: number
  /** What it waits for, JSON; nothing for a run that was only left. */
  readonly waiting?: string | undefined
  /** How many signals it knows of: if there are more, it is due at once. */
  readonly signals: number
}

/**
 * Which open runs are due, oldest first.
 *
 * @since 0.1.0
 * @category models
 */
export interface DueQuery {
  readonly workflow: string
  readonly version: string
  readonly limit: number
}

/**
 * How many runs of one workflow stand alike.
 *
 * @since 0.1.0
 * @category models
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
 * How many open runs of one workflow nobody advances.
 *
 * @since 0.1.0
 * @category models
 */
export interface Backlog {
  readonly workflow: string
  readonly version: string
  /** Those that are due. */
  readonly due: number
  /** Those that wait. */
  readonly waiting: number
  /** Since when the oldest of them is due. */
  readonly oldest: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Outcome {
  readonly status: "completed" | "failed"
  readonly exit: string
  readonly at: number
}

/**
 * One line of a run's journal. The storage does not look into it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  /** Its place in the journal of its run, without meaning beyond the order. */
  readonly seq: number
  readonly kind: string
  readonly step: string
  readonly attempt: number
  readonly at: number
  readonly payload: string | undefined
  /** The payload was longer than the reader wanted; `payload` fetches it. */
  readonly omitted?: true | undefined
}

/**
 * A snapshot as it is stored: of a checkpoint, or of a value that is shared by
 * all runs. The storage does not look into it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Snapshot {
  /** The storage's own number, which rises and is never used again. */
  readonly key: number
  /** The run it belongs to; `undefined` for one that belongs to none. */
  readonly run: string | undefined
  /** Where in the run it was taken: the step, or the section. */
  readonly step: string
  /** The last line of the run's journal when it was taken. */
  readonly seq: number
  readonly name: string
  readonly kind: string
  /** The version of its schema. */
  readonly version: number
  /** What tells its schema apart from others of the same version. */
  readonly schema: string
  /** Of the canonical state, before compression. */
  readonly digest: string
  /** Of the canonical state, in UTF-8 bytes. */
  readonly size: number
  /** How the state is written, such as `json` or `deflate`. */
  readonly encoding: string
  readonly labels: Readonly<Record<string, string>>
  /** What else was recorded with it, JSON. */
  readonly about: string
  readonly at: number
  /** Whether the run was rewound to before it since. */
  readonly rewound: boolean
}

/**
 * A snapshot with its state.
 *
 * @since 0.1.0
 * @category models
 */
export interface FullSnapshot extends Snapshot {
  readonly state: string | Uint8Array
}

/**
 * Which snapshots to read. Newest first.
 *
 * @since 0.1.0
 * @category models
 */
export interface SnapshotQuery {
  /** Of this run; `null` for those of no run; leave it out for all. */
  readonly run?: string | null | undefined
  readonly name?: string | undefined
  readonly kind?: string | undefined
  /** Not of this kind. */
  readonly except?: string | undefined
  /** Only those with all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Only those before the one with this key. */
  readonly before?: number | undefined
  /** Only those taken before this time. */
  readonly takenBefore?: number | undefined
  /** Whether to tell of those a rewind has passed, too. Defaults to false. */
  readonly rewound?: boolean | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
}

/**
 * What a save must find, and what goes with it.
 *
 * @since 0.1.0
 * @category models
 */
export interface SaveOptions {
  /** Whose run it belongs to; refused if the lease was taken over. */
  readonly lease?: Lease | undefined
  /** The line of the journal that is written with it; it is told the snapshot's key. */
  readonly entry?: ((key: number) => Entry) | undefined
  /** Saved only if this is the newest of its run and name; 0 for none. */
  readonly after?: number | undefined
}

/**
 * Which part of a run's journal a rewind makes forgotten: what came after a
 * line, for steps whose key begins with `within`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rewound {
  readonly after: number
  readonly within: string
}

/**
 * The right to advance a run. Whoever acquired later has the higher token.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lease {
  readonly key: number
  readonly run: string
  readonly token: number
  /** Unique to this acquisition. */
  readonly owner: string
}

/**
 * Who holds a name, or held it last. Times are epoch milliseconds of the
 * storage's clock.
 *
 * @since 0.1.0
 * @category models
 */
export interface LockRow {
  readonly name: string
  /** Of whoever acquired it last. */
  readonly token: number
  /** Nobody, if it was given back. */
  readonly owner: string | undefined
  /** When it was acquired, or given back. */
  readonly since: number
  readonly leaseUntil: number | undefined
}

/**
 * A lock that was acquired.
 *
 * @since 0.1.0
 * @category models
 */
export interface LockLease {
  readonly name: string
  readonly token: number
  /** Unique to this acquisition. */
  readonly owner: string
}

/**
 * What came of asking for a lock.
 *
 * @since 0.1.0
 * @category models
 */
export type Locked =
  | { readonly _tag: "Locked"; readonly lease: LockLease }
  | { readonly _tag: "Held"; readonly row: LockRow }

/**
 * Something kept about failures and how they were answered. The storage does
 * not look into it. Times are epoch milliseconds of the storage's clock.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecordRow {
  /** The storage's own number, which rises. */
  readonly key: number
  /** What it is a record of, such as `failure`. */
  readonly kind: string
  /** Unique among those of its kind. */
  readonly id: string
  /** What it belongs to, such as the run that failed; empty for nothing. */
  readonly subject: string
  /** Whose it is, such as a repository; empty for nobody's. */
  readonly scope: string
  readonly status: string
  readonly labels: Readonly<Record<string, string>>
  readonly at: number
  readonly updatedAt: number
  /** One more with each change; the first is 1. */
  readonly revision: number
  readonly body: string
}

/**
 * How a record is to be. The `revision` is that of the one it takes the place
 * of; 0 for a new one.
 *
 * @since 0.1.0
 * @category models
 */
export type RecordWrite = Omit<RecordRow, "key" | "at" | "updatedAt">

/**
 * How much to add to a counter; one that does not exist begins at 0.
 *
 * @since 0.1.0
 * @category models
 */
export interface Count {
  readonly name: string
  readonly add: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Counter {
  readonly name: string
  readonly value: number
}

/**
 * Which records to read. Newest first.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecordQuery {
  readonly kind: string
  readonly subject?: string | undefined
  readonly scope?: string | undefined
  readonly status?: string | undefined
  /** Only those before the one with this key: pass the last of a page to get the next. */
  readonly before?: number | undefined
  /** Only those that were not changed since this time. */
  readonly unchangedSince?: number | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
}

/**
 * How much a storage holds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Usage {
  /** In the file, with what is free in it; of a storage in memory, of its texts. */
  readonly bytes: number
  readonly runs: number
  /** Of all journals. */
  readonly lines: number
  readonly snapshots: number
  readonly records: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface OpenRequest {
  readonly id: string
  readonly workflow: string
  readonly version: string
  readonly input: string
  readonly labels: Readonly<Record<string, string>>
  /** Leaves a run alone that is not `due`, or that is not `new`. */
  readonly only?: "due" | "new" | undefined
}

/**
 * What `open` found, and whether the caller may go on:
 *
 * - `Created`: the run is new and leased to the caller
 * - `Claimed`: the run had stopped and is leased to the caller
 * - `Held`: somebody else holds the lease
 * - `Finished`: the run has an outcome
 * - `Waiting`: the run is not due or not new, and only such a one was wanted
 * - `Different`: the run belongs to another workflow or input; nothing changed
 *
 * @since 0.1.0
 * @category models
 */
export type Opened =
  | { readonly _tag: "Created" | "Claimed"; readonly run: Run; readonly lease: Lease }
  | { readonly _tag: "Held"; readonly run: Run }
  | { readonly _tag: "Waiting"; readonly run: Run }
  | { readonly _tag: "Finished"; readonly run: Run }
  | { readonly _tag: "Different"; readonly run: Run }

/**
 * Which runs to list. Newest first.
 *
 * @since 0.1.0
 * @category models
 */
export interface Query {
  readonly workflow?: string | undefined
  /** `stopped` and `suspended` runs have no outcome and no living lease; the latter wait for something. */
  readonly status?: Status | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
  /** Only runs created before the one with this key: pass the last of a page to get the next. */
  readonly before?: number | undefined
}

/**
 * How a run stands: `suspended` if it waits for a time or a signal, or was put
 * off since it stops whenever it is executed; `stopped` if it could go on, or
 * was never begun.
 *
 * @since 0.1.0
 * @category models
 */
export type Status = "running" | "suspended" | "stopped" | "completed" | "failed"

/**
 * What a backend implements. Every operation happens entirely or not at all,
 * and is on stable storage (as far as the backend's durability goes) when it
 * has answered. Lease times are judged by the storage's clock alone.
 *
 * A store must pass the contract suite in `test/storage/contract.ts`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Store {
  /**
   * Creates the run, or claims it if it has no outcome and its lease is
   * released, expired or of an owner known to be gone.
   */
  readonly open: (request: OpenRequest, owner: string, leaseMillis: number) => Effect.Effect<Opened, StorageError>
  /** Appends lines to the journal, all of them or none, unless the lease was taken over. */
  readonly append: (lease: Lease, entries: ReadonlyArray<Entry>) => Effect.Effect<void, StorageError | LeaseLost>
  /**
   * Runs what the caller does with the storage's own database, and appends
   * the entries it answers with: both are committed, or neither.
   */
  readonly transactional: <A, E, R>(
    lease: Lease,
    body: Effect.Effect<readonly [A, ReadonlyArray<Entry>], E, R>
  ) => Effect.Effect<A, E | StorageError | LeaseLost, R>
  /** Appends a line and marks the snapshots it makes forgotten. */
  readonly rewind: (lease: Lease, entry: Entry, rewound: Rewound) => Effect.Effect<void, StorageError | LeaseLost>
  /**
   * Takes the outcome from a run, appends the entry and leases the run to the
   * caller; nothing, if the run is no longer as it was found.
   */
  readonly reopen: (
    found: Run,
    entry: Entry,
    owner: string,
    leaseMillis: number
  ) => Effect.Effect<Option.Option<Lease>, StorageError>
  /** Records the outcome unless there is one, ends the lease, and answers with the recorded one. */
  readonly finish: (lease: Lease, outcome: Omit<Outcome, "at">) => Effect.Effect<Outcome, StorageError | LeaseLost>
  /** Prolongs leases and answers with those that are lost. */
  readonly renew: (
    leases: ReadonlyArray<Lease>,
    leaseMillis: number
  ) => Effect.Effect<ReadonlyArray<Lease>, StorageError>
  /** Ends the lease this owner has on the run; a lease of anybody else is left alone. */
  readonly release: (run: string, owner: string) => Effect.Effect<void, StorageError>
  /** Ends the lease of a run that waits. */
  readonly suspend: (lease: Lease, suspension: Suspension) => Effect.Effect<void, StorageError | LeaseLost>
  /** Tells a run something, unless it was told so already, and makes it due. */
  readonly signal: (run: string, key: string, payload: string) => Effect.Effect<Signalled, StorageError>
  /** What a run was told, oldest first. */
  readonly signals: (key: number) => Effect.Effect<ReadonlyArray<Signal>, StorageError>
  /** Open runs that are due and that nobody advances, oldest first. */
  readonly due: (query: DueQuery) => Effect.Effect<ReadonlyArray<Run>, StorageError>
  /** The open runs nobody advances, counted. */
  readonly backlog: Effect.Effect<ReadonlyArray<Backlog>, StorageError>
  readonly find: (id: string) => Effect.Effect<Option.Option<Run>, StorageError>
  /** The journal in order; payloads of more characters than `longest` are left out. */
  readonly journal: (key: number, longest?: number) => Effect.Effect<ReadonlyArray<Entry>, StorageError>
  /** The payload of one line. */
  readonly payload: (key: number, seq: number) => Effect.Effect<string | undefined, StorageError>
  readonly list: (query: Query) => Effect.Effect<ReadonlyArray<Run>, StorageError>
  /**
   * Removes runs that have an outcome, with their journals, signals and
   * snapshots, and answers with how many there were. Others are left alone.
   */
  readonly removeRuns: (keys: ReadonlyArray<number>) => Effect.Effect<number, StorageError>
  /** All runs, counted. */
  readonly countRuns: Effect.Effect<ReadonlyArray<RunCount>, StorageError>
  /** Saves a snapshot and answers with its key; nothing, if it was to follow another one. */
  readonly save: (
    snapshot: Omit<FullSnapshot, "key" | "rewound">,
    options: SaveOptions
  ) => Effect.Effect<Option.Option<number>, StorageError | LeaseLost>
  /** Snapshots without their states. */
  readonly snapshots: (query: SnapshotQuery) => Effect.Effect<ReadonlyArray<Snapshot>, StorageError>
  /** The newest of these, with its state. */
  readonly newest: (query: SnapshotQuery) => Effect.Effect<Option.Option<FullSnapshot>, StorageError>
  readonly snapshot: (key: number) => Effect.Effect<Option.Option<FullSnapshot>, StorageError>
  /** Removes snapshots and answers with how many there were. */
  readonly remove: (keys: ReadonlyArray<number>) => Effect.Effect<number, StorageError>
  /** Leases a name to the owner, unless the lease of somebody else lives. The token rises each time. */
  readonly lock: (name: string, owner: string, leaseMillis: number) => Effect.Effect<Locked, StorageError>
  /** Prolongs a lock; false, if it is lost. */
  readonly renewLock: (lease: LockLease, leaseMillis: number) => Effect.Effect<boolean, StorageError>
  /** Gives back the lock this owner has; false, if it has none by now. */
  readonly unlock: (name: string, owner: string) => Effect.Effect<boolean, StorageError>
  /** Who holds a name, or held it last. */
  readonly findLock: (name: string) => Effect.Effect<Option.Option<LockRow>, StorageError>
  /** All names that were ever locked and not removed, by name. */
  readonly locks: Effect.Effect<ReadonlyArray<LockRow>, StorageError>
  /** Forgets the names nobody holds that were not used since, and answers with how many there were. */
  readonly removeLocks: (unusedSince: number) => Effect.Effect<number, StorageError>
  /**
   * Writes a record and adds to counters, both or neither; nothing, if the
   * record is no longer of the revision it was found with, or exists already.
   */
  readonly write: (
    record: RecordWrite,
    counts: ReadonlyArray<Count>
  ) => Effect.Effect<Option.Option<RecordRow>, StorageError>
  readonly findRecord: (kind: string, id: string) => Effect.Effect<Option.Option<RecordRow>, StorageError>
  readonly records: (query: RecordQuery) => Effect.Effect<ReadonlyArray<RecordRow>, StorageError>
  /** Removes records and answers with how many there were. Counters stay as they are. */
  readonly removeRecords: (keys: ReadonlyArray<number>) => Effect.Effect<number, StorageError>
  /** Adds to counters. */
  readonly count: (counts: ReadonlyArray<Count>) => Effect.Effect<void, StorageError>
  /** The counters whose names begin with a text, by name; those that stand at 0 are left out. */
  readonly counters: (prefix: string) => Effect.Effect<ReadonlyArray<Counter>, StorageError>
  /** How much there is; counts everything, so it takes its time. */
  readonly usage: Effect.Effect<Usage, StorageError>
  /** The storage's clock, epoch milliseconds. */
  readonly now: Effect.Effect<number>
}

/**
 * What `Effect.uninterruptibleMask` hands out.
 *
 * @since 0.1.0
 * @category models
 */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * @since 0.1.0
 * @category models
 */
export interface Service extends Omit<Store, "open" | "renew" | "release" | "reopen"> {
  /** How this process appears to others. */
  readonly owner: string
  /** For how long a lease lives that nobody renews, in milliseconds. */
  readonly leaseMillis: number
  /**
   * Interrupted on the way, it leaves no lease behind. Call it where nothing
   * can interrupt, with the `restore` of that region for the wait.
   */
  readonly open: (request: OpenRequest, restore: Restore) => Effect.Effect<Opened, StorageError>
  /** As `open`, for a run that has an outcome. */
  readonly reopen: (found: Run, entry: Entry, restore: Restore) => Effect.Effect<Option.Option<Lease>, StorageError>
  /** Gives the lease back, if it can: one that cannot be given back runs out. */
  readonly release: (lease: Lease) => Effect.Effect<void>
  /**
   * Renews the lease in the background until the answer is called. `onLost`
   * is called once if the lease is lost.
   */
  readonly keep: (lease: Lease, onLost: (error: LeaseLost) => void) => () => void
  /** Calls back when this process has told, left or ended a run, until the answer is called. */
  readonly onChange: (listener: (run: string) => void) => () => void
}

/**
 * @since 0.1.0
 * @category services
 */
export class Storage extends Context.Tag("effect-recovery/Storage")<Storage, Service>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How this process appears to others. Must be unique to this service. */
  readonly owner: string
  /**
   * For how long a run stays with a process that no longer renews its lease.
   * Renewed at a third of it. Defaults to 30 seconds.
   */
  readonly lease?: Duration.DurationInput | undefined
}

/**
 * Builds the service over a store.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (store: Store, options: Options): Effect.Effect<Service, never, Scope.Scope> => {
  const leaseMillis = Duration.toMillis(options.lease ?? "30 seconds")
  let acquisitions = 0
  const listeners = new Set<(run: string) => void>()
  const tell = (run: string) =>
    Effect.sync(() => {
      for (const listener of [...listeners]) listener(run)
    })
  /** Nothing is paid for nobody. */
  const andTell = <A, E>(self: Effect.Effect<A, E>, run: string): Effect.Effect<A, E> =>
    Effect.map(self, (value) => {
      for (const listener of listeners.size === 0 ? [] : [...listeners]) listener(run)
      return value
    })
  // Who stops should leave nothing behind, but not hang on a busy file for it: the rest is done in the background.
  const release = (run: string, owner: string) =>
    Effect.flatMap(Effect.forkDaemon(Effect.zipRight(Effect.ignore(store.release(run, owner)), tell(run))), (fiber) =>
      Effect.asVoid(Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), "1 second"))
    )
  const acquire = <A>(
    run: string,
    restore: Restore,
    take: (owner: string) => Effect.Effect<A, StorageError>
  ): Effect.Effect<A, StorageError> =>
    Effect.suspend(() => {
      const owner = `${options.owner}/${++acquisitions}`
      return Effect.onInterrupt(restore(take(owner)), () => release(run, owner))
    })
  return Effect.map(makeLeases(store, leaseMillis), (keep) => ({
    ...store,
    owner: options.owner,
    leaseMillis,
    open: (request, restore) => acquire(request.id, restore, (owner) => store.open(request, owner, leaseMillis)),
    reopen: (found, entry, restore) =>
      acquire(found.id, restore, (owner) => store.reopen(found, entry, owner, leaseMillis)),
    release: (lease) => release(lease.run, lease.owner),
    suspend: (lease, suspension) => andTell(store.suspend(lease, suspension), lease.run),
    signal: (run, key, payload) => Effect.zipLeft(store.signal(run, key, payload), tell(run)),
    finish: (lease, outcome) => andTell(store.finish(lease, outcome), lease.run),
    keep,
    onChange: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    }
  }))
}

/**
 * A place in front of a store that keeps states of snapshots by id, such as a
 * Redis, with whatever time to live it likes. No id ever stands for another state.
 *
 * @since 0.1.0
 * @category tiers
 */
export interface Tier {
  /** A failure is as if it had nothing, and so is an answer that takes longer than a second. */
  readonly get: (id: string) => Effect.Effect<Option.Option<string | Uint8Array>, unknown>
  /** A failure is passed over, and waited for a second at most. */
  readonly set: (id: string, state: string | Uint8Array) => Effect.Effect<void, unknown>
}

/**
 * A tier in this process's memory: the states that were used last.
 *
 * @since 0.1.0
 * @category tiers
 */
export const tierMemory: (options?: {
  /** States at most. Defaults to 1,000. */
  readonly capacity?: number | undefined
  /** Defaults to 1 hour. */
  readonly timeToLive?: Duration.DurationInput | undefined
}) => Effect.Effect<Tier> = (options = {}) => tiers_.memory(options)

/**
 * Reads states through tiers: the first that has one answers, and those before
 * it take it in. Of a snapshot only its state is ever taken from a tier, so what was removed or
 * rewound by others is so at once. For stores that are far away.
 *
 * @example
 * ```ts
 * import { Checkpoint, Storage } from "effect-recovery"
 * import { Effect, Layer, Option, Schema } from "effect"
 *
 * // Yours, such as one over a network.
 * const remote = Storage.memoryStore()
 *
 * const storage = Layer.scoped(
 *   Storage.Storage,
 *   Effect.gen(function* () {
 *     const memory = yield* Storage.tierMemory({ capacity: 500 })
 *     return yield* Storage.make(Storage.tiered(remote, [memory]), { owner: "worker-1" })
 *   })
 * )
 *
 * const Progress = Checkpoint.make("progress", { schema: Schema.Number })
 * const program = Effect.zipRight(Progress.save(40), Progress.latest())
 * Effect.runPromise(Effect.provide(program, storage)).then((latest) => console.log(Option.isSome(latest))) // true
 * ```
 *
 * @since 0.1.0
 * @category tiers
 */
export const tiered: (store: Store, tiers: ReadonlyArray<Tier>) => Store = tiers_.tiered

/**
 * Keeps everything in memory, as long as the layer lives. The same program is
 * durable with the SQLite layer of `effect-recovery/sqlite`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<Storage> = Layer.scoped(
  Storage,
  Effect.flatMap(Random.nextIntBetween(0, 2 ** 31), (nonce) => make(makeMemoryStore(), { owner: `memory-${nonce}` }))
)

/**
 * An empty store in memory, to build several services over one: what several
 * processes are to a file.
 *
 * @since 0.1.0
 * @category constructors
 */
export const memoryStore: () => Store = makeMemoryStore
