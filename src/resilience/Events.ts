/**
 * The events of recoveries and runs as values, for logs, dashboards and tests.
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
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Change } from "./CircuitBreaker.js"
import { durationText } from "./DurationText.js"
import type * as Fault from "./Fault.js"
import { Feed } from "./internal/kernel/feed.js"
import { logged } from "./internal/kernel/logged.js"
import { subscription } from "./internal/kernel/subscription.js"
import type { DecisionTaken } from "./RecoveryError.js"
import { Redaction } from "./Redaction.js"

/**
 * The origin of an event. Outside of a run it has at most `recovery`, the name of
 * the recovery if there is one.
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
 * - `recovered`: the effect has a value
 * - `exhausted`: the strategy had no further option
 * - `failed`: another failure surfaced, such as the original one after an abort
 * - `interrupted`: the recovery was interrupted
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = "recovered" | "exhausted" | "failed" | "interrupted"

/** Why a transaction is rolled back. A run that was `stopped` continues later; one that is `cancelled` ends. */
type RollbackReason = "failed" | "interrupted" | "died" | "stopped" | "cancelled"

/** The fields of each event, by tag. */
interface Fields {
  /** A failure was classified and a strategy decided. */
  readonly Decided: {
    attempt: number
    fault: Fault.Fault
    strategy: string
    decision: "Again" | "Instead" | "Rewind" | "HandOver" | "GiveUp"
    /** The delay before the next attempt for `Again`, else zero. */
    delay: Duration.Duration
  }
  /** A recovery ended: with a value, or with a failure that surfaces. */
  readonly RecoveryEnded: {
    outcome: Outcome
    /** All attempts, including calls that a breaker refused. */
    attempts: number
    /** From the first failure to the end. */
    elapsed: Duration.Duration
    /** The classification of the last failure. */
    fault: Fault.Fault
    /** All decisions with their strategies, oldest first. */
    decisions: ReadonlyArray<DecisionTaken>
    /** The delay before each retry, oldest first. */
    delays: ReadonlyArray<Duration.Duration>
  }
  /** A circuit breaker changed its state. */
  readonly BreakerChanged: { change: Change }
  readonly RunStarted: { workflow: string }
  /** A run continues in this process; its journal has the results of `answered` steps. */
  readonly RunResumed: { workflow: string; answered: number }
  /** The outcome of a run is recorded. */
  readonly RunFinished: {
    workflow: string
    /** `exhausted`: a recovery had no further option, such as a used up retry. */
    outcome: "completed" | "failed" | "exhausted" | "cancelled"
    /** The cause of the failure, as seen by this process. */
    cause: Option.Option<Cause.Cause<unknown>>
  }
  /** A run is suspended until a time or an answer. The next execution after that continues it. */
  readonly RunSuspended: {
    /** The time after which it can continue without an answer. */
    until: Option.Option<Date>
  }
  /** A run started to wait for a time, a signal or an answer. */
  readonly WaitStarted: {
    kind: "sleep" | "signal" | "question" | "child"
    /** The question, or the name of the signal. */
    about: string
    /** The person or team that should answer. */
    to: Option.Option<string>
  }
  /** A wait ended: with an answer, or because its time passed. */
  readonly WaitEnded: { kind: "sleep" | "signal" | "question" | "child"; answered: boolean }
  /** A run continues as another generation, with a journal of its own. */
  readonly RunContinued: { workflow: string; generation: number }
  /** A run was put on hold: by a person, by a recovery, or because it was cut short too often. */
  readonly RunHeld: { hold: string; reason: string }
  /** The hold of a run was ended. */
  readonly RunReleased: { hold: string }
  /** The request to cancel a run is stored. `RunFinished` follows once it was carried out, in whichever process. */
  readonly RunCancelRequested: { reason: string; by: Option.Option<string> }
  /** An execution ended without an outcome. The source names the step that died, if one did. */
  readonly RunStopped: { reason: string }
  readonly AttemptStarted: { attempt: number }
  /** A step was not run, since its result is in the journal. */
  readonly StepAnswered: { attempts: number }
  readonly StepCompleted: { attempts: number }
  readonly StepFailed: { attempts: number; fault: Fault.Fault }
  /** A transaction starts to roll back, or continues to after a crash. */
  readonly RollbackStarted: { transaction: string; reason: RollbackReason }
  /** A rollback ended. It is not `clean` if a compensation failed or a pivot prevented one. */
  readonly RollbackEnded: { transaction: string; clean: boolean }
  readonly UndoCompleted: { attempts: number }
  readonly UndoFailed: { attempts: number; cause: Cause.Cause<unknown> }
  /** All work after a point of the run was compensated; the run continues from the point. */
  readonly RunRewound: { point: string; by: string }
  /** A step had started when its process ended, so its effect is unknown. */
  readonly StepAmbiguous: { attempt: number; onAmbiguous: "rerun" | "fail" | "ask" | "probe" }
  /** A snapshot is on stable storage. Not emitted for one that is replayed from the journal. */
  readonly CheckpointSaved: { checkpoint: string; id: string }
  /** A step continues the delay before an attempt that an earlier process planned. */
  readonly BackoffResumed: { attempt: number; delay: Duration.Duration }
}

