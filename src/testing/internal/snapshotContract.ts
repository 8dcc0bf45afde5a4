import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../storage/Storage.js"
import { type Contract, entry, loses, open, opened } from "./fixtures.js"

type New = Parameters<Storage.Store["save"]>[0]

const snapshot = (more?: Partial<New>): New => ({
  run: "run-1",
  step: "",
  seq: 0,
  name: "progress",
  kind: "manual",
  version: 1,
  schema: "s",
  digest: "d",
  size: 2,
  encoding: "json",
  labels: { repository: "shop" },
  about: `{"artifacts":[]}`,
  at: 1_000,
  state: "{}",
  ...more
})

const save = (store: Storage.Store, more?: Partial<New>, options: Storage.SaveOptions = {}) =>
  Effect.map(store.save(snapshot(more), options), Option.getOrThrow)

const keysOf = (snapshots: ReadonlyArray<Storage.Snapshot>) => snapshots.map(({ key }) => key)

/** Snapshots, and the effect of rewinds on them. */
export const snapshotContract: Contract = {
  *"keeps all fields of a snapshot"(store) {
    const bytes = new Uint8Array([0, 1, 255])
    const key = yield* save(store, { state: bytes, encoding: "deflate" })
    const found = Option.getOrThrow(yield* store.snapshot(key))
    assert.deepEqual([...(found.state as Uint8Array)], [0, 1, 255])
    const { state: _, ...given } = snapshot({ encoding: "deflate" })
    const { state: __, ...rest } = found
    assert.deepEqual(rest, { ...given, key, rewound: false })
    assert.deepEqual(yield* store.snapshots({}), [rest])
    assert.ok(Option.isNone(yield* store.snapshot(key + 1)))
  },

  *"keeps unusual texts unchanged"(store) {
    const state = `"\\u0000 ' \\" 🙂 ${"x".repeat(100_000)}"`
    const key = yield* save(store, { state, name: "it's", labels: { "a'b": `"` } })
    assert.equal(Option.getOrThrow(yield* store.snapshot(key)).state, state)
    assert.deepEqual(keysOf(yield* store.snapshots({ name: "it's", labels: { "a'b": `"` } })), [key])
  },

  *"finds snapshots, newest first"(store) {
    const one = yield* save(store, { at: 1 })
    const two = yield* save(store, { at: 2, kind: "auto", labels: { repository: "other" } })
    const three = yield* save(store, { at: 3, name: "other" })
    const four = yield* save(store, { at: 4, run: undefined })
    const find = (query: Storage.SnapshotQuery) => Effect.map(store.snapshots(query), keysOf)
    assert.deepEqual(yield* find({}), [four, three, two, one])
    assert.deepEqual(yield* find({ run: "run-1" }), [three, two, one])
    assert.deepEqual(yield* find({ run: null }), [four])
    assert.deepEqual(yield* find({ run: "run-1", name: "progress" }), [two, one])
    assert.deepEqual(yield* find({ kind: "auto" }), [two])
    assert.deepEqual(yield* find({ labels: { repository: "shop" } }), [four, three, one])
    assert.deepEqual(yield* find({ before: three, limit: 1 }), [two])
    assert.deepEqual(yield* find({ takenBefore: 3 }), [two, one])
    assert.equal(Option.getOrThrow(yield* store.newest({ run: "run-1", name: "progress" })).key, two)
    assert.ok(Option.isNone(yield* store.newest({ name: "nothing" })))
  },

  *"saves only after the expected snapshot"(store) {
    const first = yield* save(store, { run: undefined }, { after: 0 })
    assert.ok(Option.isNone(yield* store.save(snapshot({ run: undefined }), { after: 0 })))
    const second = yield* save(store, { run: undefined }, { after: first })
    assert.ok(Option.isNone(yield* store.save(snapshot({ run: undefined }), { after: first })))
    yield* save(store, { run: undefined, name: "other" }, { after: 0 })
    assert.equal((yield* store.snapshots({ run: null, name: "progress" }))[0]?.key, second)
  },

  *"compares the expected snapshot with the newest of its run and name that was not rewound"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const kept = yield* save(store, { seq: 1 }, { lease })
    yield* save(store, { seq: 5 }, { lease })
    yield* save(store, { run: "run-2" })
    yield* store.rewind(lease, entry(6), { after: 1, within: "" })
    const refused = yield* store.save(snapshot(), { lease, after: 0, entry: () => entry(7) })
    assert.ok(Option.isNone(refused))
    assert.equal((yield* store.journal(lease.key)).length, 1)
    assert.ok(Option.isSome(yield* store.save(snapshot(), { lease, after: kept })))
  },

  *"refuses the save of a lease that was taken over, with or without a line"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* TestClock.adjust("30 seconds")
    yield* open(store, "run-1", "b")
    yield* loses(store.save(snapshot(), { lease }))
    assert.deepEqual(yield* store.snapshots({}), [])
  },

  *"finds the newest snapshot and the list by the same query"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const one = yield* save(store, { at: 1, kind: "auto", labels: { a: "1", b: "1" } })
    const two = yield* save(store, { at: 2, labels: { a: "1", b: "2" }, seq: 9 })
    const three = yield* save(store, { at: 3, run: undefined })
    yield* save(store, { at: 4, run: "run-2" })
    yield* store.rewind(lease, entry(10), { after: 8, within: "" })
    const queries: ReadonlyArray<readonly [Storage.SnapshotQuery, number]> = [
      [{ run: null }, three],
      [{ run: "run-1" }, one],
      [{ run: "run-1", rewound: true }, two],
      [{ kind: "auto" }, one],
      [{ except: "manual" }, one],
      [{ labels: { a: "1", b: "1" } }, one],
      [{ labels: { a: "1", b: "1" }, rewound: true }, one],
      [{ labels: { a: "1", b: "2" }, rewound: true }, two],
      [{ before: three }, one],
      [{ takenBefore: 3 }, one]
    ]
    for (const [query, key] of queries) {
      assert.equal(Option.getOrThrow(yield* store.newest(query)).key, key, JSON.stringify(query))
      assert.equal((yield* store.snapshots(query))[0]?.key, key, JSON.stringify(query))
    }
  },

  *"lists 100 by default, and accepts any limit"(store) {
    yield* Effect.forEach(Array.from({ length: 120 }), () => save(store, { state: "" }), { discard: true })
    const count = (limit?: number) => Effect.map(store.snapshots({ limit }), ({ length }) => length)
    assert.deepEqual(
      yield* Effect.all([count(), count(110), count(Infinity), count(Number.NaN), count(-1), count(2.9)]),
      [100, 110, 120, 100, 0, 2]
    )
    assert.equal(Option.getOrThrow(yield* store.newest({})).state, "")
  },

  *"one of many concurrent saves after one snapshot succeeds"(store) {
    const first = yield* save(store, { run: undefined })
    const saved = yield* Effect.forEach(
      Array.from({ length: 20 }),
      () => store.save(snapshot({ run: undefined }), { after: first }),
      { concurrency: "unbounded" }
    )
    assert.equal(saved.filter(Option.isSome).length, 1)
  },

  *"saves a snapshot together with its line of the journal, or neither"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const line = (key: number) => entry(1, { payload: String(key) })
    const key = yield* save(store, {}, { lease, entry: line })
    assert.deepEqual(yield* store.journal(lease.key), [line(key)])
    yield* TestClock.adjust("30 seconds")
    yield* open(store, "run-1", "b")
    yield* loses(store.save(snapshot(), { lease, entry: line }))
    assert.equal((yield* store.snapshots({})).length, 1)
    assert.equal((yield* store.journal(lease.key)).length, 1)
  },

  *"a rewind marks the snapshots it revokes"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const kept = yield* save(store, { seq: 1, step: "loop[1]/x" })
    const gone = yield* save(store, { seq: 2, step: "loop[1]/x" })
    const beside = yield* save(store, { seq: 3, step: "loop[2]/x" })
    const other = yield* save(store, { seq: 4, run: "run-2", step: "loop[1]/x" })
    yield* store.rewind(lease, entry(5, { kind: "Rewound" }), { after: 1, within: "loop[1]/" })
    assert.deepEqual(keysOf(yield* store.snapshots({})), [other, beside, kept])
    assert.deepEqual(keysOf(yield* store.snapshots({ rewound: true })), [other, beside, gone, kept])
    assert.equal(Option.getOrThrow(yield* store.snapshot(gone)).rewound, true)
    assert.equal((yield* store.journal(lease.key)).length, 1)
    yield* store.release("run-1", "a")
    yield* loses(store.rewind(lease, entry(6), { after: 0, within: "" }))
    assert.equal(Option.getOrThrow(yield* store.snapshot(kept)).rewound, false)
  },

  *"removes snapshots and never uses their keys again"(store) {
    const one = yield* save(store)
    const two = yield* save(store)
    assert.equal(yield* store.remove([two, two + 100]), 1)
    assert.deepEqual(keysOf(yield* store.snapshots({})), [one])
    assert.ok((yield* save(store)) > two)
  }
}
