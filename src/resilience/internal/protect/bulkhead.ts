import * as Effect from "effect/Effect"
import type { Snapshot } from "../../Bulkhead.js"
import { BulkheadFull } from "../../RecoveryError.js"
import { FifoQueue } from "../kernel/fifoQueue.js"
import type { bulkheadMetrics } from "../kernel/metrics.js"
import { withoutStack } from "./withoutStack.js"

interface Settings {
  readonly name: string
  readonly maxConcurrent: number
  readonly maxQueue: number
  readonly meters: ReturnType<typeof bulkheadMetrics>
}

/** A counter and a line. A semaphore would wait for ever, cost six times as much, and let late comers pass. */
export class Places {
  private readonly queued: FifoQueue
  private readonly settings: Settings

  constructor(settings: Settings) {
    this.settings = settings
    this.queued = new FifoQueue(settings.maxConcurrent)
  }

  protect<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | BulkheadFull, R> {
    // Admitted where nothing can interrupt, or a place would be lost between here and the one who gives it back.
    return Effect.uninterruptibleMask((restore): Effect.Effect<A, E | BulkheadFull, R> => {
      const run = this.run(restore(self))
      if (this.queued.tryAcquire()) return run
      if (this.queued.waiting < this.settings.maxQueue) return this.queue(run, restore)
      return this.refuse()
    })
  }

  /** Gives the place back, whatever ends the call. */
  private run<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.matchCauseEffect(self, {
      onFailure: (cause) => {
        this.queued.release()
        return Effect.failCause(cause)
      },
      onSuccess: (value) => {
        this.queued.release()
        return Effect.succeed(value)
      }
    })
  }

  private queue<A, E, R>(
    run: Effect.Effect<A, E, R>,
    restore: (effect: Effect.Effect<void>) => Effect.Effect<void>
  ): Effect.Effect<A, E, R> {
    const turn = this.queued.enqueue()
    return Effect.matchCauseEffect(restore(turn.wait), {
      onFailure: (cause) => {
        this.queued.cancel(turn)
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
    return { running: this.queued.running, waiting: this.queued.waiting }
  }
}
