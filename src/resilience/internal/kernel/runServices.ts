import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Decision from "../../Decision.js"
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
