import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../storage/Storage.js"
import {
  type Contract,
  claimDue,
  claimedIds,
  enqueued,
  entry,
  find,
  listed,
  loses,
  open,
  opened,
  request,
  suspended
} from "./fixtures.js"

const encode = { name: "encode" }

/** Queues a run. Its place has the key `""` and the priority 0 if it does not say otherwise. */
const queued = (
  store: Storage.Store,
  id: string,
  queue: Partial<Storage.RunQueue> = {},
  more?: Partial<Storage.EnqueueRequest>
) => enqueued(store, id, { queue: { name: "encode", key: "", priority: 0, ...queue }, ...more })

/** Claims within the limits of one queue, and returns the ids. */
const claim = (
  store: Storage.Store,
  owner: string,
  limits: Partial<Storage.QueueLimits> = {},
  query?: Partial<Storage.DueQuery>
) => claimedIds(store, owner, { queues: [{ ...encode, ...limits }], ...query })

const range = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

/** The claims of queued runs: limits, priorities and fairness. */
export const queueContract: Contract = {
  *"a queued run is leased to those that claim its queue, and to no others"(store) {
    const place = { name: "encode", key: "tenant", priority: 7 }
    const { run } = yield* queued(store, "run-1", place)
    assert.deepStrictEqual(run.queue, place)
    assert.deepStrictEqual((yield* find(store, "run-1")).queue, place)
    assert.deepStrictEqual(yield* listed(store, { status: "stopped" }), ["run-1"])
    const refused = yield* open(store, "run-1", "b")
    assert.deepStrictEqual(refused, { _tag: "Queued", run })
    assert.deepStrictEqual(yield* claimedIds(store, "b"), [])
    assert.deepStrictEqual(yield* claimedIds(store, "b", { queues: [] }), [])
    assert.deepStrictEqual(yield* claimedIds(store, "b", { queues: [{ name: "other" }] }), [])
    assert.deepStrictEqual(yield* claim(store, "b", {}, { workflows: [{ workflow: "refund", version: "1" }] }), [])
    assert.deepStrictEqual(yield* claim(store, "b", {}, { workflows: [{ workflow: "checkout", version: "2" }] }), [])
    assert.deepStrictEqual(yield* claim(store, "b", {}, { limit: 0 }), [])
    yield* TestClock.setTime(1_000)
    const due = yield* store.claimDue(
      { workflows: [{ workflow: "checkout", version: "1" }], queues: [encode], limit: 9 },
      "b",
      30_000
    )
    const claimed = { ...run, token: 1, startedAt: 1_000, owner: "b", leaseUntil: 31_000, dueAt: 1_000 }
    const lease = { key: run.key, run: "run-1", token: 1, owner: "b", since: 1_000 }
    assert.deepStrictEqual(due, [{ _tag: "Claimed", run: claimed, lease }])
    assert.deepStrictEqual(yield* find(store, "run-1"), claimed)
    assert.deepStrictEqual(yield* claim(store, "c"), [])
    yield* store.append(lease, [entry(1)])
    yield* store.finish(lease, { status: "completed", exit: "" })
    assert.deepStrictEqual((yield* find(store, "run-1")).queue, place)
  },

  *"opens a queued run beyond the limits of its queue if the caller asks for that"(store) {
    for (const id of ["one", "two"]) yield* queued(store, id)
    assert.deepStrictEqual(yield* claim(store, "a", { concurrency: 1 }), ["one"])
    assert.strictEqual((yield* open(store, "one", "b", { ignoreQueue: true }))._tag, "Leased")
    assert.strictEqual((yield* open(store, "two", "b"))._tag, "Queued")
    const { key } = yield* find(store, "two")
    assert.strictEqual((yield* open(store, "two", "b", { ignoreQueue: true, key }))._tag, "Claimed")
    yield* store.release("a")
    // It counts, too.
    assert.deepStrictEqual(yield* claim(store, "c", { concurrency: 1 }), [])
    assert.deepStrictEqual(yield* claim(store, "c", { concurrency: 2 }), ["one"])
  },

  *"leases no more runs of a queue at once than it allows"(store) {
    for (const i of range(6)) {
      yield* queued(store, `run-${i}`)
      yield* TestClock.adjust("1 second")
    }
    assert.deepStrictEqual(yield* claim(store, "a", { concurrency: 2 }), ["run-1", "run-2"])
    assert.deepStrictEqual(yield* claim(store, "b", { concurrency: 2 }), [])
    assert.deepStrictEqual(yield* claim(store, "b", { concurrency: 0 }), [])
    assert.deepStrictEqual(yield* claim(store, "b", { concurrency: 3 }), ["run-3"])
    const lease = opened(yield* open(store, "free", "f"))
    yield* store.finish(lease, { status: "completed", exit: "" })
    yield* store.terminate("run-1", { status: "cancelled", exit: "" })
    assert.deepStrictEqual(yield* claim(store, "c", { concurrency: 3 }), ["run-4"])
    // An expired lease is none.
    yield* TestClock.adjust("31 seconds")
    assert.deepStrictEqual(yield* claim(store, "d", { concurrency: 2 }), ["run-2", "run-3"])
    assert.deepStrictEqual(yield* claim(store, "d", { concurrency: 5 }), ["run-4", "run-5", "run-6"])
  },

  *"an expired lease is lost as soon as another run has its place"(store) {
    yield* queued(store, "one")
    const limits = { queues: [{ ...encode, concurrency: 1 }] }
    const [one] = yield* claimDue(store, "a", limits)
    if (one === undefined) return assert.fail("nothing was claimed")
    yield* queued(store, "two", { priority: 1 })
    yield* TestClock.adjust("31 seconds")
    assert.deepStrictEqual(yield* claim(store, "b", { concurrency: 1 }), ["two"])
    assert.deepStrictEqual(yield* store.renew([one], 30_000), [one])
    yield* loses(store.append(one, [entry(1)]))
    assert.deepStrictEqual(yield* listed(store, { status: "running" }), ["two"])
    // It waits since its lease expired.
    assert.strictEqual((yield* store.queues)[0]?.oldest, 30_000)
  },

  *"a suspended run of a queue has no place until it is claimed again"(store) {
    for (const id of ["one", "two"]) yield* queued(store, id)
    const [one] = yield* claimDue(store, "a", { queues: [{ ...encode, concurrency: 1 }] })
    if (one === undefined) return assert.fail("nothing was claimed")
    yield* TestClock.adjust("1 second")
    yield* store.suspend(one, { dueAt: 5_000, signals: 0 })
    assert.deepStrictEqual(yield* claim(store, "b", { concurrency: 1 }), ["two"])
    yield* TestClock.adjust("9 seconds")
    assert.strictEqual((yield* open(store, "one", "c"))._tag, "Queued")
    assert.deepStrictEqual(yield* claim(store, "c", { concurrency: 1 }), [])
    assert.deepStrictEqual(yield* claim(store, "c", { concurrency: 2 }), ["one"])
  },

  *"leases no more runs of one key at once than the queue allows"(store) {
    for (const i of range(3)) yield* queued(store, `a${i}`, { key: "a" })
    yield* queued(store, "b1", { key: "b" })
    yield* queued(store, "none", {})
    const limits = { perKey: 1 }
    assert.deepStrictEqual(new Set(yield* claim(store, "a", limits)), new Set(["a1", "b1", "none"]))
    assert.deepStrictEqual(yield* claim(store, "b", limits), [])
    yield* store.terminate("a1", { status: "cancelled", exit: "" })
    assert.deepStrictEqual(yield* claim(store, "b", limits), ["a2"])
    // Both limits hold.
    assert.deepStrictEqual(yield* claim(store, "c", { perKey: 2, concurrency: 3 }), [])
    assert.deepStrictEqual(yield* claim(store, "c", { perKey: 2, concurrency: 4 }), ["a3"])
  },

  *"claims the higher priorities first, whatever the key and since when they are due"(store) {
    const priorities = [0, -5, 10, 10, 3]
    for (const [i, priority] of priorities.entries()) {
      yield* queued(store, `run-${i}`, { priority, key: `key-${i % 2}` })
      yield* TestClock.adjust("1 second")
    }
    const order: Array<string> = []
    for (const i of range(5)) order.push(...(yield* claim(store, `owner-${i}`, {}, { limit: 1 })))
    assert.deepStrictEqual(order, ["run-2", "run-3", "run-4", "run-0", "run-1"])
  },

  *"claims lower priorities while the keys of the higher ones are at their limit"(store) {
    for (const i of range(2)) yield* queued(store, `high-${i}`, { priority: 1, key: "a" })
    for (const key of ["a", "b"]) yield* queued(store, `low-${key}`, { key })
    assert.deepStrictEqual(new Set(yield* claim(store, "a", { perKey: 1 })), new Set(["high-1", "low-b"]))
  },

  *"the limit of a call does not undo priorities"(store) {
    yield* queued(store, "low")
    yield* suspended(store, "free", { dueAt: 500 })
    yield* TestClock.adjust("1 second")
    yield* queued(store, "high", { priority: 1 })
    // The first run of the queue competes with the oldest due time of the queue.
    assert.deepStrictEqual(yield* claim(store, "a", {}, { limit: 2 }), ["high", "free"])
    assert.deepStrictEqual(yield* claim(store, "a", {}, { limit: 2 }), ["low"])
  },

  *"keys of one priority take turns, however many runs each has"(store) {
    for (const i of range(20)) yield* queued(store, `many-${i}`, { key: "many" })
    for (const i of range(3)) yield* queued(store, `few-${i}`, { key: "few" })
    yield* queued(store, "one-1", { key: "one" })
    const keys = (ids: ReadonlyArray<string>) =>
      Object.fromEntries(["many", "few", "one"].map((key) => [key, ids.filter((id) => id.startsWith(key)).length]))
    assert.deepStrictEqual(keys(yield* claim(store, "a", {}, { limit: 6 })), { many: 3, few: 2, one: 1 })
    // Those with fewer leased runs come first.
    yield* queued(store, "one-2", { key: "one" })
    assert.deepStrictEqual(keys(yield* claim(store, "b", {}, { limit: 2 })), { many: 0, few: 1, one: 1 })
    yield* store.release("a")
    assert.deepStrictEqual(keys(yield* claim(store, "c", { concurrency: 5 }, { limit: 9 })), {
      many: 2,
      few: 1,
      one: 0
    })
  },

  *"keys take turns also if the queue allows one run at a time"(store) {
    for (const i of range(4)) yield* queued(store, `many-${i}`, { key: "many" })
    for (const key of ["b", "c"]) yield* queued(store, `${key}-1`, { key })
    const order: Array<string> = []
    for (const i of range(6)) {
      yield* TestClock.adjust("1 second")
      const [id = "none"] = yield* claim(store, `owner-${i}`, { concurrency: 1 })
      yield* store.terminate(id, { status: "completed", exit: "" })
      order.push(id)
    }
    assert.deepStrictEqual(order, ["many-1", "b-1", "c-1", "many-2", "many-3", "many-4"])
    // A key that is new comes before one that has had its turn.
    yield* queued(store, "many-5", { key: "many" })
    yield* TestClock.adjust("1 second")
    yield* queued(store, "d-1", { key: "d" })
    assert.deepStrictEqual(yield* claim(store, "last", { concurrency: 1 }), ["d-1"])
  },

  *"runs of one key and priority come in the order in which they became due"(store) {
    const delays = [5_000, 1_000, 3_000, 9_000]
    for (const [i, delay] of delays.entries()) yield* queued(store, `run-${i}`, { key: "a" }, { delay })
    yield* TestClock.adjust("6 seconds")
    assert.deepStrictEqual(yield* claim(store, "a", {}, { limit: 2 }), ["run-1", "run-2"])
    assert.deepStrictEqual(yield* claim(store, "a"), ["run-0"])
    assert.deepStrictEqual(yield* claim(store, "a"), [])
  },

  *"a run that was begun is claimed before the new ones of its key that were due before"(store) {
    for (const i of range(3)) yield* queued(store, `run-${i}`)
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* claim(store, "a", {}, { limit: 1 }), ["run-1"])
    yield* store.release("a")
    assert.deepStrictEqual(yield* claim(store, "b", {}, { limit: 2 }), ["run-1", "run-2"])
  },

  *"starts no more runs within a period than the rate of the queue allows"(store) {
    for (const i of range(6)) yield* queued(store, `run-${i}`, { key: `key-${i % 2}` })
    const limits = { rate: { limit: 2, millis: 10_000, perKey: false } }
    assert.strictEqual((yield* claim(store, "a", limits)).length, 2)
    assert.deepStrictEqual(yield* claim(store, "b", limits), [])
    yield* TestClock.adjust("4 seconds")
    // Runs that have ended were started, too.
    for (const id of yield* listed(store, { status: "running" })) {
      yield* store.terminate(id, { status: "cancelled", exit: "" })
    }
    assert.deepStrictEqual(yield* claim(store, "b", limits), [])
    yield* TestClock.adjust("5999 millis")
    assert.deepStrictEqual(yield* claim(store, "b", limits), [])
    yield* TestClock.adjust("1 millis")
    assert.strictEqual((yield* claim(store, "b", limits)).length, 2)
    assert.deepStrictEqual(yield* claim(store, "b", { rate: { ...limits.rate, limit: 0 } }), [])
  },

  *"a rate by key counts the starts of each key"(store) {
    for (const i of range(3)) yield* queued(store, `a${i}`, { key: "a" })
    yield* queued(store, "b1", { key: "b" })
    const limits = { rate: { limit: 1, millis: 10_000, perKey: true } }
    assert.deepStrictEqual(new Set(yield* claim(store, "a", limits)), new Set(["a1", "b1"]))
    yield* TestClock.adjust("5 seconds")
    yield* queued(store, "b2", { key: "b" })
    yield* queued(store, "c1", { key: "c" })
    assert.deepStrictEqual(yield* claim(store, "b", limits), ["c1"])
    yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(new Set(yield* claim(store, "b", limits)), new Set(["a2", "b2"]))
  },

  *"a rate does not keep back runs that were started before"(store) {
    for (const id of ["one", "two"]) yield* queued(store, id)
    const limits = { rate: { limit: 1, millis: 60_000, perKey: false } }
    const [one] = yield* claimDue(store, "a", { queues: [{ ...encode, ...limits }] })
    if (one === undefined) return assert.fail("nothing was claimed")
    yield* store.suspend(one, { dueAt: 5_000, signals: 0 })
    yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(yield* claim(store, "b", limits), ["one"])
    assert.strictEqual((yield* find(store, "one")).startedAt, 0)
    assert.deepStrictEqual(yield* claim(store, "c", limits), [])
  },

  *"claims of several queues, workflows and versions, and of runs without a queue"(store) {
    const newer = { workflow: "checkout", version: "2" }
    const refund = { workflow: "refund", version: "1" }
    const add = (id: string, more: Partial<Storage.EnqueueRequest>) =>
      Effect.zipRight(enqueued(store, id, more), TestClock.adjust("1 second"))
    const place = (name: string, key = "") => ({ queue: { name, key, priority: 0 } })
    yield* add("plain", {})
    yield* add("old", place("encode"))
    yield* add("new", { ...place("encode"), ...newer })
    yield* add("refund", { ...place("encode"), ...refund })
    yield* add("mail", place("mail"))
    yield* add("other", place("other"))
    yield* add("last", {})
    const workflows = [{ workflow: "checkout", version: "1" }, newer, refund]
    const queues = [
      { ...encode, concurrency: 2 },
      { name: "mail", concurrency: 5 }
    ]
    // One limit for all workflows and versions of a queue, and due times over all.
    assert.deepStrictEqual(yield* claimedIds(store, "a", { workflows, queues }), [
      "plain",
      "old",
      "new",
      "mail",
      "last"
    ])
    assert.deepStrictEqual(yield* claimedIds(store, "b", { workflows, queues }), [])
    yield* store.terminate("old", { status: "cancelled", exit: "" })
    assert.deepStrictEqual(yield* claimedIds(store, "b", { workflows, queues }), ["refund"])
    assert.deepStrictEqual(yield* claimedIds(store, "b", { workflows: [refund], queues: [{ name: "other" }] }), [])
    assert.deepStrictEqual(yield* claimedIds(store, "b", { queues: [{ name: "other" }] }), ["other"])
  },

  *"leaves out the queued runs that the caller names"(store) {
    for (const i of range(5)) yield* queued(store, `run-${i}`, { key: i < 4 ? "a" : "b" })
    const except = ["run-1", "run-2", "no such run"]
    assert.deepStrictEqual(new Set(yield* claim(store, "a", {}, { except, limit: 2 })), new Set(["run-3", "run-4"]))
    assert.deepStrictEqual(yield* claim(store, "a", {}, { except: [...except, "run-5"] }), [])
    assert.deepStrictEqual(yield* claim(store, "a", {}, { except: ["run-1"], limit: 1 }), ["run-2"])
  },

  *"a held run has no place in its queue, and gets it back"(store) {
    for (const id of ["one", "two"]) yield* queued(store, id)
    yield* store.hold("one", { id: "mine", reason: "" })
    assert.strictEqual((yield* open(store, "one", "b"))._tag, "Held")
    assert.strictEqual((yield* open(store, "one", "b", { ignoreQueue: true }))._tag, "Held")
    // The hold is no way around the queue.
    assert.strictEqual((yield* open(store, "one", "b", { heldAs: "mine" }))._tag, "Queued")
    assert.deepStrictEqual(yield* claim(store, "b"), ["two"])
    const lease = opened(yield* open(store, "one", "c", { heldAs: "mine", ignoreQueue: true }))
    // A leased run counts, whether it is on hold or not.
    yield* queued(store, "three")
    assert.deepStrictEqual(yield* claim(store, "d", { concurrency: 2 }), [])
    yield* store.suspend(lease, { dueAt: 0, signals: 0 })
    assert.deepStrictEqual(yield* claim(store, "d", { concurrency: 2 }), ["three"])
    yield* store.releaseHold("one", "mine")
    assert.deepStrictEqual(yield* claim(store, "e", { concurrency: 2 }), [])
    assert.deepStrictEqual(yield* claim(store, "e", { concurrency: 3 }), ["one"])
  },

  *"a run that is to be cancelled leaves its queue"(store) {
    for (const id of ["one", "two"]) yield* queued(store, id, {}, { delay: 60_000 })
    yield* store.cancel("one", "{}")
    yield* store.cancel("two", "{}")
    assert.strictEqual((yield* open(store, "two", "b"))._tag, "Claimed")
    // Its cleaning up is not limited, but a lease is a lease.
    assert.deepStrictEqual(yield* claimedIds(store, "b"), ["one"])
    yield* queued(store, "three")
    assert.deepStrictEqual(yield* claim(store, "c", { concurrency: 2 }), [])
    assert.deepStrictEqual(yield* claim(store, "c", { concurrency: 3 }), ["three"])
  },

  *"a debounced queued run takes the last input and keeps its place"(store) {
    const place = { key: "a", priority: 2 }
    yield* queued(store, "run-1", place, { delay: 1_000 })
    yield* TestClock.adjust("1 second")
    yield* queued(store, "run-1", { priority: 9 }, { input: "2", delay: 1_000, debounce: true })
    const run = yield* find(store, "run-1")
    assert.deepStrictEqual([run.input, run.queue], ["2", { name: "encode", ...place }])
    assert.deepStrictEqual(yield* claim(store, "a"), [])
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* claim(store, "a"), ["run-1"])
    assert.deepStrictEqual(yield* store.check, [])
  },

  *"counts the open runs of queues"(store) {
    assert.deepStrictEqual(yield* store.queues, [])
    for (const i of range(4)) {
      yield* queued(store, `run-${i}`, { key: `${i % 2}` })
      yield* TestClock.adjust("1 second")
    }
    yield* queued(store, "later", {}, { delay: 60_000 })
    yield* queued(store, "mail", { name: "mail" })
    for (const id of ["held", "cancelled", "ended"]) yield* queued(store, id)
    yield* store.hold("held", { id: "mine", reason: "" })
    yield* store.cancel("cancelled", "{}")
    yield* store.terminate("ended", { status: "cancelled", exit: "" })
    const [first] = yield* claimDue(store, "a", { queues: [{ ...encode, concurrency: 1 }] })
    assert.strictEqual(first?.run, "run-1")
    // The call claimed the run that is to be cancelled, too, and a lease counts.
    const counts = Effect.map(store.queues, (all) => [...all].sort((a, b) => (a.queue < b.queue ? -1 : 1)))
    assert.deepStrictEqual(yield* counts, [
      { queue: "encode", running: 2, due: 3, waiting: 1, oldest: 1_000 },
      { queue: "mail", running: 0, due: 1, waiting: 0, oldest: 4_000 }
    ])
    yield* store.terminate("mail", { status: "cancelled", exit: "" })
    yield* TestClock.adjust("31 seconds")
    // A run whose lease has expired waits since then.
    const [{ oldest, ...rest } = { oldest: undefined }] = yield* counts
    assert.deepStrictEqual([oldest, rest], [1_000, { queue: "encode", running: 0, due: 4, waiting: 1 }])
    for (const i of [2, 3, 4]) yield* store.terminate(`run-${i}`, { status: "cancelled", exit: "" })
    assert.strictEqual((yield* counts)[0]?.oldest, 34_000)
    // Runs that wait for a signal wait.
    const [again] = yield* claimDue(store, "b", { queues: [encode] })
    assert.strictEqual(again?.run, "run-1")
  },

  *"claims many queued runs of many keys once each, and starves no key"(store) {
    const keys = range(30)
    for (const key of keys) {
      for (const i of range(key === 1 ? 60 : 2)) yield* queued(store, `${key}/${i}`, { key: `key-${key}` })
    }
    const claimed: Array<string> = []
    for (const i of range(12)) {
      const found = yield* claim(store, `owner-${i}`, { perKey: 1 }, { limit: 5 })
      claimed.push(...found)
      assert.strictEqual(found.length, i <= 6 ? 5 : 0)
    }
    assert.strictEqual(new Set(claimed.map((id) => id.split("/")[0])).size, 30)
    for (const id of claimed) yield* store.terminate(id, { status: "completed", exit: "" })
    const rest = yield* claim(store, "rest", {}, { limit: 1_000 })
    assert.strictEqual(new Set([...claimed, ...rest]).size, 30 + 59 + 29)
    assert.strictEqual(rest.length, 59 + 29)
  },

  *"several calls at once claim no more than a queue allows"(store) {
    for (const i of range(40)) yield* queued(store, `run-${i}`, { key: `key-${i % 4}` })
    const limits = { concurrency: 7, perKey: 2 }
    const owners = range(10).map((i) => `owner-${i}`)
    const found = yield* Effect.forEach(owners, (owner) => claim(store, owner, limits, { limit: 3 }), {
      concurrency: "unbounded"
    })
    const all = found.flat()
    assert.strictEqual(new Set(all).size, all.length)
    assert.ok(all.length <= 7, `${all.length} runs are leased`)
    // Those that were kept back by others come with the next call.
    all.push(...(yield* claim(store, "last", limits)))
    assert.strictEqual(all.length, 7)
    const perKey = range(4).map((key) => all.filter((id) => Number(id.slice(4)) % 4 === key % 4).length)
    assert.ok(
      perKey.every((count) => count <= 2),
      `${perKey}`
    )
  },

  *"a run that is created by opening it belongs to no queue"(store) {
    yield* open(store, "run-1", "a")
    assert.strictEqual((yield* find(store, "run-1")).queue, undefined)
    assert.deepStrictEqual(yield* store.queues, [])
    assert.deepStrictEqual((yield* find(store, "run-1")).labels, request("run-1").labels)
  }
}
