import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Answer from "../../../durable/Answer.js"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import * as Queue from "../../../durable/Queue.js"
import * as RunSchedule from "../../../durable/RunSchedule.js"
import * as Signal from "../../../durable/Signal.js"
import * as Workflow from "../../../durable/Workflow.js"
import * as Lock from "../../../lock/Lock.js"
import { isError, type Json, messageOf, prettyCause, tagOf } from "../../../resilience/Foreign.js"
import { age, checked } from "../../../resilience/internal/kernel/options.js"
import { identities, Redaction, redactText } from "../../../resilience/Redaction.js"
import * as Storage from "../../../storage/Storage.js"
import * as Escalation from "../../Escalation.js"
import * as HealthCheck from "../../HealthCheck.js"
import * as Insights from "../../Insights.js"
import { InvalidRequest } from "../../OperateError.js"
import {
  type Definition,
  failures,
  type Refusal,
  type Reply,
  type Request,
  type Result,
  requests,
  type Tag
} from "../../OperatorRequests.js"
import { overview } from "../../Overview.js"
import * as RecoveryManager from "../../RecoveryManager.js"
import * as StorageCheck from "../../StorageCheck.js"
import * as Timeline from "../../Timeline.js"
import * as Records from "../records/checked.js"

/** What handlers need. */
export type Needs = Storage.Storage | RecoveryManager.RecoveryManager | Insights.Insights

type Handlers = {
  readonly [T in Tag]: (
    request: Request<T>
  ) => Effect.Effect<Result<T>, { readonly _tag: keyof typeof failures }, Needs>
}

/**
 * Checkpoints of a run are those it saved, and those that were created for it from outside: a label names their run.
 */
const checkpointsOf = ({ limit = 100, name, repository, run }: Request<"Checkpoints">) => {
  const labels = repository === undefined ? {} : { repository }
  if (run === undefined) return Checkpoint.list({ run: "any", name, limit, labels })
  const saved = Checkpoint.list({ run, name, limit, labels })
  const created = Checkpoint.list({ run: "any", name, limit, labels: { ...labels, run } })
  return Effect.zipWith(saved, created, (saved, created) => {
    const byId = new Map([...saved, ...created].map((info) => [info.id, info]))
    return [...byId.values()].sort((a, b) => Number(b.id) - Number(a.id)).slice(0, limit)
  })
}

/** Who signs a request that names no user. */
const unsigned = "operator"

const ruleOf = (rule: RunSchedule.Info["rule"]) =>
  rule.every === undefined
    ? { cron: rule.cron, timeZone: rule.timeZone }
    : { everyMillis: Duration.toMillis(rule.every) }

const noRuns = { running: 0, due: 0, waiting: 0, oldest: undefined }

const queueStatuses = (counts: ReadonlyArray<Storage.QueueCount>, queues: ReadonlyArray<Queue.Queue>) => {
  const countOf = new Map(counts.map((count) => [count.queue, count]))
  const limitsOf = new Map(queues.map(({ limits, name }) => [name, limits]))
  return [...new Set([...countOf.keys(), ...limitsOf.keys()])].sort().map((queue) => {
    const { due, oldest, running, waiting } = countOf.get(queue) ?? noRuns
    const limits = Option.map(Option.fromNullable(limitsOf.get(queue)), ({ concurrency, perKey, rate }) => ({
      concurrency: Option.fromNullable(concurrency),
      perKey: Option.fromNullable(perKey),
      rate: Option.fromNullable(rate)
    }))
    const since = Option.map(Option.fromNullable(oldest), (at) => new Date(at))
    return { queue, running, due, waiting, oldest: since, limits }
  })
}

