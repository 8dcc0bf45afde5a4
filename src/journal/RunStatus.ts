/**
 * How a run stands: what `Workflow.status`, `Workflow.list` and
 * `Workflow.stats` answer, as schemas. Encoded, options are `null` or a value,
 * and dates are ISO 8601 texts.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Waiting } from "./RunError.js"

const MaybeDate = Schema.OptionFromNullOr(Schema.Date)

/**
 * How a run ended. `cancelled`: by `Workflow.cancel` or `Workflow.terminate`.
 *
 * @since 0.1.0
 * @category models
 */
export const OutcomeStatus = Schema.Literal("completed", "failed", "exhausted", "cancelled")
/**
 * @since 0.1.0
 * @category models
 */
export type OutcomeStatus = typeof OutcomeStatus.Type

/**
 * `running`: a process advances the run. `held`: it is on hold, and no worker
 * takes it until it is released. `suspended`: it waits for a time, a signal or an
 * answer. `stopped`: it has no outcome and no process, or waits in its queue; a
 * worker resumes it. `exhausted`: it failed with the failure on which a recovery gave
 * up because it had no further option, such as a used up retry. `failed`: it
 * failed with any other failure.
 *
 * @since 0.1.0
 * @category models
 */
export const Status = Schema.Literal("running", "held", "suspended", "stopped", ...OutcomeStatus.literals)
/**
 * @since 0.1.0
 * @category models
 */
export type Status = typeof Status.Type

/**
 * The error that a run failed with, or why it was cancelled, as far as it can be read without its schema.
 *
 * @since 0.1.0
 * @category models
 */
export const RunFailure = Schema.Struct({
  tag: Schema.optional(Schema.String),
  /** At most 2,000 characters. */
  message: Schema.String
})
/**
 * @since 0.1.0
 * @category models
 */
export interface RunFailure extends Schema.Schema.Type<typeof RunFailure> {}

/**
 * A run without its journal.
 *
 * @since 0.1.0
 * @category models
 */
export const RunSummary = Schema.Struct({
  id: Schema.String,
  workflow: Schema.String,
  version: Schema.String,
  status: Status,
  labels: Schema.Record({ key: Schema.String, value: Schema.String }),
  createdAt: Schema.Date,
  finishedAt: MaybeDate,
  /** The process that advances it. */
  owner: Schema.OptionFromNullOr(Schema.String),
  /** How often it was started or resumed. */
  executions: Schema.Number,
  /** What a suspended run waits for. */
  waiting: Schema.Array(Waiting),
  /** The earliest time at which it can resume by itself; none if it waits for a signal or an answer, or has ended. */
  dueAt: MaybeDate,
  /** Why it is `failed`, `exhausted` or `cancelled`; none for any other run. */
  failure: Schema.OptionFromNullOr(RunFailure),
  /** Why no worker takes it. */
  hold: Schema.OptionFromNullOr(
    Schema.Struct({
      /** `manual`, or that of a recovery. */
      id: Schema.String,
      reason: Schema.String,
      since: Schema.Date
    })
  ),
  /** The request to cancel it, until it has ended. */
  cancelling: Schema.OptionFromNullOr(
    Schema.Struct({ reason: Schema.String, by: Schema.OptionFromNullOr(Schema.String) })
  ),
  queue: Schema.OptionFromNullOr(
    Schema.Struct({
      name: Schema.String,
      /** Runs of one key share a part of the limits; may be empty. */
      key: Schema.String,
      priority: Schema.Number
    })
  ),
  /** The id of the run that waits for this one. */
  parent: Schema.OptionFromNullOr(Schema.String),
  /** How many journals it has had: the first is 1. */
  generation: Schema.Number,
  /** The store's number of the run, as `Workflow.list({ before })` takes it. */
  key: Schema.Number
})
/**
 * @since 0.1.0
 * @category models
 */
export interface RunSummary extends Schema.Schema.Type<typeof RunSummary> {}

/**
 * A failure of a step, as far as it can be read without its schema, and without secrets.
 *
 * @since 0.1.0
 * @category models
 */
