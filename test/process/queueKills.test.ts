import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Storage, Workflow } from "effect-recovery"
import { afterAll, assert, it } from "vitest"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { type Child, seeded, useProgram } from "../support/children.js"
import { inOwnStorages, type StorageOf, useChildStorage } from "../support/childStorage.js"
import { inOwnPostgres } from "../support/postgres.js"
import { type Line, limits, lineBytes, makeWork, Work, write } from "./queueJobs.js"

const runs = lengthOf("QUEUED_RUNS")
const seed = seedOf(20261129)
const workerCount = 4
const keys = Math.min(50, Math.floor(runs / 4))

/** So many runs end between two kills. */
const endsBetweenKills = 20

/** The runs that continue after each line of the ledger. What a worker wrote after its kill began does not count. */
const checkConcurrency = (lines: ReadonlyArray<Line>): void => {
  const running = new Map<string, { readonly key: string; readonly worker: string }>()
  const killed = new Set<string>()
  let most = 0
  for (const line of lines) {
    if (killed.has(line.worker)) continue
    if (line.what === "kill") {
      killed.add(line.worker)
      for (const [run, { worker }] of running) if (worker === line.worker) running.delete(run)
    } else if (line.what === "end") running.delete(line.run)
    else {
      assert.isFalse(running.has(line.run), `${line.run} is executed twice at once`)
      running.set(line.run, line)
      const ofKey = [...running.values()].filter(({ key }) => key === line.key).length
      assert.isAtMost(ofKey, limits.perKey, `runs of ${line.key} at once`)
      assert.isAtMost(running.size, limits.concurrency, "runs at once")
      most = Math.max(most, running.size)
    }
  }
  assert.isAbove(most, 1)
}

/** The lines of the ledger, of which each call reads the new ones. */
const ledgerReader = (file: string) => {
  const lines: Array<Line> = []
  return (): ReadonlyArray<Line> => {
    const descriptor = fs.openSync(file, "r")
    const position = lines.length * lineBytes
    const bytes = Buffer.alloc(Math.floor(fs.fstatSync(descriptor).size / lineBytes) * lineBytes - position)
    fs.readSync(descriptor, bytes, 0, bytes.length, position)
    fs.closeSync(descriptor)
    for (let i = 0; i < bytes.length; i += lineBytes) lines.push(JSON.parse(bytes.toString("utf8", i, i + lineBytes)))
    return lines
  }
}

/** The workers that have begun a run and not ended it. */
const openRuns = (lines: ReadonlyArray<Line>): ReadonlySet<string> => {
  const open = new Map<string, string>()
  for (const line of lines) {
    if (line.what === "begin") open.set(line.run, line.worker)
    else if (line.what === "end") open.delete(line.run)
  }
  return new Set(open.values())
}

const endedRuns = (lines: ReadonlyArray<Line>): number =>
  new Set(lines.flatMap((line) => (line.what === "end" ? [line.run] : []))).size

const checkRate = (starts: ReadonlyArray<number>): void => {
  for (const [i, start] of starts.entries()) {
    const next = starts[i + limits.starts]
    if (next !== undefined) assert.isAtLeast(next - start, limits.millis, `${limits.starts + 1} starts from ${start}`)
  }
}

/** A run that was begun, and whose worker was killed, continues before another one of its key begins. */
const checkResumed = (lines: ReadonlyArray<Line>): void => {
  const open = new Map<string, string>()
  for (const line of lines) {
    if (line.what === "kill") continue
    if (line.what === "end") open.delete(line.key)
    else {
      assert.strictEqual(open.get(line.key) ?? line.run, line.run, `the run of ${line.key} that continues`)
      open.set(line.key, line.run)
    }
  }
}

/**
 * The runs of a key follow each other. While a key has none and waits, each other key starts one at most: it has had
 * its turn then. The wait counts from the recorded outcome, whatever its run wrote before.
 */
