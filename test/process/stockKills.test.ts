import * as fs from "node:fs"
import * as path from "node:path"
import { DurableDeferred, type Workflow } from "@effect/workflow"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { RecoveryEngine } from "effect-recovery/workflow-engine"
import { afterAll, assert, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { type Child, seeded, useProgram } from "../support/children.js"
import { inOwnStorages, type StorageOf, useChildStorage } from "../support/childStorage.js"
import { inPostgres } from "../support/postgres.js"
import { Declined, expected, isDeclined, type Line, Order, Paid, write } from "./stockJobs.js"

const runs = lengthOf("STOCK_RUNS")
const seed = seedOf(20261129)
const workerCount = 3

/** So many activities are executed between two kills. */
const activitiesBetweenKills = 12

const readLedger = (file: string): ReadonlyArray<Line> =>
  fs
    .readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))

/** An activity runs again only if the process that ran it was killed. */
const checkActivities = (lines: ReadonlyArray<Line>, ids: ReadonlyArray<string>): void => {
  const killed = new Set(lines.flatMap(({ activity, process }) => (activity === "kill" ? [process] : [])))
  const by = new Map<string, Array<string>>()
  for (const { activity, process } of lines) by.set(activity, [...(by.get(activity) ?? []), process])
  by.delete("kill")
  assert.deepStrictEqual([...by.keys()].sort(), ids.flatMap(expected).sort())
  for (const [activity, processes] of by) {
    const again = processes.slice(0, -1)
    assert.isTrue(
      again.every((process) => killed.has(process)),
      `${activity} was executed in ${processes}, killed were ${[...killed]}`
    )
  }
}

const stockKills = (storageOf: StorageOf) => {
  const { folder, start } = useProgram("stockWorker.ts")
  const children = new Map<string, Child>()
  afterAll(() => {
    for (const child of children.values()) child.signal("SIGKILL")
  })

  it(`executes each of ${runs} stock workflows to its end while its processes are killed (seed ${seed})`, async () => {
    const ledger = path.join(folder, "ledger")
    fs.writeFileSync(ledger, "")
    const draw = seeded(seed)
    const storage = storageOf(folder, { durability: "process-crash" }).pipe(Layer.orDie)
    const outside = ManagedRuntime.make(Layer.provideMerge(RecoveryEngine.layer(), storage))
    const ids = Array.from({ length: runs }, (_, i) => String(i))
    let names = 0
    const spawn = async () => {
      const name = `process-${++names}`
      const child = start(folder, ledger, name)
      children.set(name, child)
      await child.line((line) => line === "works")
    }
    await Promise.all(Array.from({ length: workerCount }, spawn))
    const executed = outside.runPromise(
      Effect.forEach(ids, (id) => Effect.exit(Order.execute({ id })), { concurrency: "unbounded" })
    )
    await outside.runPromise(
      Effect.forEach(ids, (id) =>
        Effect.flatMap(Order.executionId({ id }), (executionId) =>
          DurableDeferred.succeed(Paid, {
            token: DurableDeferred.tokenFromExecutionId(Paid, { workflow: Order as Workflow.Any, executionId }),
            value: Number(id)
          })
        )
      )
    )
    let isOver = false
    void executed.finally(() => {
      isOver = true
    })
    for (let kills = 0; !isOver; ) {
      if (readLedger(ledger).length >= (kills + 1) * activitiesBetweenKills && kills < runs) {
        kills++
        const [name, child] = [...children][draw(children.size)] ?? []
        if (name === undefined || child === undefined) continue
        write(ledger, { process: name, activity: "kill" })
        child.signal("SIGKILL")
        await child.exited
        children.delete(name)
        await spawn()
      } else await new Promise((resolve) => setTimeout(resolve, 10))
    }
    for (const [i, exit] of (await executed).entries()) {
      const id = String(i)
      if (isDeclined(id)) {
        const error = Exit.isFailure(exit) && exit.cause._tag === "Fail" ? exit.cause.error : undefined
        assert.instanceOf(error, Declined)
      } else assert.deepStrictEqual(exit, Exit.succeed(`${id}-parcel ${id}`))
    }
    const lines = readLedger(ledger)
    checkActivities(lines, ids)
    const kills = lines.filter(({ activity }) => activity === "kill").length
    assert.isAbove(kills, 0)
    console.log(`${runs} orders, ${kills} kills, ${lines.length - kills} executions of activities`)
    for (const child of children.values()) child.signal("SIGKILL")
    await Promise.all([...children.values()].map(({ exited }) => exited))
    await outside.dispose()
  })
}

inOwnStorages("stock workflows", stockKills)

inPostgres("stock workflows on Postgres", (database) =>
  stockKills(useChildStorage(() => ({ kind: "postgres", address: database.address })))
)
