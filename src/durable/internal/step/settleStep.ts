import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Fault from "../../../resilience/Fault.js"
import { machineryOf, type RunError } from "../../RunError.js"
import * as live_ from "../execution/execution.js"
import { causeCodec } from "../journal/codec.js"
import type { AnyEffect } from "./definition.js"
import { append, journalError, sourceOf, type Use } from "./stepUse.js"
import { forgetPivot } from "./undoStep.js"

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
          live_.tryAppend(use.live, [live_.nextEntry(use.live, "StepCompleted", use.key, use.attempt ?? 1, payload)])
        )
      : Effect.void
  return Effect.zipRight(Effect.ignore(recorded), live_.stop(use.live, error))
}

const completed = (use: Use, value: unknown): AnyEffect => {
  use.output.value = Option.some(value)
  return use.committed === true ? told(use, value) : recordValue(use, value)
}

/** It was committed already, together with rows. */
const told = (use: Use, value: unknown): AnyEffect =>
  Effect.as(
    live_.emit(use.live, () => ({ _tag: "StepCompleted", source: sourceOf(use), attempts: use.attempt ?? 1 })),
    value
  )

const recordValue = (use: Use, value: unknown): AnyEffect =>
  Effect.flatMap(
    Effect.catchAll(use.definition.success.encode(value), journalError(use, "Encode", "success")),
    (payload) => {
      const attempts = use.attempt ?? 1
      const recorded = Effect.as(
        rebased(use, () => append(use, "StepCompleted", attempts, payload)),
        value
      )
      return live_.andEmit(use.live, recorded, () => ({ _tag: "StepCompleted", source: sourceOf(use), attempts }))
    }
  )

/** A failure that says nothing about the work, on its way out of the run. */
export class LeftOpen extends Error {
  readonly error: unknown
  constructor(error: unknown) {
    super("the step was refused, and is still open")
    this.name = "LeftOpen"
    this.error = error
  }
}

const failed = (use: Use, cause: Cause.Cause<unknown>): AnyEffect => {
  const machinery = machineryOf(cause)
  const error = Option.getOrUndefined(Cause.failureOption(cause))
  if (use.definition.leavesOpen?.(error) === true) return died(use, Cause.die(new LeftOpen(error)))
  return machinery === undefined ? recordFailure(use, cause) : live_.stop(use.live, machinery)
}

/** What it has written to State follows what others have written meanwhile. */
const rebased = (use: Use, record: () => Effect.Effect<void>): Effect.Effect<void> =>
  use.writes.length === 0
    ? record()
    : Effect.flatMap(Effect.catchAll(use.live.cells.rebase(use.writes), journalError(use, "Encode", "state")), record)

const recordFailure = (use: Use, cause: Cause.Cause<unknown>): AnyEffect =>
  Effect.gen(function* () {
    const codec = causeCodec(use.definition.error)
    const payload = yield* Effect.catchAll(codec.encode(cause), journalError(use, "Encode", "error"))
    const attempts = use.attempt ?? 1
    use.writes.length = 0
    // What may have happened stands in the way like what has.
    if (!use.isUnsure) forgetPivot(use)
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
    use.writes.length = 0
    const payload = yield* Effect.orElseSucceed(causeCodec(Schema.Unknown).encode(cause), () => undefined)
    yield* append(use, "AttemptDied", use.attempt ?? 1, payload)
    return yield* Effect.failCause(cause)
  })
