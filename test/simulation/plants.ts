import * as Effect from "effect/Effect"
import type { FleetOptions } from "./fleet.js"

/** Changes the store that the workers see, as if the library had a fault. */
type Plant = NonNullable<FleetOptions["plant"]>

/** A store that does not count signals: one that is sent while its run is suspended is forgotten. */
export const withoutSignalsCount: Plant = (store) => ({
  ...store,
  suspend: (lease, suspension) => store.suspend(lease, { ...suspension, signals: Number.POSITIVE_INFINITY })
})

/**
 * As if the worker looked for due runs before it asks for the time of the next one: what becomes due between the two
 * is neither claimed nor waited for.
 */
export const looksTooEarly: Plant = (store, { peek, timeline }) => {
  let lookedAt = Number.POSITIVE_INFINITY
  const dueSince = () => {
    const stopped = peek((below) => below.list({ status: "stopped", limit: 1_000 })) ?? []
    return stopped.filter(({ dueAt }) => dueAt > lookedAt).map(({ id }) => id)
  }
  return {
    ...store,
    backlog: Effect.suspend(() => {
      lookedAt = timeline.now
      return store.backlog
    }),
    claimDue: (query, owner, leaseMillis) =>
      Effect.suspend(() => {
        const except = [...(query.except ?? []), ...dueSince()]
        return store.claimDue({ ...query, except }, owner, leaseMillis)
      })
  }
}
