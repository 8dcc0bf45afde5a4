/**
 * The service that keeps runs and their journals, snapshots, locks and records.
 * It works over any `Store`, keeps leases alive, and is provided as a Layer: in
 * memory here, in SQLite by `effect-recovery/sqlite`.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Events from "../resilience/Events.js"
import { invalidName } from "../resilience/InvalidName.js"
import { logged, orElseLogged } from "../resilience/internal/kernel/logged.js"
import { countRunControl } from "../resilience/internal/kernel/metrics.js"
import { millis } from "../resilience/internal/kernel/options.js"
import { liveClock } from "../resilience/internal/kernel/timer.js"
import { codeOf, encodedStore } from "./internal/encodedStore.js"
import { makeLeaseControls } from "./internal/leaseControls.js"
import { makeLeaseRenewal } from "./internal/leaseRenewal.js"
import { makeMemoryStore } from "./internal/memoryStore.js"
import type { Payloads } from "./Payloads.js"
import { type LeaseLost, StorageError } from "./StorageError.js"
import type {
  Change,
  Control,
  DueQuery,
  DueRun,
  Entry,
  Lease,
  Opened,
  OpenRequest,
  OwnedShards,
  Run,
  Store
} from "./Store.js"
import { leaseOwner } from "./shards.js"

/** @since 0.1.0 */
export type * from "./Payloads.js"
/** @since 0.1.0 */
export * from "./StorageError.js"
/** @since 0.1.0 */
export * from "./Store.js"
/** @since 0.1.0 */
export * from "./Tier.js"

/**
 * The `restore` function of `Effect.uninterruptibleMask`.
 *
 * @since 0.1.0
 * @category models
 */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * @since 0.1.0
 * @category models
 */
export interface Service
  extends Omit<
    Store,
    "open" | "claimDue" | "renew" | "release" | "reopen" | "restore" | "changes" | "endPlacedLeases"
  > {
  /** The name of this process in leases. */
  readonly owner: string
  /** The duration of a lease that is not renewed, in milliseconds. */
  readonly leaseMillis: number
  /** Only this service changes the store, so that each change is reported to `onChange`. */
  readonly isPrivate: boolean
  /** Other services over the store hear of changes from the store itself, such as by NOTIFY in Postgres. */
  readonly tellsOthers: boolean
  /**
   * Opens a run, and releases the lease if it is interrupted. Call it in an
   * uninterruptible region and pass the region's `restore`, so that only the wait
   * for the store can be interrupted.
   */
  readonly open: (request: OpenRequest, restore: Restore) => Effect.Effect<Opened, StorageError>
  /**
   * As `open`, for runs that are due. If it is interrupted, it releases the leases of all of them. With a `placement`,
   * the leases are placed ones: see `endPlacedLeases`.
   */
  readonly claimDue: (query: DueQuery, restore: Restore) => Effect.Effect<ReadonlyArray<DueRun>, StorageError>
  /** As `open`, for a run that has an outcome. */
  readonly reopen: (
    found: Run,
    entry: Entry,
    restore: Restore,
    heldAs?: string
  ) => Effect.Effect<Option.Option<Lease>, StorageError>
  /** Encodes what belongs to a journal and is kept in another database, as the journal is encoded, and decodes it. */
  readonly outside: Outside
  /**
   * Ends the placed leases that other processes have on runs of these shards. Ordinary leases stay. Returns how many
   * it ended.
   */
  readonly endPlacedLeases: (shards: OwnedShards) => Effect.Effect<number, StorageError>
  /** Releases the lease. If the store refuses, the lease expires. */
  readonly release: (lease: Lease) => Effect.Effect<void>
  /**
   * Renews the lease in the background until the returned function is called.
   * Calls `onLost` once if the lease is lost. Calls `onControl` when the run is put on
   * hold or off hold, or is to be cancelled, also if that was between the claim and
   * this call: at once if this process or a store with `changes` did it, else within
   * about a second.
   */
  readonly keep: (lease: Lease, onLost: (error: LeaseLost) => void, onControl: (control: Control) => void) => () => void
  /**
   * Calls the listener when a run was enqueued, signalled, suspended, released,
   * put on or off hold, asked to be cancelled, or ended:
   * by this process, or by another if the store says so (see `Store.changes`). The
   * id is empty also if this process changed a schedule. Ends when the returned
   * function is called.
   */
  readonly onChange: (listener: ChangeListener) => () => void
}

/**
 * Hears of changes of runs, see `onChange` of the service.
 *
 * @since 0.1.0
 * @category models
 */
export type ChangeListener = (change: ReportedChange) => void

/**
 * A change as the service reports it.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReportedChange extends Change {
  /** This service made it, so it has happened, or the answer of the store was lost. Other changes are hints of the store. */
  readonly isOwn: boolean
}

/**
 * What the `payloads` of a storage do with a text that is stored elsewhere. `what` names it in errors.
 *
 * @since 0.1.0
 * @category models
 */
