import type { Tag, Value } from "../../operate/OperatorRequests.js"

// The types of the JSON that the server sends.
export type { Tag, Value }
/** What the server answers to the page's reads. */
export type Replies = { readonly [T in Tag]: Value<T> } & {
  readonly About: { readonly readonly: boolean; readonly where?: string }
}
export type Overview = Value<"Overview">
export type Statistics = Value<"Statistics">
export type Question = Overview["questions"][number]
export type QueueStatus = Value<"Queues">[number]
export type ScheduleStatus = Value<"Schedules">[number]
export type RunSummary = Value<"Runs">[number]
export type RunStatus = Value<"Run">
export type Timeline = Value<"Timeline">
export type Moment = Timeline["moments"][number]
export type Failure = Value<"Failure">
export type Recovery = Value<"Recovery">
export type Escalation = Value<"Acknowledge">
export type Suggestion = Value<"Suggest">[number]
export type Pattern = Value<"Patterns">[number]
