import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import type * as Storage from "../../../storage/Storage.js"
import { shardOf } from "../../../storage/shards.js"
import { Pulse } from "../execution/activity.js"
import type { Mode } from "../execution/execution.js"

/**
 * Which runs this process should advance. It may be wrong: the fencing token decides
 * who writes.
 *
 * A worker with a placement claims runs of the shards that it owns, and runs of
 * earlier versions of the library, which have no shard. Where it gains a shard, it
 * ends the leases that other workers acquired by their placements, and looks at once.
 * Leases of `Workflow.execute` and of ordinary workers stay. It also claims, with
 * ordinary leases, runs of any shard whose owner has died. Where it loses a shard,
 * no step begins in its runs, running steps get the `drain` of the worker, and then
 * the leases are released.
 */
export interface Placement {
  /** How many shards there are, at least 1. */
  readonly shards: number
  /** The numbers of the shards that this process owns now, from 1 to `shards`. Called with each sweep, so it must be cheap. */
  readonly owned: () => ReadonlyArray<number>
  /** Calls back when they have changed. Returns how to stop that. */
  readonly onChange: (notify: () => void) => () => void
  /** This process may have made a run due that another one owns. A lost hint costs one sweep. */
  readonly hint: (run: string) => void
}

/** A run that a placed worker executes. */
interface PlacedRun {
  readonly shard: number
  /** Another process owns the shard, so no step begins. It stays so if the shard comes back meanwhile. */
  isLost: boolean
  /** Called when the shard is lost. */
  readonly wakes: Set<() => void>
  fiber: Fiber.RuntimeFiber<void> | undefined
}

/** How a run is executed that a placed worker has taken. */
export interface Taken {
  readonly mode: Mode
  /** The run is executed by this fiber. */
  readonly begin: (fiber: Fiber.RuntimeFiber<void>) => void
}

export interface ShardSettings {
  readonly placement: Placement
  /** `hint` of the placement, unless the store tells other processes itself. */
  readonly hint: (run: string) => void
  /** How long running steps of a shard that was lost may take, in milliseconds. */
  readonly drainMillis: number
  /** Called with each change of the shards that this process owns, and whether it lost the shard of a run. */
  readonly onChange: (isLost: (run: string) => boolean) => void
}

/**
 * The shards that a worker owns, as its placement says: which runs it may claim,
 * which leases of others it ends, and which of its runs it hands over.
 */
export class OwnShards {
  private readonly placement: Placement
  private readonly settings: ShardSettings
  private readonly fork: (effect: Effect.Effect<unknown>) => unknown
  private owned: ReadonlySet<number> = new Set()
  /** Shards that were gained, and on whose runs others may have placed leases. */
  private readonly gained = new Set<number>()
  private readonly runs = new Map<string, PlacedRun>()
  /** The shards of a claim that has no answer yet. */
  private claiming: ReadonlySet<number> = new Set()
  private readonly handed = new Pulse()

  private constructor(settings: ShardSettings, fork: (effect: Effect.Effect<unknown>) => unknown) {
    this.placement = settings.placement
    this.settings = settings
    this.fork = fork
    this.refresh()
  }

  /** Follows the placement until the scope closes. */
  static readonly make = (settings: ShardSettings): Effect.Effect<OwnShards, never, Scope.Scope> =>
    Effect.gen(function* () {
      const drains = yield* FiberSet.make()
      const fork = yield* FiberSet.runtime(drains)<never>()
      const own = new OwnShards(settings, fork)
      const unsubscribe = settings.placement.onChange(own.refresh)
      yield* Effect.addFinalizer(() => Effect.sync(unsubscribe))
      return own
    })

  /** The shards of this process, in their order. */
  get numbers(): ReadonlyArray<number> {
    return [...this.owned].sort((a, b) => a - b)
  }

  owns(run: string): boolean {
    return this.owned.has(this.shardOf(run))
  }

  private shardOf(run: string): number {
    return shardOf(run, this.placement.shards)
  }

