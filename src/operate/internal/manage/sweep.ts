import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Lock from "../../../lock/Lock.js"
import { age, checked } from "../../../resilience/internal/kernel/options.js"
import * as Storage from "../../../storage/Storage.js"
import { recoveries } from "../records/records.js"
import { lockOf, releaseAbandoned } from "./held.js"
import { endRecovery } from "./progress.js"

export const isOpen = (status: string): boolean => status === "pending" || status === "in_progress"

/** All open recoveries, of one failure or of all. Ended ones do not hide them. */
const openRecoveries = (failure?: string) => {
  const query = { subject: failure, limit: Number.MAX_SAFE_INTEGER }
  return Effect.zipWith(
    recoveries.listReadableStored({ ...query, status: "in_progress" }),
    recoveries.listReadableStored({ ...query, status: "pending" }),
    (inProgress, pending) => [...inProgress, ...pending]
  )
}

/**
 * Ends the open recoveries of a failure as `failed`, and returns their number. The caller holds the lock of the
 * failure, so the processes of these recoveries have ended.
 */
export const closeAbandoned = (failure: string) =>
  Effect.gen(function* () {
    const open = yield* openRecoveries(failure)
    let closed = 0
    for (const stored of open) {
      yield* endRecovery(yield* Ref.make(stored), "failed", "The process that ran this recovery ended.").pipe(
        Effect.tap(() => closed++),
        Effect.catchTags({
          ChangedElsewhere: () => Effect.void,
          // The record was decoded from the storage, so it can be encoded.
          InvalidRequest: Effect.die
        })
      )
    }
    return closed
  })

/** Closes the abandoned recoveries of a failure if its lock is free, with their holds, and returns their number. */
export const closeIfAbandoned = (failure: string) =>
  Lock.withLockIfAvailable(closeAbandoned(failure), lockOf(failure)).pipe(
    Effect.map(Option.getOrElse(() => 0)),
    // Another process took the lock: it recovers the failure, or closes its recoveries.
    Effect.catchTags({
      LockLost: () => Effect.succeed(0),
      LockError: (error) => (error.cause instanceof Storage.StorageError ? Effect.fail(error.cause) : Effect.succeed(0))
    }),
    // The lock is free again, so that the holds count as abandoned.
    Effect.tap((closed) => (closed > 0 ? releaseAbandoned : Effect.void))
  )

/**
 * Closes the abandoned recoveries of all failures whose lock is free, and returns their number. Ends the holds of
 * recoveries that died before their first record, or after their last.
 */
export const closeAllAbandoned = Effect.gen(function* () {
  const open = yield* openRecoveries()
  const failures = [...new Set(open.map(({ subject }) => subject))]
  const closed = yield* Effect.forEach(failures, closeIfAbandoned)
  yield* releaseAbandoned
  return closed.reduce((sum, count) => sum + count, 0)
}).pipe(Effect.provide(Lock.layerStorage()))

const finalStatuses = [
  ["failure", "resolved"],
  ["recovery", "completed"],
  ["recovery", "failed"],
  ["recovery", "cancelled"]
] as const

/** Bounds the memory of a cleanup. */
const pageSize = 1_000

/** Removes resolved failures and ended recoveries, and returns their number. */
export const cleanupRecords = (olderThan: Duration.DurationInput) =>
  Effect.gen(function* () {
    const millis = yield* checked(() => age("olderThan", olderThan))
    const storage = yield* Storage.Storage
    const unchangedSince = (yield* storage.now) - millis
    let removed = 0
    for (const [kind, status] of finalStatuses) {
      for (;;) {
        const found = yield* storage.records({ kind, status, unchangedSince, limit: pageSize })
        if (found.length === 0) break
        removed += yield* storage.removeRecords(found.map(({ key }) => key))
      }
    }
    return removed
  })
