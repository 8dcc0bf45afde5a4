/**
 * Counts the bytes that hot paths allocate on V8's heap, per call, and prints them as JSON. Start it with the flags of
 * `test/guard/allocations.test.ts`: nothing is optimized or collected while it counts, so the numbers depend neither on
 * the machine nor on what else it does.
 */
import * as v8 from "node:v8"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Checkpoint, CircuitBreaker, RetryPolicy, Step, Storage, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"

const [filename = ""] = process.argv.slice(2)

const used = (): number => v8.getHeapStatistics().used_heap_size

const median = (values: ReadonlyArray<number>): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0

const warmUps = 10
const rounds = 21

/** In a turn of the event loop of its own, so that nothing an earlier round left to do is counted with it. */
const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

/** The median over rounds: where a timer or a page of the heap falls into a round, the others do not have it. */
const bytesOf = async (call: () => Promise<unknown>): Promise<number> => {
  const seen: Array<number> = []
  for (let i = 0; i < warmUps + rounds; i++) {
    await nextTurn()
    const before = used()
    await call()
    const after = used()
    if (i >= warmUps) seen.push(after - before)
  }
  return median(seen)
}

const Order = Schema.Struct({ id: Schema.String, total: Schema.Number, lines: Schema.Array(Schema.String) })
const order = { id: "order-1", total: 42, lines: Array.from({ length: 10 }, (_, i) => `line ${i}`) }
const Draft = Checkpoint.make("draft", { schema: Order })

const step = Step.make("step", { success: Order, run: Effect.succeed(order) })
const steps = (count: number) =>
  Workflow.make(`steps-${count}`, { success: Schema.Number }, () => Effect.as(Effect.repeatN(step, count - 1), count))
const [few, many] = [steps(1), steps(101)]
const empty = Workflow.make("empty", {}, () => Effect.void)

/** Fails three times, and then succeeds. */
const flaky = () => {
  let calls = 0
  return Effect.suspend(() => (++calls % 4 === 0 ? Effect.succeed(1) : Effect.fail("down")))
}

const work = Effect.sync(() => 1)
const breaker = Effect.runSync(CircuitBreaker.make({ name: "guard" }))
const opened = Effect.runSync(CircuitBreaker.make({ name: "opened" }))
Effect.runSync(opened.isolate)

/** What a call costs beside what a fiber costs: the difference of many and few in one fiber. */
const perCall = async (call: Effect.Effect<unknown>): Promise<number> => {
  const times = (count: number) => {
    let i = 0
    const loop = Effect.whileLoop({ while: () => i < count, body: () => call, step: () => void i++ })
    return bytesOf(() => {
      i = 0
      return Effect.runPromise(loop)
    })
  }
  return ((await times(110)) - (await times(10))) / 100
}

let runs = 0

const durable = async (layer: Layer.Layer<Storage.Storage, unknown>): Promise<Record<string, number>> => {
  const runtime = ManagedRuntime.make(layer)
  const bytes = (call: Effect.Effect<unknown, unknown, Storage.Storage>) => bytesOf(() => runtime.runPromise(call))
  const execute = (run: (id: string) => Effect.Effect<unknown, unknown, Storage.Storage>) =>
    bytes(Effect.suspend(() => run(`run-${String(++runs).padStart(6, "0")}`)))
  const start = await execute((id) => Workflow.execute(empty, { id, input: undefined }))
  const bytesOfMany = await execute((id) => Workflow.execute(many, { id, input: undefined }))
  const bytesOfFew = await execute((id) => Workflow.execute(few, { id, input: undefined }))
  const step = (bytesOfMany - bytesOfFew) / 100
  const save = await bytes(Draft.save(order))
  const load = await bytes(Effect.map(Draft.latest(), Option.getOrThrow))
  await runtime.dispose()
  return { "start of a run": start, step, "save of a snapshot": save, "load of a snapshot": load }
}

const policies = {
  "no policy": await perCall(work),
  retry: await perCall(work.pipe(RetryPolicy.retry(RetryPolicy.exponential()))),
  "three failures, then success": await perCall(
    Effect.orDie(flaky().pipe(RetryPolicy.retry(RetryPolicy.fixed({ delay: 0 }))))
  ),
  breaker: await perCall(Effect.orDie(work.pipe(CircuitBreaker.protect(breaker)))),
  "refused by a breaker": await perCall(Effect.ignore(work.pipe(CircuitBreaker.protect(opened))))
}
const named = (name: string, counted: Readonly<Record<string, number>>) =>
  Object.fromEntries(Object.entries(counted).map(([what, bytes]) => [`${what}, ${name}`, bytes]))
const memory = await durable(Storage.layerMemory)
const sqlite = await durable(SqliteStorage.layer({ filename, durability: "process-crash" }))
const all = { ...policies, ...named("memory", memory), ...named("SQLite", sqlite) }
console.log(JSON.stringify(Object.fromEntries(Object.entries(all).map(([name, bytes]) => [name, Math.round(bytes)]))))
process.exit(0)
