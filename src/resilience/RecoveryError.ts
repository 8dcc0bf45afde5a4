/**
 * The errors of recoveries and of the policies that protect calls.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as Fault from "./Fault.js"
import type { Declaration } from "./Fault.js"
import { declaredKey, messageOf, tagOf } from "./internal/fault/subject.js"

/** A schema class would check each refusal it makes, and refusals are made by the thousand; so only its codec does. */
function asSchema<A extends Fields, Fields extends object, I>(
  fields: Schema.Schema<Fields, I>,
  is: (u: unknown) => u is A,
  make: (fields: Fields) => A
): Schema.Schema<A, I> {
  return Schema.transform(fields, Schema.declare(is), { strict: true, decode: make, encode: (self) => self })
}

/** A generic class cannot extend an expression that knows its parameter; so its fields stand apart. */
class Exhausted extends Data.TaggedError("RecoveryExhausted")<{
  readonly error: unknown
  /** How often it was tried, also where a breaker refused the call. */
  readonly attempts: number
  /** What was decided on the way, oldest first. */
  readonly decisions: ReadonlyArray<DecisionTaken>
  /** What was known of the last error; not kept where the error comes from a journal. */
  readonly fault?: Fault.Fault | undefined
}> {}

/**
 * A strategy had nothing left to try. Keeps the last error whole.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecoveryExhausted<out E> extends Exhausted {
  declare readonly error: E
  constructor(props: ConstructorParameters<typeof Exhausted>[0]) {
    super(props)
    // For whoever prints it: the error it gave up on stands behind it.
    Object.defineProperty(this, "cause", { value: props.error, enumerable: false, configurable: true })
  }
  /** As bad as what it gave up on, and no more worth repeating. */
  get [declaredKey](): Declaration {
    const { category = "unknown", retryAfter, severity } = this.fault ?? {}
    const asked = retryAfter === undefined ? undefined : Option.getOrUndefined(retryAfter)
    return { category, severity, transient: false, retryAfter: asked }
  }
  override get message(): string {
    const tag = tagOf(this.error)
    const message = messageOf(this.error)
    const what = tag === undefined || tag === message ? "" : ` on ${tag}`
    return `Gave up${what} after ${this.attempts} attempt${this.attempts === 1 ? "" : "s"}: ${message}`
  }
  /**
   * The schema of an exhausted recovery, for journals and wires.
   *
   * @since 0.1.0
   */
  static schema<E, EI, R>(
    error: Schema.Schema<E, EI, R>
  ): Schema.Schema<RecoveryExhausted<E>, ExhaustedEncoded<EI>, R> {
    const encoded = Schema.Struct({
      _tag: Schema.tag("RecoveryExhausted"),
      error: error as Schema.Schema<E, EI, R>,
      attempts: Schema.Number,
      decisions: Schema.Array(Schema.Struct({ strategy: Schema.String, decision: Schema.String }))
    })
    const self = Schema.declare((input): input is RecoveryExhausted<E> => input instanceof RecoveryExhausted)
    return Schema.transformOrFail(encoded, self, {
      strict: true,
      decode: (fields) => ParseResult.succeed(new RecoveryExhausted<E>(fields)),
      encode: (exhausted) =>
        ParseResult.succeed({
          _tag: "RecoveryExhausted" as const,
          error: exhausted.error,
          attempts: exhausted.attempts,
          decisions: exhausted.decisions
        })
    }) as Schema.Schema<RecoveryExhausted<E>, ExhaustedEncoded<EI>, R>
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ExhaustedEncoded<EI> {
  readonly _tag: "RecoveryExhausted"
  readonly error: EI
  readonly attempts: number
  readonly decisions: ReadonlyArray<DecisionTaken>
}

/**
 * One decision of a recovery.
 *
 * @since 0.1.0
 * @category models
 */
export interface DecisionTaken {
  readonly strategy: string
  readonly decision: string
}

/**
 * One way of a failover that was tried.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailoverFailure<out E> {
  readonly way: string
  readonly error: E
  /** What was known of it; not kept where the error comes from a journal. */
  readonly fault?: Fault.Fault | undefined
}

type Failures<E> = readonly [FailoverFailure<E>, ...ReadonlyArray<FailoverFailure<E>>]

/** As for `Exhausted`. */
class EveryWay extends Data.TaggedError("FailoverExhausted")<{
  /** Its name. */
  readonly failover: string
  /** What became of each way that was tried, in that order. */
  readonly failures: Failures<unknown>
  /** What kind of failure it is as a whole, where it comes from a journal. */
  readonly declares?: Declaration | undefined
}> {}

/**
 * Every way that was tried has failed. Keeps each failure whole.
 *
 * @since 0.1.0
 * @category errors
 */
