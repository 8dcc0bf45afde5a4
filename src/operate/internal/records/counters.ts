import * as Hash from "effect/Hash"
import type { Count } from "../../../storage/Storage.js"
import type { Status } from "../../RecoveryRecord.js"

const maxPartLength = 160

/** Half of a surrogate pair: `encodeURIComponent` throws on it. */
const loneSurrogate = /[\ud800-\udfff]/gu

/** Joins the parts with slashes. A part may hold any text: a long one is cut, and ends in its length and hash. */
export const counterName = (...parts: ReadonlyArray<string>): string => parts.map(encodePart).join("/")

const encodePart = (part: string): string => {
  const kept = part.slice(0, maxPartLength).replace(loneSurrogate, "\ufffd")
  if (kept === part) return encodeURIComponent(part)
  const mark = `~${part.length}-${(Hash.string(part) >>> 0).toString(36)}`
  return encodeURIComponent(kept.slice(0, maxPartLength - mark.length).replace(loneSurrogate, "\ufffd") + mark)
}

export const counterParts = (name: string): ReadonlyArray<string> => name.split("/").map(decodePart)

/** A damaged name counts something else, and must not fail all statistics. */
const decodePart = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

const increment = (...parts: ReadonlyArray<string>): Count => ({ name: counterName(...parts), add: 1 })

const dayOf = (millis: number): string => new Date(millis).toISOString().slice(0, 10)

export const failureCounts = (scope: string, category: string, fingerprint: string, at: number) => [
  increment("failures", scope, "all"),
  increment("failures", scope, "open"),
  increment("failing", "category", category),
  increment("failing", "fingerprint", fingerprint),
  increment("days", dayOf(at), "failures")
]

export const resolvedCounts = (scope: string): ReadonlyArray<Count> => [
  { name: counterName("failures", scope, "open"), add: -1 }
]

/** Moves one recovery from a status to another; a new recovery has no status to leave. */
export const statusCounts = (
  scope: string,
  type: string,
  from: Status | undefined,
  to: Status
): ReadonlyArray<Count> => [
  ...(from === undefined ? [] : [{ name: counterName("recoveries", scope, type, from), add: -1 }]),
  increment("recoveries", scope, type, to)
]

/** What strategies are learned for: the fingerprint of a failure, its step or recovery name, and its category. */
export interface LearningKey {
  readonly fingerprint: string
  /** Empty if the failure has neither step nor recovery name. */
  readonly source: string
  readonly category: string
}

/** A strategy that was tried, and whether it recovered the failure. */
export interface StrategyResult {
  readonly strategy: string
  readonly succeeded: boolean
}

const resultName = (succeeded: boolean): string => (succeeded ? "good" : "bad")

export const learnedCounts = (
  { category, fingerprint, source }: LearningKey,
  { strategy, succeeded }: StrategyResult
): ReadonlyArray<Count> => {
  const result = resultName(succeeded)
  return [
    increment("learned", "fingerprint", fingerprint, strategy, result),
    ...(source === "" ? [] : [increment("learned", "step", source, strategy, result)]),
    increment("learned", "category", category, strategy, result),
    increment("learned", "all", "", strategy, result)
  ]
}

/** Counts an ended recovery by day. Only a successful one counts towards the time to recover. */
export const endedCounts = (at: number, succeeded: boolean, millis: number): ReadonlyArray<Count> => [
  increment("days", dayOf(at), succeeded ? "recovered" : "unrecovered"),
  ...(succeeded ? timeCounts(["recovery"], millis) : [])
]

/** Four buckets per doubling: percentiles are exact to a tenth, with few counters. */
const bucketsPerDoubling = 4

const bucketOf = (millis: number): string =>
  String(Math.max(0, Math.ceil(Math.log2(Math.max(1, millis)) * bucketsPerDoubling))).padStart(3, "0")

/** The middle of a bucket, in milliseconds. */
export const bucketMiddle = (bucket: number): number => (bucket === 0 ? 1 : 2 ** ((bucket - 0.5) / bucketsPerDoubling))

/** The upper end of a bucket, in milliseconds. Used for delays, which must not be estimated too short. */
export const bucketEnd = (bucket: number): number => 2 ** (bucket / bucketsPerDoubling)

export const timeCounts = (of: ReadonlyArray<string>, millis: number): ReadonlyArray<Count> => [
  increment("times", ...of, "bucket", bucketOf(millis)),
  { name: counterName("times", ...of, "total"), add: Math.max(0, Math.round(millis)) }
]

/** Retries from the twentieth on share one counter. */
const maxRetryNumber = 20

/** One count per retry, by its number and delay. Only the last retry of a recovery can have succeeded. */
export const retryCounts = (source: string, delays: ReadonlyArray<number>, lastSucceeded: boolean) =>
  source === ""
    ? []
    : delays.map((millis, i) => {
        const retry = String(Math.min(i + 1, maxRetryNumber)).padStart(2, "0")
        return increment(
          "retries",
          source,
          retry,
          bucketOf(millis),
          resultName(lastSucceeded && i === delays.length - 1)
        )
      })
