import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../storage/Storage.js"
import { type Contract, entry, failure, ids, open, opened } from "./fixtures.js"

/** Records, counters, and the usage of the store. */
export const recordContract: Contract = {
  *"creates a record once and changes it only at the expected revision"(store) {
    yield* TestClock.setTime(1_000)
    const first = Option.getOrThrow(yield* store.write(failure("f1"), [{ name: "failures", add: 1 }]))
    const { revision: _, ...given } = failure("f1")
    assert.deepStrictEqual(first, { ...given, key: first.key, at: 1_000, updatedAt: 1_000, revision: 1 })
    assert.deepStrictEqual(yield* store.write(failure("f1"), [{ name: "failures", add: 1 }]), Option.none())
    yield* TestClock.setTime(2_000)
    const changed = failure("f1", { status: "resolved", revision: 1, body: "{}" })
    const second = Option.getOrThrow(yield* store.write(changed, [{ name: "resolved", add: 1 }]))
    assert.deepStrictEqual(second, { ...first, status: "resolved", body: "{}", revision: 2, updatedAt: 2_000 })
    assert.deepStrictEqual(yield* store.write(changed, [{ name: "resolved", add: 1 }]), Option.none())
    assert.deepStrictEqual(yield* store.findRecord("failure", "f1"), Option.some(second))
    assert.deepStrictEqual(yield* store.findRecord("recovery", "f1"), Option.none())
    assert.deepStrictEqual(yield* store.counters(""), [
      { name: "failures", value: 1 },
      { name: "resolved", value: 1 }
    ])
  },

  *"one of many concurrent changes of a record succeeds"(store) {
    yield* store.write(failure("f1"), [])
    const changes = Array.from({ length: 20 }, (_, i) => failure("f1", { revision: 1, status: `s${i}` }))
    const written = yield* Effect.forEach(changes, (change) => store.write(change, [{ name: "changes", add: 1 }]), {
      concurrency: "unbounded"
    })
    assert.strictEqual(written.filter(Option.isSome).length, 1)
    assert.deepStrictEqual(yield* store.counters("changes"), [{ name: "changes", value: 1 }])
  },

  *"lists records newest first, page by page, by query"(store) {
    yield* store.write(failure("a"), [])
    yield* store.write(failure("b", { subject: "run-2", scope: "blog" }), [])
    yield* store.write(failure("a", { kind: "recovery", subject: "a", status: "failed" }), [])
    yield* TestClock.adjust("1 minute")
    yield* store.write(failure("c", { status: "resolved" }), [])
    yield* store.write(failure("a", { revision: 1, labels: {} }), [])
    const list = (query: Omit<Storage.RecordQuery, "kind">) => store.records({ kind: "failure", ...query })
    const all = yield* list({})
    assert.deepStrictEqual(ids(all), ["c", "b", "a"])
    assert.deepStrictEqual(ids(yield* list({ limit: 1 })), ["c"])
    assert.deepStrictEqual(ids(yield* list({ limit: 0 })), [])
    assert.deepStrictEqual(ids(yield* list({ before: all[0]?.key })), ["b", "a"])
    assert.deepStrictEqual(ids(yield* list({ subject: "run-1" })), ["c", "a"])
    assert.deepStrictEqual(ids(yield* list({ scope: "blog" })), ["b"])
    assert.deepStrictEqual(ids(yield* list({ status: "open" })), ["b", "a"])
    assert.deepStrictEqual(ids(yield* list({ unchangedSince: 59_999 })), ["b"])
    assert.deepStrictEqual(ids(yield* store.records({ kind: "recovery", status: "failed" })), ["a"])
    const keys = all.filter(({ id }) => id !== "b").map(({ key }) => key)
    assert.strictEqual(yield* store.removeRecords([...keys, 999_999]), 2)
    assert.deepStrictEqual(ids(yield* list({})), ["b"])
    assert.deepStrictEqual(ids(yield* store.records({ kind: "recovery" })), ["a"])
  },

  *"filters records by properties of their body before the limit"(store) {
    yield* store.write(failure("old", { body: `{"severity":"critical","count":1,"at":{"x":1}}` }), [])
    yield* store.write(failure("text", { body: `{"severity":"low","count":"1"}` }), [])
    yield* store.write(failure("none", { body: "not JSON" }), [])
    const list = (body: object) =>
      Effect.map(store.records({ kind: "failure", body: JSON.stringify(body), limit: 1 }), ids)
    assert.deepStrictEqual(yield* list({ severity: "critical" }), ["old"])
    assert.deepStrictEqual(yield* list({ severity: "critical", at: { x: 1 } }), ["old"])
    assert.deepStrictEqual(yield* list({ count: 1 }), ["old"])
    assert.deepStrictEqual(yield* list({ count: "1" }), ["text"])
    assert.deepStrictEqual(yield* list({ severity: "critical", count: 2 }), [])
    assert.deepStrictEqual(yield* list({ toString: 1 }), [])
  },

  *"adds to counters, finds them by prefix, and omits those at 0"(store) {
    const odd = "day/ü%_'\n"
    yield* store.count([
      { name: odd, add: 2 },
      { name: "day/1", add: 1 },
      { name: "days", add: 1 },
      { name: "day/1", add: 4 }
    ])
    yield* Effect.forEach([1, 2, 3], (add) => store.count([{ name: "day/2", add }]), { concurrency: "unbounded" })
    assert.deepStrictEqual(yield* store.counters("day/"), [
      { name: "day/1", value: 5 },
      { name: "day/2", value: 6 },
      { name: odd, value: 2 }
    ])
    yield* store.count([{ name: "day/1", add: -5 }])
    assert.deepStrictEqual(yield* store.counters("day/1"), [])
  },
  *"measures its usage"(store) {
    const empty = yield* store.usage
    assert.deepStrictEqual({ ...empty, bytes: 0 }, { bytes: 0, runs: 0, lines: 0, snapshots: 0, records: 0 })
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.append(lease, [entry(1, { payload: "x".repeat(100_000) }), entry(2)])
    yield* store.write(failure("f1"), [])
    yield* store.write(failure("f1", { revision: 1 }), [])
    const used = yield* store.usage
    assert.deepStrictEqual({ ...used, bytes: 0 }, { bytes: 0, runs: 1, lines: 2, snapshots: 0, records: 1 })
    assert.ok(used.bytes >= empty.bytes + 90_000)
  }
}
