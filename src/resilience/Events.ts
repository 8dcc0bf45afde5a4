/**
 * What happens inside recoveries and runs, as values, for whoever wants to
 * watch: a log, a screen, a test.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Change } from "./CircuitBreaker.js"
import type * as Fault from "./Fault.js"
import type { DecisionTaken } from "./RecoveryError.js"

/**
 * Where an event comes from. Outside of a run only `recovery` is known, and
 * only if the recovery was given a name.
 *
 * @since 0.1.0
 * @category models
 */
export interface Source {
  readonly recovery?: string | undefined
  readonly run?: string | undefined
  readonly step?: string | undefined
}

/**
 * How a recovery ended:
 *
 * - `recovered`: there is a value after all
 * - `exhausted`: the strategy had nothing left to try
 * - `failed`: another failure surfaced, such as the original one after an abort
 * - `interrupted`: somebody stopped it
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = "recovered" | "exhausted" | "failed" | "interrupted"

/**
 * @since 0.1.0
 * @category models
 */
export type Event =
  /** A failure was classified and a strategy has decided. */
  | {
      readonly _tag: "Decided"
      readonly source: Source
      readonly attempt: number
      readonly fault: Fault.Fault
      readonly strategy: string
      readonly decision: "Again" | "Instead" | "Rewind" | "HandOver" | "GiveUp"
      /** Until the next attempt, for `Again`. */
      readonly delay: Duration.Duration
    }
  /** A recovery came to an end: the failure was answered, or it surfaced. */
  | {
      readonly _tag: "RecoveryEnded"
      readonly source: Source
      readonly outcome: Outcome
      /** How often it was tried, also where a breaker refused the call. */
      readonly attempts: number
      /** From the first failure. */
      readonly elapsed: Duration.Duration
      /** The last failure it was about. */
      readonly fault: Fault.Fault
      /** What was decided, by which strategy, oldest first. */
      readonly decisions: ReadonlyArray<DecisionTaken>
      /** Before each retry, oldest first. */
      readonly delays: ReadonlyArray<Duration.Duration>
    }
  /** A circuit breaker opened, closed, or lets probes through. */
  | { readonly _tag: "BreakerChanged"; readonly source: Source; readonly change: Change }
  | { readonly _tag: "RunStarted"; readonly source: Source; readonly workflow: string }
  /** A run that had stopped goes on; `answered` steps are in its journal. */
  | { readonly _tag: "RunResumed"; readonly source: Source; readonly workflow: string; readonly answered: number }
  /** The outcome of a run is on record. */
  | {
      readonly _tag: "RunFinished"
      readonly source: Source
      readonly workflow: string
      readonly outcome: "completed" | "failed"
      /** What this process saw it fail with. */
      readonly cause: Option.Option<Cause.Cause<unknown>>
    }
  /** A run waits for a time or for somebody: it goes on when it is executed after that. */
  | {
      readonly _tag: "RunSuspended"
      readonly source: Source
      /** When it can go on by itself. */
      readonly until: Option.Option<Date>
    }
  /** Somebody, or some system, was asked something or is waited for. */
  | {
      readonly _tag: "WaitStarted"
      readonly source: Source
      readonly kind: "sleep" | "signal" | "question"
      /** What is asked, or the name of the signal. */
      readonly about: string
      /** Who is to answer. */
      readonly to: Option.Option<string>
    }
  /** It is over: `answered`, or its time had come. */
  | {
      readonly _tag: "WaitEnded"
      readonly source: Source
      readonly kind: "sleep" | "signal" | "question"
      readonly answered: boolean
    }
  /** A run ended without an outcome and can be executed again; with the step that died, if one has. */
  | { readonly _tag: "RunStopped"; readonly source: Source; readonly reason: string }
  | { readonly _tag: "AttemptStarted"; readonly source: Source; readonly attempt: number }
  /** A step was not run: its result was in the journal. */
  | { readonly _tag: "StepAnswered"; readonly source: Source; readonly attempts: number }
  | { readonly _tag: "StepCompleted"; readonly source: Source; readonly attempts: number }
  | { readonly _tag: "StepFailed"; readonly source: Source; readonly attempts: number; readonly fault: Fault.Fault }
  /** A transaction undoes what it has done, or goes on doing so after a crash. */
  | {
      readonly _tag: "RollbackStarted"
      readonly source: Source
      readonly transaction: string
      readonly reason: "failed" | "interrupted" | "died" | "stopped"
    }
  /** The rollback came to an end; not `clean` if a compensation failed or a pivot stood in the way. */
  | { readonly _tag: "RollbackEnded"; readonly source: Source; readonly transaction: string; readonly clean: boolean }
  | { readonly _tag: "UndoCompleted"; readonly source: Source; readonly attempts: number }
  | {
      readonly _tag: "UndoFailed"
      readonly source: Source
      readonly attempts: number
      readonly cause: Cause.Cause<unknown>
    }
  /** Everything after a point of the run was compensated and is forgotten; the run goes on from there. */
  | { readonly _tag: "RunRewound"; readonly source: Source; readonly point: string; readonly by: string }
  /** A step had started when its process ended; nobody knows whether it happened. */
  | {
      readonly _tag: "StepAmbiguous"
      readonly source: Source
      readonly attempt: number
      readonly onAmbiguous: "rerun" | "fail" | "ask" | "probe"
    }
  /** A snapshot is on stable storage; one that a resume has answered is not saved again. */
  | { readonly _tag: "CheckpointSaved"; readonly source: Source; readonly checkpoint: string; readonly id: string }
  /** A step goes on waiting for an attempt that was due before its process ended. */
  | {
      readonly _tag: "BackoffResumed"
      readonly source: Source
      readonly attempt: number
      readonly delay: Duration.Duration
    }

