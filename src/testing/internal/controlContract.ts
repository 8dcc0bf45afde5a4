import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Storage from "../../storage/Storage.js"
import {
  type Contract,
  claimDue,
  claimedIds,
  enqueued,
  entry,
  find,
  finished,
  listed,
  loses,
  open,
  opened,
  request,
  snapshot,
  suspended
} from "./fixtures.js"

const mine = { id: "mine", reason: "why" }
const other = { id: "other", reason: "another" }
const cancelled = { status: "cancelled", exit: "{}" } as const

/** What a run has besides the fields that every check of runs compares. */
const holdOf = (store: Storage.Store, id: string) => Effect.map(find(store, id), ({ hold }) => hold)

/** Runs that are recorded without a lease, held, cancelled, terminated or continued. */
export const controlContract: Contract = {
  *"enqueues a run without a lease, which is due and never started"(store) {
    yield* TestClock.setTime(5_000)
    const parent = { run: "above", signal: "child:run-1" }
    const { _tag, run } = yield* store.enqueue({ ...request("run-1"), parent })
    assert.strictEqual(_tag, "Created")
    assert.deepStrictEqual(run, {
      ...request("run-1"),
      key: run.key,
      createdAt: 5_000,
      startedAt: undefined,
      token: 0,
      owner: undefined,
      leaseUntil: undefined,
      dueAt: 5_000,
      waiting: undefined,
      signals: 0,
      generation: 1,
      hold: undefined,
      cancel: undefined,
      queue: undefined,
      parent,
      outcome: undefined
    })
    assert.deepStrictEqual(yield* find(store, "run-1"), run)
    assert.deepStrictEqual(yield* listed(store, { status: "stopped" }), ["run-1"])
    yield* TestClock.setTime(6_000)
    const [lease] = yield* claimDue(store, "b")
    assert.deepStrictEqual(lease, { key: run.key, run: "run-1", token: 1, owner: "b", since: 6_000 })
    assert.strictEqual((yield* find(store, "run-1")).startedAt, 6_000)
    yield* store.release("b")
    yield* TestClock.setTime(7_000)
    yield* claimDue(store, "c")
    assert.strictEqual((yield* find(store, "run-1")).startedAt, 6_000)
  },

  *"does not change a run that exists when it is enqueued again"(store) {
    yield* enqueued(store, "run-1")
    const before = yield* find(store, "run-1")
    yield* TestClock.adjust("1 second")
    for (const more of [{}, { input: "2" }, { workflow: "refund" }, { delay: 9 }, { queue: aQueue }]) {
      assert.deepStrictEqual(yield* enqueued(store, "run-1", more), { _tag: "Existing", run: before })
    }
    assert.deepStrictEqual(yield* find(store, "run-1"), before)
    assert.strictEqual((yield* open(store, "run-1", "a"))._tag, "Claimed")
    assert.strictEqual((yield* open(store, "run-1", "b", { input: "2" }))._tag, "Different")
  },

  *"a delayed run is due when its delay has passed, and opens before"(store) {
    yield* enqueued(store, "run-1", { delay: 60_000 })
    yield* enqueued(store, "run-2", { delay: 60_000 })
    assert.deepStrictEqual(yield* listed(store, { status: "suspended" }), ["run-2", "run-1"])
    assert.deepStrictEqual(yield* claimedIds(store, "b"), [])
    const opening = yield* open(store, "run-2", "b")
    assert.strictEqual(opening._tag, "Claimed")
    yield* store.finish(opened(opening), { status: "completed", exit: "" })
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(yield* claimedIds(store, "b"), ["run-1"])
  },

  *"a debounced run takes the last input, and is due after its last delay"(store) {
    const again = (input: string) => enqueued(store, "run-1", { input, delay: 10_000, debounce: true })
    assert.strictEqual((yield* again("1"))._tag, "Created")
    const first = yield* find(store, "run-1")
    yield* TestClock.adjust("9 seconds")
    const replaced = yield* again("2")
    assert.strictEqual(replaced._tag, "Replaced")
    assert.deepStrictEqual(replaced.run, { ...first, input: "2", dueAt: 19_000 })
    assert.deepStrictEqual(yield* find(store, "run-1"), replaced.run)
    yield* TestClock.adjust("9 seconds")
    assert.deepStrictEqual(yield* claimedIds(store, "b"), [])
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* claimedIds(store, "b"), ["run-1"])
    // It has begun with the input of before.
    assert.strictEqual((yield* again("3"))._tag, "Existing")
    yield* store.release("b")
    assert.strictEqual((yield* again("3"))._tag, "Existing")
    assert.strictEqual((yield* find(store, "run-1")).input, "2")
    assert.deepStrictEqual(yield* store.check, [])
  },

  *"a run that is held, cancelled, ended or of another version is not debounced"(store) {
    for (const id of ["held", "ended", "cancelled", "run-1"]) yield* enqueued(store, id)
    yield* store.hold("held", mine)
    yield* store.terminate("ended", cancelled)
    yield* store.cancel("cancelled", "{}")
    for (const [id, more] of [
      ["held", {}],
      ["ended", {}],
      ["cancelled", {}],
      ["run-1", { version: "2" }],
      ["run-1", { workflow: "refund" }]
    ] as const) {
      const again = yield* enqueued(store, id, { ...more, input: "2", debounce: true })
      assert.deepStrictEqual([again._tag, again.run.input], ["Existing", request(id).input], id)
    }
  },

  *"a held run is leased only to a caller that names the hold"(store) {
    assert.deepStrictEqual(yield* store.hold("no-such-run", mine), { _tag: "Unknown" })
    yield* TestClock.setTime(1_000)
    yield* suspended(store, "run-1", { dueAt: 2_000 })
    const held = yield* store.hold("run-1", mine)
    assert.strictEqual(held._tag, "Held")
    assert.deepStrictEqual(yield* holdOf(store, "run-1"), { ...mine, at: 1_000 })
    yield* TestClock.setTime(3_000)
    assert.deepStrictEqual(yield* claimedIds(store, "b"), [])
    for (const heldAs of [undefined, "other"]) {
      const refused = yield* open(store, "run-1", "b", { heldAs })
      assert.strictEqual(refused._tag, "Held")
      assert.deepStrictEqual("run" in refused ? refused.run : undefined, yield* find(store, "run-1"))
    }
    const lease = opened(yield* open(store, "run-1", "b", { heldAs: "mine" }))
    yield* store.append(lease, [entry(1)])
    assert.strictEqual((yield* open(store, "run-1", "c", { heldAs: "mine" }))._tag, "Leased")
    yield* store.release("b")
    // The lease did not end the hold.
    assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Held")
    assert.strictEqual(yield* store.releaseHold("run-1", "mine"), true)
    assert.strictEqual(yield* store.releaseHold("run-1", "mine"), false)
    assert.strictEqual(yield* holdOf(store, "run-1"), undefined)
    assert.deepStrictEqual(yield* claimedIds(store, "b"), ["run-1"])
  },

  *"has one hold at a time, which only its own id releases and replaces"(store) {
    yield* suspended(store, "run-1")
    const first = yield* store.hold("run-1", mine)
    yield* TestClock.adjust("1 second")
    // The same hold again changes nothing.
    assert.deepStrictEqual(yield* store.hold("run-1", { ...mine, reason: "changed" }), first)
    const refused = yield* store.hold("run-1", other)
    assert.deepStrictEqual(refused, { ...first, _tag: "Other" })
    assert.strictEqual(yield* store.releaseHold("run-1", "other"), false)
    assert.strictEqual(yield* store.releaseHold("no-such-run", "mine"), false)
    assert.deepStrictEqual(yield* store.hold("run-1", other, "a third"), refused)
    const replaced = yield* store.hold("run-1", other, "mine")
    assert.strictEqual(replaced._tag, "Held")
    assert.deepStrictEqual(yield* holdOf(store, "run-1"), { ...other, at: 1_000 })
    // `from` does not have to be there.
    yield* store.releaseHold("run-1", "other")
    assert.strictEqual((yield* store.hold("run-1", mine, "other"))._tag, "Held")
  },

  *"keeps the due time of a held run, which signals make due as others"(store) {
    yield* suspended(store, "run-1", { dueAt: 60_000 })
    yield* suspended(store, "run-2")
    for (const id of ["run-1", "run-2"]) yield* store.hold(id, mine)
    assert.deepStrictEqual(yield* listed(store, { status: "held" }), ["run-2", "run-1"])
    assert.deepStrictEqual(yield* listed(store, { status: "suspended" }), [])
    assert.strictEqual(yield* store.signal("run-2", "go", "1"), "Sent")
    assert.deepStrictEqual(yield* claimedIds(store, "b"), [])
    for (const id of ["run-1", "run-2"]) yield* store.releaseHold(id, "mine")
    assert.deepStrictEqual(yield* claimedIds(store, "b"), ["run-2"])
    assert.strictEqual((yield* find(store, "run-1")).dueAt, 60_000)
  },

  *"a hold on a leased run leaves the lease to its owner until it ends"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    assert.strictEqual((yield* store.hold("run-1", mine))._tag, "Held")
    assert.deepStrictEqual(yield* listed(store, { status: "running" }), ["run-1"])
    assert.deepStrictEqual(yield* listed(store, { status: "held" }), [])
    yield* store.append(lease, [entry(1)])
    assert.deepStrictEqual(yield* store.renew([lease], 30_000), [])
    assert.strictEqual((yield* open(store, "run-1", "b", { heldAs: "mine" }))._tag, "Leased")
    yield* store.suspend(lease, { dueAt: 0, signals: 0 })
    assert.deepStrictEqual(yield* listed(store, { status: "held" }), ["run-1"])
    assert.deepStrictEqual(yield* claimedIds(store, "b"), [])
    const next = opened(yield* open(store, "run-1", "b", { heldAs: "mine" }))
    yield* TestClock.adjust("31 seconds")
    // Nor does an expired lease end a hold.
    assert.deepStrictEqual(yield* claimedIds(store, "c"), [])
    assert.strictEqual((yield* open(store, "run-1", "c"))._tag, "Held")
    yield* store.finish(next, { status: "completed", exit: "" })
    assert.deepStrictEqual(yield* holdOf(store, "run-1"), { ...mine, at: 0 })
  },

  *"holds a run that has an outcome, and reopens it only for the hold"(store) {
    yield* finished(store, "run-1", undefined, "failed")
    assert.strictEqual((yield* store.hold("run-1", mine))._tag, "Held")
    assert.deepStrictEqual(yield* listed(store, { status: "failed" }), ["run-1"])
    assert.deepStrictEqual(yield* listed(store, { status: "held" }), [])
    assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Finished")
    const found = yield* find(store, "run-1")
    for (const heldAs of [undefined, "other"]) {
      assert.ok(Option.isNone(yield* store.reopen(found, entry(1), "b", 30_000, heldAs)))
    }
    assert.deepStrictEqual(yield* store.journal(found.key), [])
    const lease = Option.getOrThrow(yield* store.reopen(found, entry(1), "b", 30_000, "mine"))
    yield* store.suspend(lease, { dueAt: 0, signals: 0 })
    assert.deepStrictEqual(yield* listed(store, { status: "held" }), ["run-1"])
    assert.deepStrictEqual(yield* claimedIds(store, "c"), [])
  },

  *"a request to cancel is stored once, and makes an open run due"(store) {
    assert.strictEqual(yield* store.cancel("no-such-run", "{}"), "Unknown")
    yield* finished(store, "done")
    assert.strictEqual(yield* store.cancel("done", "{}"), "Finished")
    yield* suspended(store, "run-1")
    yield* TestClock.adjust("1 second")
    assert.strictEqual(yield* store.cancel("run-1", `{"reason":"first"}`), "Requested")
    assert.strictEqual(yield* store.cancel("run-1", `{"reason":"second"}`), "Taken")
    const run = yield* find(store, "run-1")
    assert.deepStrictEqual([run.cancel, run.dueAt], [`{"reason":"first"}`, 1_000])
    assert.deepStrictEqual(yield* listed(store, { status: "stopped" }), ["run-1"])
    const [lease] = yield* claimDue(store, "b")
    if (lease === undefined) return assert.fail("the run is not due")
    assert.strictEqual((yield* find(store, "run-1")).cancel, `{"reason":"first"}`)
    const outcome = yield* store.finish(lease, cancelled)
    assert.deepStrictEqual(outcome, { ...cancelled, at: 1_000 })
    assert.deepStrictEqual(yield* listed(store, { status: "cancelled" }), ["run-1"])
    assert.deepStrictEqual(yield* listed(store, { status: "failed" }), [])
    assert.deepStrictEqual((yield* find(store, "run-1")).outcome, outcome)
    const counts = (yield* store.countRuns).filter(({ status }) => status === "cancelled")
    assert.deepStrictEqual(counts, [{ workflow: "checkout", status: "cancelled", runs: 1, oldest: 0, newest: 0 }])
  },

  *"a run that is suspended after a request to cancel it is due at once"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.cancel("run-1", "{}")
    yield* TestClock.adjust("1 second")
    yield* store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 0 })
    assert.strictEqual((yield* find(store, "run-1")).dueAt, 1_000)
    assert.deepStrictEqual(yield* claimedIds(store, "b"), ["run-1"])
  },

  *"reopening a cancelled run forgets the request"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.cancel("run-1", "{}")
    yield* store.finish(lease, cancelled)
    assert.strictEqual((yield* find(store, "run-1")).cancel, "{}")
    const again = Option.getOrThrow(yield* store.reopen(yield* find(store, "run-1"), entry(1), "b", 30_000))
    const run = yield* find(store, "run-1")
    assert.deepStrictEqual([run.cancel, run.outcome], [undefined, undefined])
    assert.deepStrictEqual(yield* store.controls([again]), [])
    assert.strictEqual(yield* store.cancel("run-1", `{"n":2}`), "Requested")
  },

  *"a run that is to be cancelled and held is leased only for the hold"(store) {
    yield* suspended(store, "run-1")
    yield* store.hold("run-1", mine)
    assert.strictEqual(yield* store.cancel("run-1", "{}"), "Requested")
    assert.deepStrictEqual(yield* listed(store, { status: "held" }), ["run-1"])
    assert.deepStrictEqual(yield* claimedIds(store, "b"), [])
    yield* store.releaseHold("run-1", "mine")
    assert.deepStrictEqual(yield* claimedIds(store, "b"), ["run-1"])
  },

  *"terminating ends a run at once, whichever process has its lease"(store) {
    assert.ok(Option.isNone(yield* store.terminate("no-such-run", cancelled)))
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.append(lease, [entry(1)])
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* store.terminate("run-1", cancelled), Option.some({ ...cancelled, at: 1_000 }))
    yield* loses(store.append(lease, [entry(2)]))
    yield* loses(store.suspend(lease, { dueAt: 0, signals: 0 }))
    assert.deepStrictEqual(yield* store.renew([lease], 30_000), [lease])
    const run = yield* find(store, "run-1")
    assert.deepStrictEqual([run.owner, run.leaseUntil, run.outcome?.status], [undefined, undefined, "cancelled"])
    assert.strictEqual((yield* store.journal(run.key)).length, 1)
    // The recorded outcome stays, for those who had the lease and for those who terminate again.
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* store.finish(lease, { status: "completed", exit: "1" }), run.outcome)
    assert.deepStrictEqual(yield* store.terminate("run-1", { ...cancelled, exit: "2" }), Option.some(run.outcome))
    assert.deepStrictEqual(yield* find(store, "run-1"), run)
    yield* finished(store, "done")
    const done = Option.getOrThrow(yield* store.terminate("done", cancelled))
    assert.strictEqual(done.status, "completed")
  },

  *"terminates runs that are held, queued or waiting, which then wait for nothing"(store) {
    const waiting = `[{"kind":"question","since":"1970-01-01T00:00:00.000Z"}]`
    yield* suspended(store, "waits", { waiting })
    yield* enqueued(store, "queued", { queue: aQueue })
    yield* suspended(store, "held", { dueAt: 0 })
    yield* store.hold("held", mine)
    for (const id of ["waits", "queued", "held"]) assert.ok(Option.isSome(yield* store.terminate(id, cancelled)))
    assert.deepStrictEqual(yield* listed(store, { status: "cancelled" }), ["held", "queued", "waits"])
    assert.deepStrictEqual(yield* listed(store, { waitsFor: { kind: "question" } }), [])
    assert.deepStrictEqual(yield* claimedIds(store, "b", { queues: [{ name: "encode" }] }), [])
    assert.deepStrictEqual([yield* store.backlog, yield* store.queues], [[], []])
    assert.strictEqual(yield* store.signal("waits", "go", "1"), "Finished")
    const reopened = yield* store.reopen(yield* find(store, "waits"), entry(1), "b", 30_000)
    assert.ok(Option.isSome(reopened))
    assert.strictEqual((yield* find(store, "waits")).waiting, undefined)
  },

  *"the end of a run signals its parent, and makes it due"(store) {
    yield* suspended(store, "above")
    yield* suspended(store, "also above")
    const child = (id: string, run: string) => ({ parent: { run, signal: `child:${id}` } })
    const one = opened(yield* open(store, "one", "a", child("one", "above")))
    yield* enqueued(store, "two", child("two", "also above"))
    yield* enqueued(store, "lost", child("lost", "no-such-run"))
    yield* TestClock.adjust("1 second")
    yield* store.finish(one, { status: "failed", exit: "" })
    yield* store.finish(one, { status: "failed", exit: "" })
    yield* store.terminate("two", cancelled)
    yield* store.terminate("two", cancelled)
    assert.ok(Option.isSome(yield* store.terminate("lost", cancelled)))
    for (const [id, key] of [
      ["above", "child:one"],
      ["also above", "child:two"]
    ] as const) {
      const run = yield* find(store, id)
      assert.deepStrictEqual([run.signals, run.dueAt], [1, 1_000])
      assert.deepStrictEqual(yield* store.signals(run.key), [{ key, payload: "{}", at: 1_000 }])
    }
    assert.deepStrictEqual(new Set(yield* claimedIds(store, "b")), new Set(["above", "also above"]))
  },

  *"the end of a run whose parent has ended, or has the signal, changes nothing of the parent"(store) {
    const parent = { run: "above", signal: "child" }
    for (const id of ["one", "two"]) yield* enqueued(store, id, { parent })
    const above = opened(yield* open(store, "above", "a"))
    yield* store.signal("above", "child", "first")
    yield* store.suspend(above, { dueAt: Storage.untilSignalled, signals: 1 })
    yield* store.terminate("one", cancelled)
    const before = yield* find(store, "above")
    assert.deepStrictEqual([before.signals, before.dueAt], [1, Storage.untilSignalled])
    yield* store.terminate("above", cancelled)
    assert.deepStrictEqual(
      (yield* store.terminate("two", cancelled)).pipe(Option.map(({ status }) => status)),
      Option.some("cancelled")
    )
    assert.strictEqual((yield* store.signals(before.key)).length, 1)
    assert.deepStrictEqual(yield* store.check, [])
  },

  *"tells what is wanted of leased runs, and of no others"(store) {
    const leases: Record<string, Storage.Lease> = {}
    for (const id of ["held", "cancelled", "both", "free"]) leases[id] = opened(yield* open(store, id, id))
    for (const id of ["held", "both"]) yield* store.hold(id, mine)
    for (const id of ["cancelled", "both"]) yield* store.cancel(id, `{"of":"${id}"}`)
    const hold = { ...mine, at: 0 }
    const all = Object.values(leases)
    const found = yield* store.controls(all)
    assert.deepStrictEqual(
      [...found].sort((a, b) => a.lease.key - b.lease.key),
      [
        { lease: leases["held"], hold, cancel: undefined },
        { lease: leases["cancelled"], hold: undefined, cancel: `{"of":"cancelled"}` },
        { lease: leases["both"], hold, cancel: `{"of":"both"}` }
      ]
    )
    assert.deepStrictEqual(yield* store.controls([]), [])
    yield* store.releaseHold("held", "mine")
    yield* store.release("both")
    yield* store.terminate("cancelled", cancelled)
    assert.deepStrictEqual(yield* store.controls(all), [])
  },

  *"continues a run with a new journal, and the signals that were not read"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.append(lease, [entry(1), entry(2)])
    for (const key of ["a", "b", "c", "d"]) yield* store.signal("run-1", key, key)
    yield* store.save(snapshot({ seq: 2 }), { lease })
    const before = yield* find(store, "run-1")
    const next = { input: `{"amount":2}`, entry: entry(3), read: ["a", "c", "unknown"] }
    assert.strictEqual(yield* store.continueAs(lease, next), 2)
    assert.deepStrictEqual(yield* find(store, "run-1"), {
      ...before,
      input: next.input,
      generation: 2,
      signals: 2
    })
    assert.deepStrictEqual(yield* store.journal(lease.key), [entry(3)])
    const keys = (skip?: number) =>
      Effect.map(store.signals(lease.key, skip), (signals) => signals.map(({ key }) => key))
    assert.deepStrictEqual([yield* keys(), yield* keys(1)], [["b", "d"], ["d"]])
    // A key that was read may come again, after the others.
    assert.strictEqual(yield* store.signal("run-1", "b", "again"), "Taken")
    assert.strictEqual(yield* store.signal("run-1", "a", "again"), "Sent")
    assert.deepStrictEqual(yield* keys(), ["b", "d", "a"])
    assert.strictEqual((yield* store.snapshots({})).length, 1)
    assert.deepStrictEqual(yield* store.check, [])
    yield* store.append(lease, [entry(4)])
    assert.strictEqual(yield* store.continueAs(lease, { input: "3", entry: entry(5), read: [] }), 3)
    assert.deepStrictEqual(yield* store.journal(lease.key), [entry(5)])
    assert.strictEqual((yield* find(store, "run-1")).signals, 3)
    yield* store.append(lease, [entry(6), entry(7)])
    assert.deepStrictEqual(yield* store.check, [])
    yield* store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 2 })
    assert.deepStrictEqual(yield* claimedIds(store, "b"), ["run-1"])
  },

  *"opens a continued run with its new input"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.continueAs(lease, { input: "2", entry: entry(1), read: [] })
    yield* store.release("a")
    assert.strictEqual((yield* open(store, "run-1", "b"))._tag, "Different")
    assert.strictEqual((yield* open(store, "run-1", "b", { input: "2" }))._tag, "Claimed")
  },

  *"changes the version of a run for the owner of its lease"(store) {
    const lease = opened(yield* open(store, "run-1", "a"))
    yield* store.append(lease, [entry(1)])
    yield* store.adopt(lease, "2")
    assert.strictEqual((yield* find(store, "run-1")).version, "2")
    yield* store.release("a")
    assert.deepStrictEqual(yield* claimedIds(store, "b"), [])
    const newer = [{ workflow: "checkout", version: "2" }]
    assert.deepStrictEqual(yield* claimedIds(store, "b", { workflows: newer }), ["run-1"])
    assert.deepStrictEqual(yield* store.journal(lease.key), [entry(1)])
    assert.deepStrictEqual(yield* store.check, [])
  },

  *"refuses to continue and adopt a run whose lease is lost, and changes nothing"(store) {
    const lost = opened(yield* open(store, "lost", "a"))
    yield* store.append(lost, [entry(1)])
    yield* store.signal("lost", "go", "1")
    yield* TestClock.adjust("30 seconds")
    yield* open(store, "lost", "b")
    const ended = yield* finished(store, "ended")
    const before = [yield* find(store, "lost"), yield* find(store, "ended")]
    for (const lease of [lost, ended]) {
      yield* loses(store.continueAs(lease, { input: "2", entry: entry(9), read: ["go"] }))
      yield* loses(store.adopt(lease, "2"))
    }
    assert.deepStrictEqual([yield* find(store, "lost"), yield* find(store, "ended")], before)
    assert.deepStrictEqual(yield* store.journal(lost.key), [entry(1)])
    assert.strictEqual((yield* store.signals(lost.key)).length, 1)
  },

  *"counts held runs of the backlog by themselves"(store) {
    yield* suspended(store, "due", { dueAt: 0 })
    yield* suspended(store, "waiting", { dueAt: 60_000 })
    for (const id of ["held due", "held later"]) yield* suspended(store, id, { dueAt: id === "held due" ? 0 : 9_000 })
    for (const id of ["held due", "held later"]) yield* store.hold(id, mine)
    yield* open(store, "held and running", "a")
    yield* store.hold("held and running", mine)
    yield* enqueued(store, "queued", { queue: aQueue })
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* store.backlog, [
      { workflow: "checkout", version: "1", due: 2, waiting: 1, held: 2, oldest: 0, next: 60_000 }
    ])
    yield* suspended(store, "only held", { dueAt: 0 }, { workflow: "refund" })
    yield* store.hold("only held", mine)
    const refunds = (yield* store.backlog).filter(({ workflow }) => workflow === "refund")
    assert.deepStrictEqual(refunds, [
      { workflow: "refund", version: "1", due: 0, waiting: 0, held: 1, oldest: undefined, next: undefined }
    ])
  },

  *"counts held runs by their status"(store) {
    yield* suspended(store, "run-1")
    yield* store.hold("run-1", mine)
    yield* enqueued(store, "run-2", { queue: aQueue })
    const counts = [...(yield* store.countRuns)].map(({ runs, status }) => `${status} ${runs}`).sort()
    assert.deepStrictEqual(counts, ["held 1", "stopped 1"])
  },

  *"removes ended runs with all that was said about them, and no open ones"(store) {
    const parent = { run: "above", signal: "child" }
    const { run } = yield* enqueued(store, "run-1", { parent, queue: aQueue })
    yield* store.hold("run-1", mine)
    yield* store.cancel("run-1", "{}")
    assert.strictEqual(yield* store.removeRuns([run.key]), 0)
    yield* store.terminate("run-1", cancelled)
    assert.strictEqual(yield* store.removeRuns([run.key]), 1)
    assert.deepStrictEqual(yield* store.list({ labels: { repository: "shop" } }), [])
    const again = yield* enqueued(store, "run-1")
    assert.deepStrictEqual(
      [again._tag, again.run.hold, again.run.cancel, again.run.queue, again.run.parent],
      ["Created", undefined, undefined, undefined, undefined]
    )
    assert.deepStrictEqual(yield* store.check, [])
  }
}

const aQueue = { name: "encode", key: "", priority: 0 }
