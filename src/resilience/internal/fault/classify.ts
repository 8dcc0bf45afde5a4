import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { Category, Declaration, Fault, Rule, Severity } from "../../Fault.js"
import { causeChain, messageOf, read, readString, safely, tagOf } from "../../Foreign.js"
import { millisOrNaN } from "../kernel/duration.js"
import { declarationOfRecord, faultOfRecord, getRecord } from "./recorded.js"

/** The property of a self-declaration; public as `Fault.declared`. */
export const declaredKey: unique symbol = Symbol.for("effect-recovery/Fault/declared")

/**
 * The view of a failure that rules match. No getter or proxy of the failing
 * value can throw through it.
 */
export interface Subject {
  readonly error: unknown
  /** The error and its causes, outermost first. */
  readonly chain: ReadonlyArray<unknown>
  /** `_tag`, if the error has one. */
  readonly tag: string | undefined
  /** `name`, if the error has one. */
  readonly name: string | undefined
  /** `reason`, if it is a string: the discriminator of @effect/platform errors. */
  readonly reason: string | undefined
  /** String `code`s of the error and its causes, outermost first. */
  readonly codes: ReadonlyArray<string>
  /** HTTP status of the error or of its response. */
  readonly status: number | undefined
  /** At most 2,000 characters. */
  readonly message: string
  readonly retryAfter: Duration.Duration | undefined
}

const makeSubject = (error: unknown, now: number): Subject => {
  const chain = causeChain(error)
  return {
    error,
    chain,
    tag: tagOf(error),
    name: readString(error, "name"),
    reason: readString(error, "reason"),
    ...factsIn(chain),
    message: messageOf(error),
    retryAfter: firstDefined(chain, (link) => readRetryAfter(link, now))
  }
}

/** What an error and its causes say in fields that a schema may not keep. */
export const factsOf = (error: unknown): Pick<Subject, "codes" | "status"> => factsIn(causeChain(error))

const factsIn = (chain: ReadonlyArray<unknown>): Pick<Subject, "codes" | "status"> => {
  const codes: Array<string> = []
  let status: number | undefined
  for (const link of chain) {
    const record = getRecord(link)
    status ??= record?.status ?? readStatus(link)
    codes.push(...(record?.codes ?? readCode(link)))
    // The record has the codes of the causes too.
    if (record?.codes !== undefined) break
  }
  return { codes, status }
}

const readCode = (link: unknown): ReadonlyArray<string> => {
  const code = readString(link, "code")
  return code === undefined ? [] : [code]
}

const firstDefined = <A>(links: ReadonlyArray<unknown>, f: (link: unknown) => A | undefined): A | undefined => {
  for (const link of links) {
    const found = f(link)
    if (found !== undefined) return found
  }
  return undefined
}

const readStatus = (error: unknown): number | undefined => {
  const candidates = [read(error, "status"), read(error, "statusCode"), read(read(error, "response"), "status")]
  return candidates.find((value): value is number => typeof value === "number" && value >= 400 && value <= 599)
}

const readRetryAfter = (error: unknown, now: number): Duration.Duration | undefined => {
  const recorded = getRecord(error)?.retryAfter
  if (recorded !== undefined) return Duration.millis(recorded)
  const own = read(error, "retryAfter")
  if (isDuration(own)) return own
  const header =
    own ??
    readHeader(read(read(error, "response"), "headers"), "retry-after") ??
    readHeader(read(error, "headers"), "retry-after")
  return typeof header === "number" || typeof header === "string" ? parseRetryAfter(header, now) : undefined
}

/** `toMillis` throws for an object that only resembles a duration. */
const isDuration = (value: unknown): value is Duration.Duration =>
  safely(() => Duration.isDuration(value) && Duration.toMillis(value) >= 0) === true

const readHeader = (headers: unknown, name: string): unknown => {
  const get = read(headers, "get")
  if (typeof get !== "function") return read(headers, name) ?? read(headers, "Retry-After")
  return safely(() => get.call(headers, name))
}

/** Seconds or an HTTP date (RFC 9110, section 10.2.3). */
const parseRetryAfter = (value: number | string, now: number): Duration.Duration | undefined => {
  if (typeof value === "number") return value >= 0 && Number.isFinite(value) ? Duration.seconds(value) : undefined
  if (/^\s*\d{1,12}(\.\d+)?\s*$/.test(value)) return Duration.seconds(Number(value))
  // Date.parse accepts almost any text, so only the forms of the RFC and of ISO 8601 are tried.
  const date = /GMT\s*$|^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : Number.NaN
  return Number.isNaN(date) ? undefined : Duration.millis(Math.max(0, date - now))
}

