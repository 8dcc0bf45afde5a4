import * as Effect from "effect/Effect"
import type { StorageError } from "../StorageError.js"
import type { Usage } from "../Store.js"
import type { Access } from "./access.js"

const tables = ["runs", "journal", "signals", "snapshots", "labels", "records", "counters", "locks"]

/** Counts all rows, exactly: a scan of four tables or of their smallest indexes. In Postgres the bytes are those of our tables with their indexes. */
export const makeSqlUsage = ({ dialect, read, table }: Access): Effect.Effect<Usage, StorageError> => {
  const count = (name: string) => `(SELECT COUNT(*) FROM ${table(name)})`
  const sizes = tables.map((name) => `pg_total_relation_size('${table(name).replaceAll("'", "''")}'::regclass)`)
  const bytes =
    dialect.name === "sqlite"
      ? "(SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size())"
      : sizes.join(" + ")
  const text = `SELECT ${count("runs")} AS runs, ${count("journal")} AS lines, ${count("snapshots")} AS snapshots,
    ${count("records")} AS records, ${bytes} AS bytes`
  return Effect.map(read<Record<keyof Usage, unknown>>("Measuring the storage", text), ([row]) => ({
    bytes: Number(row?.bytes ?? 0),
    runs: Number(row?.runs ?? 0),
    lines: Number(row?.lines ?? 0),
    snapshots: Number(row?.snapshots ?? 0),
    records: Number(row?.records ?? 0)
  }))
}
