import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../storage/Storage.js"
import type { Contract } from "./fixtures.js"

const lock = (store: Storage.Store, name: string, owner: string) => store.lock(name, owner, 30_000)

const locked = (result: Storage.Locked): Storage.LockLease => {
  if (result._tag === "Locked") return result.lease
  throw new Error(`expected to acquire the lock, but ${result.row.owner} holds it`)
}

/** Locks. */
export const lockContract: Contract = {
  *"a lock belongs to one owner until it is released"(store) {
    yield* TestClock.setTime(5_000)
    const first = locked(yield* lock(store, "task/1", "a"))
    const row = { name: "task/1", token: first.token, owner: "a", since: 5_000, leaseUntil: 35_000 }
    assert.deepStrictEqual(yield* lock(store, "task/1", "b"), { _tag: "Held", row })
    assert.deepStrictEqual(yield* lock(store, "task/1", "a"), { _tag: "Held", row })
    assert.strictEqual((yield* lock(store, "task/2", "b"))._tag, "Locked")
    assert.strictEqual(yield* store.unlock("task/1", "a"), true)
    const second = locked(yield* lock(store, "task/1", "b"))
    assert.ok(second.token > first.token)
  },

  *"a lock expires unless it is renewed, and its owner cannot renew it afterwards"(store) {
    const first = locked(yield* lock(store, "task/1", "a"))
    yield* TestClock.adjust("20 seconds")
    assert.strictEqual(yield* store.renewLock(first, 30_000), true)
    yield* TestClock.adjust("29 seconds")
    assert.strictEqual((yield* lock(store, "task/1", "b"))._tag, "Held")
    yield* TestClock.adjust("1 second")
    const second = locked(yield* lock(store, "task/1", "b"))
    assert.ok(second.token > first.token)
    assert.strictEqual(yield* store.renewLock(first, 30_000), false)
    assert.strictEqual(yield* store.unlock("task/1", "a"), false)
    assert.strictEqual((yield* lock(store, "task/1", "c"))._tag, "Held")
  },

  *"one of many concurrent attempts acquires a lock"(store) {
    const owners = Array.from({ length: 20 }, (_, i) => `owner-${i}`)
    const results = yield* Effect.forEach(owners, (owner) => lock(store, "task/1", owner), {
      concurrency: "unbounded"
    })
    assert.strictEqual(results.filter(({ _tag }) => _tag === "Locked").length, 1)
  },

  *"lists locks by name and removes old free ones"(store) {
    assert.deepStrictEqual(yield* store.locks, [])
    assert.deepStrictEqual(yield* store.findLock("agent/x"), Option.none())
    const odd = "task/ü\n'..%/\u0001"
    const free = locked(yield* lock(store, odd, "a"))
    yield* store.unlock(odd, "a")
    yield* lock(store, "agent/x", "a")
    const names = Effect.map(store.locks, (rows) => rows.map(({ name, owner }) => [name, owner]))
    assert.deepStrictEqual(yield* names, [
      ["agent/x", "a"],
      [odd, undefined]
    ])
    assert.strictEqual(Option.getOrThrow(yield* store.findLock(odd)).token, free.token)
    yield* TestClock.adjust("1 second")
    assert.strictEqual(yield* store.removeLocks(0), 0)
    assert.strictEqual(yield* store.removeLocks(500), 1)
    assert.deepStrictEqual(yield* names, [["agent/x", "a"]])
    // A token must never occur twice, even after a removal.
    assert.ok(locked(yield* lock(store, odd, "b")).token > free.token)
  }
}
