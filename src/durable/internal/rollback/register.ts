import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { CompensationSettings } from "../../../transaction/Compensation.js"
import { noOutput, type Output } from "../../../transaction/Compensation.js"
import type { AnyUndo, TransactionService } from "../../../transaction/Transactor.js"
import { StepConflict } from "../../RunError.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"

/** Registers compensations in the journal of a run, under keys of the section. */
export const registering = (run: Execution.RunService): TransactionService => ({
  memory: undefined,
  compensated: <A, E, R>(name: string, self: Effect.Effect<A, E, R>, undo: AnyUndo, settings: CompensationSettings) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.withFiberRuntime<A, E, R>((fiber) => {
        const { execution } = run
        if (execution.lifecycle.stopError !== undefined) return Execution.stop(execution, execution.lifecycle.stopError)
        const inside = FiberTree.stepOf(fiber)
        if (inside !== undefined) return Effect.die(new CompensationInStep(name, inside))
        // The work may have sections of its own around it, inside of the transaction's.
        const here = Context.getOption(fiber.currentContext, Execution.Run)
        const current = Option.isSome(here) ? here.value : run
        const key = Execution.claimKey(current, name, fiber)
        if (key instanceof StepConflict) return Execution.stop(execution, key)
        const leave = Effect.sync(() => Execution.releaseKey(current, name))
        const known = execution.journal.undos.has(key)
        const section = `${key}/`
        const parks = Execution.isReplayOnly(execution, key)
        if (parks && !known) return Effect.ensuring(Replay.park(execution.replay.active, key, false), leave)
        const output = noOutput()
        const entry = known ? undefined : Execution.nextEntry(execution, "UndoRegistered", key, 0)
        const order = entry?.seq ?? 0
        const context = fiber.currentContext
        const registered = Effect.map(
          entry === undefined ? Effect.void : Execution.appendAll(execution, [entry]),
          () => {
            register(execution, { key, order, undo, settings, output, pivot: false, context })
            Replay.reached(execution.replay.active, key)
          }
        )
        // Without steps inside nobody could tell what the work has done: where nothing is begun it is not either.
        const hasSteps = [...execution.journal.steps.keys()].some((step) => step.startsWith(section))
        const inSection = Effect.provideService(self, Execution.Run, { ...current, section }) as Effect.Effect<A, E, R>
        const work: Effect.Effect<A, E, R> =
          parks && !hasSteps
            ? Replay.park(execution.replay.active, key, true)
            : Effect.map(restore(inSection), (value) => {
                output.value = Option.some(value)
                return value
              })
        return Effect.ensuring(Effect.zipRight(registered, work), leave)
      })
    )
})

/** The journal of the run cannot tell what a step does inside. */
class CompensationInStep extends Error {
  constructor(name: string, step: string) {
    super(
      `Transaction.withCompensation "${name}" is used inside of step "${step}", whose transaction lies outside: give the step a compensate, or put a Transaction.run inside`
    )
    this.name = "CompensationInStep"
  }
}

interface Registration {
  readonly key: string
  readonly order: number
  readonly undo: AnyUndo | undefined
  readonly settings: CompensationSettings
  readonly output: Output
  readonly pivot: boolean
  readonly context: Context.Context<never>
}

/** What is to be undone, and by what, is known from here on. */
export const register = (execution: Execution.Execution, registration: Registration): void => {
  const { context, key, output, pivot, settings, undo } = registration
  const record = execution.journal.undos.get(key)
  const run = (attempt: number) =>
    Effect.withFiberRuntime<unknown, unknown>((fiber) => {
      // In here steps are not steps of the run. State is put back by the rollback itself, so what is written to it is dropped.
      FiberTree.enterStep(fiber, key)
      execution.cells.working.set(key, [])
      const toUndo = {
        output: output.value as Option.Option<never>,
        idempotencyKey: Execution.idempotencyKey(execution, key),
        attempt
      }
      // The types of the step say what it takes and needs; both are here.
      return Effect.ensuring(
        Effect.provide(
          Effect.suspend(() => undo?.(toUndo) ?? Effect.void),
          context
        ) as Effect.Effect<unknown, unknown>,
        Effect.sync(() => execution.cells.working.delete(key))
      )
    })
  const order = execution.journal.undos.get(key)?.order ?? execution.journal.steps.get(key)?.order ?? registration.order
  execution.rollback.log.set(key, {
    key,
    order,
    pivot,
    run,
    settings,
    attempts: record?.attempts ?? 0,
    done: record?.status === "completed",
    running: undefined
  })
}
