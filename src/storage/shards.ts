/** Shards of runs, and the names of leases that were acquired for them. */
import type { OwnedShards } from "./RunStore.js"

/**
 * The hash of a run's id, 32 bits with a sign. It is stored beside the run, so it
 * must never change: this is `Hash.string` of Effect as of 3.22, which `Sharding`
 * of @effect/cluster uses.
 */
export const shardHash = (run: string): number => {
  let hash = 5381
  for (let i = run.length - 1; i >= 0; i--) hash = (hash * 33) ^ run.charCodeAt(i)
  return (hash & 0xbfffffff) | ((hash >>> 1) & 0x40000000)
}

/** The shard of a run, from 1 to `shards`: that of `Sharding.getShardId`, whose `shardsPerGroup` is `shards`. */
export const shardOf = (run: string, shards: number): number => Math.abs(shardHash(run) % shards) + 1

/** Whether a run is of one of the shards. */
export const isInShards = ({ owned, shards }: OwnedShards): ((run: string) => boolean) => {
  const known = new Set(owned)
  return (run) => known.has(shardOf(run, shards))
}

/**
 * The name of the owner of a lease: the process, and the number of the acquisition.
 * That of a placed lease begins with a zero, which readers of the number pass over.
 */
export const leaseOwner = (process: string, acquisition: number, isPlaced = false): string =>
  `${process}/${isPlaced ? "0" : ""}${acquisition}`

/** Whether `claimDue` acquired the lease with `placement`. */
export const isPlacedLease = (owner: string): boolean => /\/0\d*$/.test(owner)

/** What the owners of all leases of a process begin with. */
export const ownersOf = (process: string): string => `${process}/`