  /** Looks at what the placement says now, and hands over what was lost. */
  readonly refresh = (): void => {
    const before = this.owned
    const now = new Set(this.placement.owned())
    const lost = new Set([...before].filter((shard) => !now.has(shard)))
    const gained = [...now].filter((shard) => !before.has(shard))
    if (lost.size === 0 && gained.length === 0) return
    this.owned = now
    for (const shard of gained) this.gained.add(shard)
    for (const shard of lost) this.gained.delete(shard)
    for (const run of this.runs.values()) if (lost.has(run.shard)) this.handOver(run)
    this.settings.onChange((run) => lost.has(this.shardOf(run)))
  }

  /** Ends the leases that others have on runs of shards that were gained. A failure is tried again by the next call. */
  endLeasesOfOthers(storage: Storage.Service): Effect.Effect<void, Storage.StorageError> {
    return Effect.suspend(() => {
      if (this.gained.size === 0) return Effect.void
      const owned = [...this.gained]
      // A shard that is lost and gained again during the call may have new leases of others.
      this.gained.clear()
      return Effect.asVoid(
        Effect.onError(storage.endPlacedLeases({ shards: this.placement.shards, owned }), () =>
          Effect.sync(() => {
            for (const shard of owned) if (this.owned.has(shard)) this.gained.add(shard)
          })
        )
      )
    })
  }

  /** Claims and takes runs of the shards of this moment. */
  claim<A, E, R>(claim: (placement: Storage.OwnedShards) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      this.claiming = this.owned
      const claimed = claim({ shards: this.placement.shards, owned: this.numbers })
      return Effect.ensuring(
        claimed,
        Effect.sync(() => {
          this.claiming = new Set()
          this.handed.notify()
        })
      )
    })
  }

  /** The run is executed here from now on, in this mode. */
  take(run: string, mode: Mode): Taken {
    const shard = this.shardOf(run)
    // A run whose shard the store does not know may be of any shard.
    const isLost = this.claiming.has(shard) && !this.owned.has(shard)
    const one: PlacedRun = { shard, isLost, wakes: new Set(), fiber: undefined }
    this.runs.set(run, one)
    return {
      mode: {
        ...mode,
        isLeaving: () => one.isLost || mode.isLeaving(),
        onLeaving: (wake) => {
          one.wakes.add(wake)
          return () => void one.wakes.delete(wake)
        },
        backoff: (id, reason) => (one.isLost ? undefined : mode.backoff(id, reason))
      },
      begin: (fiber) => {
        one.fiber = fiber
        if (one.isLost) this.drain(one)
      }
    }
  }

  /** The run is no longer executed here. */
  leave({ id, parent }: Storage.Run): void {
    if (this.runs.get(id)?.isLost === true) this.settings.hint(id)
    this.runs.delete(id)
    // Its end may have made the parent due.
    if (parent !== undefined) this.tell(parent.run)
    this.handed.notify()
  }

  /** This process may have made the run due: tells the process that owns it. */
  tell(run: string): void {
    if (!this.owns(run)) this.settings.hint(run)
  }

  /** Ends when this process executes no run of a shard that it does not own any more. */
  handedOver(shard: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.refresh()
      const isExecuted = [...this.runs.values()].some((run) => run.shard === shard)
      if (!isExecuted && !this.claiming.has(shard)) return Effect.void
      return Effect.zipRight(Deferred.await(this.handed.next), this.handedOver(shard))
    })
  }

  private handOver(run: PlacedRun): void {
    if (run.isLost) return
    run.isLost = true
    for (const wake of [...run.wakes]) wake()
    this.drain(run)
  }

  /** Steps that run for too long are interrupted, as when the worker stops. */
  private drain(run: PlacedRun): void {
    const { fiber } = run
    if (fiber === undefined) return
    const { drainMillis } = this.settings
    const ended = Effect.timeoutOption(Fiber.await(fiber), Duration.millis(drainMillis))
    this.fork(Effect.zipRight(ended, Fiber.interruptFork(fiber)))
  }
}
