import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Storage from "../../../storage/Storage.js"
import { type Contract, failure } from "../fixtures.js"
import { eventLoopTurn } from "../testClock.js"
import { after, eachAtOnce, range, reversed } from "./support.js"

const counterNames = range(12).map((i) => `counter-${i}`)

const valuesOf = (store: Storage.Store, prefix: string) =>
  Effect.map(store.counters(prefix), (counters) => counters.map(({ name, value }) => [name, value] as const))

/** Records and counters that several callers change at once. */
export const concurrentRecords: Contract = {
  *"of many that create one record at once, one does, and counts it"(store) {
    for (const round of range(4)) {
      const written = yield* eachAtOnce(range(80), (i) =>
        store.write(failure(`${round}-${i % 8}`, { status: `s${i}` }), [{ name: `created-${round}`, add: 1 }])
      )
      assert.deepStrictEqual(yield* valuesOf(store, `created-${round}`), [[`created-${round}`, 8]])
      for (const at of range(8)) {
        const [row, ...others] = written.filter((_, i) => i % 8 === at).flatMap((one) => Option.toArray(one))
        assert.deepStrictEqual(others, [])
        assert.deepStrictEqual(yield* store.findRecord("failure", `${round}-${at}`), Option.fromNullable(row))
      }
    }
  },

  *"of many changes of one revision at once, one succeeds, and is counted once"(store) {
    yield* eachAtOnce(range(8), (i) => store.write(failure(`f${i}`), []))
    for (const revision of [1, 2, 3, 4]) {
      const written = yield* eachAtOnce(range(80), (i) =>
        store.write(failure(`f${i % 8}`, { revision, status: `s${i}`, body: `{"long":"${"x".repeat(5_000)}"}` }), [
          // In another order: they must not wait for each other in a circle.
          ...(i % 2 === 0 ? counterNames : reversed(counterNames)).map((name) => ({ name, add: 1 }))
        ])
      )
      assert.strictEqual(written.filter(Option.isSome).length, 8)
      assert.deepStrictEqual(
        (yield* valuesOf(store, "counter-")).map(([, value]) => value),
        counterNames.map(() => 8 * revision)
      )
    }
  },

  *"a record that many change one after the other loses no change"(store) {
    yield* store.write(failure("list", { body: "[]" }), [])
    const change = (caller: number) =>
      Effect.gen(function* () {
        const { body, revision } = Option.getOrThrow(yield* store.findRecord("failure", "list"))
        const changed = JSON.stringify([...JSON.parse(body), caller])
        return yield* store.write(failure("list", { revision, body: changed }), [{ name: "changes", add: 1 }])
      })
    yield* eachAtOnce(range(6), (caller) =>
      Effect.forEach(
        range(4),
        () => Effect.repeat(Effect.zipLeft(change(caller), eventLoopTurn), { until: Option.isSome }),
        { discard: true }
      )
    )
    const { body, revision } = Option.getOrThrow(yield* store.findRecord("failure", "list"))
    assert.strictEqual(revision, 25)
    assert.deepStrictEqual(
      JSON.parse(body).sort(),
      range(24).map((i) => Math.floor(i / 4))
    )
    assert.deepStrictEqual(yield* valuesOf(store, "changes"), [["changes", 24]])
  },

  *"counters that many add to at once have the exact sum"(store) {
    for (const round of range(4)) {
      const names = counterNames.map((name) => `${round}/${name}`)
      yield* eachAtOnce(range(50), (i) => {
        const counts = (i % 2 === 0 ? names : reversed(names)).map((name, at) => ({ name, add: at % 2 === 0 ? 3 : -1 }))
        // One call may add to a counter twice.
        return store.count([...counts, { name: names[i % 12] ?? "", add: 100 }])
      })
      const added = (at: number) => 100 * range(50).filter((i) => i % 12 === at).length
      // Even places get 3 from one order and -1 from the other.
      const expected = names.map((name, at) => [name, 50 + added(at)] as const)
      assert.deepStrictEqual(new Map(yield* valuesOf(store, `${round}/`)), new Map(expected))
    }
  },

  *"a record that is changed while it is removed is gone"(store) {
    for (const round of range(4)) {
      const rows = yield* eachAtOnce(range(30), (i) =>
        Effect.map(store.write(failure(`${round}-${i}`), []), Option.getOrThrow)
      )
      const keys = rows.map(({ key }) => key)
      const [removed, changed] = yield* Effect.all(
        [
          eachAtOnce([keys, reversed(keys), keys.slice(10)], (keys, i) =>
            after(store, i + round, store.removeRecords(keys))
          ),
          eachAtOnce(rows, ({ id }, i) =>
            after(store, i % 4, store.write(failure(id, { revision: 1 }), [{ name: `${round}`, add: 1 }]))
          )
        ],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(
        removed.reduce((sum, count) => sum + count, 0),
        30
      )
      assert.deepStrictEqual(yield* store.records({ kind: "failure" }), [])
      const count = changed.filter(Option.isSome).length
      assert.deepStrictEqual(yield* valuesOf(store, `${round}`), count === 0 ? [] : [[`${round}`, count]])
    }
  }
}
