import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Schema from "effect/Schema"
import type * as Events from "../../../resilience/Events.js"
import type { Watch } from "../../../resilience/Events.js"
import type { Entry, Lease, LeaseLost, Service, StorageError } from "../../../storage/Storage.js"
import type { CompensationLog } from "../../../transaction/Compensation.js"
import { JournalError, type RunError, StepConflict } from "../../RunError.js"
import type { Journal, Kind } from "../journal/journal.js"
import type { Cells } from "../state/cells.js"
import type { Fault } from "../step/injected.js"
import type { Use } from "../step/stepUse.js"
import * as Waits from "../wait/waits.js"
import type { InOrder } from "./answerQueue.js"
import * as Branch from "./fiberTree.js"
import type { Replays } from "./replay.js"
import type { Order } from "./replayOrder.js"

/** One execution of a run in this process. */
export interface LiveRun {
  readonly id: string
  readonly workflow: string
  /** What the workflow itself can fail with. */
  readonly error: Schema.Schema.All
  readonly lease: Lease
  readonly storage: Service
  readonly clock: Clock.Clock
  /** What the journal knew when the execution began. Only a transaction that begins anew forgets its own part. */
  readonly journal: Journal
  /** The compensations of what this run has done. */
  readonly undoLog: CompensationLog
  readonly cells: Cells
  readonly replays: Replays
  readonly order: Order
  readonly inOrder: InOrder
  readonly how: How
  readonly waits: Waits.Waits
  /** The steps that can ask somebody, by key. */
  readonly asking: Map<string, Asking>
  /** The uses of each step name, by section. */
  readonly uses: Map<string, { readonly count: number; readonly last: Branch.Use }>
  readonly running: Set<string>
  readonly watch: Watch
  /** What a test lets go wrong. */
  readonly fault: Fault | undefined
  lastSeq: number
  /** Ends the body, wherever it waits: a race, say, would go on without the branch that stopped. */
  halt: () => void
  /** The step that died last, if any has. */
  diedIn: string | undefined
  /** Why the run may not go on. Set once; every step after it stops. */
  stopped: RunError | undefined
  /** A rewind was decided: the body ends, and what it leaves undone is the rewind's business. */
  rewinding: boolean
  /** The transactions that are being rolled back now. The run does not end before they have. */
  readonly open: Set<Deferred.Deferred<void>>
  /** The sections of those that have ended. */
  readonly closed: Set<string>
  /** Another pass over the body has begun: what is left of this one is too late. */
  over: boolean
  /** Whoever executes the run has interrupted it. */
  interrupted: boolean
}

/** Who executes a run, and what that means for its waits. */
export interface How {
  /** For how long a sleep may keep the run in memory, in milliseconds. */
  readonly patience: number
  /** Whether this process is to stop: then nothing more is begun. */
  readonly isLeaving: () => boolean
  /** Leaves the run alone unless it is due. */
  readonly onlyDue: boolean
  /** For how long a run that has stopped is to be left alone, in milliseconds. */
  readonly putOff: (run: string, reason: string) => number | undefined
  /** Nothing is executed: it is only looked whether the program fits its journal. */
  readonly isReplay: boolean
}

/** Whoever called wants the result, and waits for sleeps. */
export const byCaller: How = {
  patience: Number.POSITIVE_INFINITY,
  isLeaving: () => false,
  onlyDue: false,
  putOff: () => undefined,
  isReplay: false
}

/** A step that can ask somebody. */
export interface Asking {
  readonly step: Use
  /** How many questions it has come to. */
  questions: number
}

/** What a fiber inside a run can see of it. */
export interface RunService {
  readonly id: string
  readonly workflow: string
  /** The sections around this point, as they stand in step keys. */
  readonly section: string
  /** The section of the innermost transaction. */
  readonly transaction: string | undefined
  /** @internal What a node of a graph holds while it works. */
  readonly permit?: Waits.Permit | undefined
  /** @internal */
  readonly live: LiveRun
}

export class Run extends Context.Tag("effect-recovery/Run")<Run, RunService>() {}

