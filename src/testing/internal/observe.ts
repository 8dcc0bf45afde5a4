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
  if (outcome !== undefined) return comparable(`${outcome.status} ${outcome.exit}`)
  return exit === undefined ? "none" : describeExit(exit)
}

/** Without what a crash may change and nobody can help: one attempt more, and when it was. */
export const comparable = (outcome: string): string => outcome.replace(/(\\?"(?:attempts|startedAt)\\?":)\d+/g, "$1…")

/** The id of every run that is crashed. */
export const runId = "crash-everywhere"
