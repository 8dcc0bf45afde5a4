import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Checkpoint from "../../../durable/Checkpoint.js"
import * as Workflow from "../../../durable/Workflow.js"
import type { Point } from "../../../resilience/Decision.js"
import { hasFailed } from "../../../storage/rows.js"
import type * as Storage from "../../../storage/Storage.js"
import type { FailureRecord } from "../../FailureRecord.js"
import { RecoveryRefused } from "../../OperateError.js"
import type { RecoveryType } from "../../RecoveryOptions.js"
import { newestBefore } from "./checkpoints.js"
import type { AnyWorkflow, Settings } from "./plan.js"

/** What is known of a failure. A rollback of a run without an open failure has no id. */
export interface Subject
  extends Pick<FailureRecord, "run" | "step" | "retries" | "labels" | "detectedAt">,
    Pick<Partial<FailureRecord>, "id" | "status"> {}

export interface Request<E, R> {
  /** The manager that carries it out. Without it, only the state of the run and of its checkpoints counts. */
  readonly settings?: Settings | undefined
  /** The id of the checkpoint to go back to, if one was named. */
  readonly checkpoint?: string | undefined
  /** A process may advance the run: the recovery waits until it has left. */
  readonly mayRun?: boolean | undefined
  /** Whether a checkpoint can be used. Defaults to all. */
  readonly accepts?: ((info: Checkpoint.Info) => Effect.Effect<boolean, E, R>) | undefined
}

/** A recovery that can be carried out now. */
export interface Feasible {
  /** Undefined for a failure of no run, and without a manager. */
  readonly workflow: AnyWorkflow | undefined
  /** Where a retry rewinds its run to. Undefined if the run has not failed. */
  readonly retryPoint: Point | undefined
  /** The newest checkpoint that a resume or a rollback can go back to. */
  readonly checkpoint: Checkpoint.Info | undefined
}

/**
 * Fails with `RecoveryRefused` if this type of recovery cannot be carried out now. The one check of suggestions, of
 * `auto`, and of requests. Changes nothing.
 */
export const checkFeasible = <E = never, R = never>(
  failure: Subject,
  type: RecoveryType,
  request: Request<E, R> = {}
): Effect.Effect<Feasible, E | RecoveryRefused | Storage.StorageError, R | Storage.Storage> =>
  Effect.gen(function* () {
    const { checkpoint, settings } = request
    const refuse = refusalOf(failure, checkpoint)
    if (failure.status === "resolved") return yield* refuse("Resolved")
    const run = failure.run === undefined ? undefined : yield* findRun(failure.run, refuse)
    const goesBack = type === "resume" || type === "rollback"
    if (run?.status === "running" && request.mayRun !== true) return yield* refuse("Running")
    if (run?.status === "completed" && !(goesBack && checkpoint !== undefined)) return yield* refuse("Completed")
    const workflow = settings === undefined ? undefined : yield* workflowIn(settings, run, type, refuse)
    if (type === "retry" && settings !== undefined && failure.retries >= settings.maxRetries) {
      return yield* refuse("Limit")
    }
    const retryPoint = type === "retry" && run !== undefined ? retryPointOf(run, failure.step) : undefined
    const point = type === "restart" && run !== undefined ? Workflow.fromStart : retryPoint
    const obstacle = run === undefined || point === undefined ? undefined : yield* obstacleTo(run.id, point)
    if (obstacle !== undefined) return yield* refuse("Rewind", obstacle)
    return { workflow, retryPoint, checkpoint: goesBack ? yield* targetOf(failure, request, refuse) : undefined }
  })

type Refuse = (reason: RecoveryRefused["reason"], detail?: string) => RecoveryRefused

const refusalOf =
  ({ id }: Subject, checkpoint: string | undefined): Refuse =>
  (reason, detail) =>
    new RecoveryRefused({ failure: id, checkpoint, reason, detail })

