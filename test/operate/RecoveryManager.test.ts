import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { Checkpoint, Fault, RetryPolicy, Step, Storage, Transaction, Workflow } from "effect-recovery"
import { Insights, RecoveryManager } from "effect-recovery/operate"
import { PipelineRules } from "effect-recovery/rules"
import { backends } from "../support/storages.js"

/** Controls the steps of the workflow, and lists what they did. */
class World extends Context.Tag("World")<
  World,
  {
    failing: string | undefined
    gate: Deferred.Deferred<void> | undefined
    /** The storage returns states that differ from those that were saved. */
    forges: boolean
    readonly done: Array<string>
  }
>() {}

const forging = Layer.effect(
  Storage.Storage,
  Effect.map(Effect.all([Storage.Storage, World]), ([storage, world]) => {
    const forge = (snapshot: Storage.FullSnapshot) => ({ ...snapshot, state: `{"stage":"forged"}` })
    const snapshot: typeof storage.snapshot = (key) =>
      Effect.map(storage.snapshot(key), (found) => (world.forges ? Option.map(found, forge) : found))
    return { ...storage, snapshot }
  })
)

const Progress = Checkpoint.make("progress", {
  schema: Schema.Struct({ stage: Schema.String }),
  checks: [Checkpoint.environment(Effect.map(World, ({ failing }) => ({ node: failing === "moved" ? "21" : "20" })))]
})

const stage = (name: string) =>
  Step.make(name, {
    error: Schema.String,
    run: () =>
      Effect.gen(function* () {
        const world = yield* World
        if (world.gate !== undefined) yield* Deferred.await(world.gate)
        if (world.failing === name) yield* Effect.fail(`${name}: build failed`)
        world.done.push(name)
      }),
    compensate: () => Effect.map(World, ({ done }) => void done.push(`undo ${name}`))
  })

const [checkout, compile, publish] = [stage("checkout"), stage("compile"), stage("publish")]

const Release = Workflow.make("release", { error: Schema.String }, () =>
  Effect.gen(function* () {
    yield* checkout()
    yield* Progress.save({ stage: "checkout" }, { environment: { node: "20" }, labels: { repository: "shop" } })
    yield* compile()
    yield* publish()
    // A failed step rolls nothing back, so that the operator can decide.
  }).pipe(Transaction.run({ rollbackWhen: () => false }))
)

const labels = { repository: "shop", commit: "abc" }

const settled = Effect.flatMap(Insights.Insights, ({ settled }) => settled)

/** Executes a run that fails at the step, and returns the recorded failure. */
const failAt = (step: string, id = "r1") =>
  Effect.gen(function* () {
    const world = yield* World
    world.failing = step
    yield* Effect.flip(Workflow.execute(Release, { id, labels }))
    world.failing = undefined
    yield* settled
    const [failure] = yield* RecoveryManager.failures({ run: id })
    return failure ?? (yield* Effect.die("no failure on record"))
  })

