import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { RecordedKind } from "../../../journal/Journal.js"
import type { JournalError } from "../../../journal/RunError.js"
import type * as Storage from "../../../storage/Storage.js"
import type { Info } from "../../Checkpoint.js"
import * as Activity from "../execution/activity.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import { infoOf, type NewSnapshot } from "./info.js"

/**
 * Where a checkpoint is saved or read: in the body of a run, in one of its steps,
 * or outside of runs. `known` is what an earlier execution recorded at this place.
 */
export type Place =
  | {
      readonly _tag: "Body"
      readonly run: Execution.RunService
      readonly key: string
      readonly known: string | undefined
    }
  | { readonly _tag: "Step"; readonly run: Execution.RunService; readonly step: string }
  | { readonly _tag: "Outside" }

const outside: Place = { _tag: "Outside" }

/** Finds the place of the calling fiber. In the body of a run it gets a key of its own. */
export const atPlace = <A, E, R>(
  name: string,
  operation: (place: Place) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const run = Execution.runIn(fiber.currentContext)
    if (run === undefined) return operation(outside)
    const step = FiberTree.stepOf(fiber)
    return step === undefined ? inBody(run, name, operation) : operation({ _tag: "Step", run, step })
  })

/** As `atPlace`, for a read that returns the same on a resume, so that it needs no record. */
export const atPlaceUnrecorded = <A, E, R>(
  operation: (place: Place) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const run = Execution.runIn(fiber.currentContext)
    return operation(run === undefined ? outside : { _tag: "Step", run, step: "" })
  })

const inBody = <A, E, R>(
  run: Execution.RunService,
  name: string,
  operation: (place: Place) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Execution.withKey(run, name, (key, restore) => {
    const { execution } = run
    const known = execution.journal.recorded.get(key)
    return known === undefined && Execution.isReplayOnly(execution, key)
      ? Replay.park(execution.replay.active, key, false)
      : restore(Activity.whileWorking(execution, operation({ _tag: "Body", run, key, known: known?.payload })))
  })

/** In the body of a run, records the result, and returns the recorded one on a resume. */
export const recorded = <A, E, R>(
  place: Place,
  read: (text: string) => A,
  operation: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (place._tag !== "Body") return operation
  if (place.known !== undefined) return Effect.succeed(read(place.known))
  return Effect.tap(operation, (result) => record(place, "CheckpointRead", JSON.stringify(result)))
}

/** Writes a line to the journal, in the body of a run only. */
export const record = (place: Place, kind: RecordedKind, payload: string): Effect.Effect<void> =>
  place._tag === "Body" ? Execution.append(place.run.execution, kind, place.key, 0, payload) : Effect.void

export const runOf = (place: Place): Execution.Execution | undefined =>
  place._tag === "Outside" ? undefined : place.run.execution

/** A failure inside of a run stops the run. Outside of runs the caller gets it. */
export const stopOnFailure = <A>(
  place: Place,
  effect: Effect.Effect<A, Storage.StorageError | Storage.LeaseLost | JournalError>
): Effect.Effect<A, Storage.StorageError | JournalError> =>
  Effect.catchAll(effect, (error) => {
    const execution = runOf(place)
    if (execution !== undefined) return Execution.stop(execution, error)
    // Outside of runs there is no lease, so none can be lost.
    return error._tag === "LeaseLost" ? Effect.die(error) : Effect.fail(error)
  })

/** Saves a snapshot. In the body of a run, its line of the journal is written with it. */
export const saveAt = (
  storage: Storage.Service,
  place: Place,
  snapshot: NewSnapshot
): Effect.Effect<Info, Storage.StorageError | JournalError> => {
  const entry =
    place._tag === "Body" ? Execution.nextEntry(place.run.execution, "CheckpointSaved", place.key, 0) : undefined
  const execution = runOf(place)
  const step = place._tag === "Body" ? place.key : place._tag === "Step" ? place.step : ""
  const full = { ...snapshot, run: execution?.id, step, seq: entry?.seq ?? execution?.lastSeq ?? 0 }
  const toInfo = (key: number) => infoOf({ ...full, key, rewound: false })
  const saved = storage.save(full, {
    lease: execution?.lease,
    entry: entry && ((key) => ({ ...entry, payload: JSON.stringify(toInfo(key)) }))
  })
  // Without `after`, the store always returns a key.
  return Effect.map(stopOnFailure(place, saved), (key) => toInfo(Option.getOrElse(key, () => 0)))
}
