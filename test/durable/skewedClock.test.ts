import { assert, describe, it } from "@effect/vitest"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import {
  Checkpoint,
  Recovery,
  RetryPolicy,
  Signal,
  State,
  Step,
  Storage,
  Strategy,
  Worker,
  Workflow
} from "effect-recovery"
import { ahead, onClock } from "../support/clocks.js"
import { eventually, turns } from "../support/time.js"

class Bad extends Schema.TaggedError<Bad>()("Bad", {}) {}

const Go = Signal.make("go", Schema.Number)

type Flow = Workflow.Workflow<never, unknown, unknown, Storage.Storage>

/** A process with a worker whose clock is ahead of the store's, and how to end it. */
const startWorker = (store: Storage.Store, flow: Flow, skew: number, options?: Worker.Options) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    const storage = Layer.scoped(Storage.Storage, Storage.make(onClock(store, clock), { owner: `ahead-${skew}` }))
    const layer = Layer.provideMerge(Worker.layer([flow], { drain: 0, ...options }), storage)
    const context = yield* Effect.withClock(Layer.buildWithScope(layer, scope), ahead(clock, skew))
    return { context, end: Scope.close(scope, Exit.void) }
  })

/** A process without a worker, whose clock is the store's. */
const observe = (store: Storage.Store) =>
  Layer.build(Layer.scoped(Storage.Storage, Storage.make(store, { owner: "observer" })))

const pass = (seconds: number) =>
  Effect.zipRight(Effect.repeatN(Effect.zipRight(turns(), TestClock.adjust("1 second")), seconds - 1), turns())

const ended = (context: Context.Context<Storage.Storage>) =>
  Effect.provide(
    eventually(Workflow.status("1"), ({ finishedAt }) => Option.isSome(finishedAt)),
    context
  )

const tokenOf = (store: Storage.Store) => Effect.map(store.find("1"), (found) => Option.getOrThrow(found).token)

describe("a worker whose clock differs from the storage's", () => {
  it.scoped.each([5_000, -5_000, 3_600_000])(
    "opens a run that sleeps once, when its time has come (%s ms ahead)",
    (skew) =>
      Effect.gen(function* () {
        const store = Storage.memoryStore()
        const sleeper = Workflow.make("sleeper", {}, () => Workflow.sleep("5 seconds"))
        const { context } = yield* startWorker(store, sleeper, skew)
        yield* Effect.provide(Workflow.start(sleeper, { id: "1" }), context)
        yield* Effect.provide(
          eventually(Workflow.status("1"), ({ status }) => status === "suspended"),
          context
        )
        assert.strictEqual(yield* tokenOf(store), 1)
        yield* pass(4)
        assert.strictEqual(yield* tokenOf(store), 1)
        yield* pass(1)
        const { waits } = yield* ended(context)
        // Begun, and resumed at the end of its sleep.
        assert.strictEqual(yield* tokenOf(store), 2)
        const [startedAt, until, endedAt] = [waits[0]?.startedAt, waits[0]?.until, waits[0]?.endedAt].map((time) =>
          time instanceof Date ? time.getTime() : Option.getOrThrow(time ?? Option.none()).getTime()
        )
        assert.deepStrictEqual([startedAt, until, endedAt], [0, 5_000, 5_000])
      })
  )

  it.scoped.each([5_000, -5_000])("sleeps in memory as long as the storage's clock says (%s ms ahead)", (skew) =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const sleeper = Workflow.make("sleeper", {}, () => Workflow.sleep("5 seconds"))
      const { context } = yield* startWorker(store, sleeper, skew, { patience: "1 hour" })
      yield* Effect.provide(Workflow.start(sleeper, { id: "1" }), context)
      yield* pass(4)
      assert.strictEqual((yield* Effect.provide(Workflow.status("1"), context)).status, "running")
      yield* pass(1)
      yield* ended(context)
      assert.strictEqual(yield* tokenOf(store), 1)
    })
  )

  it.scoped("leaves a run that keeps stopping alone for its backoff", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      let times = 0
      const bug = Workflow.make("bug", {}, () =>
        Effect.suspend(() => {
          times++
          return Effect.die("a bug")
        })
      )
      const { context } = yield* startWorker(store, bug, 5_000)
      yield* Effect.provide(Workflow.start(bug, { id: "1" }), context)
      yield* pass(4)
      assert.strictEqual(times, 1)
      const { dueAt } = yield* Effect.provide(Workflow.status("1"), context)
      assert.deepStrictEqual(
        Option.map(dueAt, (date) => date.getTime()),
        Option.some(5_000)
      )
    })
  )
})

