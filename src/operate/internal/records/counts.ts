import type { Count } from "../../../storage/Storage.js"
import type { Status } from "../../RecoveryRecord.js"

/** Names come from programs: they are cut, and may hold anything. */
const longest = 160

/** Of a pair; it cannot be encoded. */
const half = /[\ud800-\udfff]/gu

export const nameOf = (...parts: ReadonlyArray<string>): string =>
  parts.map((part) => encodeURIComponent(part.slice(0, longest).replace(half, "\ufffd"))).join("/")

export const partsOf = (name: string): ReadonlyArray<string> => name.split("/").map(decodeURIComponent)

const dayOf = (millis: number): string => new Date(millis).toISOString().slice(0, 10)

export interface Failed {
  readonly scope: string
  readonly category: string
  readonly fingerprint: string
  readonly at: number
}

export const failureCounts = ({ at, category, fingerprint, scope }: Failed): ReadonlyArray<Count> => [
  { name: nameOf("failures", scope, "all"), add: 1 },
  { name: nameOf("failures", scope, "open"), add: 1 },
  { name: nameOf("failing", "category", category), add: 1 },
  { name: nameOf("failing", "fingerprint", fingerprint), add: 1 },
  { name: nameOf("days", dayOf(at), "failures"), add: 1 }
]

export const resolvedCounts = (scope: string): ReadonlyArray<Count> => [
  { name: nameOf("failures", scope, "open"), add: -1 }
]

/** A recovery of a type that goes from one status to another. */
export const statusCounts = (
  scope: string,
  type: string,
  from: Status | undefined,
  to: Status
): ReadonlyArray<Count> => [
  ...(from === undefined ? [] : [{ name: nameOf("recoveries", scope, type, from), add: -1 }]),
  { name: nameOf("recoveries", scope, type, to), add: 1 }
]

/** Where a failure was met, from the narrowest to the widest. */
export interface Met {
  readonly fingerprint: string
  /** The step, or the name of the recovery. */
  readonly place: string
  readonly category: string
}

/** What one way has come to, for those who choose among ways later. */
export const learnedCounts = (met: Met, strategy: string, isGood: boolean): ReadonlyArray<Count> => {
  const how = isGood ? "good" : "bad"
  const { category, fingerprint, place } = met
  return [
    { name: nameOf("learned", "fingerprint", fingerprint, strategy, how), add: 1 },
    ...(place === "" ? [] : [{ name: nameOf("learned", "step", place, strategy, how), add: 1 }]),
    { name: nameOf("learned", "category", category, strategy, how), add: 1 },
    { name: nameOf("learned", "all", "", strategy, how), add: 1 }
  ]
}

/** The end of a recovery, for trends and for the time it takes to recover. */
export const endedCounts = (at: number, isGood: boolean, millis: number): ReadonlyArray<Count> => [
  { name: nameOf("days", dayOf(at), isGood ? "recovered" : "unrecovered"), add: 1 },
  ...(isGood ? timeCounts(["recovery"], millis) : [])
]

/** A quarter of an octave a bucket, so that a percentile is told within a tenth, and the buckets are few. */
const perOctave = 4

export const bucketOf = (millis: number): number => Math.max(0, Math.ceil(Math.log2(Math.max(1, millis)) * perOctave))

/** The middle of a bucket, in milliseconds. */
export const millisOf = (bucket: number): number => (bucket === 0 ? 1 : 2 ** ((bucket - 0.5) / perOctave))

/** The end of a bucket: a delay that must not be too short. */
export const longestOf = (bucket: number): number => 2 ** (bucket / perOctave)

export const timeCounts = (of: ReadonlyArray<string>, millis: number): ReadonlyArray<Count> => [
  { name: nameOf("times", ...of, "bucket", String(bucketOf(millis)).padStart(3, "0")), add: 1 },
  { name: nameOf("times", ...of, "total"), add: Math.max(0, Math.round(millis)) }
]

/** Later ones are no longer told apart. */
const mostRetries = 20

/** What each retry of a recovery came to after its delay; the last of them may have led to the good end. */
export const retryCounts = (place: string, delays: ReadonlyArray<number>, isGood: boolean): ReadonlyArray<Count> =>
  place === ""
    ? []
    : delays.map((millis, i) => {
        const bucket = String(bucketOf(millis)).padStart(3, "0")
        const how = isGood && i === delays.length - 1 ? "good" : "bad"
        return {
          name: nameOf("retries", place, String(Math.min(i + 1, mostRetries)).padStart(2, "0"), bucket, how),
          add: 1
        }
      })
