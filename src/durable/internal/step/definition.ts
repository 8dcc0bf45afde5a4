import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { type Codec, valueCodec } from "../../../journal/JournalCodec.js"
import { StepAmbiguous } from "../../../journal/RunError.js"
import * as Decision from "../../../resilience/Decision.js"
import { checkName } from "../../../resilience/InvalidName.js"
import { attemptTimeout } from "../../../resilience/internal/kernel/attemptTimeout.js"
import { checkTimeout, wholeOrInfinity } from "../../../resilience/internal/kernel/options.js"
import { type Plan, planByTag } from "../../../resilience/internal/kernel/plan.js"
import type { RecoverOptions } from "../../../resilience/internal/kernel/session.js"
import * as Strategy from "../../../resilience/Strategy.js"
import { type CompensationSettings, settingsOf } from "../../../transaction/Compensation.js"
import type { Attempt, Compensation, StartMarker, ToUndo } from "../../Step.js"
import { defaultMaxCutShort } from "../execution/cutShort.js"

export type AnyEffect = Effect.Effect<unknown, unknown, unknown>

/** A step as `Step.make` built it, once. */
export interface Definition {
  readonly name: string
  readonly success: Codec<unknown>
  readonly schema: Schema.Schema.Any
  readonly error: Schema.Schema.All
  readonly run: (input: unknown, attempt: Attempt) => AnyEffect
  readonly plan: Plan | undefined
  readonly onAmbiguous: "rerun" | "fail" | "ask" | "probe"
  readonly probe: Probe | undefined
  readonly bestEffort: boolean
  readonly compensate: Compensate | undefined
  readonly pivot: boolean
  /** The run is put on hold each time as many attempts were cut short. */
  readonly maxCutShort: number
  readonly kind: Kind
  readonly startMarker: StartMarker
  /** Failures that are no result: the step stays open, and the next execution runs it again. */
  readonly leavesOpen?: ((error: unknown) => boolean) | undefined
  /** Failures that mean that the attempt waits for something: nothing is recorded, and the next execution runs it again. */
  readonly isUnfinished?: ((error: unknown) => boolean) | undefined
  /** Bounds and hooks of the recoverable operation this step stands for. */
  readonly recovery?: Pick<RecoverOptions, "limits" | "hooks" | "rules"> | undefined
}

/**
 * - `plain`: its result is recorded after it has happened
 * - `transactional`: its result and the program's own rows are committed together
 * - `once`: its result is committed with rows of another database, and recorded afterwards
 */
export type Kind = "plain" | "transactional" | "once"

/** Finds out whether an attempt that was cut short has happened: its result, or none if it has not. */
export type Probe = (input: unknown, attempt: Attempt) => Effect.Effect<Option.Option<unknown>, unknown, unknown>

/** The property of a step function that holds its definition. */
export const definitionKey: unique symbol = Symbol.for("effect-recovery/Step/definition")

/** The definition behind a step, or undefined for any other object. */
export const definitionOf = (step: object): Definition | undefined => {
  // Only `Step.make` makes steps: a value has the property `definition`, a function has the symbol.
  const made = step as { readonly definition?: Definition; readonly [definitionKey]?: Definition }
  return made[definitionKey] ?? made.definition
}

/** The codec of a step's result. Throws if the value is no step. */
export const codecOf = (step: object): Codec<unknown> => {
  const definition = definitionOf(step)
  if (definition === undefined) throw new TypeError("this is no step: give a value that Step.make returned")
  return definition.success
}

/** The compensation of a step. */
export interface Compensate {
  readonly undo: (toUndo: ToUndo<never, never>) => AnyEffect
  readonly settings: CompensationSettings
}

type ProbeOption = (input: never, attempt: Attempt) => Effect.Effect<Option.Option<unknown>, unknown, unknown>

