import * as Cause from "effect/Cause"
import * as Fault from "../../../resilience/Fault.js"
import type { Execution } from "./execution.js"

/** Where a failure in the body of a run came from. */
export interface Origin {
  /** The key of the step, or the section of the transaction, that failed. */
  readonly key: string
  /** The step that failed first. */
  readonly step: string | undefined
}

/** The failures of a cause come from here. A transaction that fails keeps the step that its failure came from. */
export const setOrigin = (execution: Execution, cause: Cause.Cause<unknown>, key: string, step?: string): void => {
  for (const error of Cause.failures(cause)) {
    if (typeof error !== "object" || error === null) continue
    // Most executions have none, and the garbage collector visits each weak map.
    execution.origins ??= new WeakMap()
    const { origins } = execution
    origins.set(error, { key, step: step ?? origins.get(error)?.step })
  }
}

/** A bound for cyclic causes. */
const maxDepth = 8

/** Where the error came from, or the first of its causes that is known. */
export const originOf = ({ origins }: Execution, error: unknown): Origin | undefined => {
  let link = error
  for (let depth = 0; depth < maxDepth && typeof link === "object" && link !== null; depth++) {
    const origin = origins?.get(link)
    if (origin !== undefined) return origin
    link = Fault.read(link, "cause")
  }
  return undefined
}
