/**
 * The table of operator requests: one row per request with the schemas of its
 * payload and its reply. The operator's handlers, the HTTP API, the page's
 * types and the command line follow from it.
 *
 * To add a request, add a row here, its handler in
 * `internal/operator/handlers.ts`, and a view where it is shown.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Info as Checkpoint } from "../durable/CheckpointInfo.js"
import { RunStatus, Status as RunStatusName, RunSummary } from "../journal/RunStatus.js"
import { LockStatus } from "../lock/LockError.js"
import { EscalationRecord, Status as EscalationStatus } from "./EscalationRecord.js"
import { FailureRecord } from "./FailureRecord.js"
import { RecoveryPlan } from "./RecoveryPlan.js"
import { Dashboard, RecoveryRecord, Status as RecoveryStatus, Validation } from "./RecoveryRecord.js"
import { Overview, Report } from "./Reports.js"
import { Pattern, Period, Statistics, Suggestion, Tuning } from "./Statistics.js"
import { Findings } from "./StorageReport.js"
import { Timeline } from "./Timeline.js"
import { QueueStatus, ScheduleStatus } from "./WorkReport.js"

/**
 * Where the HTTP API serves a request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Route<out Name extends string, out Id> {
  /** The name of the endpoint. */
  readonly name: Name
  readonly path: `/${string}`
  /** The field of the payload that `:id` in the path stands for. */
  readonly id: Id
}

/**
 * A row of the table.
 *
 * @since 0.1.0
 * @category models
 */
export interface Definition {
  /** The fields of the request. Encoded, those of a read fit a URL. */
  readonly payload: Schema.Struct.Fields
  /** Encoded it is the JSON of the reply. */
  readonly reply: Schema.Schema.AnyNoContext
  /** Whether the request may change anything: it is refused in read-only mode. */
  readonly writes: boolean
  readonly route: Route<string, string | undefined> | undefined
}

const row =
  <const Writes extends boolean>(writes: Writes) =>
  <F extends Schema.Struct.Fields, A, I, R>(payload: F, reply: Schema.Schema<A, I>, route: R) => ({
    payload,
    reply,
    writes,
    route
  })

const read = row(false)
const write = row(true)

/** The HTTP API does not serve the request. */
const unserved = undefined

/** A route without an id. */
const at = <const Name extends string>(name: Name, path: `/${string}`): Route<Name, undefined> => ({
  name,
  path,
  id: undefined
})

const of = <const Name extends string, const Id extends string>(
  name: Name,
  path: `/${string}`,
  id: Id
): Route<Name, Id> => ({ name, path, id })

const Id = Schema.String
const Text = Schema.optional(Schema.String.pipe(Schema.maxLength(10_000)))
/** What becomes of the child runs. */
const Children = Schema.optional(Schema.Literal("cancel", "leave"))
const Limit = Schema.optional(Schema.NumberFromString.pipe(Schema.int(), Schema.between(1, 1_000)))
const Millis = Schema.Number.pipe(Schema.finite(), Schema.positive())
const Type = Schema.Literal("auto", "retry", "resume", "rollback", "restart")
const Labels = Schema.Record({ key: Schema.String, value: Schema.String })
const Why = Schema.String.pipe(
  Schema.pattern(/\S/, { message: () => "Expected a text that is not blank" }),
  Schema.maxLength(10_000)
)
const ScheduleName = Schema.Struct({ schedule: Schema.String })
const Texts = Schema.Array(Schema.String)

/**
 * @since 0.1.0
 * @category table
 */
