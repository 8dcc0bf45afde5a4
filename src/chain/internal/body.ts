import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Checkpoint from "../../durable/Checkpoint.js"
import * as Step from "../../durable/Step.js"
import * as Workflow from "../../durable/Workflow.js"
import type { ChainStep, Context, Result } from "../Chain.js"
import { Verdict } from "../Verdict.js"

const Texts = Schema.Record({ key: Schema.String, value: Schema.String })
const Verdicts = Schema.Record({ key: Schema.String, value: Verdict })

type AnyPart = (...args: ReadonlyArray<never>) => Effect.Effect<unknown, unknown, unknown>
type AnyEffect = Effect.Effect<unknown, unknown, unknown>

interface AnyOptions {
  readonly text: Schema.Schema.Any
  readonly error?: Schema.Schema.All
  readonly retrieve?: Readonly<Record<string, AnyPart>> | undefined
  readonly generate: AnyPart
  readonly validate?: Readonly<Record<string, AnyPart>> | undefined
  readonly criticize?: Readonly<Record<string, AnyPart>> | undefined
  readonly maxIterations?: number | undefined
  readonly alwaysCriticize?: boolean | undefined
  readonly metadata?: ((input: never) => Readonly<Record<string, unknown>>) | undefined
}

/** The parts of a chain as steps of a workflow. */
export interface Parts {
  readonly name: string
  readonly options: AnyOptions
  readonly retrieve: ReadonlyMap<string, (...args: ReadonlyArray<unknown>) => AnyEffect>
  readonly generate: (...args: ReadonlyArray<unknown>) => AnyEffect
  readonly validate: ReadonlyMap<string, (...args: ReadonlyArray<unknown>) => AnyEffect>
  readonly criticize: ReadonlyMap<string, (...args: ReadonlyArray<unknown>) => AnyEffect>
  readonly checkpoint: ReturnType<typeof checkpointOf>
}

export const resultOf = <Text extends Schema.Schema.Any>(text: Text) =>
  Schema.Struct({ text, passed: Schema.Boolean, iterations: Schema.Number, verdicts: Verdicts, feedback: Texts })

/** The chain saves its progress at each of its steps. */
const checkpointOf = (name: string, text: Schema.Schema.Any) =>
  Checkpoint.make(`chain.${name}`, {
    kind: "step",
    // The values that the schema of the text encodes come from the chain's own parts.
    schema: Schema.Struct({
      step: Schema.String,
      iteration: Schema.Number,
      text: Schema.optional(text as Schema.Schema<unknown>),
      verdicts: Verdicts,
      feedback: Texts
    })
  })

export const partsOf = (name: string, options: AnyOptions): Parts => {
  const { criticize = {}, error = Schema.Never, generate, retrieve = {}, text, validate = {} } = options
  const all = (kind: string, success: Schema.Schema.Any, parts: Readonly<Record<string, AnyPart>>) =>
    new Map(Object.entries(parts).map(([part, run]) => [part, asStep(`${kind} ${part}`, success, error, run)]))
  return {
    name,
    options,
    retrieve: all("retrieve", Schema.String, retrieve),
    generate: asStep("generate", text, error, generate),
    validate: all("validate", Verdict, validate),
    criticize: all("criticize", Schema.String, criticize),
    checkpoint: checkpointOf(name, text)
  }
}

interface Call {
  readonly made: AnyEffect
}

/** Wraps the effect of a part in a step, unless it is a step. */
const asStep = (name: string, success: Schema.Schema.Any, error: Schema.Schema.All, part: AnyPart) => {
  // The types of the options ensure that results and errors fit the schemas.
  const step = Step.make(name, { success, error, run: ({ made }: Call) => made as Effect.Effect<never> })
  return (...args: ReadonlyArray<unknown>): AnyEffect =>
    Effect.suspend(() => {
      const made = part(...(args as ReadonlyArray<never>))
      return Step.TypeId in made ? made : step({ made })
    })
}

