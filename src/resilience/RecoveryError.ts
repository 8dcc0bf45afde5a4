/**
 * The errors of recoveries and of the policies that protect calls.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { durationText } from "./DurationText.js"
import type * as Fault from "./Fault.js"
import type { Declaration } from "./Fault.js"
import { FaultRecord, faultOf, recordOf, restoreFault } from "./FaultRecord.js"
import { messageOf, tagOf } from "./Foreign.js"
import { declaredKey } from "./internal/fault/classify.js"

const writtenFault = (error: unknown, fault: Fault.Fault | undefined) =>
  fault === undefined ? {} : { fault: recordOf(fault, error) }

/** Reads a fault, and restores it for later classifications of the error. */
const readFault = (error: unknown, record: FaultRecord | undefined) =>
  record === undefined ? {} : { fault: faultOf(restoreFault(error, record), record) }

/** A generic class cannot use its parameter in the class it extends, so the fields are untyped here. */
class Exhausted extends Data.TaggedError("RecoveryExhausted")<{
  readonly error: unknown
  /** All attempts, including calls that a breaker refused. */
  readonly attempts: number
  /** The decisions of the recovery, oldest first. */
  readonly decisions: ReadonlyArray<DecisionTaken>
  /** The classification of the last error. */
  readonly fault?: Fault.Fault | undefined
}> {}

/**
 * The strategy has no further option. Contains the last error, unchanged.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecoveryExhausted<out E> extends Exhausted {
  /**
   * The last error.
   *
   * @since 0.1.0
   */
  declare readonly error: E
  constructor(props: ConstructorParameters<typeof Exhausted>[0]) {
    super(props)
    // Printers follow `cause`. Not enumerable, so that equality and encoding ignore it.
    Object.defineProperty(this, "cause", { value: props.error, enumerable: false, configurable: true })
  }
  /** Has the category and severity of the last error, but is not transient. */
  get [declaredKey](): Declaration {
    const { category = "unknown", retryAfter, severity } = this.fault ?? {}
    const asked = retryAfter === undefined ? undefined : Option.getOrUndefined(retryAfter)
    return { category, severity, transient: false, retryAfter: asked }
  }
  override get message(): string {
    const tag = tagOf(this.error)
    const message = messageOf(this.error)
    const what = tag === undefined || message.startsWith(tag) ? "" : ` on ${tag}`
    return `Gave up${what} after ${this.attempts} attempt${this.attempts === 1 ? "" : "s"}: ${message}`
  }
  /**
   * A schema for journals and for other processes. Of `fault` it omits the cause.
   *
   * @since 0.1.0
   */
  static schema<E, EI, R>(error: Schema.Schema<E, EI, R>) {
    const encoded = Schema.Struct({
      _tag: Schema.tag("RecoveryExhausted"),
      error,
      attempts: Schema.Number,
      decisions: Schema.Array(Schema.Struct({ strategy: Schema.String, decision: Schema.String })),
      fault: Schema.optional(FaultRecord)
    })
    const self = Schema.declare((input): input is RecoveryExhausted<E> => input instanceof RecoveryExhausted)
    return Schema.transform(encoded, self, {
      strict: true,
      decode: ({ fault, ...fields }) => new RecoveryExhausted<E>({ ...fields, ...readFault(fields.error, fault) }),
      encode: ({ attempts, decisions, error, fault }) => ({
        _tag: "RecoveryExhausted" as const,
        error,
        attempts,
        decisions,
        ...writtenFault(error, fault)
      })
    })
  }
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
 * The failure of one way of a failover.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailoverFailure<out E> {
  readonly way: string
  readonly error: E
  /** The classification of the error. */
  readonly fault?: Fault.Fault | undefined
}

type Failures<E> = readonly [FailoverFailure<E>, ...ReadonlyArray<FailoverFailure<E>>]

/** Untyped for the same reason as `Exhausted`. */
class EveryWay extends Data.TaggedError("FailoverExhausted")<{
  /** The name of the failover. */
  readonly failover: string
  /** The failure of each way that was tried, in that order. */
  readonly failures: Failures<unknown>
  /** The stored classification, if the error was read from a journal. */
  readonly declares?: Declaration | undefined
}> {}

/**
 * Every way that was tried failed. Contains each failure, unchanged.
 *
 * @since 0.1.0
 * @category errors
 */
