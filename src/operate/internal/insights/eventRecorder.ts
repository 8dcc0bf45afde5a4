import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Events from "../../../resilience/Events.js"
import * as Fault from "../../../resilience/Fault.js"
import * as Storage from "../../../storage/Storage.js"
import { learnedCounts, type StrategyResult, timeCounts } from "../records/counters.js"
import { completedRun, recordFailure, resolveFailuresOf, updateFailure } from "../records/failures.js"
import { failures, truncateMessage } from "../records/records.js"
import { learningKeyOf, recordEnded, stepName } from "../records/recoveries.js"

type Of<T extends Events.Event["_tag"]> = Extract<Events.Event, { readonly _tag: T }>

/** Writes the records of one event. */
export type Task = Effect.Effect<unknown, unknown, Storage.Storage>

interface FailedStep {
  readonly step: string
  readonly fault: Fault.Fault
}

/** Bounds the memory for steps and runs that started and never end. */
const maxEntries = 10_000

const putBounded = <A>(map: Map<string, A>, key: string, value: A): void => {
  const [oldest] = map.size >= maxEntries ? map.keys() : []
  if (oldest !== undefined) map.delete(oldest)
  map.set(key, value)
}

/** Turns events into records. The records are enqueued, so that no program waits for them. */
export const makeEventRecorder = (enqueue: (task: Task) => Effect.Effect<void>) => {
  const startTimes = new Map<string, number>()
  const lastFailedSteps = new Map<string, FailedStep>()
  /** The strategies that rewound a run. */
  const rewoundBy = new Map<string, ReadonlyArray<string>>()

  const attemptStarted = ({ source: { run, step } }: Of<"AttemptStarted">) =>
    Effect.map(Clock.currentTimeMillis, (now) => putBounded(startTimes, `${run}/${step}`, now))

  const stepCompleted = ({ source: { run, step = "" } }: Of<"StepCompleted">) => {
    const key = `${run}/${step}`
    const startedAt = startTimes.get(key)
    if (startedAt === undefined) return Effect.void
    startTimes.delete(key)
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      enqueue(count(timeCounts(["step", stepName(step)], now - startedAt)))
    )
  }

  const stepFailed = ({ fault, source: { run = "", step = "" } }: Of<"StepFailed">) =>
    Effect.sync(() => {
      startTimes.delete(`${run}/${step}`)
      putBounded(lastFailedSteps, run, { step, fault })
    })

  const runRewound = ({ by, source: { run = "" } }: Of<"RunRewound">) =>
    Effect.sync(() => putBounded(rewoundBy, run, [...new Set([...(rewoundBy.get(run) ?? []), by.replace(/ .*/s, "")])]))

  const runFinished = ({ cause, outcome, source: { run = "" }, workflow }: Of<"RunFinished">) =>
    Effect.suspend(() => {
      const last = lastFailedSteps.get(run)
      const rewinders = rewoundBy.get(run)
      lastFailedSteps.delete(run)
      rewoundBy.delete(run)
      const results = (rewinders ?? [])
        .filter((by) => by !== "Workflow.rewind")
        .map((strategy) => ({ strategy, succeeded: outcome === "completed" }))
      const learning = last === undefined || results.length === 0 ? Effect.void : enqueue(learn(last, results))
      if (outcome !== "completed") return Effect.zipRight(learning, enqueue(runFailed(run, workflow, last, cause)))
      // A run that was never rewound has no earlier failure to resolve.
      return rewinders === undefined
        ? learning
        : Effect.zipRight(learning, enqueue(resolveFailuresOf(run, completedRun)))
    })

  return (event: Events.Event): Effect.Effect<void> => {
    switch (event._tag) {
      case "RecoveryEnded":
        return enqueue(recoveryEnded(event))
      case "AttemptStarted":
        return attemptStarted(event)
      case "StepCompleted":
        return stepCompleted(event)
      case "StepFailed":
        return stepFailed(event)
      case "RunRewound":
        return runRewound(event)
      case "RunFinished":
        return runFinished(event)
      default:
        return Effect.void
    }
  }
}

const count = (counts: ReadonlyArray<Storage.Count>) =>
  Effect.flatMap(Storage.Storage, (storage) => storage.count(counts))

const labelsOf = (run: string | undefined) =>
  run === undefined
    ? Effect.succeed({})
    : Effect.flatMap(Storage.Storage, (storage) =>
        Effect.map(storage.find(run), Option.match({ onNone: () => ({}), onSome: ({ labels }) => labels }))
      )

/** The strategies that were tried; only the last can have succeeded. A decision to give up is no trial. */
const resultsOf = ({ decisions, outcome }: Of<"RecoveryEnded">): ReadonlyArray<StrategyResult> => {
  const tried = decisions.filter(({ decision }) => decision !== "GiveUp").map(({ strategy }) => strategy)
  const last = tried.at(-1)
  return [...new Set(tried)].map((strategy) => ({
    strategy,
    succeeded: outcome === "recovered" && strategy === last
  }))
}

const recoveryEnded = (event: Of<"RecoveryEnded">): Task =>
  Effect.gen(function* () {
    const { attempts, decisions, delays, elapsed, fault, outcome, source } = event
    // An interrupted recovery has no result. A rewind interrupts too, and continues in the next pass.
    if (outcome === "interrupted") return
    const labels = yield* labelsOf(source.run)
    const results = resultsOf(event)
    const succeeded = outcome === "recovered"
    const { category, fingerprint } = fault
    const message = truncateMessage(fault.message)
    const now = yield* Clock.currentTimeMillis
    // A run records its failure when it finishes.
    const failure =
      succeeded || source.run !== undefined ? Option.none() : yield* recordFailure({ ...source, fault, labels })
    yield* recordEnded({
      details: {
        ...source,
        type: results.at(-1)?.strategy ?? "abort",
        by: "program",
        failure: Option.getOrUndefined(failure)?.id,
        category,
        fingerprint,
        message,
        attempts,
        plan: [],
        progress: [],
        corruptionDetected: false,
        error: succeeded ? undefined : message,
        completedAt: new Date(now)
      },
      labels,
      status: succeeded ? "completed" : "failed",
      millis: Duration.toMillis(elapsed),
      results,
      delays: delays.map(Duration.toMillis),
      lastRetrySucceeded: succeeded && decisions.at(-1)?.decision === "Again"
    })
  })

const learn = (
  { fault: { category, fingerprint }, step }: FailedStep,
  results: ReadonlyArray<StrategyResult>
): Task => {
  const key = learningKeyOf({ category, fingerprint, step })
  return count(results.flatMap((result) => learnedCounts(key, result)))
}

const isSame = (step: Fault.Fault, run: Fault.Fault): boolean =>
  step.fingerprint === run.fingerprint || run.message.includes(step.message)

const runFailed = (run: string, workflow: string, last: FailedStep | undefined, cause: Option.Option<unknown>): Task =>
  Effect.gen(function* () {
    const labels = yield* labelsOf(run)
    const own = yield* Fault.classify(Option.getOrElse(cause, () => "The run failed without a cause"))
    // The program may have handled the last failed step, and failed by another error.
    const isOfStep = last !== undefined && (Option.isNone(cause) || isSame(last.fault, own))
    const { fault, step } = isOfStep ? last : { fault: own, step: undefined }
    const failure = { run, workflow, step, fault, labels }
    const [open] = yield* failures.listStored({ subject: run, status: "open", limit: 1 })
    yield* open === undefined ? recordFailure(failure) : updateFailure(open, failure)
  })
