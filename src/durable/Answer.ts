/**
 * Answers to the questions of suspended runs, for `Workflow.resolve`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { ParseError } from "effect/ParseResult"
import { toOpenText } from "../journal/CanonicalJson.js"
import { JournalError } from "../journal/RunError.js"
import type { Point } from "../resilience/Decision.js"
import { codecOf } from "./internal/step/definition.js"
import { encodeAnswer, type SentAnswer } from "./internal/wait/resolve.js"
import type { Step } from "./Step.js"

/**
 * An answer to a question. `R` is what its schema needs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Answer<out R = never> {
  readonly _tag: "Retry" | "Value" | "Skip" | "Rewind" | "Abort"
  /** Who answers. */
  readonly by?: string | undefined
  /** Why, for the record. */
  readonly note?: string | undefined
  /** @internal */
  readonly write: Effect.Effect<SentAnswer, unknown, R>
}

/**
 * Recorded with an answer.
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
 * Adds who answers, and why.
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
 * Run the step again with other values of the parameters that the question offers.
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
 * Use this value as the result of the step. The step does not run again.
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
export const value = <A, S>(
  // The step is not used, so its input does not matter.
  step: Step<A, unknown, unknown, S> | ((input: never) => Step<A, unknown, unknown, S>),
  result: NoInfer<A>
): Answer<S> =>
  make(
    "Value",
    Effect.flatMap(
      // What the schema needs is in the type of the step.
      codecOf(step).encode(result) as Effect.Effect<string | undefined, unknown, S>,
      (text) => Effect.succeed({ _tag: "Value", value: text === undefined ? undefined : JSON.parse(text) })
    )
  )

/**
 * As `value`, but as JSON, for callers without the schema. The run decodes it
 * when it resumes, and refuses a value that does not fit.
 *
 * @since 0.1.0
 * @category answers
 */
export const json = (result: unknown): Answer => make("Value", Effect.succeed({ _tag: "Value", value: result }))

/**
 * Continue without the result: with the stand-in of the question, or with void
 * if the step returns void.
 *
 * @since 0.1.0
 * @category answers
 */
export const skip: Answer = make("Skip", Effect.succeed({ _tag: "Skip" }))

/**
 * Rewind the run: compensate the steps after a point (`Workflow.fromStart`,
 * `beforeStep` or `afterCheckpoint`) and continue from there.
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
    // `json` and `retryWith` carry values that no schema has encoded.
    Effect.flatMap(write, (answer) =>
      Effect.zipRight(
        Effect.try({ try: () => toOpenText(answer), catch: (cause) => cause }),
        encodeAnswer({ ...answer, by, note })
      )
    ),
    (cause) => new JournalError({ reason: "Encode", run, record: "answer", cause })
  )
