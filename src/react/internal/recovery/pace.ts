import * as Effect from "effect/Effect"

/** How much of the average a call leaves to those before it. */
const kept = 0.8

/** After so long without a call, a way is thought of as twice as fast. */
const halfLifeMillis = 60_000

/**
 * How fast a way is: a moving average over its successful calls, which fades while
 * nobody calls it, so that what was slow once is tried again.
 */
export class Pace {
  millis: number | undefined
  private askedAt = 0

  private readonly now: () => number

  constructor(now: () => number) {
    this.now = now
  }

  /** One that was never measured comes first. */
  estimate(): number {
    if (this.millis === undefined) return 0
    return this.millis * 2 ** (-Math.max(0, this.now() - this.askedAt) / halfLifeMillis)
  }

  measure<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const startedAt = this.now()
      // From the start, so that not everybody tries it again at once.
      this.askedAt = startedAt
      return Effect.map(self, (value) => {
        const took = Math.max(0, this.now() - startedAt)
        this.millis = this.millis === undefined ? took : kept * this.millis + (1 - kept) * took
        return value
      })
    })
  }
}
