/**
 * The API behind the page, for programs: `HttpApiClient.make(DashboardApi)` is
 * a client of it, and `OpenApi.fromApi(DashboardApi)` its description, which
 * the server has at `/openapi.json`.
 *
 * @since 0.1.0
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as OpenApi from "@effect/platform/OpenApi"
import * as Schema from "effect/Schema"
import { Info as CheckpointInfo } from "../durable/CheckpointInfo.js"
import { RunStatus, RunSummary } from "../durable/RunStatus.js"
import { EscalationRecord } from "../operate/EscalationRecord.js"
import { FailureRecord } from "../operate/FailureRecord.js"
import { Report as HealthReport } from "../operate/HealthCheck.js"
import { Overview } from "../operate/Overview.js"
import { RecoveryRecord } from "../operate/RecoveryRecord.js"
import { Pattern, Statistics, Suggestion, Tuning } from "../operate/Statistics.js"
import { Timeline } from "../operate/Timeline.js"
import { Defect, Failed, Forbidden, NotFound, Refused, Unauthorized, Unavailable } from "./DashboardError.js"

/**
 * Whoever reads needs the token, unless reads are open.
 *
 * @since 0.1.0
 * @category middleware
 */
export class Reader extends HttpApiMiddleware.Tag<Reader>()("effect-recovery/Dashboard/Reader", {
  failure: Unauthorized,
  security: { token: HttpApiSecurity.bearer }
}) {}

/**
 * Whoever acts needs the token.
 *
 * @since 0.1.0
 * @category middleware
 */
export class Actor extends HttpApiMiddleware.Tag<Actor>()("effect-recovery/Dashboard/Actor", {
  failure: Schema.Union(Unauthorized, Forbidden),
  security: { token: HttpApiSecurity.bearer }
}) {}

/** Any text may be an id. A server's router has decoded it already; the client would send it as it is. */
const Id = Schema.Struct({
  id: Schema.transform(Schema.String, Schema.String, {
    strict: true,
    decode: (id) => id,
    encode: encodeURIComponent
  })
})
const Limit = Schema.optional(Schema.NumberFromString.pipe(Schema.int(), Schema.between(1, 1_000)))
const Text = Schema.optional(Schema.String.pipe(Schema.maxLength(10_000)))
const Read = HttpApiEndpoint.get
const Act = HttpApiEndpoint.post

/**
 * @since 0.1.0
 * @category groups
 */
export const Reads = HttpApiGroup.make("reads")
  .add(
    Read("about", "/about").addSuccess(
      Schema.Struct({ readonly: Schema.Boolean, where: Schema.UndefinedOr(Schema.String) })
    )
  )
  .add(
    Read("overview", "/overview")
      .addSuccess(Overview)
      .setUrlParams(Schema.Struct({ repository: Text }))
  )
  .add(
    // Events "overview" and, of the run that is named, "run": each with JSON as its data, whenever it changes.
    Read("live", "/live")
      .addSuccess(HttpApiSchema.Text({ contentType: "text/event-stream" }))
      .setUrlParams(Schema.Struct({ repository: Text, run: Text }))
  )
  .add(Read("statistics", "/statistics").addSuccess(Statistics))
  .add(
    Read("runs", "/runs")
      .addSuccess(Schema.Array(RunSummary))
      .setUrlParams(Schema.Struct({ workflow: Text, status: Schema.optional(RunSummary.fields.status), limit: Limit }))
  )
  .add(Read("run", "/runs/:id").addSuccess(RunStatus).setPath(Id))
  .add(
    Read("timeline", "/runs/:id/timeline")
      .addSuccess(Timeline)
      .setPath(Id)
      .setUrlParams(Schema.Struct({ limit: Limit }))
  )
  .add(
    Read("failures", "/failures")
      .addSuccess(Schema.Array(FailureRecord))
      .setUrlParams(
        Schema.Struct({
          run: Text,
          repository: Text,
          status: Schema.optional(FailureRecord.fields.status),
          limit: Limit
        })
      )
  )
  .add(Read("failure", "/failures/:id").addSuccess(FailureRecord).setPath(Id))
  .add(Read("suggestions", "/failures/:id/suggestions").addSuccess(Schema.Array(Suggestion)).setPath(Id))
  .add(
    Read("recoveries", "/recoveries")
      .addSuccess(Schema.Array(RecoveryRecord))
      .setUrlParams(Schema.Struct({ failure: Text, repository: Text, limit: Limit }))
  )
  .add(Read("recovery", "/recoveries/:id").addSuccess(RecoveryRecord).setPath(Id))
  .add(
    Read("escalations", "/escalations")
      .addSuccess(Schema.Array(EscalationRecord))
      .setUrlParams(Schema.Struct({ status: Schema.optional(EscalationRecord.fields.status), limit: Limit }))
  )
  .add(
    Read("patterns", "/patterns")
      .addSuccess(Schema.Array(Pattern))
      .setUrlParams(Schema.Struct({ repository: Text }))
  )
  .add(Read("tuning", "/steps/:id/tuning").addSuccess(Tuning).setPath(Id))
  .add(Read("health", "/health").addSuccess(HealthReport))
  .add(
    Read("checkpoints", "/checkpoints")
      .addSuccess(Schema.Array(CheckpointInfo))
      .setUrlParams(Schema.Struct({ run: Text, name: Text, repository: Text, limit: Limit }))
  )
  .addError(NotFound)
  .addError(Refused)
  .addError(Failed)
  .addError(Unavailable)
  .addError(Defect)
  .prefix("/api")
  .middleware(Reader)

