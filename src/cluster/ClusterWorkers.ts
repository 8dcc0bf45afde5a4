/**
 * Workers whose runs `@effect/cluster` places: each run belongs to a shard, and
 * the runner that owns the shard advances it.
 *
 * @since 0.1.0
 */
import * as ClusterSchema from "@effect/cluster/ClusterSchema"
import * as Entity from "@effect/cluster/Entity"
import { Sharding } from "@effect/cluster/Sharding"
import * as Rpc from "@effect/rpc/Rpc"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Layer from "effect/Layer"
import type { Placement } from "../durable/internal/worker/placement.js"
import { makeService, settingsOf } from "../durable/internal/worker/service.js"
import type { WorkerState } from "../durable/internal/worker/worker.js"
import type { RunSchedule } from "../durable/RunSchedule.js"
import * as Worker from "../durable/Worker.js"
import type { Workflow } from "../durable/Workflow.js"
import type { Storage } from "../storage/Storage.js"
import { shardOf } from "../storage/shards.js"
import { countShards, keeperNames, ownedShards } from "./internal/shards.js"

/**
 * A second layer of workers was given a shard group of one `Sharding`, beside the first one or after its end:
 * `Sharding` registers the keepers of a group once.
 *
 * @since 0.1.0
 * @category errors
 */
export class DuplicateShardGroup extends Data.TaggedError("DuplicateShardGroup")<{ readonly shardGroup: string }> {
  override get message(): string {
    return `This Sharding has, or had, another ClusterWorkers layer with the shard group "${this.shardGroup}". Give all workflows of the group to one layer, or each layer a shardGroup of its own. To start the workers again, build Sharding again, too.`
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Schedules extends ReadonlyArray<RunSchedule<unknown>> = ReadonlyArray<RunSchedule>>
  extends Worker.Options<Schedules> {
  /**
   * The shard group whose shards place the runs. The runner must have it among its
   * `assignedShardGroups`; otherwise this process takes no runs. All runs are of
   * each group, so processes of one workflow need one group. Defaults to `"default"`.
   */
  readonly shardGroup?: string | undefined
}

/**
 * Runs a worker that takes the runs of the shards that this runner owns, as long as
 * the layer lives.
 *
 * The shard of a run follows from its id, as that of an entity with this id. *The
 * shard says which process should advance a run; the lease with its fencing token
 * says which one may write.* So two runners that both believe they own a shard do no
 * harm, and the new owner of a shard ends the leases of the former owner at once,
 * without waiting for them to expire. When a shard moves in order, no further step of
 * its runs begins, the running ones may end (`drain`), and then the shard moves.
 *
 * All else is as with `Worker.layer`: queues, schedules, holds and signals keep
 * their promises, and `Workflow.start`, `execute` and `join` need only the `Storage`,
 * in any process.
 *
 * @example
 * ```ts
 * import { TestRunner } from "@effect/cluster"
 * import { Storage, Workflow } from "effect-recovery"
 * import { ClusterWorkers } from "effect-recovery/cluster"
 * import { Effect, Layer } from "effect"
 *
 * const Greet = Workflow.make("greet", {}, () => Effect.log("hello"))
 *
 * // In production NodeClusterSocket.layer and PgStorage.layer, on one Postgres.
 * const runner = ClusterWorkers.layer([Greet]).pipe(
 *   Layer.provide(TestRunner.layer),
 *   Layer.provideMerge(Storage.layerMemory)
 * )
 *
 * const program = Effect.gen(function* () {
 *   yield* Workflow.start(Greet, { id: "greet-1" })
 *   yield* Workflow.join(Greet, "greet-1")
 * })
 *
 * program.pipe(Effect.provide(runner), Effect.runPromise)
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <
  const W extends ReadonlyArray<Workflow<never, unknown, unknown, unknown, unknown>>,
  const Schedules extends ReadonlyArray<RunSchedule<unknown>> = readonly []
>(
  workflows: W,
  options: Options<Schedules> = {}
): Layer.Layer<
  Worker.Worker,
  Worker.Duplicate | DuplicateShardGroup,
  Sharding | Storage | Worker.Requirements<W[number]> | Worker.RequirementsOfSchedule<Schedules[number]>
> => {
  const { schedules = [], shardGroup = "default", ...given } = options
  const settings = settingsOf(given)
  return Layer.scoped(
    Worker.Worker,
    Effect.gen(function* () {
      const sharding = yield* Sharding
      const taken = yield* takeGroup(sharding, shardGroup)
      const shards = countShards(sharding, shardGroup)
      if (shards === undefined) return yield* Effect.dieMessage(unknownPlacement)
      const keepers = yield* makeKeepers(sharding, shardGroup, shards)
      const placed = { ...settings, placement: keepers.placement }
      const { service, state } = yield* makeService("ClusterWorkers.layer", workflows, schedules, placed)
      taken.isRegistered = true
      yield* keepers.open(state)
      return service
    })
    // The bodies need what the workflows need, and inputs what their schemas need.
  ) as Layer.Layer<
    Worker.Worker,
    Worker.Duplicate | DuplicateShardGroup,
    Sharding | Storage | Worker.Requirements<W[number]> | Worker.RequirementsOfSchedule<Schedules[number]>
  >
}

const unknownPlacement =
  "This version of @effect/cluster places entities in another way than ClusterWorkers knows. Use @effect/cluster 0.60."

type Service = Sharding["Type"]

const groups = new WeakMap<Service, Set<string>>()

/**
 * The keepers of a shard group have one name in all runners. `Sharding` ignores a second registration of a name without
 * a word, also after the end of the first one, so the group stays taken once its keepers are registered.
 */
const takeGroup = (sharding: Service, shardGroup: string) =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      const taken = groups.get(sharding) ?? new Set()
      groups.set(sharding, taken)
      if (taken.has(shardGroup)) return Effect.fail(new DuplicateShardGroup({ shardGroup }))
      taken.add(shardGroup)
      return Effect.succeed({ taken, isRegistered: false })
    }),
    ({ isRegistered, taken }) => Effect.sync(() => !isRegistered && taken.delete(shardGroup))
  )

