/**
 * Runs that workers execute: `Workflow.start` and `Workflow.join`.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { JournalError, RunCancelled, RunMismatch, RunNotFound } from "../journal/RunError.js"
import type { InvalidName } from "../resilience/InvalidName.js"
import { millis, wholeNumber } from "../resilience/internal/kernel/options.js"
import type * as Storage from "../storage/Storage.js"
import { joinChild, orInBody, startChild } from "./internal/child/child.js"
import * as execute_ from "./internal/run/execute.js"
import type { Queue } from "./Queue.js"
import type { Request, Workflow } from "./Workflow.js"

/**
 * The run to record for a worker.
 *
 * @since 0.1.0
 * @category models
 */
export type StartRequest<Input> = Request<Input> & Place & When

/**
 * The place of a run in a queue.
 *
 * @since 0.1.0
 * @category models
 */
export type Place =
  | {
      /** Limits how many of its runs go at once. Only workers that have the queue take the run. */
      readonly queue: Queue
      /** Runs of one key share a part of the limits, and keys take turns: a tenant, a host. Defaults to no key. */
      readonly key?: string | undefined
      /** Runs of a higher priority start first, a whole number of either sign. Defaults to 0. */
      readonly priority?: number | undefined
    }
  | { readonly queue?: undefined; readonly key?: undefined; readonly priority?: undefined }

/**
 * When a run starts.
 *
 * @since 0.1.0
 * @category models
 */
export type When =
  | {
      /** No worker takes the run earlier. 0 does not wait. Defaults to 0. */
      readonly delay?: Duration.DurationInput | undefined
      readonly debounce?: undefined
    }
  | {
      /**
       * No worker takes the run until it was not started again for this long. Each
       * start until then replaces its input, and the wait begins anew. 0 does not wait.
       */
      readonly debounce: Duration.DurationInput
      readonly delay?: undefined
    }

/**
 * Records a run without executing it, for a worker: in a queue, and
 * later, if you want. Does not change a run that exists already, so the id
 * deduplicates; only a debounced start changes one that no worker had yet.
 *
 * Fails with `RunMismatch` if the run exists with another workflow or input: of a
 * debounced run, a worker has taken it. Dies with `InvalidOption` if an option is
 * invalid.
 *
 * In the body of a workflow it records a child run, whose name is `id`: see `Workflow.childId`. The
 * parent does not wait for it, and ends without it; `Workflow.join` waits.
 *
 * @example
 * ```ts
 * import { Queue, Workflow } from "effect-recovery"
 *
 * declare const Index: Workflow.Workflow<{ readonly page: string }, void, never, never>
 * const Indexing = Queue.make("indexing", { concurrency: 2, perKey: 1 })
 *
 * // Ten edits within five seconds start one run, with the last input.
 * export const edited = (tenant: string, page: string, edition: number) =>
 *   Workflow.start(Index, {
 *     id: `index/${page}/${edition}`,
 *     input: { page },
 *     queue: Indexing,
 *     key: tenant,
 *     debounce: "5 seconds"
 *   })
 * ```
 *
 * @since 0.1.0
 * @category execution
 */
export const start = <Input, A, E, R, S>(
  workflow: Workflow<Input, A, E, R, S>,
  run: StartRequest<Input>
): Effect.Effect<void, InvalidName | RunMismatch | JournalError | Storage.StorageError, S | Storage.Storage> =>
  // As for `execute`. A run that is only recorded has no lease, so `LeaseHeld` cannot occur.
  Effect.suspend(() => {
    const [request, recording] = [{ id: run.id, labels: run.labels, input: run.input as never }, recordingOf(run)]
    return orInBody(execute_.start(workflow.definition, request, recording), (parent) =>
      startChild(parent, workflow.definition, request, recording)
    )
  }) as Effect.Effect<void, InvalidName | RunMismatch | JournalError | Storage.StorageError, S | Storage.Storage>

const recordingOf = ({ debounce, delay, key, priority, queue }: Place & When): execute_.Recording => ({
  queue: queue && {
    name: queue.name,
    key: key ?? "",
    priority: priority === undefined ? 0 : wholeNumber("priority", priority)
  },
  delay: debounce === undefined ? millis("delay", delay ?? 0) : millis("debounce", debounce),
  debounce: debounce !== undefined
})

/**
 * Waits until a run has its outcome, in whichever process, and returns it. Fails
 * with `RunCancelled` if it was cancelled. Executes nothing.
 *
 * In the body of a workflow it waits for a child run, durably, and `id` is the name or the id of
 * the child. Fails with `RunNotFound` if the run has no such child.
 *
 * @since 0.1.0
 * @category execution
 */
export const join = <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R, unknown>,
  id: string
): Effect.Effect<
  A,
  E | RunCancelled | RunNotFound | RunMismatch | JournalError | Storage.StorageError,
  R | Storage.Storage
> =>
  // The workflow's own schemas decode the outcome.
  orInBody(execute_.join(workflow.definition, id), (parent) =>
    joinChild(parent, workflow.definition, id)
  ) as Effect.Effect<
    A,
    E | RunCancelled | RunNotFound | RunMismatch | JournalError | Storage.StorageError,
    R | Storage.Storage
  >
