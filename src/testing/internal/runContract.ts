import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Storage from "../../storage/Storage.js"
import { type Contract, entry, finished, ids, loses, open, opened, request } from "./fixtures.js"

const find = (store: Storage.Store, id: string) => Effect.map(store.find(id), Option.getOrThrow)

const due = (store: Storage.Store, limit = 10) =>
  Effect.map(store.due({ workflow: "checkout", version: "1", limit }), ids)

const listed = (store: Storage.Store, query: Storage.Query) => Effect.map(store.list(query), ids)

const stepsOf = (store: Storage.Store, { key }: Storage.Lease) =>
  Effect.map(store.journal(key), (journal) => journal.map(({ step }) => step))

const suspended = (
  store: Storage.Store,
  id: string,
  suspension: Partial<Storage.Suspension> = {},
  more?: Partial<Storage.OpenRequest>
) =>
  Effect.flatMap(Effect.map(open(store, id, "a", more), opened), (lease) =>
    Effect.as(store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 0, ...suspension }), lease)
  )

/** Runs, their leases, journals and signals. */
export const runContract: Contract = {
  *"creates a run with all fields of the request"(store) {
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
  },

  *"finds nothing of a run that was never opened"(store) {
    assert.deepStrictEqual(yield* store.find("no-such-run"), Option.none())
    assert.deepStrictEqual(yield* store.journal(999), [])
  },

  *"refuses to open a leased run, and claims it after the lease expired"(store) {
    yield* open(store, "run-1", "a")
    yield* TestClock.adjust("29 seconds")
    assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Held")
    yield* TestClock.adjust("1 second")
    const claimed = yield* open(store, "run-1", "b")
    assert.strictEqual(claimed._tag, "Claimed")
    assert.strictEqual(opened(claimed).token, 2)
  },

  *"renewing prolongs a lease, and releasing ends it at once"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* TestClock.adjust("20 seconds")
    assert.deepStrictEqual(yield* store.renew([lease], 30_000), [])
    yield* TestClock.adjust("20 seconds")
    assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Held")
    yield* store.release("run-1", "a")
    assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Claimed")
  },

  *"renewing returns the leases that are lost"(store) {
    const kept = opened(yield* open(store, "kept", "a"))
    const lost = opened(yield* open(store, "lost", "a"))
    yield* store.release("lost", "a")
    yield* open(store, "lost", "b")
    assert.deepStrictEqual(yield* store.renew([kept, lost], 30_000), [lost])
  },

  *"releasing does not end the lease of another owner"(store) {
    yield* open(store, "run-1", "a")
    yield* store.release("run-1", "b")
    yield* store.release("no such run", "a")
    assert.strictEqual((yield* open(store, "run-1", "c"))._tag, "Held")
  },

  *"keeps the journal in order, with empty and odd payloads"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const entries = [
      entry(1, { payload: undefined }),
      entry(2, { payload: "" }),
      entry(3, { payload: `"\\u0000 ' \\" 🙂 ${"x".repeat(100_000)}"`, step: "a/b#2 'quoted'" }),
      entry(7)
    ]
    for (const one of entries) yield* store.append(lease, [one])
    assert.deepStrictEqual(yield* store.journal(lease.key), entries)
  },

  *"keeps the journals of runs apart"(store) {
    const one = opened(yield* open(store, "one", "a"))
    const two = opened(yield* open(store, "two", "a"))
    yield* store.append(one, [entry(1)])
    yield* store.append(two, [entry(1, { step: "other" })])
    assert.deepStrictEqual(yield* stepsOf(store, one), ["charge"])
    assert.deepStrictEqual(yield* stepsOf(store, two), ["other"])
  },

  *"refuses the writes of a lease that was taken over"(store) {
    const old = opened(yield* open(store, "run-1", "a"))
    yield* store.append(old, [entry(1)])
    yield* TestClock.adjust("30 seconds")
    const current = opened(yield* open(store, "run-1", "b"))
    yield* loses(store.append(old, [entry(2)]))
    yield* loses(store.finish(old, { status: "failed", exit: "late" }))
    yield* store.append(current, [entry(2)])
    assert.strictEqual((yield* store.journal(current.key)).length, 2)
  },

  *"refuses the writes of a lease that was released or ended by an outcome"(store) {
    const released = opened(yield* open(store, "released", "a"))
    yield* store.release("released", "a")
    const ended = yield* finished(store, "finished")
    for (const lease of [released, ended]) {
      yield* loses(store.append(lease, [entry(1)]))
      assert.deepStrictEqual(yield* store.renew([lease], 30_000), [lease])
    }
    yield* loses(store.finish(released, { status: "failed", exit: "" }))
    assert.strictEqual((yield* open(store, "released", "b"))._tag, "Claimed")
  },

  *"keeps the first outcome and returns it to a later finish"(store) {
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
  },

  *"refuses an id that belongs to another workflow or input"(store) {
    yield* open(store, "run-1", "a")
    yield* TestClock.adjust("1 hour")
    const before = yield* store.find("run-1")
    assert.strictEqual((yield* open(store, "run-1", "b", { workflow: "refund" }))._tag, "Different")
    assert.strictEqual((yield* open(store, "run-1", "b", { input: "2" }))._tag, "Different")
    assert.deepStrictEqual(yield* store.find("run-1"), before)
  },

  *"one of many concurrent opens of a run gets the lease"(store) {
    const owners = Array.from({ length: 20 }, (_, i) => `owner-${i}`)
    const results = yield* Effect.forEach(owners, (owner) => open(store, "run-1", owner), {
      concurrency: "unbounded"
    })
    assert.strictEqual(results.filter(({ _tag }) => _tag === "Created").length, 1)
    assert.strictEqual(results.filter(({ _tag }) => _tag === "Held").length, 19)
  },

  *"ends the appends of one run in the order in which they were called"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const ended: Array<number> = []
    const stored: Array<boolean> = []
    const numbers = Array.from({ length: 30 }, (_, i) => i + 1)
    const append = (seq: number) =>
      Effect.flatMap(store.append(lease, [entry(seq)]), () => {
        ended.push(seq)
        return Effect.map(store.journal(lease.key), (lines) => stored.push(lines.length >= seq))
      })
    yield* Effect.forEach(numbers, append, { concurrency: "unbounded" })
    assert.deepStrictEqual(ended, numbers)
    assert.ok(stored.every((areAll) => areAll))
  },

  *"stores all concurrent appends"(store) {
    const leases = yield* Effect.forEach(Array.from({ length: 20 }), (_, i) =>
      Effect.map(open(store, `run-${i}`, `owner-${i}`), opened)
    )
    yield* Effect.forEach(
      leases,
      (lease) => Effect.forEach([1, 2, 3], (seq) => store.append(lease, [entry(seq)]), { concurrency: 3 }),
      { concurrency: "unbounded" }
    )
    for (const lease of leases) assert.strictEqual((yield* store.journal(lease.key)).length, 3)
  },

  *"lists runs newest first, by workflow and status, page by page"(store) {
    yield* finished(store, "done")
    yield* finished(store, "broken", { workflow: "refund" }, "failed")
    yield* finished(store, "tired", { workflow: "refund" }, "exhausted")
    yield* open(store, "gone", "a")
    yield* TestClock.adjust("31 seconds")
    yield* open(store, "alive", "a")
    assert.deepStrictEqual(yield* listed(store, {}), ["alive", "gone", "tired", "broken", "done"])
    assert.deepStrictEqual(yield* listed(store, { workflow: "checkout" }), ["alive", "gone", "done"])
    for (const [status, id] of [
      ["completed", "done"],
      ["failed", "broken"],
      ["exhausted", "tired"],
      ["stopped", "gone"],
      ["running", "alive"]
    ] as const) {
      assert.deepStrictEqual(yield* listed(store, { status }), [id])
    }
    const first = yield* store.list({ limit: 3 })
    assert.deepStrictEqual(yield* listed(store, { before: first[2]?.key ?? 0, limit: 2 }), ["broken", "done"])
    const counted = (yield* store.countRuns).map(({ status }) => status).sort()
    assert.deepStrictEqual(counted, ["completed", "exhausted", "failed", "running", "stopped"])
  },

  *"lists runs by what they wait for, filtered before the limit"(store) {
    const wait = (kind: string, since: number) => ({ kind, since: new Date(since).toISOString() })
    const waiting = (...waits: ReadonlyArray<object>) => ({ waiting: JSON.stringify(waits) })
    yield* suspended(store, "asks", waiting(wait("signal", 0), wait("question", 1_000)))
    yield* suspended(store, "asks later", waiting(wait("question", 5_000)))
    yield* suspended(store, "sleeps", waiting(wait("sleep", 0)))
    yield* suspended(store, "odd", { waiting: "not JSON" })
    yield* suspended(store, "leaves")
    const asking = (more: Storage.Query, before?: number) =>
      listed(store, { waitsFor: { kind: "question", before }, ...more })
    assert.deepStrictEqual(yield* asking({}), ["asks later", "asks"])
    assert.deepStrictEqual(yield* asking({ status: "suspended", limit: 1 }), ["asks later"])
    assert.deepStrictEqual(yield* asking({ limit: 1 }, 2_000), ["asks"])
    assert.deepStrictEqual(yield* asking({}, 1_000), [])
    assert.deepStrictEqual(yield* asking({ status: "running" }), [])
    assert.deepStrictEqual(yield* asking({ workflow: "refund" }), [])
    assert.deepStrictEqual(yield* asking({ status: "completed" }), [])
    // A run that is claimed waits for nothing that is on record.
    yield* open(store, "asks", "b")
    assert.deepStrictEqual(yield* asking({}), ["asks later"])
  },

  *"returns copies"(store) {
    const labels = { repository: "shop" }
    const lease = opened(yield* open(store, "run-1", "a", { labels }))
    labels.repository = "changed"
    const journal = yield* store.journal(lease.key)
    yield* store.append(lease, [entry(1)])
    assert.strictEqual(journal.length, 0)
    assert.deepStrictEqual(Option.getOrThrow(yield* store.find("run-1")).labels, { repository: "shop" })
  },

  *"reopens a finished run only if it is as it was found"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const running = Option.getOrThrow(yield* store.find("run-1"))
    assert.ok(Option.isNone(yield* store.reopen(running, entry(1), "b", 30_000)))
    yield* store.finish(lease, { status: "failed", exit: "" })
    const found = Option.getOrThrow(yield* store.find("run-1"))
    const again = Option.getOrThrow(yield* store.reopen(found, entry(1), "b", 30_000))
    assert.equal(again.token, lease.token + 1)
    assert.ok(Option.isNone(yield* store.reopen(found, entry(2), "c", 30_000)))
    assert.equal((yield* open(store, "run-1", "c"))._tag, "Held")
    assert.deepEqual(yield* store.journal(lease.key), [entry(1)])
    assert.equal(Option.getOrThrow(yield* store.find("run-1")).outcome, undefined)
    yield* store.finish(again, { status: "completed", exit: "" })
  },

  *"appends several lines together, or none of them"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.append(lease, [entry(1), entry(2), entry(3)])
    assert.deepEqual(yield* store.journal(lease.key), [entry(1), entry(2), entry(3)])
    yield* store.release("run-1", "a")
    yield* Effect.flip(store.append(lease, [entry(4), entry(5)]))
    assert.equal((yield* store.journal(lease.key)).length, 3)
  },

  *"commits the lines that a transaction returns, and none if it fails"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const first = yield* Effect.either(store.transactional(lease, Effect.succeed(["value", [entry(1)]] as const)))
    if (Either.isLeft(first)) {
      // A store without a SQL client refuses, and changes nothing.
      assert.equal(first.left._tag === "StorageError" ? first.left.reason : first.left._tag, "Client")
      assert.deepEqual(yield* store.journal(lease.key), [])
      return
    }
    assert.equal(first.right, "value")
    assert.equal(yield* Effect.flip(store.transactional(lease, Effect.fail("no"))), "no")
    assert.deepEqual(yield* store.journal(lease.key), [entry(1)])
    yield* store.release("run-1", "a")
    yield* loses(store.transactional(lease, Effect.succeed(["late", [entry(2)]] as const)))
  },

  *"a suspended run has no lease and is due at its time"(store) {
    yield* suspended(store, "run-1", { dueAt: 60_000, waiting: `[{"id":"x"}]` })
    const run = yield* find(store, "run-1")
    assert.deepStrictEqual(
      [run.owner, run.leaseUntil, run.dueAt, run.waiting],
      [undefined, undefined, 60_000, `[{"id":"x"}]`]
    )
    assert.deepStrictEqual(yield* listed(store, { status: "suspended" }), ["run-1"])
    assert.deepStrictEqual(yield* store.list({ status: "stopped" }), [])
    assert.deepStrictEqual(yield* due(store), [])
    assert.strictEqual((yield* open(store, "run-1", "b", { only: "due" }))._tag, "Waiting")
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(yield* due(store), ["run-1"])
    assert.deepStrictEqual(yield* listed(store, { status: "stopped" }), ["run-1"])
    const claimed = yield* open(store, "run-1", "b", { only: "due" })
    assert.strictEqual(claimed._tag, "Claimed")
    // The claimed run no longer waits.
    assert.strictEqual((yield* find(store, "run-1")).waiting, undefined)
    assert.deepStrictEqual(yield* due(store), [])
  },

  *"opening a run by its key claims it whatever its id, and creates none"(store) {
    const { key, ...first } = opened(yield* open(store, "run-1", "a"))
    yield* store.release(first.run, first.owner)
    assert.deepStrictEqual(yield* open(store, "run-2", "b", { key: key + 1 }), { _tag: "Gone" })
    const claimed = yield* open(store, "another text", "b", { key })
    assert.strictEqual(claimed._tag, "Claimed")
    assert.strictEqual(opened(claimed).key, key)
    assert.deepStrictEqual(yield* listed(store, {}), ["run-1"])
  },

  *"opening only a new run does not change an existing one"(store) {
    assert.strictEqual((yield* open(store, "run-1", "a", { only: "new" }))._tag, "Created")
    yield* store.release("run-1", "a")
    const before = yield* find(store, "run-1")
    assert.strictEqual((yield* open(store, "run-1", "b", { only: "new" }))._tag, "Waiting")
    assert.deepStrictEqual(yield* find(store, "run-1"), before)
  },

  *"a lease that was taken over cannot suspend the run"(store) {
    const old = opened(yield* open(store, "run-1", "a"))
    yield* TestClock.adjust("30 seconds")
    yield* open(store, "run-1", "b")
    yield* loses(store.suspend(old, { dueAt: 0, signals: 0 }))
    assert.strictEqual((yield* find(store, "run-1")).owner, "b")
  },

  *"a signal makes a run due, and the first signal of a key wins"(store) {
    assert.strictEqual(yield* store.signal("no-such-run", "go", "1"), "Unknown")
    yield* suspended(store, "run-1")
    yield* TestClock.adjust("1 second")
    assert.strictEqual(yield* store.signal("run-1", "go", "1"), "Sent")
    assert.strictEqual(yield* store.signal("run-1", "go", "2"), "Taken")
    assert.strictEqual(yield* store.signal("run-1", "other", "3"), "Sent")
    const run = yield* find(store, "run-1")
    assert.strictEqual(run.dueAt, 1_000)
    assert.deepStrictEqual(yield* store.signals(run.key), [
      { key: "go", payload: "1", at: 1_000 },
      { key: "other", payload: "3", at: 1_000 }
    ])
    const lease = opened(yield* open(store, "run-1", "b"))
    yield* store.finish(lease, { status: "completed", exit: "" })
    assert.strictEqual(yield* store.signal("run-1", "late", "1"), "Finished")
  },

  *"a suspended run is due at once if it has unread signals"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.signal("run-1", "go", "1")
    yield* store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 0 })
    assert.deepStrictEqual(yield* due(store), ["run-1"])
    const again = opened(yield* open(store, "run-1", "b"))
    yield* store.suspend(again, { dueAt: Storage.untilSignalled, signals: 1 })
    assert.deepStrictEqual(yield* due(store), [])
  },

  *"finds due runs of one workflow and version without a lease, oldest first"(store) {
    yield* suspended(store, "second", { dueAt: 2_000 })
    yield* suspended(store, "first", { dueAt: 1_000 })
    yield* suspended(store, "later", { dueAt: 90_000 })
    yield* suspended(store, "other", { dueAt: 0 }, { workflow: "refund" })
    yield* suspended(store, "newer", { dueAt: 0 }, { version: "2" })
    yield* TestClock.adjust("3 seconds")
    yield* open(store, "running", "a")
    yield* finished(store, "done")
    assert.deepStrictEqual(yield* due(store), ["first", "second"])
    assert.deepStrictEqual(yield* due(store, 1), ["first"])
    assert.deepStrictEqual(yield* due(store, 0), [])
    // The lease that was not renewed has expired.
    yield* TestClock.adjust("31 seconds")
    assert.deepStrictEqual(yield* due(store), ["first", "second", "running"])
    const groups = [...(yield* store.backlog)].sort((x, y) =>
      x.workflow + x.version < y.workflow + y.version ? -1 : 1
    )
    assert.deepStrictEqual(groups, [
      { workflow: "checkout", version: "1", due: 3, waiting: 1, oldest: 1_000, next: 90_000 },
      { workflow: "checkout", version: "2", due: 1, waiting: 0, oldest: 0, next: undefined },
      { workflow: "refund", version: "1", due: 1, waiting: 0, oldest: 0, next: undefined }
    ])
  },

  *"omits long payloads on request, and returns them one by one"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    const long = "x".repeat(300)
    yield* store.append(lease, [
      entry(1, { payload: "short" }),
      entry(2, { payload: long }),
      entry(3, { payload: undefined })
    ])
    const journal = yield* store.journal(lease.key, 256)
    assert.deepStrictEqual(
      journal.map(({ omitted, payload }) => [payload, omitted]),
      [
        ["short", undefined],
        [undefined, true],
        [undefined, undefined]
      ]
    )
    assert.strictEqual(yield* store.payload(lease.key, 2), long)
    assert.strictEqual(yield* store.payload(lease.key, 3), undefined)
    assert.strictEqual(yield* store.payload(lease.key, 9), undefined)
    assert.strictEqual((yield* store.journal(lease.key))[1]?.payload, long)
  },

  *"counts runs, and removes those with an outcome with all their rows"(store) {
    const done = opened(yield* open(store, "done", "a"))
    yield* store.append(done, [entry(1)])
    yield* store.signal("done", "go", "1")
    yield* store.finish(done, { status: "completed", exit: "" })
    yield* TestClock.adjust("1 second")
    const waiting = yield* suspended(store, "waiting")
    const running = opened(yield* open(store, "running", "a"))
    const counts = [...(yield* store.countRuns)].sort((x, y) => (x.status < y.status ? -1 : 1))
    assert.deepStrictEqual(counts, [
      { workflow: "checkout", status: "completed", runs: 1, oldest: 0, newest: 0 },
      { workflow: "checkout", status: "running", runs: 1, oldest: 1_000, newest: 1_000 },
      { workflow: "checkout", status: "suspended", runs: 1, oldest: 1_000, newest: 1_000 }
    ])
    assert.strictEqual(yield* store.removeRuns([done.key, waiting.key, running.key, 999]), 1)
    assert.deepStrictEqual(yield* store.find("done"), Option.none())
    assert.deepStrictEqual([yield* store.journal(done.key), yield* store.signals(done.key)], [[], []])
    assert.deepStrictEqual(yield* listed(store, {}), ["running", "waiting"])
    // The id can be used again, and does not find the old rows.
    const again = opened(yield* open(store, "done", "b"))
    assert.notStrictEqual(again.key, done.key)
    assert.deepStrictEqual(yield* store.journal(again.key), [])
  }
}
