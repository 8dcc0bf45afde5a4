/**
 * The part of a `Store` that keeps runs, with their leases, journals and signals.
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
  /**
   * When it was leased for the first time; `undefined` if it never was. A queued run was not
   * started by a lease under which it is only changed, or that ends it because it is to be cancelled.
   */
  readonly startedAt: number | undefined
  /** The fencing token of the latest lease; the first lease has 1, and a run that was never leased 0. */
  readonly token: number
  /** The owner of the lease; `undefined` if the run is not leased. */
  readonly owner: string | undefined
  readonly leaseUntil: number | undefined
  /** When a worker may advance the run; `untilSignalled` if only a signal makes it due. */
  readonly dueAt: number
  /**
   * What the run waits for, as its process recorded it: a JSON list. A store reads
   * only the properties `kind` and `since` (ISO 8601) of its items, for queries.
   */
  readonly waiting: string | undefined
  /** How many signals its present generation has. */
  readonly signals: number
  /** Rises by one with each `continueAs`; the first is 1. */
  readonly generation: number
  /** While it has one, no owner is leased the run without naming it. */
  readonly hold: Hold | undefined
  /** The request to cancel it, JSON. The first one counts. */
  readonly cancel: string | undefined
  readonly queue: RunQueue | undefined
  /** The run that is signalled when this one ends. */
  readonly parent: Parent | undefined
  readonly outcome: Outcome | undefined
  /** Why the row is not what was written. Only lists return such rows: `find` and `open` fail instead. */
  readonly damaged?: string | undefined
}

/**
 * Keeps a run from being leased until it is released.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Hold {
  /** Names the hold: only a caller that knows it is leased the run, and releases it. */
  readonly id: string
  readonly reason: string
  readonly at: number
}

/**
 * The place of a run in a queue. A queued run is leased by `claimDue` alone,
 * within the limits of its queue, unless it is to be cancelled.
 *
 * @since 0.1.0
 * @category runs
 */
export interface RunQueue {
  readonly name: string
  /** Runs of one key share a part of the limits, such as those of a tenant; may be empty. */
  readonly key: string
  /** Runs of a higher priority come first. A whole number. */
  readonly priority: number
}

/**
 * A run that waits for another one.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Parent {
  /** Its id. */
  readonly run: string
  /** The key of the signal that it gets when the other one ends. */
  readonly signal: string
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
  readonly status: OutcomeStatus
  readonly exit: string
  readonly at: number
}

/**
 * How a run ended. `exhausted` is a failure that ended a recovery because it had
 * no further option, such as a used up retry; `cancelled` is the end that an
 * operator or the program asked for; `failed` is any other failure.
 *
 * @since 0.1.0
 * @category runs
 */
export type OutcomeStatus = "completed" | "failed" | "exhausted" | "cancelled"

/**
 * The status of a run: `held` if it is on hold and no process has its lease;
 * `suspended` if it waits for a time or a signal, or was postponed because its
 * executions keep stopping; `stopped` if it could be advanced now, or waits in
 * its queue, and no process has its lease.
 *
 * @since 0.1.0
 * @category runs
 */
export type Status = "running" | "held" | "suspended" | "stopped" | OutcomeStatus

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
  /** When the run is due without a signal, by the store's clock; `untilSignalled` for never. */
  readonly dueAt: number
  /** What the run waits for, JSON; `undefined` if it was only interrupted. */
  readonly waiting?: string | undefined
  /** How many signals the run has read. If more are stored, or a request to cancel the run, it is due at once. */
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
  /** Unique to the call that acquired it. One call of `claimDue` leases several runs to one owner. */
  readonly owner: string
  /** When it was acquired, by the store's clock. */
  readonly since: number
}

/**
 * @since 0.1.0
 * @category runs
 */
export interface NewRun {
  readonly id: string
  readonly workflow: string
  readonly version: string
  readonly input: string
  readonly labels: Readonly<Record<string, string>>
  readonly parent?: Parent | undefined
}

/**
 * @since 0.1.0
 * @category runs
 */
export interface OpenRequest extends NewRun {
  /** Claims the run with this key, whatever its id, and creates none. */
  readonly key?: number | undefined
  /** The id of the hold that the caller has on the run. */
  readonly heldAs?: string | undefined
  /** Claims the run also if it is queued, beyond the limits of the queue. */
  readonly ignoreQueue?: boolean | undefined
  /** The caller changes the run and does not advance it: of a queued run, that is no start. */
  readonly isVisit?: boolean | undefined
}

