import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Events from "../../react/Events.js"
import * as Fault from "../../react/Fault.js"
import { AttemptTimeout } from "../../react/internal/errors.js"
import { type PastFailure, type Plan, performFrom } from "../../react/internal/perform.js"
import { planByTag } from "../../react/Recovery.js"
import * as Strategy from "../../react/Strategy.js"
import type { Restore } from "../../storage/Storage.js"
import { JournalError, type RunError, StepAmbiguous, StepConflict } from "../RunError.js"
import { type Codec, causeCodec, errorCodec, valueCodec } from "./codec.js"
import type { StepRecord } from "./journal.js"
import * as live_ from "./liveRun.js"
import { isTraced, withSpan } from "./traced.js"

/** What an attempt may know about itself. */
export interface Attempt {
  readonly run: string
  /** The step's key in the journal: its name with sections and occurrence. */
  readonly step: string
  /** 1 for the first. */
  readonly number: number
  /** The same for every attempt of this step in this run, and for no other step. */
  readonly idempotencyKey: string
}

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

/** What is known of a step before it is used; built once. */
export interface Definition {
  readonly name: string
  readonly success: Codec<unknown>
  readonly error: Schema.Schema.All
  readonly run: (input: unknown, attempt: Attempt) => AnyEffect
  readonly plan: Plan | undefined
  readonly onAmbiguous: "rerun" | "fail"
  readonly bestEffort: boolean
}

export const define = (
  name: string,
  options: {
    readonly run: AnyEffect | ((input: never, attempt: Attempt) => AnyEffect)
    readonly success?: Schema.Schema.Any
    readonly error?: Schema.Schema.All
    readonly onAmbiguous?: "rerun" | "fail"
    readonly timeout?: Duration.DurationInput | undefined
    readonly recover?: object
    readonly retry?: Schedule.Schedule<unknown, never, unknown>
    readonly durability?: "required" | "best-effort"
  }
): Definition => {
  const own = options.run
  const given = typeof own === "function" ? own : () => own
  // What the journal does not keep the first run does not see either.
  const run: typeof given =
    options.success === undefined ? (input, attempt) => Effect.asVoid(given(input, attempt)) : given
  return {
    name,
    success: valueCodec(options.success ?? Schema.Void),
    error: options.error ?? Schema.Never,
    // The public types hand over the input the function was written for.
    run: options.timeout === undefined ? (run as Definition["run"]) : timed(run as Definition["run"], options.timeout),
    plan: planOf(options.recover, options.retry),
    onAmbiguous: options.onAmbiguous ?? "rerun",
    bestEffort: options.durability === "best-effort"
  }
}

const timed = (run: Definition["run"], timeout: Duration.DurationInput): Definition["run"] => {
  const duration = Duration.decode(timeout)
  const onTimeout = () => new AttemptTimeout({ timeout: duration })
  return (input, attempt) =>
    Effect.timeoutFail(
      Effect.suspend(() => run(input, attempt)),
      { duration, onTimeout }
    )
}

/** Strategies by tag first; a bare schedule retries the rest and lets the last error surface. */
const planOf = (recover: object | undefined, retry: Schedule.Schedule<unknown, never, unknown> | undefined) => {
  const byTag = recover === undefined ? undefined : planByTag(recover)
  if (retry === undefined) return byTag
  const rest = Strategy.sequence(Strategy.retry(retry), Strategy.abort)
  const plan: Plan = (error) => {
    const named = byTag?.(error)
    // At most once means that no schedule runs an ambiguous step again.
    return named ?? (error instanceof StepAmbiguous ? undefined : ["*", rest])
  }
  return plan
}

export const runStep = (definition: Definition, input: unknown): AnyEffect =>
  Effect.flatMap(live_.Run, (run) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.withFiberRuntime((fiber) => {
        const live = run.live
        if (live.stopped !== undefined) return live_.stop(live, live.stopped)
        const key = live_.enter(run, definition.name, fiber)
        if (key instanceof StepConflict) return live_.stop(live, key)
        const use: Use = { live, definition, input, key, record: live.steps.get(key), traced: isTraced(fiber) }
        const end = (interrupted: boolean) => live_.leave(run, definition.name, interrupted)
        return isAnswered(use.record) ? answered(use, use.record, end) : fresh(use, restore, end)
      })
    )
  )

const isAnswered = (record: StepRecord | undefined): record is StepRecord =>
  record?.status === "completed" || record?.status === "failed"

type End = (interrupted: boolean) => void

const answered = (use: Use, record: StepRecord, end: End): AnyEffect =>
  Effect.ensuring(
    answer(use, record),
    Effect.sync(() => end(false))
  )

const fresh = (use: Use, restore: Restore, end: End): AnyEffect =>
  Effect.matchCauseEffect(attempts(use, restore), {
    onSuccess: (value) => {
      end(false)
      return settle(use, Exit.succeed(value))
    },
    onFailure: (cause) => {
      end(Cause.isInterrupted(cause))
      return settle(use, Exit.failCause(cause))
    }
  })

