import * as Effect from "effect/Effect"
import type { Snapshot } from "../../Bulkhead.js"
import { BulkheadFull } from "../errors.js"
import type { forBulkhead } from "../watch/meters.js"
import { withoutStack } from "./withoutStack.js"

interface Settings {
  readonly name: string
  readonly maxConcurrent: number
  readonly maxQueue: number
  readonly meters: ReturnType<typeof forBulkhead>
}

/** A place in the queue. Handed a place, it is no longer in the queue, so that nobody who comes later can take it. */
class Turn {
  private isThere = false
  private resume: (() => void) | undefined

  come(): void {
    this.isThere = true
    this.resume?.()
  }

  readonly wait: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.isThere) return resume(Effect.void)
    this.resume = () => resume(Effect.void)
  })
}

/** A counter and a queue. A semaphore would wait for ever, cost six times as much, and let late comers pass. */
export class Places {
  private running = 0
  // A Set keeps its order, and gives up a waiter in the middle without a search.
  private readonly waiting = new Set<Turn>()

  private readonly settings: Settings

  constructor(settings: Settings) {
    this.settings = settings
  }

  protect<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | BulkheadFull, R> {
    // Admitted where nothing can interrupt, or a place would be lost between here and the one who gives it back.
    return Effect.uninterruptibleMask((restore): Effect.Effect<A, E | BulkheadFull, R> => {
      const run = this.run(restore(self))
      if (this.running < this.settings.maxConcurrent) {
        this.running++
        return run
      }
      if (this.waiting.size < this.settings.maxQueue) return this.queue(run, restore)
      return this.refuse()
    })
  }

  /** Gives the place back, whatever ends the call. */
  private run<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.matchCauseEffect(self, {
      onFailure: (cause) => {
        this.leave()
        return Effect.failCause(cause)
      },
      onSuccess: (value) => {
        this.leave()
        return Effect.succeed(value)
      }
    })
  }

  private leave(): void {
    const [next] = this.waiting
    if (next === undefined) {
      this.running--
      return
    }
    this.waiting.delete(next)
    next.come()
  }

  private queue<A, E, R>(
    run: Effect.Effect<A, E, R>,
    restore: (effect: Effect.Effect<void>) => Effect.Effect<void>
  ): Effect.Effect<A, E, R> {
    const turn = new Turn()
    this.waiting.add(turn)
    return Effect.matchCauseEffect(restore(turn.wait), {
      onFailure: (cause) => {
        // Whoever is interrupted after it was handed a place, but before it could take it, passes it on.
        if (!this.waiting.delete(turn)) this.leave()
        return Effect.failCause(cause)
      },
      onSuccess: () => run
    })
  }

  private refuse(): Effect.Effect<never, BulkheadFull> {
    const { maxConcurrent, maxQueue, meters, name } = this.settings
    meters.refused()
    return Effect.fail(withoutStack(() => new BulkheadFull({ bulkhead: name, maxConcurrent, maxQueue })))
  }

  snapshot(): Snapshot {
    return { running: this.running, waiting: this.waiting.size }
  }
}