export const StepFailure = Schema.Struct({
  /** Such as `network`; undefined for the failure that a step ended with, and for a defect. */
  category: Schema.optional(Schema.String),
  tag: Schema.optional(Schema.String),
  /** At most 2,000 characters. */
  message: Schema.String
})
/**
 * @since 0.1.0
 * @category models
 */
export interface StepFailure extends Schema.Schema.Type<typeof StepFailure> {}

/**
 * One attempt of a step.
 *
 * @since 0.1.0
 * @category models
 */
export const AttemptStatus = Schema.Struct({
  /** From 1. */
  number: Schema.Number,
  /**
   * `started`: it runs, or its process has ended. `retried`: it failed, and another
   * attempt follows. `asked`: it failed, and a person decides. `failed`: it failed,
   * and the step with it. `died`: of a defect. `cutShort`: its process ended, and
   * another attempt followed. `interrupted`: by the program.
   */
  status: Schema.Literal("started", "completed", "retried", "asked", "failed", "died", "cutShort", "interrupted"),
  startedAt: Schema.Date,
  endedAt: MaybeDate,
  failure: Schema.OptionFromNullOr(StepFailure),
  /** When the next attempt is due, after one that was `retried`. */
  nextAt: MaybeDate
})
/**
 * @since 0.1.0
 * @category models
 */
export interface AttemptStatus extends Schema.Schema.Type<typeof AttemptStatus> {}

/**
 * A decision of a recovery around a part of the body.
 *
 * @since 0.1.0
 * @category models
 */
export const DecisionStatus = Schema.Struct({
  /** The key of the recovery. */
  key: Schema.String,
  /** Its name, if it has one. */
  recovery: Schema.OptionFromNullOr(Schema.String),
  /** The step that failed, if the failure came out of one. */
  step: Schema.OptionFromNullOr(Schema.String),
  decision: Schema.Literal("Again", "Instead", "Rewind", "HandOver", "GiveUp"),
  /** The strategy that decided. */
  by: Schema.String,
  at: Schema.Date,
  /** When the part runs again. */
  nextAt: MaybeDate,
  failure: StepFailure
})
/**
 * @since 0.1.0
 * @category models
 */
export interface DecisionStatus extends Schema.Schema.Type<typeof DecisionStatus> {}

/**
 * One step of a run.
 *
 * @since 0.1.0
 * @category models
 */
