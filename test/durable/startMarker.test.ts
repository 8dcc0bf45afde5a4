import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Schema, TestClock } from "effect"
import { RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"
import { inEveryStorage } from "../support/everyStorage.js"

class Offline extends Schema.TaggedError<Offline>()("Offline", {}) {}

type Append = readonly [kinds: ReadonlyArray<string>, durability: "process-crash" | undefined]

/** A store that notes its appends. */
const noting = (store: Storage.Store) => {
  const appends: Array<Append> = []
  const noted: Storage.Store = {
    ...store,
    append: (lease, entries, durability) => {
      appends.push([entries.map(({ kind }) => kind), durability])
      return store.append(lease, entries, durability)
    }
  }
  return { appends, noted }
}

let processes = 0

/** One process on a store. */
const on = (store: Storage.Store) =>
  Layer.scoped(Storage.Storage, Storage.make(store, { owner: `process-${++processes}`, lease: "30 seconds" }))

/** The appends of a run of one step. */
const appendsOf = (step: Effect.Effect<unknown, unknown, unknown>) =>
  Effect.gen(function* () {
    const { appends, noted } = noting(Storage.memoryStore())
    // The steps of these tests need nothing.
    const One = Workflow.make("one", { error: Schema.Unknown }, () => Effect.asVoid(step) as Effect.Effect<void>)
    yield* Effect.provide(Workflow.execute(One, { id: "1" }), on(noted))
    return appends
  })

const begun: Append = [["AttemptStarted"], undefined]
const begunInFile: Append = [["AttemptStarted"], "process-crash"]
const completed: Append = [["StepCompleted"], undefined]

describe("the start of an attempt", () => {
  it.effect("is on stable storage where a later execution decides by it, and in the file elsewhere", () =>
    Effect.gen(function* () {
      const run = Effect.void
      assert.deepStrictEqual(yield* appendsOf(Step.make("plain", { run })), [begunInFile, completed])
      const retried = Step.make("retried", { run, retry: RetryPolicy.fixed({ delay: 1 }) })
      assert.deepStrictEqual(yield* appendsOf(retried), [begunInFile, completed])
      const asked = Step.make("asked", { run, onAmbiguous: "ask" })
      assert.deepStrictEqual(yield* appendsOf(asked), [begun, completed])
      const once = Step.make("failing", { run, onAmbiguous: "fail" })
      assert.deepStrictEqual(yield* appendsOf(once), [begun, completed])
      const probed = Step.make("probed", { run, probe: () => Effect.succeed(Option.none()) })
      assert.deepStrictEqual(yield* appendsOf(probed), [begun, completed])
      const pivot = Step.make("pivot", { run, pivot: true })
      assert.deepStrictEqual(yield* appendsOf(pivot), [begun, completed])
      const undone = Step.make("undone", { run, compensate: () => Effect.void })
      assert.deepStrictEqual(yield* appendsOf(undone), [begun, completed])
    })
  )

  it.effect("is as durable as the step says", () =>
    Effect.gen(function* () {
      const run = Effect.void
      const synced = Step.make("synced", { run, startMarker: "power-loss" })
      assert.deepStrictEqual(yield* appendsOf(synced), [begun, completed])
      const pure = Step.make("pure", { run, startMarker: "with-result" })
      assert.deepStrictEqual(yield* appendsOf(pure), [[["AttemptStarted", "StepCompleted"], undefined]])
    })
  )

  it("cannot be less durable than its readers need", () => {
    const run = Effect.void
    for (const startMarker of ["process-crash", "with-result"] as const) {
      const pattern = new RegExp(`step "s" has .*leave startMarker "${startMarker}" out`)
      assert.throws(() => Step.make("s", { run, startMarker, pivot: true }), pattern)
      assert.throws(() => Step.make("s", { run, startMarker, compensate: () => Effect.void }), pattern)
      assert.throws(() => Step.make("s", { run, startMarker, onAmbiguous: "ask" }), pattern)
      assert.throws(() => Step.make("s", { run, startMarker, onAmbiguous: "fail" }), pattern)
      assert.throws(() => Step.make("s", { run, startMarker, probe: () => Effect.succeed(Option.none()) }), pattern)
    }
    Step.make("s", { run, startMarker: "power-loss", pivot: true })
  })
})

/** A store whose machine can lose power: then every append that need not be durable is gone, unless a durable write followed. */
const onMachine = (store: Storage.Store) => {
  let unsynced: Array<Effect.Effect<void, unknown>> = []
  let isOff = false
  const sync = Effect.suspend(() => {
    const writes = unsynced
    unsynced = []
    return Effect.orDie(Effect.all(writes, { discard: true }))
  })
  const whileOn = <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => (isOff ? Effect.never : self))
  const durably = <A, E>(self: Effect.Effect<A, E>) => whileOn(Effect.zipRight(sync, self))
  const machine: Storage.Store = {
    ...store,
    append: (lease, entries, durability) =>
      durability === undefined
        ? durably(store.append(lease, entries))
        : whileOn(Effect.sync(() => void unsynced.push(store.append(lease, entries)))),
    finish: (...args) => durably(store.finish(...args)),
    suspend: (...args) => durably(store.suspend(...args)),
    renew: (...args) => whileOn(store.renew(...args)),
    release: (...args) => whileOn(store.release(...args))
  }
  const stop = { isOff: () => (isOff = true) }
  return { machine, crash: Effect.zipRight(sync, Effect.sync(stop.isOff)), cutPower: Effect.sync(stop.isOff) }
}

