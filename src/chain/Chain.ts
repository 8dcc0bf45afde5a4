/**
 * A chain generates a text, validates it and criticises it, and generates a
 * better one, until the text passes or the iterations are used up. Each part is an
 * effect of yours. Each result is recorded, so a chain that was interrupted
 * resumes where it stopped.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type { CheckpointInvalid, CheckpointNotFound } from "../durable/CheckpointError.js"
import type * as State from "../durable/State.js"
import type * as Step from "../durable/Step.js"
import * as Workflow from "../durable/Workflow.js"
import type { JournalError, RunError, RunNotFound } from "../journal/RunError.js"
import { whole } from "../resilience/internal/kernel/options.js"
import type * as Strategy from "../resilience/Strategy.js"
import * as Storage from "../storage/Storage.js"
import type { Transaction } from "../transaction/Transaction.js"
import * as body_ from "./internal/body.js"
import { bottlenecksOf, historyOf, suggest } from "./internal/inspect.js"
import type { Verdict } from "./Verdict.js"

/** @since 0.1.0 */
export * from "./Verdict.js"

/**
 * The argument of the generator, the validators and the critics.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context<out Input, out Text> {
  readonly input: Input
  /** Starts at 1. */
  readonly iteration: number
  /** Results by retriever. */
  readonly retrieved: Readonly<Record<string, string>>
  /** The text of the previous iteration. */
  readonly previous: Text | undefined
  /** Messages of the validators that the previous text did not pass, by validator. */
  readonly problems: Readonly<Record<string, string>>
  /** Feedback on the previous text, by critic. */
  readonly feedback: Readonly<Record<string, string>>
}

/**
 * The result of a chain.
 *
 * @since 0.1.0
 * @category models
 */
export interface Result<out Text> {
  readonly text: Text
  /** Whether the text passed all validators. */
  readonly passed: boolean
  readonly iterations: number
  /** Verdicts on the last text, by validator. */
  readonly verdicts: Readonly<Record<string, Verdict>>
  /** Feedback on the last text that was criticised, by critic. */
  readonly feedback: Readonly<Record<string, string>>
}

/**
 * A part of a chain returns an effect, or a `Step` if it needs a recovery, a
 * timeout or a compensation of its own.
 *
 * @since 0.1.0
 * @category models
 */
export type Part<A> = Effect.Effect<A, unknown, unknown>

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<
  Input extends Schema.Schema.Any,
  Text extends Schema.Schema.Any,
  Error extends Schema.Schema.All,
  Generate extends Part<Text["Type"]>,
  Retrieve extends Readonly<Record<string, Part<string>>>,
  Validate extends Readonly<Record<string, Part<Verdict>>>,
  Criticize extends Readonly<Record<string, Part<string>>>
> {
  /** The schema of the input, such as a prompt. */
  readonly input: Input
  /** The schema of the text. */
  readonly text: Text
  /** The schema of the parts' errors. Defaults to `Schema.Never`. */
  readonly error?: Error
  /** The version recorded with each run. Defaults to "1". */
  readonly version?: string | undefined
  /** Run concurrently before the first text is generated. */
  readonly retrieve?: { readonly [Name in keyof Retrieve]: (input: Input["Type"]) => Retrieve[Name] }
  readonly generate: (context: Context<Input["Type"], Text["Type"]>) => Generate
  /** Run concurrently on each text. Without validators, each text passes. */
  readonly validate?: {
    readonly [Name in keyof Validate]: (
      text: Text["Type"],
      context: Context<Input["Type"], Text["Type"]>
    ) => Validate[Name]
  }
  /** Run concurrently on a text that did not pass. The next iteration gets their feedback. */
  readonly criticize?: {
    readonly [Name in keyof Criticize]: (
      text: Text["Type"],
      context: Context<Input["Type"], Text["Type"]>
    ) => Criticize[Name]
  }
  /** The maximum number of texts, at least 1. Defaults to 3. */
  readonly maxIterations?: number | undefined
  /**
   * Also criticises texts that passed, and generates better ones until the
   * iterations are used up. Defaults to false.
   */
  readonly alwaysCriticize?: boolean | undefined
  /** Recorded with each checkpoint, such as the name of a model. Must have a JSON form. */
  readonly metadata?: ((input: Input["Type"]) => Readonly<Record<string, unknown>>) | undefined
}

