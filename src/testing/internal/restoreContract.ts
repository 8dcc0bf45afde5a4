import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Storage from "../../storage/Storage.js"
import {
  type Contract,
  enqueued,
  entry,
  failure,
  finished,
  ids,
  listed,
  open,
  opened,
  snapshot,
  suspended
} from "./fixtures.js"

/** A run that waits, one that failed, one that is due, with all that can belong to them. */
const fill = (store: Storage.Store) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(1_000)
    yield* finished(store, "run-2", undefined, "exhausted")
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.append(lease, [entry(1), entry(3, { payload: "x".repeat(1_000) }), entry(4, { payload: undefined })])
    yield* store.append(lease, [entry(5, { step: "odd\u0001 ünd \u{1f600}", payload: "\u0001\u0002" })])
    yield* store.save(snapshot({ seq: 1, own: "k", encoding: "bytes", state: new Uint8Array([0, 1, 255]) }), { lease })
    yield* store.save(snapshot({ seq: 4, labels: { "a\u0001b": "1", "7": "x" } }), { lease })
    yield* store.rewind(lease, entry(6), { after: 3, within: "" })
    yield* store.save(
      snapshot({ run: undefined, name: "shared", digest: "", encoding: "bytes", state: new Uint8Array([0, 1, 255]) }),
      {}
    )
    yield* TestClock.setTime(2_000)
    yield* store.signal("run-1", "b", "1")
    yield* store.signal("run-1", "a", "2")
    const waiting = `[{"kind":"question","since":"1970-01-01T00:00:01.000Z"}]`
    yield* store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 1, waiting })
    yield* suspended(store, "run-3", { dueAt: 9_000 })
    yield* open(store, "run-4", "a")
    yield* store.release("a")
    yield* controlled(store)
    yield* store.write(failure("f1"), [{ name: "failures", add: 3 }])
    yield* store.write(failure("f1", { revision: 1, status: "resolved" }), [{ name: "gone", add: 0 }])
    yield* store.write(failure("f2", { kind: "recovery", labels: {} }), [{ name: "resolved", add: -1 }])
  })

/** Runs that are held, queued, cancelled or continued, and a child of another one. */
const controlled = (store: Storage.Store) =>
  Effect.gen(function* () {
    const queue = { name: "encode", key: "tenant", priority: -2 }
    yield* enqueued(store, "queued", { queue, parent: { run: "run-3", signal: "child:queued" } })
    yield* enqueued(store, "held", { delay: 5_000, labels: {} })
    yield* store.hold("held", { id: "mine", reason: "why\u0001" })
    yield* enqueued(store, "to be cancelled", { queue })
    yield* store.cancel("to be cancelled", `{"reason":"none"}`)
    yield* enqueued(store, "cancelled", { parent: { run: "no-such-run", signal: "" } })
    yield* store.terminate("cancelled", { status: "cancelled", exit: "{}" })
    const lease = opened(yield* open(store, "continued", "a"))
    yield* store.append(lease, [entry(1), entry(2)])
    for (const key of ["x", "y"]) yield* store.signal("continued", key, key)
    yield* store.continueAs(lease, { input: "2", entry: entry(3), read: ["x"] })
    yield* store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 1 })
  })

/** All rows, the oldest first. */
const rowsOf = (store: Storage.Store): Effect.Effect<ReadonlyArray<Storage.StoredRow>, Storage.StorageError> =>
  Effect.gen(function* () {
    const runs = yield* Effect.forEach([...(yield* store.list({}))].reverse(), (run) =>
      Effect.zipWith(
        store.journal(run.key),
        store.signals(run.key),
        (journal, signals): Storage.StoredRow => ({ _tag: "Run", run, journal, signals })
      )
    )
    const snapshots = yield* store.fullSnapshots({ order: "oldest", rewound: true })
    const records = [...(yield* store.records({}))].reverse()
    return [
      ...runs,
      ...snapshots.map((snapshot): Storage.StoredRow => ({ _tag: "Snapshot", snapshot })),
      ...records.map((record): Storage.StoredRow => ({ _tag: "Record", record })),
      ...(yield* store.counters("")).map((counter): Storage.StoredRow => ({ _tag: "Counter", counter }))
    ]
  })

