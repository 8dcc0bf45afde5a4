import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { type Storage, Workflow } from "effect-recovery"
import { afterAll, assert, describe, it } from "vitest"
import { lengthOf } from "../support/campaigns.js"
import { type Child, useProgram } from "../support/children.js"
import { type StorageOf, useChildStorage } from "../support/childStorage.js"
import { drivers } from "../support/drivers.js"
import { inPostgres } from "../support/postgres.js"
import { after, before, Paid, readNotes } from "./rolloutJobs.js"

const runs = lengthOf("ROLLOUT_RUNS")

const countOf = (notes: ReadonlyArray<string>) => {
  const counts = new Map<string, number>()
  for (const line of notes) counts.set(line, (counts.get(line) ?? 0) + 1)
  return counts
}

const rollOut = (storageOf: StorageOf) => {
  const old = useProgram("rolloutBefore.ts")
  const young = useProgram("rolloutAfter.ts")
  const { folder } = old
  const children = new Set<Child>()
  afterAll(() => {
    for (const child of children) child.signal("SIGKILL")
  })
  const spawn = async ({ start }: typeof old) => {
    const child = start(folder)
    children.add(child)
    await child.line((line) => line === "works")
    return child
  }

  it(`ends each of ${runs} runs of a kind in the right version, while workers are replaced one by one`, async () => {
    const storage = storageOf(folder, { durability: "process-crash" }).pipe(Layer.orDie)
    const outside = ManagedRuntime.make<Storage.Storage, never>(storage)
    const run = <A, E>(self: Effect.Effect<A, E, Storage.Storage>) => outside.runPromise(self)
    const [first, second] = [before(folder), after(folder)]
    const ids = (name: string) => Array.from({ length: runs }, (_, i) => `${name}-${i}`)
    const startAll = (release: typeof first, name: string) =>
      run(
        Effect.forEach(ids(name), (id) =>
          Effect.zip(
            Workflow.start(release.Parcel, { id: `parcel-${id}` }),
            Workflow.start(release.Order, { id: `order-${id}` })
          )
        )
      )
    const pay = (name: string) => run(Effect.forEach(ids(name), (id, i) => Paid.send(`order-${id}`, i)))
    const join = (release: typeof first, kind: "Parcel" | "Order", name: string) =>
      run(Effect.forEach(ids(name), (id) => Workflow.join(release[kind], `${kind.toLowerCase()}-${id}`)))

    const workers = await Promise.all([spawn(old), spawn(old)])
    await startAll(first, "paid")
    await pay("paid")
    await startAll(first, "waiting")
    const byFirst = await join(first, "Order", "paid")
    for (const [i, worker] of workers.entries()) {
      // The new one works beside the others before the old one leaves, or dies amid its runs.
      await spawn(young)
      await startAll(i === 0 ? first : second, `during-${i}`)
      worker.signal(i === 1 ? "SIGKILL" : "SIGTERM")
      const ended = await worker.exited
      assert.strictEqual(ended, i === 1 ? "SIGKILL" : 0, worker.errors)
    }
    const refused: Array<string> = []
    const adopted: Array<string> = []
    for (let left = 1; left > 0; ) {
      const answer = await run(Workflow.adopt(second.Order, { from: "1" }))
      adopted.push(...answer.adopted)
      left = answer.refused.length
      refused.push(...answer.refused.map(({ error }) => error._tag))
    }
    const open = ["waiting", "during-0"].flatMap(ids).map((id) => `order-${id}`)
    assert.deepStrictEqual(adopted.sort(), open.sort())
    // Only what a worker had when it was looked at was refused, and was adopted later.
    assert.isTrue(refused.every((tag) => tag === "LeaseHeld"))
    for (const name of ["waiting", "during-0", "during-1"]) await pay(name)

    const bySecond = [
      ...(await join(second, "Order", "waiting")),
      ...(await join(second, "Order", "during-0")),
      ...(await join(second, "Order", "during-1")),
      ...(await join(second, "Parcel", "during-1"))
    ]
    const parcels = ["paid", "waiting", "during-0"]
    for (const name of parcels) byFirst.push(...(await join(first, "Parcel", name)))
    assert.deepStrictEqual([...new Set(byFirst)], ["by version 1"])
    assert.deepStrictEqual([...new Set(bySecond)], ["by version 2"])

    const stored = await run(Workflow.list({ limit: Number.POSITIVE_INFINITY }))
    assert.strictEqual(stored.length, runs * 8)
    const wrong = stored.filter(({ id, status, version }) => {
      const isFirst = id.startsWith("parcel-") ? !id.includes("during-1") : id.startsWith("order-paid")
      return status !== "completed" || version !== (isFirst ? "1" : "2")
    })
    assert.deepStrictEqual(wrong, [])
    assert.deepStrictEqual(await run(Workflow.unclaimed({ after: 0 })), [])
    // An attempt runs again only if its worker was killed amid it.
    const counts = countOf(readNotes(folder))
    assert.strictEqual(
      counts.size,
      stored.reduce((sum, { version }) => sum + stepsOf(version), 0)
    )
    assert.isAtMost([...counts.values()].filter((count) => count > 1).length, 4)
    assert.isAtMost(Math.max(...counts.values()), 2)
    for (const child of children) child.signal("SIGTERM")
    await Promise.all([...children].map(({ exited }) => exited))
    await outside.dispose()
  })
}

/** A parcel and an order have two steps in version 1, and one more in version 2. */
const stepsOf = (version: string): number => 1 + Number(version)

describe("a roll-out of a program in two versions, on a SQLite file", () => {
  const [driver] = drivers
  if (driver !== undefined) rollOut(useChildStorage(() => ({ kind: "sqlite", driver: driver.name })))
})

inPostgres("a roll-out of a program in two versions, on Postgres", (database) => {
  rollOut(useChildStorage(() => ({ kind: "postgres", address: database.address })))
})
