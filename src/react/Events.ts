/**
 * What happens inside recoveries and runs, as values, for whoever wants to
 * watch: a log, a screen, a test.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Fault from "./Fault.js"

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
      readonly decision: "Again" | "Instead" | "GiveUp"
      /** Until the next attempt, for `Again`. */
      readonly delay: Duration.Duration
    }
  | { readonly _tag: "RunStarted"; readonly source: Source; readonly workflow: string }
  /** A run that had stopped goes on; `answered` steps are in its journal. */
  | { readonly _tag: "RunResumed"; readonly source: Source; readonly workflow: string; readonly answered: number }
  /** The outcome of a run is on record. */
  | { readonly _tag: "RunFinished"; readonly source: Source; readonly outcome: "completed" | "failed" }
  /** A run ended without an outcome and can be executed again; with the step that died, if one has. */
  | { readonly _tag: "RunStopped"; readonly source: Source; readonly reason: string }
  | { readonly _tag: "AttemptStarted"; readonly source: Source; readonly attempt: number }
  /** A step was not run: its result was in the journal. */
  | { readonly _tag: "StepAnswered"; readonly source: Source; readonly attempts: number }
  | { readonly _tag: "StepCompleted"; readonly source: Source; readonly attempts: number }
  | { readonly _tag: "StepFailed"; readonly source: Source; readonly attempts: number; readonly fault: Fault.Fault }
  /** A step had started when its process ended; nobody knows whether it happened. */
  | {
      readonly _tag: "StepAmbiguous"
      readonly source: Source
      readonly attempt: number
      readonly onAmbiguous: "rerun" | "fail"
    }
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
 * Provides an observer.
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
 * Effect.runPromise(program) // Decided
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (observer: (event: Event) => Effect.Effect<void>): Layer.Layer<never> =>
  Layer.succeed(Observer, observer)

/**
 * Hands an event to the observer, if there is one.
 *
 * @since 0.1.0
 * @category emitting
 */
export const emit = (event: Event): Effect.Effect<void> =>
  Effect.flatMap(Observer, (observer) => (observer === undefined ? Effect.void : notify(observer, event)))

const notify = (observer: (event: Event) => Effect.Effect<void>, event: Event): Effect.Effect<void> =>
  Effect.catchAllCause(
    Effect.suspend(() => observer(event)),
    (cause) => Effect.logWarning("effect-recovery: an event observer failed; the event is dropped", cause)
  )
