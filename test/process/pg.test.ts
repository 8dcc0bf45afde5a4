import { afterAll, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Workflow } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { type Child, useProgram } from "../support/children.js"
import { inPostgres } from "../support/postgres.js"
import { Go, makePgJobs } from "./pgJobs.js"

const [Two, Waits] = makePgJobs(() => Effect.void)

inPostgres("workers in several processes on Postgres, which never look for runs by themselves", (database) => {
  const { start } = useProgram("pgWorker.ts")
  const children = new Set<Child>()
  afterAll(() => {
    for (const child of children) child.signal("SIGKILL")
  })

  const spawn = (name: string, hangs = "") =>
    Effect.promise(async () => {
      const child = start(JSON.stringify(database.address), name, hangs)
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

  it.live("takes a new run at once, and one that was signalled, by what another process says", () =>
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

  it.live("continues a run whose process was killed, long before its lease of 30 seconds ends", () =>
    Effect.gen(function* () {
      const victim = yield* spawn("victim", "second")
      for (let run = 1; run <= 8; run++) yield* Workflow.start(Two, { id: `two-${run}` })
      for (let run = 1; run <= 8; run++) yield* begins(victim, "second", `two-${run}`)
      // The victim has no place for one more.
      const other = yield* spawn("other")
      yield* Workflow.start(Two, { id: "two-9" })
      yield* Workflow.join(Two, "two-9")
      const killedAt = performance.now()
      yield* kill(victim)
      for (let run = 1; run <= 8; run++) yield* begins(other, "second", `two-${run}`)
      expect(performance.now() - killedAt).toBeLessThan(15_000)
      for (let run = 1; run <= 8; run++) yield* Workflow.join(Two, `two-${run}`)
      expect(other.lines.filter((line) => line.startsWith("began first"))).toEqual(["began first of two-9"])
      yield* kill(other)
    }).pipe(Effect.provide(outside))
  )
})
