import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Schema, TestClock } from "effect"
import {
  Checkpoint,
  CircuitBreaker,
  Fault,
  Lock,
  Queue,
  Signal,
  Step,
  Storage,
  Strategy,
  Workflow
} from "effect-recovery"
import { Escalation, HealthCheck, Insights, Overview, RecoveryManager } from "effect-recovery/operate"
import { PipelineRules } from "effect-recovery/rules"
import { backends } from "../support/storages.js"

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}

const pay = Step.make("pay", {
  error: Declined,
  run: () => new Declined(),
  recover: { Declined: Strategy.manual("Charge again?") }
})
const Order = Workflow.make("order", { error: Declined }, () => pay())

const statuses = ({ checks }: HealthCheck.Report) =>
  Object.fromEntries(checks.map(({ name, status }) => [name, status]))

const aboutOf = ({ checks }: HealthCheck.Report, name: string) => checks.find((one) => one.name === name)?.about

const fine: Readonly<Record<string, HealthCheck.Status>> = {
  storage: "ok",
  runs: "ok",
  queues: "ok",
  questions: "ok",
  recoveries: "ok",
  failures: "ok",
  escalations: "ok",
  success: "ok",
  locks: "ok",
  breakers: "ok"
}

describe.each(backends)("HealthCheck on $name", ({ make }) => {
  const check = <E>(
    name: string,
    body: Effect.Effect<void, E, Insights.Insights | RecoveryManager.RecoveryManager | Storage.Storage>
  ) =>
    it.scoped(name, () =>
      Effect.flatMap(make, ({ join }) => {
        const operate = Layer.merge(
          Insights.layer,
          RecoveryManager.layer({ actions: { retry: () => Effect.never, restart: () => Effect.fail("no") } })
        )
        return Effect.provide(body, operate.pipe(Layer.provideMerge(join())))
      })
    )

  check(
    "an empty storage is healthy, and the report has the size of the storage",
    Effect.gen(function* () {
      const report = yield* HealthCheck.run()
      assert.strictEqual(report.status, "ok")
      assert.deepStrictEqual(statuses(report), fine)
      yield* Checkpoint.make("progress", { schema: Schema.Number }).save(1)
      yield* Workflow.start(Order, { id: "o1" })
      yield* RecoveryManager.report("timeout")
      const { runs, usage } = yield* HealthCheck.run()
      const used = Option.getOrThrow(usage)
      assert.deepStrictEqual({ ...used, bytes: 0 }, { bytes: 0, runs: 1, lines: 0, snapshots: 1, records: 1 })
      assert.isAbove(used.bytes, 0)
      assert.deepStrictEqual(
        runs.map(({ runs, status, workflow }) => [workflow, status, runs]),
        [["order", "stopped", 1]]
      )
    })
  )

  check(
    "runs that wait in queues are not stuck, and a queue of which no run is leased is a warning",
    Effect.gen(function* () {
      const queue = Queue.make("encode", { concurrency: 1 })
      for (const id of ["q1", "q2"]) yield* Workflow.start(Order, { id, queue })
      yield* TestClock.adjust("4 minutes")
      assert.deepStrictEqual(statuses(yield* HealthCheck.run()), fine)
      yield* TestClock.adjust("2 minutes")
      const report = yield* HealthCheck.run()
      assert.deepStrictEqual(statuses(report), { ...fine, queues: "warning" })
      assert.deepStrictEqual(aboutOf(report, "queues"), ["encode"])
      const { claimDue } = yield* Storage.Storage
      const query = { workflows: [{ workflow: "order", version: "1" }], queues: [queue.limits], limit: 9 }
      yield* claimDue(query, (self) => self)
      assert.deepStrictEqual(statuses(yield* HealthCheck.run()), fine)
    })
  )

  check(
    "stuck runs, old questions, idle recoveries and critical failures are warnings with their ids",
    Effect.gen(function* () {
      yield* Workflow.start(Order, { id: "stuck" })
      yield* Effect.exit(Workflow.execute(Order, { id: "asks" }))
      const { id } = yield* Effect.provide(
        RecoveryManager.report("Deployment blocked: production down"),
        Fault.layer(...PipelineRules.rules)
      )
      yield* Effect.fork(RecoveryManager.initiate(id, "retry"))
      yield* Effect.repeat(
        Effect.zipLeft(
          RecoveryManager.recoveries({ status: "in_progress" }),
          Effect.promise(() => new Promise(setImmediate))
        ),
        { until: (all) => all.length === 1 }
      )
      const refused = yield* RecoveryManager.report("no space left on device")
      yield* RecoveryManager.initiate(refused.id, "restart")
      yield* Effect.scoped(
        Effect.flatMap(
          Layer.build(Escalation.layer({ rules: [Escalation.rule({ threshold: 1 })], sinks: [] })),
          (context) =>
            Effect.provide(
              Effect.flatMap(Escalation.Escalation, ({ check }) => check),
              context
            )
        )
      )
      const now = yield* HealthCheck.run()
      assert.deepStrictEqual(statuses(now), { ...fine, failures: "warning", success: "warning" })
      assert.deepStrictEqual(aboutOf(now, "failures"), [id])
      yield* TestClock.adjust("6 minutes")
      const soon = yield* HealthCheck.run({ unansweredAfter: "5 minutes", idleAfter: "5 minutes", minimumSuccess: 0 })
      assert.deepStrictEqual(statuses(soon), {
        ...fine,
        runs: "warning",
        questions: "warning",
        failures: "warning",
        recoveries: "warning",
        escalations: "warning"
      })
      assert.strictEqual(soon.status, "warning")
      assert.deepStrictEqual(aboutOf(soon, "runs"), ["stuck"])
      assert.deepStrictEqual(aboutOf(soon, "questions"), ["asks"])
      assert.strictEqual(aboutOf(soon, "recoveries")?.length, 1)
      for (const { message } of soon.checks) assert.match(message, /[.?]$/)
    })
  )
})

