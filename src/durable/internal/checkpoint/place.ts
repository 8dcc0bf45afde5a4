import * as Effect from "effect/Effect"
import type { RecordedKind } from "../../../journal/Journal.js"
import { JournalError } from "../../../journal/RunError.js"
import type * as Storage from "../../../storage/Storage.js"
import * as Activity from "../execution/activity.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import { awaitGate } from "../wait/gate.js"
import { isDone } from "./atOnce.js"

/**
 * Where a checkpoint is saved or read: in the body of a run, in one of its steps,
 * or outside of runs. `known` is what an earlier execution recorded at this place.
 */
export interface Body {
  readonly _tag: "Body"
  readonly run: Execution.RunService
  readonly key: string
  readonly known: string | undefined
}

export type Place =
  | Body
  | { readonly _tag: "Step"; readonly run: Execution.RunService; readonly step: string }
  | { readonly _tag: "Outside" }

export const outside: Place = { _tag: "Outside" }

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
    const isNew = known === undefined
    if (isNew && Execution.isReplayOnly(execution, key)) return Replay.park(execution.replay.active, key, false)
    const result = Activity.whileWorking(execution, operation({ _tag: "Body", run, key, known: known?.payload }))
    return restore(isNew ? Effect.zipRight(awaitGate(execution), result) : result)
  })

/** In the body of a run, records the result, and returns the recorded one on a resume. */
export const recorded = <A, E, R>(
  place: Place,
  read: (text: string) => A,
  operation: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (place._tag !== "Body") return operation
  if (place.known !== undefined) return readKnown(place, read, place.known)
  return Effect.tap(operation, (result) => record(place, "CheckpointRead", JSON.stringify(result)))
}

/** Reads what the journal recorded at this place. A line of another form stops the run. */
export const readKnown = <A>({ key, run }: Body, read: (text: string) => A, known: string): Effect.Effect<A> =>
  Effect.catchAll(Effect.try({ try: () => read(known), catch: (cause) => cause }), (cause) =>
    Execution.stop(
      run.execution,
      new JournalError({ reason: "Decode", run: run.id, record: `checkpoint at "${key}"`, cause })
    )
  )

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
  isDone(effect)
    ? effect
    : Effect.catchAll(effect, (error) => {
        const execution = runOf(place)
        if (execution !== undefined) return Execution.stop(execution, error)
        // Outside of runs there is no lease, so none can be lost.
        return error._tag === "LeaseLost" ? Effect.die(error) : Effect.fail(error)
      })

/** The time by the store's clock: another process may have saved the last checkpoint. */
export const timeAt = (place: Place, { now }: Storage.Service): Effect.Effect<number, Storage.StorageError> =>
  runOf(place)?.clock.currentTimeMillis ?? now

/** The step of the snapshots that are saved at a place. */
export const stepOf = (place: Place): string =>
  place._tag === "Body" ? place.key : place._tag === "Step" ? place.step : ""