export interface Outside {
  readonly encode: (text: string, what: string) => Effect.Effect<string, StorageError>
  readonly decode: (text: string, what: string) => Effect.Effect<string, StorageError>
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
  /** The name of this process in leases. Must be unique to this service. */
  readonly owner: string
  /**
   * How long a run stays leased to a process that no longer renews the lease.
   * Leases are renewed every third of it. At least 1 millisecond. Defaults to 30 seconds.
   */
  readonly lease?: Duration.DurationInput | undefined
  /**
   * Only this service uses the store. Then workers look for due runs when
   * something changes or a run becomes due, and not at intervals. Defaults to false.
   */
  readonly isPrivate?: boolean | undefined
  /** Encodes everything that programs store, such as by encryption. Defaults to none. */
  readonly payloads?: Payloads | undefined
}

/**
 * Builds the service over a store.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (given: Store, options: Options): Effect.Effect<Service, never, Scope.Scope> => {
  const store = options.payloads === undefined ? given : encodedStore(given, options.payloads)
  const leaseMillis = millis("lease", options.lease ?? "30 seconds", 1)
  let acquisitions = 0
  /** How many acquisitions had begun when this process last put a run on hold, or asked to cancel one. */
  let acquisitionsBeforeControl = 0
  const listeners = new Set<ChangeListener>()
  const notify = (change: ReportedChange) => {
    for (const listener of [...listeners]) {
      orElseLogged(() => listener(change), undefined, "a listener of the storage threw")
    }
  }
  const thenNotify = reporting((run, isDue = false) => notify({ run, isDue, isOwn: true }))
  // Waits 1 second at most: a process that stops must not hang on a busy file. The release continues in the background.
  // By the platform's clock: a program that moves another clock would not wait for a release that is about to end.
  const release = (owner: string, run?: string) =>
    Effect.flatMap(Effect.forkDaemon(thenNotify(Effect.ignore(store.release(owner, run)), run ?? "", true)), (fiber) =>
      Effect.asVoid(
        Effect.withClock(Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), "1 second"), liveClock)
      )
    )
  const acquire = <A>(
    restore: Restore,
    lease: (owner: string) => Effect.Effect<A, StorageError>,
    run?: string,
    isPlaced?: boolean
  ): Effect.Effect<A, StorageError> =>
    Effect.suspend(() => {
      const owner = leaseOwner(options.owner, ++acquisitions, isPlaced)
      return orReleased(restore(lease(owner)), release, store.release, owner, run)
    })
  const thenNotifyControl: Reporting = (self, run, isDue) =>
    thenNotify(
      Effect.map(self, (value) => {
        acquisitionsBeforeControl = acquisitions
        return value
      }),
      run,
      isDue
    )
  // A private store is changed by this service alone, which reports each change itself.
  const listening =
    options.isPrivate === true || store.changes === Stream.empty
      ? Effect.void
      : Effect.forkScoped(
          Effect.interruptible(
            logged(
              Stream.runForEach(store.changes, (change) => Effect.sync(() => notify({ ...change, isOwn: false }))),
              "the storage no longer hears what other processes change"
            )
          )
        )
  const isPrivate = options.isPrivate === true
  const watching = Effect.tap(makeLeaseControls(store, { isPrivate, leaseMillis }), ({ changed }) => {
    listeners.add(changed)
  })
  const keeping = Effect.zip(makeLeaseRenewal(store, leaseMillis), watching)
  return Effect.map(Effect.zipRight(listening, keeping), ([renew, controls]) => ({
    ...store,
    owner: options.owner,
    leaseMillis,
    isPrivate,
    tellsOthers: store.changes !== Stream.empty,
    outside: options.payloads === undefined ? asItIs : codeOf(options.payloads, "journal"),
    open: (request, restore) => acquire(restore, (owner) => store.open(request, owner, leaseMillis), request.id),
    claimDue: (query, restore) =>
      acquire(restore, (owner) => store.claimDue(query, owner, leaseMillis), undefined, query.placement !== undefined),
    endPlacedLeases: (shards) => store.endPlacedLeases({ ...shards, by: options.owner }),
    reopen: (found, entry, restore, heldAs) =>
      acquire(restore, (owner) => store.reopen(found, entry, owner, leaseMillis, heldAs), found.id),
    // Workers wait for schedules that are triggered or resumed.
    write: (record, counts) => {
      const written = store.write(record, counts)
      return record.kind === "schedule" ? thenNotify(written, "") : written
    },
    enqueue: (request) => thenNotify(store.enqueue(request), request.id, true),
    ...operationsById(store, thenNotify, thenNotifyControl, controls.held),
    release: (lease) => release(lease.owner, lease.run),
    suspend: (lease, suspension) => thenNotify(store.suspend(lease, suspension), lease.run),
    finish: (lease, outcome) => thenNotify(store.finish(lease, outcome), lease.run),
    keep: (lease, onLost, onControl) => {
      const stopRenewing = renew(lease, onLost)
      // A run that was put on hold between its claim and this call was not reported to this lease.
      const stopWatching = controls.watch(lease, onControl, acquisitionOf(lease) <= acquisitionsBeforeControl)
      return () => {
        stopRenewing()
        stopWatching()
      }
    },
    onChange: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    }
  }))
}

