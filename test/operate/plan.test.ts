import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import { Checkpoint, RetryPolicy, Step, Storage, Transaction, Workflow } from "effect-recovery"
import { Insights, RecoveryManager } from "effect-recovery/operate"
import { backends } from "../support/storages.js"

const Progress = Checkpoint.make("progress", { schema: Schema.Struct({ done: Schema.Number }) })

const step = (name: string) =>
  Step.make(name, { run: Effect.void, compensate: () => Effect.sync(() => void undone.push(name)) })
const undone: Array<string> = []
const [fetch, build, test] = [step("fetch"), step("build"), step("test")]
const publish = Step.make("publish", { error: Schema.String, run: Effect.fail("connection refused") })

const Release = Workflow.make("release", { error: Schema.String }, () =>
  Effect.gen(function* () {
    yield* fetch
    yield* Progress.save({ done: 1 })
    yield* build
    yield* test
    yield* publish
  }).pipe(Transaction.run({ rollbackWhen: () => false }))
)

const inspect = Step.make("inspect", { run: Effect.void })
let bankIsUp = false
const charge = Step.make("charge", {
  run: Effect.void,
  compensate: {
    undo: () =>
      Effect.suspend(() =>
        bankIsUp ? Effect.sync(() => void undone.push("charge")) : Effect.fail(new Error("bank down"))
      ),
    retry: RetryPolicy.none
  }
})
const pack = Step.make("pack", {
  error: Schema.String,
  run: Effect.suspend(() => (bankIsUp ? Effect.void : Effect.fail("connection refused")))
})
/** The transaction of its last steps is rolled back. */
const Order = Workflow.make("order", { error: Schema.String }, () =>
  Effect.zipRight(inspect, Effect.all([build, charge, pack]).pipe(Effect.asVoid, Transaction.run({ name: "sale" })))
)

const labels = { repository: "shop", commit: "abc" }

/** Everything in the storage. */
const everything = Effect.gen(function* () {
  const storage = yield* Storage.Storage
  const limit = 1_000_000
  const runs = yield* storage.list({ limit })
  const journals = yield* Effect.forEach(runs, ({ key }) => storage.journal(key))
  const snapshots = yield* storage.snapshots({ limit, rewound: true })
  const records = yield* Effect.forEach(["failure", "recovery"], (kind) => storage.records({ kind, limit }))
  return { runs, journals, snapshots, records, locks: yield* storage.locks, counters: yield* storage.counters("") }
})

