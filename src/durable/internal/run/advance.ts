import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Supervisor from "effect/Supervisor"
import { decodeCancelled } from "../../../journal/Cancellation.js"
import { type Journal, knownKeys, loadJournal } from "../../../journal/Journal.js"
import { causeCodec, valueCodec } from "../../../journal/JournalCodec.js"
import type { RewindRecord } from "../../../journal/JournalLine.js"
import {
  isExcused,
  JournalError,
  machineryOf,
  RewindFailed,
  type RunError,
  type RunHeld,
  type RunSuspended
} from "../../../journal/RunError.js"
import { statusOfFailure } from "../../../journal/RunFailure.js"
import * as Events from "../../../resilience/Events.js"
import { Asker, Decisions, Rewinder } from "../../../resilience/internal/kernel/runServices.js"
import * as Storage from "../../../storage/Storage.js"
import { isClean } from "../../../transaction/Compensation.js"
import { RollbackFailed } from "../../../transaction/RollbackFailed.js"
import { Transactor } from "../../../transaction/Transactor.js"
import { makeActivity } from "../execution/activity.js"
import { heed, nothingWanted, runHeld, type Wanted } from "../execution/control.js"
import {
  byCaller,
  type Execution,
  emit,
  encodeFailed,
  Injected,
  type Mode,
  Run,
  type RunService
} from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import { Lifecycle } from "../execution/phase.js"
import { makeAnswerQueue, makeGate, missingAtEnd, orderOf } from "../execution/replayOrder.js"
import { makeDecisions } from "../recovery/decisions.js"
import { performRewind } from "../rewind/perform.js"
import { makeRewinder } from "../rewind/rewinder.js"
import { closeTransactions } from "../rollback/scopedTransaction.js"
import { durableTransactor } from "../rollback/transactor.js"
import * as Cells from "../state/cells.js"
import { CellsTag, cellsOf } from "../state/service.js"
import { isAnswered } from "../step/replayStep.js"
import { makeAsker } from "../wait/asker.js"
import { encodeWaiting } from "../wait/resolve.js"
import { prepareWatcher, stopWatcher } from "../wait/watcher.js"

/** A workflow, as `Workflow.make` built it. */
export interface Definition<in Input, out A, out E, out R> {
  readonly name: string
  readonly version: string
  readonly input: Schema.Schema.Any
  readonly success: Schema.Schema.Any
  readonly error: Schema.Schema.All
  readonly body: (input: Input) => Effect.Effect<A, E, R | Run>
}

export type AnyDefinition = Definition<never, unknown, unknown, unknown>

export type AnyEffect = Effect.Effect<unknown, unknown, unknown>

type AnyExit = Exit.Exit<unknown, unknown>

/** A run whose lease this process holds. */
interface Leased {
  readonly storage: Storage.Service
  readonly definition: AnyDefinition
  readonly input: unknown
  readonly lease: Storage.Lease
  /** The store's clock. */
  readonly clock: Clock.Clock
  readonly restore: Storage.Restore
  readonly mode: Mode
  readonly wanted: Wanted
}

/** Reads the journal of a run, or releases its lease. */
export const readJournalOf = (storage: Storage.Service, lease: Storage.Lease): Effect.Effect<Journal, RunError> =>
  Effect.onError(loadJournal(storage, { id: lease.run, key: lease.key }), () => storage.release(lease))

/**
 * The life of a run in this process: runs the body, waits for its rollbacks,
 * and records the outcome. After a rewind it starts again with the rest of the
 * journal.
 */
export const advance = (leased: Leased, journal: Journal): AnyEffect =>
  Effect.flatMap(makeExecution(leased, journal), (execution) => {
    const { definition, lease, restore, storage } = leased
    const body = restore(bodyOf(execution, definition, leased.input))
    const { rewinding } = journal
    const pass =
      rewinding === undefined
        ? Effect.zipRight(
            emit(execution, (source) => startEvent(execution, source)),
            runBody(execution, body, restore, Fiber.await)
          )
        : rewind(execution, rewinding, body, restore)
    return Effect.flatMap(Effect.zipLeft(pass, rollbacksEnded(execution)), (exit) => {
      const { isInterrupted, phase, stopError } = execution.lifecycle
      const isRewound = rewinding === undefined || Exit.isSuccess(exit)
      if (phase._tag === "Rewinding" && !isInterrupted && isRewound) {
        execution.lifecycle.transition({ _tag: "Supersede" })
        const { wanted } = execution
        return Effect.flatMap(readJournalOf(storage, lease), (next) => advance({ ...leased, wanted }, next))
      }
      // A body that was only replayed for a rewind has no outcome.
      return rewinding === undefined || stopError !== undefined
        ? conclude(execution, definition, exit)
        : Exit.isFailure(exit) && Cause.isDie(exit.cause)
          ? endWithoutOutcome(execution, exit, "a defect")
          : endWithoutOutcome(execution, Effect.interrupt, "interruption")
    })
  })

