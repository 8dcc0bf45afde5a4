import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../../storage/Storage.js"
import { type Contract, entry, find, open } from "../fixtures.js"
import { after, areTheirOwn, eachAtOnce, isKept, openAll, range, reversed, runNames } from "./support.js"

const finish = (store: Storage.Store, lease: Storage.Lease, exit: string) =>
  Effect.map(
    Effect.option(Effect.mapError(store.finish(lease, { status: "completed", exit }), refusedOrDie)),
    Option.getOrUndefined
  )

const refusedOrDie = (error: Storage.StorageError | Storage.LeaseLost): Storage.LeaseLost => {
  if (error._tag === "LeaseLost") return error
  throw error
}

/** Outcomes that several callers record, remove or find at once. */
export const concurrentOutcomes: Contract = {
  *"one outcome is recorded, and all that finish at once return it"(store) {
    for (const round of range(4)) {
      const leases = yield* openAll(
        store,
        runNames(12).map((name) => `${round} ${name}`),
        "a"
      )
      const outcomes = yield* eachAtOnce(range(60), (i) =>
        store.finish(leases[i % 12] as Storage.Lease, { status: i % 2 === 0 ? "completed" : "failed", exit: String(i) })
      )
      for (const [i, lease] of leases.entries()) {
        const { outcome } = yield* find(store, lease.run)
        const returned = outcomes.filter((_, at) => at % 12 === i)
        assert.deepStrictEqual(
          returned,
          returned.map(() => outcome)
        )
      }
    }
  },

  *"a run is finished by its owner or taken over, never both"(store) {
    for (const round of range(4)) {
      const leases = yield* openAll(
        store,
        runNames(30).map((name) => `${round} ${name}`),
        "a"
      )
      if (round % 2 === 0) yield* TestClock.adjust("31 seconds")
      const results = yield* eachAtOnce(leases, (lease, i) => {
        const ending = after(store, i % 4, finish(store, lease, "own"))
        const opening = open(store, lease.run, `b-${i}`)
        // If the lease has expired, the run need not be released.
        const taking = round % 2 === 0 ? opening : Effect.zipRight(store.release("a", lease.run), opening)
        return i % 2 === 0
          ? Effect.all({ ended: ending, opened: taking }, { concurrency: "unbounded" })
          : Effect.all({ opened: taking, ended: ending }, { concurrency: "unbounded" })
      })
      for (const [i, { ended, opened }] of results.entries()) {
        const found = yield* find(store, leases[i]?.run ?? "")
        assert.deepStrictEqual(found.outcome, ended)
        assert.strictEqual(opened._tag, ended === undefined ? "Claimed" : "Finished")
        assert.strictEqual(found.owner, ended === undefined ? `b-${i}` : undefined)
      }
    }
  },

  *"of many callers that reopen a finished run at once, one does"(store) {
    for (const round of range(4)) {
      const leases = yield* openAll(
        store,
        runNames(12).map((name) => `${round} ${name}`),
        "a"
      )
      yield* eachAtOnce(leases, (lease) => store.finish(lease, { status: "failed", exit: "" }))
      const found = yield* Effect.forEach(leases, ({ run }) => find(store, run))
      const reopened = yield* eachAtOnce(range(60), (i) =>
        store.reopen(found[i % 12] as Storage.Run, entry(i + 1), `b-${i}`, 30_000)
      )
      const all = reopened.flatMap((lease, i) => (Option.isSome(lease) ? [{ ...lease.value, seq: i + 1 }] : []))
      assert.strictEqual(all.length, 12)
      yield* areTheirOwn(store, all)
      for (const { key, seq } of all) assert.deepStrictEqual(yield* store.journal(key), [entry(seq)])
    }
  },

  *"a finished run is reopened or removed, never both, and counted once"(store) {
    for (const round of range(4)) {
      const leases = yield* openAll(
        store,
        runNames(30).map((name) => `${round} ${name}`),
        "a"
      )
      yield* eachAtOnce(leases, (lease) => store.append(lease, [entry(1)]))
      yield* eachAtOnce(leases, (lease) => store.finish(lease, { status: "failed", exit: "" }))
      const found = yield* Effect.forEach(leases, ({ run }) => find(store, run))
      const keys = found.map(({ key }) => key)
      const [removed, reopened] = yield* Effect.all(
        [
          eachAtOnce([keys, reversed(keys), keys.slice(0, 15)], (keys, i) =>
            after(store, i + round, store.removeRuns(keys))
          ),
          eachAtOnce(reversed(found), (run, i) => after(store, i % 5, store.reopen(run, entry(2), `b-${i}`, 30_000)))
        ],
        { concurrency: "unbounded" }
      )
      const leased = reopened.flatMap((lease) => (Option.isSome(lease) ? [lease.value] : []))
      assert.strictEqual(
        removed.reduce((sum, count) => sum + count, 0),
        30 - leased.length
      )
      yield* areTheirOwn(store, leased)
      const isLeased = new Set(leased.map(({ key }) => key))
      for (const { id, key } of found) {
        assert.strictEqual(Option.isSome(yield* store.find(id)), isLeased.has(key))
        assert.strictEqual((yield* store.journal(key)).length, isLeased.has(key) ? 2 : 0)
      }
      for (const lease of leased) yield* store.finish(lease, { status: "completed", exit: "" })
    }
  },

  *"a run that is removed while it is opened, signalled and written leaves nothing behind"(store) {
    for (const round of range(4)) {
      const leases = yield* openAll(
        store,
        runNames(20).map((name) => `${round} ${name}`),
        "a"
      )
      yield* eachAtOnce(leases, (lease) => store.append(lease, [entry(1)]))
      yield* eachAtOnce(leases, ({ run }) => store.signal(run, "before", "1"))
      yield* eachAtOnce(leases, (lease) => store.finish(lease, { status: "failed", exit: "" }))
      const [opened, signalled, removed, kept] = yield* Effect.all(
        [
          eachAtOnce(leases, ({ run }, i) => after(store, i % 4, open(store, run, "b"))),
          eachAtOnce(leases, ({ run }, i) => after(store, i % 3, store.signal(run, "go", "1"))),
          after(store, round, store.removeRuns(reversed(leases.map(({ key }) => key)))),
          eachAtOnce(leases, (lease) => isKept(store.append(lease, [entry(2)])))
        ],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(removed, 20)
      assert.ok(!kept.includes(true), "An ended lease wrote a line.")
      for (const [i, { key, run }] of leases.entries()) {
        assert.deepStrictEqual([yield* store.journal(key), yield* store.signals(key)], [[], []])
        const result = opened[i]
        assert.ok(result?._tag === "Created" || result?._tag === "Finished", result?._tag)
        const again = yield* store.find(run)
        assert.strictEqual(Option.isSome(again), result._tag === "Created")
        if (Option.isNone(again)) continue
        assert.notStrictEqual(again.value.key, key)
        assert.deepStrictEqual(yield* store.journal(again.value.key), [])
        const sent = signalled[i] === "Sent" ? 1 : 0
        assert.strictEqual(again.value.signals, sent)
        assert.strictEqual((yield* store.signals(again.value.key)).length, sent)
      }
      yield* eachAtOnce(leases, ({ run }) => store.release("b", run))
    }
  }
}
