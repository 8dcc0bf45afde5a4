import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Checkpoint from "../../../durable/Checkpoint.js"
import * as Workflow from "../../../durable/Workflow.js"
import type { Point } from "../../../resilience/Decision.js"
import { logged } from "../../../resilience/internal/kernel/logged.js"
import { hasFailed } from "../../../storage/rows.js"
import type { FailureRecord } from "../../FailureRecord.js"
import type { Options, RecoveryType } from "../../RecoveryOptions.js"
import type { RecoveryRecord } from "../../RecoveryRecord.js"
import { countRetry } from "../records/failures.js"
import type { Ongoing } from "./begin.js"
import { saveBeforeRecovery, toValidation, validate } from "./checkpoints.js"
import { checkFeasible, type Subject } from "./feasibility.js"
import { type Progress, runStep, storeDetails } from "./progress.js"

type Defined<T> = { readonly [K in keyof T]-?: NonNullable<T[K]> }

/** The options of a manager with their defaults. */
export interface Settings extends Omit<Defined<Options>, "timeout" | "patience"> {
  readonly timeout: Duration.Duration
  readonly patience: Duration.Duration
  /** The recoveries that this manager carries out now. */
  readonly ongoing: Ongoing
  /** Called with the record of a recovery before its work begins. */
  readonly onBegin?: (recovery: RecoveryRecord) => void
  /** Called before an action starts. */
  readonly onAction?: () => void
}

export type AnyWorkflow = Settings["workflows"][number]

export interface Target {
  readonly info: Checkpoint.Info
  readonly validity: Checkpoint.Validity
}

/** A recovery in progress. */
export interface Job {
  readonly settings: Settings
  readonly type: RecoveryType
  readonly progress: Progress
  readonly failure: FailureRecord
  /** Undefined for a failure that belongs to no run: an action recovers it. */
  readonly run:
    | {
        readonly id: string
        readonly workflow: AnyWorkflow
        /** The id of the hold that the recovery has on the run. */
        readonly heldAs: string | undefined
      }
    | undefined
  readonly requestedCheckpoint: string | undefined
  /** The checkpoint a resume or rollback goes back to. Its first step sets it. */
  target?: Target
  /** Where a retry rewinds its run to. Undefined if the run has not failed. */
  readonly retryPoint: Point | undefined
}

type Work = Effect.Effect<string, unknown, unknown>

/** The work returns the detail that is stored with the step. */
type Step = readonly [name: string, work: (job: Job) => Work]

/** A step of the plan failed. */
export class PlanFailed extends Data.TaggedError("PlanFailed")<{ readonly message: string }> {}

const fail = (message: string) => Effect.fail(new PlanFailed({ message }))

/** The work for a failure of a run. Without a run, the action of the manager does all of it in one step. */
const ofRun = ({ run }: Job, work: (run: NonNullable<Job["run"]>) => Work): Work =>
  run === undefined ? Effect.succeed("by its action") : work(run)

/** Stores what is known of the failure, and where its run stands. */
const analyzeCause = ({ failure, retryPoint, run }: Job): Work => {
  const { category, confidence, severity, tag } = failure
  const kind = `${severity} ${category}${tag === undefined ? "" : ` (${tag})`}, confidence ${confidence.toFixed(2)}`
  if (run === undefined) return Effect.succeed(kind)
  if (retryPoint?._tag === "Step") {
    const { step } = retryPoint
    // The step may lie in a transaction that was rolled back: a retry begins before the transaction.
    const from = failure.step === undefined || failure.step === step ? "" : `, and a retry begins before ${step}`
    return Effect.succeed(`${kind}; run ${run.id} failed at step ${failure.step ?? step}${from}`)
  }
  if (retryPoint !== undefined) return Effect.succeed(`${kind}; run ${run.id} failed at its start`)
  return Effect.map(Workflow.status(run.id), ({ status }) => `${kind}; run ${run.id} is ${status}`)
}

/** Counts the retry before it starts, so that a retry that kills its process counts too. */
const checkRetryLimits = ({ failure, settings: { maxRetries } }: Job): Work =>
  Effect.flatMap(countRetry(failure.id, maxRetries), (retry) =>
    retry > maxRetries
      ? fail(`Another process has used the last of ${maxRetries} retries.`)
      : Effect.succeed(`retry ${retry} of ${maxRetries}`)
  )

