import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Attempt } from "./definition.js"

/** Fails in place of a step's attempt, or lets it run. */
export type Fault = (step: string, attempt: Attempt) => Effect.Effect<void, unknown>

/** For tests: what goes wrong with steps that would go right. */
export class Injected extends Context.Tag("effect-recovery/testing/Injected")<Injected, Fault>() {}
