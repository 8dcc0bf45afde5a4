import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Storage from "../../../storage/Storage.js"
import { type Contract, snapshot } from "../fixtures.js"
import { eventLoopTurn } from "../testClock.js"
import { eachAtOnce, range, reversed, together } from "./support.js"

const save = (store: Storage.Store, more: Partial<Storage.NewSnapshot>, options: Storage.SaveOptions = {}) =>
  store.save(snapshot(more), options)

const keyOf = (saved: Effect.Effect<Option.Option<number>, Storage.StorageError | Storage.LeaseLost>) =>
  Effect.map(saved, Option.getOrThrow)

const some = (saved: ReadonlyArray<Option.Option<number>>): ReadonlyArray<number> =>
  saved.flatMap((key) => (Option.isSome(key) ? [key.value] : []))

/** Values of one name in runs, and one that no run has. */
const places: ReadonlyArray<Partial<Storage.NewSnapshot>> = [
  { run: undefined, name: "shared" },
  { run: "run-1", name: "own" },
  { run: "run-2", name: "own" }
]

/** Snapshots that several callers save or remove at once. */
export const concurrentSnapshots: Contract = {
  *"of many saves after one snapshot at once, one succeeds in each place"(store) {
    let newest = places.map(() => 0)
    for (const state of ["{}", "x".repeat(20_000), "{}", "x".repeat(20_000), "{}"]) {
      const saved = yield* eachAtOnce(range(36), (i) =>
        save(store, { ...places[i % 3], state }, { after: newest[i % 3] })
      )
      newest = places.map((_, at) => {
        const keys = some(saved.filter((_, i) => i % 3 === at))
        assert.strictEqual(keys.length, 1)
        return keys[0] ?? 0
      })
      for (const [i, { name, run = null }] of places.entries()) {
        const found = yield* store.newest({ run, name })
        assert.strictEqual(Option.getOrThrow(found).key, newest[i])
      }
    }
  },

  *"values that are changed by many at once lose no change"(store) {
    // Each caller reads the newest value and saves the next one after it, until no other caller came first.
    const change = (caller: number) =>
      Effect.gen(function* () {
        const last = yield* store.newest({ run: null, name: "list" })
        const { key, state } = Option.getOrElse(last, () => ({ key: 0, state: "" }))
        return yield* save(store, { run: undefined, name: "list", state: `${state} ${caller}` }, { after: key })
      })
    yield* eachAtOnce(range(6), (caller) =>
      Effect.forEach(
        range(4),
        () => Effect.repeat(Effect.zipLeft(change(caller), eventLoopTurn), { until: Option.isSome }),
        { discard: true }
      )
    )
    const last = Option.getOrThrow(yield* store.newest({ run: null, name: "list" }))
    const expected = range(24).map((i) => String(Math.floor(i / 4)))
    assert.deepStrictEqual(String(last.state).trim().split(" ").sort(), expected)
  },

  *"of many saves under one key at once, the last is left or the first is kept"(store) {
    for (const round of range(5)) {
      const replaced = { own: `replaced-${round}`, state: round % 2 === 0 ? "{}" : "x".repeat(20_000) }
      const kept = { own: `kept-${round}` }
      const [replacing, keeping] = yield* Effect.all(
        [
          eachAtOnce(range(16), (i) => save(store, { ...replaced, at: i, labels: { i: `${i % 2}` } })),
          eachAtOnce(range(16), (i) => save(store, { ...kept, at: i }, { ifKeyExists: "keep" }))
        ],
        { concurrency: "unbounded" }
      )
      const [left, first] = yield* Effect.forEach([replaced, kept], ({ own }) =>
        store.snapshots({ own: [own], rewound: true })
      )
      assert.deepStrictEqual(
        left?.map(({ key }) => key),
        [Math.max(...some(replacing))]
      )
      assert.strictEqual(some(replacing).length, 16)
      assert.deepStrictEqual(
        first?.map(({ key }) => key),
        some(keeping)
      )
    }
  },

  *"of many saves of several keys together, each key is left once"(store) {
    const keys = range(12).map((i) => `key-${i}`)
    const saves = (own: ReadonlyArray<string>, labels: Readonly<Record<string, string>>) =>
      store.saveAll(own.map((own) => ({ snapshot: snapshot({ own, run: undefined, labels }) })))
    for (const round of range(4)) {
      // In another order: they must not wait for each other in a circle.
      yield* together(range(8).map((i) => saves(i % 2 === 0 ? keys : reversed(keys), { group: `${round}-${i}` })))
      const left = yield* store.snapshots({ run: null })
      assert.deepStrictEqual(left.map(({ own }) => own).sort(), [...keys].sort())
      // All or none: one of them was the last.
      assert.strictEqual(new Set(left.map(({ labels }) => labels.group)).size, 1)
    }
  },

  *"snapshots that are saved one after the other have rising keys"(store) {
    let highest = 0
    const saved: Array<number> = []
    yield* eachAtOnce(range(12), (caller) =>
      Effect.forEach(
        range(12),
        (i) =>
          Effect.gen(function* () {
            const before = highest
            const key = yield* keyOf(save(store, { name: `${caller % 3}`, at: i % 2 === 0 ? 1_000 : 1 }))
            assert.ok(key > before, `${key} was saved after ${before} was there.`)
            highest = Math.max(highest, key)
            saved.push(key)
          }),
        { discard: true }
      )
    )
    assert.strictEqual(new Set(saved).size, 144)
    const found = yield* store.snapshots({ limit: 1_000, order: "oldest" })
    assert.deepStrictEqual(
      found.map(({ key }) => key),
      [...saved].sort((a, b) => a - b)
    )
  },

  *"snapshots that several remove at once are counted once"(store) {
    for (const _ of range(4)) {
      const keys = yield* eachAtOnce(range(60), (i) => keyOf(save(store, { labels: { i: `${i}`, all: "1" } })))
      const removed = yield* eachAtOnce([keys, reversed(keys), keys.slice(10), reversed(keys.slice(0, 50))], (keys) =>
        store.remove(keys)
      )
      assert.strictEqual(
        removed.reduce((sum, count) => sum + count, 0),
        60
      )
      assert.deepStrictEqual(yield* store.snapshots({ labels: { all: "1" } }), [])
    }
  }
}