/**
 * The errors of the parts of a chain.
 *
 * @since 0.1.0
 * @category models
 */
export type ErrorOf<P> = P extends Effect.Effect<unknown, infer E, unknown> ? E : never

/**
 * The requirements of the parts of a chain. A part that uses a step without being
 * one requires `StepInsideStep`, which no layer provides: its step would run inside
 * of another step.
 *
 * @since 0.1.0
 * @category models
 */
export type RequirementsOf<P> =
  P extends Step.Step<unknown, unknown, infer R, unknown>
    ? Exclude<R, Workflow.Run>
    : P extends Effect.Effect<unknown, unknown, infer R>
      ? Workflow.Run extends R
        ? Step.StepInsideStep | Exclude<R, Workflow.Run>
        : R
      : never

/**
 * @since 0.1.0
 * @category models
 */
export interface Chain<in Input, out Text, out E, out R, out S = never> {
  readonly name: string
  /** The chain as a workflow, for workers, rewinds and answers. */
  readonly workflow: Workflow.Workflow<Input, Result<Text>, E, R, S>
  /** Runs the chain in memory, without a record. */
  readonly run: (input: Input) => Effect.Effect<Result<Text>, E | RunError, Exclude<R, Storage.Storage>>
  /**
   * As `run`, with a record in the storage. Run again with the same id, it resumes
   * where it stopped, or returns the recorded result.
   */
  readonly runWithRecovery: (
    input: Input,
    options: { readonly id: string; readonly labels?: Readonly<Record<string, string>> | undefined }
  ) => Effect.Effect<Result<Text>, E | RunError, R | Storage.Storage>
  /** The checkpoints of a run, oldest first. */
  readonly history: (
    id: string
  ) => Effect.Effect<
    ReadonlyArray<Moment<Text>>,
    CheckpointInvalid | CheckpointNotFound | JournalError | Storage.StorageError,
    Storage.Storage | R
  >
  /**
   * Suggests recoveries for a failure of a run, best first. Empty for a run
   * without checkpoints. Changes nothing.
   */
  readonly suggestions: (
    id: string,
    error: unknown
  ) => Effect.Effect<
    ReadonlyArray<Suggestion>,
    CheckpointInvalid | CheckpointNotFound | JournalError | Storage.StorageError,
    Storage.Storage | R
  >
  /** The slowest parts of a run, slowest first. */
  readonly bottlenecks: (
    id: string,
    options?: {
      /** The maximum number of parts: 0 for none, `Infinity` for all. Defaults to 3. */
      readonly limit?: number | undefined
      /** Only parts that take longer on average; 0 for all. Defaults to 100 milliseconds. */
      readonly above?: Duration.DurationInput | undefined
    }
  ) => Effect.Effect<ReadonlyArray<Bottleneck>, RunNotFound | JournalError | Storage.StorageError, Storage.Storage>
}

/**
 * The steps of a chain in their order.
 *
 * @since 0.1.0
 * @category models
 */
export type ChainStep =
  | "initialization"
  | "pre_retrieval"
  | "generation"
  | "pre_validation"
  | "validation"
  | "pre_criticism"
  | "criticism"
  | "complete"

/**
 * A checkpoint of a chain.
 *
 * @since 0.1.0
 * @category models
 */
export interface Moment<out Text> {
  /** The step that was reached. */
  readonly step: ChainStep
  readonly iteration: number
  /** The text of this iteration; before its generation, the previous text. */
  readonly text: Text | undefined
  readonly verdicts: Readonly<Record<string, Verdict>>
  readonly feedback: Readonly<Record<string, string>>
  readonly at: Date
  /** The id of the checkpoint. */
  readonly checkpoint: string
  readonly metadata: Readonly<Record<string, unknown>>
}

/**
 * A suggested recovery.
 *
 * @since 0.1.0
 * @category models
 */