interface Profile {
  readonly severity: Severity
  readonly transient: boolean
}

const transientCategories: ReadonlySet<string> = new Set(
  "network timeout rate-limit unavailable resource conflict".split(" ")
)

const severities: ReadonlyMap<string, Severity> = new Map([
  ["rate-limit", "low"],
  ["conflict", "low"],
  ["cancelled", "low"],
  ["resource", "high"],
  ["permission", "high"],
  ["dependency", "high"],
  ["logic", "high"],
  ["corruption", "critical"]
])

/** The severity and transience of a category, unless a rule or the error itself says otherwise. */
export const profileOf = (category: Category): Profile => ({
  severity: severities.get(category) ?? "medium",
  transient: transientCategories.has(category)
})

const severityOrder: Readonly<Record<Severity, number>> = { low: 0, medium: 1, high: 2, critical: 3 }

const isSeverity = (value: unknown): value is Severity =>
  typeof value === "string" && Object.hasOwn(severityOrder, value)

/** The more severe of two; the first if they are equal. */
export const moreSevere = (a: Severity, b: Severity): Severity => (severityOrder[b] > severityOrder[a] ? b : a)

export interface ClassifyOptions {
  readonly rules: ReadonlyArray<Rule>
  /** The rules among them that go before a fault read from a journal. Defaults to none. */
  readonly own?: ReadonlyArray<Rule> | undefined
  /** Epoch milliseconds. A `Retry-After` date is relative to it. */
  readonly now: number
  /** Hides the secrets of a message. */
  readonly redact: (text: string) => string
  /** Reports a rule that throws. The rule is skipped. */
  readonly onRuleError: (rule: Rule, error: unknown) => void
}

export const classify = (failure: unknown, options: ClassifyOptions): Fault =>
  isCause(failure) ? classifyCause(failure, options) : classifyError(failure, Cause.fail(failure), options)

/**
 * The wait that a failure asks for, if the rules in force declare none, as the
 * built-in rules. `"unknown"` if it depends on which link of the cause chain a rule knows.
 */
export const retryAfterOf = (given: unknown, now: number): Duration.Duration | undefined | "unknown" => {
  const cause = isCause(given) ? given : undefined
  if (cause !== undefined && cause._tag !== "Fail") return "unknown"
  const failure = cause === undefined ? given : cause.error
  const recorded = getRecord(failure)
  if (recorded !== undefined)
    return recorded.retryAfter === undefined ? undefined : Duration.millis(recorded.retryAfter)
  const chain = causeChain(failure)
  const isDeclared = (link: unknown) => getRecord(link) !== undefined || read(link, declaredKey) !== undefined
  return chain.some(isDeclared) ? "unknown" : firstDefined(chain, (link) => readRetryAfter(link, now))
}

/** A revoked proxy throws even for `Cause.isCause`. */
export const isCause = (failure: unknown): failure is Cause.Cause<unknown> =>
  safely(() => Cause.isCause(failure)) === true

const classifyCause = (cause: Cause.Cause<unknown>, options: ClassifyOptions): Fault => {
  const failures = [...Chunk.toReadonlyArray(Cause.failures(cause)), ...Chunk.toReadonlyArray(Cause.defects(cause))]
  const faults = failures.map((failure) => classifyError(failure, cause, options))
  if (faults.length > 0) return faults.reduce((a, b) => (moreSevere(a.severity, b.severity) === a.severity ? a : b))
  const declaration: Declaration = Cause.isInterrupted(cause)
    ? { category: "cancelled", confidence: 1 }
    : { category: "unknown", confidence: 0 }
  return faultOf(declaration, makeSubject("interrupted", options.now), cause, options)
}

const classifyError = (error: unknown, cause: Cause.Cause<unknown>, options: ClassifyOptions): Fault => {
  const subject = makeSubject(error, options.now)
  const record = getRecord(error)
  if (record !== undefined && ownDeclaration(error, subject, options) === undefined) return faultOfRecord(record, cause)
  return faultOf(declarationOf(subject, options), subject, cause, options)
}

