/** A runner of @effect/cluster on Postgres that runs until its parent ends it. */
import * as fs from "node:fs"
import * as RunnerAddress from "@effect/cluster/RunnerAddress"
import type { ShardingConfig } from "@effect/cluster/ShardingConfig"
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { Worker } from "effect-recovery"
import { ClusterWorkers } from "effect-recovery/cluster"
import { PgStorage } from "effect-recovery/pg"
import { makeClusterJob } from "./clusterJobs.js"

const [address = "", name = "", port = "", config = "{}", ledger = "", hangs = "", listens = port] =
  process.argv.slice(2)
const { database, host, port: databasePort, user } = JSON.parse(address)

const client = PgClient.layer({
  host,
  port: databasePort,
  database,
  username: user,
  applicationName: name,
  maxConnections: 4
})

const tuning: Partial<ShardingConfig["Type"]> = JSON.parse(config)

const cluster = NodeClusterSocket.layer({
  shardingConfig: {
    runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", Number(port))),
    runnerListenAddress: Option.some(RunnerAddress.make("127.0.0.1", Number(listens))),
    ...tuning
  }
}).pipe(Layer.provide(client))

const workers = ClusterWorkers.layer([makeClusterJob(ledger, name, hangs)], { concurrency: 50, patience: 0 }).pipe(
  Layer.provide([cluster, Layer.provide(PgStorage.layer({ lease: "30 seconds" }), client)]),
  Layer.provide(
    Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ message }) => fs.writeSync(2, `${message}\n`))
    )
  )
)

/** Says how many shards it owns, whenever their number changes. */
const program = Effect.gen(function* () {
  const { health } = yield* Worker.Worker
  fs.writeSync(1, "works\n")
  let before = -1
  const look = Effect.map(health, ({ shards }) => {
    const count = Option.match(shards, { onNone: () => 0, onSome: (owned) => owned.length })
    if (count !== before) fs.writeSync(1, `owns ${count}\n`)
    before = count
  })
  yield* Effect.repeat(Effect.ignore(look), Schedule.spaced("100 millis"))
})

NodeRuntime.runMain(Effect.provide(program, workers))