// ---- an execution and its body

export const makeExecution = (
  {
    clock,
    definition,
    lease,
    mode = byCaller,
    storage,
    wanted = nothingWanted
  }: Omit<Leased, "input" | "restore" | "mode" | "wanted"> & { readonly mode?: Mode; readonly wanted?: Wanted },
  journal: Journal
): Effect.Effect<Execution> =>
  Effect.withFiberRuntime(({ currentContext }) =>
    Effect.succeed({
      id: lease.run,
      workflow: definition.name,
      error: definition.error,
      mode,
      lifecycle: new Lifecycle(),
      wanted,
      lease,
      storage,
      clock,
      watch: Events.watchIn(currentContext),
      fault: Option.getOrUndefined(Context.getOption(currentContext, Injected)),
      journal,
      lastSeq: journal.lastSeq,
      replay: { order: orderOf(journal), answers: makeAnswerQueue(), gate: makeGate(journal), active: new Set() },
      keys: { uses: new Map(), running: new Set(), recoveries: new Map(), prefix: undefined },
      activity: makeActivity(),
      rollback: { log: new Map(), open: new Set(), ended: new Set() },
      cells: Cells.make(journal),
      origins: undefined
    })
  )

/** The body with the run's services around it. It runs in a fiber of its own, so no FiberRef needs to be reset. */
export const bodyOf = (execution: Execution, definition: AnyDefinition, input: unknown): AnyEffect => {
  const { id, workflow } = execution
  const run: RunService = { id, workflow, section: "", transaction: undefined, execution }
  return Effect.withFiberRuntime((fiber) => {
    const { fibers } = execution.activity
    fibers.addUser(fiber)
    prepareWatcher(execution, fiber)
    const outer = fiber.getFiberRef(FiberRef.currentSupervisor)
    const supervisor = outer === Supervisor.none ? fibers : outer.zip(fibers)
    // Each run passes here, so the context and the FiberRefs are copied once and not once per service.
    const services = Context.unsafeMake<never>(
      new Map<string, unknown>([
        ...fiber.currentContext.unsafeMap,
        [Run.key, run],
        [Rewinder.key, makeRewinder(execution)],
        [Asker.key, makeAsker(execution)],
        [Decisions.key, makeDecisions(execution)],
        [CellsTag.key, cellsOf(execution)],
        [Transactor.key, durableTransactor]
      ])
    )
    const enter = Effect.updateFiberRefs((id, refs) =>
      FiberRefs.updateManyAs(refs, {
        entries: [
          [FiberRef.currentContext, [[id, services]]],
          [FiberTree.current, [[id, FiberTree.makeRoot()]]],
          [FiberRef.currentSupervisor, [[id, supervisor]]]
        ]
      })
    )
    // The definition's own schema encoded the input, so it is of the type the body takes.
    const body = Effect.zipRight(
      enter,
      Effect.suspend(() => definition.body(input as never))
    )
    return Effect.onExit(body, (exit) => closeTransactions(execution, exit))
  })
}

const startEvent = ({ journal, workflow }: Execution, source: Events.Source): Events.Event => {
  const answered = [...journal.steps.values()].filter(isAnswered).length
  return journal.lastSeq === 0
    ? { _tag: "RunStarted", source, workflow }
    : { _tag: "RunResumed", source, workflow, answered }
}

/**
 * Runs the body in a fiber of its own while the lease is renewed, and waits for
 * the result of `use`. A lost lease interrupts the body, and not the caller.
 */
