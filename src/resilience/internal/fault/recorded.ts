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