/** One use of a step within a run. */
interface Use {
  readonly live: live_.LiveRun
  readonly definition: Definition
  readonly input: unknown
  readonly key: string
  readonly record: StepRecord | undefined
  readonly traced: boolean
  attempt?: number
}

const sourceOf = (use: Use): Events.Source => ({ run: use.live.id, step: use.key })

const journalError = (use: Use, reason: "Encode" | "Decode", what: string) => (cause: unknown) =>
  live_.stop(use.live, new JournalError({ reason, run: use.live.id, record: `${what} of step "${use.key}"`, cause }))

// ---- answered from the journal

const answer = (use: Use, record: StepRecord): AnyEffect =>
  Effect.zipRight(
    live_.emit(use.live, () => ({ _tag: "StepAnswered", source: sourceOf(use), attempts: record.attempts })),
    record.status === "completed" ? answerValue(use, record) : answerCause(use, record)
  )

const answerValue = (use: Use, record: StepRecord): AnyEffect =>
  Effect.catchAll(use.definition.success.decode(record.payload), journalError(use, "Decode", "success"))

const answerCause = (use: Use, record: StepRecord): AnyEffect =>
  Effect.flatMap(
    Effect.catchAll(causeCodec(use.definition.error).decode(record.payload), journalError(use, "Decode", "error")),
    Effect.failCause
  )

// ---- run

const attempts = (use: Use, restore: Restore): AnyEffect => {
  const { plan } = use.definition
  if (use.record !== undefined) return restore(resumed(use, use.record))
  if (plan === undefined) return Effect.zipRight(started(use, 1), restore(body(use, 1)))
  return restore(performFrom(1, (number) => attempt(use, number), plan, performOptions(use, [])))
}

const attempt = (use: Use, number: number): AnyEffect =>
  Effect.zipRight(Effect.uninterruptible(started(use, number)), body(use, number))

const body = (use: Use, number: number): AnyEffect => {
  const run = Effect.suspend(() => use.definition.run(use.input, attemptOf(use, number)))
  return use.traced ? withSpan(use.definition.name, { run: use.live.id, step: use.key, attempt: number }, run) : run
}

/** The start marker is on stable storage before the effect begins. */
const started = (use: Use, number: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    use.attempt = number
    return live_.andEmit(use.live, append(use, "AttemptStarted", number), () => ({
      _tag: "AttemptStarted",
      source: sourceOf(use),
      attempt: number
    }))
  })

const attemptOf = (use: Use, number: number): Attempt => ({
  run: use.live.id,
  step: use.key,
  number,
  idempotencyKey: `${use.live.workflow}/${use.live.id}/${use.key}`
})

/** With best effort a storage in trouble is reported and the program goes on. */
const append = (
  use: Use,
  kind: Parameters<typeof live_.append>[1],
  number: number,
  payload?: string,
  at?: number
): Effect.Effect<void> =>
  use.definition.bestEffort
    ? Effect.catchAll(live_.tryAppend(use.live, kind, use.key, number, payload, at), (error) =>
        error._tag === "LeaseLost"
          ? live_.stop(use.live, error)
          : Effect.logWarning(`effect-recovery: step "${use.key}" goes on without its journal`, error)
      )
    : live_.append(use.live, kind, use.key, number, payload, at)

const performOptions = (use: Use, past: ReadonlyArray<PastFailure>) => ({
  source: sourceOf(use),
  past,
  onAgain: (failure: Strategy.Failure<unknown>, delay: Duration.Duration) =>
    Effect.uninterruptible(attemptFailed(use, failure, delay))
})

const attemptFailed = (use: Use, failure: Strategy.Failure<unknown>, delay: Duration.Duration): Effect.Effect<void> =>
  Effect.flatMap(Effect.catchAll(encodeError(use, failure.error), journalError(use, "Encode", "error")), (error) => {
    const { cause: _, ...fault } = failure.fault
    const next = failure.at + Duration.toMillis(delay)
    return append(use, "AttemptFailed", failure.attempt, JSON.stringify({ next, fault, error }), failure.at)
  }) as Effect.Effect<void>

const encodeError = (use: Use, error: unknown) =>
  Effect.map(errorCodec(use.definition.error).encode(error), (text) => (text === undefined ? null : JSON.parse(text)))

// ---- resumed

const resumed = (use: Use, record: StepRecord): AnyEffect => {
  const { onAmbiguous, plan } = use.definition
  const waits = record.status === "waiting"
  const begin = waits ? goOnWaiting(use, record) : afterAmbiguous(use, record)
  // At most once: the failure is that of the attempt that was cut short, and none is begun.
  const failsAtOnce = !waits && onAmbiguous === "fail"
  const first = failsAtOnce ? record.attempts : record.attempts + 1
  const beginFirst = failsAtOnce ? begin : Effect.zipRight(begin, attempt(use, first))
  const go = (number: number) => (number === first ? beginFirst : attempt(use, number))
  return Effect.flatMap(pastOf(use, record), (past) =>
    plan === undefined ? go(first) : performFrom(first, go, plan, performOptions(use, past))
  )
}

