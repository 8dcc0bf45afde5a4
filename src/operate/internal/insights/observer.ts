import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Events from "../../../resilience/Events.js"
import * as Fault from "../../../resilience/Fault.js"
import * as Storage from "../../../storage/Storage.js"
import { learnedCounts } from "../records/counts.js"
import { failures } from "../records/records.js"
import { cutMessage, recordEnded, recordFailure, stepCounts, updateFailure, type Way } from "../records/report.js"
import { byItsRun, resolveAllOf } from "../records/resolve.js"
import { placeOf } from "./place.js"

type Of<T extends Events.Event["_tag"]> = Extract<Events.Event, { readonly _tag: T }>

/** What is done of an event when its turn comes. */
export type Task = Effect.Effect<unknown, unknown, Storage.Storage>

/** What is open is forgotten when there is too much of it: a program may begin what it never ends. */
const mostOpen = 10_000

const remember = <A>(map: Map<string, A>, key: string, value: A): void => {
  const [oldest] = map.size >= mostOpen ? map.keys() : []
  if (oldest !== undefined) map.delete(oldest)
  map.set(key, value)
}

/**
 * Makes records of events. What it must do is handed on, so that nobody who
 * recovers waits for a record of it.
 */
export const makeObserver = (hand: (task: Task) => Effect.Effect<void>) => {
  const started = new Map<string, number>()
  const lastFault = new Map<string, { readonly step: string; readonly fault: Fault.Fault }>()
  const rewound = new Map<string, ReadonlyArray<string>>()

  const attemptStarted = ({ source: { run, step } }: Of<"AttemptStarted">) =>
    Effect.map(Clock.currentTimeMillis, (now) => remember(started, `${run}/${step}`, now))

  const stepCompleted = ({ source: { run, step } }: Of<"StepCompleted">) => {
    const key = `${run}/${step}`
    const since = started.get(key)
    if (since === undefined) return Effect.void
    started.delete(key)
    return Effect.flatMap(Clock.currentTimeMillis, (now) => hand(count(stepCounts(placeOf({ step }), now - since))))
  }

  const stepFailed = ({ fault, source: { run = "", step = "" } }: Of<"StepFailed">) =>
    Effect.sync(() => {
      started.delete(`${run}/${step}`)
      remember(lastFault, run, { step, fault })
    })

  const runRewound = ({ by, source: { run = "" } }: Of<"RunRewound">) =>
    Effect.sync(() => remember(rewound, run, [...new Set([...(rewound.get(run) ?? []), by.replace(/ .*/s, "")])]))

  const runFinished = ({ cause, outcome, source: { run = "" }, workflow }: Of<"RunFinished">) =>
    Effect.suspend(() => {
      const last = lastFault.get(run)
      const back = rewound.get(run)
      const ways = (back ?? [])
        .filter((by) => by !== "Workflow.rewind")
        .map((strategy): Way => ({ strategy, isGood: outcome === "completed" }))
      lastFault.delete(run)
      rewound.delete(run)
      const learned = last === undefined || ways.length === 0 ? Effect.void : hand(learn(last, ways))
      // One that was never taken back cannot have failed before.
      if (outcome === "completed") {
        return back === undefined ? learned : Effect.zipRight(learned, hand(resolveAllOf(run, byItsRun)))
      }
      return Effect.zipRight(learned, hand(runFailed(run, workflow, last, cause)))
    })

  return (event: Events.Event): Effect.Effect<void> => {
    switch (event._tag) {
      case "RecoveryEnded":
        return hand(recoveryEnded(event))
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

/** Whoever only gave up was not tried; of those that were, the last one led to the good end, if there was one. */
const waysOf = ({ decisions, outcome }: Of<"RecoveryEnded">): ReadonlyArray<Way> => {
  const tried = decisions.filter(({ decision }) => decision !== "GiveUp").map(({ strategy }) => strategy)
  const last = tried.at(-1)
  return [...new Set(tried)].map((strategy) => ({
    strategy,
    isGood: outcome === "recovered" && strategy === last
  }))
}

const recoveryEnded = (event: Of<"RecoveryEnded">): Task =>
  Effect.gen(function* () {
    const { attempts, decisions, delays, elapsed, fault, outcome, source } = event
    // Somebody stopped it, or a rewind goes on with it: it has not ended.
    if (outcome === "interrupted") return
    const labels = yield* labelsOf(source.run)
    const ways = waysOf(event)
    const isGood = outcome === "recovered"
    const type = ways.at(-1)?.strategy ?? "abort"
    const { category, fingerprint } = fault
    const message = cutMessage(fault.message)
    const now = yield* Clock.currentTimeMillis
    const failure =
      isGood || source.run !== undefined ? Option.none() : yield* recordFailure({ ...source, fault, labels })
    yield* recordEnded({
      details: {
        ...source,
        type,
        by: "program",
        failure: Option.getOrUndefined(Option.map(failure, ({ id }) => id)),
        category,
        fingerprint,
        message,
        attempts,
        plan: [],
        progress: [],
        corruptionDetected: false,
        error: isGood ? undefined : message,
        completedAt: new Date(now)
      },
      labels,
      status: isGood ? "completed" : "failed",
      millis: Duration.toMillis(elapsed),
      ways,
      delays: delays.map(Duration.toMillis),
      byRetry: isGood && decisions.at(-1)?.decision === "Again"
    })
  })

const learn = (last: { readonly step: string; readonly fault: Fault.Fault }, ways: ReadonlyArray<Way>): Task => {
  const { category, fingerprint } = last.fault
  const met = { category, fingerprint, place: placeOf(last) }
  return count(ways.flatMap(({ isGood, strategy }) => learnedCounts(met, strategy, isGood)))
}

const isSame = (step: Fault.Fault, run: Fault.Fault): boolean =>
  step.fingerprint === run.fingerprint || run.message.includes(step.message)

const runFailed = (
  run: string,
  workflow: string,
  last: { readonly step: string; readonly fault: Fault.Fault } | undefined,
  cause: Option.Option<unknown>
): Task =>
  Effect.gen(function* () {
    const labels = yield* labelsOf(run)
    const own = yield* Fault.classify(Option.getOrElse(cause, () => "The run has failed"))
    // A step that failed may have been handled, and the run have failed of something else.
    const isOfStep = last !== undefined && (Option.isNone(cause) || isSame(last.fault, own))
    const place = { run, workflow, step: isOfStep ? last.step : undefined }
    const failing = { ...place, fault: isOfStep ? last.fault : own, labels }
    const [open] = yield* failures.list({ subject: run, status: "open", limit: 1 })
    yield* open === undefined ? recordFailure(failing) : updateFailure(open, failing)
  })
