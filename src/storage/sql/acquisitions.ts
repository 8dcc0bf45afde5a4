import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { RunStore } from "../Store.js"

type Leasing = Pick<RunStore, "claimDue" | "open" | "release" | "reopen">

/**
 * A caller that is interrupted while it acquires a lease releases what it may have
 * got. The statement may still be on its way to the server: it is finished in the
 * background, and the release waits for its end.
 */
export const releasedAfterEnd = ({ claimDue, open, release, reopen }: Leasing): Leasing => {
  const inFlight = new Map<string, Deferred.Deferred<void>>()
  const acquire = <A, E>(owner: string, self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const ended = Deferred.unsafeMake<void>(FiberId.none)
      inFlight.set(owner, ended)
      const end = Effect.sync(() => {
        inFlight.delete(owner)
        Deferred.unsafeDone(ended, Effect.void)
      })
      return Effect.disconnect(Effect.uninterruptible(Effect.ensuring(self, end)))
    })
  return {
    open: (request, owner, leaseMillis) => acquire(owner, open(request, owner, leaseMillis)),
    reopen: (found, entry, owner, leaseMillis, heldAs) =>
      acquire(owner, reopen(found, entry, owner, leaseMillis, heldAs)),
    claimDue: (query, owner, leaseMillis) => acquire(owner, claimDue(query, owner, leaseMillis)),
    release: (owner, run) =>
      Effect.suspend(() => {
        const ended = inFlight.get(owner)
        const released = release(owner, run)
        return ended === undefined ? released : Effect.zipRight(Deferred.await(ended), released)
      })
  }
}