const applyFix = ({ failure, settings: { fixes } }: Job): Work => {
  const { category } = failure
  const fix = Object.hasOwn(fixes, category) ? fixes[category] : undefined
  return fix === undefined
    ? Effect.succeed(`no fix is given for ${category}`)
    : Effect.as(fix(failure), `the fix for ${category} ran`)
}

const applyFixOrDefer = (job: Job): Work => {
  const extra = extraStepOf(job.failure.category)
  return extra === undefined ? applyFix(job) : Effect.succeed(`the fix runs in ${extra}`)
}

const rewind = (job: Job, point: Point): Work =>
  ofRun(job, ({ heldAs, id, workflow }) =>
    Effect.as(Workflow.rewind(workflow, id, point, { heldAs }), `run ${id} was rewound`)
  )

const rewindToFailedStep = (job: Job): Work =>
  ofRun(job, ({ id }) =>
    job.retryPoint === undefined
      ? Effect.succeed(`run ${id} has not failed and continues`)
      : rewind(job, job.retryPoint)
  )

const rewindToTarget = (job: Job): Work => withTarget(job, ({ info }) => rewind(job, Workflow.atCheckpoint(info.id)))

const act = ({ failure, settings, target, type }: Job): Work => {
  const action = settings.actions[type]
  if (action === undefined) return fail(`The manager has no action for ${type}.`)
  settings.onAction?.()
  return Effect.as(action(failure, target?.info.id), "the action succeeded")
}

const rollBack = (job: Job): Work => (job.run === undefined ? act(job) : rewindToTarget(job))

const execute = (job: Job): Work =>
  job.run === undefined
    ? act(job)
    : ofRun(job, ({ heldAs, id, workflow }) => Effect.as(Workflow.resume(workflow, id, { heldAs }), `run ${id} ended`))

const requireCompleted = (job: Job): Work =>
  ofRun(job, ({ id }) =>
    Effect.flatMap(Workflow.status(id), ({ status }) =>
      status === "completed" ? Effect.succeed(`run ${id} is completed`) : fail(`Run ${id} is ${status}.`)
    )
  )

/** A rolled back run has no outcome, and its rewind has ended. It stays there, on hold, until it is released. */
const requireRolledBack = (job: Job): Work =>
  ofRun(job, ({ id }) =>
    Effect.flatMap(Workflow.status(id), ({ rewinding, status }) =>
      Option.isNone(rewinding) && !hasFailed(status)
        ? Effect.succeed(`run ${id} is ${status}`)
        : fail(`Run ${id} is ${status}${Option.isSome(rewinding) ? ", and its rewind has not ended" : ""}.`)
    )
  )

/** The newest valid checkpoint. If none is valid, the newest, so that its errors are known. */
export const targetOf = (settings: Settings, failure: Subject, type: RecoveryType, checkpoint: string | undefined) =>
  Effect.gen(function* () {
    let target: Target | undefined
    const accepts = (info: Checkpoint.Info) =>
      Effect.map(validate(settings, info), (validity) => {
        if (target === undefined || validity.isValid) target = { info, validity }
        return validity.isValid
      })
    const named = yield* Effect.either(checkFeasible(failure, type, { settings, checkpoint, accepts, mayRun: true }))
    // A checkpoint that was named is not validated by the check.
    if (named._tag === "Right" && target === undefined && named.right.checkpoint !== undefined) {
      yield* accepts(named.right.checkpoint)
    }
    if (target !== undefined) return target
    return yield* named._tag === "Left" ? Effect.fail(named.left) : Effect.dieMessage("A checkpoint was not validated.")
  })

const findTarget = (job: Job): Work =>
  Effect.gen(function* () {
    const { failure, requestedCheckpoint, settings, type } = job
    const { info, validity } = yield* targetOf(settings, failure, type, requestedCheckpoint)
    job.target = { info, validity }
    yield* storeDetails(job.progress, {
      target: info.id,
      validation: toValidation(validity),
      corruptionDetected: validity.errors.some(({ check }) => check === "integrity")
    })
    return `checkpoint "${info.name}" (${info.id})`
  })

const withTarget = ({ target }: Job, work: (target: NonNullable<Job["target"]>) => Work): Work =>
  target === undefined ? fail("No checkpoint was chosen.") : work(target)

