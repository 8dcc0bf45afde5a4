/** How the worker's events travel to the supervisor: one line of JSON each. */

import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type { Events } from "effect-recovery"

export const Report = Schema.Struct({
  event: Schema.String,
  step: Schema.optional(Schema.String),
  attempt: Schema.optional(Schema.Number),
  category: Schema.optional(Schema.String),
  message: Schema.optional(Schema.String),
  decision: Schema.optional(Schema.String),
  /** Milliseconds. */
  delay: Schema.optional(Schema.Number),
  answered: Schema.optional(Schema.Number)
})

export type Report = typeof Report.Type

export const fromLine = Schema.decodeUnknown(Schema.parseJson(Report))

export const toLine = (event: Events.Event): string => JSON.stringify(toReport(event))

const toReport = (event: Events.Event): Report => {
  const base = { event: event._tag, step: event.source.step }
  switch (event._tag) {
    case "Decided": {
      const { attempt, decision, delay, fault } = event
      const { category, message } = fault
      return { ...base, attempt, category, message, decision, delay: Duration.toMillis(delay) }
    }
    case "AttemptStarted":
    case "StepAmbiguous":
      return { ...base, attempt: event.attempt }
    case "BackoffResumed":
      return { ...base, attempt: event.attempt, delay: Duration.toMillis(event.delay) }
    case "StepCompleted":
    case "StepAnswered":
      return { ...base, attempt: event.attempts }
    case "StepFailed":
      return { ...base, attempt: event.attempts, category: event.fault.category, message: event.fault.message }
    case "RunResumed":
      return { ...base, answered: event.answered }
    case "RunStopped":
      return { ...base, message: event.reason }
    case "RunFinished":
      return { ...base, message: event.outcome }
    default:
      return base
  }
}
