import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import { Step, Storage, Worker, Workflow } from "effect-recovery"
import { RecoveryManager } from "effect-recovery/operate"
import { eventually, turns } from "../support/time.js"

describe("a recovery of a run that a worker executes", () => {
  for (const ends of [true, false]) {
    const what = ends
      ? "begins after its running step has ended"
      : "is refused if its running step does not end in time"
    it.scoped(what, () =>
      Effect.gen(function* () {
        const store = Storage.memoryStore()
        const process = (owner: string) => Layer.scoped(Storage.Storage, Storage.make(store, { owner }))
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
        yield* Layer.build(Worker.layer([Long]).pipe(Layer.provideMerge(process("worker"))))
        const operator = yield* Layer.build(manager.pipe(Layer.provideMerge(process("operator"))))
        yield* Effect.gen(function* () {
          yield* Workflow.start(Long, { id: "1" })
          yield* Deferred.await(begun)
          const failure = yield* RecoveryManager.report("slow", { run: "1" })
          const initiated = yield* Effect.fork(Effect.either(RecoveryManager.initiate(failure.id, "restart")))
          const storage = yield* Storage.Storage
          yield* eventually(storage.find("1"), (run) => run._tag === "Some" && run.value.hold !== undefined)
          // The worker is told.
          yield* turns()
          if (ends) yield* Deferred.succeed(gate, undefined)
          const recovery = yield* Effect.zipRight(TestClock.adjust("11 seconds"), Fiber.join(initiated))
          yield* Deferred.succeed(gate, undefined)
          yield* eventually(Workflow.status("1"), ({ status }) => status === "completed")
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