const requireValid = (job: Job): Work =>
  withTarget(job, ({ validity }) => {
    const { errors, isValid, warnings } = toValidation(validity)
    return isValid
      ? Effect.succeed(`valid, with ${warnings.length} warnings`)
      : fail(`The checkpoint is not valid: ${errors.join("; ")}`)
  })

const backUp = ({ failure, progress }: Job): Work =>
  Effect.flatMap(saveBeforeRecovery(failure), ({ id }) =>
    Effect.as(storeDetails(progress, { preRecoveryCheckpoint: id }), `checkpoint "before_recovery" (${id})`)
  )

/** The plan of a resume has no step for the backup, so a backup that fails is only logged. */
const requireValidAndBackUp = (job: Job): Work =>
  Effect.zipLeft(
    requireValid(job),
    logged(backUp(job), "the checkpoint before_recovery could not be saved; the recovery continues")
  )

/** Calls the `restore` option. Without it, the step stores what the checks of the checkpoint found. */
const restore =
  (what: "environment" | "dependencies") =>
  (job: Job): Work =>
    withTarget(job, ({ info, validity }) => {
      const restore = job.settings.restore[what]
      if (restore !== undefined) return Effect.as(restore(info, job.failure), "restored")
      const problems = validity.warnings.filter(({ check }) => check === what)
      return Effect.succeed(
        problems.length === 0
          ? "unchanged"
          : problems.map(({ message, subject }) => `${subject}: ${message}`).join("; ")
      )
    })

const plans: Readonly<Record<RecoveryType, ReadonlyArray<Step>>> = {
  retry: [
    ["analyze_failure_cause", analyzeCause],
    ["check_retry_limits", checkRetryLimits],
    ["apply_failure_specific_fixes", applyFixOrDefer],
    ["trigger_workflow_retry", rewindToFailedStep],
    ["monitor_retry_execution", execute],
    ["validate_success", requireCompleted]
  ],
  resume: [
    ["identify_resumption_point", findTarget],
    ["validate_checkpoint_state", requireValidAndBackUp],
    ["restore_environment_context", restore("environment")],
    ["resolve_dependencies", restore("dependencies")],
    ["resume_from_checkpoint", rewindToTarget],
    ["monitor_execution", execute],
    ["validate_completion", requireCompleted]
  ],
  rollback: [
    ["identify_rollback_target", findTarget],
    ["validate_rollback_checkpoint", requireValid],
    ["backup_current_state", backUp],
    ["execute_rollback_operations", rollBack],
    ["restore_environment", restore("environment")],
    ["validate_rollback_success", requireRolledBack]
  ],
  restart: [
    ["backup_current_state", backUp],
    ["restart_workflow", (job) => rewind(job, Workflow.fromStart)],
    ["monitor_execution", execute],
    ["validate_completion", requireCompleted]
  ]
}

export const isRecoveryType = (strategy: string): strategy is RecoveryType => Object.hasOwn(plans, strategy)

/** The step in which the fix of a category runs, third from the end of every plan. */
const extraSteps: Readonly<Record<string, string>> = {
  linting: "apply_linting_fixes",
  testing: "analyze_test_failures",
  build: "check_build_dependencies"
}

const extraStepOf = (category: string): string | undefined =>
  Object.hasOwn(extraSteps, category) ? extraSteps[category] : undefined

/** Whether the plan has a step in which the fix of the category runs. */
export const fixRunsIn = (type: RecoveryType, category: string): boolean =>
  type === "retry" || extraStepOf(category) !== undefined

const stepsOf = (type: RecoveryType, category: string): ReadonlyArray<Step> => {
  const extra = extraStepOf(category)
  return extra === undefined ? plans[type] : plans[type].toSpliced(-2, 0, [extra, applyFix])
}

/** The names of the steps of a recovery, in order. */
export const planOf = (type: RecoveryType, category: string): ReadonlyArray<string> =>
  stepsOf(type, category).map(([name]) => name)

/** Runs the steps in order; the first that fails ends the plan. */
export const runPlan = (job: Job): Effect.Effect<void, unknown, unknown> =>
  Effect.forEach(
    stepsOf(job.type, job.failure.category),
    ([name, work]) =>
      runStep(
        job.progress,
        name,
        Effect.suspend(() => work(job))
      ),
    { discard: true }
  )
