import * as Effect from "effect/Effect"
import * as Workflow from "../../../durable/Workflow.js"
import type { Point } from "../../../resilience/Decision.js"
import { RecoveryRefused } from "../../OperateError.js"
import type { InitiateOptions, RecoveryType } from "../../RecoveryOptions.js"
import type { RecoveryPlan } from "../../RecoveryPlan.js"
import { failures } from "../records/records.js"
import { toValidation } from "./checkpoints.js"
import { type Choice, choose } from "./choose.js"
import { checkFeasible, type Subject } from "./feasibility.js"
import { checkRequest, refuseIfUnderWay, rollbackSubject } from "./initiate.js"
import { fixRunsIn, planOf, type Settings, targetOf } from "./plan.js"

/** What `initiate` would do. Changes nothing. */
export const preview = (settings: Settings, id: string, type: RecoveryType | "auto", options: InitiateOptions) =>
  Effect.gen(function* () {
    yield* checkRequest({ type, options })
    const failure = yield* failures.get(id)
    yield* refuseIfUnderWay(id)
    const choice = yield* choose(settings, failure, type, options)
    return yield* planFor(settings, failure, failure.category, choice, options.checkpoint)
  })

/** What `rollbackTo` would do. Changes nothing. */
export const previewRollback = (settings: Settings, checkpoint: string) =>
  Effect.gen(function* () {
    yield* checkRequest({ type: "rollback", options: { checkpoint } })
    const { open, subject } = yield* rollbackSubject(checkpoint)
    if (open !== undefined) yield* refuseIfUnderWay(open.id)
    const choice = { type: "rollback", suggestion: undefined } as const
    return yield* planFor(settings, subject, open?.category ?? "unknown", choice, checkpoint)
  })

const planFor = (
  settings: Settings,
  failure: Subject,
  category: string,
  { suggestion, type }: Choice,
  named: string | undefined
) =>
  Effect.gen(function* () {
    const { retryPoint, workflow } = yield* checkFeasible(failure, type, { settings, checkpoint: named, mayRun: true })
    const goesBack = type === "resume" || type === "rollback"
    const target = goesBack ? yield* validated(settings, failure, type, named) : undefined
    const { run } = failure
    const point = type === "restart" ? Workflow.fromStart : target ? Workflow.atCheckpoint(target.info.id) : retryPoint
    const rewind = run === undefined || point === undefined ? undefined : yield* rewindOf(failure, run, point)
    const runsFix = fixRunsIn(type, category) && Object.hasOwn(settings.fixes, category)
    const plan: RecoveryPlan = {
      type,
      failure: failure.id,
      reason: suggestion?.reason,
      estimatedSuccess: suggestion?.estimatedSuccess,
      by: run === undefined ? "action" : "run",
      run,
      workflow: workflow?.name,
      point: rewind?.point,
      compensates: rewind?.compensates ?? [],
      removes: rewind?.removes ?? [],
      checkpoint: target?.info,
      validation: target && toValidation(target.validity),
      fix: runsFix ? category : undefined,
      limit: type === "retry" ? limitOf(failure.retries, settings.maxRetries) : undefined,
      steps: planOf(type, category)
    }
    return plan
  })

const validated = (settings: Settings, failure: Subject, type: RecoveryType, checkpoint: string | undefined) =>
  Effect.catchTag(
    targetOf(settings, failure, type, checkpoint),
    "CheckpointNotFound",
    () => new RecoveryRefused({ failure: failure.id, checkpoint, reason: "UnknownCheckpoint" })
  )

const limitOf = (retries: number, maxRetries: number): string =>
  Number.isFinite(maxRetries) ? `retry ${retries + 1} of ${maxRetries}` : `retry ${retries + 1}`

/** The run was checked before; it may have changed since. */
const rewindOf = ({ id }: Subject, run: string, point: Point) => {
  const refused = ({ message }: { readonly message: string }) =>
    new RecoveryRefused({ failure: id, reason: "Rewind", detail: message })
  return Effect.catchTags(Workflow.checkRewind(run, point), {
    RunNotFound: () => new RecoveryRefused({ failure: id, reason: "UnknownRun" }),
    RewindRefused: refused,
    JournalError: ({ message }) => new RecoveryRefused({ failure: id, reason: "Unreadable", detail: message })
  })
}
