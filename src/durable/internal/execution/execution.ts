import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Schema from "effect/Schema"
import type { Journal, Kind, RecoveryRecord } from "../../../journal/Journal.js"
import { JournalError, type RunError, StepConflict } from "../../../journal/RunError.js"
import type * as Events from "../../../resilience/Events.js"
import type { Watch } from "../../../resilience/Events.js"
import { epochKey, escapeName, joinKey, useKey } from "../../../resilience/Key.js"
import type { Entry, Hold, Lease, LeaseLost, Restore, Service, StorageError } from "../../../storage/Storage.js"
import type { CompensationLog, RollbackResult } from "../../../transaction/Compensation.js"
import { Transaction, type TransactionService } from "../../../transaction/Transactor.js"
import type { Attempt } from "../../Step.js"
import { type Activity, type Permit, whileWorking } from "./activity.js"
import { never } from "./bodyFibers.js"
import type { Cells } from "./cells.js"
import type { Wanted } from "./control.js"
import * as FiberTree from "./fiberTree.js"
import type { Origin } from "./origins.js"
import type { Lifecycle } from "./phase.js"
import * as Replay from "./replay.js"
import type { AnswerQueue, Gate, Order } from "./replayOrder.js"

/** One pass over the body of a run in this process. */
export interface Execution {
  readonly id: string
  readonly workflow: string
  /** The error schema of the workflow. */
  readonly error: Schema.Schema.All
  readonly mode: Mode
  readonly lifecycle: Lifecycle
  /** What is wanted of the run from outside; `heed` reacts to its changes. */
  wanted: Wanted
  /** The hold for which the run has stopped. It may have been released since. */
  stoppedFor: Hold | undefined
  /** The number of the run's journal: `continueAs` begins another one. */
  readonly generation: number
  /** The encoded input of the next generation, once the body has ended for it. */
  continuation: string | undefined
  readonly lease: Lease
  /** How many signals the run had when its lease was acquired. */
  readonly signalsBefore: number
  readonly storage: Service
  /** The store's clock. Every time that is recorded, or compared with one that is, comes from here. */
  readonly clock: Clock.Clock
  readonly watch: Watch
  /** Injects failures into steps; only tests provide one. */
  readonly fault: FaultInjector | undefined
  /** As it was when the execution began. A transaction that restarts removes its own part. */
  readonly journal: Journal
  /** The number of the last journal line, written or about to be. */
  lastSeq: number
  readonly replay: {
    readonly order: Order
    readonly answers: AnswerQueue
    readonly gate: Gate
    /** The sections that are only replayed now. */
    readonly active: Replay.Replays
  }
  readonly keys: {
    /** How often each name was used, and where last, by section and name. */
    readonly uses: Map<string, { readonly count: number; readonly last: FiberTree.Use }>
    readonly running: Set<string>
    /** Recoveries in the body, by the key of what failed. */
    readonly recoveries: Map<string, RecoveryKeys>
    /** What all idempotency keys of the run begin with. Made at the first attempt. */
    prefix: string | undefined
  }
  readonly activity: Activity
  readonly rollback: {
    /** The compensations of the run. */
    readonly log: CompensationLog
    /** Rollbacks in progress. The run ends after them. */
    readonly open: Set<Deferred.Deferred<void>>
    /** The sections whose rollback ended in this execution. */
    readonly ended: Set<string>
    /** Rollbacks of a cancelled run that the next execution tries again. */
    readonly incomplete: Array<RollbackResult>
  }
  readonly cells: Cells
  /** Where failures came from, by their errors. Made for the first one. */
  origins: WeakMap<object, Origin> | undefined
}

/** The recoveries from failures of one step, transaction or section. */
export interface RecoveryKeys {
  /** The number of the last one. */
  last: number
  /** Recorded ones that the program has not reached yet. */
  readonly unclaimed: Array<RecoveryRecord>
}

/** Fails in place of a step's attempt, or lets the attempt run. */
export type FaultInjector = (step: string, attempt: Attempt) => Effect.Effect<void, unknown>

