import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type { Run } from "../../storage/Storage.js"

/** An outcome in one line, to be compared. */
export const describeExit = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.match(exit, {
    onSuccess: (value) => `success ${JSON.stringify(value) ?? "undefined"}`,
    onFailure: (cause) => `failure ${Cause.pretty(cause).split("\n")[0]}`
  })

/** What a run came to: as it is on record, since that tells more than a message; else as the process saw it. */
export const outcomeOf = ({ outcome }: Run, exit: Exit.Exit<unknown, unknown> | undefined): string => {
  if (outcome !== undefined) return `${outcome.status} ${outcome.exit}`
  return exit === undefined ? "none" : describeExit(exit)
}

/** The id of every run that is crashed. */
export const runId = "crash-everywhere"
