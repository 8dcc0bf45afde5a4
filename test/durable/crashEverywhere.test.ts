import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"
import { inEveryStorage } from "../support/everyStorage.js"

class Offline extends Schema.TaggedError<Offline>()("Offline", {}) {}

/** The number of effects of each step. */
type Ledger = Map<string, number>

const count = (ledger: Ledger, name: string) =>
  Effect.sync(() => {
    const times = (ledger.get(name) ?? 0) + 1
    ledger.set(name, times)
    return times
  })

/** Contains retries, an alternate, a handled failure, concurrency and a loop. */
const makeWorkflow = (ledger: Ledger) => {
  const plain = (name: string) =>
    Step.make(name, { success: Schema.Number, run: count(ledger, name).pipe(Effect.as(1)) })
  const flaky = Step.make("flaky", {
    success: Schema.Number,
    error: Offline,
    run: Effect.flatMap(count(ledger, "flaky"), (times) =>
      times < 3 ? Effect.fail(new Offline()) : Effect.succeed(10)
    ),
    recover: { Offline: Strategy.retry(RetryPolicy.fixed({ maxRetries: 9, delay: "10 seconds" })) }
  })
  const detour = Step.make("detour", {
    success: Schema.Number,
    error: Offline,
    run: Effect.zipRight(count(ledger, "detour"), Effect.fail(new Offline())),
    recover: { Offline: Strategy.alternate(() => Effect.succeed(100)) }
  })
  const refused = Step.make("refused", {
    error: Offline,
    run: Effect.zipRight(count(ledger, "refused"), Effect.fail(new Offline()))
  })
  const branch = (i: number) =>
    Step.make("branch", { success: Schema.Number, run: Effect.as(count(ledger, `side[${i}]/branch`), 1_000) }).pipe(
      Workflow.section("side", i)
    )
  return Workflow.make("everything", { success: Schema.Number, error: Offline }, () =>
    Effect.gen(function* () {
      const a = yield* plain("first")
      const b = yield* flaky
      const c = yield* detour
      const d = yield* refused.pipe(
        Effect.as(0),
        Effect.catchTag("Offline", () => Effect.succeed(5))
      )
      const sides = yield* Effect.all([branch(0), branch(1), branch(2)], { concurrency: 3 })
      const last = yield* plain("last")
      return a + b + c + d + sides.reduce((sum, n) => sum + n, 0) + last
    })
  )
}

const expected = 1 + 10 + 100 + 5 + 3_000 + 1

/**
 * A process that crashes at its n-th write, before or after the write.
 * After the crash its storage calls never return.
 */
const dyingStore = (store: Storage.Store, dieAt: number, when: "before" | "after") => {
  let writes = 0
  let dead = false
  const die = Effect.suspend(() => {
    dead = true
    return Effect.never
  })
  const guard = <A, E>(write: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      if (dead) return Effect.never
      if (++writes !== dieAt) return write
      return when === "before" ? die : Effect.zipRight(write, die)
    })
  const dying: Storage.Store = {
    ...store,
    open: (...args) => guard(store.open(...args)),
    append: (...args) => guard(store.append(...args)),
    finish: (...args) => guard(store.finish(...args)),
    renew: (...args) => (dead ? Effect.never : store.renew(...args)),
    release: (...args) => (dead ? Effect.never : store.release(...args))
  }
  return { dying, isDead: () => dead }
}

let processes = 0

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** The store, and whether a call of it has no answer yet. */
const watched = (store: Storage.Store) => {
  let calls = 0
  const count = (value: unknown): unknown =>
    Effect.isEffect(value)
      ? Effect.suspend(() => {
          calls++
          // What a store returns is an effect without a context.
          return Effect.ensuring(
            value as Effect.Effect<unknown>,
            Effect.sync(() => calls--)
          )
        })
      : value
  const watching = Object.fromEntries(
    Object.entries(store).map(([name, member]) => [
      name,
      typeof member === "function" ? (...args: ReadonlyArray<unknown>) => count(member(...args)) : member
    ])
  )
  // It has the members of the store, each of the same type.
  return { store: watching as unknown as Storage.Store, isBusy: () => calls > 0 }
}

/**
 * Runs until the run ends or its process is dead, and moves the test clock while no call of the store is under way: a server
 * of a busy machine takes longer than any number of turns.
 */
const runUntil = (ledger: Ledger, dying: Storage.Store, isDead: () => boolean) =>
  Effect.gen(function* () {
    const { isBusy, store } = watched(dying)
    const layer = Layer.scoped(Storage.Storage, Storage.make(store, { owner: `dying-${++processes}` }))
    const context = yield* Layer.build(layer)
    const run = Workflow.execute(makeWorkflow(ledger), { id: "run", input: undefined })
    const fiber = yield* Effect.forkDaemon(Effect.provide(run, context))
    let exit: Exit.Exit<number, unknown> | null = null
    for (let idle = 0; idle < 2_000 && exit === null && !isDead(); ) {
      yield* turn
      if (!isBusy() && ++idle % 5 === 0) yield* TestClock.adjust("2 seconds")
      exit = fiber.unsafePoll()
    }
    return exit
  })

inEveryStorage("a process that crashes at any write", (backend) => {
  for (const when of ["before", "after"] as const) {
    it.scoped(`resumes as if it had not crashed, ${when} the write`, () =>
      Effect.gen(function* () {
        let deaths = 0
        let ambiguous = 0
        for (let dieAt = 1; ; dieAt++) {
          const place = yield* backend.make
          const ledger: Ledger = new Map()
          const { dying, isDead } = dyingStore(place.store, dieAt, when)
          yield* runUntil(ledger, dying, isDead)
          if (!isDead()) break
          deaths++
          yield* TestClock.adjust("31 seconds")
          const exit = yield* runUntil(ledger, place.store, () => false)
          assert.deepStrictEqual(exit, Exit.succeed(expected), `dies at ${dieAt}`)
          const { steps } = yield* Effect.provide(Workflow.status("run"), place.join())
          for (const step of steps) {
            const times = ledger.get(step.key) ?? 0
            const wanted = step.key === "flaky" ? 3 : 1
            assert.isAtLeast(times, wanted, `${step.key}, dies at ${dieAt}`)
            assert.isAtMost(times, wanted + step.ambiguous.length, `${step.key}, dies at ${dieAt}`)
            if (step.key !== "refused") assert.strictEqual(step.status, "completed", step.key)
            ambiguous += step.ambiguous.length
          }
        }
        // Writes: one opens the run, two per step and two more per retry, one records the outcome.
        assert.strictEqual(deaths, 1 + 8 * 2 + 2 * 2 + 1)
        assert.isAbove(ambiguous, 0)
      })
    )
  }
})
