import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, TestClock } from "effect"
import { Storage, Workflow } from "effect-recovery"
import { Testing } from "effect-recovery/testing"
import { Apology, Approval, ModelBusy } from "../src/agent.js"

const execute = Workflow.execute(Apology, { id: "ticket-1", input: "Ada" })

it.effect("sends what was approved, and asks a busy model again", () =>
  Effect.gen(function* () {
    const drafting = yield* Effect.fork(Effect.flip(execute))
    yield* TestClock.adjust("1 minute")
    assert.strictEqual((yield* Fiber.join(drafting))._tag, "RunSuspended")
    yield* Approval.send("ticket-1", { by: "carol", approved: true })
    assert.strictEqual(yield* execute, "sent, approved by carol")
  }).pipe(Effect.provide(Layer.mergeAll(Storage.layerMemory, Testing.faults({ draft: [new ModelBusy(), undefined] }))))
)

it.effect("drops what is not approved within three days", () =>
  Effect.gen(function* () {
    assert.strictEqual((yield* Effect.flip(execute))._tag, "RunSuspended")
    yield* TestClock.adjust("3 days")
    assert.strictEqual(yield* execute, "dropped by the time limit")
  }).pipe(Effect.provide(Storage.layerMemory))
)
