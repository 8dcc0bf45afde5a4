import * as Effect from "effect/Effect"
import { RestoreConflict } from "../StorageError.js"
import type { Store, StoredRow } from "../Store.js"
import { areAlike, rowName } from "../storedRows.js"
import type { makeMemoryRecords } from "./memoryRecords.js"
import type { RunTable } from "./memoryRuns.js"
import type { SnapshotTable } from "./memorySnapshots.js"

export const makeMemoryRestore = (
  runs: RunTable,
  snapshots: SnapshotTable,
  records: ReturnType<typeof makeMemoryRecords>
): Store["restore"] => {
  const inPlaceOf = (row: StoredRow): StoredRow | undefined => {
    if (row._tag === "Run") {
      const stored = runs.byId.get(row.run.id)
      return stored && { _tag: "Run", run: stored.run, journal: stored.journal, signals: stored.signals }
    }
    if (row._tag === "Snapshot") {
      const snapshot = snapshots.get(row.snapshot.key)
      return snapshot && { _tag: "Snapshot", snapshot }
    }
    return records.inPlaceOf(row)
  }
  const write = (row: StoredRow): void => {
    if (row._tag === "Run") runs.restoreRun(row)
    else if (row._tag === "Snapshot") snapshots.restore(row.snapshot)
    else records.restore(row)
  }
  return (rows) =>
    Effect.suspend(() => {
      const missing = new Map<string, StoredRow>()
      for (const row of rows) {
        const name = rowName(row)
        const known = missing.get(name) ?? inPlaceOf(row)
        if (known === undefined) missing.set(name, row)
        else if (!areAlike(known, row)) return new RestoreConflict({ row: rowName(known) })
      }
      for (const row of missing.values()) write(row)
      return Effect.succeed(missing.size)
    })
}
