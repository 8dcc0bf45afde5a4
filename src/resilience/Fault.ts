/**
 * A `Fault` is a classified failure: its category, its severity, and whether a
 * retry can help. Policies, strategies and statistics decide by faults.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Foreign from "./Foreign.js"
import type { Subject } from "./internal/fault/classify.js"
import * as classify_ from "./internal/fault/classify.js"
import { defaultRules } from "./internal/fault/defaultRules.js"
import { logThrown } from "./internal/kernel/logged.js"
import { fraction } from "./internal/kernel/options.js"
import { redactText, redactTextIn } from "./internal/redaction/inForce.js"

/**
 * The kind of a failure. The set is open: rules and self-declaring errors can
 * add categories.
 *
 * @since 0.1.0
 * @category models
 */
export type Category =
  | "network"
  | "timeout"
  | "rate-limit"
  | "unavailable"
  | "resource"
  | "permission"
  | "validation"
  | "not-found"
  | "conflict"
  | "corruption"
  | "dependency"
  | "logic"
  | "cancelled"
  | "unknown"
  | (string & {})

/**
 * The severity of a failure, from `low` to `critical`.
 *
 * @since 0.1.0
 * @category models
 */
export type Severity = "low" | "medium" | "high" | "critical"

/**
 * A classified failure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fault {
  readonly category: Category
  readonly severity: Severity
  /** Whether the same effect may succeed if it runs again unchanged. */
  readonly transient: boolean
  /** From 0 to 1: 1 if self-declared, 0.5 if matched by words, 0 if unknown. */
  readonly confidence: number
  /** Equal for failures that differ only in numbers, ids, paths and quoted text. */
  readonly fingerprint: string
  /** Without secrets; see `Redaction`. */
  readonly message: string
  readonly tag: Option.Option<string>
  /** The wait that the failing side asked for, such as `Retry-After`. */
  readonly retryAfter: Option.Option<Duration.Duration>
  readonly cause: Cause.Cause<unknown>
}

/**
 * The classification by a rule or by an error class itself. Missing fields are
 * filled from the category.
 *
 * @since 0.1.0
 * @category models
 */
export interface Declaration {
  readonly category: Category
  readonly severity?: Severity | undefined
  readonly transient?: boolean | undefined
  /** 0 to 1. Defaults to 0.9 for rules and 1 for self-declaration, also if it is NaN, negative or above 1. */
  readonly confidence?: number | undefined
  /** A negative or invalid one, such as NaN, is ignored. 0 allows a retry at once; `Infinity` waits the `maxDelay` of the policy. */
  readonly retryAfter?: Duration.DurationInput | undefined
}

/**
 * A rule classifies a failure by its shape, or returns `undefined`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rule {
  readonly name: string
  readonly match: (subject: Subject) => Declaration | undefined
}

export type {
  /**
   * The view of a failure that rules match. No getter or proxy of the failing
   * value can throw through it.
   *
   * @since 0.1.0
   * @category models
   */
  Subject
}

/**
 * The property in which an error class declares its classification.
 *
 * @example
 * ```ts
 * import { Fault } from "effect-recovery"
 * import { Data, Effect } from "effect"
 *
 * class QuotaUsedUp extends Data.TaggedError("QuotaUsedUp")<{ tenant: string }> {
 *   readonly [Fault.declared] = Fault.declare({ category: "rate-limit", retryAfter: "1 hour" })
 * }
 *
 * const fault = Effect.runSync(Fault.classify(new QuotaUsedUp({ tenant: "acme" })))
 * console.log(fault.category, fault.confidence) // rate-limit 1
 * ```
 *
 * @since 0.1.0
 * @category annotations
 */
export const declared: typeof classify_.declaredKey = classify_.declaredKey

/**
 * Types a self-declaration; see {@link declared}.
 *
 * @since 0.1.0
 * @category annotations
 */
export const declare = (declaration: Declaration): Declaration => declaration

