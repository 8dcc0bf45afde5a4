import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Lease, Service, Store } from "../Storage.js"
import { LeaseLost } from "../StorageError.js"

interface Held {
  readonly lease: Lease
  readonly onLost: (error: LeaseLost) => void
  /** When it was last known to be ours, by the storage's clock. */
  renewedAt: number
}

/**
 * One fiber renews every lease of the process in one statement. A lease that
 * could not be renewed for its whole duration counts as lost: somebody else
 * may have it by now.
 */
export const makeLeases = Effect.fnUntraced(function* (store: Store, leaseMillis: number) {
  const held = new Map<Lease, Held>()

  const lose = (lease: Lease) =>
    Effect.sync(() => {
      const found = held.get(lease)
      held.delete(lease)
      found?.onLost(new LeaseLost({ run: lease.run, token: lease.token }))
    })

  const renewAll = Effect.gen(function* () {
    const leases = [...held.keys()]
    const now = yield* store.now
    const lost = yield* store.renew(leases, leaseMillis)
    for (const lease of leases) {
      const found = held.get(lease)
      if (found !== undefined) found.renewedAt = now
    }
    yield* Effect.forEach(lost, lose, { discard: true })
  })

  const loseExpired = Effect.gen(function* () {
    const now = yield* store.now
    const expired = [...held.values()].filter(({ renewedAt }) => now - renewedAt >= leaseMillis)
    yield* Effect.forEach(expired, ({ lease }) => lose(lease), { discard: true })
  })

  const beat = Effect.suspend(() =>
    held.size === 0 ? Effect.void : Effect.catchTag(renewAll, "StorageError", () => loseExpired)
  )

  yield* Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.zipRight(Effect.sleep(leaseMillis / 3), beat))))

  const clock = yield* Effect.clock
  const keep: Service["keep"] = (lease, onLost) => {
    held.set(lease, { lease, onLost, renewedAt: clock.unsafeCurrentTimeMillis() })
    return () => void held.delete(lease)
  }
  return keep
}) satisfies (store: Store, leaseMillis: number) => Effect.Effect<Service["keep"], never, Scope.Scope>