export class FailoverExhausted<out E> extends EveryWay {
  /**
   * The failure of each way that was tried, in that order.
   *
   * @since 0.1.0
   */
  declare readonly failures: Failures<E>
  constructor(props: {
    readonly failover: string
    readonly failures: Failures<E>
    readonly declares?: Declaration | undefined
  }) {
    super(props)
    // As in RecoveryExhausted.
    Object.defineProperty(this, "cause", { value: this.error, enumerable: false, configurable: true })
  }
  /** The error of the way that was tried last. */
  get error(): E {
    const [first, ...rest] = this.failures
    return (rest.at(-1) ?? first).error
  }
  /** Has the category and severity of the last failure. Transient if one of the failures is. */
  get [declaredKey](): Declaration {
    if (this.declares !== undefined) return this.declares
    const [first, ...rest] = this.failures
    const { category = "unknown", severity } = (rest.at(-1) ?? first).fault ?? {}
    const waits = this.failures.flatMap(({ fault }) => (fault === undefined ? [] : Option.toArray(fault.retryAfter)))
    const transient = this.failures.some(({ fault }) => fault?.transient === true)
    // The shortest wait: a retry may succeed as soon as one way is available.
    return { category, severity, transient, retryAfter: waits.length === 0 ? undefined : waits.reduce(Duration.min) }
  }
  override get message(): string {
    const ways = this.failures.map(({ error, way }) => {
      const tag = tagOf(error)
      const message = messageOf(error)
      return `${way} (${tag === undefined || message.includes(tag) ? message : message === "" ? tag : `${tag}: ${message}`})`
    })
    return `All ways of "${this.failover}" failed: ${ways.join(", ")}`
  }
  /**
   * A schema for journals and for other processes. It keeps the classification as a whole.
   *
   * @since 0.1.0
   */
  static schema<E, EI, R>(error: Schema.Schema<E, EI, R>) {
    const encoded = Schema.Struct({
      _tag: Schema.tag("FailoverExhausted"),
      failover: Schema.String,
      failures: Schema.NonEmptyArray(Schema.Struct({ way: Schema.String, error, fault: Schema.optional(FaultRecord) })),
      declares: Schema.Struct({
        category: Schema.String,
        severity: Schema.optional(Schema.Literal("low", "medium", "high", "critical")),
        transient: Schema.Boolean,
        retryAfter: Schema.optional(Schema.DurationFromMillis)
      })
    })
    const self = Schema.declare((input): input is FailoverExhausted<E> => input instanceof FailoverExhausted)
    return Schema.transform(encoded, self, {
      strict: true,
      decode: ({ failures: [first, ...rest], ...fields }) => {
        const read = ({ error, fault, way }: typeof first) => ({ way, error, ...readFault(error, fault) })
        return new FailoverExhausted<E>({ ...fields, failures: [read(first), ...rest.map(read)] })
      },
      encode: (exhausted) => {
        const { category, retryAfter, severity, transient = false } = exhausted[declaredKey]
        const [first, ...rest] = exhausted.failures
        const bare = ({ error, fault, way }: FailoverFailure<E>) => ({ way, error, ...writtenFault(error, fault) })
        return {
          _tag: "FailoverExhausted" as const,
          failover: exhausted.failover,
          failures: [bare(first), ...rest.map(bare)] as const,
          declares: {
            category,
            transient,
            ...(severity === undefined ? {} : { severity }),
            ...(retryAfter === undefined ? {} : { retryAfter: Duration.decode(retryAfter) })
          }
        }
      }
    })
  }
}

/**
 * One attempt exceeded its timeout and was interrupted.
 *
 * @since 0.1.0
 * @category errors
 */
export class AttemptTimeout extends Schema.TaggedError<AttemptTimeout>("effect-recovery/AttemptTimeout")(
  "AttemptTimeout",
  {
    /** The timeout of the attempt. */
    timeout: Schema.DurationFromMillis
  }
) {
  override get message(): string {
    return `The attempt was interrupted after ${durationText(this.timeout)}; give it a longer timeout, or find out what it waits for.`
  }
}

/**
 * The run cannot be rewound to this point. Nothing was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class RewindRefused extends Schema.TaggedError<RewindRefused>("effect-recovery/RewindRefused")("RewindRefused", {
  run: Schema.String,
  /** The point, such as `step "charge"`. */
  point: Schema.String,
  /**
   * - `Unknown`: the run has no such point
   * - `Pivot`: a step after the point cannot be undone
   * - `Compensated`: the point is inside a transaction that was rolled back
   * - `Invalid`: the checkpoint failed its checks
   */
  reason: Schema.Literal("Unknown", "Pivot", "Compensated", "Invalid"),
  /** The obstacle, such as the key of the pivot. */
  detail: Schema.String
}) {
  override get message(): string {
    const advice = {
      Unknown: "Workflow.status lists the steps and points of the run.",
      Pivot: `"${this.detail}" cannot be undone; rewind to a point after it, or undo it by hand.`,
      Compensated: `The point is inside "${this.detail}", which was rolled back; rewind to a point before it.`,
      Invalid: this.detail
    }[this.reason]
    return `Run "${this.run}" cannot be rewound to ${this.point} (${this.reason}). ${advice}`
  }
}
