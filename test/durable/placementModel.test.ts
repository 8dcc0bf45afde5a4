import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Signal, Step, Storage, Workflow } from "effect-recovery"
import { VirtualClock } from "../../src/testing/internal/testClock.js"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { makePlacing, placedProcess } from "../support/placement.js"
import { turns } from "../support/time.js"

const shards = 3
const all = [1, 2, 3]
const processes = 3
const runs = 6

const process = FastCheck.nat(processes - 1)
const shard = FastCheck.constantFrom(...all)

/**
 * A shard moves to a process: the last owner lets it go before, at once or never. A process loses a shard, crashes and
 * starts again, a run is started or signalled, or time passes.
 */
const actions = FastCheck.array(
  FastCheck.oneof(
    {
      weight: 5,
      arbitrary: FastCheck.record({
        do: FastCheck.constant("move" as const),
        shard,
        process,
        release: FastCheck.constantFrom("orderly" as const, "at once" as const, "never" as const)
      })
    },
    { weight: 1, arbitrary: FastCheck.record({ do: FastCheck.constant("lose" as const), shard, process }) },
    { weight: 2, arbitrary: FastCheck.record({ do: FastCheck.constant("crash" as const), process }) },
    { weight: 2, arbitrary: FastCheck.record({ do: FastCheck.constant("start" as const), process }) },
    {
      weight: 2,
      arbitrary: FastCheck.record({ do: FastCheck.constant("signal" as const), process, run: FastCheck.nat(runs - 1) })
    },
    {
      weight: 5,
      arbitrary: FastCheck.record({
        do: FastCheck.constant("pass" as const),
        millis: FastCheck.constantFrom(1, 300, 900, 2_500, 12_000)
      })
    }
  ),
  { minLength: 10, maxLength: 40 }
)

type Action = typeof actions extends FastCheck.Arbitrary<ReadonlyArray<infer A>> ? A : never

const Go = Signal.make("go", Schema.Number)

const step = (name: string, millis: number) => Step.make(name, { run: Effect.sleep(millis) })
const [one, two, three] = [step("one", 400), step("two", 2_200), step("three", 50)]
const Job = Workflow.make("job", { input: Schema.Number }, (n) =>
  Effect.gen(function* () {
    yield* one
    if (n % 3 === 1) yield* Workflow.sleep("700 millis")
    if (n % 3 === 2) yield* Workflow.sleep("5 seconds")
    yield* two
    if (n % 2 === 1) yield* Go.wait()
    yield* three
  })
)

/** A store of which a dead process gets no more answers, and which keeps the tokens that wrote. */
const makeWorld = Effect.sync(() => {
  const store: Storage.Store = { ...Storage.memoryStore(), changes: Stream.empty }
  const written = new Map<string, number>()
  const append: Storage.Store["append"] = (lease, entries) =>
    Effect.map(store.append(lease, entries), () => {
      assert.isAtLeast(lease.token, written.get(lease.run) ?? 0, `a late process wrote to ${lease.run}`)
      written.set(lease.run, lease.token)
    })
  const seen: Storage.Store = { ...store, append }
  const storeOf = (life: { isDead: boolean }): Storage.Store =>
    new Proxy(seen, {
      get: (target, name) => {
        const operation: unknown = Reflect.get(target, name)
        if (Effect.isEffect(operation)) return Effect.suspend(() => (life.isDead ? Effect.never : operation))
        if (typeof operation !== "function") return operation
        // Operations of a store answer with effects.
        const call = operation as (...args: ReadonlyArray<unknown>) => Effect.Effect<unknown, unknown>
        return (...args: ReadonlyArray<unknown>) => Effect.suspend(() => (life.isDead ? Effect.never : call(...args)))
      }
    })
  return { store, storeOf }
})

