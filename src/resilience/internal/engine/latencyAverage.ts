import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** How much of the average a call leaves to those before it. */
const kept = 0.8

/** After so long without a call, a way is thought of as twice as fast. */
const halfLifeMillis = 60_000

/**
 * How fast a way is: a moving average over its calls, which fades while
 * nobody calls it, so that what was slow once is tried again.
 */
export class Pace {
  millis: number | undefined
  private askedAt = 0
  private underWay = 0

  private readonly now: () => number

  constructor(now: () => number) {
    this.now = now
  }

  /** One that was never measured comes first, and one that is being measured for the first time last. */
  estimate(): number {
    if (this.millis === undefined) return this.underWay === 0 ? 0 : Number.POSITIVE_INFINITY
    return this.millis * 2 ** (-Math.max(0, this.now() - this.askedAt) / halfLifeMillis)
  }

  measure<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const startedAt = this.now()
      // From the start, so that not everybody tries it again at once.
      this.askedAt = startedAt
      this.underWay++
      return Effect.onExit(self, (exit) =>
        Effect.sync(() => {
          this.underWay--
          // Whoever was interrupted might have taken any time.
          if (Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)) return
          const took = Math.max(0, this.now() - startedAt)
          this.millis = this.millis === undefined ? took : kept * this.millis + (1 - kept) * took
        })
      )
    })
  }
}
