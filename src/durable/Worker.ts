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
import type * as Storage from "../storage/Storage.js"
import type { DuplicateQueue, DuplicateWorkflow } from "./internal/worker/duplicates.js"
import type { DuplicateSchedule } from "./internal/worker/schedules.js"
import { makeService, settingsOf } from "./internal/worker/service.js"
import type { Queue } from "./Queue.js"
import type { RunSchedule } from "./RunSchedule.js"
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
} from "./internal/worker/duplicates.js"
export {
  /**
   * Two schedules with the same name were given to one worker.
   *
   * @since 0.1.0
   * @category errors
   */
  DuplicateSchedule
} from "./internal/worker/schedules.js"

/**
 * What a worker was given twice.
 *
 * @since 0.1.0
 * @category errors
 */
export type Duplicate = DuplicateQueue | DuplicateSchedule | DuplicateWorkflow

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
  /** Runs of its workflows that are on hold: they are neither due nor waiting. */
  readonly held: number
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
  /** The shards whose runs it claims; none for a worker that claims the runs of all shards. */
  readonly shards: Option.Option<ReadonlyArray<number>>
  /** The schedules that the worker has. */
  readonly schedules: ReadonlyArray<ScheduleHealth>
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
export interface ScheduleHealth {
  readonly schedule: string
  /** None while it is paused, or before the worker's first look at it. */
  readonly nextDue: Option.Option<Date>
  /** Why a run could not be started, such as an input that does not fit. It is tried again with each look. */
  readonly trouble: Option.Option<string>
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
export interface Options<Schedules extends ReadonlyArray<RunSchedule<unknown>> = ReadonlyArray<RunSchedule>> {
  /** The most runs at once, at least 1. Defaults to 10. */
  readonly concurrency?: number | undefined
  /** The queues whose runs it takes, beside runs of no queue. Defaults to none. */
  readonly queues?: ReadonlyArray<Queue> | undefined
  /** The schedules whose runs it starts; each workflow may be of another worker. Defaults to none. */
  readonly schedules?: Schedules | undefined
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
 * The services that the inputs of a schedule's runs need.
 *
 * @since 0.1.0
 * @category models
 */
export type RequirementsOfSchedule<Schedule> = Schedule extends RunSchedule<infer S> ? S : never

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
export const layer = <
  const W extends ReadonlyArray<Workflow<never, unknown, unknown, unknown, unknown>>,
  const Schedules extends ReadonlyArray<RunSchedule<unknown>> = readonly []
>(
  workflows: W,
  options: Options<Schedules> = {}
): Layer.Layer<
  Worker,
  Duplicate,
  Storage.Storage | Requirements<W[number]> | RequirementsOfSchedule<Schedules[number]>
> => {
  const settings = settingsOf(options)
  const service = makeService("Worker.layer", workflows, options.schedules ?? [], settings)
  return Layer.scoped(
    Worker,
    Effect.map(service, ({ service }) => service)
    // The bodies need what the workflows need, and inputs what their schemas need.
  ) as Layer.Layer<
    Worker,
    Duplicate,
    Storage.Storage | Requirements<W[number]> | RequirementsOfSchedule<Schedules[number]>
  >
}