/**
 * The rules in force. The first match wins. Defaults to the built-in rules; add
 * your own with {@link layer}.
 *
 * @since 0.1.0
 * @category services
 */
export class Rules extends Context.Reference<Rules>()("effect-recovery/Fault/Rules", {
  defaultValue: (): ReadonlyArray<Rule> => defaultRules
}) {}

/**
 * Adds rules before those in force: the built-in ones and those of outer layers.
 * Pass all rules to one layer, since merging two such layers keeps only one.
 *
 * @example
 * ```ts
 * import { Fault } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const rules = Fault.layer(
 *   Fault.tag("LedgerLocked", { category: "conflict" }),
 *   Fault.status(418, { category: "validation", severity: "low" })
 * )
 *
 * const fault = Fault.classify({ _tag: "LedgerLocked" }).pipe(Effect.provide(rules), Effect.runSync)
 * console.log(fault.category) // conflict
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (...rules: ReadonlyArray<Rule>): Layer.Layer<never> =>
  Layer.effect(
    Rules,
    Effect.map(Rules, (inForce) => [...rules, ...inForce])
  )

/**
 * Ignores matches of the rules in force below this confidence, 0 to 1. A failure
 * without a better match is `unknown`. Words in a message have confidence 0.5, a
 * code in a message 0.7, and matches by shape at least 0.8.
 *
 * @example
 * ```ts
 * import { Fault } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * Fault.classify("the connection was closed, connection reset by peer").pipe(
 *   Effect.map(({ category }) => category),
 *   Effect.provide(Fault.layerAtLeast(0.6)),
 *   Effect.runPromise
 * ).then(console.log) // unknown
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerAtLeast = (confidence: number): Layer.Layer<never> =>
  Layer.effect(
    Rules,
    Effect.map(Rules, (inForce) => inForce.map((rule) => atLeast(rule, fraction("confidence", confidence))))
  )

const atLeast = (rule: Rule, confidence: number): Rule => ({
  ...rule,
  match: (subject) => {
    const declaration = rule.match(subject)
    return declaration === undefined || (declaration.confidence ?? classify_.defaultConfidence) < confidence
      ? undefined
      : declaration
  }
})

/**
 * Classifies an error, a defect or a whole `Cause`. Never fails: a failure
 * without a match is `unknown`, a rule that throws is logged and skipped, and a
 * property whose getter throws counts as missing. The most severe failure of a
 * `Cause` counts; interruption alone is `cancelled`.
 *
 * @since 0.1.0
 * @category classification
 */
export const classify = (failure: unknown): Effect.Effect<Fault> =>
  Effect.map(classifier(undefined), (classify) => classify(failure))

/**
 * A synchronous classifier with the current rules and time. `own` rules go first.
 *
 * @internal
 */
