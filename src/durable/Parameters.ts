/**
 * Parameters are settings of a program that a strategy may change before the
 * next attempt: a smaller batch, a lower temperature, a longer timeout. The
 * program only reads them. The journal records each change with the failure that
 * caused it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { ParseError } from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { markSecrets, withoutPaths } from "../journal/Secrets.js"
import type { Patchable } from "../resilience/Strategy.js"
import type { Cells, Past } from "./State.js"
import * as State from "./State.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Parameters<in out A, out R = never> extends Patchable<A, Cells | R> {
  /** The current parameters. */
  readonly get: Effect.Effect<A, never, Cells | R>
  /** The values they were changed to, newest first. `limit` defaults to 100; 0 returns none, `Infinity` all. */
  readonly history: (limit?: number) => Effect.Effect<ReadonlyArray<Past<A>>, never, Cells | R>
  /** Decodes new parameters and returns the effect that sets them, for a person's answer to `Strategy.manual`. */
  readonly set: (json: unknown) => Effect.Effect<Effect.Effect<void, never, Cells | R>, ParseError, R>
  /** Encodes parameters in the form that `set` decodes. */
  readonly encode: (parameters: A) => Effect.Effect<unknown, ParseError, R>
}

/**
 * Parameters of a run. `Strategy.modify` changes them. Outside of runs, provide
 * `State.layer`.
 *
 * @example
 * ```ts
 * import { Parameters } from "effect-recovery"
 * import { Schema } from "effect"
 *
 * export const Model = Parameters.make(
 *   "model",
 *   Schema.Struct({ temperature: Schema.Number, maxTokens: Schema.Number }),
 *   { temperature: 0.7, maxTokens: 2_000 }
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A, I, R>(name: string, schema: Schema.Schema<A, I, R>, initial: NoInfer<A>): Parameters<A, R> => {
  const state = State.make(`parameters.${name}`, schema, initial)
  const decode = Schema.decodeUnknown(schema)
  const encode = Schema.encode(schema)
  return {
    name,
    get: state.get,
    history: state.history,
    patch: state.update,
    set: (json) => Effect.map(decode(withoutPaths(json)), (parameters) => state.set(parameters)),
    encode: (parameters) => Effect.map(encode(parameters), (json) => markSecrets(schema.ast, json))
  }
}
