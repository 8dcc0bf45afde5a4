import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import { encodeUndoCause } from "../../../journal/JournalCodec.js"
import { StepConflict } from "../../../journal/RunError.js"
import {
  type Compensation,
  type CompensationSettings,
  noOutput,
  type Output,
  type Recorder
} from "../../../transaction/Compensation.js"
import type { AnyUndo } from "../../../transaction/Transactor.js"
import { runHeld } from "../execution/control.js"
import { defaultMaxCutShort, holdCutShort } from "../execution/cutShort.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import { awaitGate } from "../wait/gate.js"

/** The service of a transaction of a run: registers compensations in the journal, under keys of its section. */
export const sectionTransaction = (run: Execution.RunService, outer: string): Execution.SectionTransaction => ({
  memory: undefined,
  opened: { execution: run.execution, outer, section: run.section },
  compensated: <A, E, R>(name: string, self: Effect.Effect<A, E, R>, undo: AnyUndo, settings: CompensationSettings) =>
    Effect.withFiberRuntime<A, E, R>((fiber, { runtimeFlags }) =>
      Effect.uninterruptibleMask((restore) => {
        const { execution } = run
        // Sections inside the transaction's are part of the key.
        const current = Execution.runIn(fiber.currentContext) ?? run
        const refused = Execution.refusal(current, fiber, RuntimeFlags.interruptible(runtimeFlags))
        if (refused !== undefined) return refused
        const step = FiberTree.stepOf(fiber)
        if (step !== undefined) return Effect.die(new CompensationInStep(name, step))
        const key = Execution.claimKey(current, name, fiber)
        if (key instanceof StepConflict) return Execution.stop(execution, key)
        const ofFiber = { context: fiber.currentContext, maxCutShort: defaultMaxCutShort }
        const registered = { key, undo, settings, output: noOutput(), pivot: false, ...ofFiber }
        return Effect.ensuring(
          compensatedAt(current, self, registered, restore),
          Effect.sync(() => Execution.releaseKey(current, name))
        )
      })
    )
})

const compensatedAt = <A, E, R>(
  run: Execution.RunService,
  self: Effect.Effect<A, E, R>,
  registration: Omit<Registration, "order">,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const { execution } = run
  const { key, output } = registration
  const { active } = execution.replay
  const isRecorded = execution.journal.undos.has(key)
  const isReplayOnly = Execution.isReplayOnly(execution, key)
  if (isReplayOnly && !isRecorded) return Replay.park(active, key, false)
  const append = Effect.suspend(() => {
    const entry = Execution.nextEntry(execution, "UndoRegistered", key, 0)
    return Effect.as(Execution.appendAll(execution, [entry]), entry.seq)
  })
  const order = isRecorded ? Effect.succeed(0) : Effect.zipRight(restore(awaitGate(execution)), append)
  const recorded = Effect.map(order, (order) => {
    register(execution, { ...registration, order })
    Replay.reached(active, key)
  })
  const section = `${key}/`
  const { steps, waits } = execution.journal
  const hasSteps = [...steps.keys(), ...waits.keys()].some((key) => key.startsWith(section))
  // Work without steps has no recorded result, so a replay cannot get past it.
  if (isReplayOnly && !hasSteps) return Effect.zipRight(recorded, Replay.parkWithoutResult(active, key))
  const inSection = Effect.provideService(self, Execution.Run, { ...run, section }) as Effect.Effect<A, E, R>
  const work = Effect.map(restore(inSection), (value) => {
    output.value = Option.some(value)
    return value
  })
  return Effect.zipRight(recorded, work)
}

/** The journal has no lines of what a step does inside. */
class CompensationInStep extends Error {
  constructor(name: string, step: string) {
    super(
      `Transaction.withCompensation "${name}" is inside of step "${step}", and its transaction is outside of the step: give the step a compensate, or put a Transaction.run inside the step`
    )
    this.name = "CompensationInStep"
  }
}

interface Registration {
  readonly key: string
  /** The journal line of the registration, if the journal has no earlier line of the key. */
  readonly order: number
  /** Undefined for a pivot. */
  readonly undo: AnyUndo | undefined
  readonly settings: CompensationSettings
  readonly output: Output
  readonly pivot: boolean
  readonly context: Context.Context<never>
  readonly maxCutShort: number
}

/** Adds a compensation to the log of the run, with the attempts that earlier processes recorded. */
export const register = (execution: Execution.Execution, registration: Registration): void => {
  const { context, key, output, pivot, settings, undo } = registration
  const { steps, undos } = execution.journal
  const record = undos.get(key)
  const run = (attempt: number) =>
    Effect.withFiberRuntime<unknown, unknown>((fiber) => {
      // Steps inside a compensation are refused. The rollback reverts State, so writes to it are dropped.
      FiberTree.enterStep(fiber, key)
      execution.cells.working.set(key, [])
      const toUndo = {
        output: output.value as Option.Option<never>,
        idempotencyKey: Execution.idempotencyKey(execution, key),
        attempt
      }
      // The types of the step say what the compensation takes and needs; both are here.
      return Effect.ensuring(
        Effect.provide(
          Effect.suspend(() => undo?.(toUndo) ?? Effect.void),
          context
        ) as Effect.Effect<unknown, unknown>,
        Effect.sync(() => execution.cells.working.delete(key))
      )
    })
  execution.rollback.log.set(key, {
    key,
    order: record?.order ?? steps.get(key)?.order ?? registration.order,
    pivot,
    run,
    settings,
    maxCutShort: registration.maxCutShort,
    attempts: record?.attempts ?? 0,
    done: record?.status === "completed",
    running: undefined
  })
}

/** The attempts before were cut short, as often as the compensation allows. One that a person has allowed is counted, too. */
const isCutShortTooOften = (
  { journal }: Execution.Execution,
  { attempts, key, maxCutShort }: Compensation
): boolean => {
  const before = journal.undos.get(key)
  if (before?.status !== "started" || attempts !== before.attempts + 1) return false
  return before.attempts % (maxCutShort ?? defaultMaxCutShort) === 0
}

/** Puts the run on hold, and stops it within its rollback. */
const stopIfCutShort = (execution: Execution.Execution, { attempts, key }: Compensation): Effect.Effect<void> =>
  Effect.flatMap(holdCutShort(execution, `the compensation of "${key}"`, attempts - 1), (hold) =>
    hold === undefined ? Effect.void : Execution.stop(execution, runHeld(execution.id, hold))
  )

/** Journals the progress of each compensation. */
export const journalRecorder = (execution: Execution.Execution): Recorder => ({
  started: (compensation) => {
    const { attempts, key } = compensation
    const started = Execution.append(execution, "UndoStarted", key, attempts)
    return isCutShortTooOften(execution, compensation)
      ? Effect.zipRight(started, stopIfCutShort(execution, compensation))
      : started
  },
  completed: ({ attempts, key }) =>
    Effect.zipRight(
      Execution.append(execution, "UndoCompleted", key, attempts),
      Execution.emit(execution, () => ({ _tag: "UndoCompleted", source: { run: execution.id, step: key }, attempts }))
    ),
  failed: ({ attempts, key }, cause) =>
    Effect.zipRight(
      Effect.flatMap(encodeUndoCause(cause), (payload) =>
        Execution.append(execution, "UndoFailed", key, attempts, payload)
      ),
      Execution.emit(execution, () => ({
        _tag: "UndoFailed",
        source: { run: execution.id, step: key },
        attempts,
        cause
      }))
    )
})
