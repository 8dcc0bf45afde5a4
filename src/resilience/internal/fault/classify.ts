import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { Category, Declaration, Fault, Rule } from "../../Fault.js"
import { isSeverity, profileOf, severer } from "./categories.js"
import { fingerprint } from "./fingerprint.js"
import { declaredKey, makeSubject, read, type Subject } from "./subject.js"

/** By what a failure is judged. */
export interface Law {
  readonly rules: ReadonlyArray<Rule>
  /** Epoch milliseconds, for dates that say when to come again. */
  readonly now: number
  /** Told of a rule that throws; it is passed over. */
  readonly broken: (rule: Rule, error: unknown) => void
}

export const classify = (failure: unknown, law: Law): Fault =>
  isCause(failure) ? classifyCause(failure, law) : classifyError(failure, Cause.fail(failure), law)

/** Even asking throws for a revoked proxy. */
const isCause = (failure: unknown): failure is Cause.Cause<unknown> => safely(() => Cause.isCause(failure)) === true

const classifyCause = (cause: Cause.Cause<unknown>, law: Law): Fault => {
  const failures = [...Chunk.toReadonlyArray(Cause.failures(cause)), ...Chunk.toReadonlyArray(Cause.defects(cause))]
  const faults = failures.map((failure) => classifyError(failure, cause, law))
  return faults.length === 0 ? fromDeclaration(cancelled(cause), noFailure(law.now), cause) : faults.reduce(worse)
}

const noFailure = (now: number): Subject => makeSubject("interrupted", now)

const cancelled = (cause: Cause.Cause<unknown>): Declaration =>
  Cause.isInterrupted(cause) ? { category: "cancelled", confidence: 1 } : { category: "unknown", confidence: 0 }

const worse = (a: Fault, b: Fault): Fault => (severer(a.severity, b.severity) === a.severity ? a : b)

const classifyError = (error: unknown, cause: Cause.Cause<unknown>, law: Law): Fault => {
  const subject = makeSubject(error, law.now)
  return fromDeclaration(declarationOf(subject, law), subject, cause)
}

/** Of the error itself, or of what it wraps if nothing is known of the wrapper. */
export const declarationOf = (subject: Subject, law: Law): Declaration => {
  for (const link of subject.chain) {
    const declaration =
      selfDeclared(link) ?? firstMatch(link === subject.error ? subject : makeSubject(link, law.now), law)
    if (declaration !== undefined) return declaration
  }
  return { category: "unknown", confidence: 0 }
}

/** Field by field, since a declaration may come from anywhere. */
const selfDeclared = (error: unknown): Declaration | undefined => {
  const declaration = read(error, declaredKey)
  const category = read(declaration, "category")
  if (typeof category !== "string") return undefined
  const { confidence, retryAfter, severity, transient } = Object.fromEntries(
    ["confidence", "retryAfter", "severity", "transient"].map((key) => [key, read(declaration, key)])
  )
  return {
    category,
    severity: isSeverity(severity) ? severity : undefined,
    transient: typeof transient === "boolean" ? transient : undefined,
    confidence: typeof confidence === "number" && confidence >= 0 && confidence <= 1 ? confidence : 1,
    // Anything that is no duration is passed over when it is decoded.
    retryAfter: retryAfter as Declaration["retryAfter"]
  }
}

const firstMatch = (subject: Subject, { broken, rules }: Law): Declaration | undefined => {
  for (const rule of rules) {
    try {
      const declaration = rule.match(subject)
      if (declaration !== undefined) return declaration
    } catch (error) {
      broken(rule, error)
    }
  }
  return undefined
}

const safely = <A>(f: () => A): A | undefined => {
  try {
    return f()
  } catch {
    return undefined
  }
}

const decode = (input: Duration.DurationInput): Duration.Duration => {
  const duration = Duration.decode(input)
  // Throws for what only looks like one.
  Duration.toMillis(duration)
  return duration
}

/** Of a rule that does not say how sure it is. */
export const usualConfidence = 0.9

const fromDeclaration = (declaration: Declaration, subject: Subject, cause: Cause.Cause<unknown>): Fault => {
  const category: Category = declaration.category
  const profile = profileOf(category)
  const declared = declaration.retryAfter
  const asked = declared === undefined ? undefined : safely(() => decode(declared))
  return {
    category,
    severity: declaration.severity ?? profile.severity,
    transient: declaration.transient ?? profile.transient,
    confidence: declaration.confidence ?? usualConfidence,
    fingerprint: fingerprint(category, subject.tag ?? subject.name, subject.message),
    message: subject.message,
    tag: Option.fromNullable(subject.tag),
    retryAfter: Option.fromNullable(asked ?? subject.retryAfter),
    cause
  }
}
