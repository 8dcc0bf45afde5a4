import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { RewindRecord } from "../journal/rewindLine.js"
import { encodeRewind } from "../journal/rewindLine.js"
import * as live_ from "../run/liveRun.js"
import * as Replays from "../run/replays.js"
import { journaled } from "../undo/journaled.js"
import { isClean, rollback, type Undone } from "../undo/rollback.js"
import { keysIn } from "./points.js"

/**
 * Compensates what a rewind passes and marks it as forgotten. The body is only
 * replayed for it, until it has met everything there is to undo.
 */
export const performRewind = (
  live: live_.LiveRun,
  rewind: RewindRecord,
  body: Fiber.RuntimeFiber<unknown, unknown>
): Effect.Effect<Undone> =>
  Effect.gen(function* () {
    const keys = keysIn(live.journal, rewind)
    // What ends from here on ends for the rewind's sake.
    live.rewinding = true
    const replay = Replays.make("", keys)
    live.replays.add(replay)
    yield* Effect.raceFirst(Deferred.await(replay.met), Fiber.await(body))
    const undone = yield* rollback(live.undoLog, { within: rewind.within, only: keys }, journaled(live))
    yield* Fiber.interrupt(body)
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