const checkFairness = (rows: ReadonlyArray<Storage.Run>): void => {
  const started = rows.map(({ startedAt = 0 }) => startedAt)
  for (const key of new Set(rows.map(({ queue }) => queue?.key))) {
    const own = rows.filter(({ queue }) => queue?.key === key)
    for (const [i, { id, outcome }] of own.entries()) {
      const next = own[i + 1]?.startedAt
      if (next === undefined) continue
      const free = outcome?.at ?? 0
      assert.isAtLeast(next, free, `the run of ${key} after ${id} starts when it has ended`)
      const between = started.filter((time) => time > free && time < next).length
      assert.isBelow(between, keys, `starts of others while ${key} waits`)
    }
  }
}

const queueKills = (storageOf: StorageOf) => {
  const { folder, start } = useProgram("queueWorker.ts")
  const children = new Map<string, Child>()
  const starting = new Set<Child>()
  afterAll(() => {
    for (const child of [...children.values(), ...starting]) child.signal("SIGKILL")
  })

  it(`keeps its limits and lets no key starve in ${runs} runs of ${keys} keys whose workers are killed (seed ${seed})`, async () => {
    const ledger = path.join(folder, "ledger")
    fs.writeFileSync(ledger, "")
    const draw = seeded(seed)
    const outside = ManagedRuntime.make(storageOf(folder, { durability: "process-crash" }).pipe(Layer.orDie))
    const workflow = makeWork(ledger, "outside")
    // The runs of one key stand behind all runs of the keys before it.
    const ids = Array.from({ length: runs }, (_, i) => `run-${i}`)
    await outside.runPromise(
      Effect.forEach(
        ids,
        (id, i) => {
          const key = `key-${Math.floor((i * keys) / runs)}`
          return Workflow.start(workflow, { id, input: { key, millis: draw(400) }, queue: Work, key })
        },
        { concurrency: 50, discard: true }
      )
    )

    const readLedger = ledgerReader(ledger)
    let names = 0
    let failure: unknown
    const spawn = async () => {
      const name = `worker-${++names}`
      const child = start(folder, ledger, name)
      starting.add(child)
      await child.line((line) => line === "works")
      starting.delete(child)
      children.set(name, child)
    }
    await Promise.all(Array.from({ length: workerCount }, spawn))
    /** Kills a worker in the middle of a run if there is one. Another one starts while the others continue. */
    const kill = async () => {
      const open = openRuns(readLedger())
      const busy = [...children].filter(([name]) => open.has(name))
      const candidates = busy.length === 0 ? [...children] : busy
      const [name, child] = candidates[draw(candidates.length)] ?? []
      if (name === undefined || child === undefined) return
      write(ledger, { what: "kill", worker: name })
      child.signal("SIGKILL")
      children.delete(name)
      await child.exited
      spawn().catch((error: unknown) => {
        failure ??= error
      })
    }
    // What limits the test is progress: the ledger grows with each end.
    for (let ended = 0, kills = 0; ended < runs; ) {
      if (failure !== undefined) throw failure
      ended = endedRuns(readLedger())
      if (ended >= (kills + 0.5) * endsBetweenKills && children.size > 0) {
        kills++
        await kill()
      } else await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await outside.runPromise(Effect.forEach(ids, (id) => Workflow.join(workflow, id), { discard: true }))

    const lines = readLedger()
    checkConcurrency(lines)
    checkResumed(lines)
    const rows = await outside.runPromise(Effect.flatMap(Storage.Storage, (storage) => storage.list({ limit: runs })))
    const inOrder = [...rows].sort((a, b) => (a.startedAt ?? 0) - (b.startedAt ?? 0))
    checkRate(inOrder.map(({ startedAt = 0 }) => startedAt))
    checkFairness(inOrder)
    const kills = lines.filter(({ what }) => what === "kill").length
    // Kills follow the ends at once, but the last runs may end while this process is not scheduled.
    assert.isAtLeast(kills, Math.max(1, Math.round(runs / endsBetweenKills) - 2))
    console.log(`${runs} runs, ${kills} kills, ${lines.filter(({ what }) => what === "begin").length} executions`)
    const all = [...children.values(), ...starting]
    for (const child of all) child.signal("SIGKILL")
    await Promise.all(all.map(({ exited }) => exited))
    await outside.dispose()
  })
}

inOwnStorages("a queue", queueKills)

inOwnPostgres("a queue on Postgres", (database) =>
  queueKills(useChildStorage(() => ({ kind: "postgres", address: database.address })))
)