/** Injects failures into the steps of the runs around; `Testing.faults` provides it. */
export class Injected extends Context.Tag("effect-recovery/testing/Injected")<Injected, FaultInjector>() {}

/** Who executes a run, and what that means for its waits. */
export interface Mode {
  /** How long a sleep may keep the run in memory, in milliseconds. */
  readonly patience: number
  /** Whether this process is to leave the run, since it shuts down or another one should advance it: then no step begins. */
  readonly isLeaving: () => boolean
  /** Calls back when the run is to be left before the process shuts down. Returns how to stop that. */
  readonly onLeaving: (wake: () => void) => () => void
  /** The execution of the parent run, if that executes this run in its own process. */
  readonly within: Execution | undefined
  /** The id of the caller's own hold on the run, which does not stop the execution. */
  readonly heldAs: string | undefined
  /** How long a stopped run is left alone, in milliseconds; undefined releases it at once. */
  readonly backoff: (run: string, reason: string) => number | undefined
  /** Only checks whether the program fits its journal; no step begins. */
  readonly isReplay: boolean
  /** Called for each line that the execution appends to its journal. */
  readonly progressed: () => void
}

/** A call of `Workflow.execute`: it wants the result, and waits for sleeps in memory. */
export const byCaller: Mode = {
  patience: Number.POSITIVE_INFINITY,
  isLeaving: () => false,
  onLeaving: () => () => {},
  within: undefined,
  heldAs: undefined,
  backoff: () => undefined,
  isReplay: false,
  progressed: () => {}
}

/** What a fiber inside a run sees of it. */
export interface RunService {
  readonly id: string
  readonly workflow: string
  /** The sections around this point, as they stand in step keys. */
  readonly section: string
  /** The section of the innermost transaction. */
  readonly transaction: string | undefined
  /** @internal */
  readonly pass?: Pass | undefined
  /** @internal */
  readonly permit?: Permit | undefined
  /** @internal */
  readonly execution: Execution
}

/** One pass over the body of a transaction. A fiber that outlives it begins nothing in the section. */
export interface Pass {
  readonly outer: Pass | undefined
  isOver: boolean
}

const isPassOver = (pass: Pass | undefined): boolean => pass !== undefined && (pass.isOver || isPassOver(pass.outer))

export class Run extends Context.Tag("effect-recovery/Run")<Run, RunService>() {}

/** The service of a transaction of a run. The code that it is provided to runs in the section of the transaction. */
export interface SectionTransaction extends TransactionService {
  readonly opened: {
    readonly execution: Execution
    /** The section around the transaction. */
    readonly outer: string
    readonly section: string
  }
}

/** The run at this point of the program: its section includes that of the innermost transaction. */
export const runIn = (context: Context.Context<never>): RunService | undefined => {
  // Each step asks, so no Option is made. A tag's key holds the tag's service.
  const run = context.unsafeMap.get(Run.key) as RunService | undefined
  const transaction = context.unsafeMap.get(Transaction.key) as TransactionService | undefined
  if (run === undefined || transaction === undefined || !("opened" in transaction)) return run
  // A transaction of a run is made by that run alone.
  const { execution, outer, section } = (transaction as SectionTransaction).opened
  if (execution !== run.execution || run.section.startsWith(section)) return run
  const rest = run.section.startsWith(outer) ? run.section.slice(outer.length) : run.section
  return { ...run, section: section + rest, transaction: section }
}

/** The run of a context that has one. What a run provides to its body is always together with the run. */
export const runOf = (context: Context.Context<never>): RunService =>
  runIn(context) ?? Context.get(context as Context.Context<Run>, Run)

/** The run at this point of the program. */
export const currentRun: Effect.Effect<RunService, never, Run> = Effect.contextWith(runOf)

/**
 * Ends the body of a stopped run. A defect, so that the program's error
 * handlers do not catch it: `execute` fails with the typed error instead.
 */
class RunStopped extends Error {
  constructor(error: RunError) {
    super(`the run stopped: ${error.message}`)
    this.name = "RunStopped"
  }
}

