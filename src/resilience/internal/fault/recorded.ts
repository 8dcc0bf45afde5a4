import * as Duration from "effect/Duration"
import { globalValue } from "effect/GlobalValue"
import * as Option from "effect/Option"
import type { Declaration, Fault } from "../../Fault.js"

/** A fault as a journal keeps it, with what rules read of the error. Durations are milliseconds. */
export interface FaultRecord
  extends Pick<Fault, "category" | "severity" | "transient" | "confidence" | "fingerprint" | "message"> {
  readonly tag?: string | undefined
  readonly retryAfter?: number | undefined
  readonly status?: number | undefined
  readonly codes?: ReadonlyArray<string> | undefined
  /** A recovery used up its retries and failed with the error as it is. */
  readonly exhausted?: boolean | undefined
}

/**
 * The faults of errors that were read from a journal. A schema keeps less of an
 * error than its classification needs, such as the status of a cause.
 */
const records = globalValue("effect-recovery/recordedFaults", () => new WeakMap<object, FaultRecord>())

export const setRecord = (error: unknown, record: FaultRecord): void => {
  if (isObject(error)) records.set(error, record)
}

export const getRecord = (error: unknown): FaultRecord | undefined => (isObject(error) ? records.get(error) : undefined)

/** The errors that a recovery surfaced as they are, after it had used up its retries in this process. */
const exhausted = globalValue("effect-recovery/exhaustedErrors", () => new WeakSet<object>())

/** An error that is no object has no identity, so it cannot be marked. */
export const markExhausted = (error: unknown): void => {
  if (isObject(error)) exhausted.add(error)
}

/** Whether a recovery used up its retries and failed with this error as it is, in this process or in an earlier one. */
export const isMarkedExhausted = (error: unknown): boolean =>
  isObject(error) && (exhausted.has(error) || records.get(error)?.exhausted === true)

const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function"

export const declarationOfRecord = ({
  category,
  confidence,
  retryAfter,
  severity,
  transient
}: FaultRecord): Declaration => ({
  category,
  severity,
  transient,
  confidence,
  retryAfter: retryAfter === undefined ? undefined : Duration.millis(retryAfter)
})

export const faultOfRecord = (
  { category, confidence, fingerprint, message, retryAfter, severity, tag, transient }: FaultRecord,
  cause: Fault["cause"]
): Fault => ({
  category,
  severity,
  transient,
  confidence,
  fingerprint,
  message,
  tag: Option.fromNullable(tag),
  retryAfter: Option.map(Option.fromNullable(retryAfter), Duration.millis),
  cause
})