export class FailoverExhausted<out E> extends EveryWay {
  declare readonly failures: Failures<E>
  constructor(props: {
    readonly failover: string
    readonly failures: Failures<E>
    readonly declares?: Declaration | undefined
  }) {
    super(props)
    // As for RecoveryExhausted.
    Object.defineProperty(this, "cause", { value: this.error, enumerable: false, configurable: true })
  }
  /** Of the way that was tried last. */
  get error(): E {
    const [first, ...rest] = this.failures
    return (rest.at(-1) ?? first).error
  }
  /** As bad as the last failure; worth repeating if one of them was. */
  get [declaredKey](): Declaration {
    if (this.declares !== undefined) return this.declares
    const [first, ...rest] = this.failures
    const { category = "unknown", severity } = (rest.at(-1) ?? first).fault ?? {}
    const waits = this.failures.flatMap(({ fault }) => (fault === undefined ? [] : Option.toArray(fault.retryAfter)))
    const transient = this.failures.some(({ fault }) => fault?.transient === true)
    // Whichever way is there first.
    return { category, severity, transient, retryAfter: waits.length === 0 ? undefined : waits.reduce(Duration.min) }
  }
  override get message(): string {
    const told = this.failures.map(({ error, way }) => {
      const tag = tagOf(error)
      const message = messageOf(error)
      return `${way} (${tag === undefined || message.includes(tag) ? message : message === "" ? tag : `${tag}: ${message}`})`
    })
    return `No way of "${this.failover}" led to a result: ${told.join(", ")}`
  }
  /**
   * The schema of an exhausted failover, for journals and wires.
   *
   * @since 0.1.0
   */
  static schema<E, EI, R>(
    error: Schema.Schema<E, EI, R>
  ): Schema.Schema<FailoverExhausted<E>, FailoverExhaustedEncoded<EI>, R> {
    const encoded = Schema.Struct({
      _tag: Schema.tag("FailoverExhausted"),
      failover: Schema.String,
      failures: Schema.NonEmptyArray(Schema.Struct({ way: Schema.String, error: error as Schema.Schema<E, EI, R> })),
      declares: Schema.Struct({
        category: Schema.String,
        severity: Schema.optional(Schema.Literal("low", "medium", "high", "critical")),
        transient: Schema.Boolean,
        retryAfter: Schema.optional(Schema.DurationFromMillis)
      })
    })
    const self = Schema.declare((input): input is FailoverExhausted<E> => input instanceof FailoverExhausted)
    return Schema.transformOrFail(encoded, self, {
      strict: true,
      decode: (fields) => ParseResult.succeed(new FailoverExhausted<E>(fields)),
      encode: (exhausted) => {
        const { category, retryAfter, severity, transient = false } = exhausted[declaredKey]
        const [first, ...rest] = exhausted.failures
        const bare = ({ error, way }: FailoverFailure<E>) => ({ way, error })
        return ParseResult.succeed({
          _tag: "FailoverExhausted" as const,
          failover: exhausted.failover,
          failures: [bare(first), ...rest.map(bare)] as const,
          declares: {
            category,
            transient,
            ...(severity === undefined ? {} : { severity }),
            ...(retryAfter === undefined ? {} : { retryAfter: Duration.decode(retryAfter) })
          }
        })
      }
    }) as Schema.Schema<FailoverExhausted<E>, FailoverExhaustedEncoded<EI>, R>
  }
}

/**
 * @since 0.1.0
 * @category errors
 */
export interface FailoverExhaustedEncoded<EI> {
  readonly _tag: "FailoverExhausted"
  readonly failover: string
  readonly failures: readonly [WayFailureEncoded<EI>, ...ReadonlyArray<WayFailureEncoded<EI>>]
  readonly declares: {
    readonly category: string
    readonly severity?: "low" | "medium" | "high" | "critical"
    readonly transient: boolean
    /** Milliseconds. */
    readonly retryAfter?: number
  }
}

interface WayFailureEncoded<EI> {
  readonly way: string
  readonly error: EI
}

/**
 * The breaker refused the call; it was not made.
 *
 * @since 0.1.0
 * @category errors
 */
export class CircuitOpen extends Data.TaggedError("CircuitOpen")<{
  /** Its name. */
  readonly breaker: string
  /** `isolated`: by hand, until it is reset. */
  readonly state: "open" | "half-open" | "isolated"
  /** Until the next call has a chance; a guess while it is half-open or isolated. */
  readonly retryAfter: Duration.Duration
}> {
  override get message(): string {
    const breaker = `The circuit breaker "${this.breaker}"`
    if (this.state === "isolated") return `${breaker} is isolated; calls are refused until it is reset.`
    const what = this.state === "open" ? "is open" : "is being probed"
    return `${breaker} ${what}; try again in ${Duration.format(this.retryAfter)}.`
  }
  /**
   * For the errors of a durable step, and for wires.
   *
   * @since 0.1.0
   */
  static readonly schema: Schema.Schema<CircuitOpen, CircuitOpenEncoded> = asSchema(
    Schema.TaggedStruct("CircuitOpen", {
      breaker: Schema.String,
      state: Schema.Literal("open", "half-open", "isolated"),
      retryAfter: Schema.DurationFromMillis
    }),
    (u): u is CircuitOpen => u instanceof CircuitOpen,
    (fields) => new CircuitOpen(fields)
  )
}

