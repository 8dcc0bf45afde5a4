/**
 * Strategies that need a run around them: they rewind it, change its
 * parameters, or ask a person and suspend it. `Strategy` exports all of it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Decision from "./Decision.js"
import type * as Fault from "./Fault.js"
import { Asker, Rewinder, type Settable } from "./internal/kernel/runServices.js"
import type { RewindRefused } from "./RecoveryError.js"
import * as RetryPolicy from "./RetryPolicy.js"
import { type Exhausted, type Failure, fromOpen, type Original, openSchedule, type Strategy } from "./StrategyModel.js"

export {
  /** @since 0.1.0 @category services */
  Asker,
  /** @since 0.1.0 @category services */
  Rewinder
} from "./internal/kernel/runServices.js"
export {
  /** @since 0.1.0 @category errors */
  RewindRefused
} from "./RecoveryError.js"

/**
 * How often a strategy may rewind its run.
 *
 * @since 0.1.0
 * @category models
 */
export interface RewindOptions {
  /**
   * How often this recovery may rewind the run, counted in its journal. Then
   * it is exhausted. Defaults to 3.
   */
  readonly times?: number | undefined
}

/**
 * A step or a checkpoint, or its name.
 *
 * @since 0.1.0
 * @category models
 */
export type Named = string | { readonly name: string }

const nameOf = (named: Named): string => (typeof named === "string" ? named : named.name)

/** Strategies that rewind the run differ in where to. */
type Rewinding<R = never> = Strategy<unknown, never, Exhausted | RewindRefused, Rewinder | R>

const rewinding = <R = never>(
  strategy: string,
  point: Decision.Point,
  { times = 3 }: RewindOptions = {},
  accepts?: Checked<R>["isValid"]
): Rewinding<R> => {
  if (!(Number.isInteger(times) && times >= 0)) {
    throw new RangeError(`Strategy.${strategy}: times must be a whole number from 0 on, not ${times}`)
  }
  return fromOpen(strategy, () => (failure: Failure<unknown>) => {
    const reason = failure.fault.message
    return Effect.flatMap(Rewinder, ({ plan }) => plan({ strategy, point, times, reason, accepts }))
  })
}

/**
 * Something that can tell whether one of its checkpoints may be used.
 *
 * @since 0.1.0
 * @category models
 */
export interface Checked<out R = never> {
  readonly name: string
  readonly isValid: (id: string) => Effect.Effect<boolean, never, R>
}

/**
 * Begin the run again: everything it has done is compensated, last first, and
 * forgotten. Its journal keeps it.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const restart = (options?: RewindOptions): Rewinding => rewinding("restart", { _tag: "Start" }, options)

/**
 * Go back to just before the latest use of a step, looked for in the section
 * around, then outwards, then anywhere, and run on from there. Hand over the
 * step itself: a misspelt name is found out only when it is needed. What was done since is
 * compensated, last first, and forgotten.
 *
 * Fails with `RewindRefused` if there is no such step, if a pivot lies
 * between, or if the step lies in a transaction that was rolled back.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const restartFrom = (step: Named, options?: RewindOptions): Rewinding =>
  rewinding("restartFrom", { _tag: "Step", step: nameOf(step) }, options)

/**
 * Begin the innermost `Workflow.section` with a number again. What it has done
 * is compensated, last first, and forgotten; what runs beside it goes on.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const restartIteration = (options?: RewindOptions): Rewinding =>
  rewinding("restartIteration", { _tag: "Iteration" }, options)

/**
 * Undo the transaction around and run it again; with a checkpoint, undo what
 * was done after its newest one and run on from there.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const rollback = (to?: Named, options?: RewindOptions): Rewinding =>
  rewinding("rollback", to === undefined ? { _tag: "Transaction" } : { _tag: "Checkpoint", name: nameOf(to) }, options)

/**
 * Go back to the newest good checkpoint and run on from there: of the one that
 * is given, by all of its checks, or else of any that is whole. What was done
 * since is compensated, last first, and forgotten.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const resume = <R = never>(checkpoint?: Checked<R>, options?: RewindOptions): Rewinding<R> =>
  rewinding("resume", { _tag: "Checkpoint", name: checkpoint?.name, valid: true }, options, checkpoint?.isValid)

/**
 * Parameters that a strategy can change.
 *
 * @since 0.1.0
 * @category models
 */
export interface Patchable<in out P, out R = never> {
  readonly name: string
  readonly patch: (change: (current: P) => P) => Effect.Effect<void, never, R>
}

/**
 * Run again with other parameters: the change is on record with the failure it
 * answers. Defaults to one retry, at once.
 *
 * @example
 * ```ts
 * import { Parameters, RetryPolicy, Step, Strategy } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * class OutOfMemory extends Schema.TaggedError<OutOfMemory>()("OutOfMemory", {}) {}
 * declare const generate: (batch: number) => Effect.Effect<string, OutOfMemory>
 *
 * const Model = Parameters.make("model", Schema.Struct({ batch: Schema.Number }), { batch: 8 })
 *
 * export const generation = Step.make("generation", {
 *   success: Schema.String,
 *   error: OutOfMemory,
 *   run: Effect.flatMap(Model.get, ({ batch }) => generate(batch)),
 *   recover: {
 *     OutOfMemory: Strategy.modify(Model, ({ batch }, _: OutOfMemory) => ({ batch: batch / 2 }), RetryPolicy.fixed({ maxRetries: 3, delay: 0 }))
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category strategies
 */
