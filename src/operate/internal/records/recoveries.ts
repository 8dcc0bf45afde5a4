import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Status } from "../../RecoveryRecord.js"
import {
  endedCounts,
  type LearningKey,
  learnedCounts,
  retryCounts,
  type StrategyResult,
  statusCounts
} from "./counters.js"
import { newId, type RecoveryDetails, recoveries, scopeOf } from "./records.js"

type FinalStatus = Extract<Status, "completed" | "failed" | "cancelled">

export interface EndedRecovery {
  readonly details: RecoveryDetails
  readonly labels: Readonly<Record<string, string>>
  readonly status: FinalStatus
  readonly millis: number
  readonly results: ReadonlyArray<StrategyResult>
  /** The delay before each retry, in milliseconds. */
  readonly delays?: ReadonlyArray<number> | undefined
  readonly lastRetrySucceeded?: boolean | undefined
}

/** The name of a step without sections and number, so that all uses of the step share what is learned. */
export const stepName = (key: string): string => decode(key.replace(/^.*\//, "").replace(/#\d+$/, ""))

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The step that failed, or the name of the recovery outside of runs; empty if there is neither. */
export const sourceName = ({ recovery = "", step }: Pick<RecoveryDetails, "step" | "recovery">): string =>
  step === undefined ? recovery : stepName(step)

export const learningKeyOf = (
  about: Pick<RecoveryDetails, "category" | "fingerprint" | "step" | "recovery">
): LearningKey => ({ category: about.category, fingerprint: about.fingerprint, source: sourceName(about) })

/** The counters that an ended recovery changes. Cancelled recoveries count by status only. */
export const countsOfEnd = (at: number, ended: EndedRecovery, from: Status | undefined) => {
  const { delays = [], details, labels, lastRetrySucceeded = false, millis, results, status } = ended
  const key = learningKeyOf(details)
  return [
    ...statusCounts(scopeOf(labels), details.type, from, status),
    ...(status === "cancelled" ? [] : endedCounts(at, status === "completed", millis)),
    ...results.flatMap((result) => learnedCounts(key, result)),
    ...retryCounts(key.source, delays, lastRetrySucceeded)
  ]
}

/** Records a recovery that a program made by its own strategies. */
export const recordEnded = (ended: EndedRecovery) =>
  Effect.gen(function* () {
    const { details, labels, status } = ended
    const at = yield* Clock.currentTimeMillis
    const draft = { id: yield* newId("recovery"), subject: details.failure ?? "", status, labels, details }
    return yield* recoveries.write(draft, countsOfEnd(at, ended, undefined))
  })
