import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, TestClock } from "effect"
import { Storage, Workflow } from "effect-recovery"
import { Scorecard, Testing } from "effect-recovery/testing"
import { BankOffline, Order } from "../src/order.js"

const input = { item: "book", amount: 12 }

it.effect("waits for a bank that is offline, in virtual time", () =>
  Effect.gen(function* () {
    const run = yield* Effect.fork(Workflow.execute(Order, { id: "order-1", input }))
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(yield* Fiber.join(run), "receipt of 12")
    const { steps } = yield* Workflow.status("order-1")
    assert.strictEqual(steps[0]?.attempts, 2)
  }).pipe(
    Effect.provide(Layer.mergeAll(Storage.layerMemory, Testing.faults({ charge: [new BankOffline(), undefined] })))
  )
)

it.live("ends as without a crash, wherever its process ends", () =>
  Effect.gen(function* () {
    const store = Effect.sync(Storage.memoryStore)
    const card = yield* Testing.crashEverywhere(Order, { input, store })
    assert.isTrue(Scorecard.isClean(card))
  })
)
