import * as Effect from "effect/Effect"
import * as RuntimeFlags from "effect/RuntimeFlags"
import { type Journal, loadJournal } from "../../../journal/Journal.js"
import { encodeCanonical } from "../../../journal/JournalCodec.js"
import type { JournalError, RunError } from "../../../journal/RunError.js"
import { never } from "../execution/bodyFibers.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Order from "../execution/replayOrder.js"
import { hasOpenTransactions } from "../rollback/scopedTransaction.js"
import { awaitGate } from "../wait/gate.js"
import type { AnyDefinition } from "./advance.js"

/** Ends the body. The next generation of the run begins with this input. */
export const continueRun = (
  execution: Execution.Execution,
  { input: schema }: Pick<AnyDefinition, "input">,
  next: unknown
): Effect.Effect<never, never, Execution.Run> =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
    Effect.flatMap(Execution.currentRun, (run) => {
      const { activity, lifecycle, mode } = execution
      const refused = Execution.refusal(run, fiber, RuntimeFlags.interruptible(runtimeFlags))
      if (refused !== undefined) return refused
      const isAmidWork =
        FiberTree.stepOf(fiber) !== undefined ||
        run.transaction !== undefined ||
        hasOpenTransactions(execution) ||
        !Order.isRoot(fiber, runtimeFlags, execution)
      if (isAmidWork) return Effect.die(new ContinuedAmidWork(execution.id))
      // Only the journal of a generation that has not ended is replayed.
      if (mode.isReplay || lifecycle.isEnding) return never
      // What the schema needs is in the type of the workflow.
      const encoded = Effect.mapError(encodeCanonical(schema, next), (cause) =>
        Execution.encodeFailed(execution, "input", cause)
      ) as Effect.Effect<string, JournalError>
      const end = Effect.flatMap(Execution.orStop(execution, encoded), (text) =>
        Effect.suspend(() => {
          execution.continuation = text
          lifecycle.transition({ _tag: "Rewind" })
          lifecycle.interruptBody()
          return never
        })
      )
      // Fibers that have just ended may still be known.
      const alone = Effect.repeat(Effect.yieldNow(), { until: () => activity.fibers.isAlone, times: 200 })
      const orRefused = Effect.suspend(() =>
        activity.fibers.isAlone ? Effect.uninterruptible(end) : Effect.die(new ContinuedAmidWork(execution.id))
      )
      return Effect.zipRight(Effect.zipRight(awaitGate(execution), alone), orRefused)
    })
  )

class ContinuedAmidWork extends Error {
  constructor(run: string) {
    super(
      `run "${run}" cannot continue as another generation here: call continueAs in the body itself, outside of steps, transactions and finalizers, after every fiber that the body has forked`
    )
    this.name = "ContinuedAmidWork"
  }
}

/** Begins the next generation in one commit. */
export const beginGeneration = (execution: Execution.Execution, input: string): Effect.Effect<Journal, RunError> =>
  Effect.gen(function* () {
    const { generation, id, lease, storage } = execution
    const { waits } = yield* loadJournal(storage, { id, key: lease.key })
    // A wait whose time was over has heard none: a signal that came after that is for the next generation.
    const heard = new Set(
      [...waits.values()].flatMap(({ end, signal }) => (end?.payload === undefined ? [] : [signal]))
    )
    const signals = yield* storage.signals(lease.key)
    // No question is open any more. A signal that the program has not waited for goes over.
    const read = signals.flatMap(({ key }) => (heard.has(key) || !key.startsWith("@") ? [key] : []))
    const payload = JSON.stringify({ generation: generation + 1 })
    const entry = Execution.nextEntry(execution, "RunContinued", "", 0, payload)
    yield* storage.continueAs(lease, { input, entry, read })
    return yield* loadJournal(storage, { id, key: lease.key })
  })
