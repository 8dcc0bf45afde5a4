import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../storage/Storage.js"
import { type Contract, enqueued, finished, ids, listed, open, suspended } from "./fixtures.js"

/** The ids that a list shows, which are the same page by page. */
const found = (store: Storage.Store, query: Storage.Query) =>
  Effect.gen(function* () {
    const all = yield* listed(store, query)
    for (const limit of [1, 2]) {
      const paged: Array<string> = []
      for (let before: number | undefined; ; ) {
        const page: ReadonlyArray<Storage.Run> = yield* store.list({ ...query, before, limit })
        paged.push(...ids(page))
        before = page.at(-1)?.key
        if (page.length < limit) break
      }
      assert.deepStrictEqual(paged, all)
    }
    return all
  })

const place = (name: string, key = "") => ({ queue: { name, key, priority: 0 } })
const child = (run: string) => ({ parent: { run, signal: "child" } })

/** The filters of lists. Each is applied before the limit. */
export const listContract: Contract = {
  *"lists runs by their labels, which are compared as a whole"(store) {
    const odd = { "": "", "a'b\"": "ü\u{1f600}", __proto__x: "1" }
    yield* finished(store, "done", { labels: { repository: "shop", commit: "abc" } })
    yield* suspended(store, "waits", {}, { labels: { repository: "shop", commit: "def" } })
    yield* open(store, "runs", "a", { labels: { repository: "mail" } })
    yield* enqueued(store, "odd", { labels: odd })
    yield* enqueued(store, "none", { labels: {} })
    const by = (labels: Record<string, string>, more?: Storage.Query) => found(store, { labels, ...more })
    assert.deepStrictEqual(yield* by({}), ["none", "odd", "runs", "waits", "done"])
    assert.deepStrictEqual(yield* by({ repository: "shop" }), ["waits", "done"])
    assert.deepStrictEqual(yield* by({ commit: "abc", repository: "shop" }), ["done"])
    assert.deepStrictEqual(yield* by({ repository: "mail", commit: "abc" }), [])
    assert.deepStrictEqual(yield* by({ repository: "sho" }), [])
    assert.deepStrictEqual(yield* by({ repository: "SHOP" }), [])
    assert.deepStrictEqual(yield* by({ toString: "1" }), [])
    assert.deepStrictEqual(yield* by({ "": "" }), ["odd"])
    assert.deepStrictEqual(yield* by(odd), ["odd"])
    assert.deepStrictEqual(yield* by({ repository: "shop" }, { status: "completed" }), ["done"])
    assert.deepStrictEqual(yield* by({ repository: "shop" }, { status: "suspended" }), ["waits"])
    assert.deepStrictEqual(yield* by({ repository: "shop" }, { status: "running" }), [])
    assert.deepStrictEqual(yield* by({ repository: "mail" }, { workflow: "checkout" }), ["runs"])
  },

  *"the labels of removed runs are forgotten"(store) {
    const lease = yield* finished(store, "run-1")
    yield* store.removeRuns([lease.key])
    assert.deepStrictEqual(yield* store.list({ labels: { repository: "shop" } }), [])
    yield* open(store, "run-1", "a", { labels: { repository: "mail" } })
    assert.deepStrictEqual(yield* store.list({ labels: { repository: "shop" } }), [])
    assert.deepStrictEqual(yield* listed(store, { labels: { repository: "mail" } }), ["run-1"])
    assert.deepStrictEqual(yield* store.check, [])
  },

  *"lists runs by version, queue and parent"(store) {
    yield* finished(store, "done", { version: "2" })
    yield* open(store, "old", "a")
    yield* enqueued(store, "in queue", place("encode", "a"))
    yield* enqueued(store, "in another", { ...place("mail"), version: "2" })
    yield* enqueued(store, "child", child("old"))
    yield* finished(store, "ended child", child("old"))
    yield* open(store, "other child", "a", child("done"))
    yield* enqueued(store, "queued child", { ...child("old"), ...place("encode") })
    yield* store.hold("queued child", { id: "mine", reason: "" })
    assert.deepStrictEqual(yield* found(store, { version: "2" }), ["in another", "done"])
    assert.deepStrictEqual(yield* found(store, { queue: "encode" }), ["queued child", "in queue"])
    assert.deepStrictEqual(yield* found(store, { queue: "encode", status: "stopped" }), ["in queue"])
    assert.deepStrictEqual(yield* found(store, { queue: "encode", status: "held" }), ["queued child"])
    assert.deepStrictEqual(yield* found(store, { queue: "encode", status: "completed" }), [])
    assert.deepStrictEqual(yield* found(store, { queue: "other" }), [])
    assert.deepStrictEqual(yield* found(store, { queue: "mail", version: "1" }), [])
    assert.deepStrictEqual(yield* found(store, { parent: "old" }), ["queued child", "ended child", "child"])
    assert.deepStrictEqual(yield* found(store, { parent: "old", status: "completed" }), ["ended child"])
    assert.deepStrictEqual(yield* found(store, { parent: "old", status: "stopped" }), ["child"])
    assert.deepStrictEqual(yield* found(store, { parent: "old", queue: "encode" }), ["queued child"])
    assert.deepStrictEqual(yield* found(store, { parent: "child" }), [])
    assert.deepStrictEqual(yield* found(store, { parent: "old", labels: { repository: "shop" }, version: "1" }), [
      "queued child",
      "ended child",
      "child"
    ])
  },

  *"lists the runs that were created within a time"(store) {
    for (const [i, id] of ["a", "b", "c", "d"].entries()) {
      yield* TestClock.setTime((i + 1) * 1_000)
      yield* i % 2 === 0 ? finished(store, id) : suspended(store, id)
    }
    const within = (createdSince?: number, createdBefore?: number, more?: Storage.Query) =>
      found(store, { createdSince, createdBefore, ...more })
    assert.deepStrictEqual(yield* within(2_000), ["d", "c", "b"])
    assert.deepStrictEqual(yield* within(2_001), ["d", "c"])
    assert.deepStrictEqual(yield* within(undefined, 2_000), ["a"])
    assert.deepStrictEqual(yield* within(2_000, 4_000), ["c", "b"])
    assert.deepStrictEqual(yield* within(4_000, 2_000), [])
    assert.deepStrictEqual(yield* within(1_000, 3_000, { status: "suspended" }), ["b"])
    assert.deepStrictEqual(yield* within(1_000, 3_000, { status: "completed" }), ["a"])
    assert.deepStrictEqual(yield* within(2_500, 3_000.5, { labels: { repository: "shop" } }), ["c"])
  },

  *"combines what runs wait for with other filters"(store) {
    const waiting = `[{"kind":"question","since":"1970-01-01T00:00:00.000Z"}]`
    yield* suspended(store, "asks", { waiting }, { labels: { team: "a" } })
    yield* suspended(store, "asks, too", { waiting }, { labels: { team: "b" } })
    yield* suspended(store, "sleeps", {}, { labels: { team: "a" } })
    yield* store.hold("asks, too", { id: "mine", reason: "" })
    const asking = (query: Storage.Query) => found(store, { waitsFor: { kind: "question" }, ...query })
    assert.deepStrictEqual(yield* asking({}), ["asks, too", "asks"])
    assert.deepStrictEqual(yield* asking({ labels: { team: "a" } }), ["asks"])
    assert.deepStrictEqual(yield* asking({ status: "held" }), ["asks, too"])
    assert.deepStrictEqual(yield* asking({ version: "2" }), [])
    assert.deepStrictEqual(yield* asking({ createdSince: 1 }), [])
  },

  *"lists by status held and cancelled"(store) {
    for (const id of ["held", "ended", "held and leased"]) yield* open(store, id, id)
    for (const id of ["held", "held and leased"]) yield* store.hold(id, { id: "mine", reason: "" })
    yield* store.release("held")
    yield* store.terminate("ended", { status: "cancelled", exit: "{}" })
    yield* finished(store, "failed", undefined, "failed")
    assert.deepStrictEqual(yield* found(store, { status: "held" }), ["held"])
    assert.deepStrictEqual(yield* found(store, { status: "running" }), ["held and leased"])
    assert.deepStrictEqual(yield* found(store, { status: "cancelled" }), ["ended"])
    assert.deepStrictEqual(yield* found(store, { status: "failed" }), ["failed"])
    assert.deepStrictEqual(yield* found(store, { status: "stopped" }), [])
    // The lease of the held run expires.
    yield* TestClock.adjust("31 seconds")
    assert.deepStrictEqual(yield* found(store, { status: "held" }), ["held and leased", "held"])
    assert.deepStrictEqual(yield* found(store, { status: "held", workflow: "refund" }), [])
  }
}
