import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { Graph, RetryPolicy, Step, Storage, Strategy, Worker, Workflow } from "effect-recovery"
import { Ledger } from "effect-recovery/testing"
import { a, Bad, b, builtProcess, flow, Go, holdsRead } from "../support/durable.js"
import { backends } from "../support/storages.js"
import { eventually, passTime, turns } from "../support/time.js"

const hold = (run: string) => Workflow.hold(run, { reason: "to look", by: "ada" })

const release = (run: string) => Effect.map(Workflow.release(run), (wasHeld) => assert.isTrue(wasHeld))

/** A step that runs until the gate opens. */
const gated = Effect.map(Effect.all([Deferred.make<void>(), Deferred.make<void>()]), ([begun, open]) => {
  const pass = Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(open))
  const run = Effect.zipRight(pass, Ledger.done("gated"))
  const step = Step.make("gated", { run })
  return { pass, run, step, begun: Deferred.await(begun), open: Deferred.succeed(open, undefined) }
})

type Gated = Effect.Effect.Success<typeof gated>

/** Its second attempt does nothing. */
const retried = ({ run }: Gated) =>
  Step.make("retried", {
    error: Bad,
    run: (_: undefined, { number }) => (number === 1 ? Effect.zipRight(run, Effect.fail(new Bad())) : Effect.void),
    recover: { Bad: Strategy.retry(RetryPolicy.fixed({ delay: 0, maxRetries: 1 })) }
  })(undefined).pipe(Effect.orDie)

/** One node at a time. */
const graphOf = ({ step }: Gated) => {
  const first = Graph.node({}, step)
  return Graph.run(Graph.make("one", { second: Graph.node({ first }, b) }), { concurrency: 1 })
}

const statusOf = (id: string) => Effect.map(Workflow.status(id), ({ status }) => status)