const handlers: Handlers = {
  Overview: ({ repository }) => overview(repository),
  Dashboard: ({ repository }) => RecoveryManager.dashboard(repository),
  Statistics: () => Insights.statistics,
  Period: ({ millis, ...query }) =>
    Effect.flatMap(
      Effect.zip(
        Clock.currentTimeMillis,
        checked(() => age("millis", millis))
      ),
      ([now, period]) => Insights.since(new Date(now - period), query)
    ),
  Patterns: ({ repository }) => Insights.patterns(repository),
  Tune: ({ step }) => Insights.tune(step),
  Health: () => HealthCheck.run(),
  Check: () => StorageCheck.run,
  Locks: () => Effect.provide(Lock.list, Lock.layerStorage()),
  StorageTime: () => Effect.flatMap(Storage.Storage, ({ now }) => Effect.map(now, (now) => ({ now }))),
  Runs: (query) => Workflow.list(query),
  Unclaimed: ({ afterMillis }) => Workflow.unclaimed({ after: afterMillis }),
  Adopt: ({ workflow, ...options }) =>
    Effect.map(RecoveryManager.adopt(workflow, options), ({ refused, ...moved }) => ({
      ...moved,
      refused: refused.map(({ error, run }) => ({ run, tag: error._tag, message: error.message }))
    })),
  Run: ({ id }) => Workflow.status(id),
  Timeline: ({ id, limit }) => Timeline.ofRun(id, { limit }),
  Answer: ({ answer, by = unsigned, note, question, run, value }) => {
    const answers = { retry: Answer.retry, skip: Answer.skip, abort: Answer.abort, value: Answer.json(value) }
    return Effect.as(Workflow.resolve(run, Answer.from({ by, note })(answers[answer]), { question }), { run, answer })
  },
  Signal: ({ early, run, signal, value, which }) =>
    Effect.as(Signal.sendJson(run, signal, value, { early, id: which }), { run, signal }),
  Hold: ({ by = unsigned, reason, run }) => Effect.as(Workflow.hold(run, { reason, by }), { run }),
  Release: ({ run }) => Effect.map(Workflow.release(run), (released) => ({ run, released })),
  Cancel: ({ by = unsigned, children, reason, run }) =>
    Effect.map(Workflow.cancel(run, { reason, by, children }), (result) => ({ run, result })),
  Terminate: ({ by = unsigned, children, reason, run }) =>
    Effect.as(Workflow.terminate(run, { reason, by, children }), { run }),
  Queues: () =>
    Effect.zipWith(
      Effect.flatMap(Storage.Storage, ({ queues }) => queues),
      Queue.list,
      queueStatuses
    ),
  Schedules: () =>
    Effect.map(RunSchedule.list, (schedules) =>
      schedules.map(({ rule, ...schedule }) => ({ ...schedule, rule: ruleOf(rule) }))
    ),
  PauseSchedule: ({ by = unsigned, reason, schedule }) =>
    Effect.as(RunSchedule.pause(schedule, { by, reason }), { schedule }),
  ResumeSchedule: ({ schedule }) => Effect.as(RunSchedule.resume(schedule), { schedule }),
  TriggerSchedule: ({ schedule }) => Effect.map(RunSchedule.trigger(schedule), (run) => ({ schedule, run })),
  Failures: (query) => RecoveryManager.failures(query),
  Failure: ({ id }) => RecoveryManager.failure(id),
  Suggest: ({ failure }) => RecoveryManager.suggest(failure),
  Report: ({ message, ...more }) => RecoveryManager.report(message, more),
  Resolve: ({ by = unsigned, failure }) => RecoveryManager.resolve(failure, by),
  Plan: ({ failure, type, ...options }) => RecoveryManager.plan(failure, type, options),
  PlanRollback: ({ checkpoint }) => RecoveryManager.planRollback(checkpoint),
  Initiate: ({ failure, type, ...options }) => RecoveryManager.begin(failure, type, options),
  Join: ({ id }) => RecoveryManager.join(id),
  Recoveries: (query) => RecoveryManager.recoveries(query),
  Recovery: ({ id }) => RecoveryManager.status(id),
  Escalations: (query) => Escalation.list(query),
  Acknowledge: ({ by = unsigned, escalation }) => Escalation.acknowledge(escalation, by),
  ResolveEscalation: ({ by = unsigned, escalation, note }) => Escalation.resolve(escalation, by, note),
  Checkpoints: (query) => checkpointsOf(query),
  Checkpoint: ({ id }) => Checkpoint.find(id),
  // The state is JSON from outside: no schema of the program describes it.
  CreateCheckpoint: ({ kind, name, state, ...options }) =>
    Checkpoint.make(name, { schema: Schema.Unknown, kind }).save(state, options),
  ValidateCheckpoint: ({ id }) => RecoveryManager.validate(id),
  DeleteCheckpoint: ({ id }) =>
    Effect.gen(function* () {
      const info = yield* Checkpoint.find(id)
      yield* (yield* Storage.Storage).remove([Number(id)])
      return info
    }),
  Rollback: ({ checkpoint, reason }) => RecoveryManager.beginRollback(checkpoint, reason),
  Cleanup: ({ olderThanMillis }) =>
    Effect.gen(function* () {
      // A Duration made of NaN would be zero. Checked before the sweep, since a refusal changes nothing.
      const olderThan = yield* checked(() => age("olderThan", olderThanMillis))
      const swept = yield* RecoveryManager.sweep
      const records = yield* RecoveryManager.cleanup({ olderThan })
      const runs = yield* Workflow.cleanup({ olderThan })
      const checkpoints = yield* Checkpoint.cleanup({ maxAge: olderThan })
      const locks = yield* Effect.provide(Lock.cleanup(olderThan), Lock.layerStorage())
      return { swept, records, runs, checkpoints, locks }
    })
}

