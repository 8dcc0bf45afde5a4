import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Answer, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { afterAll, assert, describe, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { type Child, seeded, useProgram } from "../support/children.js"
import { Go, type Line, ledger, makeJob, stoodStill } from "./jobs.js"

const runs = lengthOf("LIVENESS_RUNS")
const seed = seedOf(20261121)

/** The test fails if nothing happens for this long. Each effect and each outcome renews it. */
const patienceMillis = 120_000

describe("liveness", () => {
  const { folder, start } = useProgram("worker.ts")
  const children = new Set<Child>()
  afterAll(() => {
    for (const child of children) child.signal("SIGKILL")
  })

  it(`${runs} runs over three workers that are killed and paused all end, one owner at a time (seed ${seed})`, async () => {
    const filename = path.join(folder, "runs.db")
    const ledgerFile = path.join(folder, "ledger")
    fs.writeFileSync(ledgerFile, "")
    const draw = seeded(seed)
    const Job = makeJob(ledger(ledgerFile, "outside"))
    const outside = ManagedRuntime.make(
      SqliteStorage.layer({ filename, durability: "process-crash" }).pipe(Layer.orDie)
    )
    const ids = Array.from({ length: runs }, (_, i) => `job-${i}`)
    await outside.runPromise(
      Effect.forEach(ids, (id, i) => Workflow.start(Job, { id, input: seed + i }), { concurrency: 50 })
    )

    const paused = new Set<string>()
    let names = 0
    const spawn = async () => {
      const name = `worker-${++names}`
      const child = start(filename, ledgerFile, name)
      children.add(child)
      await child.line((line) => line === "works")
      return { child, name }
    }
    const workers = await Promise.all([spawn(), spawn(), spawn()])
    let kills = 0
    let pauses = 0
    /** Kills one of the workers, or pauses it past its lease. */
    const disturb = async () => {
      const i = draw(workers.length)
      const worker = workers[i] as Awaited<ReturnType<typeof spawn>>
      // Each kind at least once.
      if (kills === 0 || (pauses > 0 && draw(2) === 0)) {
        kills++
        worker.child.signal("SIGKILL")
        await worker.child.exited
        children.delete(worker.child)
        workers[i] = await spawn()
      } else {
        pauses++
        paused.add(worker.name)
        worker.child.signal("SIGSTOP")
        await new Promise((resolve) => setTimeout(resolve, 1_200))
        worker.child.signal("SIGCONT")
      }
    }

    /** Answers and signals, now and then twice. */
    const tend = Effect.gen(function* () {
      const suspended = yield* Workflow.list({ status: "suspended", limit: 100 })
      for (const { id, waiting } of suspended) {
        for (const wait of waiting) {
          if (wait.kind === "signal" && draw(2) === 0) {
            yield* Effect.ignore(Go.send(id, 5, { id: wait.about.slice("go/".length) }))
          }
          if (wait.kind !== "question") continue
          const answer = [Answer.json(6), Answer.retry, Answer.skip, Answer.json("no number")][draw(4)] ?? Answer.retry
          yield* Effect.ignore(Workflow.resolve(id, answer, { question: wait.id }))
          if (draw(5) === 0) yield* Effect.ignore(Workflow.resolve(id, Answer.abort, { question: wait.id }))
        }
      }
    })

    let changedAt = Date.now()
    let state = ""
    const left = Effect.map(Workflow.list({ limit: runs }), (all) =>
      all.filter(({ status }) => status !== "completed" && status !== "failed")
    )
    let open = runs
    while ((open > 0 || pauses === 0) && Date.now() - changedAt < patienceMillis) {
      await disturb()
      await outside.runPromise(tend)
      open = (await outside.runPromise(left)).length
      const now = `${open} ${fs.statSync(ledgerFile).size}`
      if (now !== state) changedAt = Date.now()
      state = now
    }
    assert.deepStrictEqual(
      (await outside.runPromise(left)).map(({ id, status, waiting }) => [id, status, waiting]),
      [],
      `${open} runs do not end`
    )

    // The workers end by themselves after a SIGTERM.
    for (const { child } of workers) child.signal("SIGTERM")
    assert.deepStrictEqual(await Promise.all(workers.map(({ child }) => child.exited)), [0, 0, 0])
    children.clear()

    const lines = fs
      .readFileSync(ledgerFile, "utf8")
      .trim()
      .split("\n")
      .map((line): Line => JSON.parse(line))
    // A worker that the machine starved stood still like one that was paused.
    for (const { what, worker } of lines) if (what === stoodStill) paused.add(worker)
    const highest = new Map<string, number>()
    for (const { run, token, what, worker } of lines) {
      if (token === 0) continue
      const before = highest.get(run) ?? 0
      // Only a process that stood still in the middle of a step can be late; its token shows it.
      if (!paused.has(worker)) assert.isAtLeast(token, before, `${what} of ${run} by ${worker}`)
      highest.set(run, Math.max(before, token))
    }
    // A takeover has a new token: two workers never have the same token of a run.
    const owners = new Map<string, string>()
    for (const { run, token, worker } of lines) {
      if (token === 0) continue
      const key = `${run} ${token}`
      assert.strictEqual(owners.get(key) ?? worker, worker)
      owners.set(key, worker)
    }
    console.log(`${runs} runs, ${kills} kills, ${pauses} pauses, ${lines.length} effects`)
    await outside.dispose()
  })
})
