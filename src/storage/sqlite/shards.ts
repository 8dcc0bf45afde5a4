/** Shards of runs in the SQL of SQLite. */
import type { OwnedShards } from "../Store.js"

/**
 * Whether the shard of a row is owned. `owned` and `shards` are the parameters of
 * `shardParams`: one look at a text for each row, whatever the number of shards.
 */
export const isOwnedShard = (owned: string, shards: string): string =>
  `substr(${owned}, abs(shard % ${shards}) + 1, 1) = '1'`

/** Whether a claim of some shards may take the run. Rows of earlier versions have no shard. */
export const isPlaced = (owned: string, shards: string): string => `(shard IS NULL OR ${isOwnedShard(owned, shards)})`

/** The owned shards as a text of a 0 or 1 for each. */
export const shardParams = ({ owned, shards }: OwnedShards): { readonly owned: string; readonly shards: number } => {
  const marks = Array.from({ length: shards }, () => "0")
  for (const shard of owned) if (shard >= 1 && shard <= shards) marks[shard - 1] = "1"
  return { owned: marks.join(""), shards }
}

/** `isPlacedLease`: what precedes the number ends with a slash, and the number begins with a zero. */
export const isPlacedLease = `rtrim(owner, '0123456789') LIKE '%/' AND substr(owner, length(rtrim(owner, '0123456789')) + 1, 1) = '0'`
