import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Layer, Schema, TestClock } from "effect"
import { Checkpoint, Step, Storage, Transaction, Workflow } from "effect-recovery"
import { Escalation, Insights, OperateError, Operator, RecoveryManager } from "effect-recovery/operate"
import { backends } from "../support/storages.js"
import { turns } from "../support/time.js"

class Broken extends Schema.TaggedError<Broken>()("Broken", { message: Schema.String }) {}

const Progress = Checkpoint.make("progress", { schema: Schema.Struct({ done: Schema.Number }) })

const settled = Effect.flatMap(Insights.Insights, ({ settled }) => settled)

const first = Step.make("first", { run: Effect.void, compensate: () => Effect.void })
const second = Step.make("second", { error: Broken, run: Effect.fail(new Broken({ message: "no" })) })

/** Its transaction is rolled back. */
const Rolled = Workflow.make("rolled", { error: Broken }, () =>
  Effect.zipRight(Progress.save({ done: 1 }), Effect.zipRight(first, second).pipe(Transaction.run()))
)

const inStep = Step.make("in-step", { run: Effect.asVoid(Progress.save({ done: 2 })) })

/** Its newest checkpoint was saved in a step, to which no run can be rewound. */
const Saving = Workflow.make("saving", { error: Broken }, () =>
  Effect.zipRight(Progress.save({ done: 1 }), Effect.zipRight(inStep, second))
)

const pivot = Step.make("pivot", { run: Effect.void, pivot: true })

/** Nothing before its pivot can be undone. */
const Paid = Workflow.make("paid", { error: Broken }, () =>
  Effect.zipRight(Progress.save({ done: 1 }), Effect.zipRight(pivot, second))
)

/** Everything in the storage. */
const everything = Effect.gen(function* () {
  const storage = yield* Storage.Storage
  const limit = 1_000_000
  const runs = yield* storage.list({ limit })
  return {
    runs,
    journals: yield* Effect.forEach(runs, ({ key }) => storage.journal(key)),
    snapshots: yield* storage.snapshots({ limit, rewound: true }),
    locks: yield* storage.locks,
    counters: yield* storage.counters(""),
    records: yield* Effect.forEach(["failure", "recovery", "escalation"], (kind) => storage.records({ kind, limit }))
  }
})

