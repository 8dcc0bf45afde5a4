import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { Event, Source } from "../../Events.js"
import type * as Fault from "../../Fault.js"

const at = ({ recovery, run, step }: Source): string => {
  const place = [run, step ?? recovery].filter((part) => part !== undefined).join(" ")
  return place === "" ? "" : `${place}: `
}

const of = ({ category, message, severity, transient }: Fault.Fault): string =>
  `${message} (${category}, ${severity}${transient ? ", may pass" : ""})`

const times = (count: number): string => `${count} attempt${count === 1 ? "" : "s"}`

/** An event as a person reads it. */
export const inWords = (event: Event): string => `${at(event.source)}${said(event)}`

const said = (event: Event): string => {
  switch (event._tag) {
    case "Decided": {
      const delay = Duration.toMillis(event.delay) === 0 ? "" : ` in ${Duration.format(event.delay)}`
      return `attempt ${event.attempt} has failed: ${of(event.fault)}; ${event.strategy} says ${event.decision}${delay}`
    }
    case "RecoveryEnded":
      return `${event.outcome} after ${times(event.attempts)} and ${Duration.format(event.elapsed)}`
    case "BreakerChanged":
      return `the breaker is ${event.change.to}`
    case "RunStarted":
      return `a run of ${event.workflow} begins`
    case "RunResumed":
      return `the run of ${event.workflow} goes on, with ${event.answered} steps done`
    case "RunFinished":
      return `the run of ${event.workflow} has ${event.outcome}`
    case "RunSuspended":
      return `the run waits${Option.match(event.until, { onNone: () => "", onSome: (date) => ` until ${date.toISOString()}` })}`
    case "RunStopped":
      return `the run has stopped: ${event.reason}`
    case "RunRewound":
      return `the run was taken back to ${event.point} by ${event.by}`
    case "WaitStarted":
      return `waits (${event.kind}): ${event.about}`
    case "WaitEnded":
      return `the wait (${event.kind}) is over${event.answered ? ", with an answer" : ""}`
    case "AttemptStarted":
      return `attempt ${event.attempt} begins`
    case "StepAnswered":
      return "answered from the journal"
    case "StepCompleted":
      return `completed after ${times(event.attempts)}`
    case "StepFailed":
      return `failed after ${times(event.attempts)}: ${of(event.fault)}`
    case "StepAmbiguous":
      return `nobody knows whether attempt ${event.attempt} happened; onAmbiguous says ${event.onAmbiguous}`
    case "BackoffResumed":
      return `goes on waiting for attempt ${event.attempt}, ${Duration.format(event.delay)}`
    case "CheckpointSaved":
      return `checkpoint ${event.checkpoint} is saved (${event.id})`
    case "RollbackStarted":
      return `transaction ${event.transaction} is undone, since it ${event.reason}`
    case "RollbackEnded":
      return `transaction ${event.transaction} was undone${event.clean ? "" : ", but not all of it"}`
    case "UndoCompleted":
      return `undone after ${times(event.attempts)}`
    case "UndoFailed":
      return `could not be undone, after ${times(event.attempts)}`
  }
}
