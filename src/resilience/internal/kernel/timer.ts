import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** A platform timer holds at most 24 days; a longer `Effect.sleep` never ends. */
const maxTimerMillis = 2 ** 31 - 1
const dayMillis = 86_400_000

/** `Effect.sleep` that also works for durations of months: sleeps a day at a time. */
export const longSleep = (millis: number): Effect.Effect<void> =>
  millis <= dayMillis
    ? Effect.sleep(Math.max(0, millis))
    : Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.zipRight(
          Effect.sleep(dayMillis),
          Effect.suspend(() =>
            Effect.flatMap(Clock.currentTimeMillis, (later) =>
              longSleep(Math.min(millis - dayMillis, now + millis - later))
            )
          )
        )
      )

/** Milliseconds of a clock that only moves forward. Its origin is arbitrary, so only differences have a meaning. */
export const steadyMillis = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6

/** The clock of the platform, also where a program runs by another one. */
export const liveClock = Context.get(DefaultServices.liveServices, Clock.Clock)

/** Calls back after `millis` on the fiber's clock, and returns a function that cancels the timer. */
export const startTimer = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  millis: number,
  callback: () => void
): (() => void) => {
  const clock = Context.get(fiber.getFiberRef(DefaultServices.currentServices), Clock.Clock)
  if (clock === liveClock) {
    // A platform timer beyond its maximum would fire at once.
    if (millis > maxTimerMillis) return () => {}
    const timer = setTimeout(callback, millis)
    return () => clearTimeout(timer)
  }
  const sleeper = Effect.runFork(Effect.zipRight(clock.sleep(Duration.millis(millis)), Effect.sync(callback)))
  return () => sleeper.unsafeInterruptAsFork(fiber.id())
}
