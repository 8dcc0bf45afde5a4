import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { isClean, type RollbackResult, rollback } from "../../../transaction/Compensation.js"
import * as live_ from "../execution/execution.js"
import * as Replays from "../execution/replay.js"
import { knownOf } from "../journal/journal.js"
import type { RewindRecord } from "../journal/rewindLine.js"
import { encodeRewind } from "../journal/rewindLine.js"
import { journaled } from "../rollback/journaled.js"
import { keysIn } from "./points.js"

/**
 * Compensates what a rewind passes and marks it as forgotten. The body is only
 * replayed for it, until it has met everything there is to undo.
 */
export const performRewind = (
  live: live_.LiveRun,
  rewind: RewindRecord,
  body: Fiber.RuntimeFiber<unknown, unknown>
): Effect.Effect<RollbackResult> =>
  Effect.gen(function* () {
    const keys = keysIn(live.journal, rewind)
    // What ends from here on ends for the rewind's sake.
    live.rewinding = true
    const replay = Replays.make("", knownOf(live.journal))
    // What lies before the point is answered, and need not be met for the rewind's sake.
    for (const key of [...replay.missing.keys()]) {
      if (!keys.has(key)) replay.missing.set(key, { order: replay.missing.get(key)?.order ?? 0, isNeeded: false })
    }
    live.replays.add(replay)
    yield* Replays.settle(replay, body)
    const scope = { within: rewind.within, only: keys }
    const first = yield* rollback(live.undoLog, scope, journaled(live))
    yield* Fiber.interrupt(body)
    // A finalizer of the body may have met more.
    const failed = new Set(first.failures.map(({ undo }) => undo))
    const left = new Set([...keys].filter((key) => !failed.has(key)))
    const late = yield* rollback(live.undoLog, { within: rewind.within, only: left }, journaled(live))
    const undone: RollbackResult = {
      failures: [...first.failures, ...late.failures],
      remaining: [...new Set([...first.remaining, ...late.remaining, ...Replays.neededOf(replay)])],
      pivot: first.pivot ?? late.pivot
    }
    if (isClean(undone) && live.stopped === undefined) yield* recordEnd(live, rewind)
    return undone
  })

const recordEnd = (live: live_.LiveRun, rewind: RewindRecord): Effect.Effect<void> => {
  const entry = live_.nextEntry(live, "Rewound", "", 0, encodeRewind(rewind))
  const recorded = Effect.catchAll(live.storage.rewind(live.lease, entry, rewind), (error) => live_.stop(live, error))
  return Effect.zipRight(
    recorded,
    live_.emit(live, () => ({ _tag: "RunRewound", source: { run: live.id }, point: rewind.point, by: rewind.by }))
  )
}
