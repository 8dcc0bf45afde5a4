import type { Declaration, Rule, Severity } from "../../Fault.js"
import { profileOf, severer } from "./categories.js"
import { declarationOf } from "./classify.js"
import { defaultRules } from "./defaultRules.js"
import { read, type Subject } from "./subject.js"

/** None of it was found: `0 errors`, `no tests`. */
const none = "(?<!(?:(?<![\\w.#-])0|\\b(?:no|zero))\\s+)"
/** It did not happen: `not blocked`, `without errors`, `non-critical`. */
const denied = "(?<!\\b(?:not|without)\\s+)(?<!\\bnon-)"

/** Words with anything of the same line between them, each on its boundaries. */
const inOrder = (...words: ReadonlyArray<string>): RegExp => {
  // Three words are looked for from each first one to each second one: not too far.
  const gap = `[^\\n]{0,${words.length > 2 ? 100 : 500}}?`
  const last = words.length - 1
  // What was not done may have been attempted: only the last word, which says what happened, can be denied.
  return new RegExp(words.map((word, i) => `${none}${i === last ? denied : ""}\\b(?:${word})\\b`).join(gap), "i")
}

const failed = "failed|failing|failures?"
const errors = "errors?"

/** The first category with a match counts, so their order matters: a failing test says more than the build around it. */
const categories: ReadonlyArray<readonly [category: string, patterns: ReadonlyArray<RegExp>]> = [
  [
    "linting",
    [
      inOrder("flake8|pylint|eslint|ruff|biome|tslint|stylelint", `${errors}|${failed}`),
      inOrder("syntax ?errors?"),
      inOrder("imports?", "not found"),
      inOrder("undefined names?")
    ]
  ],
  [
    "formatting",
    [inOrder("black|isort", "would reformat"), inOrder("prettier", failed), inOrder("format(?:ting)? check", failed)]
  ],
  [
    "testing",
    [
      inOrder("tests?(?:_\\w+)?", failed),
      inOrder("assertion ?errors?"),
      inOrder("pytest|jest|vitest|mocha|coverage", failed)
    ]
  ],
  ["build", [inOrder("build", failed), inOrder("compilation", errors), inOrder("webpack", failed)]],
  [
    "deployment",
    [
      inOrder("deployment", failed),
      inOrder("deploy(?:ment)?", errors),
      inOrder("push", failed),
      inOrder("registry", errors)
    ]
  ],
  [
    "dependency",
    [
      inOrder("dependency|dependencies", "not found"),
      inOrder("npm|pip3?|yarn|pnpm", "install|ci", failed),
      inOrder("requirements?", "not satisfied")
    ]
  ],
  ["timeout", [/(?<![\w-])time[ds]?[- ]?outs?\b/i, inOrder("deadline (?:was )?exceeded")]],
  [
    "infrastructure",
    [
      inOrder("infrastructure", errors),
      inOrder("network", errors),
      inOrder("connection (?:was )?refused"),
      inOrder("service (?:is |was )?(?:temporarily )?unavailable")
    ]
  ]
]

/** The worst first, so that a minor word beside a critical one changes nothing. */
const severities: ReadonlyArray<readonly [severity: Severity, patterns: ReadonlyArray<RegExp>]> = [
  [
    "critical",
    [
      inOrder("security vulnerabilit(?:y|ies)"),
      inOrder("critical errors?"),
      inOrder("production(?: \\w+)? (?:is |was |went |goes )?down"),
      inOrder("deployment", "blocked")
    ]
  ],
  [
    "high",
    [
      inOrder("build", "completely failed"),
      inOrder("all (?:\\d+ )?tests (?:have )?failed"),
      inOrder("main branch", "broken"),
      inOrder("blocking", "dependency|dependencies")
    ]
  ],
  ["medium", [inOrder("tests?", failed), inOrder("linting|formatting|documentation", errors)]],
  ["low", [inOrder("warnings?"), inOrder("minor|style", "issues?")]]
]

const firstWith = <A extends string>(
  table: ReadonlyArray<readonly [A, ReadonlyArray<RegExp>]>,
  text: string
): A | undefined => table.find(([, patterns]) => patterns.some((pattern) => pattern.test(text)))?.[0]

const maxText = 5_000
const maxLines = 100
const maxJob = 200
/** Of all together. */
const maxAll = 20_000

/** What terminals are told about colours, which would join the words around it. */
const colours = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g")

/** The end of a text, from a whole word on: what went wrong stands last. */
const endOf = (text: unknown): string => {
  if (typeof text !== "string") return ""
  const plain = text.slice(-2 * maxText).replace(colours, "")
  return plain.length > maxText ? plain.slice(-maxText).replace(/^\S*/, "") : plain
}

/** What a pipeline says of a failure: its messages, and the end of its logs, each line of them with the name of the job. */
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

/** Where something minor is all there can be. A build or a deployment that failed has failed. */
const mayBeLow: ReadonlySet<string> = new Set(["linting", "formatting"])

const inPipeline = (category: string, severity: Severity = "medium"): Declaration => ({
  category,
  confidence: 0.6,
  severity: severity === "low" && !mayBeLow.has(category) ? "medium" : severity,
  transient: transient.has(category)
})

const builtIn = { rules: defaultRules, now: 0, broken: () => {} }

/** What the words of pipelines do not name is classified as everywhere; they may only make it worse. */
const elsewhere = (subject: Subject, severity: Severity): Declaration => {
  const declaration = declarationOf(subject, builtIn)
  const own = declaration.severity ?? profileOf(declaration.category).severity
  return { ...declaration, severity: severer(own, severity) }
}

const pipeline: Rule = {
  name: "pipeline",
  match: (subject) => {
    const text = textOf(subject)
    const category = firstWith(categories, text)
    const severity = firstWith(severities, text)
    if (category !== undefined) return inPipeline(category, severity)
    // A minor word by itself says nothing the other rules would not.
    return severity === undefined || severity === "low" ? undefined : elsewhere(subject, severity)
  }
}

export const rulesPipeline: ReadonlyArray<Rule> = [pipeline]
