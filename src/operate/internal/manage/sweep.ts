import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Lock from "../../../lock/Lock.js"
import * as Storage from "../../../storage/Storage.js"
import { recoveries } from "../records/records.js"
import { sweepOf } from "./initiate.js"

/** A failure whose lock nobody holds is recovered by nobody. */
export const sweepAll = Effect.gen(function* () {
  const left = [
    ...(yield* recoveries.readable({ status: "in_progress", limit: all })),
    ...(yield* recoveries.readable({ status: "pending", limit: all }))
  ]
  const failures = [...new Set(left.map(({ subject }) => subject))]
  const swept = yield* Effect.forEach(failures, (id) =>
    Lock.withLockIfAvailable(sweepOf(id), { kind: "failure", id }).pipe(
      Effect.map(Option.getOrElse(() => 0)),
      // Somebody was quicker, or is at it.
      Effect.catchTags({
        LockLost: () => Effect.succeed(0),
        LockError: (error) =>
          error.cause instanceof Storage.StorageError ? Effect.fail(error.cause) : Effect.succeed(0)
      })
    )
  )
  return swept.reduce((sum, count) => sum + count, 0)
}).pipe(Effect.provide(Lock.layerStorage()))

const all = Number.MAX_SAFE_INTEGER

const final = [
  ["failure", "resolved"],
  ["recovery", "completed"],
  ["recovery", "failed"],
  ["recovery", "cancelled"]
] as const

/** Page by page, so that no more is held in memory. */
const page = 1_000

export const cleanupRecords = (olderThanMillis: number) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const unchangedSince = (yield* storage.now) - olderThanMillis
    let removed = 0
    for (const [kind, status] of final) {
      for (;;) {
        const found = yield* storage.records({ kind, status, unchangedSince, limit: page })
        if (found.length === 0) break
        removed += yield* storage.removeRecords(found.map(({ key }) => key))
      }
    }
    return removed
  })
