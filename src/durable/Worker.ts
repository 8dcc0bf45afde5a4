/**
 * A worker claims the runs that are due (new, orphaned by a process that died,
 * answered, or at the end of a sleep) and executes them. Any number of workers
 * share a storage; one worker at a time has a run.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import { millis, whole } from "../resilience/internal/kernel/options.js"
import * as Storage from "../storage/Storage.js"
import { type DuplicateQueue, type DuplicateWorkflow, healthOf, makeWorker } from "./internal/worker/worker.js"
import type { Queue } from "./Queue.js"
import type { Workflow } from "./Workflow.js"

export {
  /**
   * Two queues with the same name and different limits were given to one worker.
   *
   * @since 0.1.0
   * @category errors
   */
  DuplicateQueue,
  /**
   * Two workflows with the same name and version were given to one worker.
   *
   * @since 0.1.0
   * @category errors
   */
  DuplicateWorkflow
} from "./internal/worker/worker.js"

/**
 * The state of a worker and of its runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Health {
  /**
   * `stalled`: a run has been due for too long while none of the worker's runs
   * progressed, the worker has not looked for runs for too long, or the storage
   * fails. A long queue alone is `ok`, and so are runs that wait for the limits of
   * their queue. `leaving`: its scope closes.
   */
  readonly status: "ok" | "stalled" | "leaving"
  readonly running: ReadonlyArray<{ readonly run: string; readonly workflow: string; readonly since: Date }>
  /** The most runs at once. */
  readonly concurrency: number
  /** Runs of its workflows that could resume and that no process has. */
  readonly due: number
  /** Runs of its workflows that wait for a time, a signal or an answer. */
  readonly waiting: number
  /** How long the oldest due run has been due. */
  readonly oldestDue: Option.Option<Duration.Duration>
  /** Runs that stop at every execution, for example by a defect or a `ReplayMismatch`. */
  readonly stuck: ReadonlyArray<{
    readonly run: string
    readonly workflow: string
    readonly reason: string
    /** How often in a row in this worker. */
    readonly times: number
    readonly since: Date
    /** When the worker tries it again. */
    readonly nextAt: Date
  }>
  /** Open runs of workflows and versions that this worker does not have. */
  readonly unclaimed: ReadonlyArray<{ readonly workflow: string; readonly version: string; readonly runs: number }>
  /** The queues that the worker has or that have open runs, by name. */
  readonly queues: ReadonlyArray<QueueHealth>
  readonly sweptAt: Option.Option<Date>
  readonly trouble: Option.Option<Storage.StorageError>
}

/**
 * The runs of a queue, of all workflows.
 *
 * @since 0.1.0
 * @category models
 */
export interface QueueHealth {
  readonly queue: string
  /** Whether this worker takes its runs. */
  readonly isTaken: boolean
  /** Runs that a worker has, in whichever process. */
  readonly running: number
  /** Runs that are due and wait for a place. */
  readonly due: number
  /** Runs that are not due yet: delayed, debounced or suspended. */
  readonly waiting: number
  /** How long the oldest due run has been due. */
  readonly oldestDue: Option.Option<Duration.Duration>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly health: Effect.Effect<Health, Storage.StorageError>
}

/**
 * @since 0.1.0
 * @category services
 */
export class Worker extends Context.Tag("effect-recovery/Worker")<Worker, Service>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The most runs at once, at least 1. Defaults to 10. */
  readonly concurrency?: number | undefined
  /** The queues whose runs it takes, beside runs of no queue. Defaults to none. */
  readonly queues?: ReadonlyArray<Queue> | undefined
  /**
   * How often it looks for due runs of other processes. Changes of its own
   * process start a look at once. At least 1 millisecond. Defaults to a second.
   */
  readonly sweep?: Duration.DurationInput | undefined
  /** A run that sleeps for longer than this is suspended. 0 suspends at once. Defaults to a second. */
  readonly patience?: Duration.DurationInput | undefined
  /**
   * How long it waits for running steps when its scope closes; no step begins
   * meanwhile. After that it interrupts them. 0 interrupts them at once. Defaults to 10 seconds.
   */
  readonly drain?: Duration.DurationInput | undefined
  /**
   * How long runs may be due while no run of the worker starts, writes a line of
   * its journal or ends, before the worker is `stalled`. At least 1 millisecond.
   * Defaults to a minute.
   */
  readonly stalled?: Duration.DurationInput | undefined
}

/**
 * The services a workflow needs.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements<W> = W extends Workflow<never, unknown, unknown, infer R, unknown> ? R : never

/**
 * Runs a worker as long as the layer lives. Closing the layer, as
 * `NodeRuntime.runMain` does on SIGTERM, waits for the running steps and then
 * releases the runs.
 *
 * A worker only claims runs whose workflow it has in the version they were
 * started with. Give it several versions of one workflow while runs of the older
 * ones are open. Other runs show in the health as `unclaimed`.
 *
 * @example
 * ```ts
 * import { Storage, Worker, Workflow } from "effect-recovery"
 * import { Effect, Layer } from "effect"
 *
 * const Greet = Workflow.make("greet", {}, () => Effect.log("hello"))
 *
 * const program = Effect.gen(function* () {
 *   yield* Workflow.start(Greet, { id: "greet-1" })
 *   yield* Workflow.join(Greet, "greet-1")
 *   const { health } = yield* Worker.Worker
 *   console.log((yield* health).status) // ok
 * })
 *
 * program.pipe(
 *   Effect.provide(Worker.layer([Greet]).pipe(Layer.provideMerge(Storage.layerMemory))),
 *   Effect.runPromise
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <const W extends ReadonlyArray<Workflow<never, unknown, unknown, unknown, unknown>>>(
  workflows: W,
  options: Options = {}
): Layer.Layer<Worker, DuplicateQueue | DuplicateWorkflow, Storage.Storage | Requirements<W[number]>> => {
  const {
    concurrency = 10,
    drain = "10 seconds",
    patience = "1 second",
    queues = [],
    stalled = "1 minute",
    sweep = "1 second"
  } = options
  const settings = {
    concurrency: whole("concurrency", concurrency, 1),
    queues: queues.map(({ limits }) => limits),
    sweepMillis: millis("sweep", sweep, 1),
    patience: millis("patience", patience),
    drainMillis: millis("drain", drain),
    stalledMillis: millis("stalled", stalled, 1)
  }
  const definitions = workflows.map(({ definition }) => definition)
  return Layer.scoped(
    Worker,
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const state = yield* makeWorker(definitions, settings)
      return { health: healthOf(storage, definitions, state, settings) }
    })
    // The bodies need what the workflows need.
  ) as Layer.Layer<Worker, DuplicateQueue | DuplicateWorkflow, Storage.Storage | Requirements<W[number]>>
}
