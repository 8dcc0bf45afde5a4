import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import type { ShardingConfig } from "@effect/cluster/ShardingConfig"
import { afterAll, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Storage, Workflow } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { isSoak, lengthOf, seedOf } from "../support/campaigns.js"
import { type Child, seeded, useProgram } from "../support/children.js"
import { Partition } from "../support/partitions.js"
import { inPostgres } from "../support/postgres.js"
import { Go, type Line, makeClusterJob } from "./clusterJobs.js"

const kills = lengthOf("CLUSTER_KILLS")
const runs = lengthOf("CLUSTER_RUNS")
const seed = seedOf(20261130)

type Config = Partial<ShardingConfig["Type"]>

/** What the page on clusters says. */
const tuning: Config = {
  runnerHealthCheckInterval: 2_000,
  refreshAssignmentsInterval: 1_000,
  shardLockRefreshInterval: 2_000,
  shardLockExpiration: 7_000,
  entityMessagePollInterval: 2_000,
  shardsPerGroup: 60
}

const freePort = async (): Promise<number> => {
  const server = net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, "close")
  return port
}

const Job = makeClusterJob("", "outside")

interface Apart {
  readonly child: Child
  /** To the database, and from the other runners. */
  readonly networks: readonly [Partition, Partition]
}

inPostgres("runners of a cluster on Postgres", (database) => {
  const { folder, start } = useProgram("clusterRunner.ts")
  const children = new Set<Child>()
  const networks = new Set<Partition>()
  afterAll(async () => {
    for (const child of children) child.signal("SIGKILL")
    for (const network of networks) await network.close()
  })
  const outside = Layer.provide(PgStorage.layer(), Layer.orDie(database.client()))

  /** The runners of one test, which write to one ledger. */
  const makeFleet = (config: Config) => {
    const ledger = path.join(folder, `ledger-${children.size}`)
    fs.writeFileSync(ledger, "")
    const lines = (): ReadonlyArray<Line> =>
      fs
        .readFileSync(ledger, "utf8")
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line))
    const spawn = async (name: string, hangs = "") => {
      const port = `${await freePort()}`
      const child = start(JSON.stringify(database.address), name, port, JSON.stringify(config), ledger, hangs)
      children.add(child)
      await child.line((line) => line === "works")
      return child
    }
    /** A runner whose networks to the database and from the other runners can fail. */
    const spawnApart = async (name: string): Promise<Apart> => {
      const listens = await freePort()
      const toDatabase = await Partition.start(database.address)
      const fromRunners = await Partition.start({ host: "127.0.0.1", port: listens })
      networks.add(toDatabase).add(fromRunners)
      const address = JSON.stringify({ ...database.address, port: toDatabase.port })
      const child = start(address, name, `${fromRunners.port}`, JSON.stringify(config), ledger, "", `${listens}`)
      children.add(child)
      await child.line((line) => line === "works")
      return { child, networks: [toDatabase, fromRunners] }
    }
    return { lines, spawn, spawnApart }
  }

  const owned = (child: Child): number =>
    Number(child.lines.findLast((line) => line.startsWith("owns "))?.slice("owns ".length) ?? 0)

  /** Waits for what the runners say and write. Only the test's own timeout ends it. */
  const until = (isSo: () => boolean) =>
    Effect.repeat(Effect.delay(Effect.sync(isSo), "10 millis"), { until: (value) => value })

  const kill = (child: Child) =>
    Effect.promise(() => {
      child.signal("SIGKILL")
      return child.exited
    })

  /** Kills a runner that has runs in the middle of a step, again and again. Returns the milliseconds of each. */
  const failOvers = (title: string, count: number, config: Config) =>
    Effect.gen(function* () {
      const { lines, spawn } = makeFleet(config)
      const all: Array<number> = []
      const shards = config.shardsPerGroup ?? 300
      // One after the other: on an empty database the first one creates the tables of the cluster.
      const others = [yield* Effect.promise(() => spawn("one")), yield* Effect.promise(() => spawn("two"))]
      for (let round = 1; round <= count; round++) {
        const victim = yield* Effect.promise(() => spawn(`victim-${round}`, "second"))
        yield* until(
          () => owned(victim) > 0 && owned(victim) + others.reduce((sum, one) => sum + owned(one), 0) === shards
        )
        const ids = Array.from({ length: 24 }, (_, i) => `${title}-${round}-${i}`)
        for (const id of ids)
          yield* Effect.zipRight(Workflow.start(Job, { id, input: 0 }), Go.send(id, 1, { id: "go" }))
        const begun = () =>
          lines().filter(({ run, step, what }) => what === "begin" && step === "second" && ids.includes(run))
        yield* until(() => begun().length === ids.length)
        const lost = begun().flatMap(({ run, runner }) => (runner === `victim-${round}` ? [run] : []))
        expect(lost.length).toBeGreaterThan(0)
        const killedAt = performance.now()
        yield* kill(victim)
        yield* until(() => begun().length === ids.length + lost.length)
        all.push(Math.round(performance.now() - killedAt))
        for (const id of ids) yield* Workflow.join(Job, id)
      }
      for (const one of others) yield* kill(one)
      all.sort((a, b) => a - b)
      const median = all[Math.floor(count / 2)] ?? Number.NaN
      console.log(`${count} kills, ${title}: all runs continue after ${median} ms (median): ${all.join(" ")}`)
      return median
    }).pipe(Effect.provide(outside))

  it.live(`continue the runs of one that was killed, ${kills} times, with the tuning of the page`, () =>
    // The longest times are those of a machine that stands still.
    Effect.map(failOvers("tuned", kills, tuning), (median) => expect(median).toBeLessThan(30_000))
  )

  it.live.runIf(isSoak)(
    `continue the runs of one that was killed, ${kills} times, with the defaults of @effect/cluster`,
    () => Effect.map(failOvers("defaults", kills, {}), (median) => expect(median).toBeLessThan(60_000))
  )

  it.live(
    `end all of ${runs} runs once, and hear each signal, while runners are killed, stand still and are cut off (seed ${seed})`,
    () =>
      Effect.gen(function* () {
        const { lines, spawnApart } = makeFleet({ ...tuning, shardLockExpiration: 4_000, shardsPerGroup: 24 })
        const draw = seeded(seed)
        const ids = Array.from({ length: runs }, (_, i) => `run-${i}`)
        const fleet = new Map<string, Apart>()
        const paused = new Set<string>()
        const cut = new Set<string>()
        let names = 0
        const add = Effect.promise(async () => {
          const name = `runner-${++names}`
          fleet.set(name, await spawnApart(name))
        })
        yield* Effect.all([add, add, add])
        yield* Effect.forEach(ids, (id) => Workflow.start(Job, { id, input: draw(200) }), { concurrency: 20 })
        const sending = yield* Effect.fork(
          Effect.forEach(ids, (id, i) => Effect.delay(Go.send(id, i, { id: "go" }), draw(20)), { discard: true })
        )
        const ended = () =>
          new Set(lines().flatMap(({ run, step, what }) => (what === "end" && step === "third" ? [run] : [])))
        const disturb = Effect.gen(function* () {
          const [name, { child, networks }] = [...fleet][draw(fleet.size)] as [string, Apart]
          const what = draw(4)
          if (what < 2) {
            fleet.delete(name)
            yield* kill(child)
            yield* add
          } else if (what === 2) {
            cut.add(name)
            const network = networks[draw(2)] as Partition
            network.cut()
            yield* Effect.sleep(draw(8_000))
            network.heal()
          } else {
            paused.add(name)
            child.signal("SIGSTOP")
            yield* Effect.sleep(draw(8_000))
            child.signal("SIGCONT")
          }
        })
        // A disturbance for each part of the runs that has ended.
        const part = Math.max(10, Math.floor(runs / 20))
        for (let done = part; done < runs; done += part) {
          yield* until(() => ended().size >= done)
          yield* disturb
        }
        const answers = yield* Effect.forEach(ids, (id) => Workflow.join(Job, id), { concurrency: 20 })
        yield* sending.await
        expect(answers).toEqual(ids.map((_, i) => i))
        const storage = yield* Storage.Storage
        for (const id of ids) {
          const { key, token } = Option.getOrThrow(yield* storage.find(id))
          const journal = yield* storage.journal(key)
          const completed = journal.filter(({ kind }) => kind === "StepCompleted").map(({ step }) => step)
          expect([id, ...completed]).toEqual([id, "first", "second", "third"])
          const own = lines().filter(({ run, runner }) => run === id && !paused.has(runner) && !cut.has(runner))
          // Only a process that stood still or heard nothing can be late; its token shows it.
          for (const [i, line] of own.entries()) expect(line.token).toBeGreaterThanOrEqual(own[i - 1]?.token ?? 1)
          expect(token).toBeGreaterThanOrEqual(own.at(-1)?.token ?? 0)
        }
        for (const { child } of fleet.values()) yield* kill(child)
        console.log(`${runs} runs, ${names} runners, of which ${paused.size} stood still and ${cut.size} were cut off`)
      }).pipe(Effect.provide(outside))
  )
})