const runBody = (
  execution: Execution,
  body: AnyEffect,
  restore: Storage.Restore,
  use: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => Effect.Effect<AnyExit>
): Effect.Effect<AnyExit, never, unknown> =>
  Effect.flatMap(Effect.fork(body), (fiber) => {
    const { lease, lifecycle, storage } = execution
    lifecycle.interruptBody = () => {
      fiber.unsafeInterruptAsFork(FiberId.none)
      execution.activity.changed.notify()
    }
    const stopKeeping = storage.keep(
      lease,
      (error) => lifecycle.transition({ _tag: "Stop", error }),
      (control) => heed(execution, control)
    )
    const ended = () => {
      stopKeeping()
      stopWatcher(execution)
    }
    return Effect.matchCauseEffect(restore(use(fiber)), {
      onSuccess: (exit) => {
        ended()
        return Effect.succeed(exit)
      },
      // The caller was interrupted, or a rewind died. The body ends before the lease is released.
      onFailure: (cause) => {
        const isInterrupted = Cause.isInterruptedOnly(cause)
        if (isInterrupted) lifecycle.transition({ _tag: "Interrupt" })
        execution.activity.changed.notify()
        return Effect.map(Fiber.interrupt(fiber), (exit) => {
          ended()
          return isInterrupted ? exit : Exit.failCause(cause)
        })
      }
    })
  })

/** Carries out a recorded rewind, which may have begun in an earlier process. */
export const rewind = (
  execution: Execution,
  record: RewindRecord,
  body: AnyEffect,
  restore: Storage.Restore
): Effect.Effect<AnyExit, never, unknown> =>
  runBody(execution, body, restore, (fiber) =>
    Effect.map(performRewind(execution, record, fiber), (undone) => {
      if (!isClean(undone)) {
        const error = new RewindFailed({ run: execution.id, point: record.point, ...undone })
        execution.lifecycle.transition({ _tag: "Stop", error })
      }
      return Exit.void
    })
  )

/** A fiber that the body did not wait for may still roll back its transaction. */
const rollbacksEnded = ({ rollback }: Execution): Effect.Effect<void> =>
  Effect.suspend(() => Effect.forEach([...rollback.open], Deferred.await, { discard: true }))

// ---- the end of an execution

/** Records the outcome of the body, or ends without one. */
const conclude = (execution: Execution, definition: AnyDefinition, exit: AnyExit) => {
  const { isInterrupted, stopError } = execution.lifecycle
  const fail = (error: RunError) => endWithoutOutcome(execution, Effect.fail(error), error)
  if (stopError !== undefined) return fail(stopError)
  const open = openRollback(execution)
  if (open !== undefined && !isInterrupted) return fail(open)
  const missing = Exit.isSuccess(exit) || isTyped(exit.cause) ? missingAtEnd(execution) : undefined
  if (missing !== undefined && !isInterrupted) return fail(missing)
  if (Exit.isSuccess(exit)) return recordOutcome(execution, definition, exit)
  // The body had failed before it was interrupted, and steps of its finalizers were refused: the resume runs them.
  if (isInterrupted && Cause.isInterrupted(exit.cause)) {
    return endWithoutOutcome(execution, Effect.interrupt, "interruption")
  }
  const machinery = machineryOf(exit.cause)
  if (machinery !== undefined) return fail(machinery)
  return isTyped(exit.cause)
    ? recordOutcome(execution, definition, exit)
    : endWithoutOutcome(execution, exit, Cause.isDie(exit.cause) ? "a defect" : "interruption")
}

/** A scoped transaction that could not be rolled back is part of the outcome, although a finalizer can only die. */
export const isTyped = (cause: Cause.Cause<unknown>): boolean =>
  Cause.isFailure(cause) && Chunk.every(Cause.defects(cause), (defect) => defect instanceof RollbackFailed)

/** A rollback of an earlier process that the program did not reach again. The run has no outcome before it has ended. */
const openRollback = ({ id: run, journal, rollback }: Execution): RewindFailed | undefined => {
  for (const { section, status } of journal.rollbacks.values()) {
    if (status !== "started" || rollback.ended.has(section)) continue
    const remaining = knownKeys(journal).flatMap(([key, { isRequired }]) =>
      isRequired && key.startsWith(section) ? [key] : []
    )
    const point = `the start of transaction "${section}"`
    if (remaining.length > 0) return new RewindFailed({ run, point, failures: [], remaining, pivot: undefined })
  }
  return undefined
}