/**
 * What `open` found, and whether the caller may advance the run:
 *
 * - `Created`: the run is new and leased to the caller
 * - `Claimed`: the run had stopped and is leased to the caller
 * - `Leased`: another owner has the lease
 * - `Held`: the run is on hold, and the caller did not name the hold
 * - `Queued`: the run is queued, so `claimDue` leases it
 * - `Finished`: the run has an outcome
 * - `Gone`: there is no run with the `key` that was asked for
 * - `Different`: the run belongs to another workflow or input; nothing changed
 *
 * @since 0.1.0
 * @category runs
 */
export type Opened =
  | { readonly _tag: "Created" | "Claimed"; readonly run: Run; readonly lease: Lease }
  | { readonly _tag: "Leased" | "Held" | "Queued"; readonly run: Run }
  | { readonly _tag: "Finished"; readonly run: Run }
  | { readonly _tag: "Different"; readonly run: Run }
  | { readonly _tag: "Gone" }

/**
 * A run to record without a lease.
 *
 * @since 0.1.0
 * @category runs
 */
export interface EnqueueRequest extends NewRun {
  readonly queue?: RunQueue | undefined
  /** How long it is not due, in milliseconds. Defaults to 0. */
  readonly delay?: number | undefined
  /**
   * If the run exists with the same workflow and version, was never leased, and has no outcome, hold or request to
   * cancel it, replaces its input and its due time.
   */
  readonly debounce?: boolean | undefined
}

/**
 * The result of `enqueue`. An `Existing` run was not changed; it may have another
 * workflow or input.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Enqueued {
  readonly _tag: "Created" | "Replaced" | "Existing"
  readonly run: Run
}

/**
 * The result of holding a run: `Held` under the wanted id, also if it was before;
 * `Other` if another hold is on it.
 *
 * @since 0.1.0
 * @category runs
 */
export type Holding = { readonly _tag: "Held" | "Other"; readonly run: Run } | { readonly _tag: "Unknown" }

/**
 * The result of a request to cancel a run: `Taken` if it had one before.
 *
 * @since 0.1.0
 * @category runs
 */
export type Cancelling = "Requested" | "Taken" | "Finished" | "Unknown"

/**
 * What an operator or the program wants of a run that is leased.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Control {
  readonly lease: Lease
  readonly hold: Hold | undefined
  readonly cancel: string | undefined
}

/**
 * How a run continues with a new journal.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Continuation {
  readonly input: string
  /** The first line of the new journal. Its number is higher than those of the old one. */
  readonly entry: Entry
  /** The keys of the signals that the old generation has read. They are removed; the others stay, in their order. */
  readonly read: ReadonlyArray<string>
}

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
 * Runs of one workflow in one version.
 *
 * @since 0.1.0
 * @category runs
 */
export interface WorkflowVersion {
  readonly workflow: string
  readonly version: string
}

/**
 * The limits of a queue. They hold for all runs of the queue in the store,
 * whichever process claims them.
 *
 * @since 0.1.0
 * @category runs
 */
export interface QueueLimits {
  readonly name: string
  /** The most leased runs at once. Defaults to no limit. */
  readonly concurrency?: number | undefined
  /** The most leased runs of one key at once. Defaults to no limit. */
  readonly perKey?: number | undefined
  /** The most runs that are leased for the first time within any such period, of the queue or of each key. */
  readonly rate?: { readonly limit: number; readonly millis: number; readonly perKey: boolean } | undefined
}

/**
 * The shards of runs that a process owns. A run's shard is `abs(hash(id) % shards) + 1`,
 * with the hash of `Sharding` of @effect/cluster.
 *
 * @since 0.1.0
 * @category runs
 */
export interface OwnedShards {
  /** How many shards there are, at least 1. */
  readonly shards: number
  /** The numbers of those that the process owns, from 1 to `shards`. */
  readonly owned: ReadonlyArray<number>
}

/**
 * Which placed leases to end: those of other processes than `by` on runs of these
 * shards. `by` is the name that the owners of its leases begin with, without the last `/`.
 *
 * @since 0.1.0
 * @category runs
 */
export interface PlacedLeases extends OwnedShards {
  readonly by: string
}

