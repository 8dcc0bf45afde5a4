import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Schema from "effect/Schema"
import type { Codec } from "../../../journal/JournalCodec.js"
import type { Waiting } from "../../../journal/RunError.js"
import type { Entry, Service, Signal } from "../../../storage/Storage.js"
import { BodyFibers } from "./bodyFibers.js"
import type { Execution } from "./execution.js"

/** Wakes all fibers that wait for the next change. */
export class Pulse {
  /** Made for the first fiber that waits: most executions have none. */
  private waiting: Deferred.Deferred<void> | undefined

  /** Completes at the next change. Another value than before means that something changed meanwhile. */
  get next(): Deferred.Deferred<void> {
    this.waiting ??= Deferred.unsafeMake(FiberId.none)
    return this.waiting
  }

  readonly notify = (): void => {
    const { waiting } = this
    this.waiting = undefined
    if (waiting !== undefined) Deferred.unsafeDone(waiting, Effect.void)
  }
}

/** Notifies when a run may have changed, until the returned function is called. */
export const onChangeOf = (storage: Service, run: string, pulse: Pulse): (() => void) =>
  storage.onChange((changed) => {
    // The store may not know which runs changed.
    if (changed.run === run || changed.run === "") pulse.notify()
  })

/**
 * Which fibers of an execution work, and which wait. The run is suspended when
 * no step runs and no fiber of the body can continue without a signal or a time.
 */
export interface Activity {
  /** How many steps and journal writes are running. */
  working: number
  /** Waits, by key. */
  readonly parked: Map<string, Parked>
  /** Signals of the run that were read, by key. */
  readonly signals: Map<string, Signal>
  /** How many they are: the position of the next one. */
  signalsRead: number
  /**
   * The keys of the signals that the program has got, where signals are read for a program that asks for them by name.
   * Undefined where the watcher delivers each one that is read.
   */
  signalsHeard: Set<string> | undefined
  /** Wakes the watcher. */
  readonly changed: Pulse
  watcher: Fiber.RuntimeFiber<void> | undefined
  /** Starts the watcher if there is none. A no-op until the body runs. */
  startWatcher: () => void
  unsubscribe: () => void
  /** The fibers of the body. */
  readonly fibers: BodyFibers
  /** The body has ended, so no watcher is started any more. */
  isOver: boolean
  /** Wake the watchers of the child runs that this execution executes itself. */
  readonly children: Set<() => void>
  /** Steps with a recovery, by key: their strategies can ask questions. */
  readonly asking: Map<string, AskingStep>
}

/** A fiber of the body that continues only at a signal or a time. */
export interface Parked {
  readonly kind: Waiting["kind"]
  /** The key of the signal it waits for. */
  readonly signal: string | undefined
  /** By the store's clock. */
  readonly until: number | undefined
  /** What a suspended run shows; undefined for a fiber that only leaves its process. */
  readonly waiting: Waiting | undefined
  readonly answer: Deferred.Deferred<Signal>
  /** The number of the fiber that waits. */
  readonly fiber: number
  /** The number of the first fiber forked after the wait began. */
  readonly since: number
}

/** A wait before its fiber waits. */
export type ToPark = Omit<Parked, "answer" | "fiber" | "since">

/** What a question needs to know of the step that asks it. */
export interface AskingStep {
  readonly key: string
  /** Writes and reads the value that stands in for the step's result. */
  readonly success: Codec<unknown>
  readonly schema: Schema.Schema.All
  readonly error: Schema.Schema.All
  /** An attempt is running; a question can only follow a failed one. */
  readonly isAttemptRunning: () => boolean
  /** The start of the failed attempt, if it is to be written with the question. */
  readonly takeStart: () => Entry | undefined
  /** How many questions it has asked. */
  questions: number
}

/** The place of a graph's node among those that may work at the same time. */
export interface Permit {
  readonly release: Effect.Effect<unknown>
  readonly take: Effect.Effect<unknown>
}

export const makeActivity = (): Activity => ({
  working: 0,
  parked: new Map(),
  signals: new Map(),
  signalsRead: 0,
  signalsHeard: undefined,
  changed: new Pulse(),
  watcher: undefined,
  startWatcher: () => {},
  unsubscribe: () => {},
  fibers: new BodyFibers(),
  isOver: false,
  children: new Set(),
  asking: new Map()
})

export const beginWork = ({ activity }: Execution): void => {
  activity.working++
}

export const endWork = ({ activity }: Execution): void => {
  activity.working--
  if (activity.watcher !== undefined) activity.changed.notify()
}

/** The run is not suspended while this runs. */
export const whileWorking = <A, E, R>(execution: Execution, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => beginWork(execution)),
    () => self,
    () => Effect.sync(() => endWork(execution))
  )

/** A step that waits does not count as working, and frees its place for another node of its graph. */
export const whileResting = <A, E, R>(
  execution: Execution,
  permit: Permit | undefined,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.zipRight(
      Effect.sync(() => endWork(execution)),
      permit?.release ?? Effect.void
    ),
    () => self,
    () =>
      Effect.zipRight(
        Effect.sync(() => beginWork(execution)),
        permit?.take ?? Effect.void
      )
  )