/** A run whose machine stops in its second step, and what another machine makes of it. */
const stoppedInStep = (how: "crash" | "cutPower", options: { readonly onAmbiguous?: "fail" }) =>
  Effect.gen(function* () {
    const effects: Array<string> = []
    const reached = yield* Deferred.make<void>()
    let survives = false
    const first = Step.make("first", { run: Effect.sync(() => void effects.push("first")) })
    const second = Step.make("second", {
      ...options,
      run: Effect.suspend(() => {
        effects.push("second")
        return survives ? Effect.void : Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never)
      })
    })
    const Two = Workflow.make("two", { error: Step.StepAmbiguous }, () => Effect.zipRight(first, second))
    const execute = Workflow.execute(Two, { id: "1" })
    const store = Storage.memoryStore()
    const place = onMachine(store)
    const fiber = yield* Effect.forkDaemon(Effect.provide(execute, on(place.machine)))
    yield* Deferred.await(reached)
    yield* place[how]
    yield* TestClock.adjust("31 seconds")
    survives = true
    const exit = yield* Effect.exit(Effect.provide(execute, on(store)))
    const { steps } = yield* Effect.provide(Workflow.status("1"), on(store))
    yield* Fiber.interruptFork(fiber)
    return { exit, effects, ambiguous: steps.map((step) => step.ambiguous.length) }
  })

describe("what a power cut takes", () => {
  it.scoped("is that a step that is simply run again was begun, and no result", () =>
    Effect.gen(function* () {
      const effects = ["first", "second", "second"]
      const crashed = yield* stoppedInStep("crash", {})
      assert.deepStrictEqual(crashed, { exit: Exit.void, effects, ambiguous: [0, 1] })
      const cut = yield* stoppedInStep("cutPower", {})
      assert.deepStrictEqual(cut, { exit: Exit.void, effects, ambiguous: [0, 0] })
    })
  )

  it.scoped("is nothing of a step that must not run again", () =>
    Effect.gen(function* () {
      for (const how of ["crash", "cutPower"] as const) {
        const { effects, exit } = yield* stoppedInStep(how, { onAmbiguous: "fail" })
        assert.deepStrictEqual(effects, ["first", "second"])
        assert.instanceOf(Exit.isFailure(exit) && exit.cause._tag === "Fail" && exit.cause.error, Step.StepAmbiguous)
      }
    })
  )
})

/** Moves the clock by steps until the fiber has ended, or it is so. */
const passTime = (fiber: Fiber.RuntimeFiber<unknown, unknown>, isOver: () => boolean, millis = 1_000) =>
  Effect.gen(function* () {
    for (let i = 0; i < 500 && fiber.unsafePoll() === null && !isOver(); i++) {
      yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
      yield* TestClock.adjust(millis)
    }
  })