const isKnownRequest = (request: unknown): boolean =>
  Predicate.hasProperty(request, "_tag") && Predicate.isString(request._tag) && Object.hasOwn(requests, request._tag)

/** The check of each payload, made at its first use. */
const checks = new Map<Tag, (request: unknown) => Effect.Effect<unknown, InvalidRequest>>()

const checkOf = (tag: Tag) => {
  const known = checks.get(tag)
  if (known !== undefined) return known
  const payload: Schema.Struct.Fields = requests[tag].payload
  // The fields of the table need no services.
  const check = Records.checked(
    `request ${tag}`,
    Schema.typeSchema(Schema.Struct(payload)) as Schema.Schema<unknown, unknown>
  )
  checks.set(tag, check)
  return check
}

/**
 * Handles a request and encodes its result as JSON, without secrets. A request may come from a program without these
 * types. Only an interruption makes it fail.
 */
export const handle = <T extends Tag>(request: Request<T>): Effect.Effect<Reply<T>, unknown, Needs> =>
  Effect.flatMap(Redaction, ({ json, text }) =>
    Effect.matchCause(answer(request), {
      // The schema of the request has encoded it as JSON; redacting changes no more than its texts.
      onSuccess: (value) => ({ ok: true, value: json(value as Json, identities) }) as Reply<T>,
      onFailure: (cause) => refusalOf(cause, text)
    })
  )

const answer = <T extends Tag>(request: Request<T>): Effect.Effect<unknown, unknown, Needs> =>
  Effect.suspend(() => {
    if (!isKnownRequest(request)) {
      return new InvalidRequest({ message: "There is no such request. Its _tag must be one of the table of requests." })
    }
    const tag: T = request._tag
    const { reply }: Definition = requests[tag]
    const handling = Effect.suspend(() => handlers[tag](request))
    return Effect.zipRight(checkOf(tag)(request), Effect.flatMap(handling, Schema.encodeUnknown(reply)))
  })

const isKnown = (tag: string): tag is keyof typeof failures => Object.hasOwn(failures, tag)

const refusalOf = (cause: Cause.Cause<unknown>, redact: (text: string) => string): Refusal => {
  const error = Cause.squash(cause)
  const isInterrupted = Cause.isInterruptedOnly(cause)
  const kind = isInterrupted || Cause.isFailure(cause) ? "Failed" : "Defect"
  const tag = isError(error) ? tagOf(error) : undefined
  if (tag !== undefined)
    return { ok: false, kind: isKnown(tag) ? failures[tag] : kind, tag, message: redact(messageOf(error)) }
  const message = isInterrupted ? "The request was interrupted." : redact(prettyCause(cause))
  return { ok: false, kind, tag: kind, message }
}

export const replyOf = <T extends Tag>(exit: Exit.Exit<Reply<T>, unknown>): Reply<T> =>
  Exit.isSuccess(exit) ? exit.value : refusalOf(exit.cause, redactText)
