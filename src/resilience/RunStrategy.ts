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
import { orElseLogged } from "./internal/kernel/logged.js"
import { whole } from "./internal/kernel/options.js"
import { Asker, Rewinder, type Settable } from "./internal/kernel/runServices.js"
import type { RewindRefused } from "./RecoveryError.js"
import * as RetryPolicy from "./RetryPolicy.js"
import { type Exhausted, type Failure, fromOpen, type Original, openSchedule, type Strategy } from "./StrategyModel.js"

export {
  /**
   * @since 0.1.0
   * @category services
   */
  Asker,
  /**
   * @since 0.1.0
   * @category services
   */
  Rewinder
} from "./internal/kernel/runServices.js"
export {
  /**
   * @since 0.1.0
   * @category errors
   */
  RewindRefused
} from "./RecoveryError.js"

/**
 * Options of strategies that rewind the run.
 *
 * @since 0.1.0
 * @category models
 */
export interface RewindOptions {
  /**
   * How often this recovery may rewind the run before it is exhausted. Counted in
   * the journal. A whole number of at least 0; 0 never rewinds. Defaults to 3.
   */
  readonly times?: number | undefined
}

/**
 * A step or checkpoint, or its name.
 *
 * @since 0.1.0
 * @category models
 */
export type Named = string | { readonly name: string }

const nameOf = (named: Named): string => (typeof named === "string" ? named : named.name)

/** A strategy that rewinds the run. */
type Rewinding<R = never> = Strategy<unknown, never, Exhausted | RewindRefused, Rewinder | R>

const rewinding = <R = never>(
  strategy: string,
  point: Decision.Point,
  { times = 3 }: RewindOptions = {},
  accepts?: Checked<R>["isValid"]
): Rewinding<R> => {
  whole("times", times, 0)
  return fromOpen(strategy, () => (failure: Failure<unknown>) => {
    const reason = failure.fault.message
    return Effect.flatMap(Rewinder, ({ plan }) => plan({ strategy, point, times, reason, accepts }))
  })
}

/**
 * A checkpoint definition that can check its checkpoints.
 *
 * @since 0.1.0
 * @category models
 */
export interface Checked<out R = never> {
  readonly name: string
  readonly isValid: (id: string) => Effect.Effect<boolean, never, R>
}

/**
 * Starts the run again from the beginning. All its work is compensated first, in
 * reverse order. The journal keeps the undone entries.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const restart = (options?: RewindOptions): Rewinding => rewinding("restart", { _tag: "Start" }, options)

/**
 * Rewinds to just before the latest execution of a step and continues there. The
 * step is searched in the surrounding section, then in outer ones, then in the
 * whole run. Later work is compensated first, in reverse order. Pass the step
 * itself, since a misspelt name fails only at run time.
 *
 * Fails with `RewindRefused` if there is no such step, if a pivot lies in between,
 * or if the step is in a transaction that was rolled back.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const restartFrom = (step: Named, options?: RewindOptions): Rewinding =>
  rewinding("restartFrom", { _tag: "Step", step: nameOf(step) }, options)

/**
 * Restarts the innermost numbered `Workflow.section`. Its work is compensated
 * first, in reverse order. Concurrent sections continue.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const restartIteration = (options?: RewindOptions): Rewinding =>
  rewinding("restartIteration", { _tag: "Iteration" }, options)

/**
 * Rolls back the surrounding transaction and runs it again. With a checkpoint:
 * rewinds to its newest one, compensating later work, and continues there.
 *
 * @since 0.1.0
 * @category rewinding
 */
export const rollback = (to?: Named, options?: RewindOptions): Rewinding =>
  rewinding("rollback", to === undefined ? { _tag: "Transaction" } : { _tag: "Checkpoint", name: nameOf(to) }, options)

/**
 * Rewinds to the newest valid checkpoint and continues there. With a definition,
 * only its checkpoints that pass all checks; otherwise any undamaged one. Later
 * work is compensated first, in reverse order.
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
 * Retries with changed parameters. The journal records the change together with
 * the failure. Defaults to one immediate retry.
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
          decision._tag === "Again" ? { ...decision, patch: parameters.patch(changed(change, failure)) } : decision
      )
  })

/** A change that throws keeps the parameters, and the retry is as the policy says. */
const changed =
  <P, E>(change: (current: P, error: E, failure: Failure<E>) => P, failure: Failure<E>) =>
  (current: P): P =>
    orElseLogged(
      () => change(current, failure.error, failure),
      current,
      "the change of parameters threw; they stay as they are"
    )

