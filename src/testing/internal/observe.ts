import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import { prettyCause, read, safely, textOf } from "../../resilience/Foreign.js"
import type { Run } from "../../storage/Storage.js"

/** The id of each run that is crashed. */
export const runId = "crash-everywhere"

/** Tries again while a process that is dead still has the lease of the run. */
export const whileLeaseIsHeld = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  interval: Duration.DurationInput
): Effect.Effect<A, E, R> =>
  Effect.retry(self, { while: (error) => read(error, "_tag") === "LeaseHeld", schedule: Schedule.spaced(interval) })

/** The exit in one line, for comparison. */
export const describeExit = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.match(exit, {
    onSuccess: (value) => `success ${safely(() => JSON.stringify(value)) ?? textOf(value)}`,
    onFailure: (cause) => `failure ${prettyCause(cause).split("\n")[0]}`
  })

/**
 * The outcome of a run for comparison: the recorded one, else `described`. Drops
 * what a crash may change: the number of attempts and the times.
 */
export const outcomeOf = (run: Run | undefined, described: string): string =>
  run?.outcome === undefined
    ? described
    : `${run.outcome.status} ${run.outcome.exit}`
        .replace(/(\\?"(?:attempts|startedAt)\\?":)\d+/g, "$1…")
        // The message of an exhausted recovery is part of its recorded fault.
        .replace(/(Gave up (?:on \S+ )?after )\d+ attempts?/g, "$1… attempts")
