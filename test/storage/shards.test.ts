import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Hash from "effect/Hash"
import { isPlacedLease, leaseOwner, shardHash, shardOf } from "../../src/storage/shards.js"

describe("the shard of a run", () => {
  it("is that of `Sharding.getShardId` of @effect/cluster, for every id and number of shards", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.string({ unit: "binary" }),
        FastCheck.integer({ min: 1, max: 5_000 }),
        (id, shards) => {
          assert.strictEqual(shardHash(id), Hash.string(id))
          assert.strictEqual(shardOf(id, shards), Math.abs(Hash.string(id) % shards) + 1)
          assert.isTrue(shardOf(id, shards) >= 1 && shardOf(id, shards) <= shards)
        }
      )
    )
  })

  it("never changes, since it is stored", () => {
    assert.deepStrictEqual(["", "order-1", "é🙂"].map(shardHash), [5381, 979819287, 171266259])
  })
})

describe("the name of a lease's owner", () => {
  it("tells placed leases from others, whatever its process is called", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string(), FastCheck.integer({ min: 1 }), (process, n) => {
        assert.isTrue(isPlacedLease(leaseOwner(process, n, true)))
        assert.isFalse(isPlacedLease(leaseOwner(process, n)))
        assert.strictEqual(Number(leaseOwner(process, n, true).slice(process.length + 1)), n)
      })
    )
    for (const owner of ["", "0", "a0", "a/b0", "a/0b", "a/01b"]) assert.isFalse(isPlacedLease(owner), owner)
  })
})
