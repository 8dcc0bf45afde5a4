import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import {
  Checkpoint,
  CircuitBreaker,
  Operation,
  Recovery,
  RecoveryPolicy,
  RetryPolicy,
  Strategy,
  Workflow
} from "effect-recovery"
import { memoryProcess } from "../support/durable.js"
import { backends } from "../support/storages.js"
import { eventually, passTime, turns } from "../support/time.js"

class Down extends Schema.TaggedError<Down>()("Down", {}) {}

for (const backend of backends) {
  const setup = Effect.map(backend.make, (place) => place.join("10 days"))

  describe(`${backend.name}: recorded operations`, () => {
    it.scoped("are runs whose id is made of their name and id", () =>
      Effect.gen(function* () {
        const layer = yield* setup
        yield* Effect.gen(function* () {
          const upload = yield* Recovery.recoverable({
            name: "up/load [1]",
            persist: Operation.persist({ success: Schema.String })
          })
          yield* upload(Effect.succeed("done"), { id: "x/1" })
          const id = Operation.runId("up/load [1]", "x/1")
          assert.strictEqual((yield* Workflow.status(id)).status, "completed")
          assert.deepStrictEqual(
            (yield* Workflow.list({ workflow: "up/load [1]" })).map((run) => run.id),
            [id]
          )
          assert.strictEqual(yield* Workflow.remove(id), true)
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("return the recorded result when finished, and keep the attempt count when interrupted", () =>
      Effect.gen(function* () {
        const layer = yield* setup
        let calls = 0
        const work = (succeedsAt: number) =>
          Effect.suspend(() => (++calls >= succeedsAt ? Effect.succeed(`call ${calls}`) : Effect.fail(new Down())))
        yield* Effect.gen(function* () {
          const make = Recovery.recoverable({
            name: "download",
            retry: RetryPolicy.fixed({ maxRetries: 3, delay: "1 minute", jitter: "none" }),
            breaker: false,
            persist: Operation.persist({ success: Schema.String, error: Down })
          })
          // The first process ends in its first backoff.
          const first = yield* make
          const fiber = yield* Effect.fork(first(work(4), { id: "a" }))
          yield* eventually(
            Effect.sync(() => calls),
            (calls) => calls === 1
          )
          yield* eventually(Workflow.status("download/a"), ({ steps }) => steps[0]?.status === "waiting")
          yield* Fiber.interrupt(fiber)
          const status = yield* Workflow.status("download/a")
          assert.strictEqual(status.steps[0]?.status, "waiting")
          const second = yield* make
          const going = yield* Effect.fork(second(work(4), { id: "a" }))
          assert.strictEqual(yield* passTime(going, "1 minute"), "call 4")
          assert.strictEqual((yield* Workflow.status("download/a")).steps[0]?.attempts, 4)
          // A finished operation does not call the work again.
          assert.strictEqual(yield* second(work(4), { id: "a" }), "call 4")
          assert.strictEqual(calls, 4)
          const rejected = yield* make
          const promise = rejected.try(async () => Promise.reject<string>(new Error("no")), { id: "b" })
          const failing = yield* Effect.fork(Effect.exit(promise))
          assert.isTrue(Exit.isFailure(yield* passTime(failing, "1 minute")))
          // The failure is recorded too.
          assert.isTrue(Exit.isFailure(yield* Effect.exit(promise)))
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("withRecovery recovers by the policy and saves due checkpoints", () =>
      Effect.gen(function* () {
        const layer = yield* setup
        const Progress = Checkpoint.make("progress", { schema: Schema.Struct({ done: Schema.Number }) })
        let done = 0
        let fails = 1
        const load = Effect.suspend(() => {
          done++
          return fails-- > 0 ? Effect.fail(new Down()) : Effect.succeed(done)
        })
        const recovered = load.pipe(
          Operation.withRecovery("import", "load", {
            checkpoint: { of: Progress, state: Effect.sync(() => ({ done })), interval: "5 minutes" }
          })
        )
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* recovered, 2)
          assert.strictEqual(yield* recovered, 3)
          yield* TestClock.adjust("5 minutes")
          assert.strictEqual(yield* recovered, 4)
          const saved = yield* Progress.list()
          assert.deepStrictEqual(
            saved.map(({ labels }) => labels),
            [
              { workflow: "import", step: "load" },
              { workflow: "import", step: "load" }
            ]
          )
        }).pipe(
          Effect.provide(
            RecoveryPolicy.layer({ names: { load: Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 0 })) } })
          ),
          Effect.provide(layer)
        )
      })
    )
  })
}

describe("an operation is not recorded as ended", () => {
  it.scoped("when an open breaker refuses it", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      yield* Effect.gen(function* () {
        const breaker = yield* CircuitBreaker.make({ name: "b" })
        const op = yield* Recovery.recoverable({
          name: "op",
          retry: RetryPolicy.none,
          breaker,
          persist: Operation.persist({ success: Schema.Number })
        })
        yield* breaker.isolate
        const refused = yield* Effect.flip(op(Effect.succeed(1), { id: "1" }))
        assert.strictEqual(refused._tag, "CircuitOpen")
        yield* breaker.reset
        assert.strictEqual(yield* op(Effect.succeed(1), { id: "1" }), 1)
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("when a full bulkhead refuses it; an ended one answers without a place", () =>
    Effect.gen(function* () {
      const { layer } = yield* memoryProcess()
      yield* Effect.gen(function* () {
        const op = yield* Recovery.recoverable({
          name: "op",
          retry: RetryPolicy.none,
          bulkhead: { maxConcurrent: 1, maxQueue: 0 },
          persist: Operation.persist({ success: Schema.Number })
        })
        const gate = yield* Deferred.make<void>()
        yield* op(Effect.succeed(1), { id: "a/b" })
        const busy = yield* Effect.fork(op(Effect.as(Deferred.await(gate), 2), { id: "2" }))
        yield* turns(5)
        assert.strictEqual(yield* op(Effect.succeed(3), { id: "a/b" }), 1)
        const full = yield* Effect.flip(op(Effect.succeed(3), { id: "3" }))
        assert.strictEqual(full._tag, "BulkheadFull")
        yield* Deferred.succeed(gate, undefined)
        yield* busy
        assert.strictEqual(yield* op(Effect.succeed(3), { id: "3" }), 3)
      }).pipe(Effect.provide(layer))
    })
  )
})