describe.each(backends)("RecoveryManager on $name", ({ make }) => {
  const started: Array<string> = []
  const operate = (storage: Layer.Layer<Storage.Storage, Storage.StorageError>) => {
    const manager = RecoveryManager.layer({
      workflows: [Release],
      checkpoints: [Progress],
      maxRetries: 2,
      timeout: "10 minutes",
      actions: { retry: (failure) => Effect.sync(() => void started.push(failure.id)) },
      restore: {
        environment: ({ name }, { id }) => Effect.sync(() => void started.push(`environment of ${name} for ${id}`)),
        dependencies: ({ name }, { id }) => Effect.sync(() => void started.push(`dependencies of ${name} for ${id}`))
      },
      fixes: { build: () => Effect.sync(() => void started.push("mended")) },
      hooks: {
        before: (_, type) => {
          started.push(`before ${type}`)
          throw new Error("what a hook throws changes nothing")
        },
        after: ({ status }) => Effect.sync(() => void started.push(`after ${status}`)),
        onAbort: ({ status }) =>
          Effect.zipRight(
            Effect.sync(() => void started.push(`abort ${status}`)),
            Effect.die("!")
          )
      }
    })
    const world = Layer.sync(World, () => ({ failing: undefined, gate: undefined, forges: false, done: [] }))
    const rules = Fault.layer(...PipelineRules.rules)
    return Layer.merge(manager, Insights.layer).pipe(
      Layer.provideMerge(Layer.merge(rules, forging.pipe(Layer.provideMerge(Layer.merge(storage, world)))))
    )
  }
  type All = World | Storage.Storage | RecoveryManager.RecoveryManager | Insights.Insights
  const test = <A, E>(name: string, body: Effect.Effect<A, E, All>) =>
    it.scoped(
      name,
      (): Effect.Effect<A, unknown, Scope.Scope> =>
        Effect.flatMap(make, ({ join }) => {
          started.length = 0
          return Effect.provide(body, operate(join()))
        })
    )

  test(
    "retries a run from the step that failed, and records the recovery",
    Effect.gen(function* () {
      const failure = yield* failAt("compile")
      assert.strictEqual(failure.category, "build")
      assert.strictEqual(failure.workflow, "release")
      assert.strictEqual(failure.step, "transaction/compile")
      assert.deepStrictEqual(failure.labels, labels)
      const recovery = yield* RecoveryManager.initiate(failure.id, "retry", { reason: "the mirror is back" })
      assert.strictEqual(recovery.status, "completed")
      assert.deepStrictEqual(
        recovery.progress.map(({ status, step }) => [step, status]),
        recovery.plan.map((step) => [step, "completed"])
      )
      assert.deepStrictEqual(recovery.plan, [
        "analyze_failure_cause",
        "check_retry_limits",
        "apply_failure_specific_fixes",
        "trigger_workflow_retry",
        "check_build_dependencies",
        "monitor_retry_execution",
        "validate_success"
      ])
      const details = recovery.progress.map(({ detail }) => detail)
      assert.match(details[0] ?? "", /^medium build, .*; run r1 failed at step transaction\/compile$/)
      assert.strictEqual(details[1], "retry 1 of 2")
      assert.strictEqual(recovery.reason, "the mirror is back")
      const { done } = yield* World
      // Completed steps are not run again.
      assert.deepStrictEqual(done, ["checkout", "undo compile", "compile", "publish"])
      assert.deepStrictEqual(started, ["before retry", "mended", "after completed"])
      const after = yield* RecoveryManager.failure(failure.id)
      assert.strictEqual(after.status, "resolved")
      assert.strictEqual(after.resolvedBy, recovery.id)
      // Resolving the failure keeps its recoveries.
      assert.deepStrictEqual(yield* RecoveryManager.recoveries({ failure: failure.id }), [recovery])
      const again = yield* Effect.flip(RecoveryManager.initiate(failure.id))
      assert.deepInclude(again, { _tag: "RecoveryRefused", reason: "Resolved" })
      const { byStrategy } = yield* Insights.statistics
      assert.deepStrictEqual(byStrategy.retry, { successful: 1, total: 1, successRate: Option.some(1) })
    })
  )

  test(
    "auto resumes a failed build from its checkpoint, after the checkpoint's checks",
    Effect.gen(function* () {
      const failure = yield* failAt("publish")
      const [best] = yield* Insights.suggest(failure)
      assert.strictEqual(best?.strategy, "resume")
      const world = yield* World
      world.failing = "moved"
      const recovery = yield* RecoveryManager.initiate(failure.id)
      assert.strictEqual(recovery.status, "completed")
      assert.strictEqual(recovery.type, "resume")
      assert.strictEqual(recovery.target, `${best?.parameters.checkpoint}`)
      assert.isTrue(recovery.validation?.isValid)
      assert.strictEqual(recovery.validation?.warnings.length, 1)
      assert.isDefined(recovery.preRecoveryCheckpoint)
      const environment = recovery.progress.find(({ step }) => step === "restore_environment_context")
      assert.strictEqual(environment?.detail, "restored")
      assert.include(started, `environment of progress for ${failure.id}`)
      const dependencies = recovery.progress.find(({ step }) => step === "resolve_dependencies")
      assert.strictEqual(dependencies?.detail, "restored")
      assert.include(started, `dependencies of progress for ${failure.id}`)
      assert.deepStrictEqual(recovery.plan, [
        "identify_resumption_point",
        "validate_checkpoint_state",
        "restore_environment_context",
        "resolve_dependencies",
        "resume_from_checkpoint",
        "check_build_dependencies",
        "monitor_execution",
        "validate_completion"
      ])
      const before = (yield* Checkpoint.list({ run: "any" })).find(({ id }) => id === recovery.preRecoveryCheckpoint)
      assert.deepInclude(before, { kind: "failure_point" })
      assert.deepStrictEqual(world.done, ["checkout", "compile", "undo publish", "undo compile", "compile", "publish"])
    })
  )

  test(
    "auto chooses by category, severity and number of checkpoints",
    Effect.gen(function* () {
      const failure = yield* failAt("publish")
      const chosen = (category: string, severity: "high" | "critical") =>
        Effect.map(Insights.suggest({ ...failure, category, severity }), ([best]) => best?.strategy)
      assert.strictEqual(yield* chosen("dependency", "critical"), "resume")
      assert.strictEqual(yield* chosen("network", "high"), "retry")
      // A critical failure is rolled back only with two related checkpoints.
      assert.strictEqual(yield* chosen("network", "critical"), "retry")
      yield* Progress.save({ stage: "later" }, { labels })
      assert.strictEqual(yield* chosen("network", "critical"), "rollback")
    })
  )

  test(
    "rolls back to a checkpoint and leaves the run there",
    Effect.gen(function* () {
      yield* failAt("publish")
      const [point] = yield* Progress.list({ run: "r1" })
      const recovery = yield* RecoveryManager.rollback(point?.id ?? "", "manual_fix")
      assert.deepStrictEqual([recovery.type, recovery.status, recovery.reason], ["rollback", "completed", "manual_fix"])
      assert.deepStrictEqual(recovery.plan, [
        "identify_rollback_target",
        "validate_rollback_checkpoint",
        "backup_current_state",
        "execute_rollback_operations",
        "check_build_dependencies",
        "restore_environment",
        "validate_rollback_success"
      ])
      const { done } = yield* World
      assert.deepStrictEqual(done, ["checkout", "compile", "undo publish", "undo compile"])
      assert.strictEqual((yield* Workflow.status("r1")).status, "held")
      assert.isTrue(yield* Workflow.release("r1"))
      yield* Workflow.resume(Release, "r1")
      assert.deepStrictEqual(done.slice(4), ["compile", "publish"])
      const unknown = yield* Effect.flip(RecoveryManager.rollback("no such checkpoint"))
      assert.strictEqual(unknown._tag, "CheckpointNotFound")
    })
  )

  test(
    "restarts a run from its start",
    Effect.gen(function* () {
      const failure = yield* failAt("publish")
      const recovery = yield* RecoveryManager.initiate(failure.id, "restart")
      assert.strictEqual(recovery.status, "completed")
      const { done } = yield* World
      assert.deepStrictEqual(done.slice(-3), ["checkout", "compile", "publish"])
    })
  )

  test(
    "a failed recovery stores its error, and counts against the retry limit",
    Effect.gen(function* () {
      const failure = yield* failAt("compile")
      const world = yield* World
      world.failing = "compile"
      const first = yield* RecoveryManager.initiate(failure.id, "retry")
      assert.strictEqual(first.status, "failed")
      assert.match(first.error ?? "", /compile: build failed/)
      assert.strictEqual(first.progress.at(-1)?.step, "monitor_retry_execution")
      assert.strictEqual(first.progress.at(-1)?.status, "failed")
      assert.strictEqual((yield* RecoveryManager.initiate(failure.id, "retry")).status, "failed")
      const refused = yield* Effect.flip(RecoveryManager.initiate(failure.id, "retry"))
      assert.deepInclude(refused, { _tag: "RecoveryRefused", reason: "Limit" })
      assert.strictEqual((yield* RecoveryManager.recoveries({ failure: failure.id })).length, 2)
      assert.strictEqual((yield* RecoveryManager.failure(failure.id)).status, "open")
    })
  )

  test(
    "a resume refuses a damaged checkpoint",
    Effect.gen(function* () {
      const failure = yield* failAt("publish")
      const world = yield* World
      world.forges = true
      const recovery = yield* RecoveryManager.initiate(failure.id, "resume")
      assert.strictEqual(recovery.status, "failed")
      assert.isTrue(recovery.corruptionDetected)
      assert.isFalse(recovery.validation?.isValid)
      assert.deepStrictEqual(world.done, ["checkout", "compile"])
      // It is not suggested either.
      const suggestions = yield* Insights.suggest(failure)
      assert.notInclude(
        suggestions.map(({ strategy }) => strategy),
        "resume"
      )
    })
  )

  test(
    "of concurrent recoveries of a failure, one runs",
    Effect.gen(function* () {
      const failure = yield* failAt("compile")
      const world = yield* World
      world.gate = yield* Deferred.make<void>()
      const first = yield* Effect.fork(RecoveryManager.initiate(failure.id, "retry"))
      const underWay = RecoveryManager.recoveries({ failure: failure.id, status: "in_progress" })
      const waiting = Effect.repeat(
        Effect.zipLeft(
          underWay,
          Effect.promise(() => new Promise(setImmediate))
        ),
        {
          until: ([recovery]) => recovery?.progress.at(-1)?.step === "monitor_retry_execution"
        }
      )
      yield* waiting
      const others = yield* Effect.forEach([1, 2, 3], () => Effect.flip(RecoveryManager.initiate(failure.id)), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        others.map(({ _tag }) => _tag),
        ["RecoveryUnderWay", "RecoveryUnderWay", "RecoveryUnderWay"]
      )
      assert.strictEqual((yield* RecoveryManager.dashboard("shop")).recoverySummary.inProgressRecoveries, 1)
      // A recovery in progress is not swept.
      assert.strictEqual(yield* RecoveryManager.sweep, 0)
      yield* Fiber.interrupt(first)
      const [cancelled] = yield* RecoveryManager.recoveries({ failure: failure.id })
      assert.strictEqual(cancelled?.status, "cancelled")
      // The step that was interrupted is stored as failed.
      assert.deepInclude(cancelled?.progress.at(-1), { status: "failed", detail: "It was interrupted." })
      // Hooks run after an interruption too.
      assert.deepStrictEqual(started.slice(-2), ["after cancelled", "abort cancelled"])
      assert.strictEqual((yield* RecoveryManager.dashboard("shop")).recoverySummary.inProgressRecoveries, 0)
    })
  )

  test(
    "a recovery that exceeds its timeout fails",
    Effect.gen(function* () {
      const failure = yield* failAt("compile")
      const world = yield* World
      world.gate = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(RecoveryManager.initiate(failure.id, "retry"))
      yield* Effect.repeat(
        Effect.zipRight(
          TestClock.adjust("1 minute"),
          Effect.promise(() => new Promise(setImmediate))
        ),
        { until: () => Effect.map(Fiber.poll(fiber), Option.isSome) }
      )
      const recovery = yield* fiber
      assert.strictEqual(recovery.status, "failed")
      assert.match(recovery.error ?? "", /longer than 10m/)
    })
  )

  test(
    "failures outside of runs are reported, recovered by an action, and refused without one",
    Effect.gen(function* () {
      const failure = yield* RecoveryManager.report(new Error("flake8 error: E501 line too long"), {
        id: "failure_123",
        labels,
        log: `${"x".repeat(9_000)} the end`
      })
      assert.strictEqual(failure.category, "linting")
      assert.strictEqual(failure.log?.length, 5_000)
      assert.match(failure.log ?? "", / the end$/)
      // A second report with the same id changes nothing.
      const same = yield* RecoveryManager.report(new Error("something else"), { id: "failure_123" })
      assert.deepStrictEqual(same, failure)
      const refused = yield* Effect.flip(RecoveryManager.initiate("failure_123", "restart"))
      assert.deepInclude(refused, { _tag: "RecoveryRefused", reason: "NoRun" })
      const recovery = yield* RecoveryManager.initiate("failure_123")
      assert.deepStrictEqual([recovery.type, recovery.status], ["retry", "completed"])
      assert.include(started, "failure_123")
      assert.strictEqual(recovery.plan.at(-3), "apply_linting_fixes")
      const test = yield* RecoveryManager.report(new Error("3 tests failed"))
      assert.strictEqual((yield* RecoveryManager.initiate(test.id)).plan.at(-3), "analyze_test_failures")
      const unknown = yield* Effect.flip(RecoveryManager.initiate("failure_124"))
      assert.strictEqual(unknown._tag, "FailureNotFound")
      const byHand = yield* RecoveryManager.report("disk full")
      yield* RecoveryManager.resolve(byHand.id, "ada")
      const resolved = yield* RecoveryManager.resolve(byHand.id, "bob")
      assert.deepStrictEqual([resolved.status, resolved.resolvedBy], ["resolved", "ada"])
      assert.strictEqual((yield* Insights.statistics).openFailures, 0)
    })
  )

  test(
    "lists return the newest 100 records by default",
    Effect.gen(function* () {
      for (let n = 0; n < 103; n++) yield* RecoveryManager.report(`failure number ${n}`, { id: `f${n}` })
      const newest = yield* RecoveryManager.failures()
      assert.deepStrictEqual([newest.length, newest[0]?.id], [100, "f102"])
      assert.strictEqual((yield* RecoveryManager.failures({ limit: 200 })).length, 103)
    })
  )

  test(
    "a failure without a message takes 200 characters of its log",
    Effect.gen(function* () {
      const message = (log: string) => Effect.map(RecoveryManager.report("", { log }), ({ message }) => message)
      assert.strictEqual((yield* message(`one\nerror: ${"x".repeat(500)}\ntwo`)).length, 200)
      assert.strictEqual(yield* message("error: first\nError: second\nbye"), "Error: second")
      assert.strictEqual(yield* message("one\ntwo\n\n"), "two")
      assert.strictEqual(yield* message("\n"), "The failure has no message and an empty log.")
    })
  )

  test(
    "a run that completed, was removed, or has an unknown workflow is refused",
    Effect.gen(function* () {
      const failure = yield* failAt("compile")
      const refusal = (id: string) =>
        Effect.map(Effect.flip(RecoveryManager.initiate(id, "retry")), (error) =>
          error._tag === "RecoveryRefused" ? error.reason : error._tag
        )
      const Other = Workflow.make("other", { error: Schema.String }, () => Effect.fail("no"))
      yield* Effect.flip(Workflow.execute(Other, { id: "r2" }))
      yield* settled
      const [other] = yield* RecoveryManager.failures({ run: "r2" })
      assert.strictEqual(yield* refusal(other?.id ?? ""), "UnknownWorkflow")
      yield* Workflow.rewind(Release, "r1", Workflow.beforeStep("compile"))
      yield* Workflow.resume(Release, "r1")
      yield* settled
      // The run completed without the manager.
      assert.strictEqual(yield* refusal(failure.id), "Resolved")
      assert.strictEqual((yield* RecoveryManager.failure(failure.id)).resolvedBy, "its run")
      const late = yield* RecoveryManager.report(new Error("seen too late"), { run: "r1" })
      assert.strictEqual(yield* refusal(late.id), "Completed")
      // A refusal changes nothing, so the failure stays open until it is resolved by hand.
      assert.strictEqual((yield* RecoveryManager.failure(late.id)).status, "open")
      assert.strictEqual(yield* refusal(late.id), "Completed")
      const gone = yield* failAt("compile", "r3")
      yield* Workflow.remove("r3")
      assert.strictEqual(yield* refusal(gone.id), "UnknownRun")
      assert.deepStrictEqual(yield* RecoveryManager.recoveries(), [])
    })
  )

  test(
    "sweep ends the recoveries of a killed process",
    Effect.gen(function* () {
      const failure = yield* failAt("compile")
      const storage = yield* Storage.Storage
      yield* RecoveryManager.initiate(failure.id, "retry").pipe(Effect.zipRight(RecoveryManager.failure(failure.id)))
      // The row that a killed process leaves.
      const row = Option.getOrThrow(
        yield* storage.findRecord("recovery", (yield* RecoveryManager.recoveries())[0]?.id ?? "")
      )
      const left = { ...row, id: "recovery_left", status: "in_progress", revision: 0 }
      yield* storage.write(left, [{ name: "recoveries/shop/retry/in_progress", add: 1 }])
      assert.strictEqual(yield* RecoveryManager.sweep, 1)
      assert.strictEqual(yield* RecoveryManager.sweep, 0)
      const swept = yield* RecoveryManager.status("recovery_left")
      assert.strictEqual(swept.status, "failed")
      assert.match(swept.error ?? "", /process .* ended/)
      const { recoverySummary } = yield* RecoveryManager.dashboard()
      assert.deepStrictEqual(recoverySummary, {
        totalRecoveries: 2,
        successfulRecoveries: 1,
        failedRecoveries: 1,
        inProgressRecoveries: 0,
        successRate: 50
      })
    })
  )

  test(
    "cleanup removes old final records, and keeps the statistics",
    Effect.gen(function* () {
      const first = yield* failAt("compile", "r1")
      yield* failAt("compile", "r2")
      yield* RecoveryManager.initiate(first.id, "retry")
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(yield* RecoveryManager.cleanup({ olderThan: "4 minutes" }), 0)
      assert.strictEqual(yield* RecoveryManager.cleanup({ olderThan: "2 minutes" }), 2)
      assert.strictEqual((yield* RecoveryManager.failures()).length, 1)
      assert.strictEqual((yield* Insights.statistics).recoveries.total, 1)
    })
  )

  test(
    "a damaged record is an error that names it",
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const row = { kind: "failure", id: "bad", subject: "", scope: "", status: "open", labels: {}, revision: 0 }
      yield* storage.write({ ...row, body: `{"message":` }, [])
      const damaged = yield* Effect.flip(RecoveryManager.failure("bad"))
      assert.strictEqual(damaged._tag, "RecordDamaged")
      assert.match(damaged.message, /failure "bad"/)
      assert.strictEqual((yield* Effect.flip(RecoveryManager.failures()))._tag, "RecordDamaged")
    })
  )

  test(
    "a run that fails again keeps one failure, and its retries are limited",
    Effect.gen(function* () {
      const failure = yield* failAt("compile")
      const world = yield* World
      world.failing = "compile"
      yield* RecoveryManager.initiate(failure.id, "retry")
      yield* settled
      assert.strictEqual((yield* RecoveryManager.failures({ run: "r1" })).length, 1)
      assert.strictEqual((yield* RecoveryManager.failure(failure.id)).retries, 1)
      yield* RecoveryManager.initiate(failure.id, "retry")
      world.failing = undefined
      // At the limit, auto chooses another type.
      const recovery = yield* RecoveryManager.initiate(failure.id)
      assert.notStrictEqual(recovery.type, "retry")
      assert.strictEqual(recovery.status, "completed")
      yield* settled
      const { byStrategy, openFailures } = yield* Insights.statistics
      assert.strictEqual(openFailures, 0)
      assert.notProperty(byStrategy, "Workflow.rewind")
    })
  )

  test(
    "a refused rollback leaves no records, and a completed run can be rolled back",
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      yield* Workflow.execute(Release, { id: "r1", labels })
      const [point] = yield* Progress.list({ run: "r1" })
      const recovery = yield* RecoveryManager.rollback(point?.id ?? "")
      assert.strictEqual(recovery.status, "completed")
      assert.strictEqual((yield* Workflow.status("r1")).status, "held")
      const before = yield* RecoveryManager.failures()
      const info = yield* Progress.save({ stage: "outside" })
      const refused = yield* Effect.flip(RecoveryManager.rollback(info.id))
      assert.deepInclude(refused, { _tag: "RecoveryRefused", reason: "NoRun" })
      for (const id of ["0x1", " 1 ", "1e0", "nope"]) {
        assert.strictEqual((yield* Effect.flip(RecoveryManager.rollback(id)))._tag, "CheckpointNotFound")
      }
      assert.deepStrictEqual(yield* RecoveryManager.failures(), before)
      yield* Effect.flip(RecoveryManager.initiate("unknown"))
      assert.notInclude((yield* storage.locks).map(({ name }) => name).join(" "), "unknown")
    })
  )

  test(
    "interrupted at any point, a recovery gets a final status, and the counters agree",
    Effect.gen(function* () {
      for (let turns = 0; turns < 80; turns++) {
        const { id } = yield* RecoveryManager.report("linting", { labels })
        const fiber = yield* Effect.fork(RecoveryManager.initiate(id, "retry"))
        for (let i = 0; i < turns; i++) yield* Effect.yieldNow()
        yield* Fiber.interrupt(fiber)
        const open = yield* RecoveryManager.recoveries({ status: "in_progress" })
        assert.deepStrictEqual(open, [], `after ${turns} turns`)
      }
      const { recoverySummary } = yield* RecoveryManager.dashboard()
      assert.strictEqual(recoverySummary.inProgressRecoveries, 0)
      assert.strictEqual(recoverySummary.totalRecoveries, (yield* RecoveryManager.recoveries()).length)
    })
  )

  test(
    "sweep ends a pending recovery, and the counters agree",
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const failure = yield* failAt("compile")
      yield* RecoveryManager.initiate(failure.id, "retry")
      const [recovery] = yield* RecoveryManager.recoveries()
      const row = Option.getOrThrow(yield* storage.findRecord("recovery", recovery?.id ?? ""))
      yield* storage.write({ ...row, id: "left", status: "pending", revision: 0 }, [
        { name: "recoveries/shop/retry/pending", add: 1 }
      ])
      // A damaged record does not stop the sweep.
      yield* storage.write({ ...row, id: "damaged", status: "in_progress", body: "{", revision: 0 }, [])
      assert.strictEqual(yield* RecoveryManager.sweep, 1)
      const { recoverySummary } = yield* RecoveryManager.dashboard()
      assert.deepStrictEqual(recoverySummary, {
        totalRecoveries: 2,
        successfulRecoveries: 1,
        failedRecoveries: 1,
        inProgressRecoveries: 0,
        successRate: 50
      })
    })
  )
})