/**
 * Ends the run from within. It is a defect only to pass the program's error
 * handlers: `execute` turns it back into the typed error it carries.
 */
class RunStopped extends Error {
  constructor(error: RunError) {
    super(`the run stopped: ${error.message}`)
    this.name = "RunStopped"
  }
}

export const stop = (live: LiveRun, error: RunError): Effect.Effect<never> =>
  Effect.suspend(() => {
    live.stopped ??= error
    live.halt()
    return Effect.failCause(Cause.die(new RunStopped(live.stopped)))
  })

export const unwritable = (live: LiveRun, record: string, cause: unknown): JournalError =>
  new JournalError({ reason: "Encode", run: live.id, record, cause })

/** Whether the body is on its way out, for reasons that are no failures of the program. */
export const isEnding = (live: LiveRun): boolean => live.stopped !== undefined || live.rewinding

/** The next line of the journal. Its place is taken when it is made. */
export const nextEntry = (
  live: LiveRun,
  kind: Kind,
  step: string,
  attempt: number,
  payload?: string,
  at = live.clock.unsafeCurrentTimeMillis()
): Entry => ({ seq: ++live.lastSeq, kind, step, attempt, at, payload })

/** Appends a line; whatever keeps it from the journal stops the run. */
export const append = (live: LiveRun, kind: Kind, step: string, attempt: number, payload?: string, at?: number) =>
  appendAll(live, [nextEntry(live, kind, step, attempt, payload, at)])

export const appendAll = (live: LiveRun, entries: ReadonlyArray<Entry>): Effect.Effect<void> =>
  Waits.working(
    live,
    Effect.catchAll(tryAppend(live, entries), (error) => stop(live, error))
  )

/** The run waits for what this does before it ends. */
export const whileOpen = <A, E, R>(live: LiveRun, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const open = Deferred.unsafeMake<void>(FiberId.none)
    live.open.add(open)
    return Effect.ensuring(
      self,
      Effect.suspend(() => {
        live.open.delete(open)
        return Deferred.succeed(open, undefined)
      })
    )
  })

export const tryAppend = (
  live: LiveRun,
  entries: ReadonlyArray<Entry>
): Effect.Effect<void, StorageError | LeaseLost> =>
  live.over ? Effect.interruptible(Effect.never) : live.storage.append(live.lease, entries)

/** The key of the next use of a step name, or the conflict it would make. */
export const enter = (
  run: RunService,
  name: string,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  mark = ""
): string | StepConflict => {
  const live = run.live
  const base = run.section + escape(name) + mark
  const known = live.uses.get(base)
  const use = Branch.use(fiber, known?.last)
  if (known !== undefined && (live.running.has(base) || !Branch.isBefore(known.last, use))) {
    return new StepConflict({ run: live.id, step: base })
  }
  const count = (known?.count ?? 0) + 1
  live.uses.set(base, { count, last: use })
  live.running.add(base)
  return count === 1 ? base : `${base}#${count}`
}

export const leave = (run: RunService, name: string, mark = ""): void => {
  run.live.running.delete(run.section + escape(name) + mark)
}

/** Keeps names apart from the punctuation of keys. */
export const escape = (name: string): string =>
  /[%/#[\]]/.test(name) ? name.replace(/[%/#[\]]/g, encodeURIComponent) : name

/** The same for every attempt of what has this key, until a rewind makes it a new one. */
export const idempotencyKey = (live: LiveRun, key: string): string => {
  const epoch = live.journal.epochs.get(key)
  return `${live.workflow}/${live.id}/${key}${epoch === undefined ? "" : `~${epoch + 1}`}`
}

export const emit = (live: LiveRun, event: () => Events.Event): Effect.Effect<void> =>
  live.watch.isOn() ? live.watch.emit(event()) : Effect.void

export const andEmit = <A>(live: LiveRun, self: Effect.Effect<A>, event: () => Events.Event): Effect.Effect<A> =>
  live.watch.isOn() ? Effect.tap(self, () => emit(live, event)) : self
