import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { PastFailure } from "../../../react/internal/recovery/perform.js"
import { StepAmbiguous } from "../../RunError.js"
import { errorCodec } from "../journal/codec.js"
import type { StepRecord } from "../journal/journal.js"
import * as live_ from "../run/liveRun.js"
import { append, journalError, sourceOf, type Use } from "./stepUse.js"

const Wait = Schema.parseJson(Schema.Struct({ next: Schema.Number, error: Schema.Unknown }))
const decodeWait = Schema.decodeUnknown(Wait)

/** The next attempt was due at a moment, and that moment still stands. */
export const goOnWaiting = (use: Use, record: StepRecord): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { next } = yield* Effect.catchAll(decodeWait(record.payload), journalError(use, "Decode", "wait"))
    const delay = Duration.millis(Math.max(0, next - (yield* Clock.currentTimeMillis)))
    const attempt = record.attempts + 1
    yield* live_.emit(use.live, () => ({ _tag: "BackoffResumed", source: sourceOf(use), attempt, delay }))
    yield* Effect.sleep(delay)
  })

/** Started and nothing more: nobody knows whether it happened. The record shows what was done about it. */
export const afterAmbiguous = (use: Use, record: StepRecord): Effect.Effect<void, StepAmbiguous> =>
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
