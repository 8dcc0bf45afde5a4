import { knownKeys } from "../../../journal/Journal.js"
import type { RollbackResult } from "../../../transaction/Compensation.js"
import { isToCancel } from "./control.js"
import type { Execution } from "./execution.js"

/** The recorded work that must be compensated and that this execution has not reached. */
export const unregistered = ({ journal, rollback }: Execution, within: string): ReadonlyArray<string> =>
  knownKeys(journal).flatMap(([key, { isRequired }]) =>
    isRequired && key.startsWith(within) && !rollback.log.has(key) ? [key] : []
  )

/** Nothing of the journal is left to reach. A rollback of an earlier process ends before. */
export const isReadyToCancel = (execution: Execution): boolean =>
  execution.replay.gate.pending.size === 0 &&
  execution.rollback.open.size === 0 &&
  unregistered(execution, "").length === 0

/** A retry could not do better: everything was compensated but what lies before a pivot. */
const isFinal = ({ failures, pivot, remaining }: RollbackResult): boolean =>
  failures.length === 0 && (remaining.length === 0 || pivot !== undefined)

/**
 * Whether a rollback of a run that is being cancelled is to be tried again. Then its
 * end is not recorded, so that the next execution of the run continues it.
 */
export const isToRetry = (execution: Execution, result: RollbackResult): boolean => {
  if (!isToCancel(execution) || isFinal(result)) return false
  execution.rollback.incomplete.push(result)
  return true
}

/** The compensations that keep the run from being cancelled; undefined if there are none. */
export const obstacleToCancel = ({
  journal,
  rollback: { ended, incomplete, log }
}: Execution): RollbackResult | undefined => {
  const isDone = (key: string) => log.get(key)?.done === true
  const failures = new Map(incomplete.flatMap((one) => one.failures.map((failure) => [failure.undo, failure])))
  // Rollbacks of earlier executions that the program did not reach again.
  const open = [...journal.rollbacks.values()].filter(
    ({ section, status }) => status === "started" && !ended.has(section)
  )
  const unreached = knownKeys(journal).flatMap(([key, { isRequired }]) =>
    isRequired && open.some(({ section }) => key.startsWith(section)) ? [key] : []
  )
  const left = new Set([...incomplete.flatMap(({ remaining }) => remaining), ...unreached])
  const result = {
    failures: [...failures.values()].filter(({ undo }) => !isDone(undo)),
    remaining: [...left].filter((key) => !isDone(key) && !failures.has(key)),
    pivot: incomplete.find(({ pivot }) => pivot !== undefined)?.pivot
  }
  return result.failures.length === 0 && result.remaining.length === 0 ? undefined : result
}
