/**
 * A worker takes the runs that are due (new, orphaned by a process that died,
 * answered, or at the end of a sleep) and executes them. Any number of them
 * share a storage; a run is with one of them at a time.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Storage from "../storage/Storage.js"
import { healthOf } from "./internal/worker/health.js"
import { DuplicateWorkflow as DuplicateWorkflowError, makeWorker } from "./internal/worker/worker.js"
import type { Workflow } from "./Workflow.js"

export {
  /**
   * Two workflows of one name and version were given to one worker.
   *
   * @since 0.1.0
   * @category errors
   */
  DuplicateWorkflowError as DuplicateWorkflow
}

/**
 * How a worker and its runs stand.
 *
 * @since 0.1.0
 * @category models
 */
export interface Health {
  /**
   * `stalled`: it is alive, but a run has been due for too long, its sweep does
   * not come by, or the storage is in trouble. `leaving`: its scope closes.
   */
  readonly status: "ok" | "stalled" | "leaving"
  readonly running: ReadonlyArray<{ readonly run: string; readonly workflow: string; readonly since: Date }>
  /** How many at most. */
  readonly concurrency: number
  /** Runs of its workflows that could go on, and that nobody has. */
  readonly due: number
  /** Runs of its workflows that wait for a time or for somebody. */
  readonly waiting: number
  /** For how long the oldest of those that are due has been due. */
  readonly oldestDue: Option.Option<Duration.Duration>
  /** Runs that stop whenever they are executed: by a defect, or since they do not fit their journal. */
  readonly stuck: ReadonlyArray<{
    readonly run: string
    readonly workflow: string
    readonly reason: string
    /** How often in a row, here. */
    readonly times: number
    readonly since: Date
    /** When it is tried again. */
    readonly nextAt: Date
  }>
  /** Open runs of workflows and versions this worker does not have. They wait. */
  readonly unclaimed: ReadonlyArray<{ readonly workflow: string; readonly version: string; readonly runs: number }>
  readonly sweptAt: Option.Option<Date>
  readonly trouble: Option.Option<Storage.StorageError>
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
  /** How many runs at once. Defaults to 10. */
  readonly concurrency?: number | undefined
  /**
   * How often it looks for what other processes have left or told; what this
   * process does it hears at once. Defaults to a second.
   */
  readonly sweep?: Duration.DurationInput | undefined
  /** A run that sleeps for longer than this leaves the worker meanwhile. Defaults to a second. */
  readonly patience?: Duration.DurationInput | undefined
  /**
   * For how long it waits at its end for the steps that run; no new one is
   * begun. What takes longer is interrupted. Defaults to 10 seconds.
   */
  readonly drain?: Duration.DurationInput | undefined
  /** For how long a run may be due before the worker calls itself stalled. Defaults to a minute. */
  readonly stalled?: Duration.DurationInput | undefined
}

/**
 * What a workflow needs.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements<W> = W extends Workflow<never, unknown, unknown, infer R> ? R : never

/**
 * Runs a worker as long as the layer lives. Closing it, as `NodeRuntime.runMain`
 * does on SIGTERM, lets the steps that run come to their end and gives the
 * runs back.
 *
 * A run is only taken by a worker that has its workflow in the version it was
 * started with; give it several versions of one workflow while runs of the
 * older ones are open. What nobody takes shows in the health as `unclaimed`.
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
export const layer = <const W extends ReadonlyArray<Workflow<never, unknown, unknown, unknown>>>(
  workflows: W,
  options: Options = {}
): Layer.Layer<Worker, DuplicateWorkflowError, Storage.Storage | Requirements<W[number]>> => {
  const {
    concurrency = 10,
    drain = "10 seconds",
    patience = "1 second",
    stalled = "1 minute",
    sweep = "1 second"
  } = options
  if (!(concurrency >= 1)) throw new RangeError(`Worker.layer: concurrency must be at least 1, not ${concurrency}`)
  const settings = {
    concurrency,
    sweepMillis: Math.max(1, Duration.toMillis(sweep)),
    patience: Duration.toMillis(patience),
    drainMillis: Duration.toMillis(drain),
    stalledMillis: Duration.toMillis(stalled)
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
  ) as Layer.Layer<Worker, DuplicateWorkflowError, Storage.Storage | Requirements<W[number]>>
}
