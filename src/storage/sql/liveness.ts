import * as Effect from "effect/Effect"
import type { StorageError } from "../StorageError.js"
import type { ClientAccess } from "./access.js"

/** Which processes whose leases have not ended are known to be dead. */
export interface Liveness {
  /** The owner of a lease without the number of its acquisition: SQL. */
  readonly process: string
  readonly gone: (operation: string) => Effect.Effect<ReadonlyArray<string>, StorageError>
}

export const makeLiveness = (
  { dialect, now, read, table }: ClientAccess,
  isGone: (owner: string) => boolean
): Liveness => {
  const process =
    dialect.name === "pg"
      ? "regexp_replace(owner, '/[0-9]+$', '/')"
      : "CASE WHEN owner GLOB '*/[0-9]*' THEN rtrim(owner, '0123456789') ELSE owner END"
  return {
    process,
    gone: (operation) =>
      Effect.map(
        Effect.flatMap(now, ({ params, text }) =>
          read<{ readonly process: unknown }>(
            operation,
            `SELECT DISTINCT ${process} AS process FROM ${table("runs")}
             WHERE status IS NULL AND owner IS NOT NULL AND lease_until > ${text}`,
            params
          )
        ),
        (rows) => rows.flatMap(({ process }) => (typeof process === "string" && isGone(process) ? [process] : []))
      )
  }
}
