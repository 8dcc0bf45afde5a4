import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Decision from "../../Decision.js"
import type { RewindRefused } from "../errors.js"

/** What a rewind is to do, and how often. */
export interface RewindRequest<R = never> {
  readonly strategy: string
  readonly point: Decision.Point
  /** How often this recovery may rewind the run. */
  readonly times: number
  /** Why, in words. */
  readonly reason: string
  /** Which of the checkpoints will do, newest first. */
  readonly accepts?: ((checkpoint: string) => Effect.Effect<boolean, never, R>) | undefined
}

export interface RewinderService {
  readonly plan: <R>(request: RewindRequest<R>) => Effect.Effect<Decision.Decision<never, RewindRefused>, never, R>
}

/**
 * What can be rewound: the run around. Workflows provide it.
 */
export class Rewinder extends Context.Tag("effect-recovery/Rewinder")<Rewinder, RewinderService>() {}