export interface Suggestion {
  readonly strategy:
    | "retry"
    | "modify"
    | "skip"
    | "restartIteration"
    | "restartFrom generate"
    | "restartFrom validate"
    | "restart"
  readonly reason: string
  /** The parameters to change, for `modify`: advice, which nothing reads. */
  readonly parameters: Readonly<Record<string, string | number | boolean>>
  /** How well the strategy fits the failure, 0 to 1. Suggestions are sorted by it. */
  readonly confidence: number
  /** The success rate, 0 to 1, among the most similar of the chain's latest runs; a prior if none of them tried it. */
  readonly estimatedSuccess: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Bottleneck {
  /** For example `generate` or `validate length`. */
  readonly part: string
  readonly times: number
  readonly average: Duration.Duration
}

/**
 * Defines a chain, once, at the top of a module. Compensations of its parts run
 * on a rewind. A chain that fails compensates nothing.
 *
 * @example
 * ```ts
 * import { Chain } from "effect-recovery/chain"
 * import { Effect, Schema } from "effect"
 *
 * const Slogan = Chain.make("slogan", {
 *   input: Schema.String,
 *   text: Schema.String,
 *   generate: ({ feedback, input }) => Effect.succeed(feedback.tone === undefined ? `Buy ${input}` : `Enjoy ${input}!`),
 *   validate: { warmth: (text) => Effect.succeed(text.endsWith("!") ? Chain.passed : Chain.failed("too cold")) },
 *   criticize: { tone: () => Effect.succeed("say it with joy") }
 * })
 *
 * Slogan.run("tea").pipe(Effect.runPromise).then(({ iterations, text }) => console.log(iterations, text)) // 2 Enjoy tea!
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <
  Input extends Schema.Schema.Any,
  Text extends Schema.Schema.Any,
  Generate extends Part<Text["Type"]>,
  Error extends Schema.Schema.All = typeof Schema.Never,
  Retrieve extends Readonly<Record<string, Part<string>>> = {},
  Validate extends Readonly<Record<string, Part<Verdict>>> = {},
  Criticize extends Readonly<Record<string, Part<string>>> = {}
>(
  name: string,
  options: Options<Input, Text, Error, Generate, Retrieve, Validate, Criticize>
): Made<
  Error["Type"],
  Input["Type"],
  Text["Type"],
  ErrorOf<PartsOf<Generate, Retrieve, Validate, Criticize>>,
  | Exclude<
      RequirementsOf<PartsOf<Generate, Retrieve, Validate, Criticize>>,
      Strategy.Rewinder | Strategy.Asker | State.Cells | Transaction
    >
  | Schema.Schema.Context<Input>
  | Schema.Schema.Context<Text>
  | Schema.Schema.Context<Error>
  | Storage.Storage,
  Schema.Schema.Context<Input>
> => {
  const { maxIterations = 3 } = options
  whole("maxIterations", maxIterations, 1)
  // Internally parts are untyped effects. The return type restores their types.
  const parts = body_.partsOf(name, options as never)
  const workflow = Workflow.make(
    name,
    {
      input: options.input,
      success: body_.resultOf(options.text),
      error: options.error ?? Schema.Never,
      version: options.version ?? "1"
    },
    (input: unknown) => body_.run(parts, input) as Effect.Effect<never, never, never>
  )
  const runWithRecovery = (input: unknown, request: { readonly id: string }) =>
    Workflow.execute(workflow, { ...request, input } as never)
  // The types of the options determine those of the chain. `Made` checks that the errors fit the schema.
  return {
    name,
    workflow,
    runWithRecovery,
    run: (input: unknown) =>
      Effect.flatMap(Random.nextIntBetween(0, 2 ** 31), (id) =>
        Effect.provide(runWithRecovery(input, { id: `${name}-${id.toString(36)}` }), Storage.layerMemory)
      ),
    history: (id: string) => historyOf(parts, id),
    suggestions: (id: string, error: unknown) => suggest(parts, id, error),
    bottlenecks: bottlenecksOf
  } as never
}

type PartsOf<Generate, Retrieve, Validate, Criticize> =
  | Generate
  | Retrieve[keyof Retrieve]
  | Validate[keyof Validate]
  | Criticize[keyof Criticize]

/**
 * A chain, unless its parts have errors that its error schema does not cover.
 *
 * @since 0.1.0
 * @category models
 */
export type Made<Error, Input, Text, E, R, S = never> = [E] extends [Workflow.Failure<Error> | RunError]
  ? Chain<Input, Text, E, R, S>
  : { readonly refused: "the schema in error does not cover all errors of the parts" }
