import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../storage/Storage.js"
import { leaseOwner, shardOf } from "../../storage/shards.js"
import { type Contract, claimDue, claimedIds, enqueued, find, finished, loses, open, opened } from "./fixtures.js"

const shards = 5
const names = Array.from({ length: 40 }, (_, i) => `run ${i} é`)
const isIn = (owned: ReadonlyArray<number>) => (run: string) => owned.includes(shardOf(run, shards))
const ofShards = (...owned: ReadonlyArray<number>) => names.filter(isIn(owned))

const enqueueAll = (store: Storage.Store, more?: Partial<Storage.EnqueueRequest>) =>
  Effect.forEach(names, (id) => Effect.zipRight(TestClock.adjust(1), enqueued(store, id, more)), { discard: true })

/** Claims everything of these shards that is due. */
const claim = (store: Storage.Store, owned: ReadonlyArray<number>, owner: string, more?: Partial<Storage.DueQuery>) =>
  claimedIds(store, owner, { limit: 100, placement: { shards, owned }, ...more })

/** Claims of the runs of some shards, and the leases that are acquired so. */
export const placementContract: Contract = {
  *"a claim of some shards takes their due runs and no others, those that have been due longest first"(store) {
    yield* enqueueAll(store)
    assert.deepStrictEqual(yield* claim(store, [], "a/01"), [])
    assert.deepStrictEqual(yield* claim(store, [2, 4], "a/02", { limit: 3 }), ofShards(2, 4).slice(0, 3))
    assert.deepStrictEqual(yield* claim(store, [2, 4, 4], "a/03"), ofShards(2, 4).slice(3))
    assert.deepStrictEqual(yield* claim(store, [2, 4], "a/04"), [])
    const [first, ...rest] = ofShards(1, 3, 5)
    assert.deepStrictEqual(yield* claim(store, [1, 3, 5, 9], "b/05", { except: [first ?? ""] }), rest)
    assert.deepStrictEqual(yield* claimedIds(store, "c/1", { limit: 100 }), [first])
  },

  *"shards are the same for runs that were enqueued, opened, finished before and restored"(store) {
    const [a = "", b = "", c = ""] = ofShards(3)
    yield* enqueued(store, a)
    yield* store.release(opened(yield* open(store, b, "x")).owner)
    yield* finished(store, "restored")
    const row = yield* find(store, "restored")
    yield* store.restore([{ _tag: "Run", run: { ...row, id: c, outcome: undefined }, journal: [], signals: [] }])
    assert.deepStrictEqual(yield* claim(store, [1, 2, 4, 5], "a/01"), [])
    assert.deepStrictEqual(new Set(yield* claim(store, [3], "a/02")), new Set([a, b, c]))
  },

  *"a queue gives its places to the runs of the shards that are claimed, and its limits count the runs of all"(store) {
    const limits = { name: "encode", concurrency: 8, perKey: 3 }
    for (const [i, id] of names.entries()) {
      yield* TestClock.adjust(1)
      yield* enqueued(store, id, { queue: { name: "encode", key: `${i % 4}`, priority: i % 2 } })
    }
    const queues = [limits]
    const claimed: Array<string> = []
    for (const [owned, owner] of [
      [[1], "a/01"],
      [[2, 3], "b/01"],
      [[4, 5], "c/01"]
    ] as const) {
      const found = yield* claim(store, owned, owner, { queues })
      assert.ok(found.every(isIn(owned)), `shards ${owned.join()} got ${found.join()}`)
      claimed.push(...found)
    }
    // Each key has enough runs of the last shards.
    assert.strictEqual(claimed.length, 8)
    for (const key of ["0", "1", "2", "3"]) {
      assert.ok(claimed.filter((id) => names.indexOf(id) % 4 === Number(key)).length <= 3)
    }
    assert.deepStrictEqual(yield* claim(store, [1, 2, 3, 4, 5], "d/01", { queues }), [])
    const [first = ""] = claimed
    yield* store.release((yield* find(store, first)).owner ?? "", first)
    const others = [1, 2, 3, 4, 5].filter((shard) => shard !== shardOf(first, shards))
    const next = yield* claim(store, others, "e/01", { queues })
    assert.ok(next.length === 1 && next.every(isIn(others)))
  },

  *"a queue whose first keys have no run of the shards gives out those of the last one"(store) {
    const [mine = ""] = ofShards(2)
    const others = ofShards(1, 3, 4, 5)
    for (const [i, id] of others.entries()) {
      yield* enqueued(store, id, { queue: { name: "encode", key: `k${10 + i}`, priority: 1 } })
    }
    yield* enqueued(store, mine, { queue: { name: "encode", key: "z", priority: 0 } })
    const queues = [{ name: "encode", concurrency: 5 }]
    assert.deepStrictEqual(yield* claim(store, [2], "a/01", { queues }), [mine])
  },

  *"ending placed leases ends those that other processes acquired by placement, of the shards alone"(store) {
    yield* enqueueAll(store)
    yield* claim(store, [1, 2, 3], leaseOwner("a", 1, true))
    const [four = "", ...fours] = ofShards(4)
    yield* claimedIds(store, leaseOwner("b", 20), { limit: 100, placement: { shards, owned: [4] }, except: fours })
    yield* claim(store, [4], leaseOwner("b/0", 7))
    yield* claim(store, [5], leaseOwner("c", 1, true))
    const end = (owned: ReadonlyArray<number>, by: string) => store.endPlacedLeases({ shards, owned, by })
    assert.strictEqual(yield* end([], "c"), 0)
    // Its own leases stay, and so do ordinary ones, whatever their process is called.
    assert.strictEqual(yield* end([1, 5], "a"), ofShards(5).length)
    assert.strictEqual(yield* end([4], "c"), 0)
    assert.strictEqual(yield* end([1, 2], "c"), ofShards(1, 2).length)
    assert.strictEqual(yield* end([1, 2, 5], "c"), 0)
    assert.deepStrictEqual(
      new Set(yield* claimedIds(store, "d/1", { limit: 100 })),
      new Set([...ofShards(1, 2), ...ofShards(5)])
    )
    assert.strictEqual((yield* find(store, four)).owner, "b/20")
  },

  *"orphans are runs that their last owner did not release: leases that expired or were ended, of whichever shard"(
    store
  ) {
    yield* enqueueAll(store)
    const orphans = (owner: string, more?: Partial<Storage.DueQuery>) =>
      claimedIds(store, owner, { limit: 100, orphans: true, ...more })
    assert.deepStrictEqual(yield* orphans("x/1"), [])
    const taken = yield* claimDue(store, "a/01", { limit: 6, placement: { shards, owned: [1, 2, 3, 4, 5] } })
    const [released, suspended, finished, ...left] = taken
    if (released === undefined || suspended === undefined || finished === undefined) throw new Error("too few runs")
    yield* store.release("a/01", released.run)
    yield* store.suspend(suspended, { dueAt: 0, signals: 0 })
    yield* store.finish(finished, { status: "completed", exit: "" })
    assert.deepStrictEqual(yield* orphans("x/2"), [])
    yield* TestClock.adjust("29 seconds")
    assert.deepStrictEqual(yield* orphans("x/3"), [])
    yield* TestClock.adjust("2 seconds")
    const [first = "", ...rest] = left.map(({ run }) => run)
    assert.deepStrictEqual(yield* orphans("x/4", { limit: 1 }), [first])
    assert.deepStrictEqual(
      yield* orphans("x/5", { except: [rest[0] ?? ""], queues: [{ name: "encode" }] }),
      rest.slice(1)
    )
    // Leases that are ended make orphans, too.
    yield* claim(store, [1, 2, 3, 4, 5], "b/01")
    yield* store.endPlacedLeases({ shards, owned: [2], by: "c" })
    const ended = yield* orphans("x/6")
    assert.ok(ended.length > 0 && ended.every(isIn([2])))
  },

  *"the owner of a placed lease that was ended writes and renews until another process takes the run"(store) {
    yield* enqueueAll(store)
    const [kept, lost] = yield* claimDue(store, "a/01", { limit: 2, placement: { shards, owned: [1, 2, 3] } })
    if (kept === undefined || lost === undefined) throw new Error("nothing was claimed")
    yield* store.endPlacedLeases({ shards, owned: [1, 2, 3], by: "b" })
    yield* store.append(kept, [])
    assert.deepStrictEqual(yield* store.renew([kept], 30_000), [])
    assert.strictEqual((yield* find(store, kept.run)).owner, "a/01")
    assert.deepStrictEqual(
      (yield* claim(store, [1, 2, 3], "b/01")).filter((id) => id === kept.run || id === lost.run),
      [lost.run]
    )
    yield* loses(store.suspend(lost, { dueAt: 0, signals: 0 }))
    assert.deepStrictEqual(yield* store.renew([lost, kept], 30_000), [lost])
    yield* store.finish(kept, { status: "completed", exit: "" })
  }
}