inEveryStorage("a step whose start is recorded with its result", (backend) => {
  it.scoped("has a journal like any other, in one commit for each attempt", () =>
    Effect.gen(function* () {
      const place = yield* backend.make
      const { appends, noted } = noting(place.store)
      let attempts = 0
      const read = Step.make("read", { startMarker: "with-result", success: Schema.Number, run: Effect.succeed(1) })
      const flaky = Step.make("flaky", {
        startMarker: "with-result",
        error: Offline,
        run: Effect.suspend(() => (++attempts < 2 ? new Offline() : Effect.void)),
        retry: RetryPolicy.fixed({ delay: 1, maxRetries: 3 })
      })
      const failing = Step.make("failing", { startMarker: "with-result", error: Offline, run: new Offline() })
      const slow = Step.make("slow", { startMarker: "with-result", run: Effect.never })
      const dead = Step.make("dead", { startMarker: "with-result", run: Effect.sync(() => assert.fail("a bug")) })
      const Reading = Workflow.make("reading", { success: Schema.Number }, () =>
        Effect.gen(function* () {
          const found = yield* read
          yield* flaky.pipe(Effect.orDie)
          yield* Effect.ignore(failing)
          yield* Effect.race(slow, Effect.yieldNow({ priority: 1 }))
          yield* Effect.catchAllDefect(dead, () => Effect.void)
          return found
        })
      )
      const execute = Workflow.execute(Reading, { id: "1" })
      const running = yield* Effect.fork(Effect.provide(execute, on(noted)))
      yield* passTime(running, () => false, 1)
      assert.strictEqual(yield* running, 1)
      assert.deepStrictEqual(
        appends.map(([kinds]) => kinds),
        ["StepCompleted", "AttemptFailed", "StepCompleted", "StepFailed", "StepInterrupted", "AttemptDied"].map(
          (kind) => ["AttemptStarted", kind]
        )
      )
    })
  )

  it.scoped("leaves no trace of an attempt that the end of its process cut short, and runs again", () =>
    Effect.gen(function* () {
      const place = yield* backend.make
      const reached = yield* Deferred.make<void>()
      let times = 0
      const read = Step.make("read", {
        startMarker: "with-result",
        success: Schema.Number,
        run: Effect.suspend(() =>
          ++times === 1 ? Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never) : Effect.succeed(times)
        )
      })
      const Reading = Workflow.make("reading", { success: Schema.Number }, () => read)
      const execute = Workflow.execute(Reading, { id: "1" })
      const running = yield* Effect.fork(Effect.provide(execute, place.join()))
      yield* Deferred.await(reached)
      yield* Fiber.interrupt(running)
      assert.strictEqual(yield* Effect.provide(execute, place.join()), 2)
      const { steps } = yield* Effect.provide(Workflow.status("1"), place.join())
      assert.deepStrictEqual(steps[0]?.ambiguous, [])
      assert.strictEqual(steps[0]?.attempts, 1)
    })
  )

  it.scoped("is written by itself once an attempt takes long", () =>
    Effect.gen(function* () {
      const place = yield* backend.make
      const { appends, noted } = noting(place.store)
      const slow = Step.make("slow", { startMarker: "with-result", run: Effect.sleep("1 minute") })
      const Waiting = Workflow.make("waiting", {}, () => slow)
      const running = yield* Effect.fork(Effect.provide(Workflow.execute(Waiting, { id: "1" }), on(noted)))
      yield* passTime(running, () => appends.length > 0)
      assert.deepStrictEqual(appends, [begun])
      const { steps } = yield* Effect.provide(Workflow.status("1"), place.join())
      assert.deepStrictEqual(
        steps.map(({ key, status }) => [key, status]),
        [["slow", "started"]]
      )
      yield* passTime(running, () => appends.length > 1)
      yield* running
      assert.deepStrictEqual(appends, [begun, completed])
    })
  )

  it.scoped("asks about a failure with the attempt on record", () =>
    Effect.gen(function* () {
      const place = yield* backend.make
      const { appends, noted } = noting(place.store)
      const asking = Step.make("asking", {
        startMarker: "with-result",
        error: Offline,
        run: new Offline(),
        recover: { Offline: Strategy.manual() }
      })
      const Asking = Workflow.make("asking", { error: Schema.Unknown }, () => asking)
      const exit = yield* Effect.exit(Effect.provide(Workflow.execute(Asking, { id: "1" }), on(noted)))
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(appends[0]?.[0].slice(0, 2), ["AttemptStarted", "AttemptAsked"])
    })
  )
})
