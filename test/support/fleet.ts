/** Runners of @effect/cluster in one process: each has its own `Sharding`, sockets on loopback, and the storage of a process. */
import { once } from "node:events"
import * as net from "node:net"
import * as MessageStorage from "@effect/cluster/MessageStorage"
import * as RunnerAddress from "@effect/cluster/RunnerAddress"
import * as RunnerHealth from "@effect/cluster/RunnerHealth"
import * as RunnerStorage from "@effect/cluster/RunnerStorage"
import type { Sharding } from "@effect/cluster/Sharding"
import * as ShardingConfig from "@effect/cluster/ShardingConfig"
import * as SocketRunner from "@effect/cluster/SocketRunner"
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { Worker } from "effect-recovery"

/** What runners share: which of them there are, and which of them holds the lock of a shard. */
export interface Runners {
  readonly storage: RunnerStorage.RunnerStorage["Type"]
  /** How often a runner asked for shards and did not get all of them. */
  readonly refusals: () => number
}

export const makeRunners = (): Runners => {
  let refusals = 0
  const runners = new Map<string, string>()
  const holders = new Map<string, string>()
  const lock = (address: string, shards: ReadonlyArray<string>) =>
    Effect.sync(() =>
      shards.filter((shard) => {
        if (!holders.has(shard)) holders.set(shard, address)
        return holders.get(shard) === address
      })
    )
  const release = (address: string, isMeant: (shard: string) => boolean) =>
    Effect.sync(() => {
      for (const [shard, holder] of holders) if (holder === address && isMeant(shard)) holders.delete(shard)
    })
  const storage = RunnerStorage.makeEncoded({
    getRunners: Effect.sync(() => [...runners.values()].map((runner) => [runner, true] as const)),
    register: (address, runner) => Effect.sync(() => runners.set(address, runner).size),
    unregister: (address) => Effect.sync(() => void runners.delete(address)),
    setRunnerHealth: () => Effect.void,
    acquire: (address, shards) =>
      Effect.tap(lock(address, shards), (held) => {
        if (held.length < shards.length) refusals++
      }),
    refresh: lock,
    release: (address, shard) => release(address, (one) => one === shard),
    releaseAll: (address) => release(address, () => true)
  })
  return { storage, refusals: () => refusals }
}

const freePort = async (): Promise<number> => {
  const server = net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, "close")
  return port
}

export const shards = 12

/** A `Sharding` on a port of loopback that hears of other runners at once. */
export const runner = ({ storage }: Runners, groups: ReadonlyArray<string> = ["default"]): Layer.Layer<Sharding> =>
  Layer.unwrapEffect(
    Effect.map(Effect.promise(freePort), (port) =>
      Layer.fresh(SocketRunner.layer).pipe(
        Layer.provide([
          Layer.fresh(NodeClusterSocket.layerSocketServer),
          Layer.fresh(NodeClusterSocket.layerClientProtocol)
        ]),
        Layer.provide([MessageStorage.layerNoop, RpcSerialization.layerMsgPack, RunnerHealth.layerNoop]),
        Layer.provide(Layer.succeed(RunnerStorage.RunnerStorage, storage)),
        Layer.provide(
          ShardingConfig.layer({
            runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", port)),
            availableShardGroups: groups,
            assignedShardGroups: groups,
            shardsPerGroup: shards,
            refreshAssignmentsInterval: 50,
            entityMessagePollInterval: 50,
            shardLockRefreshInterval: 50,
            sendRetryInterval: 20
          })
        ),
        Layer.orDie,
        Layer.provide(Logger.remove(Logger.defaultLogger))
      )
    )
  )

/** A process with a worker, which leaves when its scope closes. */
export const join = <R, E>(workers: Layer.Layer<Worker.Worker | R, E>) =>
  Effect.gen(function* () {
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
    const context = yield* Layer.buildWithScope(Layer.fresh(workers), scope)
    const { health } = Context.get(context, Worker.Worker)
    return { context, health, leave: Scope.close(scope, Exit.void) }
  })
