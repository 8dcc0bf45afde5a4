import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Schema } from "effect"
import { Failover, Graph, Operation, Recovery, RetryPolicy, Step, Strategy, Workflow } from "effect-recovery"
import { Insights, RecoveryLog, RecoveryManager, Timeline } from "effect-recovery/operate"
import { Testing } from "effect-recovery/testing"
import { backends } from "../support/storages.js"
import { eventually, passTime } from "../support/time.js"

class Down extends Schema.TaggedError<Down>()("Down", {}) {}
class ValidationError extends Schema.TaggedError<ValidationError>()("ValidationError", {}) {}
class OrderFailed extends Schema.TaggedError<OrderFailed>()("OrderFailed", {}) {}

const policy = RetryPolicy.fixed({ maxRetries: 2, delay: "1 second", jitter: "none" })

const down = Step.make("down", { error: Down, run: new Down() })
const retried = Step.make("retried", { error: Down, run: new Down(), retry: policy })
const recovered = Step.make("recovered", { error: Down, run: new Down(), recover: { Down: Strategy.retry(policy) } })
const refused = Step.make("refused", {
  error: ValidationError,
  run: new ValidationError(),
  retry: RetryPolicy.byCategory()
})
const Offline = Failover.FailoverExhausted.schema(Down)
const failover = Step.make("failover", {
  error: Offline,
  run: Effect.flatMap(
    Failover.make({ name: "mirrors", ways: { near: () => new Down(), far: () => new Down() } }),
    (fetch) => fetch()
  )
})
const error = Schema.Union(Down, ValidationError, OrderFailed, Offline)

const parts = Graph.make("parts", {
  left: Graph.node({}, Step.make("left", { error: Down, run: () => new Down(), retry: policy })),
  right: Graph.node({}, Step.make("right", { error: Down, run: () => new Down(), retry: policy }))
})

type Body = Effect.Effect<unknown, unknown, unknown>

const exhausted: Readonly<Record<string, Body>> = {
  "by a step whose retries are used up": retried,
  "by a step whose strategy has no further option": recovered,
  "by a recovery in its body": down.pipe(Recovery.recover({ Down: Strategy.retry(policy) })),
  "by a failover whose ways all failed": failover,
  "by a graph whose failed nodes have used up their retries": Graph.run(parts, { concurrency: 2 })
}

const failed: Readonly<Record<string, Body>> = {
  "by a failure without a recovery": down,
  "by a failure that its policy does not retry": refused,
  "by an error of the program's own": Effect.mapError(retried, () => new OrderFailed()),
  "by an abort after retries": down.pipe(
    Recovery.recover({ Down: Strategy.sequence(Strategy.retry(policy), Strategy.abort) })
  ),
  "by a recovery that may not try anything": down.pipe(Recovery.recover({ Down: Strategy.retry(RetryPolicy.none) }))
}

// Each body needs the run at most, and its errors are those of the schema or of the library.
const flow = (body: Body) => Workflow.make("flow", { error }, () => Effect.asVoid(body) as Effect.Effect<void, Down>)

