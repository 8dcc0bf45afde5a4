import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"
import { Ledger } from "effect-recovery/testing"
import { a, Bad, b, flow, Go, memoryProcess } from "../support/durable.js"
import { eventually, turns } from "../support/time.js"

const hold = (run: string) =>
  Effect.flatMap(Storage.Storage, (storage) => storage.hold(run, { id: "manual", reason: "to look" }))

const release = (run: string) => Effect.flatMap(Storage.Storage, (storage) => storage.releaseHold(run, "manual"))

/** A step that runs until the gate opens. */
const gated = Effect.map(Effect.all([Deferred.make<void>(), Deferred.make<void>()]), ([begun, open]) => {
  const run = Effect.zipRight(
    Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(open)),
    Ledger.done("gated")
  )
  const step = Step.make("gated", { run })
  return { run, step, begun: Deferred.await(begun), open: Deferred.succeed(open, undefined) }
})

const statusOf = (id: string) => Effect.map(Workflow.status(id), ({ status }) => status)

describe("a run that is put on hold while it is executed", () => {
  it.scoped("ends its running attempt, begins no step, and gives its lease back", () =>
    Effect.gen(function* () {
      const { layer, story } = yield* memoryProcess()
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
        assert.deepInclude(error, { run: "1", hold: "manual", reason: "to look" })
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
      const { layer, story } = yield* memoryProcess()
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

  it.scoped("leaves a wait, and keeps what it waits for", () =>
    Effect.gen(function* () {
      const { layer, story } = yield* memoryProcess()
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
      const { layer, lines } = yield* memoryProcess()
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
      const { layer, lines } = yield* memoryProcess()
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
      const { layer, story } = yield* memoryProcess()
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