/** Stops the run with this error, or with the one that stopped it before. */
export const stop = ({ lifecycle }: Execution, error: RunError): Effect.Effect<never> =>
  Effect.suspend(() => {
    lifecycle.transition({ _tag: "Stop", error })
    return Effect.failCause(Cause.die(new RunStopped(lifecycle.stopError ?? error)))
  })

/** Where something is about to begin. */
interface Beginning {
  readonly execution: Execution
  readonly pass?: Pass | undefined
  readonly section?: string | undefined
}

/**
 * Why nothing begins here any more. The body is ending, although the program has
 * neither returned nor failed: finalizers run, but their steps do not, because
 * the run is resumed later where it stopped.
 */
export const refusal = (
  { execution, pass, section }: Beginning,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  isInterruptible: boolean
): Effect.Effect<never> | undefined => {
  const { died, isClosing, stopError } = execution.lifecycle
  if (stopError !== undefined) return stop(execution, stopError)
  if (isClosing && !isReplayedAgain(execution, section)) return Effect.interrupt
  // A compensation has the context of its pass.
  if (pass !== undefined && isPassOver(pass) && FiberTree.stepOf(fiber) === undefined) return Effect.interrupt
  if (died === undefined || !FiberTree.isSameOrAncestor(fiber.getFiberRef(FiberTree.current), died.in)) return undefined
  // Where it can be interrupted, the code is no finalizer: the program has handled the defect.
  if (isInterruptible) execution.lifecycle.died = undefined
  return isInterruptible ? undefined : Effect.interrupt
}

/** A rollback continues although the run is interrupted or cancelled: its replay answers, and begins nothing. */
const isReplayedAgain = ({ replay }: Execution, section: string | undefined): boolean =>
  section !== undefined && Replay.covering(replay.active, section)?.isNatural === false

/** The program itself has interrupted a fiber: the body neither stops nor restarts. */
export const isByProgram = ({ lifecycle: { died, phase } }: Execution): boolean =>
  phase._tag === "Running" && died === undefined

/** Stops the run if the effect fails. */
export const orStop = <A, E extends RunError>(execution: Execution, self: Effect.Effect<A, E>): Effect.Effect<A> =>
  Effect.catchAll(self, (error) => stop(execution, error))

/** Nothing new may begin at this key: the body ends, or this part of it is only replayed. */
export const isReplayOnly = ({ lifecycle, replay }: Execution, key: string): boolean =>
  lifecycle.isEnding || Replay.covering(replay.active, key) !== undefined

export const encodeFailed = (execution: Execution, record: string, cause: unknown): JournalError =>
  new JournalError({ reason: "Encode", run: execution.id, record, cause })

/** The next line of the journal. Takes the line's number, so it must be appended. */
export const nextEntry = (
  execution: Execution,
  kind: Kind,
  step: string,
  attempt: number,
  payload?: string,
  at = execution.clock.unsafeCurrentTimeMillis()
): Entry => ({ seq: ++execution.lastSeq, kind, step, attempt, at, payload })

/** Appends a line; a storage failure stops the run. */
export const append = (
  execution: Execution,
  kind: Kind,
  step: string,
  attempt: number,
  payload?: string,
  at?: number
) => appendAll(execution, [nextEntry(execution, kind, step, attempt, payload, at)])

export const appendAll = (execution: Execution, entries: ReadonlyArray<Entry>): Effect.Effect<void> =>
  whileWorking(execution, orStop(execution, tryAppend(execution, entries)))

/** A fiber that outlives a superseded pass waits here for ever: its writes are dropped. */
export const tryAppend = (
  { lease, lifecycle, mode, storage }: Execution,
  entries: ReadonlyArray<Entry>,
  durability?: "process-crash"
): Effect.Effect<void, StorageError | LeaseLost> => {
  if (lifecycle.phase._tag === "Superseded") return never
  mode.progressed()
  return storage.append(lease, entries, durability)
}

/** The run does not end before this has ended. */
export const whileRollingBack = <A, E, R>(
  { activity, rollback }: Execution,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const ended = Deferred.unsafeMake<void>(FiberId.none)
    rollback.open.add(ended)
    return Effect.ensuring(
      self,
      Effect.suspend(() => {
        rollback.open.delete(ended)
        activity.changed.notify()
        return Deferred.succeed(ended, undefined)
      })
    )
  })

