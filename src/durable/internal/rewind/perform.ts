import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { encodeRewind, type RewindRecord } from "../../../journal/JournalLine.js"
import { isClean, type RollbackResult, rollback } from "../../../transaction/Compensation.js"
import { cancelDropped } from "../child/dropped.js"
import * as Execution from "../execution/execution.js"
import * as Replay from "../execution/replay.js"
import { journalRecorder } from "../rollback/compensations.js"
import { keysIn } from "./points.js"

/**
 * Compensates the steps after the point of a rewind and removes them from the
 * journal. The body is replayed until every compensation is registered again.
 */
export const performRewind = (
  execution: Execution.Execution,
  rewind: RewindRecord,
  body: Fiber.RuntimeFiber<unknown, unknown>
): Effect.Effect<RollbackResult> =>
  Effect.gen(function* () {
    const keys = keysIn(execution.journal, rewind)
    execution.lifecycle.transition({ _tag: "Rewind" })
    const replay = Replay.make("", execution.journal)
    // Steps before the point keep their results, so the replay need not reach them.
    for (const key of [...replay.missing.keys()]) {
      if (!keys.has(key)) replay.missing.set(key, { order: replay.missing.get(key)?.order ?? 0, isRequired: false })
    }
    execution.replay.active.add(replay)
    yield* Replay.awaitReached(replay, body)
    const { within } = rewind
    const compensate = (only: ReadonlySet<string>) =>
      rollback(execution.rollback.log, { within, only }, journalRecorder(execution))
    const first = yield* compensate(keys)
    yield* Fiber.interrupt(body)
    // A finalizer of the body may have registered more compensations.
    const failed = new Set(first.failures.map(({ undo }) => undo))
    const left = new Set([...keys].filter((key) => !failed.has(key)))
    const late = yield* compensate(left)
    const undone: RollbackResult = {
      failures: [...first.failures, ...late.failures],
      remaining: [...new Set([...first.remaining, ...late.remaining, ...Replay.unreached(replay)])],
      pivot: first.pivot ?? late.pivot
    }
    if (isClean(undone) && execution.lifecycle.stopError === undefined) {
      yield* cancelDropped(execution, rewind)
      yield* recordEnd(execution, rewind)
    }
    return undone
  })

const recordEnd = (execution: Execution.Execution, rewind: RewindRecord): Effect.Effect<void> => {
  const entry = Execution.nextEntry(execution, "Rewound", "", 0, encodeRewind(rewind))
  const recorded = Execution.orStop(execution, execution.storage.rewind(execution.lease, entry, rewind))
  return Effect.zipRight(
    recorded,
    Execution.emit(execution, (source) => ({ _tag: "RunRewound", source, point: rewind.point, by: rewind.by }))
  )
}
