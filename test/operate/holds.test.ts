import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import { Step, Storage, Worker, Workflow } from "effect-recovery"
import { RecoveryManager } from "effect-recovery/operate"
import { builtProcess, holdsRead } from "../support/durable.js"
import { backends } from "../support/storages.js"
import { eventually, passTime } from "../support/time.js"

/** Where the store tells a worker of nothing, it looks from time to time. */
const aSecond = TestClock.adjust("1 second")

for (const backend of backends)
  describe(`${backend.name}: a recovery of a run that a worker executes`, () => {
    for (const ends of [true, false]) {
      const what = ends
        ? "begins after its running step has ended"
        : "is refused if its running step does not end in time"
      it.scoped(what, () =>
        Effect.gen(function* () {
          const { change, isTold } = holdsRead()
          const worker = yield* builtProcess(backend, change)
          const [begun, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const story: Array<string> = []
          const slow = Step.make("slow", {
            run: Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(gate))
          })
          const last = Step.make("last", { run: Effect.sync(() => void story.push("last")) })
          const Long = Workflow.make("long", {}, () => Effect.zipRight(slow, last))
          const manager = RecoveryManager.layer({
            workflows: [Long],
            hooks: { before: () => Effect.sync(() => void story.push("recovery")) }
          })
          yield* Layer.build(Worker.layer([Long]).pipe(Layer.provideMerge(worker.layer)))
          const operator = yield* Layer.build(manager.pipe(Layer.provideMerge(worker.place.join())))
          yield* Effect.gen(function* () {
            yield* Workflow.start(Long, { id: "1" })
            yield* eventually(Effect.zipRight(aSecond, Deferred.isDone(begun)), Boolean)
            const failure = yield* RecoveryManager.report("slow", { run: "1" })
            const initiated = yield* Effect.fork(Effect.either(RecoveryManager.initiate(failure.id, "restart")))
            const storage = yield* Storage.Storage
            yield* eventually(isTold, Boolean)
            if (ends) {
              yield* Deferred.succeed(gate, undefined)
              yield* eventually(Workflow.status("1"), ({ status }) => status !== "running")
            }
            const recovery = yield* passTime(initiated, "1 second")
            yield* Deferred.succeed(gate, undefined)
            yield* eventually(Effect.zipRight(aSecond, Workflow.status("1")), ({ status }) => status === "completed")
            if (ends) assert.deepInclude(recovery, { _tag: "Right" })
            else assert.deepInclude(recovery, { _tag: "Left" })
            if (recovery._tag === "Left") {
              assert.deepInclude(recovery.left, { _tag: "RecoveryRefused", reason: "Running" })
              assert.deepStrictEqual(yield* RecoveryManager.recoveries(), [])
            }
            assert.deepStrictEqual(story, ends ? ["recovery", "last"] : ["last"])
            const found = yield* storage.find("1")
            assert.isTrue(found._tag === "Some" && found.value.hold === undefined)
          }).pipe(Effect.provide(operator))
        })
      )
    }
  })