/** How often a process looks which shards it owns, in memory: `Sharding` tells no changes. */
const lookMillis = 200

/** A hint that does not arrive costs one sweep. */
const hintMillis = 5_000

/**
 * One entity for each shard. `Sharding` ends the entities of a shard before it lets
 * another runner have it, and waits for them: so a keeper hands over the runs of its
 * shard. Its message says that a run of the shard may be due.
 */
const makeKeepers = Effect.fnUntraced(function* (sharding: Service, group: string, shards: number) {
  const names = keeperNames(shards)
  const listeners = new Set<() => void>()
  const notify = () => {
    for (const listener of [...listeners]) listener()
  }
  const Keeper = Entity.make(`effect-recovery/${group}`, [Rpc.make("Wake")])
    .annotate(ClusterSchema.ShardGroup, () => group)
    .annotate(ClusterSchema.ClientTracingEnabled, false)
  const client = yield* sharding.makeClient(Keeper)
  /** The shards whose keeper stands in this process. */
  const kept = new Set<number>()
  /** The shards whose keepers are notified. */
  const asked = new Set<number>()
  const waking = yield* FiberMap.make<number>()
  const run = yield* FiberMap.runtime(waking)<never>()

  const tell = (shard: number) =>
    Effect.suspend(() => {
      asked.delete(shard)
      const name = names.get(shard)
      if (name === undefined) return Effect.void
      return Effect.ignore(Effect.timeout(client(name).Wake(undefined, { discard: true }), hintMillis))
    })
  // A change during the call may have come too late for it.
  const wake = (shard: number) => {
    asked.add(shard)
    run(shard, Effect.repeat(tell(shard), { while: () => asked.has(shard) }), { onlyIfMissing: true })
  }

  // Without its keeper a shard would move while its runs are executed, so its runs begin once the keeper stands.
  const isKept = (shard: number) => kept.has(shard) || !names.has(shard)
  const owned = () => ownedShards(sharding, group, shards).filter(isKept)
  const placement: Placement = {
    shards,
    owned,
    onChange: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    hint: (run) => wake(shardOf(run, shards))
  }

  let known = ""
  const look = Effect.sync(() => {
    for (const shard of ownedShards(sharding, group, shards)) {
      if (!isKept(shard)) wake(shard)
    }
    const seen = owned().join()
    if (seen !== known) notify()
    known = seen
  })

  const open = Effect.fnUntraced(function* (worker: WorkerState) {
    const keep = Effect.gen(function* () {
      const { shardId } = yield* Entity.CurrentAddress
      kept.add(shardId.id)
      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          kept.delete(shardId.id)
          // A keeper that only begins again has nothing to hand over.
          if (sharding.hasShardId(shardId)) return Effect.void
          notify()
          return worker.handedOver(shardId.id)
        })
      )
      notify()
      return { Wake: () => Effect.sync(() => worker.look()) }
    })
    // Never idle: an idle entity ends, and its shard would move without it.
    yield* sharding.registerEntity(Keeper, keep, { maxIdleTime: Number.POSITIVE_INFINITY })
    yield* Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.zipRight(look, Effect.sleep(lookMillis)))))
  })

  return { placement, open }
})
