/**
 * Faults as journals keep them: what is decided about a failure after a resume
 * is decided by the fault that was recorded with it.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Fault } from "./Fault.js"
import { factsOf } from "./internal/fault/classify.js"
import { faultOfRecord, isMarkedExhausted, type FaultRecord as Record, setRecord } from "./internal/fault/recorded.js"

export const FaultRecord: Schema.Schema<Record> = Schema.Struct({
  category: Schema.String,
  severity: Schema.Literal("low", "medium", "high", "critical"),
  transient: Schema.Boolean,
  confidence: Schema.Number,
  fingerprint: Schema.String,
  message: Schema.String,
  tag: Schema.optional(Schema.String),
  retryAfter: Schema.optional(Schema.Number),
  status: Schema.optional(Schema.Number),
  codes: Schema.optional(Schema.Array(Schema.String)),
  exhausted: Schema.optional(Schema.Boolean)
})
export type FaultRecord = Record

export { isMarkedExhausted }

/** The record of the fault of an error. */
export const recordOf = (fault: Fault, error: unknown): FaultRecord => {
  const { category, confidence, fingerprint, message, retryAfter, severity, tag, transient } = fault
  const { codes, status } = factsOf(error)
  return {
    category,
    severity,
    transient,
    // JSON has neither NaN nor infinity.
    confidence: Number.isFinite(confidence) ? confidence : 0,
    fingerprint,
    message,
    ...(Option.isSome(tag) ? { tag: tag.value } : {}),
    ...(Option.isSome(retryAfter)
      ? { retryAfter: Math.min(Duration.toMillis(retryAfter.value), Number.MAX_SAFE_INTEGER) }
      : {}),
    ...(status === undefined ? {} : { status }),
    ...(codes.length === 0 ? {} : { codes }),
    ...(isMarkedExhausted(error) ? { exhausted: true } : {})
  }
}

/** Sets the fault by which an error that was read from a journal is classified. */
export const restoreFault = <E>(error: E, record: FaultRecord | undefined): E => {
  if (record !== undefined) setRecord(error, record)
  return error
}

/** The fault of an error that was read from a journal. */
export const faultOf = (error: unknown, record: FaultRecord): Fault => faultOfRecord(record, Cause.fail(error))
