import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import type { Service } from "../Storage.js"
import { LeaseLost } from "../StorageError.js"
import type { Lease, Store } from "../Store.js"

interface Renewal {
  readonly onLost: (error: LeaseLost) => void
  /** The last time the lease was known to be in force, by the clock of this process. */
  renewedAt: number
}

/**
 * One fiber renews all leases of the process in one statement, while there are
 * any. A lease that could not be renewed for its whole duration counts as lost,
 * since another process may have claimed the run.
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
    const now = clock.unsafeCurrentTimeMillis()
    return Effect.map(store.renew(leases, leaseMillis), (lost) => {
      for (const lease of leases) {
        const renewal = renewals.get(lease)
        if (renewal !== undefined) renewal.renewedAt = now
      }
      lost.forEach(lose)
    })
  })

  /** The store cannot be reached. */
  const loseExpired = Effect.sync(() => {
    const now = clock.unsafeCurrentTimeMillis()
    for (const [lease, { renewedAt }] of [...renewals]) if (now - renewedAt >= leaseMillis) lose(lease)
  })

  const renewWhileLeased: Effect.Effect<void> = Effect.suspend(() => {
    if (renewals.size === 0) {
      fiber = undefined
      return Effect.void
    }
    const renewed = Effect.catchTag(renewAll, "StorageError", () => loseExpired)
    return Effect.zipRight(renewed, Effect.zipRight(Effect.sleep(leaseMillis / 3), renewWhileLeased))
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isClosed = true
      return fiber === undefined ? Effect.void : Fiber.interrupt(fiber)
    })
  )

  const keep: Service["keep"] = (lease, onLost) => {
    renewals.set(lease, { onLost, renewedAt: clock.unsafeCurrentTimeMillis() })
    if (fiber === undefined && !isClosed) {
      fiber = Runtime.runFork(runtime)(Effect.zipRight(Effect.sleep(leaseMillis / 3), renewWhileLeased))
    }
    // The fiber ends at its next beat if no lease is left by then: most runs are shorter than a beat.
    return () => void renewals.delete(lease)
  }
  return keep
})