export const define = (
  name: string,
  options: {
    readonly run: AnyEffect | ((input: never, attempt: Attempt) => AnyEffect)
    readonly success?: Schema.Schema.Any
    readonly error?: Schema.Schema.All
    readonly onAmbiguous?: "rerun" | "fail" | "ask"
    readonly probe?: ProbeOption
    readonly timeout?: Duration.DurationInput | undefined
    readonly recover?: object
    readonly retry?: Schedule.Schedule<unknown, never, unknown>
    readonly durability?: "required" | "best-effort"
    readonly compensate?: Compensation<never, never, unknown>
    readonly pivot?: boolean
    readonly maxCutShort?: number
    readonly startMarker?: StartMarker
  },
  kind: Kind = "plain"
): Definition => {
  if (options.pivot === true && options.compensate !== undefined) {
    throw new Error(`step "${name}" is a pivot, so it cannot have a compensation: leave one of the two out`)
  }
  if (options.probe !== undefined && options.onAmbiguous !== undefined) {
    throw new Error(`step "${name}" has a probe, which finds out what happened: leave onAmbiguous out`)
  }
  const startMarker = startMarkerOf(name, options, kind)
  const own = options.run
  const given = typeof own === "function" ? own : () => own
  // Without a schema the journal keeps no result, so the first execution returns none either.
  const run: typeof given =
    options.success === undefined ? (input, attempt) => Effect.asVoid(given(input, attempt)) : given
  return {
    name: checkName("step", name),
    success: valueCodec(options.success ?? Schema.Void),
    schema: options.success ?? Schema.Void,
    error: options.error ?? Schema.Never,
    // The public types pass the input this function takes.
    run: options.timeout === undefined ? (run as Definition["run"]) : timed(run as Definition["run"], options.timeout),
    plan: planOf(options.recover, options.retry, options.onAmbiguous === "ask"),
    onAmbiguous: options.probe === undefined ? (options.onAmbiguous ?? "rerun") : "probe",
    // The public types pass the input this function takes.
    probe: options.probe as Probe | undefined,
    bestEffort: options.durability === "best-effort",
    compensate: compensateOf(options.compensate),
    pivot: options.pivot === true,
    maxCutShort: wholeOrInfinity("maxCutShort", options.maxCutShort ?? defaultMaxCutShort, 1),
    kind,
    startMarker
  }
}

/** Where a later execution decides by the start of an attempt, it is on stable storage before the attempt begins. */
const startMarkerOf = (
  name: string,
  { compensate, onAmbiguous = "rerun", pivot, probe, startMarker }: Parameters<typeof define>[1],
  kind: Kind
): StartMarker => {
  const reader =
    compensate !== undefined
      ? "compensate"
      : pivot === true
        ? "pivot"
        : probe !== undefined
          ? "probe"
          : onAmbiguous === "rerun"
            ? undefined
            : `onAmbiguous "${onAmbiguous}"`
  if (reader !== undefined && startMarker !== undefined && startMarker !== "power-loss") {
    throw new Error(
      `step "${name}" has ${reader}, which decides by the start of an attempt: leave startMarker "${startMarker}" out`
    )
  }
  // The key of a step of rows depends on its line.
  return startMarker ?? (reader === undefined && kind !== "once" ? "process-crash" : "power-loss")
}

const compensateOf = (option: Compensation<never, never, unknown> | undefined): Compensate | undefined => {
  if (option === undefined) return undefined
  // What the schedule needs is in the context the compensation runs in.
  const { retry = undefined, timeout = undefined, undo } = typeof option === "function" ? { undo: option } : option
  return { undo, settings: settingsOf({ retry: retry as Schedule.Schedule<unknown, never> | undefined, timeout }) }
}

const timed = (run: Definition["run"], timeout: Duration.DurationInput): Definition["run"] => {
  const duration = checkTimeout(timeout)
  return (input, attempt) =>
    attemptTimeout(
      Effect.suspend(() => run(input, attempt)),
      duration
    )
}

/** Strategies by tag first; `retry` retries the other errors and fails with the last one as it is. */
const planOf = (
  recover: object | undefined,
  retry: Schedule.Schedule<unknown, never, unknown> | undefined,
  asks: boolean
): Plan | undefined => {
  const given = recover === undefined ? undefined : planByTag(recover)
  // Asks about an ambiguous step unless the program has a strategy for `StepAmbiguous`.
  const ask: Plan["find"] = (error) => (error instanceof StepAmbiguous ? ["StepAmbiguous", askWhatHappened] : undefined)
  const byTag = asks ? orElse(given, ask) : given
  if (retry === undefined) return byTag
  const rest = Strategy.sequence(Strategy.retry(retry), surface)
  // `onAmbiguous: "fail"` means at most once, so the schedule must not run the step again.
  return orElse(byTag, (error) => (error instanceof StepAmbiguous ? undefined : ["*", rest]))
}

const surface = Strategy.make("abort", () => Decision.surface)

const orElse = (plan: Plan | undefined, find: Plan["find"]): Plan => ({
  budgets: plan?.budgets ?? [],
  find: (error, fault) => plan?.find(error, fault) ?? find(error, fault)
})

const askWhatHappened = Strategy.manual()
