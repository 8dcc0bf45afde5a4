import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../storage/Storage.js"
import { type Contract, entry, loses, open, opened, snapshot } from "./fixtures.js"

const save = (store: Storage.Store, more?: Partial<Storage.NewSnapshot>, options: Storage.SaveOptions = {}) =>
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
    const refused = yield* store.save(snapshot(), { lease, after: 0, entry: entry(7) })
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
    const line = (seq: number, payload: Storage.SaveEntry["payload"]) => ({ ...entry(seq), payload })
    const key = yield* save(store, {}, { lease, entry: line(1, [`{"id":`, `,"ü":1}`]) })
    yield* save(store, {}, { lease, entry: line(2, "plain") })
    yield* save(store, {}, { lease, entry: line(3, undefined) })
    const last = yield* save(store, {}, { lease, entry: line(4, ["", ""]) })
    const lines = [
      entry(1, { payload: `{"id":${key},"ü":1}` }),
      entry(2, { payload: "plain" }),
      entry(3, { payload: undefined }),
      entry(4, { payload: String(last) })
    ]
    assert.deepEqual(yield* store.journal(lease.key), lines)
    // A snapshot that is not saved has no line.
    yield* save(store, { own: "k" })
    const kept = store.save(snapshot({ own: "k" }), { lease, ifKeyExists: "keep", entry: line(5, ["", ""]) })
    assert.ok(Option.isNone(yield* kept))
    yield* TestClock.adjust("30 seconds")
    yield* open(store, "run-1", "b")
    yield* loses(store.save(snapshot(), { lease, entry: line(6, ["", ""]) }))
    assert.equal((yield* store.snapshots({})).length, 5)
    assert.deepEqual(yield* store.journal(lease.key), lines)
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
    yield* store.release("a", "run-1")
    yield* loses(store.rewind(lease, entry(6), { after: 0, within: "" }))
    assert.equal(Option.getOrThrow(yield* store.snapshot(kept)).rewound, false)
  },

  *"finds snapshots by their labels, metadata and keys, in each order and page by page"(store) {
    const keys: Record<string, number> = {}
    const facts = [
      { own: "b", labels: { a: "1" }, about: `{"metadata":{"n":1,"s":"1","o":{"x":[1,2]}}}` },
      { own: "\u{1f600}", labels: { a: "1", b: "2" }, about: `{"metadata":{"n":1.5,"s":"it's \\"","t":true}}` },
      { own: undefined, labels: { a: "1" }, about: "{}" },
      { own: "\uffff", labels: { a: "2", b: "2" }, about: `{"metadata":{"n":null,"t":1}}` },
      { own: "B", labels: { "": "", "a'b\"": "" }, about: `{"metadata":{"n":"1","__proto__":0}}` }
    ]
    for (const [i, fact] of facts.entries()) keys[i] = yield* save(store, { ...fact, run: undefined, at: 10 * i })
    const find = (query: Storage.SnapshotQuery) =>
      Effect.gen(function* () {
        const all = keysOf(yield* store.snapshots(query))
        assert.deepEqual(keysOf(yield* store.fullSnapshots(query)), all)
        assert.deepEqual(Option.getOrUndefined(yield* store.newest(query))?.key, all[0])
        // The same, page by page.
        const paged: Array<number> = []
        for (let past: Storage.Snapshot | undefined; ; ) {
          const page: ReadonlyArray<Storage.Snapshot> = yield* store.snapshots({ ...query, past, limit: 2 })
          paged.push(...keysOf(page))
          past = page.at(-1)
          if (page.length < 2) break
        }
        assert.deepEqual(paged, all)
        return all.map((key) => Object.values(keys).indexOf(key))
      })
    assert.deepEqual(yield* find({ labels: { a: "1" } }), [2, 1, 0])
    assert.deepEqual(yield* find({ labels: { a: "1" }, order: "oldest" }), [0, 1, 2])
    assert.deepEqual(yield* find({ labels: { a: "1", b: "2" } }), [1])
    assert.deepEqual(yield* find({ labels: { b: "2", a: "1" }, run: null }), [1])
    assert.deepEqual(yield* find({ labels: { a: "3" } }), [])
    assert.deepEqual(yield* find({ labels: { a: "1", c: "3" } }), [])
    assert.deepEqual(yield* find({ labels: { "": "", "a'b\"": "" } }), [4])
    // Keys are compared by their bytes, as texts of other languages than JavaScript are.
    assert.deepEqual(yield* find({ order: "lowestKey" }), [4, 0, 3, 1])
    assert.deepEqual(yield* find({ order: "highestKey", name: "progress" }), [1, 3, 0, 4])
    assert.deepEqual(yield* find({ order: "highestKey", labels: { a: "1" } }), [1, 0])
    assert.deepEqual(yield* find({ order: "highestKey", ownBefore: "\u{1f600}", ownAfter: "B" }), [3, 0])
    assert.deepEqual(yield* find({ ownBefore: "b" }), [4])
    assert.deepEqual(yield* find({ own: ["b", "\uffff", "b", "none"], name: "progress" }), [3, 0])
    assert.deepEqual(yield* find({ own: [] }), [])
    assert.deepEqual(yield* find({ after: keys[1], before: keys[4], order: "oldest" }), [2, 3])
    assert.deepEqual(yield* find({ takenAfter: 10, takenBefore: 40 }), [3, 2])
    const metadata = (value: unknown) => find({ metadata: JSON.stringify(value) })
    assert.deepEqual(yield* metadata({}), [4, 3, 2, 1, 0])
    assert.deepEqual(yield* metadata({ n: 1 }), [0])
    assert.deepEqual(yield* metadata({ n: "1" }), [4])
    assert.deepEqual(yield* metadata({ n: null }), [3])
    assert.deepEqual(yield* metadata({ n: 1.5, s: `it's "` }), [1])
    assert.deepEqual(yield* metadata({ t: true }), [1])
    assert.deepEqual(yield* metadata({ t: 1 }), [3])
    assert.deepEqual(yield* metadata({ o: { x: [1, 2] } }), [0])
    assert.deepEqual(yield* metadata({ o: { x: [1] } }), [])
    assert.deepEqual(yield* metadata({ toString: 1 }), [])
  },

  *"a key exists once per run, step and name"(store) {
    const first = yield* save(store, { own: "k" })
    const others = [
      yield* save(store, { own: "k", run: undefined }),
      yield* save(store, { own: "k", step: "other" }),
      yield* save(store, { own: "k", name: "other" }),
      yield* save(store, { own: "j" })
    ]
    assert.ok(Option.isNone(yield* store.save(snapshot({ own: "k", state: "1" }), { ifKeyExists: "keep" })))
    assert.equal(Option.getOrThrow(yield* store.snapshot(first)).state, "{}")
    const second = yield* save(store, { own: "k", state: "2", labels: { other: "label" } })
    assert.ok(second > first)
    assert.ok(Option.isNone(yield* store.snapshot(first)))
    assert.deepEqual(keysOf(yield* store.snapshots({})), [second, ...others.reverse()])
    assert.deepEqual(keysOf(yield* store.snapshots({ labels: { repository: "shop" } })), others)
    const kept = yield* save(store, { own: "new" }, { ifKeyExists: "keep" })
    assert.ok(kept > second)
  },

  *"replaces and keeps only what no rewind revoked"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const gone = yield* save(store, { own: "k", seq: 5 }, { lease })
    yield* store.rewind(lease, entry(6), { after: 1, within: "" })
    const key = yield* save(store, { own: "k", seq: 7 }, { lease, ifKeyExists: "keep" })
    assert.deepEqual(keysOf(yield* store.snapshots({ rewound: true })), [key, gone])
  },

  *"saves several snapshots, all or none"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* save(store, { own: "k" })
    const saved = yield* store.saveAll(
      [
        { snapshot: snapshot({ name: "one" }) },
        { snapshot: snapshot({ own: "k" }), ifKeyExists: "keep" },
        { snapshot: snapshot({ own: "l", labels: { a: "1" } }), ifKeyExists: "replace" }
      ],
      lease
    )
    assert.deepEqual(saved.map(Option.isSome), [true, false, true])
    assert.deepEqual(keysOf(yield* store.snapshots({ labels: { a: "1" } })), [
      Option.getOrThrow(saved[2] ?? Option.none())
    ])
    assert.deepEqual(yield* store.saveAll([]), [])
    yield* TestClock.adjust("30 seconds")
    yield* open(store, "run-1", "b")
    yield* loses(store.saveAll([{ snapshot: snapshot() }, { snapshot: snapshot() }], lease))
    assert.equal((yield* store.snapshots({})).length, 3)
  },

  *"the labels of removed snapshots are forgotten"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const key = yield* save(store, { labels: { a: "1" } })
    yield* save(store, { labels: { a: "1" }, run: undefined })
    yield* store.remove([key])
    assert.equal((yield* store.snapshots({ labels: { a: "1" } })).length, 1)
    yield* save(store, { labels: { a: "1" } })
    yield* store.finish(lease, { status: "completed", exit: "{}" })
    yield* store.removeRuns([lease.key])
    assert.equal((yield* store.snapshots({ labels: { a: "1" }, rewound: true })).length, 1)
  },

  *"states share nothing with the bytes that were saved or read"(store) {
    const bytes = new Uint8Array([1, 2, 3])
    const key = yield* save(store, { state: bytes, encoding: "bytes" })
    bytes[0] = 9
    const read = Effect.map(store.snapshot(key), (found) => Option.getOrThrow(found).state)
    const first = yield* read
    assert.deepEqual(first, new Uint8Array([1, 2, 3]))
    assert.ok(first instanceof Uint8Array)
    first.fill(7)
    assert.deepEqual(yield* read, new Uint8Array([1, 2, 3]))
    const [listed] = yield* store.fullSnapshots({})
    assert.deepEqual(listed?.state, new Uint8Array([1, 2, 3]))
  },

  *"removes snapshots and never uses their keys again"(store) {
    const one = yield* save(store)
    const two = yield* save(store)
    assert.equal(yield* store.remove([two, two + 100]), 1)
    assert.deepEqual(keysOf(yield* store.snapshots({})), [one])
    assert.ok((yield* save(store)) > two)
  }
}
