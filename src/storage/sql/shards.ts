import * as Effect from "effect/Effect"
import type { OwnedShards, RunStore } from "../Store.js"
import { ownersOf } from "../shards.js"
import * as sqlite from "../sqlite/shards.js"
import type { ClientAccess } from "./access.js"
import { type Part, part } from "./reading.js"

/** Whether the shard of a row is owned, where it is known. */
export const isOwnedShard = ({ dialect }: Pick<ClientAccess, "dialect">, placement: OwnedShards): Part => {
  const { owned, shards } = placement
  if (dialect.name === "pg") return part("abs(shard % ?::int) + 1 = ANY(?::int[])", shards, owned)
  return part(sqlite.isOwnedShard("?", "?"), sqlite.shardParams(placement).owned, shards)
}

/** `isPlacedLease` */
const isPlacedLease = ({ dialect }: Pick<ClientAccess, "dialect">): string =>
  dialect.name === "pg" ? "owner ~ '/0[0-9]*$'" : sqlite.isPlacedLease

/** Rows in use are not waited for: their leases are being renewed, or ended. */
export const makeEndPlacedLeases = (access: ClientAccess): RunStore["endPlacedLeases"] => {
  const { dialect, table } = access
  const runs = table("runs")
  const skip = dialect.name === "pg" ? " FOR UPDATE SKIP LOCKED" : ""
  return (leases) =>
    Effect.flatMap(access.now, ({ params, text }) => {
      const owned = isOwnedShard(access, leases)
      const own = ownersOf(leases.by)
      const isOwn =
        dialect.name === "pg" ? part("starts_with(owner, ?)", own) : part("substr(owner, 1, length(?)) = ?", own, own)
      const ended = access.write(
        "Ending placed leases",
        `UPDATE ${runs} SET lease_until = ${text} WHERE key IN (
           SELECT key FROM ${runs} WHERE owner IS NOT NULL AND status IS NULL AND lease_until > ${text}
             AND shard IS NOT NULL AND ${owned.text} AND ${isPlacedLease(access)} AND NOT ${isOwn.text}
           ORDER BY key${skip}
         ) RETURNING key`,
        [...params, ...params, ...owned.params, ...isOwn.params],
        { idempotent: true }
      )
      return Effect.map(ended, ({ length }) => length)
    })
}
