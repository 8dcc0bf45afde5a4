/**
 * A chain makes a text, validates it, has it criticised and makes it better,
 * until it is good or the iterations are over: retrieve, generate, validate,
 * criticise. Each part is an effect of yours; each result is recorded, so a
 * chain that was cut short goes on where it was.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type { CheckpointInvalid, CheckpointNotFound } from "../durable/CheckpointError.js"
import type { JournalError, Machinery, RunError, RunNotFound } from "../durable/RunError.js"
import type * as State from "../durable/State.js"
import type * as Step from "../durable/Step.js"
import * as Workflow from "../durable/Workflow.js"
import type * as Strategy from "../resilience/Strategy.js"
import * as Storage from "../storage/Storage.js"
import type { Transaction } from "../transaction/Transaction.js"
import * as body_ from "./internal/body.js"
import { bottlenecksOf, historyOf } from "./internal/look.js"
import { Verdict as VerdictSchema } from "./internal/models.js"
import { suggest } from "./internal/suggest.js"

/**
 * What a validator says.
 *
 * @since 0.1.0
 * @category models
 */
export const Verdict = VerdictSchema
/**
 * @since 0.1.0
 * @category models
 */
export type Verdict = VerdictSchema

/**
 * The text is good.
 *
 * @since 0.1.0
 * @category verdicts
 */
export const passed: Verdict = { passed: true }

/**
 * The text is not good, and why.
 *
 * @since 0.1.0
 * @category verdicts
 */
export const failed = (message: string): Verdict => ({ passed: false, message })

/**
 * What the generator, the validators and the critics are told.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context<out Input, out Text> {
  readonly input: Input
  /** 1 for the first. */
  readonly iteration: number
  /** By retriever. */
  readonly retrieved: Readonly<Record<string, string>>
  /** The text of the iteration before. */
  readonly previous: Text | undefined
  /** What validators found wrong with it, by validator. */
  readonly problems: Readonly<Record<string, string>>
  /** What critics said about it, by critic. */
  readonly feedback: Readonly<Record<string, string>>
}

/**
 * What a chain comes to.
 *
 * @since 0.1.0
 * @category models
 */
export interface Result<out Text> {
  readonly text: Text
  /** Whether all validators passed it. */
  readonly passed: boolean
  readonly iterations: number
  /** Of the last text, by validator. */
  readonly verdicts: Readonly<Record<string, Verdict>>
  /** Of the last text that was criticised, by critic. */
  readonly feedback: Readonly<Record<string, string>>
}

/**
 * What a part of a chain answers with: an effect, or a `Step` where it is to
 * have a recovery, a timeout or a compensation of its own.
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
  /** What it is asked, such as a prompt. */
  readonly input: Input
  /** What it makes. */
  readonly text: Text
  /** The errors of its parts. Defaults to `Schema.Never`. */
  readonly error?: Error
  /** Recorded with every run. Defaults to "1". */
  readonly version?: string | undefined
  /** Run side by side, before the first text. */
  readonly retrieve?: { readonly [Name in keyof Retrieve]: (input: Input["Type"]) => Retrieve[Name] }
  readonly generate: (context: Context<Input["Type"], Text["Type"]>) => Generate
  /** Run side by side on each text. Without any, every text is good. */
  readonly validate?: {
    readonly [Name in keyof Validate]: (
      text: Text["Type"],
      context: Context<Input["Type"], Text["Type"]>
    ) => Validate[Name]
  }
  /** Run side by side on a text that is not good; what they say goes to the next iteration. */
  readonly criticize?: {
    readonly [Name in keyof Criticize]: (
      text: Text["Type"],
      context: Context<Input["Type"], Text["Type"]>
    ) => Criticize[Name]
  }
  /** How many texts it makes at most. Defaults to 3. */
  readonly maxIterations?: number | undefined
  /**
   * Have good texts criticised too, and made better, as long as there are
   * iterations. Defaults to false.
   */
  readonly alwaysCriticize?: boolean | undefined
  /** To be kept with each of its checkpoints, as JSON has it, such as the name of a model. */
  readonly metadata?: ((input: Input["Type"]) => Readonly<Record<string, unknown>>) | undefined
}

/**
 * What the parts of a chain may fail with.
 *
 * @since 0.1.0
 * @category models
 */