/** The state of the chain between two of its steps. */
interface State {
  readonly iteration: number
  readonly text: unknown
  readonly verdicts: Readonly<Record<string, Verdict>>
  readonly feedback: Readonly<Record<string, string>>
}

export const run = (parts: Parts, input: unknown): Effect.Effect<Result<unknown>, unknown, unknown> =>
  Effect.gen(function* () {
    const start: State = { iteration: 0, text: undefined, verdicts: {}, feedback: {} }
    const save = checkpointing(parts, input)
    yield* save("initialization", start)
    if (parts.retrieve.size > 0) yield* save("pre_retrieval", start)
    const retrieved = yield* runConcurrently(parts.retrieve, [input])
    return yield* iterate(parts, { input, retrieved: retrieved as Readonly<Record<string, string>>, save }, start)
  })

interface Inputs {
  readonly input: unknown
  readonly retrieved: Readonly<Record<string, string>>
  readonly save: ReturnType<typeof checkpointing>
}

const iterate = (parts: Parts, given: Inputs, before: State): Effect.Effect<Result<unknown>, unknown, unknown> =>
  Effect.flatMap(
    Workflow.section("iteration", before.iteration + 1)(iteration(parts, given, before)),
    ({ isOver, state }) =>
      isOver
        ? Effect.zipRight(
            given.save("complete", state),
            Effect.succeed({
              text: state.text,
              passed: hasPassed(state),
              iterations: state.iteration,
              verdicts: state.verdicts,
              feedback: state.feedback
            })
          )
        : iterate(parts, given, state)
  )

const hasPassed = ({ verdicts }: State): boolean => Object.values(verdicts).every(({ passed }) => passed)

const iteration = (parts: Parts, { save, ...given }: Inputs, before: State) =>
  Effect.gen(function* () {
    const { alwaysCriticize = false, maxIterations = 3 } = parts.options
    const context: Context<unknown, unknown> = {
      ...given,
      iteration: before.iteration + 1,
      previous: before.text,
      problems: problemsOf(before),
      feedback: before.feedback
    }
    const text = yield* parts.generate(context)
    const generated: State = { iteration: context.iteration, text, verdicts: {}, feedback: before.feedback }
    yield* save("generation", generated)
    yield* save("pre_validation", generated)
    const verdicts = (yield* runConcurrently(parts.validate, [text, context])) as State["verdicts"]
    const validated: State = { ...generated, verdicts }
    yield* save("validation", validated)
    const isLast = context.iteration >= maxIterations
    // A text that passed needs no criticism, and after the last iteration no other text is generated.
    if (isLast || (hasPassed(validated) && !alwaysCriticize)) return { isOver: true, state: validated }
    if (parts.criticize.size === 0) return { isOver: false, state: validated }
    yield* save("pre_criticism", validated)
    const feedback = (yield* runConcurrently(parts.criticize, [text, context])) as State["feedback"]
    const criticised: State = { ...validated, feedback }
    yield* save("criticism", criticised)
    return { isOver: false, state: criticised }
  })

const problemsOf = ({ verdicts }: State): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(verdicts).flatMap(([name, { message = "not passed", passed }]) => (passed ? [] : [[name, message]]))
  )

const runConcurrently = (
  parts: Parts["validate"],
  args: ReadonlyArray<unknown>
): Effect.Effect<Readonly<Record<string, unknown>>, unknown, unknown> =>
  Effect.all(Object.fromEntries([...parts].map(([name, part]) => [name, part(...args)])), { concurrency: "unbounded" })

/** Saves the state of the chain, with the metadata of the program. */
const checkpointing = ({ checkpoint, options }: Parts, input: unknown) => {
  // The input has the type that the options declare.
  const metadata = options.metadata?.(input as never)
  return (step: ChainStep, { feedback, iteration, text, verdicts }: State) =>
    checkpoint.save({ step, iteration, verdicts, feedback, ...(text === undefined ? {} : { text }) }, { metadata })
}
