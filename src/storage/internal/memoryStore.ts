import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Store } from "../Store.js"
import { changesOf } from "./changes.js"
import { makeMemoryLocks } from "./memoryLocks.js"
import { makeMemoryRecords } from "./memoryRecords.js"
import { makeMemoryRestore } from "./memoryRestore.js"
import { makeMemoryRuns, RunTable } from "./memoryRuns.js"
import { makeMemorySnapshots, SnapshotTable } from "./memorySnapshots.js"

/** Every operation is synchronous, so no other can run between its parts. */
export const makeMemoryStore = (): Store => {
  const runs = new RunTable()
  const snapshots = new SnapshotTable()
  const records = makeMemoryRecords()
  return {
    ...makeMemoryRuns(runs, snapshots),
    ...makeMemorySnapshots(snapshots, runs),
    ...makeMemoryLocks(),
    ...records.store,
    usage: Effect.sync(() => {
      const [ofRuns, ofSnapshots, ofRecords] = [runs.usage, snapshots.usage, records.usage()]
      const bytes = ofRuns.bytes + ofSnapshots.bytes + ofRecords.bytes
      return { ...ofRuns, ...ofSnapshots, ...ofRecords, bytes }
    }),
    restore: makeMemoryRestore(runs, snapshots, records),
    // Rows in memory cannot be damaged.
    check: Effect.succeed([]),
    now: Clock.currentTimeMillis,
    changes: changesOf(runs.listeners)
  }
}
