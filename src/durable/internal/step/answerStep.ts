import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import { ReplayMismatch } from "../../RunError.js"
import { inOrder } from "../execution/answerQueue.js"
import * as live_ from "../execution/execution.js"
import * as Replays from "../execution/replay.js"
import { waitsForOthers } from "../execution/replayOrder.js"
import { causeCodec } from "../journal/codec.js"
import type { StepRecord } from "../journal/journal.js"
import * as Waits from "../wait/waits.js"
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
    Effect.flatMap(payloadOf(use, record), (text) =>
      Effect.catchAll(use.definition.success.decode(text), unfit(use, "success", text))
    ),
    (value) => {
      use.output.value = Option.some(value)
      known(use, record)
      return Effect.as(inTurn(use, record), value)
    }
  )

/** Known at once; told when it is its turn. */
const inTurn = ({ isInterruptible, key, live, root }: Use, { lastSeq }: StepRecord): Effect.Effect<void> => {
  if (live.replays.size > 0) return Replays.inTurn(live.replays, key, lastSeq)
  return waitsForOthers(live, root, lastSeq) ? inOrder(live.inOrder, lastSeq, isInterruptible) : Effect.void
}

/** Long results are in the storage until they are told. */
const payloadOf = ({ live }: Use, { lastSeq, omitted, payload }: StepRecord): Effect.Effect<string | undefined> =>
  omitted
    ? Waits.working(
        live,
        Effect.catchAll(live.storage.payload(live.lease.key, lastSeq), (error) => live_.stop(live, error))
      )
    : Effect.succeed(payload)

/** What is no JSON is damaged; what does not fit the schema was written by another one. */
const unfit = (use: Use, what: "success" | "error", text: string | undefined) => (cause: unknown) =>
  ParseResult.isParseError(cause)
    ? live_.stop(
        use.live,
        new ReplayMismatch({
          run: use.live.id,
          reason: "Shape",
          recorded: `${what} of step "${use.key}": ${(text ?? "nothing").slice(0, 200)}`,
          found: `another schema: ${cause.message}`
        })
      )
    : journalError(use, "Decode", what)(cause)

const answerCause = (use: Use, record: StepRecord): AnyEffect =>
  Effect.flatMap(
    Effect.flatMap(payloadOf(use, record), (text) =>
      Effect.catchAll(causeCodec(use.definition.error).decode(text), unfit(use, "error", text))
    ),
    (cause) => {
      known(use, record)
      return Effect.zipRight(inTurn(use, record), Effect.failCause(cause))
    }
  )

const known = (use: Use, record: StepRecord): void => {
  // A pivot that failed has not happened.
  if (!(use.definition.pivot && record.status === "failed" && !record.unsure)) registerUndo(use, record.order)
  use.live.cells.meet(use.key)
  Replays.meet(use.live.replays, use.key)
}