/**
 * Releases what an acquisition may have leased that was interrupted, or whose answer was lost: then in the background,
 * and without news, since a worker that looks again at once would do so for as long as the store cannot be reached.
 * In the uninterruptible region of its caller.
 */
const orReleased = <A>(
  acquisition: Effect.Effect<A, StorageError>,
  release: (owner: string, run?: string) => Effect.Effect<void>,
  releaseLost: Store["release"],
  owner: string,
  run: string | undefined
) =>
  Effect.catchAllCause(acquisition, (cause) => {
    const isLost = Option.exists(Cause.failureOption(cause), mayHaveHappened)
    const inBackground = Effect.suspend(() => Effect.forkDaemon(Effect.ignore(releaseLost(owner, run))))
    const released = Cause.isInterrupted(cause) ? release(owner, run) : isLost ? inBackground : Effect.void
    return Effect.zipRight(released, Effect.failCause(cause))
  })

/** Notifies when an operation has happened, and when that is not known. */
const reporting =
  (notify: (run: string, isDue?: boolean) => void): Reporting =>
  (self, run, isDue) =>
    Effect.tapError(
      Effect.map(self, (value) => {
        notify(run, isDue)
        return value
      }),
      (error) =>
        Effect.when(
          Effect.sync(() => notify(run, isDue)),
          () => mayHaveHappened(error)
        )
    )

/** The answer of the store was lost, and with it whether the operation has happened. */
const mayHaveHappened = (error: unknown): boolean =>
  error instanceof StorageError && (error.reason === "Unavailable" || error.reason === "Io")

type Reporting = <A, E>(self: Effect.Effect<A, E>, run: string, isDue?: boolean) => Effect.Effect<A, E>

/** Operations on the run with an id. For an id that no run can have, a database would look for another one. */
const operationsById = (
  store: Store,
  thenNotify: Reporting,
  thenNotifyControl: Reporting,
  held: (run: Run) => void
): Pick<Service, "hold" | "releaseHold" | "cancel" | "terminate" | "find" | "signal"> => {
  const isPossible = (run: string): boolean => invalidName("run", run) === undefined
  const holding: Store["hold"] = (run, hold, from) =>
    Effect.tap(store.hold(run, hold, from), (holding) => {
      if (holding._tag !== "Held") return Effect.void
      held(holding.run)
      countRunControl("held")
      return Events.emit({ _tag: "RunHeld", source: { run }, hold: hold.id, reason: hold.reason })
    })
  const releasing: Store["releaseHold"] = (run, id) =>
    Effect.tap(store.releaseHold(run, id), (isReleased) => {
      if (!isReleased) return Effect.void
      countRunControl("released")
      return Events.emit({ _tag: "RunReleased", source: { run }, hold: id })
    })
  return {
    hold: (run, hold, from) =>
      isPossible(run) ? thenNotifyControl(holding(run, hold, from), run) : Effect.succeed({ _tag: "Unknown" }),
    releaseHold: (run, id) => (isPossible(run) ? thenNotify(releasing(run, id), run, true) : Effect.succeed(false)),
    cancel: (run, request) =>
      isPossible(run) ? thenNotifyControl(store.cancel(run, request), run, true) : Effect.succeed("Unknown"),
    terminate: (run, outcome) =>
      isPossible(run) ? thenNotify(store.terminate(run, outcome), run) : Effect.succeedNone,
    find: (id) => (isPossible(id) ? store.find(id) : Effect.succeedNone),
    signal: (run, key, payload) =>
      isPossible(run) ? thenNotify(store.signal(run, key, payload), run, true) : Effect.succeed("Unknown")
  }
}

/** The number of the acquisition at the end of the owner of a lease. */
const acquisitionOf = ({ owner }: Lease): number => Number(owner.slice(owner.lastIndexOf("/") + 1))

const asItIs: Outside = { encode: Effect.succeed, decode: Effect.succeed }

/**
 * Keeps everything in memory, as long as the layer lives. The same program is
 * durable with the SQLite layer of `effect-recovery/sqlite`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<Storage> = Layer.scoped(
  Storage,
  Effect.flatMap(Random.nextIntBetween(0, 2 ** 31), (nonce) =>
    // No other process could take over a run, so its lease need not be renewed: 100 years.
    make(makeMemoryStore(), { owner: `memory-${nonce}`, lease: "36500 days", isPrivate: true })
  )
)

/**
 * An empty store in memory. Several services over one store behave like several
 * processes on one file.
 *
 * @since 0.1.0
 * @category constructors
 */
export const memoryStore: () => Store = makeMemoryStore
