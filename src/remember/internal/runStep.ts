import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type PastFailure, performFrom } from "../../react/internal/recovery/perform.js"
import { isTraced, withSpan } from "../../react/internal/watch/traced.js"
import type * as Strategy from "../../react/Strategy.js"
import type { Restore } from "../../storage/Storage.js"
import { StepConflict } from "../RunError.js"
import { causeCodec, errorCodec } from "./codec.js"
import type { AnyEffect, Attempt, Definition } from "./definition.js"
import type { StepRecord } from "./journal.js"
import * as live_ from "./liveRun.js"
import { afterAmbiguous, goOnWaiting, pastOf } from "./resumeStep.js"
import { settle } from "./settleStep.js"
import { append, journalError, sourceOf, type Use } from "./stepUse.js"

export const runStep = (definition: Definition, input: unknown): AnyEffect =>
  Effect.flatMap(live_.Run, (run) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.withFiberRuntime((fiber) => {
        const live = run.live
        if (live.stopped !== undefined) return live_.stop(live, live.stopped)
        const key = live_.enter(run, definition.name, fiber)
        if (key instanceof StepConflict) return live_.stop(live, key)
        const use: Use = { live, definition, input, key, record: live.steps.get(key), traced: isTraced(fiber) }
        const end = () => live_.leave(run, definition.name)
        return isAnswered(use.record) ? answered(use, use.record, end) : fresh(use, restore, end)
      })
    )
  )

const isAnswered = (record: StepRecord | undefined): record is StepRecord =>
  record?.status === "completed" || record?.status === "failed"

type End = () => void

const answered = (use: Use, record: StepRecord, end: End): AnyEffect =>
  Effect.ensuring(answer(use, record), Effect.sync(end))

const fresh = (use: Use, restore: Restore, end: End): AnyEffect =>
  Effect.matchCauseEffect(attempts(use, restore), {
    onSuccess: (value) => {
      end()
      return settle(use, Exit.succeed(value))
    },
    onFailure: (cause) => {
      end()
      return settle(use, Exit.failCause(cause))
    }
  })

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

const performOptions = (use: Use, past: ReadonlyArray<PastFailure>) => ({
  source: sourceOf(use),
  name: use.definition.name,
  past,
  onAgain: (failure: Strategy.Failure<unknown>, delay: Duration.Duration) =>
    Effect.uninterruptible(attemptFailed(use, failure, delay))
})

const attemptFailed = (use: Use, failure: Strategy.Failure<unknown>, delay: Duration.Duration): Effect.Effect<void> =>
  Effect.flatMap(Effect.catchAll(encodeError(use, failure.error), journalError(use, "Encode", "error")), (error) => {
    const { cause: _, ...fault } = failure.fault
    // For ever has no JSON form.
    const next = Math.min(failure.at + Duration.toMillis(delay), Number.MAX_SAFE_INTEGER)
    return append(use, "AttemptFailed", failure.attempt, JSON.stringify({ next, fault, error }), failure.at)
  }) as Effect.Effect<void>

const encodeError = (use: Use, error: unknown) =>
  Effect.map(errorCodec(use.definition.error).encode(error), (text) => (text === undefined ? null : JSON.parse(text)))

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