describe("RecoveryManager.initiate", () => {
  it.scoped("fails at check_retry_limits if another process used the last retry", () =>
    Effect.gen(function* () {
      const storage = yield* Storage.make(Storage.memoryStore(), { owner: "a" })
      const useRetry = ({ id }: { readonly id: string }) =>
        Effect.gen(function* () {
          const row = Option.getOrThrow(yield* storage.findRecord("failure", id))
          yield* storage.write({ ...row, body: JSON.stringify({ ...JSON.parse(row.body), retries: 1 }) }, [])
        })
      const retry = () => Effect.dieMessage("a retry beyond the limit")
      const manager = RecoveryManager.layer({ maxRetries: 1, actions: { retry }, hooks: { before: useRetry } })
      const recovery = yield* RecoveryManager.report("connection reset").pipe(
        Effect.flatMap(({ id }) => RecoveryManager.initiate(id, "retry")),
        Effect.provide(manager.pipe(Layer.provideMerge(Layer.succeed(Storage.Storage, storage))))
      )
      assert.deepStrictEqual(
        recovery.progress.map(({ status, step }) => [step, status]),
        [
          ["analyze_failure_cause", "completed"],
          ["check_retry_limits", "failed"]
        ]
      )
      assert.strictEqual(recovery.error, "Another process has used the last of 1 retries.")
    })
  )
})

