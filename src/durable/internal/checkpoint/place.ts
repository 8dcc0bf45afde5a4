import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Storage from "../../../storage/Storage.js"
import type { FullSnapshot } from "../../../storage/Storage.js"
import { type JournalError, StepConflict } from "../../RunError.js"
import * as Activity from "../execution/activity.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import type { RecordedKind } from "../journal/journal.js"

/** Where a checkpoint is saved or read: in the body of a run, in one of its steps, or outside. */
export type Place =
  | {
      readonly _tag: "Body"
      readonly run: Execution.RunService
      readonly key: string
      readonly known: string | undefined
    }
  | { readonly _tag: "Step"; readonly run: Execution.RunService; readonly step: string }
  | { readonly _tag: "Outside" }

/**
 * Finds out where it is, and in the body of a run whether an earlier process
 * has been here: then it is told what that one was told.
 */
export const inPlace = <A, E, R>(name: string, use: (place: Place) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const around = Context.getOption(fiber.currentContext, Execution.Run)
    if (Option.isNone(around)) return use(outside)
    const step = FiberTree.stepOf(fiber)
    return step === undefined ? inBody(around.value, name, use) : use({ _tag: "Step", run: around.value, step })
  })

const outside: Place = { _tag: "Outside" }

/** The same for what a resume may ask again, since the answer is the same: nothing is put on record. */
export const beside = <A, E, R>(use: (place: Place) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const around = Context.getOption(fiber.currentContext, Execution.Run)
    return use(Option.isNone(around) ? outside : { _tag: "Step", run: around.value, step: "" })
  })

/** In the body of a run an answer is put on record, and told again when the run is resumed. */
export const recalled = <A, E, R>(
  place: Place,
  read: (text: string) => A,
  ask: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (place._tag !== "Body") return ask
  if (place.known !== undefined) return Effect.succeed(read(place.known))
  return Effect.tap(ask, (answer) => recordIn(place, "CheckpointRead", JSON.stringify(answer)))
}

const inBody = <A, E, R>(
  run: Execution.RunService,
  name: string,
  use: (place: Place) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime((fiber) => {
      const { execution } = run
      if (execution.lifecycle.stopError !== undefined) return Execution.stop(execution, execution.lifecycle.stopError)
      const key = Execution.claimKey(run, name, fiber)
      if (key instanceof StepConflict) return Execution.stop(execution, key)
      const known = execution.journal.recorded.get(key)
      const parks = known === undefined && Execution.isReplayOnly(execution, key)
      const there = parks
        ? Replay.park(execution.replay.active, key, false)
        : restore(Activity.whileWorking(execution, use({ _tag: "Body", run, key, known: known?.payload })))
      return Effect.ensuring(
        there,
        Effect.sync(() => Execution.releaseKey(run, name))
      )
    })
  )

/** The run something belongs to, if it does to one. */
export const runOf = (place: Place): Execution.Execution | undefined =>
  place._tag === "Outside" ? undefined : place.run.execution

/** Inside of a run a storage in trouble stops the run; outside it is the caller's. */
export const orStop = <A>(
  place: Place,
  effect: Effect.Effect<A, Storage.StorageError | Storage.LeaseLost | JournalError>
): Effect.Effect<A, Storage.StorageError | JournalError> =>
  Effect.catchAll(effect, (error) => {
    const execution = runOf(place)
    if (execution !== undefined) return Execution.stop(execution, error)
    // Without a run there is no lease to lose.
    return error._tag === "LeaseLost" ? Effect.die(error) : Effect.fail(error)
  })

/** Saves a snapshot, in the body of a run together with its line of the journal. */
export const saveIn = (
  storage: Storage.Service,
  place: Place,
  snapshot: Omit<FullSnapshot, "key" | "rewound" | "run" | "step" | "seq">,
  payload: (key: number) => string
): Effect.Effect<number, Storage.StorageError | JournalError> => {
  const saved = (more: Pick<FullSnapshot, "run" | "step" | "seq">, options: Storage.SaveOptions) =>
    Effect.map(
      orStop(place, storage.save({ ...snapshot, ...more }, options)),
      // Nothing was expected to be there before, so nothing refuses it.
      (key) => Option.getOrElse(key, () => 0)
    )
  if (place._tag === "Outside") return saved({ run: undefined, step: "", seq: 0 }, {})
  const { execution } = place.run
  const run = execution.id
  if (place._tag === "Step") return saved({ run, step: place.step, seq: execution.lastSeq }, { lease: execution.lease })
  const entry = Execution.nextEntry(execution, "CheckpointSaved", place.key, 0)
  return saved(
    { run, step: place.key, seq: entry.seq },
    { lease: execution.lease, entry: (key) => ({ ...entry, payload: payload(key) }) }
  )
}

/** Puts what the body was told on record, so that it is told the same again. */
export const recordIn = (place: Place, kind: RecordedKind, payload: string): Effect.Effect<void> =>
  place._tag === "Body" ? Execution.append(place.run.execution, kind, place.key, 0, payload) : Effect.void
