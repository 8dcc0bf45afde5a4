import * as Cause from "effect/Cause"
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
import { type Journal, loadJournal } from "../../../journal/Journal.js"
import { valueCodec } from "../../../journal/JournalCodec.js"
import type { RewindRecord } from "../../../journal/JournalLine.js"
import { JournalError, RewindFailed, type RunError } from "../../../journal/RunError.js"
import * as Events from "../../../resilience/Events.js"
import { countRunControl } from "../../../resilience/internal/kernel/metrics.js"
import { Asker, Decisions, Rewinder } from "../../../resilience/internal/kernel/runServices.js"
import type * as Storage from "../../../storage/Storage.js"
import { isClean } from "../../../transaction/Compensation.js"
import { Transaction, Transactor } from "../../../transaction/Transactor.js"
import { makeActivity } from "../execution/activity.js"
import { heed, isToCancel, nothingWanted, type Wanted, wake } from "../execution/control.js"
import {
  afterEvent,
  byCaller,
  type Execution,
  emit,
  Injected,
  type Mode,
  Run,
  type RunService,
  withExit
} from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import { Lifecycle } from "../execution/phase.js"
import { makeAnswerQueue, makeGate, orderOf } from "../execution/replayOrder.js"
import { makeDecisions } from "../recovery/decisions.js"
import { performRewind } from "../rewind/perform.js"
import { makeRewinder } from "../rewind/rewinder.js"
import { closeTransactions } from "../rollback/scopedTransaction.js"
import { durableTransactor } from "../rollback/transactor.js"
import * as Cells from "../state/cells.js"
import { CellsTag, cellsOf } from "../state/service.js"
import { isAnswered } from "../step/replayStep.js"
import { makeAsker } from "../wait/asker.js"
import { prepareWatcher, stopWatcher } from "../wait/watcher.js"
import { conclude, concludeCancelled, endWithoutOutcome } from "./conclude.js"
import { beginGeneration, continueRun } from "./continueRun.js"

/** A workflow, as `Workflow.make` built it. */
export interface Definition<in Input, out A, out E, out R> {
  readonly name: string
  readonly version: string
  readonly input: Schema.Schema.Any
  readonly success: Schema.Schema.Any
  readonly error: Schema.Schema.All
  readonly body: (
    input: Input,
    continueAs: (next: never) => Effect.Effect<never, never, Run>
  ) => Effect.Effect<A, E, R | Run>
}

export type AnyDefinition = Definition<never, unknown, unknown, unknown>

export type AnyEffect = Effect.Effect<unknown, unknown, unknown>

export type AnyExit = Exit.Exit<unknown, unknown>

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
  readonly generation: number
  /** How many signals the run had when the lease was acquired. */
  readonly signalsBefore: number
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
  Effect.withFiberRuntime(({ currentContext }) => {
    const { definition, lease, restore, storage } = leased
    const execution = executionIn(currentContext, leased, journal)
    // Nothing has begun, so the body need not be replayed.
    if (isToCancel(execution) && journal.lastSeq === 0) return concludeCancelled(execution, definition)
    const body = bodyOf(execution, definition, leased.input, restore)
    const { rewinding } = journal
    const pass =
      rewinding === undefined
        ? afterEvent(
            execution,
            (source) => startEvent(execution, source),
            () => runBody(execution, body, restore, exitOf)
          )
        : rewind(execution, rewinding, body, restore)
    const ended = (exit: AnyExit): AnyEffect => {
      const { isInterrupted, phase, stopError } = execution.lifecycle
      const isRewound = rewinding === undefined || Exit.isSuccess(exit)
      if (phase._tag === "Rewinding" && !isInterrupted && isRewound) {
        execution.lifecycle.transition({ _tag: "Supersede" })
        const { continuation, wanted } = execution
        if (continuation !== undefined) return nextGeneration(leased, execution, continuation)
        return Effect.flatMap(readJournalOf(storage, lease), (next) => advance({ ...leased, wanted }, next))
      }
      // A body that was only replayed for a rewind has no outcome.
      return rewinding === undefined || stopError !== undefined
        ? conclude(execution, definition, exit)
        : Exit.isFailure(exit) && Cause.isDie(exit.cause)
          ? endWithoutOutcome(execution, exit, "a defect")
          : endWithoutOutcome(execution, Effect.interrupt, "interruption")
    }
    return Effect.flatMap(pass, (exit) => afterRollbacks(execution, () => ended(exit)))
  })

/** The exit of a fiber. A caller that is interrupted need not stop observing: nothing outlives the fiber. */
const exitOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Effect.Effect<AnyExit> =>
  Effect.async((resume) => fiber.addObserver((exit) => resume(Effect.succeed(exit))))

