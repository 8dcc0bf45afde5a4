import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, TestClock } from "effect"
import { Storage } from "effect-recovery"
import { eventually, turns } from "../support/time.js"

describe("Storage.release", () => {
  it.scoped("waits for the store, however far another clock is moved meanwhile", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const mayRelease = yield* Deferred.make<void>()
      const slow: Storage.Store = {
        ...store,
        release: (owner, run) => Effect.zipRight(Deferred.await(mayRelease), store.release(owner, run))
      }
      const storage = yield* Storage.make(slow, { owner: "a", lease: "10 days" })
      const request = { id: "run", workflow: "w", version: "1", input: "", labels: {} }
      const opened = yield* Effect.uninterruptibleMask((restore) => storage.open(request, restore))
      const lease = "lease" in opened ? opened.lease : assert.fail()
      const releasing = yield* Effect.fork(storage.release(lease))
      yield* TestClock.adjust("1 hour")
      yield* turns()
      assert.isNull(releasing.unsafePoll())
      yield* Deferred.succeed(mayRelease, undefined)
      yield* Fiber.join(releasing)
      // Another process can claim the run at once.
      assert.strictEqual((yield* store.open(request, "b", 1_000))._tag, "Claimed")
    })
  )

  it.scoped("ends the leases of a claim whose answer was lost", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const lost = new Storage.StorageError({ reason: "Unavailable", operation: "claiming" })
      const losing: Storage.Store = {
        ...store,
        claimDue: (query, owner, millis) => Effect.zipRight(store.claimDue(query, owner, millis), lost)
      }
      const storage = yield* Storage.make(losing, { owner: "a", lease: "10 days" })
      yield* store.enqueue({ id: "run", workflow: "w", version: "1", input: "", labels: {} })
      const query = { workflows: [{ workflow: "w", version: "1" }], limit: 1 }
      const failure = yield* Effect.flip(Effect.uninterruptibleMask((restore) => storage.claimDue(query, restore)))
      assert.strictEqual(failure, lost)
      // Another process need not wait for the end of the lease.
      const claimed = yield* eventually(store.claimDue(query, "b", 1_000), (found) => found.length > 0)
      assert.strictEqual(claimed[0]?._tag, "Claimed")
    })
  )
})
