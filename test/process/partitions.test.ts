import * as fs from "node:fs"
import * as path from "node:path"

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { type Storage, Workflow } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { afterAll, assert, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { type Child, seeded, useProgram } from "../support/children.js"
import { Partition } from "../support/partitions.js"
import { inOwnPostgres, type ServedDatabase } from "../support/postgres.js"
import { Go, type Line, makeJob, outcomeOf, shapeOf, stoodStill } from "./partitionJobs.js"

const runs = lengthOf("PARTITIONED_RUNS")
const seed = seedOf(20261130)

/** So many runs are started before each fault. */
const runsPerFault = 4

const leaseMillis = 3_000

/** What happens to one worker. A cut that ends late delivers late; one that ends half-open never does. */
const faults = [
  "half-open",
  "half-open answers",
  "kill",
  "pause",
  "cut",
  "requests",
  "answers",
  "reset",
  "delay"
] as const

type Fault = (typeof faults)[number]

/** The test fails if nothing happens for this long: no run ends and no step begins. */
const patienceMillis = 180_000

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

interface Runner {
  readonly name: string
  readonly child: Child
  readonly network: Partition
}

const readLedger = (file: string): ReadonlyArray<Line> =>
  fs
    .readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line): Line => JSON.parse(line))

/** Tokens rise, except where a process stood still between the answer of the store and its effect. */
const checkTokens = (lines: ReadonlyArray<Line>, paused: ReadonlySet<string>): void => {
  const highest = new Map<string, Line>()
  const owners = new Map<string, string>()
  for (const line of lines) {
    const { run, token, worker } = line
    const before = highest.get(run)
    if (!paused.has(worker)) {
      assert.isAtLeast(token, before?.token ?? 0, `${JSON.stringify(line)} after ${JSON.stringify(before)}`)
    }
    if (before === undefined || token > before.token) highest.set(run, line)
    assert.strictEqual(owners.get(`${run} ${token}`) ?? worker, worker, `token ${token} of ${run}`)
    owners.set(`${run} ${token}`, worker)
  }
}

/** Every run has ended as it should, with each step's result once. */
const checkRuns = async (database: ServedDatabase, ids: ReadonlyArray<string>): Promise<void> => {
  const query = (text: string) => Effect.runPromise(database.query(text))
  const twice = await query(
    `SELECT run.id, line.step, count(*)::int AS times FROM recovery_journal line JOIN recovery_runs run ON run.key = line.run
     WHERE line.kind = 'StepCompleted' GROUP BY run.id, line.step HAVING count(*) > 1`
  )
  assert.deepStrictEqual(twice, [], "steps that ended twice")
  const completed = await query(
    `SELECT run.id, count(*)::int AS steps FROM recovery_journal line JOIN recovery_runs run ON run.key = line.run
     WHERE line.kind = 'StepCompleted' AND line.step LIKE 'step-%' GROUP BY run.id`
  )
  const steps = new Map(completed.map((row) => [row["id"], row["steps"]]))
  for (const [i, id] of ids.entries()) assert.strictEqual(steps.get(id), shapeOf(seed + i).steps, `steps of ${id}`)
}

