import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Storage from "../../storage/Storage.js"
import { type Check, entry, open, opened } from "./fixtures.js"

const find = (store: Storage.Store, id: string) => Effect.map(store.find(id), Option.getOrThrow)

const due = (store: Storage.Store, limit = 10) =>
  Effect.map(store.due({ workflow: "checkout", version: "1", limit }), (runs) => runs.map(({ id }) => id))

const suspended = (store: Storage.Store, id: string, suspension: Partial<Storage.Suspension> = {}) =>
  Effect.flatMap(open(store, id, "a"), (result) =>
    store.suspend(opened(result), { dueAt: Storage.untilSignalled, signals: 0, ...suspension })
  )

/** What a store must do with runs that wait, and with what they are told. */
export const waitContract: Readonly<Record<string, Check>> = {
  "a suspended run is nobody's, and due when it says": (store) =>
    Effect.gen(function* () {
      yield* suspended(store, "run-1", { dueAt: 60_000, waiting: `[{"id":"x"}]` })
      const run = yield* find(store, "run-1")
      assert.deepStrictEqual(
        [run.owner, run.leaseUntil, run.dueAt, run.waiting],
        [undefined, undefined, 60_000, `[{"id":"x"}]`]
      )
      assert.deepStrictEqual(
        (yield* store.list({ status: "suspended" })).map(({ id }) => id),
        ["run-1"]
      )
      assert.deepStrictEqual(yield* store.list({ status: "stopped" }), [])
      assert.deepStrictEqual(yield* due(store), [])
      assert.strictEqual((yield* open(store, "run-1", "b", { only: "due" }))._tag, "Waiting")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* due(store), ["run-1"])
      assert.deepStrictEqual(
        (yield* store.list({ status: "stopped" })).map(({ id }) => id),
        ["run-1"]
      )
      const claimed = yield* open(store, "run-1", "b", { only: "due" })
      assert.strictEqual(claimed._tag, "Claimed")
      // Whoever goes on with it waits for nothing any more.
      assert.strictEqual((yield* find(store, "run-1")).waiting, undefined)
      assert.deepStrictEqual(yield* due(store), [])
    }),

  "whoever asks for a new run leaves one that is there alone": (store) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* open(store, "run-1", "a", { only: "new" }))._tag, "Created")
      yield* store.release("run-1", "a")
      const before = yield* find(store, "run-1")
      assert.strictEqual((yield* open(store, "run-1", "b", { only: "new" }))._tag, "Waiting")
      assert.deepStrictEqual(yield* find(store, "run-1"), before)
    }),

  "a lease that was taken over cannot suspend": (store) =>
    Effect.gen(function* () {
      const old = opened(yield* open(store, "run-1", "a"))
      yield* TestClock.adjust("30 seconds")
      yield* open(store, "run-1", "b")
      const late = yield* Effect.flip(store.suspend(old, { dueAt: 0, signals: 0 }))
      assert.strictEqual(late._tag, "LeaseLost")
      assert.strictEqual((yield* find(store, "run-1")).owner, "b")
    }),

  "a signal makes a run due, and the first of a key counts": (store) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* store.signal("nobody", "go", "1"), "Unknown")
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
    }),

  "no wake-up is lost: a signal the run does not know of makes it due at once": (store) =>
    Effect.gen(function* () {
      const lease = opened(yield* open(store, "run-1", "a"))
      yield* store.signal("run-1", "go", "1")
      yield* store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 0 })
      assert.deepStrictEqual(yield* due(store), ["run-1"])
      const again = opened(yield* open(store, "run-1", "b"))
      yield* store.suspend(again, { dueAt: Storage.untilSignalled, signals: 1 })
      assert.deepStrictEqual(yield* due(store), [])
    }),

  "due runs come oldest first, of one workflow and version, and only those nobody has": (store) =>
    Effect.gen(function* () {
      yield* suspended(store, "second", { dueAt: 2_000 })
      yield* suspended(store, "first", { dueAt: 1_000 })
      yield* suspended(store, "later", { dueAt: 90_000 })
      const other = opened(yield* open(store, "other", "a", { workflow: "refund" }))
      yield* store.suspend(other, { dueAt: 0, signals: 0 })
      const newer = opened(yield* open(store, "newer", "a", { version: "2" }))
      yield* store.suspend(newer, { dueAt: 0, signals: 0 })
      yield* TestClock.adjust("3 seconds")
      yield* open(store, "running", "a")
      const done = opened(yield* open(store, "done", "a"))
      yield* store.finish(done, { status: "completed", exit: "" })
      assert.deepStrictEqual(yield* due(store), ["first", "second"])
      assert.deepStrictEqual(yield* due(store, 1), ["first"])
      assert.deepStrictEqual(yield* due(store, 0), [])
      // A process that renews nothing has lost its run.
      yield* TestClock.adjust("31 seconds")
      assert.deepStrictEqual(yield* due(store), ["first", "second", "running"])
      const groups = [...(yield* store.backlog)].sort((x, y) =>
        x.workflow + x.version < y.workflow + y.version ? -1 : 1
      )
      assert.deepStrictEqual(groups, [
        { workflow: "checkout", version: "1", due: 3, waiting: 1, oldest: 1_000 },
        { workflow: "checkout", version: "2", due: 1, waiting: 0, oldest: 0 },
        { workflow: "refund", version: "1", due: 1, waiting: 0, oldest: 0 }
      ])
    }),

  "long payloads are left out for whoever asks for it, and fetched one by one": (store) =>
    Effect.gen(function* () {
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
    }),

  "runs are counted, and only those with an outcome are removed, with all that is theirs": (store) =>
    Effect.gen(function* () {
      const done = opened(yield* open(store, "done", "a"))
      yield* store.append(done, [entry(1)])
      yield* store.signal("done", "go", "1")
      yield* store.finish(done, { status: "completed", exit: "" })
      yield* TestClock.adjust("1 second")
      const waiting = opened(yield* open(store, "waiting", "a"))
      yield* store.suspend(waiting, { dueAt: Storage.untilSignalled, signals: 0 })
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
      assert.deepStrictEqual(
        (yield* store.list({})).map(({ id }) => id),
        ["running", "waiting"]
      )
      // The id is free again, and what was is not found by it.
      const again = opened(yield* open(store, "done", "b"))
      assert.notStrictEqual(again.key, done.key)
      assert.deepStrictEqual(yield* store.journal(again.key), [])
    })
}