/**
 * An observer sees every event of the program it is provided to. It runs in
 * the fiber of the recovery; a failure or defect of its own is logged and
 * changes nothing.
 *
 * @since 0.1.0
 * @category services
 */
export class Observer extends Context.Reference<Observer>()("effect-recovery/Events/Observer", {
  defaultValue: (): ((event: Event) => Effect.Effect<void>) | undefined => undefined
}) {}

/**
 * Provides an observer. One that is provided further out sees the events, too.
 *
 * @example
 * ```ts
 * import { Events, Recovery, Strategy } from "effect-recovery"
 * import { Console, Data, Effect } from "effect"
 *
 * class Offline extends Data.TaggedError("Offline")<{}> {}
 *
 * const program = Effect.fail(new Offline()).pipe(
 *   Recovery.recover({ Offline: Strategy.skip() }),
 *   Effect.provide(Events.layer((event) => Console.log(event._tag)))
 * )
 * Effect.runPromise(program) // Decided, RecoveryEnded
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (observer: (event: Event) => Effect.Effect<void>): Layer.Layer<never> =>
  Layer.effect(Observer, beside(observer))

/**
 * An observer, and the one there is further out.
 *
 * @internal
 */
export const beside = (own: (event: Event) => Effect.Effect<void>): Effect.Effect<typeof own> =>
  Effect.map(Observer, (outer) =>
    outer === undefined ? own : (event) => Effect.zipRight(notify(own, event), outer(event))
  )

/**
 * An event as a person reads it, in one line.
 *
 * @since 0.1.0
 * @category reading
 */
export const inWords = (event: Event): string => `${at(event.source)}${describe(event)}`

/**
 * Logs every event in words if `RECOVERY_DEBUG` is set, and does nothing
 * otherwise.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerDebug: Layer.Layer<never> = Layer.unwrapEffect(
  Effect.map(
    Effect.orElseSucceed(Config.boolean("RECOVERY_DEBUG"), () => false),
    (isOn) => (isOn ? layer((event) => Effect.logInfo(inWords(event))) : Layer.empty)
  )
)

/**
 * Streams the elements of a hub from now on. Elements between two reads wait in the queue.
 *
 * @internal
 */
export const subscription = <A>(hub: PubSub.PubSub<A>): Effect.Effect<Stream.Stream<A>, never, Scope.Scope> =>
  // One element per chunk, so that a reader that stops leaves the rest in the queue.
  Effect.map(PubSub.subscribe(hub), (queue) => Stream.fromQueue(queue, { maxChunkSize: 1 }))

const capacity = 1_024

/** A hub that counts its readers, so that no event is published while there are none. */
class EventHub {
  private readers = 0
  private readonly pubsub = Effect.runSync(PubSub.sliding<Event>(capacity))

  get isRead(): boolean {
    return this.readers > 0
  }

  publish(event: Event): void {
    // A sliding hub never waits, so this effect is synchronous.
    if (this.isRead) Effect.runSync(PubSub.publish(this.pubsub, event))
  }

  readonly subscribe: Effect.Effect<Stream.Stream<Event>, never, Scope.Scope> = Effect.zipRight(
    Effect.acquireRelease(
      Effect.sync(() => {
        this.readers++
      }),
      () =>
        Effect.sync(() => {
          this.readers--
        })
    ),
    Effect.suspend(() => subscription(this.pubsub))
  )
}

/**
 * Where {@link stream} reads. One for the whole process, unless
 * {@link layerHub} gives a part of it its own.
 *
 * @since 0.1.0
 * @category services
 */
export class Hub extends Context.Reference<Hub>()("effect-recovery/Events/Hub", {
  defaultValue: (): EventHub => new EventHub()
}) {}

