import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Fiber, Layer, Option, Schema, TestClock } from "effect"
import {
  Events,
  Fault,
  Operation,
  Recovery,
  RecoveryPolicy,
  RetryPolicy,
  Step,
  Storage,
  Strategy,
  Transaction,
  Workflow
} from "effect-recovery"
import { Insights, Operator, RecoveryManager, Timeline } from "effect-recovery/operate"
import { backends } from "../support/storages.js"
import { passTime } from "../support/time.js"

class Offline extends Schema.TaggedError<Offline>()("Offline", { host: Schema.String }) {}

class Declined extends Schema.TaggedError<Declined>()("Declined", { code: Schema.Number }) {
  override get message() {
    return `the bank declined with code ${this.code}`
  }
}

class Empty extends Schema.TaggedError<Empty>()("Empty", {}) {}
class Down extends Data.TaggedError("Down")<{}> {}

const settled = Effect.flatMap(Insights.Insights, ({ settled }) => settled)

describe.each(backends)("records on $name", ({ make }) => {
  type All = Storage.Storage | RecoveryManager.RecoveryManager | Insights.Insights
  const test = <E>(name: string, body: Effect.Effect<void, E, All>) =>
    it.scoped(name, () =>
      Effect.flatMap(make, ({ join }) => {
        const manager = RecoveryManager.layer({ actions: { retry: () => Effect.void } })
        return Effect.provide(body, Layer.merge(manager, Insights.layer).pipe(Layer.provideMerge(join())))
      })
    )

  test(
    "a recovery starts with its failure and ends no earlier",
    Effect.gen(function* () {
      yield* TestClock.setTime(10_000)
      let fails = 2
      const flaky = Effect.suspend(() => (fails-- > 0 ? Effect.fail(new Down()) : Effect.void))
      const policy = RetryPolicy.fixed({ maxRetries: 3, delay: "2 seconds" })
      const recovering = yield* Effect.fork(flaky.pipe(Recovery.recover({ Down: Strategy.retry(policy) })))
      yield* TestClock.adjust("4 seconds")
      yield* Fiber.join(recovering)
      yield* settled
      const [recovered] = yield* RecoveryManager.recoveries()
      assert.deepStrictEqual([recovered?.startedAt, recovered?.completedAt], [new Date(10_000), new Date(14_000)])
      const { id } = yield* RecoveryManager.report("timeout")
      const { completedAt = new Date(0), progress, startedAt } = yield* RecoveryManager.initiate(id, "retry")
      assert.isAtLeast(completedAt.getTime(), startedAt.getTime())
      for (const { endedAt = new Date(0), startedAt } of progress) {
        assert.isAtLeast(endedAt.getTime(), startedAt.getTime())
      }
      const { detectedAt, resolvedAt = new Date(0) } = yield* RecoveryManager.failure(id)
      assert.isAtLeast(resolvedAt.getTime(), detectedAt.getTime())
    })
  )

  test(
    "recoveries by a policy are counted by the strategy that decided",
    Effect.gen(function* () {
      const failing: Effect.Effect<void, Down> = Effect.fail(new Down())
      const once = Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 0 }))
      const policy = RecoveryPolicy.layer({ otherwise: once })
      yield* Effect.exit(failing.pipe(Operation.withRecovery("nightly", "step-1"), Effect.provide(policy)))
      yield* Effect.exit(failing.pipe(Recovery.auto("step-1"), Effect.provide(policy)))
      yield* settled
      const { byStrategy, byType } = yield* Insights.statistics
      assert.deepStrictEqual([Object.keys(byStrategy), Object.keys(byType)], [["retry"], ["retry"]])
    })
  )

  test(
    "a failed run shows its error, and the timeline the cause of a rollback",
    Effect.gen(function* () {
      const offline = Step.make("offline", { error: Offline, run: Effect.fail(new Offline({ host: "smtp" })) })
      const undone = Step.make("undone", { run: Effect.void, compensate: () => Effect.void })
      const Flow = Workflow.make("flow", { error: Offline }, () =>
        Effect.zipRight(undone, offline).pipe(Transaction.run())
      )
      yield* Effect.exit(Workflow.execute(Flow, { id: "1" }))
      const { failure } = yield* Workflow.status("1")
      assert.deepStrictEqual(Option.getOrUndefined(failure), { tag: "Offline", message: `Offline { "host": "smtp" }` })
      const { moments, outcome } = yield* Timeline.ofRun("1")
      assert.strictEqual(outcome?.failure?.tag, "Offline")
      assert.include(moments.find(({ kind }) => kind === "RolledBack")?.detail, "smtp")
      const Exhausted = Workflow.make("exhausted", { error: Empty }, () =>
        Step.make("empty", {
          error: Empty,
          run: Effect.fail(new Empty()),
          recover: { Empty: Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 0 })) }
        })
      )
      yield* Effect.exit(Workflow.execute(Exhausted, { id: "2" }))
      const exhausted = Option.getOrThrow((yield* Workflow.status("2")).failure)
      assert.deepStrictEqual(exhausted, { tag: "RecoveryExhausted", message: "Gave up after 2 attempts: Empty" })
      const Words = Workflow.make("words", { error: Schema.String }, () => Effect.fail("no such host"))
      yield* Effect.exit(Workflow.execute(Words, { id: "3" }))
      const words = Option.getOrThrow((yield* Workflow.status("3")).failure)
      assert.deepStrictEqual(words, { tag: undefined, message: "no such host" })
    })
  )

  test(
    "a failed run and step show the message of an error whose schema keeps only fields",
    Effect.gen(function* () {
      const charge = Step.make("charge", { error: Declined, run: Effect.fail(new Declined({ code: 51 })) })
      const Flow = Workflow.make("flow", { error: Declined }, () => charge)
      yield* Effect.exit(Workflow.execute(Flow, { id: "1" }))
      const { failure, steps } = yield* Workflow.status("1")
      const expected = { tag: "Declined", message: "the bank declined with code 51" }
      assert.deepStrictEqual(Option.getOrThrow(failure), expected)
      const failed = Option.getOrThrow(steps[0]?.history[0]?.failure ?? Option.none())
      assert.deepInclude(failed, expected)
    })
  )

  test(
    "a sleep that is over has elapsed",
    Effect.gen(function* () {
      const Nap = Workflow.make("nap", {}, () => Workflow.sleep("1 second"))
      const napping = yield* Effect.fork(Workflow.execute(Nap, { id: "1" }))
      yield* passTime(napping, "1 second")
      const { failure, waits } = yield* Workflow.status("1")
      assert.deepStrictEqual(
        waits.map(({ kind, status }) => [kind, status]),
        [["sleep", "elapsed"]]
      )
      assert.isTrue(Option.isNone(failure))
    })
  )
})