/** The store's own keys are those of its own rows. */
const withoutKeys = (rows: ReadonlyArray<Storage.StoredRow>) =>
  rows.map((row) => {
    if (row._tag === "Run") return { ...row, run: { ...row.run, key: 0 } }
    return row._tag === "Record" ? { ...row, record: { ...row.record, key: 0 } } : row
  })

const other = Effect.sync(Storage.memoryStore)

const refuses = (store: Storage.Store, row: Storage.StoredRow, named: string) =>
  Effect.map(Effect.flip(store.restore([row])), (error) => {
    assert.strictEqual(error._tag, "RestoreConflict")
    if (error._tag === "RestoreConflict") assert.strictEqual(error.row, named)
  })

/** Rows on their way from one store to another. */
export const restoreContract: Contract = {
  *"takes all rows of another store, and gives them back, as they are"(store) {
    const source = yield* other
    yield* fill(source)
    const rows = yield* rowsOf(source)
    assert.strictEqual(yield* store.restore(rows), rows.length)
    const stored = yield* rowsOf(store)
    assert.deepStrictEqual(withoutKeys(stored), withoutKeys(rows))
    assert.deepStrictEqual(yield* store.check, [])
    const back = yield* other
    yield* back.restore(stored)
    assert.deepStrictEqual(withoutKeys(yield* rowsOf(back)), withoutKeys(rows))
  },

  *"makes a run due again whose request to cancel is repeated"(store) {
    const source = yield* other
    yield* suspended(source, "run-1")
    const run = Option.getOrThrow(yield* source.find("run-1"))
    // A process that knows no such requests has suspended the run.
    const left = { ...run, cancel: `{"reason":"first"}`, dueAt: Storage.untilSignalled }
    yield* store.restore([{ _tag: "Run", run: left, journal: [], signals: [] }])
    assert.deepStrictEqual(yield* listed(store, { status: "stopped" }), [])
    yield* TestClock.adjust("1 second")
    assert.strictEqual(yield* store.cancel("run-1", `{"reason":"second"}`), "Taken")
    const due = Option.getOrThrow(yield* store.find("run-1"))
    assert.deepStrictEqual([due.cancel, due.dueAt], [left.cancel, 1_000])
    assert.deepStrictEqual(yield* listed(store, { status: "stopped" }), ["run-1"])
  },

  *"continues where the other store stopped"(store) {
    const source = yield* other
    yield* fill(source)
    yield* store.restore(yield* rowsOf(source))
    const claimed = yield* store.claimDue(
      { workflows: [{ workflow: "checkout", version: "1" }], queues: [{ name: "encode" }], limit: 9 },
      "b",
      30_000
    )
    assert.deepStrictEqual(claimed.map((due) => [due.run.id, due.run.token]).sort(), [
      ["queued", 1],
      ["run-1", 2],
      ["run-4", 2],
      ["to be cancelled", 1]
    ])
    const first = claimed.find(({ run }) => run.id === "run-1")
    if (first?._tag !== "Claimed") return assert.fail("no lease")
    yield* store.append(first.lease, [entry(7)])
    assert.strictEqual((yield* store.journal(first.run.key)).length, 6)
    assert.strictEqual(yield* store.signal("run-1", "a", "3"), "Taken")
    assert.strictEqual(yield* store.signal("run-1", "c", "3"), "Sent")
    assert.deepStrictEqual(
      (yield* store.signals(first.run.key, 2)).map(({ key }) => key),
      ["c"]
    )
    assert.deepStrictEqual(yield* listed(store, { status: "exhausted" }), ["run-2"])
    assert.deepStrictEqual(yield* listed(store, { status: "held" }), ["held"])
    assert.deepStrictEqual(yield* listed(store, { parent: "run-3" }), ["queued"])
    assert.deepStrictEqual(yield* listed(store, { labels: { commit: "abc" }, queue: "encode" }), [
      "to be cancelled",
      "queued"
    ])
    assert.deepStrictEqual(ids(yield* store.records({ body: `{"id":"f1"}` })), ["f1"])
    assert.ok(Option.isSome(yield* store.write(failure("f1", { revision: 2 }), [{ name: "failures", add: 1 }])))
    assert.deepStrictEqual(yield* store.counters("failures"), [{ name: "failures", value: 4 }])
  },

  *"finds restored checkpoints by their labels, and numbers later ones above them"(store) {
    const key = 5_000_000
    const row = { ...snapshot({ labels: { commit: "abc", job: "lint" } }), key, rewound: false }
    yield* store.restore([
      { _tag: "Snapshot", snapshot: row },
      { _tag: "Snapshot", snapshot: { ...row, key: 7 } }
    ])
    const found = yield* store.snapshots({ labels: { job: "lint", commit: "abc" } })
    assert.deepStrictEqual(
      found.map(({ key }) => key),
      [key, 7]
    )
    const next = Option.getOrThrow(yield* store.save(snapshot(), {}))
    assert.ok(next > key, `${next} is not above ${key}`)
    yield* store.restore([{ _tag: "Snapshot", snapshot: { ...row, key: 8 } }])
    assert.ok(Option.getOrThrow(yield* store.save(snapshot(), {})) > next)
  },

  *"leaves rows that it has already"(store) {
    const source = yield* other
    yield* fill(source)
    const rows = yield* rowsOf(source)
    yield* store.restore(rows.slice(0, 5))
    assert.strictEqual(yield* store.restore(rows), rows.length - 5)
    const before = yield* rowsOf(store)
    assert.strictEqual(yield* store.restore([...rows, ...rows]), 0)
    assert.deepStrictEqual(yield* rowsOf(store), before)
    assert.deepStrictEqual(withoutKeys(before), withoutKeys(rows))
  },

  *"refuses all rows if one is there with other content, and names it"(store) {
    const source = yield* other
    yield* fill(source)
    const rows = yield* rowsOf(source)
    yield* store.restore(rows)
    const before = yield* rowsOf(store)
    const added = { ...snapshot(), key: 900, rewound: false }
    for (const row of rows) {
      if (row._tag === "Run") {
        const named = `run "${row.run.id}"`
        yield* refuses(store, { ...row, run: { ...row.run, token: 9 } }, named)
        yield* refuses(store, { ...row, journal: [...row.journal, entry(9)] }, named)
        yield* refuses(store, { ...row, signals: [...row.signals, { key: "z", payload: "1", at: 1 }] }, named)
      } else if (row._tag === "Snapshot") {
        const { key, name } = row.snapshot
        const changed = { ...row, snapshot: { ...row.snapshot, state: "changed" } }
        yield* refuses(store, changed, `checkpoint "${name}" (${key})`)
        yield* refuses(store, { ...row, snapshot: { ...row.snapshot, name: "x" } }, `checkpoint "${name}" (${key})`)
      } else if (row._tag === "Record") {
        const { id, kind } = row.record
        const changed = { ...row, record: { ...row.record, revision: 7 } }
        yield* Effect.flip(store.restore([{ _tag: "Snapshot", snapshot: added }, changed]))
        yield* refuses(store, changed, `record of ${kind} "${id}"`)
      } else {
        const { name } = row.counter
        yield* refuses(store, { ...row, counter: { name, value: 99 } }, `counter "${name}"`)
      }
    }
    assert.deepStrictEqual(yield* rowsOf(store), before)
  },

  *"restores that overlap write each row once"(store) {
    const source = yield* other
    yield* fill(source)
    const rows = yield* rowsOf(source)
    const written = yield* Effect.all(
      Array.from({ length: 5 }, () => store.restore(rows)),
      { concurrency: "unbounded" }
    )
    assert.strictEqual(
      written.reduce((sum, count) => sum + count, 0),
      rows.length
    )
    assert.deepStrictEqual(withoutKeys(yield* rowsOf(store)), withoutKeys(rows))
  }
}