/**
 * Gives the program a hub of its own, so that its events do not mix with those
 * of others in the process.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHub: Layer.Layer<never> = Layer.sync(Hub, () => new EventHub())

/**
 * Begins to read: every event after this effect is in the stream, until its
 * scope closes. Nobody waits for a reader: one that is more than 1,024 events
 * behind misses the oldest of them.
 *
 * @example
 * ```ts
 * import { Events, Recovery, Strategy } from "effect-recovery"
 * import { Data, Effect, Stream } from "effect"
 *
 * class Offline extends Data.TaggedError("Offline")<{}> {}
 *
 * const program = Effect.gen(function* () {
 *   const events = yield* Events.subscribe
 *   yield* Effect.fail(new Offline()).pipe(Recovery.recover({ Offline: Strategy.skip() }))
 *   return yield* Stream.runCollect(Stream.take(events, 2))
 * }).pipe(Effect.scoped, Effect.provide(Events.layerHub))
 * Effect.runPromise(program).then((seen) => console.log([...seen].map(({ _tag }) => _tag))) // [ 'Decided', 'RecoveryEnded' ]
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const subscribe: Effect.Effect<Stream.Stream<Event>, never, Scope.Scope> = Effect.flatMap(
  Hub,
  (hub) => hub.subscribe
)

/**
 * The same as a stream of its own, which begins when it is run.
 *
 * @since 0.1.0
 * @category reading
 */
export const stream: Stream.Stream<Event> = Stream.unwrapScoped(subscribe)

/**
 * @internal
 */
export interface Watch {
  /** Whether an observer or a reader sees events. If not, the event need not be built. */
  readonly isOn: () => boolean
  readonly emit: (event: Event) => Effect.Effect<void>
}

/**
 * @internal
 */
export const watch: Effect.Effect<Watch> = Effect.zipWith(Hub, Observer, (hub, observer) => ({
  isOn: () => observer !== undefined || hub.isRead,
  emit: (event) =>
    Effect.suspend(() => {
      hub.publish(event)
      return observer === undefined ? Effect.void : notify(observer, event)
    })
}))

/**
 * Hands an event to the observer, if there is one, and to the readers of
 * {@link stream}.
 *
 * @since 0.1.0
 * @category emitting
 */
export const emit = (event: Event): Effect.Effect<void> => Effect.flatMap(watch, ({ emit }) => emit(event))

const notify = (observer: (event: Event) => Effect.Effect<void>, event: Event): Effect.Effect<void> =>
  Effect.catchAllCause(
    Effect.suspend(() => observer(event)),
    (cause) => Effect.logWarning("effect-recovery: an event observer failed; the event is dropped", cause)
  )

const at = ({ recovery, run, step }: Source): string => {
  const place = [run, step ?? recovery].filter((part) => part !== undefined).join(" ")
  return place === "" ? "" : `${place}: `
}

const of = ({ category, message, severity, transient }: Fault.Fault): string =>
  `${message} (${category}, ${severity}${transient ? ", may pass" : ""})`

const times = (count: number): string => `${count} attempt${count === 1 ? "" : "s"}`

const describe = (event: Event): string => {
  switch (event._tag) {
    case "Decided": {
      const delay = Duration.toMillis(event.delay) === 0 ? "" : ` in ${Duration.format(event.delay)}`
      return `attempt ${event.attempt} has failed: ${of(event.fault)}; ${event.strategy} says ${event.decision}${delay}`
    }
    case "RecoveryEnded":
      return `${event.outcome} after ${times(event.attempts)} and ${Duration.format(event.elapsed)}`
    case "BreakerChanged":
      return `the breaker is ${event.change.to}`
    case "RunStarted":
      return `a run of ${event.workflow} begins`
    case "RunResumed":
      return `the run of ${event.workflow} goes on, with ${event.answered} steps done`
    case "RunFinished":
      return `the run of ${event.workflow} has ${event.outcome}`
    case "RunSuspended":
      return `the run waits${Option.match(event.until, { onNone: () => "", onSome: (date) => ` until ${date.toISOString()}` })}`
    case "RunStopped":
      return `the run has stopped: ${event.reason}`
    case "RunRewound":
      return `the run was taken back to ${event.point} by ${event.by}`
    case "WaitStarted":
      return `waits (${event.kind}): ${event.about}`
    case "WaitEnded":
      return `the wait (${event.kind}) is over${event.answered ? ", with an answer" : ""}`
    case "AttemptStarted":
      return `attempt ${event.attempt} begins`
    case "StepAnswered":
      return "answered from the journal"
    case "StepCompleted":
      return `completed after ${times(event.attempts)}`
    case "StepFailed":
      return `failed after ${times(event.attempts)}: ${of(event.fault)}`
    case "StepAmbiguous":
      return `nobody knows whether attempt ${event.attempt} happened; onAmbiguous says ${event.onAmbiguous}`
    case "BackoffResumed":
      return `goes on waiting for attempt ${event.attempt}, ${Duration.format(event.delay)}`
    case "CheckpointSaved":
      return `checkpoint ${event.checkpoint} is saved (${event.id})`
    case "RollbackStarted":
      return `transaction ${event.transaction} is undone, since it ${event.reason}`
    case "RollbackEnded":
      return `transaction ${event.transaction} was undone${event.clean ? "" : ", but not all of it"}`
    case "UndoCompleted":
      return `undone after ${times(event.attempts)}`
    case "UndoFailed":
      return `could not be undone, after ${times(event.attempts)}`
  }
}