export const classifier = (own: ReadonlyArray<Rule> | undefined): Effect.Effect<(failure: unknown) => Fault> =>
  Effect.withFiberRuntime(({ currentContext, currentDefaultServices }) => {
    const now = Context.get(currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis()
    return Effect.succeed((failure: unknown) => classifyIn(currentContext, now, failure, own))
  })

/** Classifications by the cause: a breaker, a policy and a recovery ask for the same one, one after the other. */
const known = new WeakMap<Cause.Cause<unknown>, Known>()

interface Known extends Pick<classify_.ClassifyOptions, "rules" | "own" | "now" | "redact"> {
  readonly fault: Fault
}

/**
 * {@link classify} with the rules and the redaction of a context. `own` rules go first.
 *
 * @internal
 */
export const classifyIn = (
  context: Context.Context<never>,
  now: number,
  failure: unknown,
  own?: ReadonlyArray<Rule>
): Fault => {
  const [rules, redact] = [Context.get(context, Rules), redactTextIn(context)]
  const cause = classify_.isCause(failure) ? failure : undefined
  const before = cause === undefined ? undefined : known.get(cause)
  if (before?.rules === rules && before.own === own && before.now === now && before.redact === redact) {
    return before.fault
  }
  const onRuleError = (rule: Rule, error: unknown) =>
    logThrown(error, `the classification rule "${rule.name}" threw and was skipped`)
  const all = own === undefined ? rules : [...own, ...rules]
  const fault = classify_.classify(failure, { rules: all, own, now, redact, onRuleError })
  if (cause !== undefined) known.set(cause, { rules, own, now, redact, fault })
  return fault
}

/**
 * The wait that a failure asks for, as its fault has it. Classifies the failure only if a rule could declare one.
 *
 * @internal
 */
export const retryAfterIn = (
  context: Context.Context<never>,
  now: number,
  failure: unknown
): Duration.Duration | undefined => {
  const read = Context.get(context, Rules) === defaultRules ? classify_.retryAfterOf(failure, now) : "unknown"
  return read === "unknown" ? Option.getOrUndefined(classifyIn(context, now, failure).retryAfter) : read
}

/**
 * Classifies a failure by the built-in rules alone, with its severity.
 *
 * @internal
 */
export const declaredByDefault = (subject: Subject): Declaration & { readonly severity: Severity } => {
  const options = { rules: defaultRules, now: 0, redact: redactText, onRuleError: () => {} }
  const declaration = classify_.declarationOf(subject, options)
  return { ...declaration, severity: declaration.severity ?? classify_.profileOf(declaration.category).severity }
}

/**
 * The more severe of two; the first if they are equal.
 *
 * @internal
 */
export const moreSevere: (a: Severity, b: Severity) => Severity = classify_.moreSevere

/**
 * Reads a property of any value. Returns `undefined` if a getter or proxy throws.
 *
 * @internal
 */
export const read: (value: unknown, key: PropertyKey) => unknown = Foreign.read

/**
 * Matches errors whose `_tag` (or `name`) is the given one.
 *
 * @since 0.1.0
 * @category rules
 */
export const tag = (tag: string, declaration: Declaration): Rule =>
  when(`tag:${tag}`, (subject) => subject.tag === tag || subject.name === tag, declaration)

/**
 * Matches instances of a class and of its subclasses. Prefer {@link tag} if the
 * class may be bundled twice.
 *
 * @since 0.1.0
 * @category rules
 */
export const instanceOf = (
  constructor: abstract new (...args: ReadonlyArray<never>) => unknown,
  declaration: Declaration
): Rule => when(`instanceOf:${constructor.name}`, ({ error }) => error instanceof constructor, declaration)

/**
 * Matches an error code anywhere in the `cause` chain, such as the
 * `ECONNREFUSED` behind "fetch failed". A code that ends with `*` matches every
 * code with that prefix.
 *
 * @since 0.1.0
 * @category rules
 */
export const code = (code: string, declaration: Declaration): Rule => {
  const test = code.endsWith("*")
    ? (given: string) => given.startsWith(code.slice(0, -1))
    : (given: string) => given === code
  return when(`code:${code}`, ({ codes }) => codes.some(test), declaration)
}

/**
 * Matches an HTTP status on the error or on its `response`.
 *
 * @since 0.1.0
 * @category rules
 */
export const status = (status: number, declaration: Declaration): Rule =>
  when(`status:${status}`, (subject) => subject.status === status, declaration)

/**
 * Matches the message. The confidence defaults to 0.5, since text is weak
 * evidence. Use a pattern with word boundaries.
 *
 * @since 0.1.0
 * @category rules
 */
export const message = (pattern: RegExp, declaration: Declaration): Rule => {
  // A global or sticky pattern keeps its position between calls.
  const stateless = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""))
  const matches = ({ message }: Subject) => stateless.test(message)
  return when(`message:${pattern.source}`, matches, { confidence: 0.5, ...declaration })
}

/**
 * Matches the failures that the predicate accepts.
 *
 * @since 0.1.0
 * @category rules
 */
export const when = (name: string, predicate: (subject: Subject) => boolean, declaration: Declaration): Rule => ({
  name,
  match: (subject) => (predicate(subject) ? declaration : undefined)
})