/**
 * Which due runs to claim, those that have been due longest first. Of one queue,
 * those of the highest priority come first; among these, those whose key has the
 * fewest leased runs, counting those that this call claims; then those of the key
 * whose last start is the oldest. A key whose limit is reached is passed over. The
 * limit of the call keeps the order of each queue.
 *
 * @since 0.1.0
 * @category runs
 */
export interface DueQuery {
  readonly workflows: ReadonlyArray<WorkflowVersion>
  /** Queued runs are claimed of these queues only. Defaults to none. */
  readonly queues?: ReadonlyArray<QueueLimits> | undefined
  /** The ids of runs that are left out, such as those that just stopped and those that are known to be damaged. */
  readonly except?: ReadonlyArray<string> | undefined
  /**
   * Only runs of these shards are claimed, and runs that a store of an earlier version recorded, whose shard is not
   * known. Defaults to all runs.
   */
  readonly placement?: OwnedShards | undefined
  /**
   * Only runs whose last owner did not release them: their leases have expired, or have been ended since their
   * processes are dead. No queued ones are among them. Defaults to false.
   */
  readonly orphans?: boolean | undefined
  /** The most runs that are answered, the damaged ones among them. */
  readonly limit: number
}

/**
 * What `claimDue` found: a run that is leased to the caller, or one that cannot be
 * read. A damaged run is not leased; its `damaged` says why.
 *
 * @since 0.1.0
 * @category runs
 */
export type DueRun =
  | { readonly _tag: "Claimed"; readonly run: Run; readonly lease: Lease }
  | { readonly _tag: "Damaged"; readonly run: Run }

/**
 * What a run must wait for to be listed.
 *
 * @since 0.1.0
 * @category runs
 */
export interface WaitsFor {
  /** Such as `question`. */
  readonly kind: string
  /** Only if it has waited since before this time. */
  readonly before?: number | undefined
}

/**
 * Which runs to list, newest first.
 *
 * @since 0.1.0
 * @category runs
 */
export interface Query {
  readonly workflow?: string | undefined
  readonly version?: string | undefined
  readonly status?: Status | undefined
  /** Only runs with all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Only runs of this queue. */
  readonly queue?: string | undefined
  /** Only runs whose parent has this id. */
  readonly parent?: string | undefined
  /** Only runs created at this time or later. */
  readonly createdSince?: number | undefined
  /** Only runs created before this time. */
  readonly createdBefore?: number | undefined
  /** Only runs that wait for something like this. */
  readonly waitsFor?: WaitsFor | undefined
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
  /** Runs that could be claimed, those of queues among them. */
  readonly due: number
  /** Runs that are not due yet. */
  readonly waiting: number
  /** Runs that are on hold; they are neither `due` nor `waiting`. */
  readonly held: number
  /** Since when the oldest due run could be advanced. */
  readonly oldest: number | undefined
  /** When the first of the waiting runs is due; undefined if they wait for signals alone. */
  readonly next: number | undefined
}

/**
 * The open runs of one queue that are not on hold.
 *
 * @since 0.1.0
 * @category runs
 */
