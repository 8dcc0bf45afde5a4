import { exits } from "./exits.js"

/**
 * Handles output that cannot be written: its reader is gone, or the disk is full.
 * The work continues. `exec` has no output of its own; another command whose output
 * is lost has failed, unless its reader has seen enough.
 */
export const watchOutput = (isExec: boolean): void => {
  process.stderr.on("error", () => {})
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (isExec || error.code === "EPIPE") return
    process.stderr.write(`recovery: the output cannot be written: ${error.message}\n`)
    if (!process.exitCode) process.exitCode = exits.Failed[0]
  })
}
