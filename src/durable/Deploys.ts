/**
 * Runs whose version no worker has any more: `Workflow.unclaimed` and
 * `Workflow.adopt`.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { RunError } from "../journal/RunError.js"
import type { InvalidOption } from "../resilience/InvalidOption.js"
import { checked, millis } from "../resilience/internal/kernel/options.js"
import * as Storage from "../storage/Storage.js"
import { adoptRuns } from "./internal/run/adopt.js"
import type { Workflow } from "./Workflow.js"

/**
 * A version of a workflow whose due runs no process takes.
 *
 * @since 0.1.0
 * @category versions
 */
export interface Unclaimed {
  readonly workflow: string
  readonly version: string
  /** Its open runs that could be advanced. */
  readonly due: number
  /** Its open runs that wait for a time or a signal. */
  readonly waiting: number
  /** Its open runs that are on hold. */
  readonly held: number
  /** Since when its oldest due run could be advanced. */
  readonly since: Date
}

/**
 * The versions of workflows whose runs no worker takes: a run of the version has
 * been due for longer than `after`, and no process has a lease of any run of it.
 *
 * A version whose runs all wait for a time or a signal is named once the first of
 * them has been due for that long, because only then is a worker missed. A version
 * is also named if all its due runs wait for a place in a queue that others fill.
 *
 * @since 0.1.0
 * @category versions
 */
export const unclaimed: (options?: {
  /** How long a run may be due before its version counts as unclaimed; 0 for no time. Defaults to a minute. */
  readonly after?: Duration.DurationInput | undefined
}) => Effect.Effect<ReadonlyArray<Unclaimed>, Storage.StorageError | InvalidOption, Storage.Storage> = Effect.fn(
  "Workflow.unclaimed"
)(function* ({ after = "1 minute" } = {}) {
  const limit = yield* checked(() => millis("after", after))
  const storage = yield* Storage.Storage
  const now = yield* storage.now
  const late = (yield* storage.backlog).filter(({ oldest }) => oldest !== undefined && oldest <= now - limit)
  const found: Array<Unclaimed> = []
  for (const { due, held, oldest = now, version, waiting, workflow } of late) {
    const running = yield* storage.list({ workflow, version, status: "running", limit: 1 })
    if (running.length === 0) found.push({ workflow, version, due, waiting, held, since: new Date(oldest) })
  }
  return found
})

/**
 * A run that was not adopted: it is as it was.
 *
 * @since 0.1.0
 * @category versions
 */
export interface NotAdopted {
  readonly run: string
  /** `ReplayMismatch` if the journal does not fit, `LeaseHeld` if a process advances the run, and others. */
  readonly error: RunError
}

/**
 * What `Workflow.adopt` did, by the ids of runs, newest first.
 *
 * @since 0.1.0
 * @category versions
 */
export interface Adopted {
  readonly adopted: ReadonlyArray<string>
  readonly refused: ReadonlyArray<NotAdopted>
}

/**
 * Moves the open runs of another version to the version of this workflow, so that
 * workers which have this one take them. Before, the journal of each run is replayed
 * against the body, without running a step. A run that does not fit is refused, and
 * so is a run that a process or a recovery works on: nothing of it changes, not even
 * what it waits for.
 *
 * @example
 * ```ts
 * import { Step, Storage, Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const Greet = Workflow.make("greet", { version: "2" }, () => Step.make("say", { run: Effect.log("hello") }))
 *
 * const program = Effect.gen(function* () {
 *   const { adopted, refused } = yield* Workflow.adopt(Greet, { from: "1" })
 *   yield* Effect.log(`${adopted.length} runs continue in version 2, ${refused.length} do not fit`)
 * })
 *
 * Effect.runPromise(Effect.provide(program, Storage.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category versions
 */
export const adopt = <Input, A, E, R>(
  workflow: Workflow<Input, A, E, R, unknown>,
  options: {
    /** The version that the runs have. */
    readonly from: string
  }
): Effect.Effect<Adopted, Storage.StorageError, R | Storage.Storage> =>
  // The body's own needs are those of the workflow.
  adoptRuns(workflow.definition, options.from) as Effect.Effect<Adopted, Storage.StorageError, R | Storage.Storage>
