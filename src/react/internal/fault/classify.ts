import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { Category, Declaration, Fault, Rule } from "../../Fault.js"
import { isSeverity, profileOf, severer } from "./categories.js"
import { fingerprint } from "./fingerprint.js"
import { declaredKey, makeSubject, read, type Subject } from "./subject.js"

export const classify = (failure: unknown, rules: ReadonlyArray<Rule>, now: number): Fault =>
  isCause(failure) ? classifyCause(failure, rules, now) : classifyError(failure, Cause.fail(failure), rules, now)

/** Even asking throws for a revoked proxy. */
const isCause = (failure: unknown): failure is Cause.Cause<unknown> => safely(() => Cause.isCause(failure)) === true

const classifyCause = (cause: Cause.Cause<unknown>, rules: ReadonlyArray<Rule>, now: number): Fault => {
  const failures = [...Chunk.toReadonlyArray(Cause.failures(cause)), ...Chunk.toReadonlyArray(Cause.defects(cause))]
  const faults = failures.map((failure) => classifyError(failure, cause, rules, now))
  return faults.length === 0 ? fromDeclaration(cancelled(cause), noFailure(now), cause) : faults.reduce(worse)
}

const noFailure = (now: number): Subject => makeSubject("interrupted", now)

const cancelled = (cause: Cause.Cause<unknown>): Declaration =>
  Cause.isInterrupted(cause) ? { category: "cancelled", confidence: 1 } : { category: "unknown", confidence: 0 }

const worse = (a: Fault, b: Fault): Fault => (severer(a.severity, b.severity) === a.severity ? a : b)

const classifyError = (error: unknown, cause: Cause.Cause<unknown>, rules: ReadonlyArray<Rule>, now: number): Fault => {
  const subject = makeSubject(error, now)
  return fromDeclaration(declarationOf(subject, rules, now), subject, cause)
}

/** Of the error itself, or of what it wraps if nothing is known of the wrapper. */
export const declarationOf = (subject: Subject, rules: ReadonlyArray<Rule>, now: number): Declaration => {
  for (const link of subject.chain) {
    const declaration =
      selfDeclared(link) ?? firstMatch(link === subject.error ? subject : makeSubject(link, now), rules)
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

const firstMatch = (subject: Subject, rules: ReadonlyArray<Rule>): Declaration | undefined => {
  for (const rule of rules) {
    const declaration = safely(() => rule.match(subject))
    if (declaration !== undefined) return declaration
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

const fromDeclaration = (declaration: Declaration, subject: Subject, cause: Cause.Cause<unknown>): Fault => {
  const category: Category = declaration.category
  const profile = profileOf(category)
  const declared = declaration.retryAfter
  const asked = declared === undefined ? undefined : safely(() => decode(declared))
  return {
    category,
    severity: declaration.severity ?? profile.severity,
    transient: declaration.transient ?? profile.transient,
    confidence: declaration.confidence ?? 0.9,
    fingerprint: fingerprint(category, subject.tag ?? subject.name, subject.message),
    message: subject.message,
    tag: Option.fromNullable(subject.tag),
    retryAfter: Option.fromNullable(asked ?? subject.retryAfter),
    cause
  }
}
