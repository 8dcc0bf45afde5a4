import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Match from "effect/Match"
import * as Option from "effect/Option"
import type * as Events from "../../../resilience/Events.js"
import * as Fault from "../../../resilience/Fault.js"
import { tagOf } from "../../../resilience/Foreign.js"
import { joinKey } from "../../../resilience/Key.js"
import * as Storage from "../../../storage/Storage.js"
import { learnedCounts, type StrategyResult, timeCounts } from "../records/counters.js"
import { completedRun, recordFailure, resolveFailuresOf, updateFailure } from "../records/failures.js"
import { failures, truncateMessage } from "../records/records.js"
import { learningKeyOf, recordEnded, stepName } from "../records/recoveries.js"

type RecoveryEnded = Extract<Events.Event, { readonly _tag: "RecoveryEnded" }>

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
export const makeEventRecorder = (
  enqueue: (task: Task) => Effect.Effect<void>
): ((event: Events.Event) => Effect.Effect<void>) => {
  const startTimes = new Map<string, number>()
  const lastFailedSteps = new Map<string, FailedStep>()
  /** The strategies that rewound a run. */
  const rewoundBy = new Map<string, ReadonlyArray<string>>()

  return Match.type<Events.Event>().pipe(
    // Its times are those of the event: the record may be written later.
    Match.tag("RecoveryEnded", (event) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => enqueue(recoveryEnded(event, now)))
    ),
    Match.tag("AttemptStarted", ({ source: { run, step } }) =>
      Effect.map(Clock.currentTimeMillis, (now) => putBounded(startTimes, joinKey(run ?? "", step ?? ""), now))
    ),
    Match.tag("StepCompleted", ({ source: { run, step = "" } }) => {
      const startedAt = startTimes.get(joinKey(run ?? "", step ?? ""))
      if (startedAt === undefined) return Effect.void
      startTimes.delete(joinKey(run ?? "", step ?? ""))
      return Effect.flatMap(Clock.currentTimeMillis, (now) =>
        enqueue(count(timeCounts(["step", stepName(step)], now - startedAt)))
      )
    }),
    Match.tag("StepFailed", ({ fault, source: { run = "", step = "" } }) =>
      Effect.sync(() => {
        startTimes.delete(joinKey(run ?? "", step ?? ""))
        putBounded(lastFailedSteps, run, { step, fault })
      })
    ),
    Match.tag("RunRewound", ({ by, source: { run = "" } }) =>
      Effect.sync(() => putBounded(rewoundBy, run, Arr.union(rewoundBy.get(run) ?? [], [by.replace(/ .*/s, "")])))
    ),
    Match.tag("RunFinished", ({ cause, outcome, source: { run = "" }, workflow }) =>
      Effect.suspend(() => {
        const last = lastFailedSteps.get(run)
        const rewinders = rewoundBy.get(run)
        lastFailedSteps.delete(run)
        rewoundBy.delete(run)
        // An operator ended it: that is neither a success of its recoveries nor a failure.
        if (outcome === "cancelled") return Effect.void
        const succeeded = outcome === "completed"
        const results = (rewinders ?? [])
          .filter((by) => by !== "Workflow.rewind")
          .map((strategy) => ({ strategy, succeeded }))
        const learning = last === undefined || results.length === 0 ? Effect.void : enqueue(learn(last, results))
        if (!succeeded) return Effect.zipRight(learning, enqueue(runFailed(run, workflow, last, cause)))
        // A run that was never rewound has no earlier failure to resolve.
        return rewinders === undefined
          ? learning
          : Effect.zipRight(learning, enqueue(resolveFailuresOf(run, completedRun)))
      })
    ),
    Match.orElse(() => Effect.void)
  )
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
const resultsOf = ({ decisions, outcome }: RecoveryEnded): ReadonlyArray<StrategyResult> => {
  const tried = decisions.filter(({ decision }) => decision !== "GiveUp").map(({ strategy }) => strategy)
  const last = tried.at(-1)
  return [...new Set(tried)].map((strategy) => ({
    strategy,
    succeeded: outcome === "recovered" && strategy === last
  }))
}

const recoveryEnded = (event: RecoveryEnded, now: number): Task =>
  Effect.gen(function* () {
    const { attempts, decisions, delays, elapsed, fault, outcome, source } = event
    // An interrupted recovery has no result. A rewind interrupts too, and continues in the next pass.
    if (outcome === "interrupted") return
    const labels = yield* labelsOf(source.run)
    const results = resultsOf(event)
    const succeeded = outcome === "recovered"
    const { category, fingerprint } = fault
    const message = truncateMessage(fault.message)
    // A run records its failure when it finishes.
    const failure =
      succeeded || source.run !== undefined ? Option.none() : yield* recordFailure({ ...source, fault, labels })
    yield* recordEnded({
      details: {
        ...source,
        type: results.at(-1)?.strategy ?? "abort",
        by: "program",
        failure: Option.getOrUndefined(failure)?.id,
        tag: Option.getOrUndefined(fault.tag),
        category,
        fingerprint,
        message,
        attempts,
        plan: [],
        progress: [],
        corruptionDetected: false,
        error: succeeded ? undefined : message,
        startedAt: new Date(now - Duration.toMillis(elapsed)),
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

const isNotRolledBack = (cause: unknown): boolean =>
  Cause.isCause(cause) && Chunk.some(Cause.failures(cause), (error) => tagOf(error) === "RollbackFailed")

const atLeastHigh = (severity: Fault.Severity): Fault.Severity => (severity === "critical" ? severity : "high")

const runFailed = (run: string, workflow: string, last: FailedStep | undefined, cause: Option.Option<unknown>): Task =>
  Effect.gen(function* () {
    const labels = yield* labelsOf(run)
    const own = yield* Fault.classify(Option.getOrElse(cause, () => "The run failed without a cause"))
    // The program may have handled the last failed step, and failed by another error.
    const isOfStep = last !== undefined && (Option.isNone(cause) || isSame(last.fault, own))
    const found = isOfStep ? last : { fault: own, step: undefined }
    // What is not undone needs a person, whatever the failure that began the rollback needs.
    const fault = Option.exists(cause, isNotRolledBack)
      ? { ...found.fault, message: own.message, severity: atLeastHigh(found.fault.severity) }
      : found.fault
    const failure = { run, workflow, step: found.step, fault, labels }
    const [open] = yield* failures.listReadable({ subject: run, status: "open", limit: 1 })
    const updated = open === undefined ? Option.none() : yield* updateFailure(open.id, failure)
    if (Option.isNone(updated)) yield* recordFailure(failure)
  })
