import type { Declaration, Rule, Severity } from "../Fault.js"
import { profileOf, severer } from "./categories.js"
import { defaultRules } from "./defaultRules.js"
import { read, type Subject } from "./subject.js"

/** Words with anything of the same line between them, each on its boundaries. */
const inOrder = (...words: ReadonlyArray<string>): RegExp =>
  new RegExp(words.map((word) => `\\b(?:${word})\\b`).join("[^\\n]{0,200}?"), "i")

const failed = "failed|failure|failures"
const error = "errors?"

/** The first category with a match counts, so their order matters: a failing test says more than the build around it. */
const categories: ReadonlyArray<readonly [category: string, patterns: ReadonlyArray<RegExp>]> = [
  [
    "linting",
    [
      inOrder("flake8|pylint|eslint|ruff|biome|tslint|stylelint", `${error}|${failed}`),
      inOrder("syntax error"),
      inOrder("import", "not found"),
      inOrder("undefined name")
    ]
  ],
  [
    "formatting",
    [inOrder("black|isort", "would reformat"), inOrder("prettier", failed), inOrder("format(?:ting)? check", failed)]
  ],
  [
    "testing",
    [inOrder("tests?", failed), inOrder("assertion ?error"), inOrder("pytest|jest|vitest|mocha|coverage", failed)]
  ],
  ["build", [inOrder("build", failed), inOrder("compilation", error), inOrder("webpack", failed)]],
  [
    "deployment",
    [inOrder("deployment", failed), inOrder("deploy", error), inOrder("push", failed), inOrder("registry", error)]
  ],
  [
    "dependency",
    [
      inOrder("dependency|dependencies", "not found"),
      inOrder("(?:npm|pip|yarn|pnpm) (?:install|ci)", failed),
      inOrder("requirements?", "not satisfied")
    ]
  ],
  ["timeout", [inOrder("time(?:d )?-?out"), inOrder("deadline exceeded")]],
  [
    "infrastructure",
    [
      inOrder("infrastructure", error),
      inOrder("network", error),
      inOrder("connection refused"),
      inOrder("service unavailable")
    ]
  ]
]

/** The worst first, so that a minor word beside a critical one changes nothing. */
const severities: ReadonlyArray<readonly [severity: Severity, patterns: ReadonlyArray<RegExp>]> = [
  [
    "critical",
    [
      inOrder("security vulnerabilit(?:y|ies)"),
      inOrder("critical error"),
      inOrder("production", "down"),
      inOrder("deployment", "blocked")
    ]
  ],
  [
    "high",
    [
      inOrder("build", "completely failed"),
      inOrder("all tests", "failed"),
      inOrder("main branch", "broken"),
      inOrder("blocking", "dependency")
    ]
  ],
  ["medium", [inOrder("tests?", "failed"), inOrder("linting|formatting|documentation", error)]],
  ["low", [inOrder("warnings?"), inOrder("minor|style", "issues?")]]
]

const firstWith = <A extends string>(
  table: ReadonlyArray<readonly [A, ReadonlyArray<RegExp>]>,
  text: string
): A | undefined => table.find(([, patterns]) => patterns.some((pattern) => pattern.test(text)))?.[0]

const maxLogs = 5_000

/** What a pipeline says of a failure: its message, the name of the job and the end of its logs. */
const textOf = ({ error, message }: Subject): string => {
  const lines = [read(error, "job"), message, read(error, "logs")]
  return lines.flatMap((line) => (typeof line === "string" ? line.slice(-maxLogs) : [])).join("\n")
}

const transient: ReadonlySet<string> = new Set(["infrastructure", "timeout"])

const known = (subject: Subject): Declaration | undefined => {
  for (const rule of defaultRules) {
    const declaration = rule.match(subject)
    if (declaration !== undefined) return declaration
  }
  return undefined
}

/** What the words of pipelines do not name is classified as everywhere; how bad it is, they may still say. */
const declarationOf = (category: string | undefined, subject: Subject): Declaration =>
  category === undefined
    ? (known(subject) ?? { category: "unknown", confidence: 0.5 })
    : { category, confidence: 0.6, severity: "medium", transient: transient.has(category) }

const pipeline: Rule = {
  name: "pipeline",
  match: (subject) => {
    const text = textOf(subject)
    const category = firstWith(categories, text)
    const severity = firstWith(severities, text)
    if (category === undefined && severity === undefined) return undefined
    const declaration = declarationOf(category, subject)
    const given = declaration.severity ?? profileOf(declaration.category).severity
    // Words lower only what no more than words had said.
    const own = category === undefined ? severer(given, severity ?? given) : (severity ?? given)
    return { ...declaration, severity: own }
  }
}

export const rulesPipeline: ReadonlyArray<Rule> = [pipeline]
