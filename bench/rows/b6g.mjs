/**
 * B6, third part: what must not grow. Signals to one run, new keys of a full group of breakers, and a look for due runs
 * beside running ones.
 */
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import { CircuitBreaker, Signal, Storage, Workflow } from "../../dist/node/index.js"
import { SqliteStorage } from "../../dist/node/sqlite.js"
import { goal, interleave, seconds, temporaryFolder } from "../harness.mjs"

const rounds = 3

const Go = Signal.make("go", Schema.Number)
const Waiting = Workflow.make("waiting", { input: Schema.Number, success: Schema.Number }, (count) =>
  Effect.reduce(Array.from({ length: count }), 0, (sum, _, i) =>
    Effect.map(Go.wait({ id: String(i) }), (value) => sum + value)
  )
)

let runs = 0

/** Milliseconds for each signal: sent to a run that waits, and read by it. */
const signals = (runtime, count) => async () => {
  const id = `waiting-${++runs}`
  const execute = Workflow.execute(Waiting, { id, input: count })
  await runtime.runPromise(Effect.ignore(execute))
  const send = Effect.forEach(Array.from({ length: count }), (_, i) => Go.send(id, 1, { id: String(i) }), {
    concurrency: 50,
    discard: true
  })
  let sum
  const took = await seconds(async () => {
    sum = await runtime.runPromise(Effect.zipRight(send, execute))
  })
  if (sum !== count) throw new Error(`read ${sum} of ${count} signals`)
  return (took * 1_000) / count
}

/** Milliseconds for the first call of a new key in a full group, all of whose breakers have counted failures. */
const newKeys = async (maxKeys) => {
  const keyed = await Effect.runPromise(CircuitBreaker.keyed({ name: `keys-${maxKeys}`, maxKeys }))
  let keys = 0
  const down = Object.assign(new Error("down"), { code: "ECONNREFUSED" })
  const next = Effect.suspend(() => Effect.ignore(CircuitBreaker.protectKey(Effect.fail(down), keyed, `key-${++keys}`)))
  await Effect.runPromise(Effect.repeatN(next, maxKeys - 1))
  const count = 500
  return async () => ((await seconds(() => Effect.runPromise(Effect.repeatN(next, count - 1)))) * 1_000) / count
}

/** Milliseconds for one look for due runs, of which there are none, beside running ones. */
const due = async (folder, running) => {
  const runtime = ManagedRuntime.make(SqliteStorage.layer({ filename: path.join(folder, `due-${running}.db`) }))
  const storage = await runtime.runPromise(Storage.Storage)
  const of = { workflow: "long", version: "1" }
  const open = (_, i) =>
    Effect.uninterruptibleMask((restore) => storage.open({ ...of, id: `run-${i}`, input: "null", labels: {} }, restore))
  await runtime.runPromise(Effect.forEach(Array.from({ length: running }), open, { concurrency: 100, discard: true }))
  const look = Effect.uninterruptibleMask((restore) => storage.claimDue({ workflows: [of], limit: 10 }, restore))
  const count = 50
  return {
    measure: async () => ((await seconds(() => runtime.runPromise(Effect.repeatN(look, count - 1)))) * 1_000) / count,
    close: () => runtime.dispose()
  }
}

export const run = async () => {
  const folder = temporaryFolder()
  const filename = path.join(folder, "signals.db")
  const runtime = ManagedRuntime.make(SqliteStorage.layer({ filename, durability: "process-crash" }))
  const beside = { few: await due(folder, 100), many: await due(folder, 5_000) }
  const values = await interleave(
    {
      "each of 500 signals": signals(runtime, 500),
      "each of 4,000 signals": signals(runtime, 4_000),
      "a new key beside 1,000": await newKeys(1_000),
      "a new key beside 16,000": await newKeys(16_000),
      "a look for due runs beside 100 running ones": beside.few.measure,
      "a look for due runs beside 5,000 running ones": beside.many.measure
    },
    rounds
  )
  await Promise.all([runtime.dispose(), beside.few.close(), beside.many.close()])
  const of = (name) => values[name].median
  return {
    title: "B6  what must not grow",
    table: [["", "median"], ...Object.entries(values).map(([name, { median }]) => [name, `${median.toFixed(4)} ms`])],
    goals: [
      goal("each of 4,000 signals, time to each of 500", of("each of 4,000 signals") / of("each of 500 signals"), {
        atMost: 1.25
      }),
      goal("a new key beside 16,000 keys", of("a new key beside 16,000"), {
        atMost: 1,
        unit: "ms",
        beside: of("a new key beside 1,000")
      }),
      goal("a look for due runs beside 5,000 running ones", of("a look for due runs beside 5,000 running ones"), {
        atMost: 5,
        unit: "ms",
        beside: of("a look for due runs beside 100 running ones")
      })
    ],
    values
  }
}