/** Releases or suspends the run, so that it can be executed again. */
export const endWithoutOutcome = <A, E>(
  execution: Execution,
  result: Effect.Effect<A, E>,
  reason: RunError | string
): Effect.Effect<A, E | RunError> => {
  const { lifecycle, wanted } = execution
  const { stopError } = lifecycle
  if (stopError?._tag !== "RunSuspended") return Effect.zipRight(release(execution, reason), result)
  if (wanted.hold === undefined) return Effect.zipRight(suspend(execution, stopError), result)
  const held = runHeld(execution.id, wanted.hold)
  return Effect.zipRight(suspend(execution, stopError, held), Effect.fail(held))
}

const release = (execution: Execution, stop: RunError | string) => {
  const reason = typeof stop === "string" ? stop : stop._tag
  // The next execution of the run may do better at once.
  const millis = isExcused(stop) ? undefined : execution.mode.backoff(execution.id, reason)
  return Effect.zipRight(
    releaseLease(execution, millis),
    emit(execution, (source) => ({
      _tag: "RunStopped",
      source: { ...source, step: execution.lifecycle.died?.step },
      reason
    }))
  )
}

/** A run that stops again and again is suspended for the backoff of its worker, in milliseconds. */
const releaseLease = ({ clock, lease, storage }: Execution, millis: number | undefined): Effect.Effect<void> => {
  if (millis === undefined) return storage.release(lease)
  const dueAt = clock.unsafeCurrentTimeMillis() + millis
  const suspended = storage.suspend(lease, { dueAt, signals: Number.MAX_SAFE_INTEGER })
  return Effect.catchAll(suspended, () => storage.release(lease))
}

/** Makes the run due at its time, or at the next signal. A run that stops for a hold waits for both. */
const suspend = (execution: Execution, { until, waits }: RunSuspended, held?: RunHeld) => {
  const { activity, lease, storage } = execution
  const dueAt = Option.match(until, { onNone: () => Storage.untilSignalled, onSome: (date) => date.getTime() })
  const suspended = storage.suspend(lease, { dueAt, waiting: encodeWaiting(waits), signals: activity.signalsRead })
  return Effect.zipRight(
    Effect.onError(suspended, () => storage.release(lease)),
    emit(execution, (source) =>
      held === undefined ? { _tag: "RunSuspended", source, until } : { _tag: "RunStopped", source, reason: held._tag }
    )
  )
}

/**
 * Records the outcome. The first recorded outcome of a run is its outcome; a
 * late executor returns the recorded one.
 */
const recordOutcome = (execution: Execution, definition: AnyDefinition, exit: AnyExit) => {
  const { id, lease, storage, workflow } = execution
  const [status, record, encoded] = Exit.isSuccess(exit)
    ? (["completed", "success", valueCodec(definition.success).encode(exit.value)] as const)
    : ([statusOfFailure(exit.cause), "error", causeCodec(definition.error).encode(exit.cause)] as const)
  const cause = Exit.isSuccess(exit) ? Option.none() : Option.some(exit.cause)
  return Effect.matchEffect(encoded, {
    onFailure: (issue) => endWithoutOutcome(execution, encodeFailed(execution, record, issue), "JournalError"),
    onSuccess: (text = "") =>
      Effect.matchEffect(storage.finish(lease, { status, exit: text }), {
        onFailure: (error) => endWithoutOutcome(execution, Effect.fail(error), error),
        onSuccess: (recorded): AnyEffect =>
          Effect.zipRight(
            emit(execution, (source) => ({ _tag: "RunFinished", source, workflow, outcome: recorded.status, cause })),
            recorded.status === status && recorded.exit === text ? exit : adopt(definition, id, recorded)
          )
      })
  })
}

/** Returns a recorded outcome. */
export const adopt = (definition: AnyDefinition, run: string, outcome: Storage.Outcome): AnyEffect => {
  if (outcome.status === "cancelled") return Effect.flatMap(decodeCancelled(run, outcome.exit), Effect.fail)
  const text = outcome.exit === "" ? undefined : outcome.exit
  const unreadable = (record: string) => (cause: unknown) => new JournalError({ reason: "Decode", run, record, cause })
  return outcome.status === "completed"
    ? Effect.mapError(valueCodec(definition.success).decode(text), unreadable("success"))
    : Effect.flatMap(Effect.mapError(causeCodec(definition.error).decode(text), unreadable("error")), Effect.failCause)
}
