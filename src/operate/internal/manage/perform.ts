import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import * as Workflow from "../../../durable/Workflow.js"
import type { FailureRecord } from "../../FailureRecord.js"
import type { Action, Options } from "../../RecoveryManager.js"
import { extraOf, type RecoveryType } from "./plans.js"
import { note, type Open, step } from "./progress.js"
import { type AnyCheck, type AnyCheckpoint, candidatesOf, failurePoint, type Validated, validate } from "./target.js"

export type AnyWorkflow = Workflow.Workflow<never, unknown, unknown, unknown>

export interface Settings {
  readonly workflows: ReadonlyArray<AnyWorkflow>
  readonly checkpoints: ReadonlyArray<AnyCheckpoint>
  readonly checks: ReadonlyArray<AnyCheck>
  readonly actions: Partial<Readonly<Record<RecoveryType, Action>>>
  readonly fixes: Readonly<Record<string, (failure: FailureRecord) => Effect.Effect<unknown, unknown, unknown>>>
  readonly restore: NonNullable<Options["restore"]>
  readonly maxRetries: number
}

/** What is recovered, and by whom. */
export interface Job {
  readonly settings: Settings
  readonly open: Open
  readonly failure: FailureRecord
  /** What runs it, for failures of runs; the others have an action. */
  readonly workflow: AnyWorkflow | undefined
  readonly run: string
  /** Only this checkpoint, if it was asked for. */
  readonly checkpoint: string | undefined
}

/** A step of the plan did not come to what it should. */
export class PlanFailed extends Data.TaggedError("PlanFailed")<{ readonly message: string }> {}

const failed = (message: string) => Effect.fail(new PlanFailed({ message }))

/** Goes through the plan; fails with the step that fails. */
export const perform = (type: RecoveryType, job: Job): Effect.Effect<unknown, unknown, unknown> => {
  switch (type) {
    case "retry":
      return retry(job)
    case "resume":
      return resume(job)
    case "rollback":
      return rollback(job)
    case "restart":
      return restart(job)
  }
}

const retry = (job: Job) =>
  Effect.gen(function* () {
    const { failure, open, settings } = job
    const extra = extraOf(failure.category)
    yield* step(open, "analyze_failure_cause", Effect.succeed(causeOf(failure)))
    const limits = `retry ${failure.retries + 1} of ${settings.maxRetries}`
    yield* step(open, "check_retry_limits", Effect.succeed(limits))
    yield* step(open, "apply_failure_specific_fixes", extra === undefined ? fix(job) : Effect.succeed(`see ${extra}`))
    yield* runOn(
      job,
      "retry",
      "trigger_workflow_retry",
      "monitor_retry_execution",
      Effect.suspend(() => toRetry(job))
    )
    yield* step(open, "validate_success", hasCompleted(job))
  })

const restart = (job: Job) =>
  Effect.gen(function* () {
    yield* step(job.open, "analyze_failure_cause", Effect.succeed(causeOf(job.failure)))
    yield* step(job.open, "backup_current_state", backUp(job))
    yield* runOn(job, "restart", "restart_workflow", "monitor_execution", rewind(job, Workflow.fromStart))
    yield* step(job.open, "validate_completion", hasCompleted(job))
  })

const resume = (job: Job) =>
  Effect.gen(function* () {
    const { open } = job
    const { info, validated } = yield* findTarget(job, "identify_resumption_point")
    yield* step(open, "validate_checkpoint_state", accept(validated))
    yield* backUpAside(job)
    yield* step(open, "restore_environment_context", restored(job, info, validated, "environment"))
    yield* step(open, "resolve_dependencies", restored(job, info, validated, "dependencies"))
    const back = rewind(job, Workflow.atCheckpoint(info.id))
    yield* runOn(job, "resume", "resume_from_checkpoint", "monitor_execution", back, info.id)
    yield* step(open, "validate_completion", hasCompleted(job))
  })

const rollback = (job: Job) =>
  Effect.gen(function* () {
    const { open } = job
    const { info, validated } = yield* findTarget(job, "identify_rollback_target")
    yield* step(open, "validate_rollback_checkpoint", accept(validated))
    yield* step(open, "backup_current_state", backUp(job))
    yield* extraStep(job)
    const back =
      job.workflow === undefined ? act(job, "rollback", info.id) : rewind(job, Workflow.atCheckpoint(info.id))
    yield* step(open, "execute_rollback_operations", back)
    yield* step(open, "restore_environment", restored(job, info, validated, "environment"))
    yield* step(open, "validate_rollback_success", isBack(job))
  })

const causeOf = ({ category, confidence, severity, tag }: FailureRecord): string =>
  `${severity} ${category}${tag === undefined ? "" : ` (${tag})`}, confidence ${confidence.toFixed(2)}`

const fix = ({ failure, settings: { fixes } }: Job) => {
  const own = Object.hasOwn(fixes, failure.category) ? fixes[failure.category] : undefined
  return own === undefined
    ? Effect.succeed("there is none for this category")
    : Effect.as(own(failure), `that for ${failure.category}`)
}

const extraStep = (job: Job) => {
  const extra = extraOf(job.failure.category)
  return extra === undefined ? Effect.void : step(job.open, extra, fix(job))
}

