import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type { StepRecord } from "../../../journal/Journal.js"
import { type Codec, causeCodec, errorCodec } from "../../../journal/JournalCodec.js"
import { ReplayMismatch, StepAmbiguous } from "../../../journal/RunError.js"
import { FaultRecord, faultOf, restoreFault } from "../../../resilience/FaultRecord.js"
import type { PastFailure } from "../../../resilience/internal/kernel/session.js"
import { longSleep } from "../../../resilience/internal/kernel/timer.js"
import { whileResting, whileWorking } from "../execution/activity.js"
import { heed, isBrief } from "../execution/control.js"
import { holdCutShort } from "../execution/cutShort.js"
import * as Execution from "../execution/execution.js"
import * as Order from "../execution/replayOrder.js"
import { finiteTime, parkedOf } from "../wait/resolve.js"
import { park } from "../wait/wait.js"
import type { AnyEffect } from "./definition.js"
import { append, emitStep, failFrom, journalError, markReached, registerUndo, type StepUse } from "./stepUse.js"

export const isAnswered = (record: StepRecord | undefined): record is StepRecord =>
  record?.status === "completed" || record?.status === "failed"

// ---- a step with a recorded result

/** Returns the recorded result, and registers the compensation again. */
export const answer = (use: StepUse, record: StepRecord): AnyEffect => {
  const { error, success } = use.definition
  const { attempts } = record
  const emitted = emitStep(use, (source) => ({ _tag: "StepAnswered", source, attempts }))
  const result =
    record.status === "completed"
      ? Effect.flatMap(decodeResult(use, record, "success", success), (value) => {
          use.output.value = Option.some(value)
          return Effect.as(reached(use, record), value)
        })
      : Effect.flatMap(decodeResult(use, record, "error", causeCodec(error)), (cause) =>
          Effect.zipRight(reached(use, record), failFrom(use, cause))
        )
  return Effect.zipRight(emitted, result)
}

/** Registers the step at once, and waits until its result may be returned. */
const reached = (use: StepUse, record: StepRecord): Effect.Effect<void> => {
  // A pivot that failed has not happened.
  if (!(use.definition.pivot && record.status === "failed" && !record.unsure)) registerUndo(use, record.order)
  markReached(use)
  return Order.awaitReplayTurn(use.execution, use.key, record.lastSeq, use)
}

/** A long result is read from the storage only here. */
const payloadOf = ({ execution }: StepUse, { lastSeq, omitted, payload }: StepRecord) =>
  omitted
    ? whileWorking(execution, Execution.orStop(execution, execution.storage.payload(execution.lease.key, lastSeq)))
    : Effect.succeed(payload)

const decodeResult = <A>(use: StepUse, record: StepRecord, what: "success" | "error", codec: Codec<A>) =>
  Effect.flatMap(payloadOf(use, record), (text) => decodeText(use, text, what, codec))

/** Text that is not JSON is damaged; JSON that does not fit the schema was written by another schema. */
export const decodeText = <A>(use: StepUse, text: string | undefined, what: "success" | "error", codec: Codec<A>) =>
  Effect.catchAll(codec.decode(text), (cause) => {
    if (!ParseResult.isParseError(cause)) return journalError(use, "Decode", what)(cause)
    const { execution, key } = use
    const recorded = `${what} of step "${key}": ${(text ?? "nothing").slice(0, 200)}`
    const found = `another schema: ${cause.message}`
    return Execution.stop(execution, new ReplayMismatch({ run: execution.id, reason: "Shape", recorded, found }))
  })

// ---- a step that was cut short

const Retry = Schema.parseJson(
  Schema.Struct({ next: Schema.Number, error: Schema.Unknown, fault: Schema.optional(FaultRecord) })
)
const decodeRetry = Schema.decodeUnknown(Retry)

/** Fails with the error a question was asked about. */
export const failAsAsked = (use: StepUse, record: StepRecord): Effect.Effect<never, unknown, unknown> =>
  Effect.flatMap(pastFailure(use, record.payload), ({ error }) => Effect.fail(error))