export const requests = {
  Overview: read({ repository: Text }, Overview, at("overview", "/overview")),
  Dashboard: read({ repository: Text }, Dashboard, unserved),
  Statistics: read({}, Statistics, at("statistics", "/statistics")),
  Period: read({ millis: Millis, run: Text, repository: Text }, Period, unserved),
  Patterns: read({ repository: Text }, Schema.Array(Pattern), at("patterns", "/patterns")),
  Tune: read({ step: Id }, Tuning, of("tuning", "/steps/:id/tuning", "step")),
  Health: read({}, Report, at("health", "/health")),
  Check: read({}, Findings, unserved),
  Locks: read({}, Schema.Array(LockStatus), unserved),
  /** The time of the storage's clock, in epoch milliseconds. */
  StorageTime: read({}, Schema.Struct({ now: Schema.Number }), unserved),
  Runs: read(
    {
      workflow: Text,
      version: Text,
      status: Schema.optional(RunStatusName),
      /** In a URL, the text of a JSON object. */
      labels: Schema.optional(Schema.parseJson(Labels)),
      queue: Text,
      parent: Text,
      /** Created at this time or later. */
      since: Schema.optional(Schema.Date),
      /** Created before this time. */
      until: Schema.optional(Schema.Date),
      /** The `key` of the last run of the page before. */
      before: Schema.optional(Schema.NumberFromString.pipe(Schema.int())),
      limit: Limit
    },
    Schema.Array(RunSummary),
    at("runs", "/runs")
  ),
  /** Versions whose due runs no worker takes. */
  Unclaimed: read(
    { afterMillis: Schema.optional(Millis) },
    Schema.Array(
      Schema.Struct({
        workflow: Schema.String,
        version: Schema.String,
        due: Schema.Number,
        waiting: Schema.Number,
        held: Schema.Number,
        since: Schema.Date
      })
    ),
    unserved
  ),
  /** Moves the open runs of a version to a version that the program has. */
  Adopt: write(
    { workflow: Schema.String, from: Schema.String, to: Schema.optional(Schema.String) },
    Schema.Struct({
      workflow: Schema.String,
      from: Schema.String,
      to: Schema.String,
      /** The ids of runs, newest first. */
      adopted: Texts,
      /** Those that stay as they are, with the tag and the message of the error. */
      refused: Schema.Array(Schema.Struct({ run: Schema.String, tag: Schema.String, message: Schema.String }))
    }),
    unserved
  ),
  Run: read({ id: Id }, RunStatus, of("run", "/runs/:id", "id")),
  Timeline: read({ id: Id, limit: Limit }, Timeline, of("timeline", "/runs/:id/timeline", "id")),
  Answer: write(
    {
      run: Id,
      answer: Schema.Literal("retry", "skip", "abort", "value"),
      /** With the answer `value`. */
      value: Schema.optional(Schema.Unknown),
      /** Needed only if the run asks several questions. */
      question: Text,
      by: Text,
      note: Text
    },
    Schema.Struct({ run: Schema.String, answer: Schema.String }),
    of("answer", "/runs/:id/answers", "run")
  ),
  Signal: write(
    {
      run: Id,
      signal: Schema.String,
      /** Tells signals of one name apart. */
      which: Text,
      value: Schema.optional(Schema.Unknown),
      /** Stores it also if the run does not wait for it yet. */
      early: Schema.optional(Schema.Boolean)
    },
    Schema.Struct({ run: Schema.String, signal: Schema.String }),
    of("signal", "/runs/:id/signals", "run")
  ),
  Hold: write(
    { run: Id, reason: Why, by: Text },
    Schema.Struct({ run: Schema.String }),
    of("hold", "/runs/:id/hold", "run")
  ),
  // `released` is false if the run was not on hold.
  Release: write(
    { run: Id },
    Schema.Struct({ run: Schema.String, released: Schema.Boolean }),
    of("release", "/runs/:id/release", "run")
  ),
  Cancel: write(
    { run: Id, reason: Why, by: Text, children: Children },
    // "cancelling": its compensations are still to run.
    Schema.Struct({ run: Schema.String, result: Schema.Literal("cancelled", "cancelling") }),
    of("cancel", "/runs/:id/cancel", "run")
  ),
  Terminate: write(
    { run: Id, reason: Why, by: Text, children: Children },
    Schema.Struct({ run: Schema.String }),
    of("terminate", "/runs/:id/terminate", "run")
  ),
  Queues: read({}, Schema.Array(QueueStatus), at("queues", "/queues")),
  Schedules: read({}, Schema.Array(ScheduleStatus), at("schedules", "/schedules")),
  PauseSchedule: write(
    { schedule: Id, reason: Text, by: Text },
    ScheduleName,
    of("pauseSchedule", "/schedules/:id/pause", "schedule")
  ),
  ResumeSchedule: write({ schedule: Id }, ScheduleName, of("resumeSchedule", "/schedules/:id/resume", "schedule")),
  TriggerSchedule: write(
    { schedule: Id },
    Schema.Struct({ schedule: Schema.String, run: Schema.String }),
    of("triggerSchedule", "/schedules/:id/trigger", "schedule")
  ),
  Failures: read(
    { run: Text, repository: Text, status: Schema.optional(FailureRecord.fields.status), limit: Limit },
    Schema.Array(FailureRecord),
    at("failures", "/failures")
  ),
  Failure: read({ id: Id }, FailureRecord, of("failure", "/failures/:id", "id")),
  Suggest: read({ failure: Id }, Schema.Array(Suggestion), of("suggestions", "/failures/:id/suggestions", "failure")),
  Report: write(
    // A log is not bounded here: what is classified and stored is its end.
    { id: Text, message: Schema.String, log: Schema.optional(Schema.String), run: Text, labels: Labels },
    FailureRecord,
    unserved
  ),
  Resolve: write({ failure: Id, by: Text }, FailureRecord, of("resolve", "/failures/:id/resolve", "failure")),
  /** What `Initiate` would do now. */
  Plan: read({ failure: Id, type: Type, checkpoint: Text }, RecoveryPlan, of("plan", "/failures/:id/plan", "failure")),
  /** Replies before the work of the recovery begins. */
  Initiate: write(
    { failure: Id, type: Type, checkpoint: Text, reason: Text },
    RecoveryRecord,
    of("initiate", "/failures/:id/recoveries", "failure")
  ),
  /** Replies when the recovery has ended. */
  Join: write({ id: Id }, RecoveryRecord, unserved),
  Recoveries: read(
    { failure: Text, run: Text, repository: Text, status: Schema.optional(RecoveryStatus), limit: Limit },
    Schema.Array(RecoveryRecord),
    at("recoveries", "/recoveries")
  ),
  Recovery: read({ id: Id }, RecoveryRecord, of("recovery", "/recoveries/:id", "id")),
  Escalations: read(
    { status: Schema.optional(EscalationStatus), limit: Limit },
    Schema.Array(EscalationRecord),
    at("escalations", "/escalations")
  ),
  Acknowledge: write(
    { escalation: Id, by: Text },
    EscalationRecord,
    of("acknowledge", "/escalations/:id/acknowledge", "escalation")
  ),
  ResolveEscalation: write(
    { escalation: Id, by: Text, note: Text },
    EscalationRecord,
    of("resolveEscalation", "/escalations/:id/resolve", "escalation")
  ),
  Checkpoints: read(
    { run: Text, name: Text, repository: Text, limit: Limit },
    Schema.Array(Checkpoint),
    at("checkpoints", "/checkpoints")
  ),
  Checkpoint: read({ id: Id }, Checkpoint, unserved),
  CreateCheckpoint: write(
    {
      name: Schema.String,
      kind: Schema.String,
      state: Schema.Unknown,
      labels: Labels,
      environment: Labels,
      artifacts: Texts,
      dependencies: Texts
    },
    Checkpoint,
    unserved
  ),
  ValidateCheckpoint: read({ id: Id }, Validation, unserved),
  DeleteCheckpoint: write({ id: Id }, Checkpoint, unserved),
  /** What `Rollback` would do now. */
  PlanRollback: read({ checkpoint: Id }, RecoveryPlan, of("rollbackPlan", "/checkpoints/:id/plan", "checkpoint")),
  /** Replies before the work of the recovery begins. */
  Rollback: write(
    { checkpoint: Id, reason: Text },
    RecoveryRecord,
    of("rollback", "/checkpoints/:id/rollback", "checkpoint")
  ),
  Cleanup: write(
    { olderThanMillis: Millis },
    Schema.Struct({
      swept: Schema.Number,
      records: Schema.Number,
      runs: Schema.Number,
      checkpoints: Schema.Number,
      locks: Schema.Number
    }),
    unserved
  )
} satisfies Readonly<Record<string, Definition>>

