import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Schema, Scope, TestClock } from "effect"
import { Checkpoint, Storage } from "effect-recovery"
import { OperateError, Operator, RecoveryManager } from "effect-recovery/operate"
import { backends, memory } from "../support/storages.js"
import { passTime } from "../support/time.js"

const Progress = Checkpoint.make("progress", { schema: Schema.Struct({ done: Schema.Number }) })

const labels = { repository: "shop", commit: "abc" }

describe.each(backends)("a recovery in the background, on $name", ({ make }) => {
  /** A process with a manager, whose actions wait for the gate. */
  const processOn = (storage: Layer.Layer<Storage.Storage, Storage.StorageError>) =>
    Effect.gen(function* () {
      const [gate, started] = [yield* Deferred.make<void, string>(), yield* Deferred.make<void>()]
      const act = () => Effect.zipRight(Deferred.succeed(started, undefined), Deferred.await(gate))
      const scope = yield* Scope.make()
      yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
      const manager = RecoveryManager.layer({ actions: { retry: act, rollback: act } })
      const context = yield* Layer.buildWithScope(Layer.provideMerge(manager, storage), scope)
      return { context, gate, scope, started }
    })
  const reported = RecoveryManager.report("connection refused", { labels })

  it.scoped("begin returns the id before the work begins, and join waits for its end", () =>
    Effect.gen(function* () {
      const { join } = yield* make
      const { context, gate, started } = yield* processOn(join())
      yield* Effect.gen(function* () {
        const failure = yield* reported
        // The caller's fiber ends with its answer.
        const begun = yield* Fiber.join(
          yield* Effect.fork(RecoveryManager.begin(failure.id, "retry", { reason: "up" }))
        )
        assert.deepInclude(begun, { status: "pending", type: "retry", failure: failure.id, reason: "up", progress: [] })
        const refused = yield* Effect.flip(RecoveryManager.begin(failure.id, "retry"))
        assert.instanceOf(refused, OperateError.RecoveryUnderWay)
        const joining = yield* Effect.fork(RecoveryManager.join(begun.id))
        yield* Deferred.await(started)
        assert.strictEqual((yield* RecoveryManager.status(begun.id)).status, "in_progress")
        assert.isNull(joining.unsafePoll())
        yield* Deferred.succeed(gate, undefined)
        const ended = yield* Fiber.join(joining)
        assert.deepInclude(ended, { id: begun.id, status: "completed" })
        assert.strictEqual((yield* RecoveryManager.failure(failure.id)).status, "resolved")
        // The end of a recovery that has ended is known at once.
        assert.deepStrictEqual(yield* RecoveryManager.join(begun.id), ended)
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("after join another recovery of the failure can begin", () =>
    Effect.gen(function* () {
      const { join } = yield* make
      const { context, gate } = yield* processOn(join())
      yield* Effect.gen(function* () {
        yield* Deferred.fail(gate, "still down")
        const failure = yield* reported
        const first = yield* Effect.flatMap(RecoveryManager.begin(failure.id, "retry"), ({ id }) =>
          RecoveryManager.join(id)
        )
        assert.strictEqual(first.status, "failed")
        assert.match(first.error ?? "", /still down/)
        const second = yield* RecoveryManager.begin(failure.id, "retry")
        assert.notStrictEqual(second.id, first.id)
        assert.strictEqual((yield* RecoveryManager.join(second.id)).status, "failed")
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("a recovery that cannot be made fails where it was begun, and leaves no record", () =>
    Effect.gen(function* () {
      const { join } = yield* make
      const { context } = yield* processOn(join())
      yield* Effect.gen(function* () {
        const failure = yield* reported
        const refused = yield* Effect.flip(RecoveryManager.begin(failure.id, "restart"))
        assert.deepInclude(refused, { _tag: "RecoveryRefused", reason: "NoRun" })
        const unknown = yield* Effect.flip(RecoveryManager.begin("failure_0"))
        assert.instanceOf(unknown, OperateError.FailureNotFound)
        const nothing = yield* Effect.flip(RecoveryManager.join("recovery_0"))
        assert.instanceOf(nothing, OperateError.RecoveryNotFound)
        assert.deepStrictEqual(yield* RecoveryManager.recoveries(), [])
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("ends with the manager's scope as cancelled, also for those that wait for it elsewhere", () =>
    Effect.gen(function* () {
      const place = yield* make
      const first = yield* processOn(place.join())
      const second = yield* processOn(place.join())
      const { id } = yield* Effect.provide(
        Effect.flatMap(reported, (failure) => RecoveryManager.begin(failure.id, "retry")),
        first.context
      )
      yield* Deferred.await(first.started)
      const joining = yield* Effect.fork(Effect.provide(RecoveryManager.join(id), second.context))
      yield* Scope.close(first.scope, Exit.void)
      const ended = yield* passTime(joining, "1 second")
      assert.deepInclude(ended, { id, status: "cancelled", error: "It was interrupted." })
      assert.deepInclude(ended.progress.at(-1), { status: "failed" })
    })
  )

  it.scoped("join ends a recovery whose process is gone", () =>
    Effect.gen(function* () {
      const place = yield* make
      const { context } = yield* processOn(place.join())
      yield* Effect.gen(function* () {
        const failure = yield* reported
        const storage = yield* Storage.Storage
        // What a process that was killed leaves: an open record, and no lock.
        yield* storage.write(
          {
            kind: "recovery",
            id: "left",
            subject: failure.id,
            status: "in_progress",
            scope: "shop",
            labels,
            revision: 0,
            body: JSON.stringify(detailsOf(failure.id))
          },
          []
        )
        const ended = yield* RecoveryManager.join("left")
        assert.deepInclude(ended, { status: "failed", error: "The process that ran this recovery ended." })
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("a caller that is interrupted before it has the id leaves no recovery running", () =>
    Effect.gen(function* () {
      const place = yield* make
      const { context } = yield* processOn(place.join())
      yield* Effect.gen(function* () {
        const failure = yield* reported
        const beginning = yield* Effect.fork(RecoveryManager.begin(failure.id, "retry"))
        yield* Fiber.interrupt(beginning)
        yield* TestClock.adjust("1 second")
        const all = yield* RecoveryManager.recoveries()
        assert.isTrue(all.every(({ status }) => status === "cancelled"))
        // Its lock is free.
        assert.strictEqual((yield* RecoveryManager.begin(failure.id, "retry")).status, "pending")
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("a rollback begins in the same way", () =>
    Effect.gen(function* () {
      const place = yield* make
      const { context, gate, started } = yield* processOn(place.join())
      yield* Effect.gen(function* () {
        const { id: checkpoint } = yield* Progress.save({ done: 1 }, { labels })
        const begun = yield* RecoveryManager.beginRollback(checkpoint, "by hand")
        assert.deepInclude(begun, { status: "pending", type: "rollback", reason: "by hand" })
        yield* Deferred.await(started)
        yield* Deferred.succeed(gate, undefined)
        assert.deepInclude(yield* RecoveryManager.join(begun.id), { status: "completed", target: checkpoint })
      }).pipe(Effect.provide(context))
    })
  )
})

const detailsOf = (failure: string) => ({
  type: "retry",
  by: "manager",
  failure,
  category: "network",
  fingerprint: "f",
  message: "connection refused",
  attempts: 1,
  plan: [],
  progress: [],
  corruptionDetected: false
})

describe("the operator", () => {
  it.scopedLive("answers Initiate before the work begins and Join when it has ended; closing it cancels", () =>
    Effect.gen(function* () {
      const { join } = yield* memory.make
      const gates = { f1: yield* Deferred.make<void>(), f2: yield* Deferred.make<void>() }
      const started = yield* Deferred.make<void>()
      const retry = ({ id }: { readonly id: string }) =>
        Effect.zipRight(Deferred.succeed(started, undefined), Deferred.await(id === "f1" ? gates.f1 : gates.f2))
      const operator = Operator.define({ storage: join(), actions: { retry } })()
      const value = <T extends Operator.Request["_tag"]>(request: Operator.Request<T>) =>
        Effect.flatMap(Operator.ask<T>(operator, request), (reply) =>
          reply.ok ? Effect.succeed(reply.value) : Effect.dieMessage(reply.message)
        )
      const begun = (failure: string) =>
        Effect.zipRight(
          value({ _tag: "Report", id: failure, message: "connection refused", labels: {} }),
          value({ _tag: "Initiate", failure, type: "retry" })
        )
      const first = yield* begun("f1")
      assert.strictEqual(first.status, "pending")
      yield* Deferred.await(started)
      const joining = yield* Effect.fork(value({ _tag: "Join", id: first.id }))
      yield* Deferred.succeed(gates.f1, undefined)
      assert.strictEqual((yield* Fiber.join(joining)).status, "completed")
      const second = yield* begun("f2")
      yield* Effect.promise(() => operator.close())
      const found = yield* Effect.provide(RecoveryManager.status(second.id), join())
      assert.strictEqual(found.status, "cancelled")
    })
  )
})