const findRun = (id: string, refuse: Refuse) =>
  Effect.filterOrElse(
    Effect.catchTags(Workflow.status(id), {
      RunNotFound: () => refuse("UnknownRun"),
      JournalError: ({ message }) => refuse("Unreadable", message)
    }),
    ({ unread }) => unread.length === 0,
    ({ unread: [first] }) => refuse("Unreadable", first && `journal line ${first.seq}: ${first.problem}`)
  )

/** The workflow of the run, in the version it was started with if it is known. A failure of no run needs an action. */
const workflowIn = (
  { actions, workflows }: Settings,
  run: Workflow.RunStatus | undefined,
  type: RecoveryType,
  refuse: Refuse
): Effect.Effect<AnyWorkflow | undefined, RecoveryRefused> => {
  if (run === undefined) return actions[type] === undefined ? refuse("NoRun") : Effect.succeed(undefined)
  const named = workflows.filter(({ name }) => name === run.workflow)
  const found = named.find(({ version }) => version === run.version) ?? named[0]
  return found === undefined ? refuse("UnknownWorkflow") : Effect.succeed(found)
}

/**
 * Before the step that failed, else the last one. A transaction that was rolled back runs again as a whole, from before
 * its first step. A run that has not failed continues without a rewind.
 */
export const retryPointOf = (run: Workflow.RunStatus, step: string | undefined): Point | undefined => {
  const { rollbacks, status, steps } = run
  if (!hasFailed(status)) return undefined
  const failed = steps.find(({ key }) => key === step) ?? steps.at(-1)
  if (failed === undefined) return Workflow.fromStart
  const around = rollbacks.map(({ transaction }) => transaction).filter((section) => failed.key.startsWith(section))
  const [outermost] = around.sort((a, b) => a.length - b.length)
  const first = outermost === undefined ? failed : steps.find(({ key }) => key.startsWith(outermost))
  return Workflow.beforeStep((first ?? failed).key)
}

/** Why the run cannot be rewound to the point; undefined if it can. */
export const obstacleTo = (
  run: string,
  point: Point
): Effect.Effect<string | undefined, Storage.StorageError, Storage.Storage> =>
  Workflow.checkRewind(run, point).pipe(
    Effect.as(undefined),
    Effect.catchTags({
      RewindRefused: ({ message }) => Effect.succeed(message),
      JournalError: ({ message }) => Effect.succeed(message),
      RunNotFound: ({ message }) => Effect.succeed(message)
    })
  )

/** The checkpoint that was named, else the newest from before the failure that the run can be rewound to. */
const targetOf = <E, R>(
  failure: Subject,
  { accepts = () => Effect.succeed(true), checkpoint }: Request<E, R>,
  refuse: Refuse
) =>
  Effect.gen(function* () {
    const { run } = failure
    const obstacleBefore = (info: Checkpoint.Info) =>
      run === undefined ? Effect.succeed(undefined) : obstacleTo(run, Workflow.atCheckpoint(info.id))
    if (checkpoint !== undefined) {
      const named = yield* Effect.catchTag(Checkpoint.find(checkpoint), "CheckpointNotFound", () =>
        refuse("UnknownCheckpoint")
      )
      if (run !== undefined && named.run !== run) return yield* refuse("UnknownCheckpoint")
      const obstacle = yield* obstacleBefore(named)
      return obstacle === undefined ? named : yield* refuse("Rewind", obstacle)
    }
    let first: string | undefined
    const found = yield* newestBefore(failure, (info) =>
      Effect.flatMap(obstacleBefore(info), (obstacle): Effect.Effect<boolean, E, R> => {
        first ??= obstacle
        return obstacle === undefined ? accepts(info) : Effect.succeed(false)
      })
    )
    if (Option.isSome(found)) return found.value
    return yield* first === undefined ? refuse("NoCheckpoint") : refuse("Rewind", first)
  })