inOwnPostgres("three workers whose networks fail", (database) => {
  const { folder, start } = useProgram("partitionWorker.ts")
  const runners: Array<Runner> = []
  const networks = new Set<Partition>()
  const children = new Set<Child>()
  afterAll(async () => {
    for (const child of children) child.signal("SIGKILL")
    for (const network of networks) await network.close()
  })

  const newNetwork = async () => {
    const network = await Partition.start(database.address)
    networks.add(network)
    return network
  }
  const clientOf = (port: number) =>
    Layer.provide(
      PgStorage.layer({ patience: "5 seconds" }),
      Layer.orDie(database.client({ port, applicationName: "outside", connectTimeout: "5 seconds" }))
    )

  it(`end ${runs} runs that begin, sleep and are signalled over networks of their own (seed ${seed})`, async () => {
    const ledger = path.join(folder, "ledger")
    fs.writeFileSync(ledger, "")
    const draw = seeded(seed)
    const Job = makeJob(ledger, "outside")
    const outside = ManagedRuntime.make(clientOf(database.address.port))
    const network = await newNetwork()
    // Starts runs and signals them over a network that fails, too.
    const client = ManagedRuntime.make(clientOf(network.port))

    let names = 0
    const paused = new Set<string>()
    const spawn = async (): Promise<Runner> => {
      const name = `worker-${++names}`
      const own = await newNetwork()
      const child = start(JSON.stringify({ ...database.address, port: own.port }), name, ledger, `${leaseMillis}`)
      children.add(child)
      await child.line((line) => line === "works")
      return { name, child, network: own }
    }
    runners.push(...(await Promise.all([spawn(), spawn(), spawn()])))

    /** Waits until the leases of a paused process have expired. */
    const hasLost = ({ pid }: Child) =>
      Effect.repeat(Workflow.list({ status: "running", limit: 1_000 }), {
        until: (all) => !all.some(({ owner }) => Option.exists(owner, (name) => name.includes(`/${pid}@`))),
        schedule: Schedule.spaced("50 millis")
      })

    const counts = new Map<Fault, number>()
    const replacing: Array<Promise<void>> = []
    const disturb = async (fault: Fault, runner: Runner): Promise<void> => {
      counts.set(fault, (counts.get(fault) ?? 0) + 1)
      const { child, network } = runner
      const cutFor = async (way: "both" | "requests" | "answers") => {
        network.cut(way)
        // Some cuts are longer than the lease.
        await pause(100 + draw(draw(4) === 0 ? 2 * leaseMillis : 500))
      }
      switch (fault) {
        case "kill": {
          child.signal("SIGKILL")
          children.delete(child)
          await child.exited
          runners.splice(runners.indexOf(runner), 1)
          // The others continue meanwhile.
          replacing.push(spawn().then((next) => void runners.push(next)))
          return
        }
        case "pause":
          paused.add(runner.name)
          child.signal("SIGSTOP")
          await outside.runPromise(hasLost(child))
          child.signal("SIGCONT")
          return
        case "cut":
          await cutFor("both")
          return network.heal()
        case "requests":
        case "answers":
          await cutFor(fault)
          return network.heal()
        case "half-open":
          await cutFor("both")
          return network.healHalfOpen()
        case "half-open answers":
          await cutFor("answers")
          return network.healHalfOpen()
        case "reset":
          return network.reset()
        case "delay":
          network.delay(20 + draw(100))
          await pause(draw(500))
          return network.delay(0)
      }
    }

    const ids = Array.from({ length: runs }, (_, i) => `run-${i}`)
    let refused = 0
    /** Repeats until it is acknowledged. The network of the client allows only this failure. */
    const acknowledged = <A, E extends { readonly _tag: string }, R>(
      self: Effect.Effect<A, E | Storage.StorageError, R>
    ) =>
      Effect.retry(self, {
        while: (error) => {
          refused++
          return error._tag === "StorageError" && "reason" in error && error.reason === "Unavailable"
        },
        schedule: Schedule.spaced("50 millis")
      })
    const signalled = new Map(ids.map((id, i) => [id, 1 + (i % 5)]))
    const startAndSignal = (from: number) =>
      Effect.forEach(
        ids.slice(from, from + runsPerFault),
        (id, i) =>
          Effect.zipRight(
            acknowledged(Workflow.start(Job, { id, input: seed + from + i })),
            shapeOf(seed + from + i).waits
              ? // One that was refused may be stored all the same: the outcome of the run tells.
                Effect.catchTag(
                  acknowledged(Go.send(id, signalled.get(id) ?? 0, { id: "go" })),
                  "NotOpen",
                  () => Effect.void
                )
              : Effect.void
          ),
        { concurrency: "unbounded", discard: true }
      )

    // The kind that takes longest to recover from comes first, and two workers suffer at once.
    const [first, ...others] = faults
    const shuffled = others.map((fault) => [draw(1_000), fault] as const).sort((a, b) => a[0] - b[0])
    const order = [first, ...shuffled.map(([, fault]) => fault)]
    const suffering = new Map<Runner, Promise<void>>()
    const pending: Array<Promise<void>> = []
    for (let from = 0, round = 0; from < runs; from += runsPerFault, round++) {
      if (draw(3) === 0) network.cut()
      pending.push(client.runPromise(startAndSignal(from)))
      while (suffering.size > 1) await Promise.race(suffering.values())
      // A settled promise would win each race, and the loop would never yield.
      if (runners.length < 2) await Promise.all(replacing)
      const free = runners.filter((runner) => !suffering.has(runner))
      const runner = free[draw(free.length)]
      if (runner === undefined) continue
      const suffered = disturb(order[round] ?? faults[draw(faults.length)] ?? first, runner)
      suffering.set(
        runner,
        suffered.finally(() => suffering.delete(runner))
      )
      await pause(draw(400))
      if (draw(2) === 0) network.heal()
      else network.healHalfOpen()
    }
    await Promise.all([...suffering.values()])
    await Promise.all([...replacing, ...pending])

    // What limits the test is progress.
    const left = Effect.map(Workflow.list({ limit: runs }), (all) =>
      all.filter(({ finishedAt }) => Option.isNone(finishedAt))
    )
    const isOver = async (check: () => Promise<boolean>) => {
      let size = -1
      for (let changedAt = Date.now(); !(await check()); await pause(50)) {
        const now = fs.statSync(ledger).size
        if (now !== size) changedAt = Date.now()
        size = now
        if (Date.now() - changedAt > patienceMillis) return false
      }
      return true
    }
    const ended = await isOver(async () => (await outside.runPromise(left)).length === 0)
    assert.isTrue(ended, JSON.stringify(await outside.runPromise(left)))
    for (const [i, id] of ids.entries()) {
      const result = await outside.runPromise(Workflow.join(Job, id))
      assert.strictEqual(result, outcomeOf(seed + i, signalled.get(id) ?? 0), id)
    }

    // Every worker whose network is whole again works again.
    const before = fs.statSync(ledger).size
    let more = 0
    const worksAgain = ({ name }: Runner) => fs.readFileSync(ledger, "utf8").slice(before).includes(`"${name}"`)
    while (!runners.every(worksAgain)) {
      await outside.runPromise(Workflow.start(Job, { id: `more-${more}`, input: 1 }))
      if (more % 20 === 0) for (const { child } of runners) child.say("health")
      assert.isBelow(
        more++,
        1_000,
        `${runners.map((one) => [one.name, worksAgain(one), ...one.child.lines.slice(-2)])}`
      )
      await pause(50)
    }

    // None has died, and each ends by itself.
    for (const { child } of runners) assert.strictEqual(await child.end(), 0, child.errors)
    children.clear()
    const lines = readLedger(ledger)
    for (const { step, worker } of lines) if (step === stoodStill) paused.add(worker)
    const effects = lines.filter(({ step }) => step !== stoodStill)
    checkTokens(effects, paused)
    await checkRuns(database, ids)
    const steps = ids.reduce((sum, _, i) => sum + shapeOf(seed + i).steps, 0)
    const said = [...counts].map(([fault, count]) => `${count} ${fault}`).join(", ")
    console.log(`${runs} runs, ${steps} steps, ${effects.length} effects, ${refused} refusals; faults: ${said}`)
    await client.dispose()
    await outside.dispose()
  })
})
