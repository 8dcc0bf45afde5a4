import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { CompensationSettings } from "../../../transaction/Compensation.js"
import { noOutput, type Output } from "../../../transaction/Compensation.js"
import type { AnyUndo, TransactionService } from "../../../transaction/Transactor.js"
import { StepConflict } from "../../RunError.js"
import * as live_ from "../execution/execution.js"
import * as Branch from "../execution/fiberTree.js"
import * as Replays from "../execution/replay.js"

/** Registers compensations in the journal of a run, under keys of the section. */
export const registering = (run: live_.RunService): TransactionService => ({
  memory: undefined,
  compensated: <A, E, R>(name: string, self: Effect.Effect<A, E, R>, undo: AnyUndo, settings: CompensationSettings) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.withFiberRuntime<A, E, R>((fiber) => {
        const { live } = run
        if (live.stopped !== undefined) return live_.stop(live, live.stopped)
        const inside = Branch.stepOf(fiber)
        if (inside !== undefined) return Effect.die(new CompensationInStep(name, inside))
        // The work may have sections of its own around it, inside of the transaction's.
        const here = Context.getOption(fiber.currentContext, live_.Run)
        const current = Option.isSome(here) ? here.value : run
        const key = live_.enter(current, name, fiber)
        if (key instanceof StepConflict) return live_.stop(live, key)
        const leave = Effect.sync(() => live_.leave(current, name))
        const known = live.journal.undos.has(key)
        const section = `${key}/`
        const parks = live.rewinding || Replays.find(live.replays, key) !== undefined
        if (parks && !known) return Effect.ensuring(Replays.park(live.replays, key, false), leave)
        const output = noOutput()
        const entry = known ? undefined : live_.nextEntry(live, "UndoRegistered", key, 0)
        const order = entry?.seq ?? 0
        const context = fiber.currentContext
        const registered = Effect.map(entry === undefined ? Effect.void : live_.appendAll(live, [entry]), () => {
          register(live, { key, order, undo, settings, output, pivot: false, context })
          Replays.meet(live.replays, key)
        })
        // Without steps inside nobody could tell what the work has done: where nothing is begun it is not either.
        const hasSteps = [...live.journal.steps.keys()].some((step) => step.startsWith(section))
        const inSection = Effect.provideService(self, live_.Run, { ...current, section }) as Effect.Effect<A, E, R>
        const work: Effect.Effect<A, E, R> =
          parks && !hasSteps
            ? Replays.park(live.replays, key, true)
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
export const register = (live: live_.LiveRun, registration: Registration): void => {
  const { context, key, output, pivot, settings, undo } = registration
  const record = live.journal.undos.get(key)
  const run = (attempt: number) =>
    Effect.withFiberRuntime<unknown, unknown>((fiber) => {
      // In here steps are not steps of the run. State is put back by the rollback itself, so what is written to it is dropped.
      Branch.working(fiber, key)
      live.cells.working.set(key, [])
      const toUndo = {
        output: output.value as Option.Option<never>,
        idempotencyKey: live_.idempotencyKey(live, key),
        attempt
      }
      // The types of the step say what it takes and needs; both are here.
      return Effect.ensuring(
        Effect.provide(
          Effect.suspend(() => undo?.(toUndo) ?? Effect.void),
          context
        ) as Effect.Effect<unknown, unknown>,
        Effect.sync(() => live.cells.working.delete(key))
      )
    })
  const order = live.journal.undos.get(key)?.order ?? live.journal.steps.get(key)?.order ?? registration.order
  live.undoLog.set(key, {
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