for (const backend of backends)
  describe(`${backend.name}: a run that is put on hold while it is executed`, () => {
    it.scoped("ends its running attempt, begins no step, and gives its lease back", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const { begun, open, step } = yield* gated
        const Flow = flow(Effect.all([a, step, b]))
        yield* Effect.gen(function* () {
          const running = yield* Effect.fork(Workflow.execute(Flow, { id: "1" }))
          yield* begun
          yield* hold("1")
          assert.strictEqual(yield* statusOf("1"), "running")
          yield* open
          const error = yield* Effect.flip(Fiber.join(running))
          assert.instanceOf(error, Workflow.RunHeld)
          assert.deepInclude(error, { run: "1", hold: "manual", reason: "to look (ada)" })
          assert.strictEqual(yield* story, "a gated")
          assert.strictEqual(yield* statusOf("1"), "held")
          assert.instanceOf(yield* Effect.flip(Workflow.execute(Flow, { id: "1" })), Workflow.RunHeld)
          yield* release("1")
          yield* Workflow.execute(Flow, { id: "1" })
          assert.strictEqual(yield* story, "a gated b")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("continues if it is released before a step was to begin", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const { begun, open, step } = yield* gated
        const Flow = flow(Effect.all([step, b]))
        yield* Effect.gen(function* () {
          const running = yield* Effect.fork(Workflow.execute(Flow, { id: "1" }))
          yield* begun
          yield* hold("1")
          yield* release("1")
          // The execution reads that it is free.
          yield* turns()
          yield* open
          yield* Fiber.join(running)
          assert.strictEqual(yield* story, "gated b")
        }).pipe(Effect.provide(layer))
      })
    )

    for (const [what, make] of [
      ["a step", (first: Gated) => Effect.all([first.step, b])],
      ["a retry", (first: Gated) => Effect.all([retried(first), b])],
      ["a step of a graph", graphOf]
    ] as const)
      it.scoped(`begins ${what} if it is released before the execution has stopped`, () =>
        Effect.gen(function* () {
          const looking = yield* gated
          // The execution looks for signals before it stops, which takes as long as the store takes.
          const { layer, story } = yield* builtProcess(backend, (store) => ({
            ...store,
            signals: (...args) => Effect.zipRight(looking.pass, store.signals(...args))
          }))
          const first = yield* gated
          const Flow = flow(make(first))
          yield* Effect.gen(function* () {
            const running = yield* Effect.fork(Workflow.execute(Flow, { id: "1" }))
            yield* first.begun
            yield* hold("1")
            yield* first.open
            yield* looking.begun
            yield* release("1")
            // The execution reads that it is free.
            yield* turns()
            yield* looking.open
            yield* Fiber.join(running)
            assert.strictEqual(yield* story, "gated b")
          }).pipe(Effect.provide(layer))
        })
      )

    it.scoped("says that it was held if it is released while the execution stops", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const closing = yield* gated
        const Flow = flow(Effect.all([a, Effect.ensuring(Workflow.sleep("1 hour"), closing.pass), b]))
        yield* Effect.gen(function* () {
          const running = yield* Effect.fork(Workflow.execute(Flow, { id: "1" }))
          yield* eventually(story, (lines) => lines === "a")
          yield* hold("1")
          yield* closing.begun
          yield* release("1")
          yield* turns()
          yield* closing.open
          assert.instanceOf(yield* Effect.flip(Fiber.join(running)), Workflow.RunHeld)
          const again = yield* Effect.fork(Workflow.execute(Flow, { id: "1" }))
          yield* passTime(again, "1 minute")
          assert.strictEqual(yield* story, "a b")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("leaves a wait, and keeps what it waits for", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const Flow = flow(Effect.all([a, Workflow.sleep("1 hour"), b]))
        yield* Effect.gen(function* () {
          const running = yield* Effect.fork(Workflow.execute(Flow, { id: "1" }))
          yield* eventually(story, (lines) => lines === "a")
          yield* hold("1")
          assert.instanceOf(yield* Effect.flip(Fiber.join(running)), Workflow.RunHeld)
          const { dueAt, status, waiting } = yield* Workflow.status("1")
          assert.strictEqual(status, "held")
          assert.deepStrictEqual(
            waiting.map(({ about, kind }) => `${kind} ${about}`),
            ["sleep sleep"]
          )
          assert.deepStrictEqual(dueAt, Option.some(new Date(3_600_000)))
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("leaves a backoff, and continues it later", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* builtProcess(backend)
        const fails = Step.make("fails", {
          error: Bad,
          run: Effect.zipRight(Ledger.done("attempt"), Effect.fail(new Bad())),
          recover: { Bad: Strategy.retry(RetryPolicy.fixed({ delay: "1 hour", maxRetries: 1 })) }
        })
        const Flow = flow(Effect.ignore(fails))
        yield* Effect.gen(function* () {
          const running = yield* Effect.fork(Workflow.execute(Flow, { id: "1" }))
          yield* eventually(lines, ({ length }) => length === 1)
          yield* hold("1")
          assert.instanceOf(yield* Effect.flip(Fiber.join(running)), Workflow.RunHeld)
          yield* release("1")
          const again = yield* Effect.fork(Workflow.execute(Flow, { id: "1" }))
          yield* TestClock.adjust("59 minutes")
          assert.strictEqual((yield* lines).length, 1)
          yield* TestClock.adjust("1 minute")
          yield* Fiber.join(again)
          assert.strictEqual((yield* lines).length, 2)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("begins no retry of a running step, also without a delay", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* builtProcess(backend)
        const { begun, open, run } = yield* gated
        const fails = Step.make("fails", {
          error: Bad,
          run: Effect.zipRight(run, Effect.fail(new Bad())),
          recover: { Bad: Strategy.retry(RetryPolicy.fixed({ delay: 0, maxRetries: 5 })) }
        })
        const Flow = flow(Effect.ignore(fails))
        yield* Effect.gen(function* () {
          const running = yield* Effect.fork(Workflow.execute(Flow, { id: "1" }))
          yield* begun
          yield* hold("1")
          yield* open
          assert.instanceOf(yield* Effect.flip(Fiber.join(running)), Workflow.RunHeld)
          assert.strictEqual((yield* lines).length, 1)
          yield* release("1")
          yield* Workflow.execute(Flow, { id: "1" })
          assert.strictEqual((yield* lines).length, 6)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("takes a signal, and reads it when it is released", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const Flow = flow(Effect.all([a, Go.wait(), b]))
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(Flow, { id: "1" }))
          yield* hold("1")
          yield* Go.send("1", 1)
          assert.instanceOf(yield* Effect.flip(Workflow.execute(Flow, { id: "1" })), Workflow.RunHeld)
          yield* release("1")
          yield* Workflow.execute(Flow, { id: "1" })
          assert.strictEqual(yield* story, "a b")
        }).pipe(Effect.provide(layer))
      })
    )
  })

for (const backend of backends)
  describe(`${backend.name}: a held run`, () => {
    it.scoped("is executed and rewound by its holder alone", () =>
      Effect.gen(function* () {
        const { layer, story } = yield* builtProcess(backend)
        const Flow = flow(Effect.all([a, b]))
        yield* Effect.gen(function* () {
          yield* Workflow.execute(Flow, { id: "1" })
          yield* hold("1")
          const point = Workflow.beforeStep("b")
          assert.instanceOf(yield* Effect.flip(Workflow.rewind(Flow, "1", point)), Workflow.RunHeld)
          assert.strictEqual(yield* statusOf("1"), "completed")
          yield* Workflow.rewind(Flow, "1", point, { heldAs: "manual" })
          assert.strictEqual(yield* statusOf("1"), "held")
          assert.instanceOf(yield* Effect.flip(Workflow.rewind(Flow, "1", Workflow.fromStart)), Workflow.RunHeld)
          assert.instanceOf(yield* Effect.flip(Workflow.resume(Flow, "1")), Workflow.RunHeld)
          yield* Workflow.resume(Flow, "1", { heldAs: "manual" })
          assert.strictEqual(yield* story, "a b b")
          yield* release("1")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("is not that of a recovery for a person to release, nor to hold", () =>
      Effect.gen(function* () {
        const { layer } = yield* builtProcess(backend)
        yield* Effect.gen(function* () {
          const storage = yield* Storage.Storage
          yield* Workflow.start(flow(a), { id: "1" })
          assert.isFalse(yield* Workflow.release("1"))
          yield* storage.hold("1", { id: "recovery/r", reason: "a retry" })
          assert.instanceOf(yield* Effect.flip(Workflow.release("1")), Workflow.RunHeld)
          assert.instanceOf(yield* Effect.flip(hold("1")), Workflow.RunHeld)
          assert.instanceOf(yield* Effect.flip(Workflow.release("2")), Workflow.RunNotFound)
          assert.instanceOf(yield* Effect.flip(hold("2")), Workflow.RunNotFound)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("is left by the worker of another process, counted apart, and taken again when it is released", () =>
      Effect.gen(function* () {
        const { change, isTold } = holdsRead()
        const { layer, place, story } = yield* builtProcess(backend, change)
        const operator = yield* Layer.build(place.join())
        const { begun, open, step } = yield* gated
        const Flow = flow(Effect.all([a, step, b]))
        const asOperator = Effect.provide(operator)
        yield* Effect.gen(function* () {
          const { health } = yield* Worker.Worker
          yield* Workflow.start(Flow, { id: "1" })
          yield* begun
          yield* asOperator(hold("1"))
          // The store notifies the other process.
          yield* eventually(isTold, Boolean)
          yield* open
          yield* eventually(statusOf("1"), (status) => status === "held")
          const { due, held, running, stuck, waiting } = yield* eventually(
            health,
            ({ running }) => running.length === 0
          )
          assert.deepStrictEqual(
            { due, held, running, stuck, waiting },
            { due: 0, held: 1, running: [], stuck: [], waiting: 0 }
          )
          assert.strictEqual(yield* story, "a gated")
          yield* asOperator(release("1"))
          // Where the store does not tell it of the release, the worker looks from time to time.
          yield* eventually(
            Effect.zipRight(TestClock.adjust("1 second"), statusOf("1")),
            (status) => status === "completed"
          )
          assert.strictEqual(yield* story, "a gated b")
        }).pipe(Effect.provide(Layer.provideMerge(Worker.layer([Flow]), layer)))
      })
    )
  })