describe.each(backends)("a run that fails again, on $name", ({ make }) => {
  /** Another process changes the record of the failure just before the second failure is written. */
  const failsTwice = (change: (row: Storage.RecordRow) => Partial<Storage.RecordRow>) =>
    Effect.gen(function* () {
      const { store } = yield* make
      let isBefore = false
      const other = Effect.gen(function* () {
        const [row] = yield* store.records({ kind: "failure" })
        const { at: _, key: __, updatedAt: ___, ...record } = row ?? assert.fail()
        yield* store.write({ ...record, ...change({ ...record, at: 0, key: 0, updatedAt: 0 }) }, [])
      })
      const racing: Storage.Store = {
        ...store,
        write: (record, counts) =>
          Effect.suspend(() => {
            const isFirst = isBefore && record.revision > 0
            isBefore = isBefore && !isFirst
            return Effect.zipRight(isFirst ? Effect.orDie(other) : Effect.void, store.write(record, counts))
          })
      }
      const storage = Layer.scoped(Storage.Storage, Storage.make(racing, { owner: "test", lease: "10 days" }))
      return yield* Effect.gen(function* () {
        let host = "first"
        const call = Step.make("call", { error: Offline, run: Effect.suspend(() => new Offline({ host })) })
        const Flow = Workflow.make("flow", { error: Offline }, () => call)
        yield* Effect.exit(Workflow.execute(Flow, { id: "run" }))
        yield* settled
        host = "second"
        isBefore = true
        yield* Workflow.rewind(Flow, "run", Workflow.fromStart)
        yield* Effect.exit(Workflow.resume(Flow, "run"))
        yield* settled
        return yield* RecoveryManager.failures({ run: "run" })
      }).pipe(Effect.provide(Insights.layer.pipe(Layer.provideMerge(storage))))
    })

  it.scoped("updates its failure although another process changed the record meanwhile", () =>
    Effect.gen(function* () {
      const [failure, ...others] = yield* failsTwice(({ body }) => ({
        body: JSON.stringify({ ...JSON.parse(body), retries: 7 })
      }))
      assert.deepStrictEqual(others, [])
      assert.include(failure?.message, "second")
      assert.strictEqual(failure?.retries, 7)
    })
  )

  it.scoped("gets a failure of its own if the one before was resolved meanwhile", () =>
    Effect.gen(function* () {
      const failures = yield* failsTwice(() => ({ status: "resolved" }))
      assert.deepStrictEqual(
        failures.map(({ status }) => status),
        ["open", "resolved"]
      )
      assert.include(failures[0]?.message, "second")
      assert.include(failures[1]?.message, "first")
    })
  )
})

