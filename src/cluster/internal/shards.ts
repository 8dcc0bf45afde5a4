import type * as EntityId from "@effect/cluster/EntityId"
import * as ShardId from "@effect/cluster/ShardId"
import type * as Sharding from "@effect/cluster/Sharding"
import { shardHash, shardOf } from "../../storage/shards.js"

type Service = Sharding.Sharding["Type"]

/** The shard of an entity with this name. */
const shardAt = (sharding: Service, group: string, name: string): number =>
  // The brand of an id is a check of its type, and any text is one.
  sharding.getShardId(name as EntityId.EntityId, group).id

const probes = Array.from({ length: 64 }, (_, i) => `probe ${i} ${i * i}`)

const greatestDivisor = (a: number, b: number): number => (b === 0 ? a : greatestDivisor(b, a % b))

/**
 * How many shards a group has. `Sharding` does not tell, but places each name at
 * `abs(hash % shards) + 1`: what the hash has beyond that is a multiple of the number.
 * Undefined if it places names otherwise.
 */
export const countShards = (sharding: Service, group: string): number | undefined => {
  const places = probes.map((name) => ({ name, shard: shardAt(sharding, group, name) }))
  const beyond = places.map(({ name, shard }) => Math.abs(Math.abs(shardHash(name)) - (shard - 1)))
  const shards = beyond.reduce(greatestDivisor)
  return shards > 0 && places.every(({ name, shard }) => shardOf(name, shards) === shard) ? shards : undefined
}

/** The shards of the group whose locks this process holds now. */
export const ownedShards = (sharding: Service, group: string, shards: number): ReadonlyArray<number> => {
  const owned: Array<number> = []
  for (let shard = 1; shard <= shards; shard++) {
    if (sharding.hasShardId(ShardId.make(group, shard))) owned.push(shard)
  }
  return owned
}

/** For each shard the name of an entity that stands on it. A shard without one has no keeper. */
export const keeperNames = (shards: number): ReadonlyMap<number, string> => {
  const names = new Map<number, string>()
  for (let i = 0; names.size < shards && i < shards * 1_000; i++) {
    const shard = shardOf(`${i}`, shards)
    if (!names.has(shard)) names.set(shard, `${i}`)
  }
  return names
}