const pastFailure = (
  use: StepUse,
  payload: string | undefined
): Effect.Effect<Pick<PastFailure, "error" | "fault">, unknown, unknown> =>
  Effect.catchAll(
    Effect.flatMap(decodeRetry(payload), ({ error, fault }) =>
      Effect.map(errorCodec(use.definition.error).decode(JSON.stringify(error)), (error) => ({
        error: restoreFault(error, fault),
        fault: fault && faultOf(error, fault)
      }))
    ),
    journalError(use, "Decode", "error")
  )

/** The failures that were already answered with a retry, oldest first, as their own classes. */
export const pastFailures = (
  use: StepUse,
  record: StepRecord
): Effect.Effect<ReadonlyArray<PastFailure>, unknown, unknown> =>
  Effect.forEach(record.past, ({ at, attempt, payload }) =>
    Effect.map(pastFailure(use, payload), (failed) => ({ ...failed, attempt, at }))
  )

/** Waits for the next attempt: sleeps through a brief delay, and parks for a longer one. */
export const sleepUntil = (use: StepUse, next: number): Effect.Effect<void> =>
  Effect.flatMap(use.execution.clock.currentTimeMillis, (now) => {
    const { execution, key, record } = use
    if (isBrief(execution, next - now)) return longSleep(next - now)
    const line = {
      kind: "sleep",
      about: `retry of ${use.definition.name}`,
      until: finiteTime(next),
      startedAt: record?.updatedAt ?? now
    } as const
    const parked = park(execution, `${key}[backoff]`, parkedOf(execution.journal, key, line))
    return Effect.asVoid(whileResting(execution, use.permit, parked))
  })

/** Waits for the rest of a recorded backoff. */
export const resumeBackoff = (use: StepUse, record: StepRecord): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { next } = yield* Effect.catchAll(decodeRetry(record.payload), journalError(use, "Decode", "wait"))
    const delay = Duration.millis(Math.max(0, next - (yield* use.execution.clock.currentTimeMillis)))
    const attempt = record.attempts + 1
    yield* emitStep(use, (source) => ({ _tag: "BackoffResumed", source, attempt, delay }))
    yield* sleepUntil(use, next)
  })

/** Each attempt is counted once, so a person who releases the run allows as many attempts again. */
const isCutShortTooOften = ({ definition }: StepUse, { ambiguous, attempts, past, status }: StepRecord): boolean => {
  if (status !== "started" || ambiguous.includes(attempts)) return false
  // A step of rows is not ambiguous. All of its attempts but the failed ones were cut short.
  const times = definition.kind === "once" ? attempts - past.length : ambiguous.length + 1
  return times % definition.maxCutShort === 0
}

/** Puts the run on hold if the step was cut short too often. */
export const holdIfCutShort = (use: StepUse, record: StepRecord): Effect.Effect<boolean> => {
  if (!isCutShortTooOften(use, record)) return Effect.succeed(false)
  const { execution, key } = use
  return Effect.map(holdCutShort(execution, `step "${key}"`, record.attempts), (hold) => {
    if (hold !== undefined) heed(execution, { ...execution.wanted, hold })
    return hold !== undefined
  })
}

/** Records that an attempt may or may not have happened, and what `onAmbiguous` does about it. */
export const recordAmbiguous = (use: StepUse, record: StepRecord): Effect.Effect<void, StepAmbiguous> =>
  Effect.gen(function* () {
    const { onAmbiguous } = use.definition
    const { attempts, startedAt } = record
    yield* append(use, "StepAmbiguous", attempts, JSON.stringify({ onAmbiguous }))
    yield* emitStep(use, (source) => ({ _tag: "StepAmbiguous", source, attempt: attempts, onAmbiguous }))
    if (onAmbiguous === "rerun" || onAmbiguous === "probe") return
    yield* new StepAmbiguous({ run: use.execution.id, step: use.key, attempt: attempts, startedAt })
  })
