import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import type * as Storage from "../../../storage/Storage.js"
import { type Contract, entry, find, open } from "../fixtures.js"
import { after, areTheirOwn, claimAll, claimSome, eachAtOnce, openAll, range, reversed, runNames } from "./support.js"

/** Opens runs that are due since then and not leased. */
const dueRuns = (store: Storage.Store, names: ReadonlyArray<string>) =>
  Effect.zipLeft(openAll(store, names, "first"), store.release("first"))

const leasesOf = (opened: ReadonlyArray<Storage.Opened>): ReadonlyArray<Storage.Lease> =>
  opened.flatMap((one) => ("lease" in one ? [one.lease] : []))

/** Leases of runs that several callers want at once. */
export const concurrentLeases: Contract = {
  *"of many callers that open a run at once, one creates it"(store) {
    for (const round of range(4)) {
      const ids = runNames(10).map((name) => `${round} ${name}`)
      // Not one run after the other, but in turns.
      const opened = yield* eachAtOnce(range(80), (i) => open(store, ids[i % 10] ?? "", `owner-${round}-${i}`))
      const tags = opened.map(({ _tag }) => _tag)
      assert.strictEqual(tags.filter((tag) => tag === "Created").length, 10)
      assert.strictEqual(tags.filter((tag) => tag === "Leased").length, 70)
      yield* areTheirOwn(store, leasesOf(opened))
    }
  },

  *"callers that claim at once get different runs, and all of them"(store) {
    const ids = runNames(50)
    yield* dueRuns(store, ids)
    for (const round of range(4)) {
      const owners = range(20).map((i) => `${round}-${i}`)
      const claimed = yield* eachAtOnce(owners, (owner) => claimSome(store, owner, 5))
      for (const leases of claimed) assert.ok(leases.length <= 5)
      // A store may skip runs that another caller claims, and not find them at once.
      const rest = yield* claimAll(store, `${round}-rest`, 5)
      const leases = [...claimed.flat(), ...rest]
      assert.strictEqual(leases.length, 50)
      yield* areTheirOwn(store, leases)
      yield* eachAtOnce(leases, (lease) => store.append(lease, [entry(round + 1)]))
      yield* eachAtOnce([...owners, `${round}-rest`], (owner) => store.release(owner))
    }
    for (const id of ids) {
      const { key } = yield* find(store, id)
      assert.strictEqual((yield* store.journal(key)).length, 4)
    }
  },

  *"a run that is opened and claimed at once goes to one caller"(store) {
    const ids = runNames(30)
    yield* dueRuns(store, ids)
    for (const round of range(4)) {
      const [claims, opens, others] = yield* Effect.all(
        [
          eachAtOnce(range(5), (i) => claimSome(store, `claims-${round}-${i}`, 20)),
          eachAtOnce(ids, (id, i) => after(store, i % 3, open(store, id, `opens-${round}-${i}`))),
          eachAtOnce(reversed(ids), (id, i) => open(store, id, `others-${round}-${i}`))
        ],
        { concurrency: "unbounded" }
      )
      const leases = [...claims.flat(), ...leasesOf(opens), ...leasesOf(others)]
      assert.strictEqual(leases.length, 30)
      yield* areTheirOwn(store, leases)
      yield* eachAtOnce(leases, ({ owner, run }) => store.release(owner, run))
    }
  },

  *"a lease is renewed or taken over, never both"(store) {
    const ids = runNames(40)
    yield* dueRuns(store, ids)
    for (const round of range(5)) {
      const held = yield* claimAll(store, `holder-${round}`, 40)
      yield* TestClock.adjust("31 seconds")
      const [lost, claims, opens] = yield* Effect.all(
        [
          eachAtOnce([held, reversed(held), held.slice(0, 20)], (leases, i) =>
            after(store, i + (round % 3), store.renew(leases, 30_000))
          ),
          eachAtOnce(range(3), (i) => after(store, i, claimSome(store, `claims-${round}-${i}`, 15))),
          eachAtOnce(reversed(ids).slice(0, 20), (id, i) => after(store, i % 4, open(store, id, `opens-${round}-${i}`)))
        ],
        { concurrency: "unbounded" }
      )
      const taken = [...claims.flat(), ...leasesOf(opens)]
      yield* areTheirOwn(store, taken)
      const inOrder = (leases: ReadonlyArray<Storage.Lease>) => leases.map(({ run }) => run).sort()
      const half = new Set(held.slice(0, 20).map(({ run }) => run))
      assert.deepStrictEqual(inOrder(lost[0] ?? []), inOrder(taken))
      assert.deepStrictEqual(inOrder(lost[1] ?? []), inOrder(taken))
      assert.deepStrictEqual(inOrder(lost[2] ?? []), inOrder(taken.filter(({ run }) => half.has(run))))
      yield* eachAtOnce([...taken, ...held], ({ owner, run }) => store.release(owner, run))
    }
  },

  *"releasing an owner does not end the leases of those that took its runs over"(store) {
    const ids = runNames(40)
    yield* dueRuns(store, ids)
    for (const round of range(5)) {
      const held = yield* claimAll(store, `holder-${round}`, 40)
      yield* TestClock.adjust("31 seconds")
      const [, , claims, opens] = yield* Effect.all(
        [
          after(store, round, store.release(`holder-${round}`)),
          store.renew(reversed(held), 1),
          eachAtOnce(range(4), (i) => after(store, i, claimSome(store, `claims-${round}-${i}`, 10))),
          eachAtOnce(reversed(ids).slice(0, 20), (id, i) => after(store, i % 4, open(store, id, `opens-${round}-${i}`)))
        ],
        { concurrency: "unbounded" }
      )
      const taken = [...claims.flat(), ...leasesOf(opens)]
      yield* areTheirOwn(store, taken)
      const isTaken = new Set(taken.map(({ run }) => run))
      for (const id of ids) if (!isTaken.has(id)) assert.strictEqual((yield* find(store, id)).owner, undefined)
      yield* eachAtOnce(taken, ({ owner, run }) => store.release(owner, run))
    }
  }
}