export const StepStatus = Schema.Struct({
  key: Schema.String,
  /**
   * `waiting`: for its next attempt. `asked`: for an answer. `started` in a run
   * that no process advances: it is unknown whether the attempt took effect.
   * `interrupted`: by the program, such as the loser of a race.
   */
  status: Schema.Literal("started", "waiting", "asked", "interrupted", "completed", "failed"),
  /** How many there were. */
  attempts: Schema.Number,
  /** Its attempts with their times and failures, oldest first. */
  history: Schema.Array(AttemptStatus),
  /** The state of its compensation; none before one is registered. */
  compensation: Schema.OptionFromNullOr(Schema.Literal("registered", "started", "completed", "failed")),
  /** Why its compensation failed. */
  compensationFailure: Schema.OptionFromNullOr(RunFailure),
  /** When its latest attempt started. */
  startedAt: Schema.Date,
  /** When its latest journal entry was written. */
  updatedAt: Schema.Date,
  /** When the next attempt is due, for a step that is `waiting`. */
  nextAttemptAt: MaybeDate,
  /** The attempts of which it is unknown whether they took effect. */
  ambiguous: Schema.Array(Schema.Number)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface StepStatus extends Schema.Schema.Type<typeof StepStatus> {}

/**
 * One wait of a run, open or ended.
 *
 * @since 0.1.0
 * @category models
 */
export const WaitStatus = Schema.Struct({
  /** The id by which a question is answered. */
  id: Schema.String,
  kind: Schema.Literal("sleep", "signal", "question", "child"),
  /** The question, or the name of the signal, sleep or child. */
  about: Schema.String,
  to: Schema.OptionFromNullOr(Schema.String),
  startedAt: Schema.Date,
  /** When it times out. */
  until: MaybeDate,
  endedAt: MaybeDate,
  /**
   * `answered`: a child has also ended, or was started. `elapsed`: its time was up. `refused`: the answer or value did not fit, and the run
   * asks or waits again. `interrupted`: by the program.
   */
  status: Schema.Literal("open", "answered", "elapsed", "refused", "interrupted")
})
/**
 * @since 0.1.0
 * @category models
 */
export interface WaitStatus extends Schema.Schema.Type<typeof WaitStatus> {}

/**
 * A transaction of a run that is rolled back.
 *
 * @since 0.1.0
 * @category models
 */
export const RollbackStatus = Schema.Struct({
  /** Its section; empty for the run itself. */
  transaction: Schema.String,
  /** `started`: some compensations are still to run. `failed`: some compensations failed. */
  status: Schema.Literal("started", "completed", "failed"),
  /** Why it rolls back: it `failed`, was `interrupted`, `died` of a defect, or its run was `stopped` or `cancelled`. */
  reason: Schema.String,
  startedAt: Schema.Date,
  updatedAt: Schema.Date
})
/**
 * @since 0.1.0
 * @category models
 */
export interface RollbackStatus extends Schema.Schema.Type<typeof RollbackStatus> {}

/**
 * A rewind of a run to an earlier point.
 *
 * @since 0.1.0
 * @category models
 */
export const RewindStatus = Schema.Struct({
  at: Schema.Date,
  /** The strategy and where it decided, or the caller of `Workflow.rewind`. */
  by: Schema.String,
  /** The point, in words. */
  point: Schema.String,
  /** The failure that led to it. */
  reason: Schema.String
})
/**
 * @since 0.1.0
 * @category models
 */
export interface RewindStatus extends Schema.Schema.Type<typeof RewindStatus> {}

/**
 * A run with its steps, waits, rollbacks and rewinds.
 *
 * @since 0.1.0
 * @category models
 */
export const RunStatus = Schema.Struct({
  ...RunSummary.fields,
  /** In the order of their first start, without steps that a rewind removed. */
  steps: Schema.Array(StepStatus),
  waits: Schema.Array(WaitStatus),
  /** Of recoveries around parts of the body, oldest first, without those that a rewind removed. */
  decisions: Schema.Array(DecisionStatus),
  /** The runs that signal this one when they end, newest first, at most 100. */
  children: Schema.Array(Schema.Struct({ id: Schema.String, workflow: Schema.String, status: Status })),
  rollbacks: Schema.Array(RollbackStatus),
  /** Oldest first. */
  rewinds: Schema.Array(RewindStatus),
  /** A rewind that has started and not ended: executing the run continues it. */
  rewinding: Schema.OptionFromNullOr(RewindStatus),
  /**
   * Journal lines that only a newer version of this library can read, oldest first;
   * empty as a rule. What they say is missing above: a step or a wait may have ended
   * since. A process of that version continues the run.
   */
  unread: Schema.Array(
    Schema.Struct({
      /** Its position in the journal. */
      seq: Schema.Number,
      kind: Schema.String,
      /** The step, wait or transaction; empty for the run itself. */
      step: Schema.String,
      /** Why it cannot be read. */
      problem: Schema.String
    })
  )
})
/**
 * @since 0.1.0
 * @category models
 */
export interface RunStatus extends Schema.Schema.Type<typeof RunStatus> {}

/**
 * The number of runs of one workflow in one status.
 *
 * @since 0.1.0
 * @category models
 */
export const RunCount = Schema.Struct({
  workflow: Schema.String,
  status: Status,
  runs: Schema.Number,
  /** When the first of them was created. */
  oldest: Schema.Date,
  /** When the last of them was created. */
  newest: Schema.Date
})
/**
 * @since 0.1.0
 * @category models
 */
export interface RunCount extends Schema.Schema.Type<typeof RunCount> {}
