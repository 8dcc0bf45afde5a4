/**
 * The errors of calls that were refused. They hold no schema, so that programs
 * that only protect calls do not contain `effect/Schema`; see `PolicySchema`.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import { durationText } from "./DurationText.js"

/**
 * The circuit breaker refused the call, so the call did not run.
 *
 * @since 0.1.0
 * @category errors
 */
export class CircuitOpen extends Data.TaggedError("CircuitOpen")<{
  /** The name of the breaker. */
  readonly breaker: string
  /** `isolated` breakers refuse calls until they are reset. */
  readonly state: "open" | "half-open" | "isolated"
  /** Time until the breaker may admit a call. An estimate while it is half-open or isolated. */
  readonly retryAfter: Duration.Duration
}> {
  override get message(): string {
    const breaker = `The circuit breaker "${this.breaker}"`
    if (this.state === "isolated") return `${breaker} is isolated and refuses calls; reset it to admit them.`
    const what = this.state === "open" ? "is open" : "is half-open"
    return `${breaker} ${what}; try again in ${durationText(this.retryAfter)}.`
  }
}

/**
 * The bulkhead is full and its queue is full, so the call did not run.
 *
 * @since 0.1.0
 * @category errors
 */
export class BulkheadFull extends Data.TaggedError("BulkheadFull")<{
  /** The name of the bulkhead. */
  readonly bulkhead: string
  /** The limit on calls that run. */
  readonly maxConcurrent: number
  /** The limit on calls that wait. */
  readonly maxQueue: number
}> {
  override get message(): string {
    return `The bulkhead "${this.bulkhead}" is full: ${this.maxConcurrent} calls run and ${this.maxQueue} wait; try again later, or raise maxConcurrent or maxQueue.`
  }
}

/** Only V8 has `stackTraceLimit`. */
const errors: typeof Error & { stackTraceLimit?: number | undefined } = Error

/**
 * Makes an error without a stack trace. A breaker or bulkhead may refuse
 * thousands of calls per second, and the trace would only show the refusal.
 *
 * @internal
 */
export const withoutStack = <E extends Error>(make: () => E): E => {
  const limit = errors.stackTraceLimit
  errors.stackTraceLimit = 0
  try {
    return make()
  } finally {
    errors.stackTraceLimit = limit
  }
}