/** The key of the first use of a name in this section. */
export const baseKey = ({ section }: Pick<RunService, "section">, name: string): string => section + escapeName(name)

/**
 * The key of the next use of a name in this section. A conflict if the order
 * of this use and the one before it can differ between executions.
 */
export const claimKey = (
  run: RunService,
  name: string,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  mark = ""
): string | StepConflict => {
  const { id, keys } = run.execution
  const base = baseKey(run, name) + mark
  const known = keys.uses.get(base)
  run.execution.activity.fibers.addUser(fiber)
  const use = FiberTree.recordUse(fiber, known?.last)
  if (known !== undefined && (keys.running.has(base) || !FiberTree.isBefore(known.last, use))) {
    return new StepConflict({ run: id, step: base })
  }
  const count = (known?.count ?? 0) + 1
  keys.uses.set(base, { count, last: use })
  keys.running.add(base)
  return useKey(base, count)
}

/** The use of this name has ended; the next one may begin. */
export const releaseKey = (run: RunService, name: string, mark = ""): void => {
  run.execution.keys.running.delete(baseKey(run, name) + mark)
}

/**
 * Claims the next key of a name until `use` ends, which runs in an uninterruptible
 * region. Does not claim it in a stopped run, and stops the run at a conflict.
 */
export const withKey = <A, E, R>(
  run: RunService,
  name: string,
  use: (key: string, restore: Restore) => Effect.Effect<A, E, R>,
  mark = ""
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
    Effect.uninterruptibleMask((restore) => {
      const { execution } = run
      const refused = refusal(run, fiber, RuntimeFlags.interruptible(runtimeFlags))
      if (refused !== undefined) return refused
      const key = claimKey(run, name, fiber, mark)
      if (key instanceof StepConflict) return stop(execution, key)
      return Effect.ensuring(
        use(key, restore),
        Effect.sync(() => releaseKey(run, name, mark))
      )
    })
  )

/** The same for every attempt at this key, until a rewind makes the key a new one. */
export const idempotencyKey = (execution: Execution, key: string): string => {
  const { generation, id, keys, workflow } = execution
  // Steps of one key in two generations are two pieces of work.
  keys.prefix ??= joinKey(workflow, id) + (generation === 1 ? "" : `[${generation}]`)
  return `${keys.prefix}/${epochKey(key, execution.journal.epochs.get(key))}`
}

/** Emits an event about the run, or about the step with this key. Builds it only if it is observed. */
export const emit = (
  { id: run, watch }: Execution,
  event: (source: Events.Source) => Events.Event,
  step?: string
): Effect.Effect<void> => (watch.isOn() ? watch.emit(event(step === undefined ? { run } : { run, step })) : Effect.void)

/** Emits an event if it is observed, and continues. */
export const afterEvent = <A, E, R>(
  execution: Execution,
  event: (source: Events.Source) => Events.Event,
  then: () => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => (execution.watch.isOn() ? Effect.flatMap(emit(execution, event), then) : then())

/** `Effect.flatMap` of the exit in one operation. */
export const withExit = <A, B, E, R>(
  self: Effect.Effect<A, unknown, R>,
  then: (exit: Exit.Exit<A, never>) => Effect.Effect<B, E, R>
): Effect.Effect<B, E, R> =>
  Effect.matchCauseEffect(self, {
    // Its receiver hands the failures on, and reads none of them.
    onFailure: (cause) => then(Exit.failCause(cause as Cause.Cause<never>)),
    onSuccess: (value) => then(Exit.succeed(value))
  })

/** Emits the event once the effect has succeeded. */
export const andEmit = <A, E, R>(
  execution: Execution,
  self: Effect.Effect<A, E, R>,
  event: (source: Events.Source) => Events.Event,
  step?: string
): Effect.Effect<A, E, R> => (execution.watch.isOn() ? Effect.tap(self, () => emit(execution, event, step)) : self)
