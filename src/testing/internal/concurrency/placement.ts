import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import type * as Storage from "../../../storage/Storage.js"
import { shardOf } from "../../../storage/shards.js"
import { type Contract, enqueued, find } from "../fixtures.js"
import { after, areTheirOwn, eachAtOnce, range, runNames } from "./support.js"

const workflows = [{ workflow: "checkout", version: "1" }]
const shards = 6

const claim = (store: Storage.Store, owned: ReadonlyArray<number>, owner: string, limit: number) =>
  Effect.map(store.claimDue({ workflows, limit, placement: { shards, owned } }, owner, 30_000), (due) =>
    due.flatMap((one) => (one._tag === "Claimed" ? [one.lease] : []))
  )

/** Claims of some shards, and ends of placed leases, by several callers at once. */
export const concurrentPlacement: Contract = {
  *"callers that claim shards at once get each run once, also where they believe to own the same ones"(store) {
    const names = runNames(60)
    yield* eachAtOnce(names, (id) => enqueued(store, id))
    const claims = yield* eachAtOnce(range(6), (i) =>
      Effect.map(
        Effect.forEach(range(12), (n) => claim(store, [(i % 6) + 1, ((i + 1) % 6) + 1], `p${i}/0${n + 1}`, 5)),
        (leases) => leases.flat()
      )
    )
    for (const [i, leases] of claims.entries()) {
      const owned = [(i % 6) + 1, ((i + 1) % 6) + 1]
      assert.ok(leases.every(({ run }) => owned.includes(shardOf(run, shards))))
    }
    const all = claims.flat()
    assert.strictEqual(all.length, names.length)
    yield* areTheirOwn(store, all)
  },

  *"a lease that is ended and claimed while its owner renews and writes has one owner"(store) {
    const names = runNames(30)
    yield* eachAtOnce(names, (id) => enqueued(store, id))
    const all = range(shards).map((i) => i + 1)
    const before = yield* claim(store, all, "old/01", 100)
    assert.strictEqual(before.length, names.length)
    const [renewed, taken] = yield* Effect.all(
      [
        eachAtOnce(before, (lease, i) =>
          after(
            store,
            i % 4,
            Effect.map(store.renew([lease], 30_000), (lost) => lost.length === 0)
          )
        ),
        eachAtOnce(range(3), (i) =>
          Effect.gen(function* () {
            yield* store.endPlacedLeases({ shards, owned: all, by: `new${i}` })
            return yield* claim(store, all, `new${i}/01`, 100)
          })
        )
      ],
      { concurrency: "unbounded" }
    )
    const leases = taken.flat()
    // A later ending breaks what an earlier caller claimed: the run is that of the highest token.
    const latest = new Map<string, Storage.Lease>()
    for (const lease of leases) {
      if (lease.token > (latest.get(lease.run)?.token ?? 0)) latest.set(lease.run, lease)
    }
    yield* areTheirOwn(store, [...latest.values()])
    for (const [i, lease] of before.entries()) {
      if (!latest.has(lease.run)) assert.strictEqual((yield* find(store, lease.run)).owner, "old/01")
      if (renewed[i] === false) assert.ok(latest.has(lease.run))
    }
  }
}