/**
 * @since 0.1.0
 * @category models
 */
export type Table = typeof requests

/**
 * The name of a request.
 *
 * @since 0.1.0
 * @category models
 */
export type Tag = keyof Table

/**
 * @since 0.1.0
 * @category models
 */
export type Request<T extends Tag = Tag> = {
  [K in T]: { readonly _tag: K } & Schema.Struct.Type<Table[K]["payload"]>
}[T]

/**
 * What a handler answers, before it is encoded.
 *
 * @since 0.1.0
 * @category models
 */
export type Result<T extends Tag> = Schema.Schema.Type<Table[T]["reply"]>

/**
 * What a reply holds, as JSON.
 *
 * @since 0.1.0
 * @category models
 */
export type Value<T extends Tag> = Schema.Schema.Encoded<Table[T]["reply"]>

/**
 * The requests that the HTTP API serves.
 *
 * @since 0.1.0
 * @category models
 */
export type Served = { [T in Tag]: Table[T]["route"] extends Route<string, string | undefined> ? T : never }[Tag]

/**
 * The failures of requests, and the kind of refusal each of them is.
 *
 * @since 0.1.0
 * @category table
 */
export const failures = {
  FailureNotFound: "NotFound",
  RecoveryNotFound: "NotFound",
  EscalationNotFound: "NotFound",
  CheckpointNotFound: "NotFound",
  RunNotFound: "NotFound",
  ScheduleNotFound: "NotFound",
  RecoveryRefused: "Refused",
  RecoveryUnderWay: "Refused",
  AdoptionRefused: "Refused",
  NotOpen: "Refused",
  NotAwaited: "Refused",
  RunEnded: "Refused",
  RunHeld: "Refused",
  ValueRefused: "Refused",
  InvalidName: "Refused",
  InvalidOption: "Refused",
  InvalidRequest: "Refused",
  RewindRefused: "Refused",
  StorageError: "Storage",
  RecordDamaged: "Storage",
  LockError: "Storage",
  JournalError: "Failed"
} as const

/**
 * A reply without a value, and why:
 *
 * - `NotFound`: there is no record with this id
 * - `Refused`: the request does not fit the current state; nothing was changed
 * - `Storage`: the storage failed
 * - `Failed`: the request was carried out and failed
 * - `Defect`: a bug of the program or of this library
 *
 * @since 0.1.0
 * @category models
 */
export interface Refusal {
  readonly ok: false
  readonly kind: (typeof failures)[keyof typeof failures] | "Defect"
  /** The `_tag` of the error. */
  readonly tag: string
  readonly message: string
}

/**
 * A value as JSON, or the reason why there is none.
 *
 * @since 0.1.0
 * @category models
 */
export type Reply<T extends Tag = Tag> = { readonly ok: true; readonly value: Value<T> } | Refusal