export interface QueueCount {
  readonly queue: string
  /** Runs that are leased. */
  readonly running: number
  /** Runs that are due and wait for a place. */
  readonly due: number
  /** Runs that are not due yet. */
  readonly waiting: number
  /** Since when the oldest due run waits. */
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
   * Creates the run, or claims it if it has no outcome, is not on hold or queued,
   * and its lease was released, has expired or belongs to a process that is known
   * to be dead. A run that is created need not be on stable storage before its first
   * line that is: a power cut that takes the one takes the other.
   */
  readonly open: (request: OpenRequest, owner: string, leaseMillis: number) => Effect.Effect<Opened, StorageError>
  /** Creates a run that no owner has a lease of. Does not change one that exists, unless it is to be debounced. */
  readonly enqueue: (request: EnqueueRequest) => Effect.Effect<Enqueued, StorageError>
  /**
   * Claims runs that are due, not leased and not on hold, of all these workflows
   * together. The leases of processes that are known to be dead have ended. Callers
   * that claim at once get different runs, and never more of a queue than it allows.
   */
  readonly claimDue: (
    query: DueQuery,
    owner: string,
    leaseMillis: number
  ) => Effect.Effect<ReadonlyArray<DueRun>, StorageError>
  /**
   * Appends lines to the journal, all of them or none. Appends of one run end in
   * the order in which they were called: when one has ended, those before it have.
   *
   * With the durability `"process-crash"` the lines need not be on stable storage when
   * the append ends: they survive the end of the process, and a power cut may take
   * them unless a later append of this store that is durable has ended before. A store
   * may always do more.
   */
  readonly append: (
    lease: Lease,
    entries: ReadonlyArray<Entry>,
    durability?: "process-crash"
  ) => Effect.Effect<void, StorageError | LeaseLost>
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
   * Removes the outcome of a run and a request to cancel it, appends the entry and
   * leases the run to the caller. Returns none and changes nothing if the run is no
   * longer as it was found, or is on hold and `heldAs` is not the id of that hold.
   */
  readonly reopen: (
    found: Run,
    entry: Entry,
    owner: string,
    leaseMillis: number,
    heldAs?: string
  ) => Effect.Effect<Option.Option<Lease>, StorageError>
  /**
   * Puts a run on hold, whether or not it is leased, and also if it has an outcome.
   * `from` is the id of a hold that this one replaces.
   */
  readonly hold: (run: string, hold: Omit<Hold, "at">, from?: string) => Effect.Effect<Holding, StorageError>
  /** Ends the hold with this id. Returns false if the run has no such hold. Its due time is what it was. */
  readonly releaseHold: (run: string, id: string) => Effect.Effect<boolean, StorageError>
  /** Stores a request to cancel the run unless it has one, and makes it due. Changes no run that has an outcome. */
  readonly cancel: (run: string, request: string) => Effect.Effect<Cancelling, StorageError>
  /**
   * Ends a run, also one that is leased: the lease is lost. Returns the recorded
   * outcome, which an earlier one stays; none if there is no such run.
   */
  readonly terminate: (run: string, outcome: Omit<Outcome, "at">) => Effect.Effect<Option.Option<Outcome>, StorageError>
  /** Those of the leases that are in force and whose runs are on hold or to be cancelled. */
  readonly controls: (leases: ReadonlyArray<Lease>) => Effect.Effect<ReadonlyArray<Control>, StorageError>
  /** Begins the next generation of a run under the same lease. Returns its number. */
  readonly continueAs: (lease: Lease, next: Continuation) => Effect.Effect<number, StorageError | LeaseLost>
  /** Changes the version of a run. */
  readonly adopt: (lease: Lease, version: string) => Effect.Effect<void, StorageError | LeaseLost>
  /**
   * Ends the lease and records the outcome if the run has none, with the signal
   * for its parent if it has one. Returns the recorded outcome.
   */
  readonly finish: (lease: Lease, outcome: Omit<Outcome, "at">) => Effect.Effect<Outcome, StorageError | LeaseLost>
  /** Prolongs leases. Returns those that are lost. */
  readonly renew: (
    leases: ReadonlyArray<Lease>,
    leaseMillis: number
  ) => Effect.Effect<ReadonlyArray<Lease>, StorageError>
  /** Ends the leases of this owner: that on the run with this id, or all of them. */
  readonly release: (owner: string, run?: string) => Effect.Effect<void, StorageError>
  /**
   * Ends placed leases, which are those whose owner ends with a number that begins with 0. The owner of such a lease
   * loses it when another process takes the run: until then, a renewal brings it back. Returns how many it ended.
   */
  readonly endPlacedLeases: (leases: PlacedLeases) => Effect.Effect<number, StorageError>
  /** Ends the lease of a run that waits. */
  readonly suspend: (lease: Lease, suspension: Suspension) => Effect.Effect<void, StorageError | LeaseLost>
  /** Stores a signal and makes the run due, unless the run has a signal of this key. */
  readonly signal: (run: string, key: string, payload: string) => Effect.Effect<Signalled, StorageError>
  /** The signals of a run, oldest first, without the first `skip` of them. `skip` defaults to 0. */
  readonly signals: (key: number, skip?: number) => Effect.Effect<ReadonlyArray<Signal>, StorageError>
  /** Counts the open runs of queues. */
  readonly queues: Effect.Effect<ReadonlyArray<QueueCount>, StorageError>
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
   * and snapshots: each entirely or not at all, in several commits where that keeps
   * commits short. Returns how many it removed.
   */
  readonly removeRuns: (keys: ReadonlyArray<number>) => Effect.Effect<number, StorageError>
  readonly countRuns: Effect.Effect<ReadonlyArray<RunCount>, StorageError>
}
