import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Storage, Workflow } from "effect-recovery"
import { Scorecard, Testing } from "effect-recovery/testing"
import { Resize } from "../src/resize.js"

// A workflow names no storage, so its tests need no server.
it.effect("resizes an image", () =>
  Effect.gen(function* () {
    assert.strictEqual(yield* Workflow.execute(Resize, { id: "a", input: "a" }), "a.small")
  }).pipe(Effect.provide(Storage.layerMemory))
)

it.live("ends as without a crash, wherever its process ends", () =>
  Effect.gen(function* () {
    const card = yield* Testing.crashEverywhere(Resize, { input: "a", store: Effect.sync(Storage.memoryStore) })
    assert.isTrue(Scorecard.isClean(card))
  })
)
