import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../storage/Storage.js"
import { type Check, entry, open, opened, request } from "./fixtures.js"

/** What a store must do with runs, their leases and their journals. */
export const runContract: Readonly<Record<string, Check>> = {
  "creates a run with everything it was given": (store) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(5_000)
      const result = yield* open(store, "run-1", "a")
      assert.strictEqual(result._tag, "Created")
      const run = Option.getOrThrow(yield* store.find("run-1"))
      assert.deepStrictEqual(run, {
        ...request("run-1"),
        key: run.key,
        createdAt: 5_000,
        token: 1,
        owner: "a",
        leaseUntil: 35_000,
        dueAt: 5_000,
        waiting: undefined,
        outcome: undefined
      })
      assert.deepStrictEqual(opened(result), { key: run.key, run: "run-1", token: 1, owner: "a" })
    }),

  "knows nothing of a run that was not opened": (store) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* store.find("nobody"), Option.none())
      assert.deepStrictEqual(yield* store.journal(999), [])
    }),

  "lets nobody in while the lease lives, and somebody when it has ended": (store) =>
    Effect.gen(function* () {
      yield* open(store, "run-1", "a")
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Held")
      yield* TestClock.adjust("1 second")
      const claimed = yield* open(store, "run-1", "b")
      assert.strictEqual(claimed._tag, "Claimed")
      assert.strictEqual(opened(claimed).token, 2)
    }),

  "a renewed lease lives on, a released one ends at once": (store) =>
    Effect.gen(function* () {
      const lease = opened(yield* open(store, "run-1", "a"))
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(yield* store.renew([lease], 30_000), [])
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Held")
      yield* store.release("run-1", "a")
      assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Claimed")
    }),

  "renewing names the leases that are lost": (store) =>
    Effect.gen(function* () {
      const kept = opened(yield* open(store, "kept", "a"))
      const lost = opened(yield* open(store, "lost", "a"))
      yield* store.release("lost", "a")
      yield* open(store, "lost", "b")
      assert.deepStrictEqual(yield* store.renew([kept, lost], 30_000), [lost])
    }),

  "releasing leaves a lease of somebody else alone": (store) =>
    Effect.gen(function* () {
      yield* open(store, "run-1", "a")
      yield* store.release("run-1", "b")
      yield* store.release("no such run", "a")
      assert.strictEqual((yield* open(store, "run-1", "c"))._tag, "Held")
    }),

  "keeps the journal in order, with empty and odd payloads": (store) =>
    Effect.gen(function* () {
      const lease = opened(yield* open(store, "run-1", "a"))
      const entries = [
        entry(1, { payload: undefined }),
        entry(2, { payload: "" }),
        entry(3, { payload: `"\\u0000 ' \\" 🙂 ${"x".repeat(100_000)}"`, step: "a/b#2 'quoted'" }),
        entry(7)
      ]
      for (const one of entries) yield* store.append(lease, [one])
      assert.deepStrictEqual(yield* store.journal(lease.key), entries)
    }),

  "keeps the journals of runs apart": (store) =>
    Effect.gen(function* () {
      const one = opened(yield* open(store, "one", "a"))
      const two = opened(yield* open(store, "two", "a"))
      yield* store.append(one, [entry(1)])
      yield* store.append(two, [entry(1, { step: "other" })])
      assert.deepStrictEqual(
        (yield* store.journal(one.key)).map(({ step }) => step),
        ["charge"]
      )
      assert.deepStrictEqual(
        (yield* store.journal(two.key)).map(({ step }) => step),
        ["other"]
      )
    }),

  "refuses the writes of a lease that was taken over": (store) =>
    Effect.gen(function* () {
      const old = opened(yield* open(store, "run-1", "a"))
      yield* store.append(old, [entry(1)])
      yield* TestClock.adjust("30 seconds")
      const current = opened(yield* open(store, "run-1", "b"))
      const append = yield* Effect.flip(store.append(old, [entry(2)]))
      assert.strictEqual(append._tag, "LeaseLost")
      const finish = yield* Effect.flip(store.finish(old, { status: "failed", exit: "late" }))
      assert.strictEqual(finish._tag, "LeaseLost")
      yield* store.append(current, [entry(2)])
      assert.strictEqual((yield* store.journal(current.key)).length, 2)
    }),

  "takes nothing more from a lease that was released or has ended": (store) =>
    Effect.gen(function* () {
      const released = opened(yield* open(store, "released", "a"))
      yield* store.release("released", "a")
      const finished = opened(yield* open(store, "finished", "a"))
      yield* store.finish(finished, { status: "completed", exit: "" })
      for (const lease of [released, finished]) {
        assert.strictEqual((yield* Effect.flip(store.append(lease, [entry(1)])))._tag, "LeaseLost")
        assert.deepStrictEqual(yield* store.renew([lease], 30_000), [lease])
      }
      assert.strictEqual((yield* Effect.flip(store.finish(released, { status: "failed", exit: "" })))._tag, "LeaseLost")
      assert.strictEqual((yield* open(store, "released", "b"))._tag, "Claimed")
    }),

  "the first outcome is the outcome, and the late one adopts it": (store) =>
    Effect.gen(function* () {
      const old = opened(yield* open(store, "run-1", "a"))
      yield* TestClock.adjust("30 seconds")
      const current = opened(yield* open(store, "run-1", "b"))
      const first = yield* store.finish(current, { status: "completed", exit: "1" })
      assert.deepStrictEqual(first, { status: "completed", exit: "1", at: 30_000 })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* store.finish(old, { status: "failed", exit: "2" }), first)
      const again = yield* open(store, "run-1", "c")
      assert.strictEqual(again._tag, "Finished")
      assert.deepStrictEqual(again.run.outcome, first)
    }),

  "an id belongs to its workflow and input": (store) =>
    Effect.gen(function* () {
      yield* open(store, "run-1", "a")
      yield* TestClock.adjust("1 hour")
      const before = yield* store.find("run-1")
      assert.strictEqual((yield* open(store, "run-1", "b", { workflow: "refund" }))._tag, "Different")
      assert.strictEqual((yield* open(store, "run-1", "b", { input: "2" }))._tag, "Different")
      assert.deepStrictEqual(yield* store.find("run-1"), before)
    }),

  "of many who open one run at once, one gets it": (store) =>
    Effect.gen(function* () {
      const owners = Array.from({ length: 20 }, (_, i) => `owner-${i}`)
      const results = yield* Effect.forEach(owners, (owner) => open(store, "run-1", owner), {
        concurrency: "unbounded"
      })
      assert.strictEqual(results.filter(({ _tag }) => _tag === "Created").length, 1)
      assert.strictEqual(results.filter(({ _tag }) => _tag === "Held").length, 19)
    }),

  "concurrent appends all arrive": (store) =>
    Effect.gen(function* () {
      const leases = yield* Effect.forEach(Array.from({ length: 20 }), (_, i) =>
        Effect.map(open(store, `run-${i}`, `owner-${i}`), opened)
      )
      yield* Effect.forEach(
        leases,
        (lease) => Effect.forEach([1, 2, 3], (seq) => store.append(lease, [entry(seq)]), { concurrency: 3 }),
        { concurrency: "unbounded" }
      )
      for (const lease of leases) assert.strictEqual((yield* store.journal(lease.key)).length, 3)
    }),

  "lists newest first, by workflow and status, page by page": (store) =>
    Effect.gen(function* () {
      const done = opened(yield* open(store, "done", "a"))
      yield* store.finish(done, { status: "completed", exit: "" })
      const broken = opened(yield* open(store, "broken", "a", { workflow: "refund" }))
      yield* store.finish(broken, { status: "failed", exit: "" })
      yield* open(store, "gone", "a")
      yield* TestClock.adjust("31 seconds")
      yield* open(store, "alive", "a")
      const ids = (query: Storage.Query) => Effect.map(store.list(query), (runs) => runs.map(({ id }) => id))
      assert.deepStrictEqual(yield* ids({}), ["alive", "gone", "broken", "done"])
      assert.deepStrictEqual(yield* ids({ workflow: "checkout" }), ["alive", "gone", "done"])
      for (const [status, id] of [
        ["completed", "done"],
        ["failed", "broken"],
        ["stopped", "gone"],
        ["running", "alive"]
      ] as const) {
        assert.deepStrictEqual(yield* ids({ status }), [id])
      }
      const first = yield* store.list({ limit: 2 })
      assert.deepStrictEqual(yield* ids({ before: first[1]?.key ?? 0, limit: 2 }), ["broken", "done"])
    }),

  "what it hands out is a copy": (store) =>
    Effect.gen(function* () {
      const labels = { repository: "shop" }
      const lease = opened(yield* open(store, "run-1", "a", { labels }))
      labels.repository = "changed"
      const journal = yield* store.journal(lease.key)
      yield* store.append(lease, [entry(1)])
      assert.strictEqual(journal.length, 0)
      assert.deepStrictEqual(Option.getOrThrow(yield* store.find("run-1")).labels, { repository: "shop" })
    })
}
