import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { Answer, Workflow } from "effect-recovery"
import { RecoveryManager } from "effect-recovery/operate"
import { afterAll, assert, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { type Child, seeded, useProgram } from "../support/children.js"
import { inChildStorages, type StorageOf, useChildStorage } from "../support/childStorage.js"
import { inOwnPostgres } from "../support/postgres.js"
import { ended, Go, type Line, ledger, makeJob, mayEnd, stoodStill } from "./jobs.js"

const seed = seedOf(20261121)

/** The test fails if nothing happens for this long. Each effect and each outcome renews it. */
const patienceMillis = 120_000

const workerCount = 5

/** Insights writes its records in batches of so many: a worker that is killed loses no more. */
const lostAtMost = 100

/** What Insights has on record, as the workers note it. */
const onRecord = Effect.gen(function* () {
  const recoveries = yield* RecoveryManager.recoveries({ limit: 1_000_000 })
  const failures = yield* RecoveryManager.failures({ limit: 1_000_000 })
  return [
    ...recoveries.map(({ run, step }) => `${run} ${ended.recovery} ${step}`),
    ...failures.map(({ run }) => `${run} ${ended.failure}`)
  ]
})

/**
 * Compares the records with the notes of the workers, and returns how many are missing. Only a worker that was killed
 * may have lost some, of the last that it noted.
 */
const compareRecords = (
  notes: ReadonlyArray<Line>,
  records: ReadonlyArray<string>,
  killed: ReadonlySet<string>
): number => {
  const left = new Map<string, number>()
  for (const record of records) left.set(record, (left.get(record) ?? 0) + 1)
  const isOnRecord = ({ run, what }: Line): boolean => {
    const count = left.get(`${run} ${what}`) ?? 0
    left.set(`${run} ${what}`, count - 1)
    return count > 0
  }
  // Those of living workers first: a killed worker may have noted the same.
  const living = notes.filter(({ worker }) => !killed.has(worker))
  assert.deepStrictEqual(
    living.filter((note) => !isOnRecord(note)),
    [],
    "records that are lost"
  )
  const missing = [...killed].map((worker) => {
    const own = notes.filter((note) => note.worker === worker)
    const lost = own.filter((note) => !isOnRecord(note))
    const first = lost[0]
    if (first !== undefined) assert.isAtMost(own.length - own.indexOf(first), lostAtMost, `records of ${worker}`)
    return lost.length
  })
  assert.deepStrictEqual(
    [...left].filter(([, count]) => count > 0),
    [],
    "records of what no worker did"
  )
  return missing.reduce((sum, count) => sum + count, 0)
}

interface Liveness {
  readonly runs: number
  /** How long the runs of a worker stay its own that does nothing. */
  readonly leaseMillis: number
  /** Ends connections of the workers, or their server, before each disturbance of one of them. */
  readonly restart?: (round: number) => Promise<unknown>
  readonly restarts?: number
}

const liveness = (storageOf: StorageOf, { leaseMillis, restart, restarts = 0, runs }: Liveness) => {
  const { folder, start } = useProgram("worker.ts")
  const children = new Set<Child>()
  afterAll(() => {
    for (const child of children) child.signal("SIGKILL")
  })

  it(`${runs} runs over five workers that are killed and paused all end, one owner at a time (seed ${seed})`, async () => {
    const ledgerFile = path.join(folder, "ledger")
    fs.writeFileSync(ledgerFile, "")
    const draw = seeded(seed)
    const Job = makeJob(ledger(ledgerFile, "outside"))
    const outside = ManagedRuntime.make(storageOf(folder, { durability: "process-crash" }).pipe(Layer.orDie))
    const ids = Array.from({ length: runs }, (_, i) => `job-${i}`)
    /** Those of one round. Without restarts, all of them are started at once. */
    const startRuns = (round: number) =>
      outside.runPromise(
        Effect.forEach(
          ids.map((id, i) => [id, i] as const).filter(([, i]) => i % Math.max(1, restarts) === round),
          ([id, i]) => Workflow.start(Job, { id, input: seed + i }),
          { concurrency: 50 }
        )
      )
    await startRuns(0)

    const paused = new Set<string>()
    const killed = new Set<string>()
    const outputs: Array<Child> = []
    let names = 0
    const spawn = async () => {
      const name = `worker-${++names}`
      const child = start(folder, ledgerFile, name, `${leaseMillis}`)
      children.add(child)
      outputs.push(child)
      await child.line((line) => line === "works")
      return { child, name }
    }
    const workers = await Promise.all(Array.from({ length: workerCount }, spawn))
    let kills = 0
    let pauses = 0
    /** Waits until the leases of a paused process have expired. */
    const hasLost = ({ pid }: Child) =>
      Effect.repeat(Workflow.list({ status: "running", limit: runs }), {
        until: (all) => !all.some(({ owner }) => Option.exists(owner, (name) => name.includes(`/${pid}@`))),
        schedule: Schedule.spaced("50 millis")
      })

    /** Kills one of the workers, or pauses it past its lease. */
    const disturb = async () => {
      const i = draw(workers.length)
      const worker = workers[i] as Awaited<ReturnType<typeof spawn>>
      // Each kind at least once. A worker whose lease is long is not paused.
      if (restart !== undefined || kills === 0 || (pauses > 0 && draw(2) === 0)) {
        kills++
        killed.add(worker.name)
        worker.child.signal("SIGKILL")
        await worker.child.exited
        children.delete(worker.child)
        workers[i] = await spawn()
      } else {
        pauses++
        paused.add(worker.name)
        worker.child.signal("SIGSTOP")
        await outside.runPromise(hasLost(worker.child))
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
      all.filter(({ finishedAt }) => Option.isNone(finishedAt))
    )
    let open = runs
    let round = 0
    while (
      (open > 0 || (restart === undefined && pauses === 0) || round < restarts) &&
      Date.now() - changedAt < patienceMillis
    ) {
      if (round > 0 && round < restarts) await startRuns(round)
      if (round < restarts) await restart?.(round)
      round++
      // While the server is restarted, workers are killed now and then.
      if (restart === undefined || round % 5 === 0) await disturb()
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
    assert.deepStrictEqual(
      await Promise.all(workers.map(({ child }) => child.exited)),
      workers.map(() => 0)
    )
    children.clear()
    // Insights gives up a record once the server has been away for longer than the patience of the storage.
    const wrong = /locked|busy|unhandled|\bdie\b|defect/i
    const complains = restart === undefined ? new RegExp(`${wrong.source}|could not be written`, "i") : wrong
    const complaints = outputs.flatMap(({ errors, lines }) =>
      [...lines, ...errors.split("\n")].filter((line) => complains.test(line))
    )
    assert.deepStrictEqual(complaints, [])
    for (const [i, id] of ids.entries()) {
      const result = await outside.runPromise(
        Effect.catchTag(Workflow.execute(Job, { id, input: seed + i }), "Flaky", () =>
          Effect.succeed("failed" as const)
        )
      )
      assert.isTrue(mayEnd(seed + i, result), `${id} ended with ${result}`)
    }

    const lines = fs
      .readFileSync(ledgerFile, "utf8")
      .trim()
      .split("\n")
      .map((line): Line => JSON.parse(line))
    const notes = lines.filter(({ what }) => what.startsWith(ended.recovery) || what === ended.failure)
    const missing = restart === undefined ? compareRecords(notes, await outside.runPromise(onRecord), killed) : 0
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
    console.log(
      `${runs} runs, ${restarts} restarts, ${kills} kills, ${pauses} pauses, ${lines.length - notes.length} effects, ${notes.length} records, ${missing} of them lost by kills`
    )
    await outside.dispose()
  })
}

inChildStorages("liveness", (storage) => liveness(storage, { runs: lengthOf("LIVENESS_RUNS"), leaseMillis: 1_000 }))

inOwnPostgres("liveness while the server is restarted, on Postgres", (database, server) => {
  const storage = useChildStorage(() => ({ kind: "postgres", address: database.address }))
  const restarts = lengthOf("SERVER_RESTARTS")
  const restart = (round: number): Promise<unknown> => {
    const ending = (["fast", "immediate", "killed", "backends"] as const)[round % 4] ?? "backends"
    return ending === "backends" ? Effect.runPromise(database.endBackends()) : server().restart(ending)
  }
  liveness(storage, { runs: 10 * restarts, leaseMillis: 30_000, restart, restarts })
})
