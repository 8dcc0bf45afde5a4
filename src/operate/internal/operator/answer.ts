import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Answer from "../../../durable/Answer.js"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import * as Workflow from "../../../durable/Workflow.js"
import * as Lock from "../../../lock/Lock.js"
import * as Storage from "../../../storage/Storage.js"
import * as Escalation from "../../Escalation.js"
import * as HealthCheck from "../../HealthCheck.js"
import * as Insights from "../../Insights.js"
import { InvalidRequest } from "../../OperateError.js"
import type { Request } from "../../Operator.js"
import { overview } from "../../Overview.js"
import * as RecoveryManager from "../../RecoveryManager.js"
import * as Timeline from "../../Timeline.js"
import { findCheckpoint } from "../manage/checkpoints.js"
import { toJson } from "./json.js"

type Of<T extends Request["_tag"]> = Extract<Request, { readonly _tag: T }>

/** Does what is asked; the answer is as JSON has it. */
export const answer = (request: Request) => Effect.map(dispatch(request), toJson)

const dispatch = (request: Request): Effect.Effect<unknown, unknown, Needs> => {
  switch (request._tag) {
    case "Overview":
      return overview(request.repository)
    case "Dashboard":
      return RecoveryManager.dashboard(request.repository)
    case "Recovery":
      return RecoveryManager.status(request.id)
    case "Recoveries":
      return RecoveryManager.recoveries(request)
    case "Initiate":
      return RecoveryManager.initiate(request.failure, request.type, { reason: request.reason })
    case "Rollback":
      return RecoveryManager.rollback(request.checkpoint, request.reason)
    case "CreateCheckpoint":
      return createCheckpoint(request)
    case "Checkpoints":
      return checkpoints(request)
    case "Checkpoint":
      return findCheckpoint(request.id)
    case "ValidateCheckpoint":
      return RecoveryManager.validate(request.id)
    case "DeleteCheckpoint":
      return deleteCheckpoint(request.id)
    case "Runs":
      return Workflow.list(request)
    case "Run":
      return Workflow.status(request.id)
    case "Timeline":
      return Timeline.ofRun(request.id, request)
    case "Failures":
      return RecoveryManager.failures(request)
    case "Failure":
      return RecoveryManager.failure(request.id)
    case "Report":
      return report(request)
    case "Suggest":
      return Insights.suggest(request.failure)
    case "Resolve":
      return RecoveryManager.resolve(request.failure, request.by)
    case "Answer":
      return resolve(request)
    case "Escalations":
      return Escalation.list(request)
    case "Acknowledge":
      return Escalation.acknowledge(request.escalation, request.by)
    case "ResolveEscalation":
      return Escalation.resolve(request.escalation, request.by, request.note)
    case "Statistics":
      return Insights.statistics
    case "Period":
      return period(request)
    case "Tune":
      return tune(request.step)
    case "Patterns":
      return Insights.patterns(request.repository)
    case "Health":
      return HealthCheck.run()
    case "Cleanup":
      return cleanup(request)
    case "Locks":
      return Effect.provide(Lock.list, Lock.layerStorage())
  }
}

type Needs = Storage.Storage | RecoveryManager.RecoveryManager | Insights.Insights

/** Whatever its state is: JSON that was handed over. */
const createCheckpoint = ({ kind, name, state, ...options }: Of<"CreateCheckpoint">) =>
  Checkpoint.make(name, { schema: Schema.Unknown, kind }).save(state, options)

const checkpoints = ({ limit, name, repository, run = "any" }: Of<"Checkpoints">) =>
  Checkpoint.list({ run, name, limit, labels: repository === undefined ? undefined : { repository } })

const deleteCheckpoint = (id: string) =>
  Effect.gen(function* () {
    const info = yield* findCheckpoint(id)
    const storage = yield* Storage.Storage
    yield* storage.remove([Number(id)])
    return info
  })

const report = ({ message, ...more }: Of<"Report">) => RecoveryManager.report(message, more)

const resolve = ({ answer, by, note, question, run, value }: Of<"Answer">) => {
  const answers = { retry: Answer.retry, skip: Answer.skip, abort: Answer.abort, value: Answer.json(value) }
  return Effect.as(Workflow.resolve(run, Answer.from({ by, note })(answers[answer]), { question }), { run, answer })
}

const period = ({ millis, ...query }: Of<"Period">) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Insights.since(new Date(now - millis), query))

/** A schedule is nothing JSON knows; its description is. */
const tune = (step: string) =>
  Effect.map(Insights.tune(step), ({ proposal, ...tuning }) => ({
    ...tuning,
    proposal: Option.map(proposal, ({ policy, ...more }) => ({ ...more, policy: policy.description }))
  }))

const cleanup = ({ olderThanMillis }: Of<"Cleanup">) =>
  Effect.gen(function* () {
    // What is not older than nothing is everything.
    if (!(olderThanMillis > 0)) return yield* new InvalidRequest({ message: "The age must be more than nothing." })
    const olderThan = Duration.millis(olderThanMillis)
    const swept = yield* RecoveryManager.sweep
    const records = yield* RecoveryManager.cleanup({ olderThan })
    const runs = yield* Workflow.cleanup({ olderThan })
    const checkpoints = yield* Checkpoint.cleanup({ maxAge: olderThan })
    const locks = yield* Effect.provide(Lock.cleanup(olderThan), Lock.layerStorage())
    return { swept, records, runs, checkpoints, locks }
  })
