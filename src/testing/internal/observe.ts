import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"

/** An outcome in one line, to be compared. */
export const describeExit = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.match(exit, {
    onSuccess: (value) => `success ${JSON.stringify(value) ?? "undefined"}`,
    onFailure: (cause) => `failure ${Cause.pretty(cause).split("\n")[0]}`
  })

/** The id of every run that is crashed. */
export const runId = "crash-everywhere"