for (const { make, name } of backends) {
  const ends = (body: Body, expected: "failed" | "exhausted") =>
    Effect.gen(function* () {
      const place = yield* make
      const workflow = flow(body)
      yield* Effect.gen(function* () {
        const running = yield* Effect.fork(Effect.exit(Workflow.execute(workflow, { id: "run" })))
        yield* passTime(running, "1 second")
        const { failure, status } = yield* Workflow.status("run")
        assert.strictEqual(status, expected)
        assert.isTrue(Option.isSome(failure))
        // A replay of the recorded attempts ends as they did.
        const { end } = yield* Testing.replay(workflow, yield* Workflow.history("run"))
        assert.strictEqual(end, expected)
      }).pipe(Effect.provide(place.join("10 days")))
    })

  describe(`${name}: a run is exhausted`, () => {
    for (const [how, body] of Object.entries(exhausted)) it.scoped(how, () => ends(body, "exhausted"))

    it.scoped("although its last attempts were made by another process", () =>
      Effect.gen(function* () {
        const place = yield* make
        const workflow = flow(retried)
        const execute = Effect.exit(Workflow.execute(workflow, { id: "run" }))
        yield* Effect.gen(function* () {
          const first = yield* Effect.fork(execute)
          yield* eventually(Workflow.status("run"), ({ steps }) => steps[0]?.status === "waiting")
          yield* Fiber.interrupt(first)
        }).pipe(Effect.provide(place.join("10 days")))
        yield* Effect.gen(function* () {
          yield* passTime(yield* Effect.fork(execute), "1 second")
          assert.strictEqual((yield* Workflow.status("run")).status, "exhausted")
        }).pipe(Effect.provide(place.join("10 days")))
      })
    )

    it.scoped("and is listed, counted, shown and removed as such", () =>
      Effect.gen(function* () {
        const place = yield* make
        const written: Array<RecoveryLog.Entry> = []
        const log = RecoveryLog.layer((entry) => Effect.sync(() => void written.push(entry)))
        yield* Effect.gen(function* () {
          const call = yield* Recovery.recoverable({
            name: "download",
            retry: policy,
            breaker: false,
            persist: Operation.persist({ success: Schema.Void, error: Schema.Union(Down, ValidationError) })
          })
          yield* passTime(yield* Effect.fork(Effect.exit(call(new Down(), { id: "a" }))), "1 second")
          yield* Effect.exit(call(new ValidationError(), { id: "b" }))
          const listed = (status: Workflow.Status) =>
            Effect.map(Workflow.list({ status }), (runs) => runs.map(({ id }) => id))
          assert.deepStrictEqual(yield* listed("exhausted"), ["download/a"])
          assert.deepStrictEqual(yield* listed("failed"), ["download/b"])
          const counted = (yield* Workflow.stats).map(({ runs, status }) => [status, runs] as const)
          assert.deepStrictEqual(Object.fromEntries(counted), { exhausted: 1, failed: 1 })
          const { outcome } = yield* Timeline.ofRun("download/a")
          assert.deepStrictEqual([outcome?.status, outcome?.failure?.tag], ["exhausted", "RecoveryExhausted"])
          assert.deepStrictEqual(
            written.filter(({ event }) => event === "run_failed").map(({ outcome, run }) => [run, outcome]),
            [
              ["download/a", "exhausted"],
              ["download/b", "failed"]
            ]
          )
          yield* passTime(yield* Effect.fork(Effect.sleep("10 seconds")), "1 second")
          assert.strictEqual(yield* Workflow.cleanup({ olderThan: "5 seconds" }), 2)
        }).pipe(Effect.provide(Layer.merge(place.join("10 days"), log)))
      })
    )

    it.scoped("and can be recovered on request", () =>
      Effect.gen(function* () {
        const place = yield* make
        let isDown = true
        const flaky = Step.make("flaky", {
          error: Down,
          run: Effect.suspend(() => (isDown ? new Down() : Effect.void)),
          retry: policy
        })
        const workflow = flow(flaky)
        const manager = Layer.merge(Insights.layer, RecoveryManager.layer({ workflows: [workflow] }))
        yield* Effect.gen(function* () {
          yield* passTime(yield* Effect.fork(Effect.exit(Workflow.execute(workflow, { id: "run" }))), "1 second")
          yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
          const [failure] = yield* RecoveryManager.failures({ run: "run" })
          isDown = false
          const { status } = yield* RecoveryManager.initiate(failure?.id ?? "", "retry")
          assert.deepStrictEqual([status, (yield* Workflow.status("run")).status], ["completed", "completed"])
        }).pipe(Effect.provide(manager.pipe(Layer.provideMerge(place.join("10 days")))))
      })
    )
  })

  describe(`${name}: a run is failed`, () => {
    for (const [how, body] of Object.entries(failed)) it.scoped(how, () => ends(body, "failed"))
  })
}