/**
 * The question of {@link manual} and {@link escalate}, and which answers it
 * allows in addition to retry, a value, rewind and abort.
 *
 * @since 0.1.0
 * @category models
 */
export interface ManualOptions<Answer extends Schema.Schema.Any = never, SA = never, R = never, E = unknown> {
  /** The question to the person. Defaults to the tag and the message of the failure. */
  readonly question?: string | ((failure: Failure<E>) => string) | undefined
  /** The person or team that should answer. */
  readonly to?: string | undefined
  /** Parameters that an answer may change before the next attempt. */
  readonly parameters?: Settable<R> | ReadonlyArray<Settable<R>> | undefined
  /** The result after the answer "skip". Without it, only a step without a result can be skipped. */
  readonly skip?: SA | undefined
  /** The schema of a value in the answer. Defaults to the success schema of the surrounding step. */
  readonly answer?: Answer | undefined
}

/** The message of a tagged error often lacks its tag, so adds it. */
const describe = ({ message, tag }: Fault.Fault): string =>
  Option.match(tag, {
    onNone: () => message,
    onSome: (name) => (message.includes(name) ? message : /\w/.test(message) ? `${name}: ${message}` : name)
  })

const askPerson =
  (strategy: string) =>
  <E, R>({
    answer,
    parameters = [],
    question,
    skip: standIn,
    to
  }: ManualOptions<Schema.Schema.Any, unknown, R, E>): Strategy<E, never, Original, Asker | R> =>
    fromOpen(strategy, () => (failure: Failure<E>) => {
      const asked = () => (typeof question === "function" ? question(failure) : question)
      const message = `the question of the strategy "${strategy}" threw; the message of the failure is asked instead`
      const text = orElseLogged(asked, undefined, message) ?? describe(failure.fault)
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
      // The value is the stand-in or decoded by the schema, as the types of the constructors say.
    }) as never

/**
 * Asks a person. The run is suspended durably and `Workflow.execute` ends with
 * `RunSuspended`. `Workflow.resolve` answers with a retry, a retry with other
 * parameters, a value, a skip, a rewind or an abort. The next execution of the
 * run continues with the answer. An answer that does not fit is refused and the
 * question stays open.
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
  /**
   * Asks a person. The run is suspended durably until `Workflow.resolve` answers with a retry, a skip, a
   * rewind or an abort.
   */
  (question?: string): Strategy<unknown, never, Original, Asker>
  /**
   * Asks a person, with what an answer may be. The run is suspended durably until `Workflow.resolve`
   * answers with a retry, other parameters, a value, a skip, a rewind or an abort.
   */
  <Answer extends Schema.Schema.Any = never, SA = never, R = never, E = unknown>(
    options: ManualOptions<Answer, SA, R, E>
  ): Strategy<E, NoInfer<Answer["Type"] | SA>, Original, NoInfer<Asker | R | Schema.Schema.Context<Answer>>>
} = (options: string | ManualOptions<Schema.Schema.Any, unknown, unknown, never> = {}): never =>
  // The overloads state the type of the strategy for these options.
  askPerson("manual")(typeof options === "string" ? { question: options } : options) as never

/**
 * As {@link manual}, with a question to a named person or team. The record of the
 * recovery contains the name.
 *
 * @since 0.1.0
 * @category strategies
 */
export const escalate = <Answer extends Schema.Schema.Any = never, SA = never, R = never, E = unknown>(
  to: string,
  options: Omit<ManualOptions<Answer, SA, R, E>, "to"> = {}
): Strategy<E, NoInfer<Answer["Type"] | SA>, Original, NoInfer<Asker | R | Schema.Schema.Context<Answer>>> =>
  // As for `manual`.
  askPerson("escalate")<E, R>({ ...options, to } as ManualOptions<Schema.Schema.Any, unknown, R, E>) as never