describe.each(backends)("the plan of a recovery, on $name", ({ make }) => {
  const act = () => Effect.sync(() => void undone.push("acted"))
  const manager = RecoveryManager.layer({
    workflows: [Release, Order],
    checkpoints: [Progress],
    actions: { retry: act },
    fixes: { network: () => Effect.void }
  })
  type All = Storage.Storage | RecoveryManager.RecoveryManager | Insights.Insights
  const verify = <E>(name: string, body: Effect.Effect<void, E, All>) =>
    it.scoped(name, () =>
      Effect.flatMap(make, ({ join }) => {
        undone.length = 0
        return Effect.provide(body, Layer.merge(manager, Insights.layer).pipe(Layer.provideMerge(join())))
      })
    )
  const failed = Effect.gen(function* () {
    yield* Effect.exit(Workflow.execute(Release, { id: "v1" }))
    yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
    const [failure] = yield* RecoveryManager.failures({ run: "v1" })
    return failure ?? (yield* Effect.dieMessage("no failure on record"))
  })
  const keys = (...names: ReadonlyArray<string>) => names.map((name) => `transaction/${name}`)

  verify(
    "a retry runs a transaction that was rolled back again as a whole, after the compensations that failed",
    Effect.gen(function* () {
      bankIsUp = false
      const { _tag } = (yield* Effect.flip(Workflow.execute(Order, { id: "o1" }))) as { readonly _tag: string }
      assert.strictEqual(_tag, "RollbackFailed")
      const { steps } = yield* Workflow.status("o1")
      assert.deepStrictEqual(
        steps.map(({ compensationFailure }) => Option.getOrUndefined(compensationFailure)?.message),
        [undefined, undefined, "bank down", undefined]
      )
      yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
      const [failure] = yield* RecoveryManager.failures({ run: "o1" })
      const plan = yield* RecoveryManager.plan(failure?.id ?? "", "retry")
      assert.deepInclude(plan, { point: `step "sale/build"`, removes: ["sale/build", "sale/charge", "sale/pack"] })
      bankIsUp = true
      const { status } = yield* RecoveryManager.initiate(failure?.id ?? "", "retry")
      assert.deepStrictEqual([status, undone], ["completed", ["build", "charge"]])
    })
  )

  verify(
    "says where the run goes back to, what is compensated, in which order, and what runs again",
    Effect.gen(function* () {
      const { id } = yield* failed
      const before = yield* everything
      const [checkpoint] = yield* Progress.list({ run: "v1" })
      const retry = yield* RecoveryManager.plan(id, "retry")
      assert.deepInclude(retry, {
        type: "retry",
        failure: id,
        by: "run",
        run: "v1",
        workflow: "release",
        point: `step "transaction/publish"`,
        compensates: [],
        removes: keys("publish"),
        fix: "network",
        limit: "retry 1 of 3"
      })
      const resume = yield* RecoveryManager.plan(id, "resume")
      assert.deepInclude(resume, {
        point: `checkpoint "progress" (${checkpoint?.id})`,
        compensates: keys("test", "build"),
        removes: keys("build", "test", "publish"),
        checkpoint
      })
      assert.strictEqual(resume.validation?.isValid, true)
      const restart = yield* RecoveryManager.plan(id, "restart")
      assert.deepInclude(restart, {
        point: "the start",
        compensates: keys("test", "build", "fetch"),
        removes: keys("fetch", "build", "test", "publish")
      })
      assert.deepStrictEqual(yield* everything, before)
      // It is carried out as planned.
      const { plan, status } = yield* RecoveryManager.initiate(id, "rollback")
      assert.deepStrictEqual([status, undone], ["completed", ["test", "build"]])
      assert.deepStrictEqual(plan[0], "identify_rollback_target")
    })
  )

  verify(
    "says what auto chooses, and why",
    Effect.gen(function* () {
      const { id } = yield* failed
      const [best] = yield* RecoveryManager.suggest(id)
      const plan = yield* RecoveryManager.plan(id)
      assert.deepStrictEqual([plan.type, plan.reason], [best?.strategy, best?.reason])
      assert.strictEqual(plan.estimatedSuccess, best?.estimatedSuccess)
      assert.strictEqual((yield* RecoveryManager.initiate(id)).type, plan.type)
    })
  )

  verify(
    "a rollback of a run without a failure is planned by its checkpoint, and records none",
    Effect.gen(function* () {
      yield* failed
      const [checkpoint] = yield* Progress.list({ run: "v1" })
      const [failure] = yield* RecoveryManager.failures({ run: "v1" })
      yield* RecoveryManager.resolve(failure?.id ?? "", "ada")
      const before = yield* everything
      const plan = yield* RecoveryManager.planRollback(checkpoint?.id ?? "")
      assert.deepInclude(plan, { type: "rollback", run: "v1", compensates: keys("test", "build"), checkpoint })
      assert.isUndefined(plan.failure)
      assert.deepStrictEqual(yield* everything, before)
    })
  )

  verify(
    "what cannot be carried out is refused as initiate refuses it, and is not suggested",
    Effect.gen(function* () {
      const { id } = yield* RecoveryManager.report("connection refused", { labels })
      yield* Progress.save({ done: 1 }, { labels })
      const strategies = (all: ReadonlyArray<{ readonly strategy: string }>) => all.map(({ strategy }) => strategy)
      // The run's state allows more than the manager has actions for.
      assert.deepStrictEqual(strategies(yield* Insights.suggest(id)), ["retry", "resume", "rollback", "restart"])
      assert.deepStrictEqual(strategies(yield* RecoveryManager.suggest(id)), ["retry"])
      assert.deepInclude(yield* RecoveryManager.plan(id), { type: "retry", by: "action", removes: [], compensates: [] })
      for (const type of ["resume", "rollback", "restart"] as const) {
        const planned = yield* Effect.flip(RecoveryManager.plan(id, type))
        assert.deepStrictEqual(planned, yield* Effect.flip(RecoveryManager.initiate(id, type)))
      }
      const unknown = yield* Effect.flip(RecoveryManager.plan(id, "resume", { checkpoint: "404" }))
      assert.strictEqual(unknown._tag, "RecoveryRefused")
      assert.deepStrictEqual(undone, [])
    })
  )
})

describe("a manager without workflows and actions", () => {
  it.scoped("suggests what the run and its checkpoints allow", () =>
    Effect.gen(function* () {
      const { id } = yield* RecoveryManager.report("connection refused", { labels })
      const strategies = (yield* RecoveryManager.suggest(id)).map(({ strategy }) => strategy)
      assert.deepStrictEqual(strategies, ["retry", "restart"])
    }).pipe(Effect.provide(RecoveryManager.layer({}).pipe(Layer.provideMerge(Storage.layerMemory))))
  )
})
