import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Fault from "../../../resilience/Fault.js"
import type { Status } from "../../RecoveryRecord.js"
import { placeOf } from "../insights/place.js"
import { endedCounts, failureCounts, learnedCounts, type Met, retryCounts, statusCounts, timeCounts } from "./counts.js"
import {
  type FailureDetails,
  failures,
  newId,
  type RecoveryDetails,
  recoveries,
  type Stored,
  scopeOf
} from "./records.js"

export interface Place {
  readonly run?: string | undefined
  readonly workflow?: string | undefined
  readonly step?: string | undefined
  readonly recovery?: string | undefined
}

export interface NewFailure extends Place {
  readonly fault: Fault.Fault
  readonly labels: Readonly<Record<string, string>>
  readonly log?: string | undefined
  readonly id?: string | undefined
}

/** The end of a log is what tells; its beginning may be as long as it likes. */
const longestLog = 5_000
const longestMessage = 2_000

export const cutMessage = (text: string): string =>
  text.length > longestMessage ? `${text.slice(0, longestMessage - 1)}…` : text

export const detailsOf = ({ fault, log, recovery, run, step, workflow }: NewFailure): FailureDetails => ({
  run: run === "" ? undefined : run,
  workflow,
  step,
  recovery,
  tag: Option.getOrUndefined(fault.tag),
  message: cutMessage(fault.message),
  category: fault.category,
  severity: fault.severity,
  transient: fault.transient,
  confidence: fault.confidence,
  fingerprint: fault.fingerprint,
  retries: 0,
  log: log?.slice(-longestLog)
})

/** Puts a failure on record; nothing, if there is one of the id. */
export const recordFailure = (failing: NewFailure) =>
  Effect.gen(function* () {
    const { fault, id, labels } = failing
    const at = yield* Clock.currentTimeMillis
    const details = detailsOf(failing)
    const { category, fingerprint } = fault
    const writing = { id: id ?? (yield* newId("failure")), subject: details.run ?? "", status: "open", labels, details }
    return yield* failures.write(writing, failureCounts({ scope: scopeOf(labels), category, fingerprint, at }))
  })

/** A run that has failed again is one failure still, which is now known better. Whoever changes it meanwhile knows more. */
export const updateFailure = (open: Stored<FailureDetails>, failing: NewFailure) => {
  const { id, labels, revision, status, subject } = open
  const { log, retries } = open.details
  return failures.write({ id, labels, revision, status, subject, details: { ...detailsOf(failing), log, retries } }, [])
}

/** A way that was taken, and whether it led to a good end. */
export interface Way {
  readonly strategy: string
  readonly isGood: boolean
}

export interface Ended {
  readonly details: RecoveryDetails
  readonly labels: Readonly<Record<string, string>>
  readonly status: Extract<Status, "completed" | "failed" | "cancelled">
  readonly millis: number
  readonly ways: ReadonlyArray<Way>
  /** Before each retry, in milliseconds. */
  readonly delays?: ReadonlyArray<number> | undefined
  /** Whether the last retry led to the good end. */
  readonly byRetry?: boolean | undefined
}

export const metIn = (details: RecoveryDetails): Met => ({
  category: details.category,
  fingerprint: details.fingerprint,
  place: placeOf(details)
})

/** What a recovery that has ended adds to the counters. */
export const countsOfEnd = (
  at: number,
  { byRetry = false, delays = [], details, labels, millis, status, ways }: Ended,
  from: Status | undefined
) => [
  ...statusCounts(scopeOf(labels), details.type, from, status),
  ...(status === "cancelled" ? [] : endedCounts(at, status === "completed", millis)),
  ...ways.flatMap(({ isGood, strategy }) => learnedCounts(metIn(details), strategy, isGood)),
  ...retryCounts(metIn(details).place, delays, byRetry)
]

/** Puts a recovery on record that a program has made by itself. */
export const recordEnded = (ended: Ended) =>
  Effect.gen(function* () {
    const { details, labels, status } = ended
    const at = yield* Clock.currentTimeMillis
    const writing = { id: yield* newId("recovery"), subject: details.failure ?? "", status, labels, details }
    return yield* recoveries.write(writing, countsOfEnd(at, ended, undefined))
  })

export const stepCounts = (step: string, millis: number) => timeCounts(["step", step], millis)
