import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import { warning } from "../../resilience/internal/kernel/logged.js"
import { steadyMillis } from "../../resilience/internal/kernel/timer.js"
import { LeaseLost, type StorageError } from "../StorageError.js"
import type { Lease, Store } from "../Store.js"

interface Renewal {
  readonly onLost: (error: LeaseLost) => void
  /** The last time the lease was known to be in force, by the clock of this process that is never set. */
  renewedAt: number
}

/**
 * One fiber renews all leases of the process in one statement, while there are
 * any. A lease that could not be renewed for its whole duration counts as lost,
 * since another process may have claimed the run. The duration is measured by a
 * clock that is never set, and without the store: neither its failures nor its
 * silence end the renewals.
 */
export const makeLeaseRenewal = Effect.fnUntraced(function* (store: Store, leaseMillis: number) {
  const renewals = new Map<Lease, Renewal>()
  const clock = yield* Effect.clock
  const runtime = yield* Effect.runtime<never>()
  let fiber: Fiber.RuntimeFiber<void> | undefined
  let isClosed = false

  const lose = (lease: Lease): void => {
    const renewal = renewals.get(lease)
    renewals.delete(lease)
    renewal?.onLost(new LeaseLost({ run: lease.run, token: lease.token }))
  }

  const renewAll = Effect.suspend(() => {
    const leases = [...renewals.keys()]
    // Leases last from before the statement, whenever it is carried out.
    const now = steadyMillis(clock)
    return Effect.map(store.renew(leases, leaseMillis), (lost) => {
      for (const lease of leases) {
        const renewal = renewals.get(lease)
        if (renewal !== undefined) renewal.renewedAt = now
      }
      lost.forEach(lose)
    })
  })

  const loseExpired = Effect.sync(() => {
    const now = steadyMillis(clock)
    for (const [lease, { renewedAt }] of [...renewals]) if (now - renewedAt >= leaseMillis) lose(lease)
  })

  const beat = Effect.sleep(leaseMillis / 3)

  /** The store may give no answer for longer than the leases last. */
  const loseWhileSilent = Effect.forever(Effect.zipRight(beat, loseExpired))

  const renewWhileLeased: Effect.Effect<void> = Effect.suspend(() => {
    if (renewals.size === 0) {
      fiber = undefined
      return Effect.void
    }
    const failed = (cause: Cause.Cause<StorageError>) =>
      Cause.isFailure(cause)
        ? loseExpired
        : Effect.zipRight(warning("the storage died of a renewal of its leases; it is tried again", cause), loseExpired)
    const renewed = Effect.catchAllCause(renewAll, failed)
    return Effect.zipRight(Effect.raceFirst(renewed, loseWhileSilent), Effect.zipRight(beat, renewWhileLeased))
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isClosed = true
      return fiber === undefined ? Effect.void : Fiber.interrupt(fiber)
    })
  )

  return (lease: Lease, onLost: (error: LeaseLost) => void): (() => void) => {
    renewals.set(lease, { onLost, renewedAt: steadyMillis(clock) })
    if (fiber === undefined && !isClosed) {
      fiber = Runtime.runFork(runtime)(Effect.zipRight(beat, renewWhileLeased))
    }
    // The fiber ends at its next beat if no lease is left by then: most runs are shorter than a beat.
    return () => void renewals.delete(lease)
  }
})
