/**
 * A `Fault` is a classified failure: what kind it is, how bad it is, and
 * whether trying again can help. Everything above (policies, strategies,
 * statistics) decides by faults, never by the text of an error.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as classify_ from "./internal/fault/classify.js"
import { defaultRules } from "./internal/fault/defaultRules.js"
import { declaredKey, read as read_, type Subject } from "./internal/fault/subject.js"

/**
 * What kind of failure this is. The set is open: a domain adds its own names
 * through rules or self-declaration.
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
 * How bad a failure is, from `low` to `critical`.
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
  /** Whether the same effect may succeed when it is run again unchanged. */
  readonly transient: boolean
  /** How sure the classification is: 1 for self-declared, 0.5 for words, 0 for unknown. */
  readonly confidence: number
  /** Equal for failures that differ only in numbers, ids, paths and quoted text. */
  readonly fingerprint: string
  readonly message: string
  readonly tag: Option.Option<string>
  /** How long the failing side asked callers to wait. */
  readonly retryAfter: Option.Option<Duration.Duration>
  readonly cause: Cause.Cause<unknown>
}

/**
 * What a rule, or an error class about itself, says about a failure. Fields
 * left out are filled from the category.
 *
 * @since 0.1.0
 * @category models
 */
export interface Declaration {
  readonly category: Category
  readonly severity?: Severity | undefined
  readonly transient?: boolean | undefined
  /** 0 to 1. Defaults to 0.9 for rules and 1 for self-declaration. */
  readonly confidence?: number | undefined
  readonly retryAfter?: Duration.DurationInput | undefined
}

/**
 * A rule looks at the shape of a failure and says what it is, or passes.
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
   * What a rule sees of a failure. Every field was read without letting the
   * failing value throw.
   *
   * @since 0.1.0
   * @category models
   */
  Subject
}

/**
 * The property under which an error class declares what it is.
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
export const declared: typeof declaredKey = declaredKey

/**
 * Types a self-declaration; see {@link declared}.
 *
 * @since 0.1.0
 * @category annotations
 */
export const declare = (declaration: Declaration): Declaration => declaration

/**
 * The rules in force, first match wins. Defaults to the built-in rules; put
 * your own before them with {@link layer}.
 *
 * @since 0.1.0
 * @category services
 */
export class Rules extends Context.Reference<Rules>()("effect-recovery/Fault/Rules", {
  defaultValue: (): ReadonlyArray<Rule> => defaultRules
}) {}

/**
 * Puts rules before those in force: the built-in ones, and those of a layer
 * around it. Give all rules of one place to one layer: of two layers side by
 * side, one takes the other's place.
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
 * Takes no guess of the rules in force that is less sure than this, 0 to 1: a
 * failure of which nothing better is known is `unknown`. Words in a message are
 * 0.5, a code in it 0.7, everything that goes by shape at least 0.8.
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
    Effect.map(Rules, (inForce) => inForce.map((rule) => atLeast(rule, confidence)))
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
 * Classifies an error, a defect or a whole `Cause`. Never fails: a value no
 * rule knows is `unknown`, a rule that throws is logged and passed over, a value whose
 * getters throw is read around. Of a `Cause` with several failures the worst
 * counts; interruption alone is `cancelled`.
 *
 * @since 0.1.0
 * @category classification
 */
export const classify = (failure: unknown): Effect.Effect<Fault> =>
  Effect.map(classifier(undefined), (classify) => classify(failure))

/**
 * Classifies at this moment, with rules of one's own before those in force.
 *
 * @internal
 */
export const classifier = (own: ReadonlyArray<Rule> | undefined): Effect.Effect<(failure: unknown) => Fault> =>
  Effect.withFiberRuntime((fiber, { runtimeFlags }) =>
    Effect.zipWith(Rules, Clock.currentTimeMillis, (inForce, now) => {
      const rules = own === undefined ? inForce : [...own, ...inForce]
      const onRuleError = (rule: Rule, error: unknown) => {
        const runtime = Runtime.make({ context: fiber.currentContext, fiberRefs: fiber.getFiberRefs(), runtimeFlags })
        const message = `effect-recovery: the rule "${rule.name}" threw; it was passed over`
        Runtime.runFork(runtime, Effect.logWarning(message, Cause.die(error)))
      }
      return (failure) => classify_.classify(failure, { rules, now, onRuleError })
    })
  )

/**
 * What the built-in rules say of a failure, with its severity.
 *
 * @internal
 */
export const declaredByDefault = (subject: Subject): Declaration & { readonly severity: Severity } => {
  const options = { rules: defaultRules, now: 0, onRuleError: () => {} }
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
export const read: (value: unknown, key: PropertyKey) => unknown = read_

/**
 * Matches errors whose `_tag` (or `name`) is the given one.
 *
 * @since 0.1.0
 * @category rules
 */
export const tag = (tag: string, declaration: Declaration): Rule => ({
  name: `tag:${tag}`,
  match: (subject) => (subject.tag === tag || subject.name === tag ? declaration : undefined)
})

/**
 * Matches instances of a class and of its subclasses. Prefer {@link tag}
 * where the class may be bundled twice.
 *
 * @since 0.1.0
 * @category rules
 */
export const instanceOf = (
  constructor: abstract new (...args: ReadonlyArray<never>) => unknown,
  declaration: Declaration
): Rule => ({
  name: `instanceOf:${constructor.name}`,
  match: (subject) => (subject.error instanceof constructor ? declaration : undefined)
})

/**
 * Matches an error code anywhere along the `cause` chain, so the
 * `ECONNREFUSED` behind "fetch failed" counts. A code that ends with `*`
 * matches every code with that start.
 *
 * @since 0.1.0
 * @category rules
 */
export const code = (code: string, declaration: Declaration): Rule => {
  const test = code.endsWith("*")
    ? (given: string) => given.startsWith(code.slice(0, -1))
    : (given: string) => given === code
  return { name: `code:${code}`, match: (subject) => (subject.codes.some(test) ? declaration : undefined) }
}

/**
 * Matches an HTTP status on the error or on its `response`.
 *
 * @since 0.1.0
 * @category rules
 */
export const status = (status: number, declaration: Declaration): Rule => ({
  name: `status:${status}`,
  match: (subject) => (subject.status === status ? declaration : undefined)
})

/**
 * Matches the message. Text is the weakest evidence, so the confidence
 * defaults to 0.5; give a pattern with word boundaries.
 *
 * @since 0.1.0
 * @category rules
 */
export const message = (pattern: RegExp, declaration: Declaration): Rule => {
  // A global or sticky pattern would remember its position between failures.
  const stateless = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""))
  return {
    name: `message:${pattern.source}`,
    match: (subject) => (stateless.test(subject.message) ? { confidence: 0.5, ...declaration } : undefined)
  }
}

/**
 * Matches whatever the predicate accepts.
 *
 * @since 0.1.0
 * @category rules
 */
export const when = (name: string, predicate: (subject: Subject) => boolean, declaration: Declaration): Rule => ({
  name,
  match: (subject) => (predicate(subject) ? declaration : undefined)
})