/**
 * An event of a recovery, a breaker or a run.
 *
 * @since 0.1.0
 * @category models
 */
export type Event = {
  [Tag in keyof Fields]: { readonly _tag: Tag; readonly source: Source } & Readonly<Fields[Tag]>
}[keyof Fields]

/**
 * An observer receives every event of the program that it is provided to. It runs
 * in the fiber of the recovery. Its failures and defects are logged and change
 * nothing.
 *
 * @since 0.1.0
 * @category services
 */
export class Observer extends Context.Reference<Observer>()("effect-recovery/Events/Observer", {
  defaultValue: (): ((event: Event) => Effect.Effect<void>) | undefined => undefined
}) {}

/**
 * Provides an observer. Observers of outer layers receive the events too.
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
  Layer.effect(Observer, withOuterObserver(observer))

/**
 * Combines an observer with that of the outer layer.
 *
 * @internal
 */
export const withOuterObserver = (own: (event: Event) => Effect.Effect<void>): Effect.Effect<typeof own> =>
  Effect.map(Observer, (outer) =>
    outer === undefined ? own : (event) => Effect.zipRight(notify(own, event), outer(event))
  )

/**
 * Formats an event as one line of text.
 *
 * @since 0.1.0
 * @category reading
 */
export const inWords = (event: Event): string => `${at(event.source)}${describe(event)}`

/**
 * Logs every event as a line of text if `RECOVERY_DEBUG` is true, else does
 * nothing.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerDebug: Layer.Layer<never> = Layer.unwrapEffect(
  Effect.map(
    Effect.orElseSucceed(Config.boolean("RECOVERY_DEBUG"), () => false),
    (isOn) =>
      isOn
        ? layer((event) => Effect.flatMap(Redaction, ({ text }) => Effect.logInfo(text(inWords(event)))))
        : Layer.empty
  )
)

const capacity = 1_024

/** No event is published while there are no readers. */
class EventHub extends Feed<Event> {}

/**
 * The hub that {@link stream} reads. The whole process shares one, unless
 * {@link layerHub} provides another.
 *
 * @since 0.1.0
 * @category services
 */
export class Hub extends Context.Reference<Hub>()("effect-recovery/Events/Hub", {
  defaultValue: (): EventHub => new EventHub()
}) {}

/**
 * Provides a separate hub, so that the events of this program do not mix with
 * those of others in the process.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHub: Layer.Layer<never> = Layer.sync(Hub, () => new EventHub())

/**
 * Subscribes to the events from this effect on, until its scope closes. Programs
 * do not wait for readers: a reader that is more than 1,024 events behind loses
 * the oldest ones.
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
export const subscribe: Effect.Effect<Stream.Stream<Event>, never, Scope.Scope> = Effect.flatMap(Hub, (hub) =>
  // A sliding queue never makes the program wait.
  subscription(hub, Queue.sliding<Event>(capacity))
)

/**
 * The events from the start of the stream; see {@link subscribe}.
 *
 * @since 0.1.0
 * @category reading
 */
export const stream: Stream.Stream<Event> = Stream.unwrapScoped(subscribe)

/**
 * Where events go in the current fiber.
 *
 * @since 0.1.0
 * @category emitting
 */
export interface Watch {
  /** Whether an observer or a reader sees events. If not, the event need not be built. */
  readonly isOn: () => boolean
  readonly emit: (event: Event) => Effect.Effect<void>
}

/**
 * Reads the hub and the observer once, for several events. {@link emit} reads
 * them for each event.
 *
 * @since 0.1.0
 * @category emitting
 */
export const watch: Effect.Effect<Watch> = Effect.contextWith((context: Context.Context<never>) => watchIn(context))

/**
 * As {@link watch}, of a context at hand.
 *
 * @internal
 */