describe("two processes whose clocks differ by 10 seconds", () => {
  /** The first process begins the run and ends; `between` passes the time; the second one continues the run. */
  const handedOver = <A, E, R>(
    flow: Workflow.Workflow<void, unknown, unknown, Storage.Storage>,
    between: (context: Context.Context<Storage.Storage>) => Effect.Effect<A, E, R>,
    skews: readonly [number, number] = [5_000, -5_000]
  ) =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const observer = yield* observe(store)
      const first = yield* startWorker(store, flow, skews[0])
      yield* Effect.provide(Workflow.start(flow, { id: "1" }), observer)
      yield* Effect.provide(
        eventually(Workflow.status("1"), ({ status }) => status === "suspended"),
        observer
      )
      yield* first.end
      const value = yield* between(observer)
      yield* startWorker(store, flow, skews[1], { patience: "1 hour" })
      return { value, observer }
    })

  const both = [
    [5_000, -5_000],
    [-5_000, 5_000]
  ] as const

  for (const skews of both) {
    const which = `the first ${skews[0] > 0 ? "ahead" : "behind"}`

    it.scoped(`agree which signal came in time (${which})`, () =>
      Effect.gen(function* () {
        const waits = Workflow.make("waits", { success: Schema.Option(Schema.Number) }, () =>
          Effect.option(Go.wait({ within: "10 seconds" }))
        )
        const inTime = yield* handedOver(
          waits,
          (observer) => Effect.zipRight(pass(9), Effect.zipLeft(Effect.provide(Go.send("1", 7), observer), pass(20))),
          skews
        )
        assert.deepStrictEqual(yield* Effect.provide(Workflow.join(waits, "1"), inTime.observer), Option.some(7))
        const late = yield* handedOver(
          waits,
          (observer) => Effect.zipRight(pass(11), Effect.provide(Go.send("1", 7), observer)),
          skews
        )
        assert.deepStrictEqual(yield* Effect.provide(Workflow.join(waits, "1"), late.observer), Option.none())
      })
    )

    it.scoped(`retry a step once, when its delay has passed and within its time limit (${which})`, () =>
      Effect.gen(function* () {
        const times: Array<number> = []
        const clock = yield* Effect.clock
        const step = Step.make("step", {
          error: Bad,
          run: Effect.suspend(() => {
            times.push(clock.unsafeCurrentTimeMillis())
            return new Bad()
          }),
          retry: RetryPolicy.fixed({ maxRetries: 5, delay: "10 seconds", maxElapsed: "15 seconds", jitter: "none" })
        })
        const flow = Workflow.make("flow", { error: Bad }, () => step)
        const { observer } = yield* handedOver(flow, () => pass(3), skews)
        yield* pass(7)
        yield* ended(observer)
        assert.deepStrictEqual(times, [0, 10_000])
      })
    )

    it.scoped(`retry a part of the body once, when its delay has passed and within its time limit (${which})`, () =>
      Effect.gen(function* () {
        const times: Array<number> = []
        const clock = yield* Effect.clock
        const part = Effect.zipRight(
          Step.make("step", { run: Effect.sync(() => void times.push(clock.unsafeCurrentTimeMillis())) }),
          new Bad()
        ).pipe(
          Recovery.recover({
            Bad: Strategy.retry(
              RetryPolicy.fixed({ maxRetries: 5, delay: "10 seconds", maxElapsed: "15 seconds", jitter: "none" })
            )
          })
        )
        const flow = Workflow.make("flow", {}, () => Effect.ignore(part))
        const { observer } = yield* handedOver(flow, () => pass(3), skews)
        yield* pass(7)
        yield* ended(observer)
        assert.deepStrictEqual(times, [0, 10_000])
      })
    )

    it.scoped(`agree on the age of state and checkpoints (${which})`, () =>
      Effect.gen(function* () {
        const Draft = Checkpoint.make("draft", { schema: Schema.Number })
        const Seen = State.make("seen", Schema.Number, 0, { ttl: "8 seconds" })
        const flow = Workflow.make("flow", { success: Schema.Unknown }, () =>
          Effect.gen(function* () {
            yield* Seen.set(1)
            yield* Draft.save(1)
            yield* Workflow.sleep("7 seconds")
            const young = [yield* Seen.get, Option.isSome(yield* Draft.saveIfDue(2, { interval: "8 seconds" }))]
            yield* Workflow.sleep("2 seconds")
            return [young, yield* Seen.get, Option.isSome(yield* Draft.saveIfDue(3, { interval: "8 seconds" }))]
          })
        )
        const { observer } = yield* handedOver(flow, () => pass(3), skews)
        yield* pass(8)
        yield* ended(observer)
        assert.deepStrictEqual(yield* Effect.provide(Workflow.join(flow, "1"), observer), [[1, false], 0, true])
      })
    )
  }
})