export type ErrorOf<P> = P extends Effect.Effect<unknown, infer E, unknown> ? E : never

/**
 * What the parts of a chain need. One that uses a step and is none itself
 * needs what nobody provides: the step would be inside of another one.
 *
 * @since 0.1.0
 * @category models
 */
export type RequirementsOf<P> =
  P extends Step.Step<unknown, unknown, infer R>
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
export interface Chain<in Input, out Text, out E, out R> {
  readonly name: string
  /** The chain as a workflow, for workers, rewinds and answers. */
  readonly workflow: Workflow.Workflow<Input, Result<Text>, E, R>
  /** Runs it in memory: nothing of it is kept. */
  readonly run: (input: Input) => Effect.Effect<Result<Text>, E | RunError, Exclude<R, Storage.Storage>>
  /**
   * As `run`, and recorded: run again with the same id it goes on where it
   * was, or answers with what it came to.
   */
  readonly runWithRecovery: (
    input: Input,
    options: { readonly id: string; readonly labels?: Readonly<Record<string, string>> | undefined }
  ) => Effect.Effect<Result<Text>, E | RunError, R | Storage.Storage>
  /** Its checkpoints, oldest first. */
  readonly history: (
    id: string
  ) => Effect.Effect<
    ReadonlyArray<Moment<Text>>,
    CheckpointInvalid | CheckpointNotFound | JournalError | Storage.StorageError,
    Storage.Storage | R
  >
  /**
   * What could be done about a failure of a run, best first; nothing for a run
   * of which no checkpoint was kept. Only a proposal: nothing is done.
   */
  readonly suggestions: (
    id: string,
    error: unknown
  ) => Effect.Effect<
    ReadonlyArray<Suggestion>,
    CheckpointInvalid | CheckpointNotFound | JournalError | Storage.StorageError,
    Storage.Storage | R
  >
  /** Its slowest parts, slowest first. */
  readonly bottlenecks: (
    id: string,
    options?: {
      /** How many. Defaults to 3. */
      readonly limit?: number | undefined
      /** Only those that take longer on average. Defaults to 100 milliseconds. */
      readonly above?: Duration.DurationInput | undefined
    }
  ) => Effect.Effect<ReadonlyArray<Bottleneck>, RunNotFound | JournalError | Storage.StorageError, Storage.Storage>
}

/**
 * The steps of a chain, in the order in which it comes by them.
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
  /** What it had come to. */
  readonly step: ChainStep
  readonly iteration: number
  /** The text of this iteration; before its generation that of the one before. */
  readonly text: Text | undefined
  readonly verdicts: Readonly<Record<string, Verdict>>
  readonly feedback: Readonly<Record<string, string>>
  readonly at: Date
  /** The id of the checkpoint. */
  readonly checkpoint: string
  readonly metadata: Readonly<Record<string, unknown>>
}

/**
 * What could be done about a failure.
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
  /** Why, in words. */
  readonly reason: string
  /** What to change, for `modify`. */
  readonly parameters: Readonly<Record<string, string | number | boolean>>
  /** How well the strategy fits the failure, 0 to 1. The list is ordered by it. */
  readonly confidence: number
  /** How often it led to a good end: of those of this chain's latest runs that are most like this one, if one of them has tried it. */
  readonly estimatedSuccess: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Bottleneck {
  /** Such as `generate`, or `validate length`. */
  readonly part: string
  readonly times: number
  readonly average: Duration.Duration
}

/**
 * Defines a chain, once, at the top of a module. What a part has for a
 * compensation is for rewinds; a chain that fails undoes nothing.
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
  | Storage.Storage
> => {
  const { maxIterations = 3 } = options
  if (!(Number.isInteger(maxIterations) && maxIterations >= 1)) {
    throw new RangeError(`Chain.make: maxIterations must be a whole number from 1 on, not ${maxIterations}`)
  }
  // In there the parts are any effects; what is made of them here has their types.
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
  // The options say what the parts take, make, fail with and need; the errors were seen to fit the schema.
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
 * A chain, unless its parts have errors that its schema cannot write.
 *
 * @since 0.1.0
 * @category models
 */
export type Made<Error, Input, Text, E, R> = [E] extends [Workflow.Failure<Error> | Machinery]
  ? Chain<Input, Text, E, R>
  : { readonly refused: "the schema in error does not have all errors of the parts" }
