/**
 * A queue limits how many of its runs go at once, over all processes of a
 * storage, and says in which order they start: by priority, and fairly between
 * keys such as tenants. The limits are kept by the claim of a run, so waiting
 * runs cost neither a fiber nor a connection.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { checkName } from "../resilience/InvalidName.js"
import { millis, whole } from "../resilience/internal/kernel/options.js"
import * as Storage from "../storage/Storage.js"
import { readLimits } from "./internal/worker/queueLimits.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Queue {
  readonly name: string
  /** What the store keeps. The period of a rate is in milliseconds. */
  readonly limits: Storage.QueueLimits
}

/**
 * The limits of a queue. They hold for all processes together.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The most runs that a worker has at once, at least 1. A run that is suspended
   * has no place. Defaults to no limit.
   */
  readonly concurrency?: number | undefined
  /** The most runs of one key at once, at least 1. Defaults to no limit. */
  readonly perKey?: number | undefined
  /** The most runs that start within any period of a length. A run that resumes does not count. Defaults to no limit. */
  readonly rate?: Rate | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Rate {
  /** The most starts within the period, at least 1. */
  readonly limit: number
  /** The length of the period, at least 1 millisecond. It slides: there is no burst at its boundary. */
  readonly per: Duration.DurationInput
  /** Counts each key for itself. Defaults to false. */
  readonly perKey?: boolean | undefined
}

/**
 * Defines a queue. Give it to `Workflow.start`, and to the workers that take its
 * runs: a worker takes runs of the queues that it was given.
 *
 * Throws `InvalidName` or `InvalidOption` if the name or a limit cannot be used.
 *
 * @example
 * ```ts
 * import { Queue, Storage, Worker, Workflow } from "effect-recovery"
 * import { Effect, Layer, Schema } from "effect"
 *
 * const Encode = Queue.make("encode", { concurrency: 4, perKey: 1, rate: { limit: 100, per: "1 minute" } })
 *
 * const Video = Workflow.make("video", { input: Schema.String }, (file) => Effect.log(`encoding ${file}`))
 *
 * const program = Effect.gen(function* () {
 *   yield* Workflow.start(Video, { id: "video-7", input: "7.mov", queue: Encode, key: "tenant-3", priority: 10 })
 *   yield* Workflow.join(Video, "video-7")
 * })
 *
 * program.pipe(
 *   Effect.provide(Worker.layer([Video], { queues: [Encode] }).pipe(Layer.provideMerge(Storage.layerMemory))),
 *   Effect.runPromise
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (name: string, { concurrency, perKey, rate }: Options = {}): Queue => ({
  name: checkName("queue", name),
  limits: {
    name,
    concurrency: concurrency === undefined ? undefined : whole("concurrency", concurrency, 1),
    perKey: perKey === undefined ? undefined : whole("perKey", perKey, 1),
    rate: rate && {
      limit: whole("rate.limit", rate.limit, 1),
      millis: millis("rate.per", rate.per, 1),
      perKey: rate.perKey === true
    }
  }
})

/**
 * The queues that a worker of the storage has or had, by name and at most 1,000, with the
 * limits that the worker which started last gave them.
 *
 * @since 0.1.0
 * @category inspection
 */
export const list: Effect.Effect<ReadonlyArray<Queue>, Storage.StorageError, Storage.Storage> = Effect.map(
  Effect.flatMap(Storage.Storage, readLimits),
  (all) => all.map((limits) => ({ name: limits.name, limits })).sort((a, b) => (a.name < b.name ? -1 : 1))
)