const live = (clock: VirtualClock, life: ReadonlyArray<Action>) =>
  Effect.gen(function* () {
    const { store, storeOf } = yield* makeWorld
    let started = 0
    const boot = (i: number) =>
      Effect.gen(function* () {
        const [mind, scope, placing] = [{ isDead: false }, yield* Scope.make(), makePlacing(shards)]
        const worker = placedProcess(storeOf(mind), `p${i}-${++started}`, [Job], placing, { drain: "1 second" })
        return { mind, scope, placing, ...(yield* Scope.extend(worker, scope)) }
      })
    const fleet = yield* Effect.forEach(Array.from({ length: processes }), (_, i) => boot(i))
    const owned = fleet.map(() => new Set<number>())
    // Processes have numbers below `processes`.
    const at = (i: number) => fleet[i] as (typeof fleet)[number]
    const tell = (i: number) => at(i).placing.own(...(owned[i] ?? []))
    const crash = (i: number) =>
      Effect.gen(function* () {
        const before = at(i)
        before.mind.isDead = true
        yield* Effect.forkDaemon(Scope.close(before.scope, Exit.void))
        fleet[i] = yield* boot(i)
        tell(i)
      })
    // What was begun proceeds until it sleeps.
    const pass = (millis: number) => Effect.zipRight(turns(3), clock.advance(millis))
    const names: Array<string> = []
    const start = (i: number) =>
      Effect.suspend(() => {
        if (names.length >= runs) return Effect.void
        const n = names.length
        names.push(`run-${n}`)
        return at(i).here(Workflow.start(Job, { id: `run-${n}`, input: n }))
      })
    const signal = (i: number, run: number) => Effect.ignore(at(i).here(Go.send(`run-${run}`, 1)))
    const move = (shard: number, to: number, release: "orderly" | "at once" | "never") =>
      Effect.gen(function* () {
        const from = owned.flatMap((set, i) => (set.has(shard) && i !== to ? [i] : []))
        if (release !== "never") {
          for (const i of from) {
            owned[i]?.delete(shard)
            tell(i)
          }
        }
        if (release === "orderly") {
          // A keeper waits for it, and the clock advances meanwhile.
          for (const i of from) {
            const waiting = yield* Effect.fork(at(i).state.handedOver(shard))
            while (waiting.unsafePoll() === null) yield* pass(100)
          }
        }
        owned[to]?.add(shard)
        tell(to)
      })
    for (const action of life) {
      if (action.do === "pass") yield* pass(action.millis)
      else if (action.do === "start") yield* start(action.process)
      else if (action.do === "signal") yield* signal(action.process, action.run)
      else if (action.do === "crash") yield* crash(action.process)
      else if (action.do === "move") yield* move(action.shard, action.process, action.release)
      else {
        owned[action.process]?.delete(action.shard)
        tell(action.process)
      }
    }
    // In the end each shard has one owner, all runs are signalled, and the leases of the dead expire.
    while (names.length < runs) yield* start(0)
    for (const i of names.keys()) yield* signal(0, i)
    for (const shard of all) yield* move(shard, shard % processes, "at once")
    for (let second = 0; second < 60; second++) yield* pass(1_000)
    for (const id of names) {
      const run = Option.getOrThrow(yield* store.find(id))
      assert.strictEqual(run.outcome?.status, "completed", `${id} of ${run.owner} is due at ${run.dueAt}`)
      const lines = yield* store.journal(run.key)
      const ended = lines.flatMap(({ kind, step }) => (kind === "StepCompleted" ? [step] : []))
      assert.deepStrictEqual(
        ended.filter((name) => ["one", "two", "three"].includes(name)),
        ["one", "two", "three"]
      )
    }
    yield* Effect.forEach(fleet, ({ scope }) => Effect.forkDaemon(Scope.close(scope, Exit.void)))
  })

const seed = seedOf(20261130)

describe("workers whose shards move", () => {
  it(`end all runs, with each step recorded once, whatever they believe and when they crash (seed ${seed})`, async () => {
    await FastCheck.assert(
      FastCheck.asyncProperty(actions, (life) => {
        const clock = new VirtualClock()
        return Effect.runPromise(Effect.withClock(live(clock, life), clock))
      }),
      { numRuns: lengthOf("PLACED_LIVES"), seed }
    )
  }, 120_000)
})