describe.each(backends)("HealthCheck and Overview on $name", ({ make }) => {
  /** As if there were more rows than one look may read. */
  const narrow = (store: Storage.Store): Storage.Store => ({
    ...store,
    list: (query) => store.list({ ...query, limit: Math.min(query.limit ?? 100, 3) }),
    records: (query) => store.records({ ...query, limit: Math.min(query.limit ?? 100, 3) })
  })

  it.scoped("find old questions, stuck runs and critical failures behind many newer ones", () =>
    Effect.gen(function* () {
      const { store } = yield* make
      const Wait = Workflow.make("wait", {}, () => Signal.make("go", Schema.Void).wait())
      const storage = Layer.scoped(Storage.Storage, Storage.make(narrow(store), { owner: "health" }))
      yield* Effect.gen(function* () {
        yield* Workflow.start(Order, { id: "stuck" })
        yield* Effect.exit(Workflow.execute(Order, { id: "asks" }))
        const critical = yield* Effect.provide(
          RecoveryManager.report("Deployment blocked: production down"),
          Fault.layer(...PipelineRules.rules)
        )
        yield* TestClock.adjust("1 hour")
        for (let i = 0; i < 5; i++) {
          yield* Workflow.start(Wait, { id: `new-${i}` })
          yield* Effect.exit(Workflow.execute(Wait, { id: `waits-${i}` }))
          yield* RecoveryManager.report("no space left on device")
        }
        const report = yield* HealthCheck.run({ unansweredAfter: "5 minutes" })
        assert.deepStrictEqual(aboutOf(report, "runs"), ["stuck"])
        assert.deepStrictEqual(aboutOf(report, "questions"), ["asks"])
        assert.deepStrictEqual(aboutOf(report, "failures"), [critical.id])
        const { questions } = yield* Overview.overview()
        assert.deepStrictEqual(
          questions.map(({ run }) => run),
          ["asks"]
        )
      }).pipe(Effect.provide(storage))
    })
  )

  it.scoped("a damaged record is not counted by a limit", () =>
    Effect.gen(function* () {
      const { store } = yield* make
      const storage = Layer.scoped(Storage.Storage, Storage.make(store, { owner: "health" }))
      yield* Effect.gen(function* () {
        const { id } = yield* RecoveryManager.report("timeout")
        const damaged = { kind: "failure", subject: "", scope: "", status: "open", labels: {}, revision: 0, body: "{" }
        for (let i = 0; i < 60; i++) yield* store.write({ ...damaged, id: `damaged-${i}` }, [])
        const { failures } = yield* Overview.overview()
        assert.deepStrictEqual(
          failures.map((failure) => failure.id),
          [id]
        )
      }).pipe(Effect.provide(storage))
    })
  )
})

describe("HealthCheck", () => {
  const down = new Storage.StorageError({ reason: "Io", operation: "Reading" })

  it.scoped("a storage that cannot be read is failing, and no other check runs", () =>
    Effect.gen(function* () {
      const store = { ...Storage.memoryStore(), usage: Effect.fail(down) }
      const storage = yield* Storage.make(store, { owner: "a" })
      const report = yield* Effect.provideService(HealthCheck.run(), Storage.Storage, storage)
      assert.strictEqual(report.status, "failing")
      assert.deepStrictEqual(
        report.checks.map(({ message, name }) => [name, message]),
        [["storage", down.message]]
      )
      assert.deepStrictEqual(report.usage, Option.none())
    })
  )

  it.scoped("reports an open circuit breaker", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({ name: "payments of the health check" })
      yield* breaker.isolate
      const report = yield* HealthCheck.run()
      assert.deepStrictEqual(aboutOf(report, "breakers"), ["payments of the health check"])
      yield* breaker.reset
      assert.deepStrictEqual(statuses(yield* HealthCheck.run()), fine)
    }).pipe(Effect.provide(Storage.layerMemory))
  )

  it.scoped("a read-only storage is a warning, and the other checks run", () =>
    Effect.gen(function* () {
      const locked = new Storage.StorageError({ reason: "ReadOnly", operation: "Counting" })
      const store = { ...Storage.memoryStore(), count: () => Effect.fail(locked), locks: Effect.fail(down) }
      const storage = yield* Storage.make(store, { owner: "a" })
      const report = yield* Effect.provideService(HealthCheck.run(), Storage.Storage, storage)
      assert.deepStrictEqual(statuses(report), { ...fine, storage: "warning", locks: "failing" })
    })
  )

  it.scoped("reports the lock of an ended process", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const storage = yield* Storage.make(store, { owner: "a" })
      yield* store.lock("deploy", "another-owner", 1_000)
      yield* TestClock.adjust("2 seconds")
      const report = yield* Effect.provideService(HealthCheck.run(), Storage.Storage, storage)
      const states = yield* Lock.list.pipe(
        Effect.provide(Lock.layerStorage()),
        Effect.provideService(Storage.Storage, storage)
      )
      assert.deepStrictEqual(
        aboutOf(report, "locks"),
        states.filter(({ state }) => state === "stale").map(({ lock }) => lock)
      )
      assert.deepStrictEqual(statuses(report), { ...fine, locks: "warning" })
    })
  )
})
