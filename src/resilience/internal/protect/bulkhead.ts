import * as Effect from "effect/Effect"
import type { Snapshot } from "../../Bulkhead.js"
import { BulkheadFull } from "../errors.js"
import type { forBulkhead } from "../observe/metrics.js"
import { Line } from "./fifoQueue.js"
import { withoutStack } from "./withoutStack.js"

interface Settings {
  readonly name: string
  readonly maxConcurrent: number
  readonly maxQueue: number
  readonly meters: ReturnType<typeof forBulkhead>
}

/** A counter and a line. A semaphore would wait for ever, cost six times as much, and let late comers pass. */
export class Places {
  private readonly line: Line
  private readonly settings: Settings

  constructor(settings: Settings) {
    this.settings = settings
    this.line = new Line(settings.maxConcurrent)
  }

  protect<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | BulkheadFull, R> {
    // Admitted where nothing can interrupt, or a place would be lost between here and the one who gives it back.
    return Effect.uninterruptibleMask((restore): Effect.Effect<A, E | BulkheadFull, R> => {
      const run = this.run(restore(self))
      if (this.line.tryEnter()) return run
      if (this.line.waiting < this.settings.maxQueue) return this.queue(run, restore)
      return this.refuse()
    })
  }

  /** Gives the place back, whatever ends the call. */
  private run<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.matchCauseEffect(self, {
      onFailure: (cause) => {
        this.line.leave()
        return Effect.failCause(cause)
      },
      onSuccess: (value) => {
        this.line.leave()
        return Effect.succeed(value)
      }
    })
  }

  private queue<A, E, R>(
    run: Effect.Effect<A, E, R>,
    restore: (effect: Effect.Effect<void>) => Effect.Effect<void>
  ): Effect.Effect<A, E, R> {
    const turn = this.line.queue()
    return Effect.matchCauseEffect(restore(turn.wait), {
      onFailure: (cause) => {
        this.line.giveUp(turn)
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
    return { running: this.line.running, waiting: this.line.waiting }
  }
}
