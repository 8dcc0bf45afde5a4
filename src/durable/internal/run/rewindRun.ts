import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Decision from "../../../resilience/Decision.js"
import { RewindRefused } from "../../../resilience/RecoveryError.js"
import * as Storage from "../../../storage/Storage.js"
import { JournalError, type RunError, RunNotFound } from "../../RunError.js"
import { nextEntry } from "../execution/execution.js"
import { valueCodec } from "../journal/codec.js"
import { type Journal, loadJournal } from "../journal/journal.js"
import { encodeRewind } from "../journal/rewindLine.js"
import { describe, obstacle, type Place, placesOf } from "../rewind/points.js"
import { type AnyDefinition, bodyOf, endWithoutOutcome, makeExecution, readJournalOf, rewind } from "./advance.js"
import { leaseHeld, otherWorkflow } from "./execute.js"

const outside = { section: "", transaction: undefined }

/** Where a point lies, looked for from the whole run, or why the run cannot be rewound to it. */
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

/** Acquires the lease of a run, and reopens the run if it has an outcome. */
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
    return yield* Effect.fail(leaseHeld(opened.run))
  })

/** Compensates the steps after a point and removes them from the journal. The next execution resumes there. */
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
        if (run.workflow !== definition.name) return yield* otherWorkflow(run, definition)
        // Checked before the lease is acquired, so that a refused rewind changes nothing.
        const known = yield* restore(journalOf(storage, run))
        const refused = locate(id, known, point)
        if (refused instanceof RewindRefused) return yield* refused
        const input = yield* restore(inputOfRun(definition, run))
        const lease = yield* take(storage, run, known, restore)
        const journal = yield* readJournalOf(storage, lease)
        const execution = yield* makeExecution({ storage, definition, lease }, journal)
        const body = restore(bodyOf(execution, definition, input))
        const ended = (exit: Exit.Exit<unknown, unknown>) => {
          const { stopError } = execution.lifecycle
          return endWithoutOutcome(execution, stopError === undefined ? exit : Effect.fail(stopError), "rewound")
        }
        if (journal.rewinding !== undefined) {
          // A rewind that was cut short comes first; it can move the point.
          const exit = yield* rewind(execution, journal.rewinding, body, restore)
          yield* ended(exit)
          return yield* rewindRun(definition, id, point)
        }
        const place = locate(id, journal, point)
        if (place instanceof RewindRefused) return yield* endWithoutOutcome(execution, place, "RewindRefused")
        const begun = nextEntry(execution, "RewindStarted", "", 0)
        const { after, within } = place
        const line = { begun: begun.seq, after, within, by: "Workflow.rewind", point: place.point, reason: "by hand" }
        const recorded = storage.append(lease, [{ ...begun, payload: encodeRewind(line) }])
        yield* Effect.catchAll(recorded, (error) => endWithoutOutcome(execution, Effect.fail(error), error._tag))
        const exit = yield* rewind(execution, { ...line, at: begun.at }, body, restore)
        return yield* ended(exit)
        // The body is only replayed, so its own failures never surface here.
      }) as Effect.Effect<unknown, RunError | RunNotFound | RewindRefused, unknown>
  )

export const inputOfRun = (definition: AnyDefinition, { id, input }: Storage.Run) =>
  Effect.mapError(
    valueCodec(definition.input).decode(input === "" ? undefined : input),
    (cause) => new JournalError({ reason: "Decode", run: id, record: "input", cause })
  )

/** The decoded input of a stored run. */
export const inputOf = (definition: AnyDefinition, id: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const run = yield* findRun(storage, id)
    if (run.workflow !== definition.name) return yield* otherWorkflow(run, definition)
    return yield* inputOfRun(definition, run)
  })
