/**
 * One runner of the fleet: it advances the runs of the shards that it owns.
 *
 *     DATABASE_URL=postgres://… node runner.js 34431
 */
import { RunnerAddress } from "@effect/cluster"
import { NodeClusterSocket, NodeRuntime } from "@effect/platform-node"
import { Console, Layer, Logger, LogLevel, Option } from "effect"
import { Events } from "effect-recovery"
import { ClusterWorkers } from "effect-recovery/cluster"
import { client, storage } from "./database.js"
import { Report } from "./report.js"

const [port = "34431"] = process.argv.slice(2)

// After a SIGKILL its shards move within seven seconds; with the defaults of @effect/cluster within half a minute.
const cluster = NodeClusterSocket.layer({
  shardingConfig: {
    runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", Number(port))),
    runnerHealthCheckInterval: "2 seconds",
    refreshAssignmentsInterval: "1 second",
    shardLockRefreshInterval: "2 seconds",
    shardLockExpiration: "7 seconds",
    entityMessagePollInterval: "2 seconds",
    // The same for all runners. Each shard that moves costs statements on the connection of the locks.
    shardsPerGroup: 24
  }
}).pipe(Layer.provide(client))

// What the supervisor shows: a line of JSON for each event of a run.
const reporting = Events.layer(({ _tag, source }) => Console.log(JSON.stringify({ event: _tag, run: source.run })))

const workers = ClusterWorkers.layer([Report]).pipe(
  Layer.provide([cluster, storage]),
  Layer.provide([reporting, Logger.minimumLogLevel(LogLevel.Warning)])
)

// SIGTERM: the running steps may end, and the other runners take the shards.
NodeRuntime.runMain(Layer.launch(workers))
