import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type { UndoFailure } from "../RollbackFailed.js"
import { withSettings } from "./settings.js"
import { pending, type Undo, type UndoLog } from "./undoLog.js"

/** Where each compensation is put on record; without storage, nowhere. */
export interface Recorder {
  readonly started: (undo: Undo) => Effect.Effect<void>
  readonly completed: (undo: Undo) => Effect.Effect<void>
  readonly failed: (undo: Undo, cause: Cause.Cause<unknown>) => Effect.Effect<void>
}

export const noRecorder: Recorder = {
  started: () => Effect.void,
  completed: () => Effect.void,
  failed: () => Effect.void
}

/** What a rollback came to. */
export interface Undone {
  readonly failures: ReadonlyArray<UndoFailure>
  /** What was not tried: a pivot stands in the way, or the program did not come by it again. */
  readonly remaining: ReadonlyArray<string>
  readonly pivot: string | undefined
}

export const isClean = ({ failures, pivot, remaining }: Undone): boolean =>
  failures.length === 0 && pivot === undefined && remaining.length === 0

export interface Scope {
  readonly within: string
  /** Of these keys alone. */
  readonly only?: ReadonlySet<string> | undefined
}

/**
 * Runs the compensations of a scope, last registered first, where nothing can
 * interrupt. One that fails does not stop the others; a pivot does.
 */
export const rollback = (log: UndoLog, { only, within }: Scope, recorder: Recorder): Effect.Effect<Undone> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const failures: Array<UndoFailure> = []
      const tried = new Set<string>()
      for (;;) {
        // Read anew each time: a fiber that was not waited for may have done something more meanwhile.
        const undos = pending(log, within, only).filter(({ key }) => !tried.has(key))
        const undo = undos[0]
        if (undo === undefined) return { failures, remaining: [], pivot: undefined }
        if (undo.pivot) return { failures, remaining: undos.slice(1).map(({ key }) => key), pivot: undo.key }
        tried.add(undo.key)
        const exit = yield* perform(undo, recorder)
        if (Exit.isFailure(exit)) failures.push({ undo: undo.key, cause: exit.cause })
      }
    })
  )

/** Once, however many rollbacks want it at the same time. */
const perform = (undo: Undo, recorder: Recorder): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.suspend(() => {
    if (undo.running !== undefined) return Deferred.await(undo.running)
    const running = Deferred.unsafeMake<Exit.Exit<unknown, unknown>>(FiberId.none)
    undo.running = running
    return Effect.onExit(performAlone(undo, recorder), (exit) =>
      Effect.suspend(() => {
        undo.running = undefined
        return Deferred.done(running, exit)
      })
    )
  })

const performAlone = (undo: Undo, recorder: Recorder): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.gen(function* () {
    undo.attempts++
    yield* recorder.started(undo)
    const exit = yield* alone(undo)
    if (Exit.isSuccess(exit)) {
      yield* recorder.completed(undo)
      undo.done = true
    } else {
      yield* recorder.failed(undo, exit.cause)
    }
    return exit
  })

/** In a fiber nobody else can interrupt, so that its timeout can, and what it does to itself harms nobody. */
const alone = (undo: Undo): Effect.Effect<Exit.Exit<unknown, unknown>> => {
  let first = true
  const attempt = Effect.suspend(() => {
    if (!first) undo.attempts++
    first = false
    return undo.run(undo.attempts)
  })
  return Effect.flatMap(Effect.forkDaemon(Effect.interruptible(withSettings(attempt, undo.settings))), (fiber) =>
    Fiber.await(fiber)
  )
}
