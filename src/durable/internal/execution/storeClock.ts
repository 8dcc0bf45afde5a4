import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Lease } from "../../../storage/Storage.js"

/** What was acquired, and the store's clock as a lease of it tells. */
export interface Timed<A> {
  readonly acquired: A
  readonly clockOf: (lease: Lease) => Clock.Clock
}

/**
 * Acquires leases, and tells the store's clock from the process's. Every time that a run records is of the store's
 * clock: other processes compare it, and the store decides by it when the run is due.
 */
export const timed = <A, E, R>(acquire: Effect.Effect<A, E, R>): Effect.Effect<Timed<A>, E, R> =>
  timedThen(acquire, Effect.succeed)

/** As `timed`, and continues: each run passes here. */
export const timedThen = <A, E, R, B, E2, R2>(
  acquire: Effect.Effect<A, E, R>,
  then: (timed: Timed<A>) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> =>
  Effect.clockWith((clock) => {
    const before = clock.unsafeCurrentTimeMillis()
    return Effect.flatMap(acquire, (acquired) => {
      const after = clock.unsafeCurrentTimeMillis()
      return then({ acquired, clockOf: ({ since }) => shifted(clock, offsetOf(since, before, after)) })
    })
  })

/**
 * How far the store's clock is ahead, in milliseconds: 0 if the lease may have been acquired between the two times.
 * From `after` on, the shifted clock is never behind `since`, so a run is not claimed before its own clock says so.
 */
export const offsetOf = (since: number, before: number, after: number): number =>
  since < before ? since - before : since > after ? since - after : 0

/** Sleeps and measures durations as the given clock does. */
const shifted = (clock: Clock.Clock, millis: number): Clock.Clock =>
  millis === 0
    ? clock
    : Object.assign(Object.create(clock), {
        unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + millis,
        currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + millis)
      })
