import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { PastFailure } from "../../../resilience/internal/kernel/recovery.js"
import { longSleep } from "../../../resilience/internal/kernel/timer.js"
import { StepAmbiguous } from "../../RunError.js"
import * as live_ from "../execution/execution.js"
import { errorCodec } from "../journal/codec.js"
import type { StepRecord } from "../journal/journal.js"
import { atMost, parkedOf } from "../wait/wait.js"
import * as Waits from "../wait/waits.js"
import { append, journalError, sourceOf, type Use } from "./stepUse.js"

const Wait = Schema.parseJson(Schema.Struct({ next: Schema.Number, error: Schema.Unknown }))
const decodeWait = Schema.decodeUnknown(Wait)

/** The failure somebody was asked about, or is. */
export const failedBefore = (use: Use, record: StepRecord): Effect.Effect<never, unknown, unknown> => {
  const error = Effect.flatMap(decodeWait(record.payload), (line) =>
    errorCodec(use.definition.error).decode(JSON.stringify(line.error))
  )
  return Effect.flatMap(Effect.catchAll(error, journalError(use, "Decode", "error")), Effect.fail)
}

/** For long enough to leave the process for it, the run waits, and not this fiber. */
export const restUntil = (use: Use, next: number): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const { key, live, record } = use
    if (next - now <= live.how.patience) return longSleep(next - now)
    const waiting = {
      kind: "sleep",
      about: `retry of ${use.definition.name}`,
      until: atMost(next),
      startedAt: record?.updatedAt ?? now
    } as const
    return Effect.asVoid(Waits.resting(live, use.permit, Waits.park(live, `${key}!`, parkedOf(live, key, waiting))))
  })

/** The next attempt was due at a moment, and that moment still stands. */
export const goOnWaiting = (use: Use, record: StepRecord): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { next } = yield* Effect.catchAll(decodeWait(record.payload), journalError(use, "Decode", "wait"))
    const delay = Duration.millis(Math.max(0, next - (yield* Clock.currentTimeMillis)))
    const attempt = record.attempts + 1
    yield* live_.emit(use.live, () => ({ _tag: "BackoffResumed", source: sourceOf(use), attempt, delay }))
    yield* restUntil(use, next)
  })

/** Started and nothing more: nobody knows whether it happened. The record shows what was done about it. */
export const afterAmbiguous = (use: Use, record: StepRecord): Effect.Effect<void, StepAmbiguous> =>
  Effect.gen(function* () {
    const { onAmbiguous } = use.definition
    yield* append(use, "StepAmbiguous", record.attempts, JSON.stringify({ onAmbiguous }))
    yield* live_.emit(use.live, () => ({
      _tag: "StepAmbiguous",
      source: sourceOf(use),
      attempt: record.attempts,
      onAmbiguous
    }))
    if (onAmbiguous === "rerun" || onAmbiguous === "probe") return
    const { attempts, startedAt } = record
    yield* new StepAmbiguous({ run: use.live.id, step: use.key, attempt: attempts, startedAt })
  })

/** The failures this recovery has already answered, as their own classes. */
export const pastOf = (use: Use, record: StepRecord): Effect.Effect<ReadonlyArray<PastFailure>, unknown, unknown> =>
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
