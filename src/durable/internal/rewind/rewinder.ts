import * as Effect from "effect/Effect"
import { type Journal, loadJournal } from "../../../journal/Journal.js"
import { encodeRewind } from "../../../journal/JournalLine.js"
import * as Decision from "../../../resilience/Decision.js"
import type { RewinderService, RewindRequest } from "../../../resilience/internal/kernel/runServices.js"
import { RewindRefused } from "../../../resilience/RecoveryError.js"
import { isIntact } from "../checkpoint/stateCodec.js"
import { never } from "../execution/bodyFibers.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import { checkPlace, describe, type Place, placesOf } from "./points.js"

/** Plans the rewinds of a run's strategies. */
export const makeRewinder = (execution: Execution.Execution): RewinderService => ({
  plan: <R>(request: RewindRequest<R>) =>
    Effect.withFiberRuntime<Decision.Decision<never, RewindRefused>, never, R>((fiber) => {
      if (execution.lifecycle.isEnding) return never
      if (execution.lifecycle.isCancelling) return Effect.interrupt
      const run = Execution.runOf(fiber.currentContext)
      const by = `${request.strategy} to ${describe(request.point)} of ${FiberTree.stepOf(fiber) ?? (run.section === "" ? "the run" : run.section)}`
      return Effect.gen(function* () {
        const journal = yield* current(execution)
        const made = journal.rewinds.filter((rewind) => rewind.by === by).length
        if (made >= request.times) return Decision.exhausted
        const found = yield* find(execution, journal, request, run)
        if (found instanceof RewindRefused) return Decision.instead(Effect.fail(found))
        return { _tag: "Rewind" as const, begin: beginRewind(execution, found, by, request.reason) }
      })
    })
})

/** The journal as it is now, with the lines of this execution. */
const current = (execution: Execution.Execution): Effect.Effect<Journal> =>
  Execution.orStop(execution, loadJournal(execution.storage, { id: execution.id, key: execution.lease.key }))

/** The best place that fits; a checkpoint that must be valid is checked first. */
const find = <R>(
  { id, storage }: Execution.Execution,
  journal: Journal,
  { accepts = (checkpoint) => isIntact(storage, checkpoint), point }: RewindRequest<R>,
  run: Execution.RunService
): Effect.Effect<Place | RewindRefused, never, R> =>
  Effect.gen(function* () {
    const places = placesOf(journal, point, run)
    const mustBeValid = point._tag === "Checkpoint" && point.valid === true
    if (!mustBeValid || places.length === 0) return checkPlace(id, journal, point, places[0])
    for (const place of places) {
      if (place.checkpoint === undefined || (yield* accepts(place.checkpoint))) {
        return checkPlace(id, journal, point, place)
      }
    }
    const detail = `None of ${places.length} checkpoints is valid; Checkpoint.validate says why.`
    return new RewindRefused({ run: id, point: describe(point), reason: "Invalid", detail })
  })

/** Records the rewind and ends the body. The next pass over the body carries the rewind out. */
export const beginRewind = (
  execution: Execution.Execution,
  { after, point, within }: Omit<Place, "checkpoint">,
  by: string,
  reason: string
): Effect.Effect<never> =>
  Effect.uninterruptible(
    Effect.suspend(() => {
      const { lifecycle } = execution
      // Another fiber began a rewind before; this fiber ends with the body.
      if (lifecycle.isEnding) return Effect.void
      lifecycle.transition({ _tag: "Rewind" })
      const entry = Execution.nextEntry(execution, "RewindStarted", "", 0)
      const payload = encodeRewind({ begun: entry.seq, after, within, by, point, reason })
      return Effect.map(Execution.appendAll(execution, [{ ...entry, payload }]), () => lifecycle.interruptBody())
    })
  ).pipe(Effect.zipRight(never))