/** Brings the run to where it is to go on from, then executes it to its end. */
const runOn = (
  job: Job,
  type: RecoveryType,
  trigger: string,
  monitor: string,
  prepare: Effect.Effect<string, unknown, unknown>,
  target?: string
) =>
  Effect.gen(function* () {
    const { open, run, workflow } = job
    yield* step(open, trigger, workflow === undefined ? Effect.succeed("by its action") : prepare)
    yield* extraStep(job)
    const execution =
      workflow === undefined
        ? act(job, type, target)
        : Effect.as(Workflow.resume(workflow, run), `run ${run} has come to its end`)
    yield* step(open, monitor, execution)
  })

const act = ({ failure, settings: { actions } }: Job, type: RecoveryType, target?: string) => {
  const action = actions[type]
  return action === undefined
    ? failed(`There is no action of type ${type}.`)
    : Effect.as(action(failure, target), "the action has succeeded")
}

/** One that only stopped goes on by itself; one that failed goes back to before the step that failed. */
const toRetry = (job: Job) =>
  Effect.gen(function* () {
    const { failure, run } = job
    const { status, steps } = yield* Workflow.status(run)
    if (status !== "failed") return `the run is ${status}: it goes on`
    const known = steps.find(({ key }) => key === failure.step) ?? steps.at(-1)
    return yield* rewind(job, known === undefined ? Workflow.fromStart : Workflow.beforeStep(known.key))
  })

const rewind = ({ run, workflow }: Job, to: Parameters<typeof Workflow.rewind>[2]) =>
  workflow === undefined
    ? failed("There is no workflow.")
    : Effect.as(Workflow.rewind(workflow, run, to), `run ${run} was rewound`)

const hasCompleted = ({ run, workflow }: Job) =>
  workflow === undefined
    ? Effect.succeed("by its action")
    : Effect.flatMap(Workflow.status(run), ({ status }) =>
        status === "completed" ? Effect.succeed(`run ${run} is completed`) : failed(`Run ${run} is ${status}.`)
      )

/** It is left where it was taken back to: nobody executes it, and it has no outcome. */
const isBack = ({ run, workflow }: Job) =>
  workflow === undefined
    ? Effect.succeed("by its action")
    : Effect.flatMap(Workflow.status(run), ({ rewinding, status }) =>
        Option.isNone(rewinding) && status !== "failed"
          ? Effect.succeed(`run ${run} is ${status}`)
          : failed(`Run ${run} is ${status}${Option.isSome(rewinding) ? ", and its rewind has not ended" : ""}.`)
      )

/** The newest that is valid; if none is, the newest, so that it is on record why it is not. */
const findTarget = (job: Job, name: string) =>
  Effect.gen(function* () {
    const { checkpoint, failure, open, settings, workflow } = job
    let found: { readonly info: Checkpoint.Info; readonly validated: Validated } | undefined
    const look = Effect.gen(function* () {
      for (const info of yield* candidatesOf(failure, workflow !== undefined, checkpoint)) {
        const validated = yield* validate(settings.checkpoints, settings.checks, info)
        if (found === undefined || validated.validation.is_valid) found = { info, validated }
        if (validated.validation.is_valid) break
      }
      return found === undefined
        ? yield* failed("There is no checkpoint from before the failure.")
        : `checkpoint "${found.info.name}" (${found.info.id})`
    })
    yield* step(open, name, look)
    const target = yield* Effect.fromNullable(found)
    const { corruptionDetected, validation } = target.validated
    yield* note(open, { target: target.info.id, validation, corruptionDetected })
    return target
  })

const accept = ({ validation }: Validated) =>
  validation.is_valid
    ? Effect.succeed(`valid, with ${validation.warnings.length} warnings`)
    : failed(`The checkpoint is not valid: ${validation.errors.join("; ")}`)

/** By whoever knows how; else it is on record how things were found. */
const restored = (
  { failure, settings }: Job,
  info: Checkpoint.Info,
  { warnings }: Validated,
  what: "environment" | "dependencies"
): Effect.Effect<string, unknown, unknown> => {
  const restore = settings.restore[what]
  if (restore !== undefined) return Effect.as(restore(info, failure), "restored")
  const problems = warnings.filter((warning) => warning.check === what)
  return Effect.succeed(
    problems.length === 0 ? "as it was" : problems.map(({ message, subject }) => `${subject}: ${message}`).join("; ")
  )
}

/** What is known of a failure before anything is done about it. */
export const BeforeRecovery = Checkpoint.make("before_recovery", {
  kind: failurePoint,
  schema: Schema.Struct({
    failure: Schema.String,
    run: Schema.optional(Schema.String),
    step: Schema.optional(Schema.String),
    category: Schema.String,
    message: Schema.String,
    detectedAt: Schema.Date,
    retries: Schema.Number
  })
})

const backUp = ({ failure, open }: Job) =>
  Effect.gen(function* () {
    const { category, detectedAt, id, labels, message, retries, run, step } = failure
    const { id: saved } = yield* BeforeRecovery.save(
      { failure: id, run, step, category, message, detectedAt, retries },
      { labels }
    )
    yield* note(open, { preRecoveryCheckpoint: saved })
    return `checkpoint "before_recovery" (${saved})`
  })

/** No step of its own: a recovery goes on without it. */
const backUpAside = (job: Job) =>
  Effect.catchAllCause(Effect.asVoid(backUp(job)), (cause) =>
    Effect.logWarning("effect-recovery: what was known before a recovery could not be saved", cause)
  )
