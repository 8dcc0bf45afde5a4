import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Decision from "../../../resilience/Decision.js"
import { RewindRefused } from "../../../resilience/RecoveryError.js"
import * as Storage from "../../../storage/Storage.js"
import { JournalError, type RunError, RunMismatch, RunNotFound } from "../../RunError.js"
import { nextEntry } from "../execution/execution.js"
import { valueCodec } from "../journal/codec.js"
import { type Journal, loadJournal } from "../journal/journal.js"
import { encodeRewind } from "../journal/rewindLine.js"
import { type AnyDefinition, bodyOf, held, makeLive, readSteps, rewind, stopped } from "../run/execute.js"
import { describe, obstacle, type Place, placesOf } from "./points.js"

const outside = { section: "", transaction: undefined }

/** Where a point is, as seen from outside, or why the run cannot be rewound to it. */
export const locate = (run: string, journal: Journal, point: Decision.Point): Place | RewindRefused => {
  const refused = (reason: RewindRefused["reason"], detail: string, where = describe(point)) =>
    new RewindRefused({ run, point: where, reason, detail })
  const [place] = placesOf(journal, point, outside)
  if (place === undefined) return refused("Unknown", "")
  const inTheWay = obstacle(journal, place)
  return inTheWay === undefined ? place : refused(inTheWay.reason, inTheWay.detail, place.point)
}

export const findRun = (storage: Storage.Service, id: string) =>
  Effect.flatMap(storage.find(id), (found) =>
    Option.isNone(found) ? Effect.fail(new RunNotFound({ run: id })) : Effect.succeed(found.value)
  )

export const journalOf = (storage: Storage.Service, run: Storage.Run): Effect.Effect<Journal, RunError> =>
  loadJournal(storage, run)

/** Takes the run, whether it has an outcome or not. */
const take = (storage: Storage.Service, run: Storage.Run, journal: Journal, restore: Storage.Restore) =>
  Effect.gen(function* () {
    if (run.outcome !== undefined) {
      const payload = JSON.stringify(run.outcome)
      const at = yield* storage.now
      const entry = { seq: journal.lastSeq + 1, kind: "RunReopened", step: "", attempt: 0, at, payload }
      const lease = yield* storage.reopen(run, entry, restore)
      if (Option.isSome(lease)) return lease.value
    }
    const { id, input, labels, version, workflow } = run
    const opened = yield* storage.open({ id, input, labels, version, workflow }, restore)
    if (opened._tag === "Created" || opened._tag === "Claimed") return opened.lease
    return yield* Effect.fail(held(opened.run))
  })

/** Compensates and forgets what lies after a point. The run is left there; executing it goes on. */
export const rewindRun = (
  definition: AnyDefinition,
  id: string,
  point: Decision.Point
): Effect.Effect<unknown, RunError | RunNotFound | RewindRefused, unknown> =>
  Effect.uninterruptibleMask(
    (restore) =>
      Effect.gen(function* () {
        const storage = yield* Storage.Storage
        const run = yield* restore(findRun(storage, id))
        if (run.workflow !== definition.name) {
          return yield* new RunMismatch({ run: id, field: "workflow", recorded: run.workflow, given: definition.name })
        }
        // Looked at first, so that a rewind that is refused changes nothing.
        const known = yield* restore(journalOf(storage, run))
        const refused = locate(id, known, point)
        if (refused instanceof RewindRefused) return yield* refused
        const input = yield* restore(inputOfRun(definition, run))
        const lease = yield* take(storage, run, known, restore)
        const journal = yield* readSteps(storage, lease)
        const live = yield* makeLive(storage, definition, id, lease, journal)
        const body = restore(bodyOf(live, definition, input))
        if (journal.rewinding !== undefined) {
          // One that was cut short comes first; where the point is then, it says.
          const exit = yield* rewind(live, journal.rewinding, body, restore)
          yield* stopped(live, live.stopped === undefined ? exit : Effect.fail(live.stopped), "rewound")
          return yield* rewindRun(definition, id, point)
        }
        const place = locate(id, journal, point)
        if (place instanceof RewindRefused) return yield* stopped(live, place, "RewindRefused")
        const begun = nextEntry(live, "RewindStarted", "", 0)
        const { after, within } = place
        const line = { begun: begun.seq, after, within, by: "Workflow.rewind", point: place.point, reason: "by hand" }
        const recorded = storage.append(lease, [{ ...begun, payload: encodeRewind(line) }])
        yield* Effect.catchAll(recorded, (error) => stopped(live, Effect.fail(error), error._tag))
        const exit = yield* rewind(live, { ...line, at: begun.at }, body, restore)
        return yield* stopped(live, live.stopped === undefined ? exit : Effect.fail(live.stopped), "rewound")
        // The body's own failures never surface here: it is only replayed.
      }) as Effect.Effect<unknown, RunError | RunNotFound | RewindRefused, unknown>
  )

export const inputOfRun = (definition: AnyDefinition, { id, input }: Storage.Run) =>
  Effect.mapError(
    valueCodec(definition.input).decode(input === "" ? undefined : input),
    (cause) => new JournalError({ reason: "Decode", run: id, record: "input", cause })
  )

/** The input of a run, as its workflow takes it. */
export const inputOf = (definition: AnyDefinition, id: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const run = yield* findRun(storage, id)
    if (run.workflow !== definition.name) {
      return yield* new RunMismatch({ run: id, field: "workflow", recorded: run.workflow, given: definition.name })
    }
    return yield* inputOfRun(definition, run)
  })
