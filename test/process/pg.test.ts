import { afterAll, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Storage, Workflow } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { lengthOf } from "../support/campaigns.js"
import { type Child, useProgram } from "../support/children.js"
import { inPostgres } from "../support/postgres.js"
import { Go, makePgJobs } from "./pgJobs.js"

const kills = lengthOf("FAILOVER_KILLS")

const [Two, Waits, Sleeps] = makePgJobs(() => Effect.void)

inPostgres("workers in several processes on Postgres", (database) => {
  const { start } = useProgram("pgWorker.ts")
  const children = new Set<Child>()
  afterAll(() => {
    for (const child of children) child.signal("SIGKILL")
  })

  const spawn = (name: string, hangs = "", ...options: ReadonlyArray<string>) =>
    Effect.promise(async () => {
      const child = start(JSON.stringify(database.address), name, hangs, ...options)
      children.add(child)
      await child.line((line) => line === "works")
      return child
    })
  const kill = (child: Child) =>
    Effect.promise(() => {
      child.signal("SIGKILL")
      return child.exited
    })
  const begins = (child: Child, step: string, run: string) =>
    Effect.promise(() => child.line((line) => line === `began ${step} of ${run}`))

  const outside = Layer.provide(PgStorage.layer(), Layer.orDie(database.client()))

  it.live("take a new run at once, and one that was signalled, by what another process says", () =>
    Effect.gen(function* () {
      const worker = yield* spawn("listener")
      yield* Workflow.start(Waits, { id: "waits" })
      yield* begins(worker, "before", "waits")
      for (let round = 1; round <= 3; round++) {
        const id = `waits-${round}`
        yield* Workflow.start(Waits, { id })
        yield* begins(worker, "before", id)
        // The connection on which the worker listens.
        yield* database.endBackends("listener (leases)")
        yield* Go.send(id, round, { id: "go" })
        yield* begins(worker, "after", id)
        expect(yield* Workflow.join(Waits, id)).toBe(round)
      }
      yield* kill(worker)
    }).pipe(Effect.provide(outside))
  )

  /** Kills a worker that has eight runs, and returns the milliseconds until another one continues all of them. */
  const failOver = (round: number) =>
    Effect.gen(function* () {
      const ids = Array.from({ length: 8 }, (_, i) => `two-${round}-${i}`)
      const extra = `two-${round}-extra`
      const victim = yield* spawn("victim", "second")
      for (const id of ids) yield* Workflow.start(Two, { id })
      for (const id of ids) yield* begins(victim, "second", id)
      // The victim has no place for one more.
      const other = yield* spawn("other")
      yield* Workflow.start(Two, { id: extra })
      yield* Workflow.join(Two, extra)
      const killedAt = performance.now()
      yield* kill(victim)
      for (const id of ids) yield* begins(other, "second", id)
      const millis = performance.now() - killedAt
      for (const id of ids) yield* Workflow.join(Two, id)
      expect(other.lines.filter((line) => line.startsWith("began first"))).toEqual([`began first of ${extra}`])
      yield* kill(other)
      return millis
    })

  it.live(`continue runs whose process was killed, long before their lease of 30 seconds ends, ${kills} times`, () =>
    Effect.gen(function* () {
      const all: Array<number> = []
      for (let round = 1; round <= kills; round++) all.push(yield* failOver(round))
      const sorted = all.map(Math.round).sort((a, b) => a - b)
      const median = sorted[Math.floor(kills / 2)] ?? Number.NaN
      console.log(`${kills} kills: runs continue after ${median} ms (median): ${sorted.join(" ")}`)
      // The longest times are those of a machine that stands still.
      expect(median).toBeLessThan(15_000)
    }).pipe(Effect.provide(outside))
  )

  it.live.each([5_000, -5_000])(
    "open a run that sleeps once, when its time has come, whatever their clock says (%s ms ahead)",
    (skew) =>
      Effect.gen(function* () {
        const id = `sleeps ${skew}`
        const worker = yield* spawn("ahead", "", `${skew}`, "100")
        yield* Workflow.start(Sleeps, { id })
        yield* Workflow.join(Sleeps, id)
        const found = yield* Effect.flatMap(Storage.Storage, (storage) => storage.find(id))
        // Begun, and resumed at the end of its sleep.
        expect(Option.map(found, ({ token }) => token)).toEqual(Option.some(2))
        yield* kill(worker)
      }).pipe(Effect.provide(outside))
  )
})
