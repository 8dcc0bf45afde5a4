import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** What a timer of the platform can hold is 24 days; a longer sleep of Effect's never ends. */
const piece = 86_400_000

/** Sleeps for as long as it says, also for months. */
export const longSleep = (millis: number): Effect.Effect<void> =>
  millis <= piece
    ? Effect.sleep(Math.max(0, millis))
    : Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.zipRight(
          Effect.sleep(piece),
          Effect.suspend(() => Effect.flatMap(Clock.currentTimeMillis, (later) => longSleep(now + millis - later)))
        )
      )