/** Who did it, and why, for the record. */
const Signed = { by: Text, note: Text }

/**
 * @since 0.1.0
 * @category groups
 */
export const Actions = HttpApiGroup.make("actions")
  .add(
    // Goes on if the one who asked for it leaves.
    Act("initiate", "/failures/:id/recoveries")
      .addSuccess(RecoveryRecord)
      .setPath(Id)
      .setPayload(
        Schema.Struct({
          type: Schema.Literal("auto", "retry", "resume", "rollback", "restart"),
          reason: Text
        })
      )
  )
  .add(
    Act("resolve", "/failures/:id/resolve")
      .addSuccess(FailureRecord)
      .setPath(Id)
      .setPayload(Schema.Struct({ by: Text }))
  )
  .add(
    Act("answer", "/runs/:id/answers")
      .addSuccess(Schema.Struct({ run: Schema.String, answer: Schema.String }))
      .setPath(Id)
      .setPayload(
        Schema.Struct({
          answer: Schema.Literal("retry", "skip", "abort", "value"),
          /** With `value`. */
          value: Schema.optional(Schema.Unknown),
          question: Text,
          ...Signed
        })
      )
  )
  .add(
    Act("rollback", "/checkpoints/:id/rollback")
      .addSuccess(RecoveryRecord)
      .setPath(Id)
      .setPayload(Schema.Struct({ reason: Text }))
  )
  .add(
    Act("acknowledge", "/escalations/:id/acknowledge")
      .addSuccess(EscalationRecord)
      .setPath(Id)
      .setPayload(Schema.Struct({ by: Text }))
  )
  .add(
    Act("resolveEscalation", "/escalations/:id/resolve")
      .addSuccess(EscalationRecord)
      .setPath(Id)
      .setPayload(Schema.Struct(Signed))
  )
  .addError(NotFound)
  .addError(Refused)
  .addError(Failed)
  .addError(Unavailable)
  .addError(Defect)
  .prefix("/api")
  .middleware(Actor)

/**
 * @since 0.1.0
 * @category groups
 */
export const Metrics = HttpApiGroup.make("metrics")
  .add(Read("metrics", "/metrics").addSuccess(HttpApiSchema.Text({ contentType: "text/plain; version=0.0.4" })))
  .addError(NotFound)
  .addError(Refused)
  .addError(Failed)
  .addError(Unavailable)
  .addError(Defect)
  .middleware(Reader)

/**
 * @since 0.1.0
 * @category api
 */
export class DashboardApi extends HttpApi.make("effect-recovery")
  .add(Reads)
  .add(Actions)
  .add(Metrics)
  .annotate(OpenApi.Title, "effect-recovery")
  .annotate(OpenApi.Description, "Failures, recoveries and runs: look at them, and do something about them.") {}
