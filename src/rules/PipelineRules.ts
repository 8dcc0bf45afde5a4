/**
 * Rules for build and deployment pipelines.
 *
 * @since 0.1.0
 */
import {
  type Declaration,
  declaredByDefault,
  moreSevere,
  type Rule,
  read,
  type Severity,
  type Subject
} from "../resilience/Fault.js"

/** Excludes a count of none: `0 errors`, `no tests`. */
const notNone = "(?<!(?:(?<![\\w.#-])0|\\b(?:no|zero))\\s+)"
/** Excludes a negation: `not blocked`, `without errors`, `non-critical`. */
const notNegated = "(?<!\\b(?:not|without)\\s+)(?<!\\bnon-)"

/** Matches whole words in this order on one line, with any text between them. */
const inOrder = (...words: ReadonlyArray<string>): RegExp => {
  // Shorter for three words, since every pair of the first two starts a search for the third.
  const gap = `[^\\n]{0,${words.length > 2 ? 100 : 500}}?`
  const last = words.length - 1
  // Only the last word states what happened, so only it can be negated.
  return new RegExp(words.map((word, i) => `${notNone}${i === last ? notNegated : ""}\\b(?:${word})\\b`).join(gap), "i")
}

const failed = "failed|failing|failures?"
const errors = "errors?"

/** The first category that matches wins: a failing test is more specific than the failing build around it. */
const categories: Readonly<Record<string, ReadonlyArray<RegExp>>> = {
  linting: [
    inOrder("flake8|pylint|eslint|ruff|biome|tslint|stylelint", `${errors}|${failed}`),
    inOrder("syntax ?errors?"),
    inOrder("imports?", "not found"),
    inOrder("undefined names?")
  ],
  formatting: [
    inOrder("black|isort", "would reformat"),
    inOrder("prettier", failed),
    inOrder("format(?:ting)? check", failed)
  ],
  testing: [
    inOrder("tests?(?:_\\w+)?", failed),
    inOrder("assertion ?errors?"),
    inOrder("pytest|jest|vitest|mocha|coverage", failed)
  ],
  build: [inOrder("build", failed), inOrder("compilation", errors), inOrder("webpack", failed)],
  deployment: [
    inOrder("deployment", failed),
    inOrder("deploy(?:ment)?", errors),
    inOrder("push", failed),
    inOrder("registry", errors)
  ],
  dependency: [
    inOrder("dependency|dependencies", "not found"),
    inOrder("npm|pip3?|yarn|pnpm", "install|ci", failed),
    inOrder("requirements?", "not satisfied")
  ],
  timeout: [/(?<![\w-])time[ds]?[- ]?outs?\b/i, inOrder("deadline (?:was )?exceeded")],
  infrastructure: [
    inOrder("infrastructure", errors),
    inOrder("network", errors),
    inOrder("connection (?:was )?refused"),
    inOrder("service (?:is |was )?(?:temporarily )?unavailable")
  ]
}

/** The most severe first: a minor word never outweighs a critical one. */
const severities: Readonly<Record<Severity, ReadonlyArray<RegExp>>> = {
  critical: [
    inOrder("security vulnerabilit(?:y|ies)"),
    inOrder("critical errors?"),
    inOrder("production(?: \\w+)? (?:is |was |went |goes )?down"),
    inOrder("deployment", "blocked")
  ],
  high: [
    inOrder("build", "completely failed"),
    // Up to three words between: `all 12 unit tests failed`, `all of the tests are failing`.
    inOrder("all (?:[\\w-]+ ){0,3}tests (?:have |are )?(?:failed|failing)"),
    inOrder("main branch", "broken"),
    inOrder("blocking", "dependency|dependencies")
  ],
  medium: [inOrder("tests?", failed), inOrder("linting|formatting|documentation", errors)],
  low: [inOrder("warnings?"), inOrder("minor|style", "issues?")]
}

const firstWith = <Key extends string>(
  table: Readonly<Record<Key, ReadonlyArray<RegExp>>>,
  text: string
): Key | undefined => {
  for (const key in table) if (table[key].some((pattern) => pattern.test(text))) return key
  return undefined
}

const maxText = 5_000
const maxLines = 100
const maxJob = 200
/** The total length of the searched text. */
const maxAll = 20_000

/** Colour sequences of terminals. They end in a letter, so a word after one would have no boundary. */
const colours = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g")

/** The end of a text, from a word start: logs report the failure last. */
const endOf = (text: unknown): string => {
  if (typeof text !== "string") return ""
  const plain = text.slice(-2 * maxText).replace(colours, "")
  return plain.length > maxText ? plain.slice(-maxText).replace(/^\S*/, "") : plain
}

/** The messages of the failure and the end of its logs. Each line starts with the name of the job. */
const textOf = ({ chain, error, message }: Subject): string => {
  const job = endOf(read(error, "job")).slice(0, maxJob)
  const logs = endOf(read(error, "logs"))
  const lines = [
    ...chain.map((link) => endOf(read(link, "message"))),
    endOf(message),
    ...logs.split("\n").slice(-maxLines)
  ]
  return lines
    .map((line) => `${job} ${line}`)
    .join("\n")
    .slice(-maxAll)
}

const transient: ReadonlySet<string> = new Set(["infrastructure", "timeout"])

/** The categories that may be low. All others are at least medium. */
const mayBeLow: ReadonlySet<string> = new Set(["linting", "formatting"])

const inPipeline = (category: string, severity: Severity = "medium"): Declaration => ({
  category,
  confidence: 0.6,
  severity: severity === "low" && !mayBeLow.has(category) ? "medium" : severity,
  transient: transient.has(category)
})

/** The built-in classification with at least this severity. */
const atLeast = (severity: Severity, subject: Subject): Declaration => {
  const declaration = declaredByDefault(subject)
  return { ...declaration, severity: moreSevere(declaration.severity, severity) }
}

const pipeline: Rule = {
  name: "pipeline",
  match: (subject) => {
    const text = textOf(subject)
    const category = firstWith(categories, text)
    const severity = firstWith(severities, text)
    if (category !== undefined) return inPipeline(category, severity)
    // A minor word alone adds nothing to the built-in classification.
    return severity === undefined || severity === "low" ? undefined : atLeast(severity, subject)
  }
}

/**
 * The categories `linting`, `formatting`, `testing`, `build`, `deployment`,
 * `dependency`, `timeout` and `infrastructure`, with the severity that the
 * words suggest, else `medium`. The rules read the messages and, if the error
 * has them, its `job` and the end of its `logs`. A critical word outweighs all
 * minor ones, and a failed build or deployment is never low. Put your own rules
 * before them.
 *
 * @example
 * ```ts
 * import { Fault } from "effect-recovery"
 * import { PipelineRules } from "effect-recovery/rules"
 * import { Effect } from "effect"
 *
 * const fault = Fault.classify({ job: "unit", logs: "12 tests failed\nwarning: deprecated" }).pipe(
 *   Effect.provide(Fault.layer(...PipelineRules.rules)),
 *   Effect.runSync
 * )
 * console.log(fault.category, fault.severity) // testing medium
 * ```
 *
 * @since 0.1.0
 * @category rules
 */
export const rules: ReadonlyArray<Rule> = [pipeline]
