import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { pending, type RollbackResult, rollback } from "../../../transaction/Compensation.js"
import * as Replay from "../execution/replay.js"
import { knownKeys } from "../journal/journal.js"
import { journaled } from "./journaled.js"
import { type Reason, type Use, undo } from "./rollbackUse.js"

/** Meets what there is, and leaves it. */
export const met = (use: Use): Effect.Effect<void, never, unknown> =>
  replaying(use, (replay) =>
    Effect.flatMap(Effect.fork(Effect.interruptible(use.inside)), (body) =>
      Effect.ensuring(Effect.interruptible(Replay.awaitReached(replay, body)), Fiber.interrupt(body))
    )
  )

/** Up to the end of the body, or to something that is new. */
export const replayToEnd = (use: Use) =>
  replaying(use, (replay) =>
    // What is raced must be interruptible, or the race waits for its loser.
    Effect.interruptible(Effect.raceFirst(Effect.exit(use.inside), Effect.as(Deferred.await(replay.beyond), undefined)))
  )

/** What an earlier process had begun and this one did not come by, such as the loser of a race. */
export const unmet = ({ execution, section }: Use): ReadonlyArray<string> =>
  knownKeys(execution.journal).flatMap(([key, { isRequired }]) =>
    isRequired && key.startsWith(section) && !execution.rollback.log.has(key) ? [key] : []
  )

/** What was not met yet is met first, in a replay in the order of the journal. */
export const undoAll = (use: Use, reason: Reason): Effect.Effect<RollbackResult, never, unknown> => {
  if (unmet(use).length === 0) return undo(use, reason)
  for (const key of use.execution.keys.uses.keys()) if (key.startsWith(use.section)) use.execution.keys.uses.delete(key)
  return Effect.map(undoMet(use, reason), ({ undone }) => undone)
}

/** Whoever interrupts it does not keep it from being undone: it has failed long ago. */
export const undoMet = (use: Use, reason: Reason) =>
  replaying(use, (replay) =>
    Effect.flatMap(Effect.fork(Effect.interruptible(use.inside)), (body) =>
      Effect.gen(function* () {
        yield* Effect.exit(Effect.interruptible(Replay.awaitReached(replay, body)))
        yield* Replay.yieldTurns(body, () => false)
        const natural = body.unsafePoll() ?? undefined
        const undone = yield* undo(use, reason)
        yield* Fiber.interrupt(body)
        // A finalizer of the body may have met more.
        const late = yield* rollback(
          use.execution.rollback.log,
          { within: use.section, only: untried(use, undone) },
          journaled(use.execution)
        )
        const remaining = [...new Set([...undone.remaining, ...late.remaining, ...Replay.unreached(replay)])]
        const failures = [...undone.failures, ...late.failures]
        return { exit: natural, undone: { failures, remaining, pivot: undone.pivot ?? late.pivot } }
      })
    )
  )

const untried = ({ execution, section }: Use, { failures }: RollbackResult): ReadonlySet<string> => {
  const failed = new Set(failures.map(({ undo }) => undo))
  return new Set(
    pending(execution.rollback.log, section)
      .map(({ key }) => key)
      .filter((key) => !failed.has(key))
  )
}

/** Nothing is begun within the section while this runs. */
const replaying = <A, E, R>(
  { execution, section }: Use,
  body: (replay: Replay.Replay) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const replay = Replay.make(section, knownKeys(execution.journal))
    execution.replay.active.add(replay)
    return Effect.ensuring(
      body(replay),
      Effect.sync(() => execution.replay.active.delete(replay))
    )
  })