describe("the message of a failure", () => {
  it.effect("names the tag of an error that has no message of its own", () =>
    Effect.gen(function* () {
      const message = (error: unknown) => Effect.map(Fault.classify(error), ({ message }) => message)
      assert.strictEqual(yield* message(new Offline({ host: "smtp" })), `Offline { "host": "smtp" }`)
      assert.strictEqual(yield* message(new Empty()), "Empty")
      assert.strictEqual(yield* message(new Down()), "Down")
      assert.strictEqual(yield* message(new Error("{ not tagged }")), "{ not tagged }")
      const exhausted = new Recovery.RecoveryExhausted({ error: new Empty(), attempts: 2, decisions: [] })
      assert.strictEqual(exhausted.message, "Gave up after 2 attempts: Empty")
    })
  )
})

describe("Operator.define", () => {
  it.effect("reports a failure with a log of any length", () =>
    Effect.gen(function* () {
      const log = `${"x".repeat(1_000_000)}\nsrc/a.ts: connection refused\n`
      const reported = yield* Effect.acquireUseRelease(
        Effect.sync(() => Operator.define({ storage: Storage.layerMemory })()),
        (operator) => Effect.promise(() => operator.ask({ _tag: "Report", message: "", log, labels: {} })),
        (operator) => Effect.promise(() => operator.close())
      )
      assert.deepInclude(reported, { ok: true })
      assert.strictEqual(reported.ok && reported.value.message, "src/a.ts: connection refused")
      assert.isTrue(reported.ok && reported.value.log !== undefined && log.endsWith(reported.value.log))
    }).pipe(Effect.provide(Events.layerHub))
  )

  it.effect("classifies as Fault.classify does, unless rules are given", () =>
    Effect.gen(function* () {
      const text = "deployment failed: the job hit its timeout"
      const reported = (rules?: ReadonlyArray<Fault.Rule>) =>
        Effect.acquireUseRelease(
          Effect.sync(() => Operator.define({ storage: Storage.layerMemory, rules })()),
          (operator) => Effect.promise(() => operator.ask({ _tag: "Report", message: text, labels: {} })),
          (operator) => Effect.promise(() => operator.close())
        )
      const { category } = yield* Fault.classify(text)
      const plain = yield* reported()
      assert.strictEqual(plain.ok && plain.value.category, category)
      const ruled = yield* reported([Fault.message(/deployment/, { category: "deployment" })])
      assert.strictEqual(ruled.ok && ruled.value.category, "deployment")
    }).pipe(Effect.provide(Events.layerHub))
  )
})
