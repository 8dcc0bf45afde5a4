// Uses each door of the package, on any runtime: with a process that is killed while it holds a lock, and with Postgres
// if DATABASE_URL names a server. Prints what was used.
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, Layer, Redacted, Schema } from "effect"
import { Lock, Signal, Step, Storage, Workflow } from "effect-recovery"

const folder = process.argv[3] ?? mkdtempSync(join(tmpdir(), "doors-"))
const database = { filename: join(folder, "runs.db") }
const used = []

const equal = (found, expected) => {
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new Error(`${JSON.stringify(found)} is not ${JSON.stringify(expected)}`)
  }
}

const Go = Signal.make("go", Schema.Number)
const five = Step.make("five", { success: Schema.Number, run: Effect.succeed(5) })
const Waiting = Workflow.make("waiting", { success: Schema.Number }, () =>
  Effect.zipWith(five, Go.wait({ within: "1 hour" }), (a, b) => a * b)
)

/** A run that stops at a signal, and that a worker continues. */
const resumed = (worker) =>
  Effect.gen(function* () {
    yield* Workflow.start(Waiting, { id: "a" })
    yield* Go.send("a", 7)
    equal(yield* Workflow.join(Waiting, "a"), 35)
  }).pipe(Effect.provide(worker))

const held = async (layer) => {
  const attempt = Effect.provide(Lock.withLockIfAvailable(Effect.succeed("mine"), "some"), layer)
  return (await Effect.runPromise(attempt))._tag
}

/** In a process of its own: acquires the lock and waits to be killed. */
const holdLock = async () => {
  const { FileLock } = await import("effect-recovery/files")
  const hold = Lock.withLock(
    Effect.zipRight(
      Effect.sync(() => console.log("held")),
      Effect.never
    ),
    "some"
  )
  await Effect.runPromise(Effect.provide(hold, FileLock.layer({ folder })))
}

const killedHolder = async (layer) => {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), "hold", folder], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  const closed = new Promise((resolve) => child.once("close", resolve))
  await new Promise((resolve, reject) => {
    child.stdout.once("data", resolve)
    closed.then(() => reject(new Error("The process ended before it held the lock")))
  })
  const during = await held(layer)
  child.kill("SIGKILL")
  await closed
  equal([during, await held(layer)], ["None", "Some"])
}

const doors = {
  sqlite: async () => {
    const { SqliteClient, SqliteStorage } = await import("effect-recovery/sqlite")
    const { Worker } = await import("effect-recovery")
    const worker = Worker.layer([Waiting])
    const storage = SqliteStorage.layer(database)
    await Effect.runPromise(resumed(Layer.provideMerge(worker, storage)))
    const driver = Effect.map(SqliteClient.SqliteClient, (client) => client.driver)
    return Effect.runPromise(Effect.provide(driver, SqliteClient.layer(database)))
  },
  files: async () => {
    const { AtomicFile, DirectoryLock, FileLock, FileTransaction } = await import("effect-recovery/files")
    const file = join(folder, "some.txt")
    const directories = DirectoryLock.layer({ folder: join(folder, "directories") })
    await Effect.runPromise(AtomicFile.write(file, "before"))
    const failing = FileTransaction.run(
      Effect.zipRight(FileTransaction.write(file, "after"), Effect.fail("no")),
      folder
    )
    await Effect.runPromise(Effect.provide(Effect.flip(failing), directories))
    equal(readFileSync(file, "utf8"), "before")
    equal(await held(directories), "Some")
    const locked = FileLock.layer({ folder })
    if (process.versions.bun === undefined && process.versions.deno === undefined) {
      await killedHolder(locked)
      return "DirectoryLock, and FileLock freed by SIGKILL"
    }
    // Its binary would end the process.
    const refused = await Effect.runPromise(Effect.flip(Effect.provide(Effect.void, locked)))
    equal([refused._tag, refused.reason], ["LockError", "Unsupported"])
    return "DirectoryLock, and FileLock refused"
  },
  operate: async () => {
    const { HealthCheck, Production, RecoveryManager } = await import("effect-recovery/operate")
    const { SqliteStorage } = await import("effect-recovery/sqlite")
    const layer = Production.layer({ storage: SqliteStorage.layer(database), workflows: [Waiting] })
    const report = Effect.gen(function* () {
      yield* RecoveryManager.report({ id: "failure-1", message: "connect ECONNREFUSED" })
      equal((yield* RecoveryManager.failures()).length, 1)
      return (yield* HealthCheck.run()).status
    })
    return `health is ${await Effect.runPromise(Effect.provide(report, layer))}`
  },
  testing: async () => {
    const { Scorecard, Testing } = await import("effect-recovery/testing")
    const { SqliteStorage } = await import("effect-recovery/sqlite")
    const Five = Workflow.make("five", { success: Schema.Number }, () => five)
    let files = 0
    const store = Effect.suspend(() => SqliteStorage.store({ filename: join(folder, `crash-${++files}.db`) }))
    const card = await Effect.runPromise(Testing.crashEverywhere(Five, { input: undefined, store }))
    equal([Scorecard.isClean(card), card.crashes > 0], [true, true])
    return `${card.crashes} crashes`
  },
  pg: async () => {
    const { DATABASE_URL } = process.env
    if (DATABASE_URL === undefined) return "skipped: no DATABASE_URL"
    const { PgStorage } = await import("effect-recovery/pg")
    const { PgClient } = await import("@effect/sql-pg")
    const { Worker } = await import("effect-recovery")
    const schema = `doors_${process.pid}_${Date.now()}`
    const client = PgClient.layer({ url: Redacted.make(DATABASE_URL) })
    const storage = Layer.provide(PgStorage.layer({ schema }), client)
    await Effect.runPromise(resumed(Layer.provideMerge(Worker.layer([Waiting]), storage)))
    return schema
  },
  cluster: async () => {
    const { ClusterWorkers } = await import("effect-recovery/cluster")
    const { TestRunner } = await import("@effect/cluster")
    const worker = Layer.provide(ClusterWorkers.layer([Waiting]), TestRunner.layer)
    await Effect.runPromise(resumed(Layer.provideMerge(worker, Storage.layerMemory)))
    return "a run placed"
  }
}

if (process.argv[2] === "hold") await holdLock()
else {
  try {
    for (const [door, use] of Object.entries(doors)) {
      try {
        used.push(`${door}: ${await use()}`)
      } catch (error) {
        used.push(`${door} FAILS: ${error.stack ?? error}`)
        process.exitCode = 1
      }
    }
    console.log(used.join("\n"))
  } finally {
    if (existsSync(folder)) rmSync(folder, { recursive: true })
  }
}
