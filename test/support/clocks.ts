import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Storage } from "effect-recovery"

/** A clock that is ahead of another one, in milliseconds. It sleeps and measures durations as that one does. */
export const ahead = (clock: Clock.Clock, millis: number): Clock.Clock =>
  Object.assign(Object.create(clock), {
    unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + millis,
    currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + millis)
  })

/** A store that has a clock of its own, whatever the clock of the process that uses it. */
export const onClock = (store: Storage.Store, clock: Clock.Clock): Storage.Store => {
  const timed = (value: unknown) =>
    Effect.isEffect(value) ? Effect.withClock(value as Effect.Effect<unknown>, clock) : value
  const transactional: Storage.Store["transactional"] = (lease, body) =>
    Effect.clockWith((own) => Effect.withClock(store.transactional(lease, Effect.withClock(body, own)), clock))
  return new Proxy(store, {
    get: (target, key) => {
      if (key === "transactional") return transactional
      const value: unknown = Reflect.get(target, key)
      return typeof value === "function" ? (...args: Array<unknown>) => timed(value(...args)) : timed(value)
    }
  })
}
