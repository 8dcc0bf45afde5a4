import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Decision from "../../../resilience/Decision.js"
import type { RewinderService, RewindRequest } from "../../../resilience/internal/kernel/runServices.js"
import { RewindRefused } from "../../../resilience/RecoveryError.js"
import { isWhole } from "../checkpoint/whole.js"
import * as live_ from "../execution/execution.js"
import * as Branch from "../execution/fiberTree.js"
import * as Replays from "../execution/replay.js"
import { type Journal, loadJournal } from "../journal/journal.js"
import { encodeRewind } from "../journal/rewindLine.js"
import { describe, obstacle, type Place, placesOf } from "./points.js"

/** What strategies rewind: this run. */
export const makeRewinder = (live: live_.LiveRun): RewinderService => ({
  plan: <R>(request: RewindRequest<R>) =>
    Effect.withFiberRuntime<Decision.Decision<never, RewindRefused>, never, R>((fiber) => {
      if (live_.isEnding(live)) return Replays.never
      const run = Context.get(fiber.currentContext as Context.Context<live_.Run>, live_.Run)
      const by = `${request.strategy} to ${describe(request.point)} of ${Branch.stepOf(fiber) ?? (run.section === "" ? "the run" : run.section)}`
      return Effect.gen(function* () {
        const journal = yield* current(live)
        const made = journal.rewinds.filter((rewind) => rewind.by === by).length
        if (made >= request.times) return Decision.exhausted
        const found = yield* find(live, journal, request, run)
        if (found instanceof RewindRefused) return Decision.instead(Effect.fail(found))
        return { _tag: "Rewind" as const, begin: begin(live, found, by, request.reason) }
      })
    })
})

/** The journal as it stands now, with what this execution has written. */
const current = (live: live_.LiveRun): Effect.Effect<Journal> =>
  Effect.catchAll(loadJournal(live.storage, { id: live.id, key: live.lease.key }), (error) => live_.stop(live, error))

const find = <R>(
  live: live_.LiveRun,
  journal: Journal,
  { accepts = (id) => isWhole(live.storage, id), point }: RewindRequest<R>,
  run: live_.RunService
): Effect.Effect<Place | RewindRefused, never, R> =>
  Effect.gen(function* () {
    const refused = (reason: RewindRefused["reason"], detail: string, where = describe(point)) =>
      new RewindRefused({ run: live.id, point: where, reason, detail })
    const places = placesOf(journal, point, run)
    if (places.length === 0) return refused("Unknown", "")
    const mustBeValid = point._tag === "Checkpoint" && point.valid === true
    for (const place of places) {
      if (mustBeValid && place.checkpoint !== undefined && !(yield* accepts(place.checkpoint))) continue
      const inTheWay = obstacle(journal, place)
      return inTheWay === undefined ? place : refused(inTheWay.reason, inTheWay.detail, place.point)
    }
    return refused("Invalid", `None of ${places.length} checkpoints is valid; Checkpoint.validate says why.`)
  })

/** Puts the rewind on record and leaves the body; `execute` does the rest. */
const begin = (
  live: live_.LiveRun,
  { after, point, within }: Place,
  by: string,
  reason: string
): Effect.Effect<never> =>
  Effect.uninterruptible(
    Effect.suspend(() => {
      // Another one was quicker: this fiber ends with the body.
      if (live_.isEnding(live)) return Effect.void
      live.rewinding = true
      const entry = live_.nextEntry(live, "RewindStarted", "", 0)
      const payload = encodeRewind({ begun: entry.seq, after, within, by, point, reason })
      return Effect.map(live_.appendAll(live, [{ ...entry, payload }]), () => live.halt())
    })
  ).pipe(Effect.zipRight(Replays.never))
