import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Answer, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { bundle, Child, seeded, temporaryFolder } from "../support/children.js"
import { Go, type Line, ledger, makeJob } from "./jobs.js"

const runs = Number(process.env.RECOVERY_LIVENESS_RUNS ?? 500)
const seed = Number(process.env.RECOVERY_LIVENESS_SEED ?? 20261121)

/** All of them have ended within this time, or the test fails. */
const boundMillis = Math.max(90_000, runs * 180)

describe("liveness", () => {
  const folder = temporaryFolder()
  let program: string
  const children = new Set<Child>()

  beforeAll(async () => {
    program = await bundle("worker.ts")
  })
  afterAll(() => {
    for (const child of children) child.signal("SIGKILL")
    fs.rmSync(folder, { recursive: true })
    fs.rmSync(program)
  })

  it(
    `${runs} runs over three workers that are killed and paused all come to their end, one owner at a time`,
    async () => {
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
        const child = new Child(program, [filename, ledgerFile, name])
        children.add(child)
        await child.line((line) => line === "works")
        return { child, name }
      }
      const workers = await Promise.all([spawn(), spawn(), spawn()])
      let kills = 0
      let pauses = 0
      /** One after the other dies, or is paused past its lease. */
      const disturb = async () => {
        const i = draw(workers.length)
        const worker = workers[i] as Awaited<ReturnType<typeof spawn>>
        if (draw(2) === 0) {
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

      /** Somebody answers and signals, now and then twice. */
      const tend = Effect.gen(function* () {
        const suspended = yield* Workflow.list({ status: "suspended", limit: 100 })
        for (const { id, waiting } of suspended) {
          for (const wait of waiting) {
            if (wait.kind === "signal" && draw(2) === 0) {
              yield* Effect.ignore(Go.send(id, 5, { id: wait.about.slice("go/".length) }))
            }
            if (wait.kind !== "question") continue
            const answer =
              [Answer.json(6), Answer.retry, Answer.skip, Answer.json("no number")][draw(4)] ?? Answer.retry
            yield* Effect.ignore(Workflow.resolve(id, answer, { question: wait.id }))
            if (draw(5) === 0) yield* Effect.ignore(Workflow.resolve(id, Answer.abort, { question: wait.id }))
          }
        }
      })

      const began = Date.now()
      const left = Effect.map(Workflow.list({ limit: runs }), (all) =>
        all.filter(({ status }) => status !== "completed" && status !== "failed")
      )
      let open = runs
      while (open > 0 && Date.now() - began < boundMillis) {
        await disturb()
        await outside.runPromise(tend)
        open = (await outside.runPromise(left)).length
      }
      assert.deepStrictEqual(
        (await outside.runPromise(left)).map(({ id, status, waiting }) => [id, status, waiting]),
        [],
        `${open} runs are left after ${Date.now() - began} ms`
      )

      // The workers go when they are told to.
      for (const { child } of workers) child.signal("SIGTERM")
      assert.deepStrictEqual(await Promise.all(workers.map(({ child }) => child.exited)), [0, 0, 0])
      children.clear()

      const lines = fs
        .readFileSync(ledgerFile, "utf8")
        .trim()
        .split("\n")
        .map((line): Line => JSON.parse(line))
      const highest = new Map<string, number>()
      for (const { run, token, what, worker } of lines) {
        if (token === 0) continue
        const before = highest.get(run) ?? 0
        // Only a process that was paused in the middle of a step can be late; its token shows it.
        assert.isTrue(token >= before || paused.has(worker), `${what} of ${run}: ${token} by ${worker} after ${before}`)
        highest.set(run, Math.max(before, token))
      }
      // Who took over is another one: two executions of a run never have one token.
      const owners = new Map<string, string>()
      for (const { run, token, worker } of lines) {
        if (token === 0) continue
        const key = `${run} ${token}`
        assert.strictEqual(owners.get(key) ?? worker, worker)
        owners.set(key, worker)
      }
      assert.isTrue(kills > 0 && pauses > 0, `${kills} kills, ${pauses} pauses`)
      console.log(`${runs} runs, ${kills} kills, ${pauses} pauses, ${lines.length} effects, ${Date.now() - began} ms`)
      await outside.dispose()
    },
    boundMillis + 60_000
  )
})
