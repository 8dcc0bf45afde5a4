import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { UndoFailure } from "../../RunError.js"
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
  /** What was not tried, since a pivot stands in the way. */
  readonly remaining: ReadonlyArray<string>
  readonly pivot: string | undefined
}

export const isClean = ({ failures, pivot }: Undone): boolean => failures.length === 0 && pivot === undefined

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
      const undos = pending(log, within, only)
      const barrier = undos.findIndex(({ pivot }) => pivot)
      const reachable = barrier === -1 ? undos : undos.slice(0, barrier)
      const failures: Array<UndoFailure> = []
      for (const undo of reachable) {
        const exit = yield* perform(undo, recorder)
        if (Exit.isFailure(exit)) failures.push({ undo: undo.key, cause: exit.cause })
      }
      const remaining = barrier === -1 ? [] : undos.slice(barrier + 1).map(({ key }) => key)
      return { failures, remaining, pivot: undos[barrier]?.key }
    })
  )

const perform = (undo: Undo, recorder: Recorder): Effect.Effect<Exit.Exit<unknown, unknown>> =>
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
