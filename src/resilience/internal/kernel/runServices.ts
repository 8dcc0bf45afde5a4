import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Decision from "../../Decision.js"
import type { Outcome, Source } from "../../Events.js"
import type * as Fault from "../../Fault.js"
import type { RewindRefused } from "../../RecoveryError.js"
import type * as Strategy from "../../Strategy.js"

/** Parameters that an answer may change, found by name and decoded by their schema. */
export interface Settable<out R = never> {
  readonly name: string
  readonly set: (json: unknown) => Effect.Effect<Effect.Effect<void, never, R>, unknown, R>
}

/** A question to a person or another system, and what an answer may contain. */
export interface AskRequest<R = never> {
  readonly strategy: string
  readonly question: string
  /** The person or team that is asked. */
  readonly to: string | undefined
  readonly failure: Strategy.Failure<unknown>
  readonly parameters: ReadonlyArray<Settable<R>>
  /** The value that replaces the result if the answer is "skip". */
  readonly standIn: Option.Option<unknown>
  /** Decodes a value given as the answer. Defaults to the success schema of the surrounding step. */
  readonly schema: Schema.Schema.All | undefined
}

export interface AskerService {
  readonly ask: <R>(request: AskRequest<R>) => Effect.Effect<Decision.Decision<unknown, never, R>, never, R>
}

/**
 * Records questions and waits for their answers. Every workflow run provides it.
 *
 * @since 0.1.0
 * @category services
 */
export class Asker extends Context.Tag("effect-recovery/Asker")<Asker, AskerService>() {}

/** Where to rewind, and how often. */
export interface RewindRequest<R = never> {
  readonly strategy: string
  readonly point: Decision.Point
  /** How often this recovery may rewind the run. */
  readonly times: number
  /** The message of the failure, for the journal. */
  readonly reason: string
  /** Checks a checkpoint; the rewinder asks for the newest one first. */
  readonly accepts?: ((checkpoint: string) => Effect.Effect<boolean, never, R>) | undefined
}

export interface RewinderService {
  readonly plan: <R>(request: RewindRequest<R>) => Effect.Effect<Decision.Decision<never, RewindRefused>, never, R>
}

/**
 * Rewinds the surrounding run. Every workflow run provides it.
 *
 * @since 0.1.0
 * @category services
 */
export class Rewinder extends Context.Tag("effect-recovery/Rewinder")<Rewinder, RewinderService>() {}

/** A decision of a recovery that an earlier execution of the run recorded. */
export interface RecordedDecision {
  /** When the failure, the answer or the failure of an alternative came that it is about; epoch milliseconds. */
  readonly at: number
  readonly decision: Decision.Decision["_tag"]
  /** The strategy that decided. */
  readonly by: string
  /** When the next attempt starts, for `Again`; epoch milliseconds. */
  readonly next?: number | undefined
  readonly fault: Fault.Fault
}

/** The record of one recovery in the body of a run. */
export interface RecoveryJournal {
  readonly source: Source
  /** The clock of the recorded times. */
  readonly clock: Clock.Clock
  /** The next recorded decision, if it is about such a failure of this attempt. */
  readonly recorded: (attempt: number, fault: Fault.Fault) => RecordedDecision | undefined
  /** The next recorded decision is performed: waits until everything recorded before it was returned. */
  readonly take: Effect.Effect<void>
  /** The program decides otherwise from here on: drops the rest of the record. */
  readonly diverge: () => void
  /** What the record says after an `Again`: its retry started, a budget refused it, or nothing. */
  readonly isPast: (attempt: number) => "retried" | "refused" | undefined
  /** Asks ranked strategies in the order in which they have decided before. */
  readonly ranked: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Runs before a new decision. Never returns while the run is only replayed. */
  readonly begin: Effect.Effect<void>
  readonly decided: (
    failure: Strategy.Failure<unknown>,
    decision: Decision.Decision<unknown, unknown, unknown>,
    by: string
  ) => Effect.Effect<void>
  /** Waits for the rest of a delay. */
  readonly sleepUntil: (time: number) => Effect.Effect<void>
  /** Records the end. Returns false if it need not be reported: it was before, or the recovery continues in another execution. */
  readonly ended: (outcome: Outcome, attempts: number) => Effect.Effect<boolean>
}

export interface DecisionsService {
  /** Opens the record of a recovery at its first failure; undefined where the run does not record it, as inside a step. */
  readonly open: (failure: {
    /** The name of the recovery. */
    readonly name: string | undefined
    readonly error: unknown
    readonly fault: Fault.Fault
  }) => Effect.Effect<RecoveryJournal | undefined>
}

/** Records the decisions of recoveries in the body of a run. Every workflow run provides it. */
export class Decisions extends Context.Tag("effect-recovery/Decisions")<Decisions, DecisionsService>() {}