export const watchIn = (context: Context.Context<never>): Watch => {
  const [hub, observer] = [Context.get(context, Hub), Context.get(context, Observer)]
  return {
    isOn: () => observer !== undefined || hub.isRead,
    emit: (event) =>
      Effect.suspend(() => {
        hub.publish(event)
        return observer === undefined ? Effect.void : notify(observer, event)
      })
  }
}

/**
 * Sends an event to the observer and to the readers of {@link stream}.
 *
 * @since 0.1.0
 * @category emitting
 */
export const emit = (event: Event): Effect.Effect<void> => Effect.flatMap(watch, ({ emit }) => emit(event))

const notify = (observer: (event: Event) => Effect.Effect<void>, event: Event): Effect.Effect<void> =>
  logged(
    Effect.suspend(() => observer(event)),
    "an event observer failed; the event is dropped"
  )

const at = ({ recovery, run, step }: Source): string => {
  const place = [run, step ?? recovery].filter((part) => part !== undefined).join(" ")
  return place === "" ? "" : `${place}: `
}

const of = ({ category, message, severity, transient }: Fault.Fault): string =>
  `${message} (${category}, ${severity}${transient ? ", transient" : ""})`

const times = (count: number): string => `${count} attempt${count === 1 ? "" : "s"}`

type Of<Tag extends keyof Fields> = { [T in Tag]: { readonly _tag: T } & Readonly<Fields[T]> }[Tag]

const descriptions: { readonly [Tag in keyof Fields]: (event: Of<Tag>) => string } = {
  Decided: ({ attempt, decision, delay, fault, strategy }) => {
    const after = Duration.toMillis(delay) === 0 ? "" : ` in ${durationText(delay)}`
    return `attempt ${attempt} failed: ${of(fault)}; strategy ${strategy} decided ${decision}${after}`
  },
  RecoveryEnded: ({ attempts, elapsed, outcome }) => `${outcome} after ${times(attempts)} and ${durationText(elapsed)}`,
  BreakerChanged: ({ change }) => `circuit breaker ${change.breaker} is ${change.to}`,
  RunStarted: ({ workflow }) => `run of ${workflow} started`,
  RunResumed: ({ answered, workflow }) => `run of ${workflow} resumed with ${answered} completed steps`,
  RunFinished: ({ outcome, workflow }) => `run of ${workflow} ${outcome}`,
  RunSuspended: ({ until }) =>
    `run suspended${Option.match(until, { onNone: () => "", onSome: (date) => ` until ${date.toISOString()}` })}`,
  RunContinued: ({ generation, workflow }) => `run of ${workflow} continued as generation ${generation}`,
  RunHeld: ({ hold, reason }) => `run put on hold (${hold}): ${reason}`,
  RunReleased: ({ hold }) => `hold ${hold} released`,
  RunCancelRequested: ({ by, reason }) =>
    `run is to be cancelled${Option.match(by, { onNone: () => "", onSome: (by) => ` by ${by}` })}: ${reason}`,
  RunStopped: ({ reason }) => `run stopped: ${reason}`,
  RunRewound: ({ by, point }) => `run rewound to ${point} by ${by}`,
  WaitStarted: ({ about, kind }) => `waiting for ${kind}: ${about}`,
  WaitEnded: ({ answered, kind }) => `wait for ${kind} ended${answered ? " with an answer" : ""}`,
  AttemptStarted: ({ attempt }) => `attempt ${attempt} started`,
  StepAnswered: () => "replayed from the journal",
  StepCompleted: ({ attempts }) => `completed after ${times(attempts)}`,
  StepFailed: ({ attempts, fault }) => `failed after ${times(attempts)}: ${of(fault)}`,
  StepAmbiguous: ({ attempt, onAmbiguous }) =>
    `attempt ${attempt} may have taken effect; onAmbiguous is ${onAmbiguous}`,
  BackoffResumed: ({ attempt, delay }) => `attempt ${attempt} starts in ${durationText(delay)}`,
  CheckpointSaved: ({ checkpoint, id }) => `checkpoint ${checkpoint} saved (${id})`,
  RollbackStarted: ({ reason, transaction }) => `transaction ${transaction} rolls back, since it ${reason}`,
  RollbackEnded: ({ clean, transaction }) =>
    `transaction ${transaction} ${clean ? "rolled back" : "rolled back incompletely"}`,
  UndoCompleted: ({ attempts }) => `compensated after ${times(attempts)}`,
  UndoFailed: ({ attempts }) => `compensation failed after ${times(attempts)}`
}

const describe = <Tag extends keyof Fields>(event: Of<Tag>): string => {
  const tag: Tag = event._tag
  return descriptions[tag](event)
}
