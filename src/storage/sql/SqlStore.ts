import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { RunStore, Store } from "../Store.js"
import type { ClientAccess } from "./access.js"
import { releasedAfterEnd } from "./acquisitions.js"
import { makeSqlCheck } from "./check.js"
import { makeClaimDue } from "./claims.js"
import { makeControls, makeEnqueue } from "./controls.js"
import { makeEndChild } from "./endings.js"
import { makeSqlJournal } from "./journal.js"
import { makeLiveness } from "./liveness.js"
import { makeSqlLocks } from "./locks.js"
import { currentTime } from "./reading.js"
import { makeSqlRecords } from "./records.js"
import { makeSqlRestore } from "./restore.js"
import { makeRunQueries } from "./runQueries.js"
import { makeRunReader } from "./runRows.js"
import { makeLeases, makeOpen, makeRemoveRuns } from "./runs.js"
import { makeRunWrites } from "./runWrites.js"
import { makeEndPlacedLeases } from "./shards.js"
import { makeSqlSignals } from "./signals.js"
import { makeSqlSnapshots } from "./snapshots.js"
import { makeSqlTransactional } from "./transactional.js"
import { makeSqlUsage } from "./usage.js"

/**
 * The store over one client, whose tables are up to date. `isGone` tells whether the
 * process that owns a lease is known to be dead: its leases end at once.
 * `onSignalled` hears of the parents of runs that end.
 */
export const makeSqlStore = (
  access: ClientAccess,
  isGone: (owner: string) => boolean,
  onSignalled: (run: string) => void = () => undefined
): Effect.Effect<Store, never, Scope.Scope> =>
  Effect.map(Effect.all([makeSqlJournal(access), makeRunWrites(access)]), ([{ forget, ...journal }, writes]): Store => {
    const reader = makeRunReader(access, isGone)
    const liveness = makeLiveness(access, isGone)
    const endChild = makeEndChild(access, onSignalled)
    const leases = makeLeases(access, reader, writes.finish, endChild)
    const claimDue = makeClaimDue(access, reader, liveness)
    const controls = makeControls(access, reader, endChild)
    const runs: RunStore = {
      ...journal,
      ...leases,
      ...releasedAfterEnd({ ...leases, open: makeOpen(access, reader, writes.insert), claimDue }),
      ...makeSqlSignals(access, reader),
      ...controls,
      continueAs: (lease, next) => Effect.tap(controls.continueAs(lease, next), () => Effect.sync(() => forget(lease))),
      endPlacedLeases: makeEndPlacedLeases(access),
      enqueue: makeEnqueue(access, reader, writes.insert),
      ...makeRunQueries(access, reader, liveness),
      removeRuns: makeRemoveRuns(access),
      transactional: makeSqlTransactional(access)
    }
    return {
      ...runs,
      ...makeSqlSnapshots(access),
      ...makeSqlLocks(access, isGone),
      ...makeSqlRecords(access),
      usage: makeSqlUsage(access),
      check: makeSqlCheck(access),
      restore: makeSqlRestore(access),
      now: currentTime(access, "Reading the clock"),
      changes: Stream.empty
    }
  })
