import type { EscalationRecord } from "../../operate/EscalationRecord.js"
import type { FailureRecord } from "../../operate/FailureRecord.js"
import type { RecoveryRecord } from "../../operate/RecoveryRecord.js"
import type * as Timelines from "../../operate/Timeline.js"
import type * as Model from "../Model.js"

// As they come over the wire.
export type Overview = typeof Model.Overview.Encoded
export type Statistics = typeof Model.Statistics.Encoded
export type Run = typeof Model.RunSummary.Encoded
export type RunStatus = typeof Model.RunStatus.Encoded
export type Question = typeof Model.Question.Encoded
export type Pattern = typeof Model.Pattern.Encoded
export type Suggestion = typeof Model.Suggestion.Encoded
export type Failure = typeof FailureRecord.Encoded
export type Recovery = typeof RecoveryRecord.Encoded
export type Escalation = typeof EscalationRecord.Encoded
export type Timeline = typeof Timelines.Timeline.Encoded
export type Moment = typeof Timelines.Moment.Encoded
