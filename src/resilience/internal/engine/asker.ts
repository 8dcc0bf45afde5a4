import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Decision from "../../Decision.js"
import type * as Strategy from "../../Strategy.js"

/** Parameters an answer may change: known by name, and read by their schema. */
export interface Settable<out R = never> {
  readonly name: string
  readonly set: (json: unknown) => Effect.Effect<Effect.Effect<void, never, R>, unknown, R>
}

/** What somebody is asked, and what the answer may be. */
export interface AskRequest<R = never> {
  readonly strategy: string
  readonly question: string
  /** Who is to answer. */
  readonly to: string | undefined
  readonly failure: Strategy.Failure<unknown>
  readonly parameters: ReadonlyArray<Settable<R>>
  /** What takes the place of the result if the answer is to go on without it. */
  readonly standIn: Option.Option<unknown>
  /** How a value is read that is given as the answer; that of the step around, if it says nothing. */
  readonly schema: Schema.Schema.All | undefined
}

export interface AskerService {
  readonly ask: <R>(request: AskRequest<R>) => Effect.Effect<Decision.Decision<unknown, never, R>, never, R>
}

/**
 * Who takes questions: the run around. Workflows provide it.
 */
export class Asker extends Context.Tag("effect-recovery/Asker")<Asker, AskerService>() {}