export const modify = <P, E = unknown, R = never, R2 = never>(
  parameters: Patchable<P, R>,
  change: (current: P, error: E, failure: Failure<E>) => P,
  policy: Schedule.Schedule<unknown, NoInfer<E>, R2> = RetryPolicy.fixed({ maxRetries: 1, delay: 0 })
): Strategy<E, never, Exhausted, R | R2> =>
  fromOpen("modify", () => {
    const driver = openSchedule(policy, undefined)
    return (failure: Failure<E>) =>
      Effect.map(
        driver(failure),
        (decision): Decision.Decision<never, Exhausted, R | R2> =>
          decision._tag === "Again"
            ? { ...decision, patch: parameters.patch((current) => change(current, failure.error, failure)) }
            : decision
      )
  })

/**
 * What to ask, and what the answer may be besides retry, a value, rewind and
 * abort.
 *
 * @since 0.1.0
 * @category models
 */
export interface ManualOptions<Answer extends Schema.Schema.Any = never, SA = never, R = never, E = unknown> {
  /** In words, for whoever is to answer. Defaults to the name and the message of the failure. */
  readonly question?: string | ((failure: Failure<E>) => string) | undefined
  /** Who is to answer, such as a person or a team. */
  readonly to?: string | undefined
  /** Parameters that an answer may change before the next attempt. */
  readonly parameters?: Settable<R> | ReadonlyArray<Settable<R>> | undefined
  /** What takes the place of the result if it is skipped. Without it only a result of nothing can be. */
  readonly skip?: SA | undefined
  /** How a value is read that is given as the answer. Defaults to the schema of the step around. */
  readonly answer?: Answer | undefined
}

/** Messages of tagged errors tell their fields, and not which error it is. */
const describe = ({ message, tag }: Fault.Fault): string =>
  Option.match(tag, {
    onNone: () => message,
    onSome: (name) => (message.includes(name) ? message : /\w/.test(message) ? `${name}: ${message}` : name)
  })

const handingOver =
  (strategy: string) =>
  <E, R>({
    answer,
    parameters = [],
    question,
    skip: standIn,
    to
  }: ManualOptions<Schema.Schema.Any, unknown, R, E>): Strategy<E, never, Original, Asker | R> =>
    fromOpen(strategy, () => (failure: Failure<E>) => {
      const text = (typeof question === "function" ? question(failure) : question) ?? describe(failure.fault)
      const request = {
        strategy,
        question: text,
        to,
        failure,
        parameters: Array.isArray(parameters) ? parameters : [parameters],
        standIn: standIn === undefined ? Option.none() : Option.some(standIn),
        schema: answer
      }
      return Effect.map(Asker, ({ ask }) => ({ _tag: "HandOver" as const, question: text, ask: ask(request) }))
      // A value comes from the stand-in or is read by the schema; the constructors say so in their types.
    }) as never

/**
 * Hand the failure over to a person: the run stops, durably, and `execute`
 * ends with `RunSuspended`. `Workflow.resolve` answers with a retry, a retry
 * with other parameters, a value, a skip, a rewind or an abort, and whoever
 * executes the run then goes on. An answer that does not fit is refused, and
 * asked for again.
 *
 * @example
 * ```ts
 * import { Step, Strategy } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * class Declined extends Schema.TaggedError<Declined>()("Declined", { reason: Schema.String }) {}
 * declare const gateway: { charge: (amount: number) => Effect.Effect<string, Declined> }
 *
 * export const charge = Step.make("charge", {
 *   success: Schema.String,
 *   error: Declined,
 *   run: (amount: number) => gateway.charge(amount),
 *   recover: { Declined: Strategy.manual("The card was declined. Charge again, or enter a receipt?") }
 * })
 * ```
 *
 * @since 0.1.0
 * @category strategies
 */
export const manual: {
  (question?: string): Strategy<unknown, never, Original, Asker>
  <Answer extends Schema.Schema.Any = never, SA = never, R = never, E = unknown>(
    options: ManualOptions<Answer, SA, R, E>
  ): Strategy<E, NoInfer<Answer["Type"] | SA>, Original, NoInfer<Asker | R | Schema.Schema.Context<Answer>>>
} = (options: string | ManualOptions<Schema.Schema.Any, unknown, unknown, never> = {}): never =>
  // The overloads say what the options make of the strategy.
  handingOver("manual")(typeof options === "string" ? { question: options } : options) as never

/**
 * As `manual`, for when those at hand are not to decide: the question goes to
 * somebody, who stands in the record.
 *
 * @since 0.1.0
 * @category strategies
 */
export const escalate = <Answer extends Schema.Schema.Any = never, SA = never, R = never, E = unknown>(
  to: string,
  options: Omit<ManualOptions<Answer, SA, R, E>, "to"> = {}
): Strategy<E, NoInfer<Answer["Type"] | SA>, Original, NoInfer<Asker | R | Schema.Schema.Context<Answer>>> =>
  // As above.
  handingOver("escalate")<E, R>({ ...options, to } as ManualOptions<Schema.Schema.Any, unknown, R, E>) as never
