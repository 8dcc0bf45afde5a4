import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as RuntimeFlags from "effect/RuntimeFlags"
import { StepConflict } from "../../../journal/RunError.js"
import type { RollbackFailed } from "../../../transaction/RollbackFailed.js"
import {
  inMemoryTransactor,
  type Transaction,
  type TransactionSettings,
  type TransactorService
} from "../../../transaction/Transactor.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Order from "../execution/replayOrder.js"
import { type AnyEffect, runTransaction } from "./runTransaction.js"
import { acquireTransaction } from "./scopedTransaction.js"

/** Journals the transactions of a run. Those inside of a step are in memory: the journal records a step as a whole. */
export const durableTransactor: TransactorService = {
  run: <A, E, R>(self: Effect.Effect<A, E, R>, settings: TransactionSettings) =>
    Effect.withFiberRuntime(
      (fiber, { runtimeFlags }): Effect.Effect<A, E | RollbackFailed<E>, Exclude<R, Transaction>> => {
        const run = runOutsideStep(fiber)
        if (run === undefined) return inMemoryTransactor.run(self, settings)
        const isInterruptible = RuntimeFlags.interruptible(runtimeFlags)
        const isRoot = Order.isRoot(fiber, runtimeFlags, run.execution)
        const effect = Effect.uninterruptibleMask((restore) => {
          const section = openSection(run, settings, fiber, runtimeFlags)
          if (typeof section !== "string") return section
          return Effect.ensuring(
            runTransaction(run, section, self as AnyEffect, settings, { isInterruptible, isRoot, restore }),
            Effect.sync(() => Execution.releaseKey(run, settings.name))
          )
        })
        // The value and the errors are those of the effect; the journal keeps the errors as they are.
        return effect as Effect.Effect<A, E | RollbackFailed<E>, never>
      }
    ),
  acquire: (settings) =>
    Effect.withFiberRuntime((fiber, { runtimeFlags }) => {
      const run = runOutsideStep(fiber)
      if (run === undefined) return inMemoryTransactor.acquire(settings)
      return Effect.uninterruptible(
        Effect.suspend(() => {
          const section = openSection(run, settings, fiber, runtimeFlags)
          if (typeof section !== "string") return section
          // The order of the acquisitions alone decides the names, so that several can be open at the same time.
          Execution.releaseKey(run, settings.name)
          return acquireTransaction(run, section, settings)
        })
      )
    })
}

const runOutsideStep = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Execution.RunService | undefined =>
  FiberTree.stepOf(fiber) === undefined ? Execution.runIn(fiber.currentContext) : undefined

/** The section of a new transaction, or the effect that stops the run. */
const openSection = (
  run: Execution.RunService,
  { name }: TransactionSettings,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  flags: RuntimeFlags.RuntimeFlags
): string | Effect.Effect<never> => {
  const { execution } = run
  const refused = Execution.refusal(run, fiber, RuntimeFlags.interruptible(flags))
  if (refused !== undefined) return refused
  const key = Execution.claimKey(run, name, fiber)
  if (key instanceof StepConflict) return Execution.stop(execution, key)
  const section = `${key}/`
  execution.replay.order.reached.add(section)
  return section
}