/** Classifies the error, or the first of its causes that is known. */
export const declarationOf = (subject: Subject, options: ClassifyOptions): Declaration => {
  for (const link of subject.chain) {
    const own = link === subject.error ? subject : makeSubject(link, options.now)
    const record = getRecord(link)
    if (record !== undefined) return ownDeclaration(link, own, options) ?? declarationOfRecord(record)
    const declaration = selfDeclared(link) ?? firstMatch(own, options.rules, options)
    if (declaration !== undefined) return declaration
  }
  return { category: "unknown", confidence: 0 }
}

/** What the recovery's own rules say of an error from a journal. Its self-declaration goes before them, and is in its record. */
const ownDeclaration = (error: unknown, subject: Subject, options: ClassifyOptions): Declaration | undefined =>
  options.own === undefined || selfDeclared(error) !== undefined ? undefined : firstMatch(subject, options.own, options)

/** Checks each field, since any code may have written the declaration. */
const selfDeclared = (error: unknown): Declaration | undefined => {
  const declaration = read(error, declaredKey)
  const category = read(declaration, "category")
  if (typeof category !== "string") return undefined
  const severity = read(declaration, "severity")
  const transient = read(declaration, "transient")
  const confidence = read(declaration, "confidence")
  return {
    category,
    severity: isSeverity(severity) ? severity : undefined,
    transient: typeof transient === "boolean" ? transient : undefined,
    confidence: isConfidence(confidence) ? confidence : 1,
    // `faultOf` decodes it and ignores a value that is not a duration.
    retryAfter: read(declaration, "retryAfter") as Declaration["retryAfter"]
  }
}

const firstMatch = (
  subject: Subject,
  rules: ReadonlyArray<Rule>,
  { onRuleError }: ClassifyOptions
): Declaration | undefined => {
  for (const rule of rules) {
    try {
      const declaration = rule.match(subject)
      if (declaration !== undefined) return declaration
    } catch (error) {
      onRuleError(rule, error)
    }
  }
  return undefined
}

/** Undefined for a negative or invalid duration. */
const decode = (input: Duration.DurationInput): Duration.Duration | undefined => {
  const millis = millisOrNaN(input)
  return millis >= 0 ? Duration.millis(millis) : undefined
}

const isConfidence = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= 1

/** The confidence of a rule that does not declare one. */
export const defaultConfidence = 0.9

const faultOf = (
  declaration: Declaration,
  subject: Subject,
  cause: Cause.Cause<unknown>,
  { redact }: ClassifyOptions
): Fault => {
  const { category, retryAfter } = declaration
  // A fault is recorded, logged and shown. Failures that differ only in a token have one fingerprint.
  const message = redact(subject.message)
  const profile = profileOf(category)
  const asked = retryAfter === undefined ? undefined : safely(() => decode(retryAfter))
  return {
    category,
    severity: declaration.severity ?? profile.severity,
    transient: declaration.transient ?? profile.transient,
    confidence: isConfidence(declaration.confidence) ? declaration.confidence : defaultConfidence,
    fingerprint: `${category}-${hash(`${subject.tag ?? subject.name ?? ""}\n${normalise(message)}`)}`,
    message,
    tag: Option.fromNullable(subject.tag),
    retryAfter: Option.fromNullable(asked ?? subject.retryAfter),
    cause
  }
}

/** The parts of a message that vary between occurrences of one fault, most specific first. */
const variable: ReadonlyArray<readonly [RegExp, string]> = [
  [/\bhttps?:\/\/[^\s"'<>]+/g, "<url>"],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, "<id>"],
  // Starts only at a word start: from every letter, a long word without a slash would take quadratic time.
  [/(?<![\w.@+-])(?:[a-z]:)?[\w.@+-]*(?:[\\/][\w.@+-]+)+[\\/]?/g, "<path>"],
  [/"[^"]*"|(?<!\w)'[^']*'(?!\w)|`[^`]*`/g, "<text>"],
  [/\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b/g, "<n>"],
  [/\d+/g, "<n>"]
]

const normalise = (message: string): string =>
  variable.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), message.toLowerCase())

/** 53 bits by cyrb53 of bryc (public domain): two 32-bit multiplicative hashes, mixed. */
const hash = (text: string): string => {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 2654435761)
    b = Math.imul(b ^ unit, 1597334677)
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909)
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909)
  return (4294967296 * (2097151 & b) + (a >>> 0)).toString(36).padStart(11, "0")
}
