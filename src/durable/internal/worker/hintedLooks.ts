import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { longSleep, steadyMillis } from "../../../resilience/internal/kernel/timer.js"
import { Pulse } from "../execution/activity.js"

/** After the first look in vain, in milliseconds. */
const firstPause = 5
/** Sweeps of an hour must not make hints useless, in milliseconds. */
const longestPause = 1_000

/**
 * When a worker looks for runs because another process says that one may be due. Each worker hears that, and one of
 * them gets the run: the others look in vain. So a worker pauses between these looks. The pause doubles with each of
 * them that finds nothing, and halves with each look that finds a run. Then about half of the looks of a fleet find
 * one, until all pauses are as long as they may be. No hint is forgotten: the worker looks at the end of the pause. There is a
 * timer only while a hint waits for that.
 */
export class HintedLooks {
  private readonly clock: Clock.Clock
  private readonly random: Random.Random
  /** In milliseconds. Large fleets reach it, and a worker that hears of runs of other programs only. */
  private readonly longestPause: number
  private readonly heard = new Pulse()
  private unheard: Deferred.Deferred<void> | undefined
  private pause = 0
  /** By the clock that is never set. */
  private notBefore = Number.NEGATIVE_INFINITY
  private isHinted = false
  private hasFound = false

  /**
   * The name of the worker chooses its pauses, so that workers do not look in step. They are at most a quarter of the
   * sweep.
   */
  constructor(worker: string, clock: Clock.Clock, sweepMillis: number) {
    this.clock = clock
    this.longestPause = Math.min(sweepMillis / 4, longestPause)
    this.random = Random.make(worker)
  }

  /** A run may be due. */
  readonly hear = this.heard.notify

  /** A look begins. It answers all hints so far. */
  begin(): void {
    this.unheard = this.heard.next
    this.hasFound = false
  }

  /** The look has found a run. */
  found(): void {
    this.hasFound = true
  }

  /** The look has ended. Returns whether a hint was its only reason, and it found nothing. */
  readonly end: Effect.Effect<boolean> = Effect.suspend(() => {
    const isInVain = this.isHinted && !this.hasFound
    this.isHinted = false
    if (isInVain) this.pause = Math.min(this.longestPause, Math.max(firstPause, 2 * this.pause))
    else if (this.hasFound) this.pause = this.pause > firstPause ? this.pause / 2 : 0
    if (this.pause === 0) return Effect.succeed(isInVain)
    return Effect.map(this.random.next, (share) => {
      this.notBefore = steadyMillis(this.clock) + this.pause * (0.5 + 0.5 * share)
      return isInVain
    })
  })

  /** Ends when a hint since the last look asks for the next one. */
  readonly wanted: Effect.Effect<void> = Effect.suspend(() => {
    const { unheard } = this
    return unheard === undefined ? Effect.never : Effect.zipRight(Deferred.await(unheard), this.paused)
  })

  private readonly paused = Effect.suspend(() => {
    const millis = this.pause === 0 ? 0 : this.notBefore - steadyMillis(this.clock)
    const waited = millis > 0 ? longSleep(millis) : Effect.void
    return Effect.map(waited, () => {
      this.isHinted = true
    })
  })
}
