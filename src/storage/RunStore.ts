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
  /** The fencing token of the latest lease; the first lease has 1. */
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
  /** How many signals were stored for the run. */
  readonly signals: number
  readonly outcome: Outcome | undefined
  /** Why the row is not what was written. Only lists return such rows: `find` and `open` fail instead. */
  readonly damaged?: string | undefined
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
 * no further option, such as a used up retry; `failed` is any other failure.
 *
 * @since 0.1.0
 * @category runs
 */
export type OutcomeStatus = "completed" | "failed" | "exhausted"

/**
 * The status of a run: `suspended` if it waits for a time or a signal, or was
 * postponed because its executions keep stopping; `stopped` if it could be
 * advanced now and no process holds its lease.
 *
 * @since 0.1.0
 * @category runs
 */
export type Status = "running" | "suspended" | "stopped" | OutcomeStatus

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
  /** Unique to the call that acquired it. One call of `claimDue` leases several runs to one owner. */
  readonly owner: string
  /** When it was acquired, by the store's clock. */
  readonly since: number
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
  /** Claims the run with this key, whatever its id, and creates none. */
  readonly key?: number | undefined
  /** Only creates a `new` run. Defaults to claiming an existing one as well. */
  readonly only?: "new" | undefined
}

/**
 * What `open` found, and whether the caller may advance the run:
 *
 * - `Created`: the run is new and leased to the caller
 * - `Claimed`: the run had stopped and is leased to the caller
 * - `Held`: another owner holds the lease
 * - `Finished`: the run has an outcome
 * - `Existing`: the run is not new, and `only` asked for that
 * - `Gone`: there is no run with the `key` that was asked for
 * - `Different`: the run belongs to another workflow or input; nothing changed
 *
 * @since 0.1.0
 * @category runs
 */
export type Opened =
  | { readonly _tag: "Created" | "Claimed"; readonly run: Run; readonly lease: Lease }
  | { readonly _tag: "Held"; readonly run: Run }
  | { readonly _tag: "Existing"; readonly run: Run }
  | { readonly _tag: "Finished"; readonly run: Run }
  | { readonly _tag: "Different"; readonly run: Run }
  | { readonly _tag: "Gone" }

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
 * Which due runs to claim, those that have been due longest first.
 *
 * @since 0.1.0
 * @category runs
 */
export interface DueQuery {
  readonly workflows: ReadonlyArray<WorkflowVersion>
  /** The ids of runs that are left out, such as those that just stopped and those that are known to be damaged. */
  readonly except?: ReadonlyArray<string> | undefined
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
  readonly status?: Status | undefined
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
  readonly due: number
  /** Runs that are not due yet. */
  readonly waiting: number
  /** Since when the oldest due run could be advanced. */
  readonly oldest: number | undefined
  /** When the first of the waiting runs is due; undefined if they wait for signals alone. */
  readonly next: number | undefined
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
  /**
   * Claims runs that are due and not leased, of all these workflows together,
   * those that have been due longest first. The leases of processes that are known
   * to be dead have ended. Callers that claim at once get different runs.
   */
  readonly claimDue: (
    query: DueQuery,
    owner: string,
    leaseMillis: number
  ) => Effect.Effect<ReadonlyArray<DueRun>, StorageError>
  /**
   * Appends lines to the journal, all of them or none. Appends of one run end in
   * the order in which they were called: when one has ended, those before it have.
   */
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
  /** Ends the leases of this owner: that on the run with this id, or all of them. */
  readonly release: (owner: string, run?: string) => Effect.Effect<void, StorageError>
  /** Ends the lease of a run that waits. */
  readonly suspend: (lease: Lease, suspension: Suspension) => Effect.Effect<void, StorageError | LeaseLost>
  /** Stores a signal and makes the run due, unless the run has a signal of this key. */
  readonly signal: (run: string, key: string, payload: string) => Effect.Effect<Signalled, StorageError>
  /** The signals of a run, oldest first, without the first `skip` of them. `skip` defaults to 0. */
  readonly signals: (key: number, skip?: number) => Effect.Effect<ReadonlyArray<Signal>, StorageError>
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
