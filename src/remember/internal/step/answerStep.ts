import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { causeCodec } from "../journal/codec.js"
import type { StepRecord } from "../journal/journal.js"
import * as live_ from "../run/liveRun.js"
import * as Replays from "../run/replays.js"
import type { AnyEffect } from "./definition.js"
import { journalError, sourceOf, type Use } from "./stepUse.js"
import { registerUndo } from "./undoStep.js"

export const isAnswered = (record: StepRecord | undefined): record is StepRecord =>
  record?.status === "completed" || record?.status === "failed"

/** The result is in the journal: it is told again, and what it did can be undone again. */
export const answer = (use: Use, record: StepRecord): AnyEffect =>
  Effect.zipRight(
    live_.emit(use.live, () => ({ _tag: "StepAnswered", source: sourceOf(use), attempts: record.attempts })),
    record.status === "completed" ? answerValue(use, record) : answerCause(use, record)
  )

const answerValue = (use: Use, record: StepRecord): AnyEffect =>
  Effect.flatMap(
    Effect.catchAll(use.definition.success.decode(record.payload), journalError(use, "Decode", "success")),
    (value) => {
      use.output.value = Option.some(value)
      known(use, record)
      return Effect.as(inTurn(use, record), value)
    }
  )

/** Known at once; told when it is its turn. */
const inTurn = ({ key, live }: Use, { lastSeq }: StepRecord): Effect.Effect<void> =>
  live.replays.size === 0 ? Effect.void : Replays.inTurn(live.replays, key, lastSeq)

const answerCause = (use: Use, record: StepRecord): AnyEffect =>
  Effect.flatMap(
    Effect.catchAll(causeCodec(use.definition.error).decode(record.payload), journalError(use, "Decode", "error")),
    (cause) => {
      known(use, record)
      return Effect.zipRight(inTurn(use, record), Effect.failCause(cause))
    }
  )

const known = (use: Use, record: StepRecord): void => {
  // A pivot that failed has not happened.
  if (!(use.definition.pivot && record.status === "failed")) registerUndo(use, record.order)
  use.live.cells.meet(use.key)
  Replays.meet(use.live.replays, use.key)
}