const Wait = Schema.parseJson(Schema.Struct({ next: Schema.Number, error: Schema.Unknown }))
const decodeWait = Schema.decodeUnknown(Wait)

/** The next attempt was due at a moment, and that moment still stands. */
const goOnWaiting = (use: Use, record: StepRecord): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { next } = yield* Effect.catchAll(decodeWait(record.payload), journalError(use, "Decode", "wait"))
    const delay = Duration.millis(Math.max(0, next - (yield* Clock.currentTimeMillis)))
    const attempt = record.attempts + 1
    yield* live_.emit(use.live, () => ({ _tag: "BackoffResumed", source: sourceOf(use), attempt, delay }))
    yield* Effect.sleep(delay)
  })

/** Started and nothing more: nobody knows whether it happened. The record shows what was done about it. */
const afterAmbiguous = (use: Use, record: StepRecord): Effect.Effect<void, StepAmbiguous> =>
  Effect.gen(function* () {
    const { onAmbiguous } = use.definition
    use.attempt = record.attempts
    yield* append(use, "StepAmbiguous", record.attempts, JSON.stringify({ onAmbiguous }))
    yield* live_.emit(use.live, () => ({
      _tag: "StepAmbiguous",
      source: sourceOf(use),
      attempt: record.attempts,
      onAmbiguous
    }))
    if (onAmbiguous === "rerun") return
    const { attempts, startedAt } = record
    yield* new StepAmbiguous({ run: use.live.id, step: use.key, attempt: attempts, startedAt })
  })

/** The failures this recovery has already answered, as their own classes. */
const pastOf = (use: Use, record: StepRecord): Effect.Effect<ReadonlyArray<PastFailure>, unknown, unknown> =>
  Effect.forEach(record.past, (entry) =>
    Effect.catchAll(
      Effect.gen(function* () {
        const { error } = yield* decodeWait(entry.payload)
        const decoded = yield* errorCodec(use.definition.error).decode(JSON.stringify(error))
        return { error: decoded, attempt: entry.attempt, at: entry.at }
      }),
      journalError(use, "Decode", "error")
    )
  )

// ---- settled

const settle = (use: Use, exit: Exit.Exit<unknown, unknown>): AnyEffect => {
  if (use.live.stopped !== undefined) return stopped(use, use.live.stopped, exit)
  if (Exit.isSuccess(exit)) return completed(use, exit.value)
  if (Cause.isDie(exit.cause)) return died(use, exit.cause)
  return Cause.isFailure(exit.cause) ? failed(use, exit.cause) : exit
}

/** The run may not go on, but what was done is done: it is recorded if it still can be. */
const stopped = (use: Use, error: RunError, exit: Exit.Exit<unknown, unknown>): AnyEffect => {
  const recorded =
    Exit.isSuccess(exit) && (error._tag === "StepConflict" || error._tag === "JournalError")
      ? Effect.flatMap(use.definition.success.encode(exit.value), (payload) =>
          live_.tryAppend(use.live, "StepCompleted", use.key, use.attempt ?? 1, payload)
        )
      : Effect.void
  return Effect.zipRight(Effect.ignore(recorded), live_.stop(use.live, error))
}

const completed = (use: Use, value: unknown): AnyEffect =>
  Effect.flatMap(
    Effect.catchAll(use.definition.success.encode(value), journalError(use, "Encode", "success")),
    (payload) => {
      const attempts = use.attempt ?? 1
      const recorded = Effect.as(append(use, "StepCompleted", attempts, payload), value)
      return live_.andEmit(use.live, recorded, () => ({ _tag: "StepCompleted", source: sourceOf(use), attempts }))
    }
  )

const failed = (use: Use, cause: Cause.Cause<unknown>): AnyEffect =>
  Effect.gen(function* () {
    const codec = causeCodec(use.definition.error)
    const payload = yield* Effect.catchAll(codec.encode(cause), journalError(use, "Encode", "error"))
    const attempts = use.attempt ?? 1
    yield* append(use, "StepFailed", attempts, payload)
    if (use.live.observer !== undefined) {
      const fault = yield* Fault.classify(cause)
      yield* live_.emit(use.live, () => ({ _tag: "StepFailed", source: sourceOf(use), attempts, fault }))
    }
    return yield* Effect.failCause(cause)
  })

/** A defect is a bug: it is on record, and the step stays open until the program is mended. */
const died = (use: Use, cause: Cause.Cause<unknown>): AnyEffect =>
  Effect.gen(function* () {
    const payload = yield* Effect.orElseSucceed(causeCodec(Schema.Unknown).encode(cause), () => undefined)
    yield* append(use, "AttemptDied", use.attempt ?? 1, payload)
    return yield* Effect.failCause(cause)
  })
