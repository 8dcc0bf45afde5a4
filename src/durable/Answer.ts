/**
 * Answers to the questions of suspended runs, for `Workflow.resolve`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { ParseError } from "effect/ParseResult"
import type { Point } from "../resilience/Decision.js"
import { codecOf } from "./internal/step/definition.js"
import { encodeAnswer, type SentAnswer } from "./internal/wait/resolve.js"
import { JournalError } from "./RunError.js"
import type { Step } from "./Step.js"

/**
 * Needs `R` to be written.
 *
 * @since 0.1.0
 * @category models
 */
export interface Answer<out R = never> {
  readonly _tag: "Retry" | "Value" | "Skip" | "Rewind" | "Abort"
  /** Who has answered. */
  readonly by?: string | undefined
  /** Why, for the record. */
  readonly note?: string | undefined
  /** @internal */
  readonly write: Effect.Effect<SentAnswer, unknown, R>
}

/**
 * What goes on record with an answer.
 *
 * @since 0.1.0
 * @category models
 */
export interface About {
  /** Who answers. */
  readonly by?: string | undefined
  /** Why. */
  readonly note?: string | undefined
}

const make = <R>(tag: Answer["_tag"], write: Effect.Effect<SentAnswer, unknown, R>): Answer<R> => ({ _tag: tag, write })

/**
 * Says who answers, and why.
 *
 * @since 0.1.0
 * @category combinators
 */
export const from =
  (about: About) =>
  <R>(answer: Answer<R>): Answer<R> => ({ ...answer, ...about })

/**
 * Run the step again.
 *
 * @since 0.1.0
 * @category answers
 */
export const retry: Answer = make("Retry", Effect.succeed({ _tag: "Retry" }))

/**
 * Run the step again, with other parameters: those the question offers.
 *
 * @since 0.1.0
 * @category answers
 */
export const retryWith = <A, R>(
  parameters: { readonly name: string; readonly encode: (parameters: A) => Effect.Effect<unknown, ParseError, R> },
  value: NoInfer<A>
): Answer<R> =>
  make(
    "Retry",
    Effect.map(parameters.encode(value), (json) => ({
      _tag: "Retry",
      parameters: { name: parameters.name, value: json }
    }))
  )

/**
 * This is the result of the step: it is not run again.
 *
 * @example
 * ```ts
 * import { Answer, Step, Workflow } from "effect-recovery"
 *
 * declare const charge: (amount: number) => Step.Step<{ receipt: string }, never, never>
 *
 * export const paidInCash = (order: string, receipt: string) =>
 *   Workflow.resolve(order, Answer.value(charge, { receipt }))
 * ```
 *
 * @since 0.1.0
 * @category answers
 */
export const value = <A>(
  // The input is whatever it is: the step is not used.
  step: Step<A, unknown, unknown> | ((input: never) => Step<A, unknown, unknown>),
  result: NoInfer<A>
): Answer =>
  make(
    "Value",
    Effect.flatMap(
      // The step's schema needs what the step needs; whoever answers writes with a schema that needs nothing.
      codecOf(step).encode(result) as Effect.Effect<string | undefined, unknown>,
      (text) => Effect.succeed({ _tag: "Value", value: text === undefined ? undefined : JSON.parse(text) })
    )
  )

/**
 * As `value`, as JSON: for command lines and pages that know no schema. It is
 * read when the run goes on, and one that does not fit is refused.
 *
 * @since 0.1.0
 * @category answers
 */
export const json = (result: unknown): Answer => make("Value", Effect.succeed({ _tag: "Value", value: result }))

/**
 * Go on without the result: with the stand-in of the question, or with nothing
 * if the step returns nothing.
 *
 * @since 0.1.0
 * @category answers
 */
export const skip: Answer = make("Skip", Effect.succeed({ _tag: "Skip" }))

/**
 * Compensate and forget what the run has done after a point, and go on from
 * there: `Workflow.fromStart`, `beforeStep` or `afterCheckpoint`.
 *
 * @since 0.1.0
 * @category answers
 */
export const rewind = (to: Point): Answer => make("Rewind", Effect.succeed({ _tag: "Rewind", to }))

/**
 * Fail with the error the question is about.
 *
 * @since 0.1.0
 * @category answers
 */
export const abort: Answer = make("Abort", Effect.succeed({ _tag: "Abort" }))

/**
 * @internal
 */
export const encode = <R>(run: string, { by, note, write }: Answer<R>): Effect.Effect<string, JournalError, R> =>
  Effect.mapError(
    Effect.flatMap(write, (answer) => encodeAnswer({ ...answer, by, note })),
    (cause) => new JournalError({ reason: "Encode", run, record: "answer", cause })
  )
