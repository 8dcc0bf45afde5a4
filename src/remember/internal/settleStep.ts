import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Fault from "../../react/Fault.js"
import type { RunError } from "../RunError.js"
import { causeCodec } from "./codec.js"
import type { AnyEffect } from "./definition.js"
import * as live_ from "./liveRun.js"
import { append, journalError, sourceOf, type Use } from "./stepUse.js"

/** What a step came to, on record before the program sees it. */
export const settle = (use: Use, exit: Exit.Exit<unknown, unknown>): AnyEffect => {
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
    if (use.live.watch.isOn()) {
      const fault = yield* Fault.classify(cause)
      yield* live_.emit(use.live, () => ({ _tag: "StepFailed", source: sourceOf(use), attempts, fault }))
    }
    return yield* Effect.failCause(cause)
  })

/** A defect is a bug: it is on record, and the step stays open until the program is mended. */
const died = (use: Use, cause: Cause.Cause<unknown>): AnyEffect =>
  Effect.gen(function* () {
    use.live.diedIn = use.key
    const payload = yield* Effect.orElseSucceed(causeCodec(Schema.Unknown).encode(cause), () => undefined)
    yield* append(use, "AttemptDied", use.attempt ?? 1, payload)
    return yield* Effect.failCause(cause)
  })
