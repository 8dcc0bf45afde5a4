import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { type Contract, entry, find, finished, listed, loses, open, opened } from "./fixtures.js"

/** The leases of runs. */
export const leaseContract: Contract = {
  *"refuses to open a leased run, and claims it after the lease expired"(store) {
    yield* open(store, "run-1", "a")
    yield* TestClock.adjust("29 seconds")
    assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Leased")
    yield* TestClock.adjust("1 second")
    const claimed = yield* open(store, "run-1", "b")
    assert.strictEqual(claimed._tag, "Claimed")
    assert.strictEqual(opened(claimed).token, 2)
  },

  *"renewing prolongs a lease, and releasing ends it at once"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* TestClock.adjust("20 seconds")
    assert.deepStrictEqual(yield* store.renew([lease], 30_000), [])
    yield* TestClock.adjust("20 seconds")
    assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Leased")
    yield* store.release("a", "run-1")
    assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Claimed")
  },

  *"renewing returns the leases that are lost"(store) {
    const kept = opened(yield* open(store, "kept", "a"))
    const lost = opened(yield* open(store, "lost", "a"))
    yield* store.release("a", "lost")
    yield* open(store, "lost", "b")
    assert.deepStrictEqual(yield* store.renew([kept, lost], 30_000), [lost])
  },

  *"releasing does not end the lease of another owner"(store) {
    yield* open(store, "run-1", "a")
    yield* store.release("b", "run-1")
    yield* store.release("a", "no such run")
    yield* store.release("b")
    assert.strictEqual((yield* open(store, "run-1", "c"))._tag, "Leased")
  },

  *"releasing an owner ends all of its leases"(store) {
    for (const id of ["one", "two", "three"]) yield* open(store, id, "a")
    yield* open(store, "other", "b")
    yield* store.release("a", "two")
    assert.deepStrictEqual(yield* listed(store, { status: "stopped" }), ["two"])
    yield* store.release("a")
    assert.deepStrictEqual(yield* listed(store, { status: "stopped" }), ["three", "two", "one"])
    assert.deepStrictEqual(yield* listed(store, { status: "running" }), ["other"])
  },

  *"a lease says since when it is held, by the store's clock"(store) {
    yield* TestClock.setTime(5_000)
    assert.strictEqual(yield* store.now, 5_000)
    const created = opened(yield* open(store, "run-1", "a"))
    yield* store.release("a")
    yield* TestClock.setTime(6_000)
    const claimed = opened(yield* open(store, "run-1", "b"))
    yield* store.finish(claimed, { status: "failed", exit: "" })
    yield* TestClock.setTime(7_000)
    const reopened = yield* store.reopen(yield* find(store, "run-1"), entry(1), "c", 30_000)
    assert.deepStrictEqual(
      [created, claimed, Option.getOrThrow(reopened)].map(({ since }) => since),
      [5_000, 6_000, 7_000]
    )
  },

  *"refuses the writes of a lease that was taken over"(store) {
    const old = opened(yield* open(store, "run-1", "a"))
    yield* store.append(old, [entry(1)])
    yield* TestClock.adjust("30 seconds")
    const current = opened(yield* open(store, "run-1", "b"))
    yield* loses(store.append(old, [entry(2)]))
    yield* loses(store.finish(old, { status: "failed", exit: "late" }))
    yield* store.append(current, [entry(2)])
    assert.strictEqual((yield* store.journal(current.key)).length, 2)
  },

  *"refuses the writes of a lease that was released or ended by an outcome"(store) {
    const released = opened(yield* open(store, "released", "a"))
    yield* store.release("a", "released")
    const ended = yield* finished(store, "finished")
    for (const lease of [released, ended]) {
      yield* loses(store.append(lease, [entry(1)]))
      assert.deepStrictEqual(yield* store.renew([lease], 30_000), [lease])
    }
    yield* loses(store.finish(released, { status: "failed", exit: "" }))
    assert.strictEqual((yield* open(store, "released", "b"))._tag, "Claimed")
  },

  *"one of many concurrent opens of a run gets the lease"(store) {
    const owners = Array.from({ length: 20 }, (_, i) => `owner-${i}`)
    const results = yield* Effect.forEach(owners, (owner) => open(store, "run-1", owner), {
      concurrency: "unbounded"
    })
    assert.strictEqual(results.filter(({ _tag }) => _tag === "Created").length, 1)
    assert.strictEqual(results.filter(({ _tag }) => _tag === "Leased").length, 19)
  },

  *"opening a run by its key claims it whatever its id, and creates none"(store) {
    const { key, ...first } = opened(yield* open(store, "run-1", "a"))
    yield* store.release(first.owner, first.run)
    assert.deepStrictEqual(yield* open(store, "run-2", "b", { key: key + 1 }), { _tag: "Gone" })
    const claimed = yield* open(store, "another text", "b", { key })
    assert.strictEqual(claimed._tag, "Claimed")
    assert.strictEqual(opened(claimed).key, key)
    assert.deepStrictEqual(yield* listed(store, {}), ["run-1"])
  },

  *"a lease that was taken over cannot suspend the run"(store) {
    const old = opened(yield* open(store, "run-1", "a"))
    yield* TestClock.adjust("30 seconds")
    yield* open(store, "run-1", "b")
    yield* loses(store.suspend(old, { dueAt: 0, signals: 0 }))
    assert.strictEqual((yield* find(store, "run-1")).owner, "b")
  }
}
