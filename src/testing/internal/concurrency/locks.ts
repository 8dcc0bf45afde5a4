import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../../storage/Storage.js"
import type { Contract } from "../fixtures.js"
import { eventLoopTurn } from "../testClock.js"
import { after, eachAtOnce, pace, range } from "./support.js"

const names = range(30).map((i) => `task/${i}`)

const lock = (store: Storage.Store, name: string, owner: string) =>
  Effect.map(store.lock(name, owner, 30_000), (result) => (result._tag === "Locked" ? result.lease : undefined))

/** The locks that were acquired, each of which is the one that the store shows. */
const areHeld = (store: Storage.Store, acquired: ReadonlyArray<Storage.LockLease | undefined>) =>
  Effect.gen(function* () {
    const leases = acquired.flatMap((lease) => (lease === undefined ? [] : [lease]))
    assert.strictEqual(new Set(leases.map(({ name }) => name)).size, leases.length, "Two owners have one lock.")
    for (const { name, owner, token } of leases) {
      const row = Option.getOrThrow(yield* store.findLock(name))
      assert.deepStrictEqual([row.owner, row.token], [owner, token])
    }
    return leases
  })

/** Locks that several callers want at once. */
export const concurrentLocks: Contract = {
  *"of many that acquire a new lock at once, one does"(store) {
    for (const round of range(4)) {
      const acquired = yield* eachAtOnce(range(80), (i) => lock(store, `${round} ${names[i % 8]}`, `owner-${i}`))
      const leases = yield* areHeld(store, acquired)
      assert.strictEqual(leases.length, 8)
    }
  },

  *"a lock has one holder at a time, and its tokens rise"(store) {
    let holder: number | undefined
    const tokens: Array<number> = []
    const hold = (caller: number) =>
      Effect.gen(function* () {
        const lease = yield* lock(store, "task", `owner-${caller}-${tokens.length}`)
        if (lease === undefined) return false
        assert.strictEqual(holder, undefined, `Owners ${holder} and ${caller} hold the lock.`)
        holder = caller
        tokens.push(lease.token)
        yield* pace(store, 1)
        assert.ok(yield* store.renewLock(lease, 30_000))
        holder = undefined
        assert.ok(yield* store.unlock("task", lease.owner))
        return true
      })
    yield* eachAtOnce(range(8), (caller) =>
      Effect.forEach(
        range(4),
        () => Effect.repeat(Effect.zipLeft(hold(caller), eventLoopTurn), { until: (held) => held }),
        { discard: true }
      )
    )
    assert.strictEqual(new Set(tokens).size, 32)
    assert.deepStrictEqual(
      tokens,
      [...tokens].sort((a, b) => a - b)
    )
  },

  *"a lock that expired is taken over by one owner"(store) {
    for (const round of range(5)) {
      const held = yield* eachAtOnce(names, (name) => lock(store, name, `holder-${round}-${name}`))
      const before = yield* areHeld(store, held)
      assert.strictEqual(before.length, 30)
      yield* TestClock.adjust("31 seconds")
      const taken = yield* eachAtOnce(range(120), (i) => lock(store, names[i % 30] ?? "", `thief-${round}-${i}`))
      const leases = yield* areHeld(store, taken)
      assert.strictEqual(leases.length, 30)
      for (const { name, token } of leases) {
        assert.ok(token > (before.find((lease) => lease.name === name)?.token ?? 0))
      }
      yield* eachAtOnce(leases, ({ name, owner }) => store.unlock(name, owner))
    }
  },

  *"a lock is renewed by its owner or taken over, never both"(store) {
    for (const round of range(5)) {
      const held = yield* areHeld(
        store,
        yield* eachAtOnce(names, (name) => lock(store, name, `holder-${round}-${name}`))
      )
      yield* TestClock.adjust("31 seconds")
      const results = yield* eachAtOnce(held, (lease, i) => {
        const renewing = after(store, i % 3, store.renewLock(lease, 30_000))
        const taking = lock(store, lease.name, `thief-${round}-${i}`)
        return i % 2 === 0
          ? Effect.all({ renewed: renewing, taken: taking }, { concurrency: "unbounded" })
          : Effect.all({ taken: taking, renewed: renewing }, { concurrency: "unbounded" })
      })
      for (const { renewed, taken } of results) assert.strictEqual(renewed, taken === undefined)
      yield* areHeld(
        store,
        results.map(({ taken }) => taken)
      )
      const owners = [...held, ...results.flatMap(({ taken }) => (taken === undefined ? [] : [taken]))]
      yield* eachAtOnce(owners, ({ name, owner }) => store.unlock(name, owner))
    }
  },

  *"a lock that is acquired while free ones are removed is not removed"(store) {
    for (const round of range(5)) {
      const first = yield* areHeld(store, yield* eachAtOnce(names, (name) => lock(store, name, `first-${round}`)))
      yield* eachAtOnce(first, ({ name, owner }) => store.unlock(name, owner))
      yield* TestClock.adjust("1 minute")
      const unusedSince = (yield* store.now) - 1_000
      const [acquired] = yield* Effect.all(
        [
          eachAtOnce(names, (name, i) => after(store, i % 3, lock(store, name, `second-${round}-${i}`))),
          store.removeLocks(unusedSince),
          after(store, round, store.removeLocks(unusedSince))
        ],
        { concurrency: "unbounded" }
      )
      const second = yield* areHeld(store, acquired)
      assert.strictEqual(second.length, 30)
      for (const [i, { token }] of second.entries()) assert.ok(token > (first[i]?.token ?? 0))
      yield* eachAtOnce(second, ({ name, owner }) => store.unlock(name, owner))
    }
  }
}
