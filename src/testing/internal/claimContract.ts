import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as Storage from "../../storage/Storage.js"
import {
  type Contract,
  claimDue,
  claimedIds,
  entry,
  find,
  finished,
  ids,
  listed,
  open,
  opened,
  request,
  suspended
} from "./fixtures.js"

const checkout = { workflow: "checkout", version: "1" }
const refund = { workflow: "refund", version: "1" }

/** Runs that wait, the signals they wait for, and the claims of runs that are due. */
export const claimContract: Contract = {
  *"a suspended run has no lease and is due at its time"(store) {
    yield* suspended(store, "run-1", { dueAt: 60_000, waiting: `[{"id":"x"}]` })
    const run = yield* find(store, "run-1")
    assert.deepStrictEqual(
      [run.owner, run.leaseUntil, run.dueAt, run.waiting],
      [undefined, undefined, 60_000, `[{"id":"x"}]`]
    )
    assert.deepStrictEqual(yield* listed(store, { status: "suspended" }), ["run-1"])
    assert.deepStrictEqual(yield* store.list({ status: "stopped" }), [])
    assert.deepStrictEqual(yield* claimedIds(store, "b"), [])
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(yield* listed(store, { status: "stopped" }), ["run-1"])
    assert.deepStrictEqual(yield* claimedIds(store, "b"), ["run-1"])
    // The claimed run no longer waits.
    assert.strictEqual((yield* find(store, "run-1")).waiting, undefined)
    assert.deepStrictEqual(yield* claimedIds(store, "c"), [])
  },

  *"opening claims a run that is not due yet"(store) {
    yield* suspended(store, "run-1", { dueAt: 60_000 })
    assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Claimed")
    assert.strictEqual((yield* find(store, "run-1")).dueAt, 0)
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

  *"a signal of a key that is taken does not make the run due"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.signal("run-1", "go", "1")
    yield* store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 1 })
    assert.strictEqual(yield* store.signal("run-1", "go", "2"), "Taken")
    assert.strictEqual((yield* find(store, "run-1")).signals, 1)
    assert.deepStrictEqual(yield* claimedIds(store, "b"), [])
  },

  *"counts the signals of a run, and skips those that were read"(store) {
    const { key } = yield* suspended(store, "run-1")
    const other = yield* suspended(store, "run-2")
    for (const name of ["a", "b", "c", "b"]) yield* store.signal("run-1", name, name)
    yield* store.signal("run-2", "z", "z")
    const names = (skip?: number) =>
      Effect.map(store.signals(key, skip), (signals) => signals.map((signal) => signal.key))
    assert.deepStrictEqual(yield* names(), ["a", "b", "c"])
    assert.deepStrictEqual(yield* names(0), ["a", "b", "c"])
    assert.deepStrictEqual(yield* names(2), ["c"])
    assert.deepStrictEqual(yield* names(3), [])
    assert.deepStrictEqual(yield* names(9), [])
    assert.strictEqual((yield* store.signals(other.key)).length, 1)
    assert.deepStrictEqual(
      (yield* store.list({})).map(({ id, signals }) => [id, signals]),
      [
        ["run-2", 1],
        ["run-1", 3]
      ]
    )
    const opened = yield* open(store, "run-1", "b")
    assert.strictEqual("run" in opened ? opened.run.signals : undefined, 3)
  },

  *"a suspended run is due at once if it has unread signals"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.signal("run-1", "go", "1")
    yield* store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 0 })
    assert.deepStrictEqual(yield* claimedIds(store, "b"), ["run-1"])
    const again = yield* find(store, "run-1")
    const held = { ...lease, token: again.token, owner: "b" }
    yield* store.suspend(held, { dueAt: Storage.untilSignalled, signals: 1 })
    assert.deepStrictEqual(yield* claimedIds(store, "c"), [])
  },

  *"claims the runs of all workflows that have been due longest, and no others"(store) {
    yield* suspended(store, "second", { dueAt: 2_000 })
    yield* suspended(store, "first", { dueAt: 1_000 }, { workflow: "refund" })
    yield* suspended(store, "later", { dueAt: 90_000 })
    yield* suspended(store, "other", { dueAt: 0 }, { workflow: "other" })
    yield* suspended(store, "newer", { dueAt: 0 }, { version: "2" })
    yield* TestClock.adjust("3 seconds")
    yield* open(store, "running", "a")
    yield* finished(store, "done")
    // Due before the lease expires, and so only since then.
    yield* TestClock.adjust("30 seconds")
    yield* suspended(store, "last", { dueAt: 33_500 })
    yield* TestClock.adjust("1 second")
    const workflows = [checkout, refund]
    const claim = (owner: string, query: Partial<Storage.DueQuery>) => claimedIds(store, owner, { workflows, ...query })
    assert.deepStrictEqual(yield* claim("b", { limit: 0 }), [])
    assert.deepStrictEqual(yield* claim("b", { workflows: [] }), [])
    assert.deepStrictEqual(yield* claim("b", { limit: 1 }), ["first"])
    assert.deepStrictEqual(yield* claim("b", { workflows: [refund] }), [])
    assert.deepStrictEqual(yield* claim("b", {}), ["second", "running", "last"])
    assert.deepStrictEqual(yield* claim("b", {}), [])
    assert.deepStrictEqual(yield* claim("b", { workflows: [{ ...checkout, version: "2" }, checkout] }), ["newer"])
  },

  *"claims each of many due runs once, in the order in which they became due"(store) {
    const names = Array.from({ length: 120 }, (_, i) => `run-${i}`)
    for (const [i, name] of names.entries()) {
      yield* suspended(store, name, { dueAt: 1_000 + ((i * 7) % 120) }, i % 3 === 0 ? { workflow: "refund" } : {})
    }
    yield* TestClock.adjust("2 seconds")
    const claimed: Array<string> = []
    for (const limit of [50, 1, 0, 1_000]) {
      claimed.push(...(yield* claimedIds(store, "b", { workflows: [refund, checkout], limit })))
    }
    const place = (name: string) => (names.indexOf(name) * 7) % 120
    assert.deepStrictEqual(
      claimed,
      [...names].sort((a, b) => place(a) - place(b))
    )
  },

  *"a claimed run is leased to the caller, with all its fields"(store) {
    for (const id of ["one", "two"]) yield* suspended(store, id, { dueAt: 1_000, waiting: "[]" })
    yield* store.signal("one", "go", "1")
    yield* TestClock.setTime(5_000)
    const due = yield* store.claimDue({ workflows: [checkout], limit: 10 }, "b", 30_000)
    assert.deepStrictEqual(ids(due.map(({ run }) => run)), ["one", "two"])
    for (const [i, { run, ...claimed }] of due.entries()) {
      assert.deepStrictEqual(run, {
        ...request(run.id),
        key: run.key,
        createdAt: 0,
        startedAt: 0,
        token: 2,
        owner: "b",
        leaseUntil: 35_000,
        dueAt: 5_000,
        waiting: undefined,
        signals: 1 - i,
        generation: 1,
        hold: undefined,
        cancel: undefined,
        queue: undefined,
        parent: undefined,
        outcome: undefined
      })
      assert.deepStrictEqual(run, yield* find(store, run.id))
      const lease = { key: run.key, run: run.id, token: 2, owner: "b", since: 5_000 }
      assert.deepStrictEqual(claimed, { _tag: "Claimed", lease })
      yield* store.append(lease, [entry(1)])
      assert.deepStrictEqual(yield* store.renew([lease], 30_000), [])
    }
    // One call leases several runs to one owner.
    yield* store.release("b", "one")
    assert.deepStrictEqual(yield* claimedIds(store, "c"), ["one"])
    yield* store.release("b")
    assert.deepStrictEqual(yield* claimedIds(store, "d"), ["two"])
  },

  *"leaves out the runs that the caller names"(store) {
    const odd = 'it\'s "odd" ü,{}'
    for (const id of ["one", odd, "two", "three"]) yield* suspended(store, id, { dueAt: 0 })
    const others = Array.from({ length: 1_000 }, (_, i) => `other-${i}`)
    const except = ["one", odd, ...others]
    assert.deepStrictEqual(new Set(yield* claimedIds(store, "b", { except, limit: 2 })), new Set(["two", "three"]))
    assert.deepStrictEqual(yield* claimedIds(store, "b", { except }), [])
    assert.deepStrictEqual(yield* claimedIds(store, "b", { except: ["one"] }), [odd])
    assert.deepStrictEqual(yield* claimedIds(store, "b", { except: [] }), ["one"])
  },

  *"a run is due again when the lease of its claim expires or is released"(store) {
    yield* suspended(store, "run-1", { dueAt: 0 })
    const [first] = yield* claimDue(store, "b")
    yield* TestClock.adjust("29 seconds")
    assert.deepStrictEqual(yield* claimedIds(store, "c"), [])
    yield* TestClock.adjust("1 second")
    const [second] = yield* claimDue(store, "c")
    assert.deepStrictEqual([first?.token, second?.token], [2, 3])
    yield* store.release("c", "run-1")
    assert.deepStrictEqual(yield* claimedIds(store, "d"), ["run-1"])
  },

  *"counts the runs that no process advances"(store) {
    yield* suspended(store, "second", { dueAt: 2_000 })
    yield* suspended(store, "first", { dueAt: 1_000 })
    yield* suspended(store, "later", { dueAt: 90_000 })
    yield* suspended(store, "never")
    yield* suspended(store, "other", { dueAt: 0 }, { workflow: "refund" })
    yield* suspended(store, "newer", { dueAt: 0 }, { version: "2" })
    yield* TestClock.adjust("3 seconds")
    yield* open(store, "running", "a")
    yield* finished(store, "done")
    // The lease that was not renewed has expired.
    yield* TestClock.adjust("31 seconds")
    const groups = [...(yield* store.backlog)].sort((x, y) =>
      x.workflow + x.version < y.workflow + y.version ? -1 : 1
    )
    assert.deepStrictEqual(groups, [
      { workflow: "checkout", version: "1", due: 3, waiting: 2, held: 0, oldest: 1_000, next: 90_000 },
      { workflow: "checkout", version: "2", due: 1, waiting: 0, held: 0, oldest: 0, next: undefined },
      { workflow: "refund", version: "1", due: 1, waiting: 0, held: 0, oldest: 0, next: undefined }
    ])
  },

  *"the stream of changes names only runs that changed, and does not fail"(store) {
    const heard: Array<string> = []
    const listening = Stream.runForEach(store.changes, ({ run }) => Effect.sync(() => heard.push(run)))
    const fiber = yield* Effect.fork(listening)
    yield* open(store, "untouched", "a")
    const changed = ["signalled", "released", "suspended", "finished"]
    for (const id of ["signalled", "released"]) yield* open(store, id, id)
    yield* suspended(store, "suspended")
    yield* finished(store, "finished")
    yield* store.signal("signalled", "go", "1")
    yield* store.release("released", "released")
    const exit = yield* Fiber.interrupt(fiber)
    assert.ok(Exit.isSuccess(exit) || Exit.isInterrupted(exit), String(exit))
    assert.deepStrictEqual(
      heard.filter((run) => run !== "" && !changed.includes(run)),
      []
    )
  }
}
