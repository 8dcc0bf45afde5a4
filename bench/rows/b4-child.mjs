/**
 * One engine of B4 in a process of its own, so that neither pays for what the
 * other does in the background. Runs what its parent asks for, and answers with
 * workflows per second.
 */
import * as crypto from "node:crypto"
import * as readline from "node:readline"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { seconds } from "../harness.mjs"

const [engine, filename, durability] = process.argv.slice(2)

let counter = 0
const nextId = () => `run-${++counter}`

const durable = async (load) => {
  const { execute, layer } = (await load())(() => Effect.void)
  const runtime = ManagedRuntime.make(layer(filename, durability))
  return (count, concurrency) => {
    const ids = Array.from({ length: count }, nextId)
    return runtime.runPromise(Effect.forEach(ids, execute, { concurrency, discard: true }))
  }
}

/** better-sqlite3 committing six rows per workflow, each with a digest, one after the other. */
const floor = async () => {
  const { default: Database } = await import("better-sqlite3")
  const database = new Database(filename)
  database.pragma("journal_mode = WAL")
  database.pragma(`synchronous = ${durability === "power-loss" ? "FULL" : "NORMAL"}`)
  database.exec("CREATE TABLE steps (run TEXT, step INTEGER, payload TEXT, digest TEXT, PRIMARY KEY (run, step))")
  const insert = database.prepare("INSERT INTO steps VALUES (?, ?, ?, ?)")
  return async (count) => {
    for (let i = 0; i < count; i++) {
      const run = nextId()
      for (let step = 0; step < 6; step++) {
        const payload = JSON.stringify({ id: run, n: step })
        insert.run(run, step, payload, crypto.createHash("sha256").update(payload).digest("hex"))
      }
    }
  }
}

const engines = {
  ours: () => durable(async () => (await import("./ours.mjs")).makeOurs),
  theirs: () => durable(async () => (await import("./theirs.mjs")).makeTheirs),
  floor
}

const run = await engines[engine]()

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [count, concurrency] = line.split(" ").map(Number)
  console.log(count / (await seconds(() => run(count, concurrency))))
}
process.exit(0)