/**
 * @since 0.1.0
 * @category errors
 */
export interface CircuitOpenEncoded {
  readonly _tag: "CircuitOpen"
  readonly breaker: string
  readonly state: "open" | "half-open" | "isolated"
  /** Milliseconds. */
  readonly retryAfter: number
}

/**
 * The bulkhead had no place for the call, neither to run nor to wait; it was
 * not made.
 *
 * @since 0.1.0
 * @category errors
 */
export class BulkheadFull extends Data.TaggedError("BulkheadFull")<{
  /** Its name. */
  readonly bulkhead: string
  /** Calls at once. */
  readonly maxConcurrent: number
  /** Calls that may wait. */
  readonly maxQueue: number
}> {
  override get message(): string {
    return `The bulkhead "${this.bulkhead}" is full: ${this.maxConcurrent} calls run and ${this.maxQueue} wait; try again later, or give it more places.`
  }
  /**
   * For the errors of a durable step, and for wires.
   *
   * @since 0.1.0
   */
  static readonly schema: Schema.Schema<BulkheadFull, BulkheadFullEncoded> = asSchema(
    Schema.TaggedStruct("BulkheadFull", {
      bulkhead: Schema.String,
      maxConcurrent: Schema.Number,
      maxQueue: Schema.Number
    }),
    (u): u is BulkheadFull => u instanceof BulkheadFull,
    (fields) => new BulkheadFull(fields)
  )
}

/**
 * @since 0.1.0
 * @category errors
 */
export interface BulkheadFullEncoded {
  readonly _tag: "BulkheadFull"
  readonly bulkhead: string
  readonly maxConcurrent: number
  readonly maxQueue: number
}

/**
 * One attempt took longer than it was given, and was stopped.
 *
 * @since 0.1.0
 * @category errors
 */
export class AttemptTimeout extends Schema.TaggedError<AttemptTimeout>("effect-recovery/AttemptTimeout")(
  "AttemptTimeout",
  {
    /** What the attempt was given. */
    timeout: Schema.DurationFromMillis
  }
) {
  override get message(): string {
    return `The attempt was stopped after ${Duration.format(this.timeout)}; give it a longer timeout or find out what it waits for.`
  }
}

/**
 * A rewind that cannot be made. Nothing was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class RewindRefused extends Schema.TaggedError<RewindRefused>("effect-recovery/RewindRefused")("RewindRefused", {
  run: Schema.String,
  /** Where to, in words, such as `step "charge"`. */
  point: Schema.String,
  /**
   * - `Unknown`: the run has no such point
   * - `Pivot`: what lies between cannot be undone
   * - `Compensated`: the point lies in a transaction that was rolled back
   * - `Invalid`: the checkpoint did not pass its checks
   */
  reason: Schema.Literal("Unknown", "Pivot", "Compensated", "Invalid"),
  /** What stands in the way, such as the key of the pivot. */
  detail: Schema.String
}) {
  override get message(): string {
    const advice = {
      Unknown: "Workflow.status shows the steps and points there are.",
      Pivot: `"${this.detail}" cannot be undone; rewind to a point after it, or settle it by hand.`,
      Compensated: `It lies in "${this.detail}", which was rolled back; rewind to before that.`,
      Invalid: this.detail
    }[this.reason]
    return `Run "${this.run}" cannot be rewound to ${this.point} (${this.reason}). ${advice}`
  }
}

/**
 * An option of a policy is outside its bounds. Thrown while the policy is
 * built, since such a policy is a bug of the program.
 *
 * @since 0.1.0
 * @category errors
 */
export class PolicyInvalid extends Data.TaggedError("PolicyInvalid")<{
  readonly option: string
  readonly value: unknown
  readonly expected: string
}> {
  override get message(): string {
    return `The option "${this.option}" is ${String(this.value)}; give ${this.expected}.`
  }
}

/** Only V8 has `stackTraceLimit`. */
const errors: typeof Error & { stackTraceLimit?: number | undefined } = Error

/**
 * Makes an error without a stack trace. A breaker or bulkhead may refuse
 * thousands of calls per second, and the trace would only show the refusal.
 *
 * @internal
 */
export const withoutStack = <E extends Error>(make: () => E): E => {
  const limit = errors.stackTraceLimit
  errors.stackTraceLimit = 0
  try {
    return make()
  } finally {
    errors.stackTraceLimit = limit
  }
}
