import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../storage/Storage.js"
import { type Contract, entry, finished, listed, loses, open, opened, request, suspended } from "./fixtures.js"

const stepsOf = (store: Storage.Store, { key }: Storage.Lease) =>
  Effect.map(store.journal(key), (journal) => journal.map(({ step }) => step))

/** Runs and their journals. */
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
      startedAt: 5_000,
      token: 1,
      owner: "a",
      leaseUntil: 35_000,
      dueAt: 5_000,
      waiting: undefined,
      signals: 0,
      generation: 1,
      hold: undefined,
      cancel: undefined,
      queue: undefined,
      parent: undefined,
      outcome: undefined
    })
    assert.deepStrictEqual(opened(result), { key: run.key, run: "run-1", token: 1, owner: "a", since: 5_000 })
  },

  *"finds nothing of a run that was never opened"(store) {
    assert.deepStrictEqual(yield* store.find("no-such-run"), Option.none())
    assert.deepStrictEqual(yield* store.journal(999), [])
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
    assert.equal((yield* open(store, "run-1", "c"))._tag, "Leased")
    assert.deepEqual(yield* store.journal(lease.key), [entry(1)])
    assert.equal(Option.getOrThrow(yield* store.find("run-1")).outcome, undefined)
    yield* store.finish(again, { status: "completed", exit: "" })
  },

  *"appends several lines together, or none of them"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.append(lease, [entry(1), entry(2), entry(3)])
    assert.deepEqual(yield* store.journal(lease.key), [entry(1), entry(2), entry(3)])
    yield* store.release("a", "run-1")
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
    yield* store.release("a", "run-1")
    yield* loses(store.transactional(lease, Effect.succeed(["late", [entry(2)]] as const)))
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
