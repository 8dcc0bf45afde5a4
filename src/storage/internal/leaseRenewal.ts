import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Service } from "../Storage.js"
import { LeaseLost } from "../StorageError.js"
import type { Lease, Store } from "../Store.js"

interface Renewal {
  readonly onLost: (error: LeaseLost) => void
  /** The last time the lease was known to be in force, by the store's clock. */
  renewedAt: number
}

/**
 * One fiber renews all leases of the process in one statement. A lease that
 * could not be renewed for its whole duration counts as lost, since another
 * process may have claimed the run.
 */
export const makeLeaseRenewal = Effect.fnUntraced(function* (store: Store, leaseMillis: number) {
  const renewals = new Map<Lease, Renewal>()

  const lose = (lease: Lease) =>
    Effect.sync(() => {
      const renewal = renewals.get(lease)
      renewals.delete(lease)
      renewal?.onLost(new LeaseLost({ run: lease.run, token: lease.token }))
    })

  const renewAll = Effect.gen(function* () {
    const leases = [...renewals.keys()]
    const now = yield* store.now
    const lost = yield* store.renew(leases, leaseMillis)
    for (const lease of leases) {
      const renewal = renewals.get(lease)
      if (renewal !== undefined) renewal.renewedAt = now
    }
    yield* Effect.forEach(lost, lose, { discard: true })
  })

  const loseExpired = Effect.gen(function* () {
    const now = yield* store.now
    const expired = [...renewals].filter(([, { renewedAt }]) => now - renewedAt >= leaseMillis)
    yield* Effect.forEach(expired, ([lease]) => lose(lease), { discard: true })
  })

  const renewIfAny = Effect.suspend(() =>
    renewals.size === 0 ? Effect.void : Effect.catchTag(renewAll, "StorageError", () => loseExpired)
  )

  const everyThird = Effect.forever(Effect.zipRight(Effect.sleep(leaseMillis / 3), renewIfAny))
  yield* Effect.forkScoped(Effect.interruptible(everyThird))

  const clock = yield* Effect.clock
  const keep: Service["keep"] = (lease, onLost) => {
    renewals.set(lease, { onLost, renewedAt: clock.unsafeCurrentTimeMillis() })
    return () => void renewals.delete(lease)
  }
  return keep
}) satisfies (store: Store, leaseMillis: number) => Effect.Effect<Service["keep"], never, Scope.Scope>