describe.each(backends)("what can be recovered, on $name", ({ make }) => {
  const done: Array<string> = []
  const action = (type: string) => (_: unknown, checkpoint: string | undefined) =>
    Effect.sync(() => void done.push(`${type} ${checkpoint ?? ""}`.trim()))
  const manager = RecoveryManager.layer({
    workflows: [Rolled, Saving, Paid],
    actions: { retry: action("retry"), resume: action("resume"), rollback: action("rollback") },
    maxRetries: 0
  })
  type All = Storage.Storage | RecoveryManager.RecoveryManager | Insights.Insights
  const test = <E>(name: string, body: Effect.Effect<void, E, All>) =>
    it.scoped(name, () =>
      Effect.flatMap(make, ({ join }) => {
        done.length = 0
        const layer = Layer.merge(manager, Insights.layer).pipe(Layer.provideMerge(join()))
        return Effect.provide(body, layer)
      })
    )

  const failing = <E>(workflow: Workflow.Workflow<void, unknown, E, Storage.Storage>, id: string) =>
    Effect.gen(function* () {
      yield* Effect.exit(Workflow.execute(workflow, { id, input: undefined }))
      yield* settled
      const [failure] = yield* RecoveryManager.failures({ run: id })
      return failure ?? (yield* Effect.dieMessage("no failure on record"))
    })
  const suggested = (failure: string) =>
    Effect.map(Insights.suggest(failure), (all) => all.map(({ strategy }) => strategy))
  const refusal = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.map(Effect.flip(self), (error) =>
      error instanceof OperateError.RecoveryRefused ? error : assert.fail(`${error}`)
    )

  test(
    "a retry of a transaction that was rolled back is suggested, and above the limit neither chosen nor carried out",
    Effect.gen(function* () {
      const failure = yield* failing(Rolled, "r1")
      assert.includeMembers(yield* suggested(failure.id), ["retry", "resume"])
      const refused = yield* refusal(RecoveryManager.initiate(failure.id, "retry"))
      assert.strictEqual(refused.reason, "Limit")
      const { type } = yield* RecoveryManager.initiate(failure.id)
      assert.strictEqual(type, "resume")
    })
  )

  test(
    "a checkpoint that the run cannot go back to is passed over, and a pivot rules out all of them",
    Effect.gen(function* () {
      const saving = yield* failing(Saving, "s1")
      const saved = yield* Progress.list({ run: "s1" })
      assert.deepStrictEqual(
        saved.map(({ step }) => step),
        ["in-step", "progress!"]
      )
      const resume = (yield* Insights.suggest(saving.id)).find(({ strategy }) => strategy === "resume")
      assert.deepStrictEqual(resume?.parameters, { checkpoint: saved[1]?.id ?? "" })
      const { target } = yield* RecoveryManager.initiate(saving.id, "resume")
      assert.strictEqual(target, saved[1]?.id)
      const paid = yield* failing(Paid, "p1")
      assert.deepStrictEqual(yield* suggested(paid.id), ["retry"])
      const refused = yield* refusal(RecoveryManager.initiate(paid.id, "restart"))
      assert.strictEqual(refused.reason, "Rewind")
      assert.match(refused.message, /pivot/)
      // No type is possible: the retries are used up.
      assert.strictEqual((yield* refusal(RecoveryManager.initiate(paid.id))).reason, "Limit")
    })
  )

  test(
    "a reported failure goes back to the checkpoints of its repository and commit",
    Effect.gen(function* () {
      const labels = { repository: "shop", commit: "abc" }
      const older = yield* Progress.save({ done: 1 }, { labels })
      const newer = yield* Progress.save({ done: 2 }, { labels })
      yield* Progress.save({ done: 3 }, { labels: { ...labels, commit: "def" } })
      yield* TestClock.adjust("1 second")
      const failure = yield* RecoveryManager.report(new Error("cannot find module left-pad"), { labels })
      assert.strictEqual(failure.category, "dependency")
      const recovery = yield* RecoveryManager.initiate(failure.id)
      assert.deepStrictEqual([recovery.type, recovery.status], ["resume", "completed"])
      assert.deepStrictEqual(done, [`resume ${newer.id}`])
      const corrupt = yield* RecoveryManager.report(new Error("checksum mismatch"), { labels })
      assert.strictEqual((yield* RecoveryManager.initiate(corrupt.id)).type, "rollback")
      const named = { checkpoint: older.id }
      const again = yield* RecoveryManager.report(new Error("checksum mismatch"), { labels })
      assert.strictEqual((yield* RecoveryManager.initiate(again.id, "rollback", named)).target, older.id)
      const elsewhere = yield* RecoveryManager.report("cannot find module x", { labels: { repository: "other" } })
      assert.strictEqual((yield* refusal(RecoveryManager.initiate(elsewhere.id, "resume"))).reason, "NoCheckpoint")
    })
  )

  test(
    "checkpoints that recoveries save hide none, and do not count as related work",
    Effect.gen(function* () {
      const labels = { repository: "shop", commit: "abc" }
      const { id } = yield* Progress.save({ done: 1 }, { labels })
      const before = Checkpoint.make("before_recovery", { kind: "failure_point", schema: Schema.Struct({}) })
      for (let i = 0; i < 120; i++) yield* before.save({}, { labels })
      yield* TestClock.adjust("1 second")
      const critical = yield* RecoveryManager.report(new Error("checksum mismatch"), { labels })
      const suggestions = yield* Insights.suggest(critical.id)
      const rollback = suggestions.find(({ strategy }) => strategy === "rollback")
      assert.deepStrictEqual(rollback?.parameters, { checkpoint: id })
      // One checkpoint is not enough to prefer a rollback for a critical failure.
      assert.strictEqual(rollback?.confidence, 0.35)
      assert.strictEqual((yield* RecoveryManager.initiate(critical.id, "rollback")).target, id)
    })
  )

  test(
    "a refusal changes nothing",
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const rolled = yield* failing(Rolled, "r1")
      const paid = yield* failing(Paid, "p1")
      const gone = yield* failing(Rolled, "gone")
      yield* Workflow.remove("gone")
      const Other = Workflow.make("other", { error: Broken }, () => Effect.fail(new Broken({ message: "no" })))
      const other = yield* failing(Other, "o1")
      const Fine = Workflow.make("rolled", {}, () => Effect.void)
      yield* Workflow.execute(Fine, { id: "fine" })
      const late = yield* RecoveryManager.report("seen too late", { run: "fine" })
      const resolved = yield* RecoveryManager.report("done")
      yield* RecoveryManager.resolve(resolved.id, "ada")
      const reported = yield* RecoveryManager.report("timeout")
      const outside = yield* Progress.save({ done: 1 })
      // A recovery that a killed process left.
      const row = { kind: "recovery", id: "left", subject: late.id, scope: "", status: "in_progress", labels: {} }
      const body = { type: "retry", by: "manager", category: "unknown", fingerprint: "", message: "", attempts: 1 }
      const details = JSON.stringify({ ...body, plan: [], progress: [], corruptionDetected: false })
      yield* storage.write({ ...row, revision: 0, body: details }, [])
      const before = yield* everything
      const refusals = [
        [RecoveryManager.initiate(resolved.id, "retry"), "Resolved"],
        [RecoveryManager.initiate(reported.id, "restart"), "NoRun"],
        [RecoveryManager.initiate(gone.id, "restart"), "UnknownRun"],
        [RecoveryManager.initiate(other.id, "restart"), "UnknownWorkflow"],
        [RecoveryManager.initiate(late.id), "Completed"],
        [RecoveryManager.initiate(reported.id, "resume"), "NoCheckpoint"],
        [RecoveryManager.initiate(rolled.id, "resume", { checkpoint: outside.id }), "UnknownCheckpoint"],
        [RecoveryManager.initiate(rolled.id, "resume", { checkpoint: "999999" }), "UnknownCheckpoint"],
        [RecoveryManager.initiate(paid.id, "restart"), "Rewind"],
        [RecoveryManager.initiate(rolled.id, "retry"), "Limit"]
      ] as const
      for (const [request, reason] of refusals) {
        assert.strictEqual((yield* refusal(request)).reason, reason)
        assert.deepStrictEqual(yield* everything, before, reason)
      }
    })
  )

  test(
    "a rollback without a failure is refused in the name of its checkpoint",
    Effect.gen(function* () {
      const Other = Workflow.make("other", {}, () => Effect.asVoid(Progress.save({ done: 1 })))
      yield* Workflow.execute(Other, { id: "o1" })
      const [info] = yield* Progress.list({ run: "o1" })
      const before = yield* everything
      const refused = yield* refusal(RecoveryManager.rollback(info?.id ?? ""))
      assert.strictEqual(refused.reason, "UnknownWorkflow")
      assert.isUndefined(refused.failure)
      assert.include(refused.message, `Checkpoint "${info?.id}" cannot be rolled back to. Its workflow is unknown.`)
      assert.deepStrictEqual(yield* everything, before)
    })
  )

  test(
    "values of other types are refused",
    Effect.gen(function* () {
      const { id } = yield* RecoveryManager.report("timeout")
      const before = yield* everything
      const wrong = { reason: 1 } as never
      const requests: Readonly<Record<string, Effect.Effect<unknown, unknown, All>>> = {
        type: RecoveryManager.initiate(id, "unknown_type" as never),
        prototype: RecoveryManager.initiate(id, "toString" as never),
        options: RecoveryManager.initiate(id, "retry", wrong),
        rollback: RecoveryManager.rollback("1", 7 as never),
        report: RecoveryManager.report("x", { labels: { a: 1 } } as never),
        id: RecoveryManager.report("x", { id: {} } as never),
        handle: RecoveryManager.handle("x", { run: [] } as never),
        failures: RecoveryManager.failures({ status: "unknown" } as never),
        recoveries: RecoveryManager.recoveries({ status: {} } as never),
        resolve: RecoveryManager.resolve(id, 7 as never),
        escalations: Escalation.list({ status: "unknown" } as never),
        suggest: Insights.suggest({ id: "x" } as never),
        since: Insights.since(new Date(Number.NaN))
      }
      for (const [name, request] of Object.entries(requests)) {
        const error = yield* Effect.flip(request)
        assert.propertyVal(error, "_tag", "InvalidRequest", name)
      }
      assert.deepStrictEqual(yield* everything, before)
    })
  )

  test(
    "requests of an operator that are none are refused",
    Effect.gen(function* () {
      const operator = yield* Operator.make
      const { id } = yield* RecoveryManager.report("timeout")
      const requests: ReadonlyArray<unknown> = [
        undefined,
        {},
        { _tag: "toString" },
        { _tag: "Nothing" },
        { _tag: "Failures", status: "unknown" },
        { _tag: "Initiate", failure: id, type: "unknown" },
        { _tag: "Runs", limit: -1 },
        { _tag: "Resolve" }
      ]
      for (const request of requests) {
        const reply = yield* Effect.promise(() => operator.ask(request as never))
        assert.deepInclude(reply, { ok: false, kind: "Refused", tag: "InvalidRequest" })
      }
    })
  )

  test(
    "one validation of checkpoints, whether by definition or by the manager",
    Effect.gen(function* () {
      const about = { dependencies: ["database"], artifacts: ["out.js"], environment: { node: "20" } }
      const { id } = yield* Progress.save({ done: 1 }, about)
      const own = yield* Progress.validate(id)
      const whole = yield* Checkpoint.validate(id)
      const managed = yield* RecoveryManager.validate(id)
      assert.isFalse(own.isValid)
      assert.deepStrictEqual(whole, { ...own, checkedAt: whole.checkedAt })
      assert.isFalse(managed.isValid)
      assert.deepStrictEqual(managed.errors, ["dependencies database: there is no check for it"])
      assert.strictEqual(managed.warnings.length, own.warnings.length)
      const bare = yield* Progress.save({ done: 1 })
      assert.isTrue((yield* RecoveryManager.validate(bare.id)).isValid)
      const missing = yield* Effect.flip(Checkpoint.validate("nothing"))
      assert.strictEqual(missing._tag, "CheckpointNotFound")
      assert.match(missing.message, /^There is no checkpoint with the id "nothing" in this storage/)
    })
  )
})

class Offline extends Data.TaggedError("Offline")<{}> {}

describe("one group of failures", () => {
  it.scoped("does not hide those of another from the rules of escalation", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 3; i++) yield* RecoveryManager.report(new Error("disk full"))
      yield* Effect.forEach(Array.from({ length: 1_200 }), () => RecoveryManager.report(new Offline()), {
        discard: true
      })
      const { check } = yield* Escalation.Escalation
      const raised = yield* check
      assert.include(
        raised.map(({ group }) => group),
        "resource"
      )
      yield* turns(1)
    }).pipe(
      Effect.provide(
        Escalation.layer({ rules: [Escalation.rule({ threshold: 3 })], sinks: [], interval: "1 day" }).pipe(
          Layer.provideMerge(Storage.layerMemory)
        )
      )
    )
  )
})