/** Begins the next generation under the same lease, and executes it. */
const nextGeneration = (leased: Leased, execution: Execution, continuation: string): AnyEffect => {
  const { definition } = leased
  const { generation, id: run, wanted } = execution
  // The text was encoded by this schema.
  const input = Effect.mapError(
    valueCodec(definition.input).decode(continuation === "" ? undefined : continuation),
    (cause) => new JournalError({ reason: "Decode", run, record: "input", cause })
  )
  const begun = Effect.zip(input, beginGeneration(execution, continuation))
  return Effect.matchEffect(begun, {
    onFailure: (error) => endWithoutOutcome(execution, Effect.fail(error), error),
    onSuccess: ([input, journal]) =>
      Effect.zipRight(continued(execution), advance({ ...leased, input, wanted, generation: generation + 1 }, journal))
  })
}

const continued = (execution: Execution): Effect.Effect<void> => {
  const { generation, workflow } = execution
  countRunControl("continued")
  return emit(execution, (source) => ({ _tag: "RunContinued", source, workflow, generation: generation + 1 }))
}

// ---- an execution and its body

const executionIn = (
  context: Context.Context<never>,
  {
    clock,
    definition,
    lease,
    mode = byCaller,
    storage,
    wanted = nothingWanted,
    generation,
    signalsBefore = 0
  }: Omit<Leased, "input" | "restore" | "mode" | "wanted" | "signalsBefore"> &
    Partial<Pick<Leased, "mode" | "wanted" | "signalsBefore">>,
  journal: Journal
): Execution => ({
  id: lease.run,
  workflow: definition.name,
  error: definition.error,
  mode,
  lifecycle: new Lifecycle(),
  wanted,
  stoppedFor: undefined,
  generation,
  continuation: undefined,
  lease,
  signalsBefore,
  storage,
  clock,
  watch: Events.watchIn(context),
  fault: Option.getOrUndefined(Context.getOption(context, Injected)),
  journal,
  lastSeq: journal.lastSeq,
  replay: {
    order: orderOf(journal),
    answers: makeAnswerQueue(),
    gate: gateOf(journal, wanted),
    active: new Set()
  },
  keys: { uses: new Map(), running: new Set(), recoveries: new Map(), prefix: undefined },
  activity: makeActivity(),
  rollback: { log: new Map(), open: new Set(), ended: new Set(), incomplete: [] },
  cells: Cells.make(journal),
  origins: undefined
})

/** As `advance` makes it. */
export const makeExecution = (leased: Parameters<typeof executionIn>[1], journal: Journal): Effect.Effect<Execution> =>
  Effect.withFiberRuntime(({ currentContext }) => Effect.succeed(executionIn(currentContext, leased, journal)))

/** Nothing begins in a run that is to be cancelled. */
const gateOf = (journal: Journal, { cancel }: Wanted) => {
  const gate = makeGate(journal)
  return cancel === undefined ? gate : { ...gate, isOpen: false }
}

/**
 * The body with the run's services around it. It runs in a fiber of its own, so no FiberRef needs to be reset. With
 * `restore`, that fiber is forked in the uninterruptible region of it.
 */
export const bodyOf = (
  execution: Execution,
  definition: AnyDefinition,
  input: unknown,
  restore?: Storage.Restore
): AnyEffect => {
  const { id, workflow } = execution
  const run: RunService = { id, workflow, section: "", transaction: undefined, execution }
  return Effect.withFiberRuntime((fiber) => {
    const { fibers } = execution.activity
    fibers.addUser(fiber)
    prepareWatcher(execution, fiber)
    // Its look around is what cancels the run.
    if (isToCancel(execution) && execution.journal.rewinding === undefined) {
      execution.activity.startWatcher()
    }
    const outer = fiber.getFiberRef(FiberRef.currentSupervisor)
    const supervisor = outer === Supervisor.none ? fibers : outer.zip(fibers)
    // Each run passes here, so the context and the FiberRefs are copied once and not once per service.
    // A transaction around the caller is not one of this run.
    const around = [...fiber.currentContext.unsafeMap].filter(([key]) => key !== Transaction.key)
    const services = Context.unsafeMake<never>(
      new Map<string, unknown>([
        ...around,
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
    const body = Effect.flatMap(enter, () =>
      definition.body(input as never, (next) => continueRun(execution, definition, next))
    )
    const closed = (exit: AnyExit) => {
      execution.lifecycle.hasEnded = true
      return closeTransactions(execution, exit)
    }
    return restore === undefined
      ? Effect.uninterruptibleMask((restore) => withExit(restore(body), closed))
      : withExit(restore(body), closed)
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
    const stopHearing = execution.mode.onLeaving(() => wake(execution))
    const siblings = execution.mode.within?.activity.children
    siblings?.add(execution.activity.changed.notify)
    const ended = () => {
      siblings?.delete(execution.activity.changed.notify)
      stopKeeping()
      stopHearing()
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
const afterRollbacks = ({ rollback: { open } }: Execution, then: () => AnyEffect): AnyEffect =>
  open.size === 0 ? then() : Effect.flatMap(Effect.forEach([...open], Deferred.await, { discard: true }), then)
