/**
 * A bulkhead limits how many calls run at once and how many wait, so that one
 * slow system cannot occupy all resources of a program.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { checkName } from "./InvalidName.js"
import { FifoQueue } from "./internal/kernel/fifoQueue.js"
import { bulkheadMetrics } from "./internal/kernel/metrics.js"
import { whole } from "./internal/kernel/options.js"
import { BulkheadFull, withoutStack } from "./Refusal.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  BulkheadFull
} from "./Refusal.js"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~effect-recovery/Bulkhead"
/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~effect-recovery/Bulkhead"

/**
 * A bulkhead that callers share.
 *
 * @since 0.1.0
 * @category models
 */
export interface Bulkhead {
  readonly [TypeId]: TypeId
  readonly name: string
  readonly snapshot: Effect.Effect<Snapshot>
  /** @internal */
  readonly permits: Permits
}

/**
 * The current state of a bulkhead.
 *
 * @since 0.1.0
 * @category models
 */
export interface Snapshot {
  /** Calls that run. */
  readonly running: number
  /** Calls that wait. */
  readonly waiting: number
}

/**
 * Options of {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The name in errors and metrics. */
  readonly name: string
  /** Calls that may run at once. Defaults to 10. */
  readonly maxConcurrent?: number | undefined
  /** Calls that may wait, first in, first out. Defaults to 0, which refuses further calls at once. */
  readonly maxQueue?: number | undefined
}

/**
 * Makes a bulkhead. Dies with `InvalidOption` if an option is invalid. Callers of
 * the protected system should share it, for example through a Layer.
 *
 * @example
 * ```ts
 * import { Bulkhead } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const bulkhead = yield* Bulkhead.make({ name: "thumbnails", maxConcurrent: 2, maxQueue: 100 })
 *   const thumbnail = (n: number) => Effect.succeed(`${n}.png`).pipe(Bulkhead.protect(bulkhead))
 *   return yield* Effect.forEach([1, 2, 3], thumbnail, { concurrency: "unbounded" })
 * })
 * Effect.runPromise(program).then(console.log) // [ '1.png', '2.png', '3.png' ]
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ maxConcurrent = 10, maxQueue = 0, name }: Options): Effect.Effect<Bulkhead> =>
  Effect.sync(() => {
    const permits = new Permits({
      name: checkName("bulkhead", name),
      maxConcurrent: whole("maxConcurrent", maxConcurrent, 1),
      maxQueue: whole("maxQueue", maxQueue, 0),
      metrics: bulkheadMetrics(name)
    })
    return { [TypeId]: TypeId, name, permits, snapshot: Effect.sync(() => permits.snapshot()) }
  })

/**
 * Runs the effect at once if a permit is free, else queues it. Fails with
 * `BulkheadFull` if the queue is full. Interruption removes a waiting effect from
 * the queue.
 *
 * @since 0.1.0
 * @category combinators
 */
export const protect: {
  /**
   * Runs the effect at once if a permit is free, else queues it. Fails with `BulkheadFull` if the queue
   * is full.
   */
  (bulkhead: Bulkhead): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BulkheadFull, R>
  /**
   * Runs the effect at once if a permit is free, else queues it. Fails with `BulkheadFull` if the queue
   * is full.
   */
  <A, E, R>(self: Effect.Effect<A, E, R>, bulkhead: Bulkhead): Effect.Effect<A, E | BulkheadFull, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, { permits }: Bulkhead): Effect.Effect<A, E | BulkheadFull, R> =>
    permits.protect(self)
)

interface Settings {
  readonly name: string
  readonly maxConcurrent: number
  readonly maxQueue: number
  readonly metrics: ReturnType<typeof bulkheadMetrics>
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** An `Effect.Semaphore` would wait without bound, cost six times as much, and let later callers overtake. */
class Permits {
  private readonly queue: FifoQueue
  private readonly settings: Settings

  constructor(settings: Settings) {
    this.settings = settings
    this.queue = new FifoQueue(settings.maxConcurrent)
  }

  protect<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | BulkheadFull, R> {
    /** Releases the permit when the call succeeds, fails or is interrupted. */
    const runIn = (restore: Restore): Effect.Effect<A, E, R> =>
      Effect.matchCauseEffect(restore(self), {
        onFailure: (cause) => {
          this.queue.release()
          return Effect.failCause(cause)
        },
        onSuccess: (value) => {
          this.queue.release()
          return Effect.succeed(value)
        }
      })
    // Made once for all calls of the protected effect, nearly all of which are interruptible.
    let inInterruptible: Effect.Effect<A, E, R> | undefined
    const runOf = (restore: Restore): Effect.Effect<A, E, R> => {
      if (restore !== Effect.interruptible) return runIn(restore)
      inInterruptible ??= runIn(restore)
      return inInterruptible
    }
    // The permit is acquired in an uninterruptible region, so that no interruption can leak it.
    return Effect.uninterruptibleMask((restore): Effect.Effect<A, E | BulkheadFull, R> => {
      const run = runOf(restore)
      if (this.queue.tryAcquire()) return run
      if (this.queue.waiting < this.settings.maxQueue) return this.enqueue(run, restore)
      return this.refuse()
    })
  }

  private enqueue<A, E, R>(run: Effect.Effect<A, E, R>, restore: Restore): Effect.Effect<A, E, R> {
    const waiter = this.queue.enqueue()
    return Effect.matchCauseEffect(restore(waiter.wait), {
      onFailure: (cause) => {
        this.queue.cancel(waiter)
        return Effect.failCause(cause)
      },
      onSuccess: () => run
    })
  }

  private refuse(): Effect.Effect<never, BulkheadFull> {
    const { maxConcurrent, maxQueue, metrics, name } = this.settings
    metrics.refused()
    return Effect.fail(withoutStack(() => new BulkheadFull({ bulkhead: name, maxConcurrent, maxQueue })))
  }

  snapshot(): Snapshot {
    return { running: this.queue.running, waiting: this.queue.waiting }
  }
}