describe("RecoveryManager.handle", () => {
  const down = new Storage.StorageError({ reason: "Io", operation: "Writing a record" })

  /** A manager over a storage whose n-th write fails if `isDown(n)`. */
  const over = (isDown: (writes: number) => boolean, options: RecoveryManager.Options) =>
    Layer.unwrapScoped(
      Effect.gen(function* () {
        const store = Storage.memoryStore()
        let writes = 0
        const storage = yield* Storage.make(
          { ...store, write: (...args) => (isDown(++writes) ? Effect.fail(down) : store.write(...args)) },
          { owner: "a" }
        )
        return RecoveryManager.layer(options).pipe(Layer.provideMerge(Layer.succeed(Storage.Storage, storage)))
      })
    ) as Layer.Layer<RecoveryManager.RecoveryManager | Storage.Storage>

  it.effect("records a failure and recovers it", () =>
    Effect.gen(function* () {
      const handled = yield* RecoveryManager.handle("connection reset", { labels: { repository: "shop" } })
      assert.strictEqual(handled._tag === "Recorded" ? handled.recovery.status : handled._tag, "completed")
      assert.strictEqual((yield* RecoveryManager.failures())[0]?.status, "resolved")
    }).pipe(Effect.provide(over(() => false, { actions: { retry: () => Effect.void } })))
  )

  it.effect("while the storage is down, retries after 30, 60, 120, 240 and 300 seconds", () => {
    const at: Array<number> = []
    const retry = (failure: { readonly id: string; readonly category: string }) =>
      Effect.flatMap(TestClock.currentTimeMillis, (now) => {
        at.push(now / 1_000)
        assert.deepStrictEqual([failure.id, failure.category], ["unrecorded", "network"])
        return at.length < 5 ? Effect.fail("still down") : Effect.void
      })
    return Effect.gen(function* () {
      const fiber = yield* Effect.fork(RecoveryManager.handle("connection reset"))
      yield* TestClock.adjust("1 hour")
      const handled = yield* fiber
      assert.deepInclude(handled, { _tag: "RetriedPlainly", attempts: 5, storage: down })
      assert.deepStrictEqual(at, [30, 90, 210, 450, 750])
    }).pipe(Effect.provide(over(() => true, { actions: { retry } })))
  })

  it.effect("names both errors if the retries fail too", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(RecoveryManager.handle("connection reset"))
      assert.strictEqual(error._tag, "PlainRetryFailed")
      assert.match(
        error.message,
        /retried 2 times without a record, and the last retry failed: no\. .*Writing a record/
      )
    }).pipe(
      Effect.provide(
        over(() => true, {
          actions: { retry: () => Effect.fail("no") },
          fallback: RetryPolicy.fixed({ delay: 0, maxRetries: 2 })
        })
      )
    )
  )

  it.effect("does not repeat a started action, and retries nothing without an action or for a run", () => {
    let started = 0
    const retry = () => Effect.sync(() => void started++)
    return Effect.gen(function* () {
      // The storage fails after the action has started.
      const begun = yield* Effect.flip(
        Effect.provide(
          RecoveryManager.handle("reset"),
          over(() => started > 0, { actions: { retry } })
        )
      )
      assert.deepStrictEqual([begun._tag, started], ["StorageError", 1])
      const none = yield* Effect.flip(
        Effect.provide(
          RecoveryManager.handle("reset"),
          over(() => true, {})
        )
      )
      assert.strictEqual(none._tag, "StorageError")
      const ofRun = RecoveryManager.handle("reset", { run: "r1" })
      const run = yield* Effect.flip(
        Effect.provide(
          ofRun,
          over(() => true, { actions: { retry } })
        )
      )
      assert.deepStrictEqual([run._tag, started], ["StorageError", 1])
    })
  })
})
