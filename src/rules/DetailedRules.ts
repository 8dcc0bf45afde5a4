/**
 * Rules with finer categories than the built-in ones: `dns`, `certificate`,
 * `disk`, `quota`, `memory`, `cpu`, `authentication`, `maintenance`,
 * `configuration`, `schema` and `format`. `RetryPolicy.detailed` has a policy
 * for each.
 *
 * @since 0.1.0
 */
import type { Declaration, Rule, Subject } from "../resilience/Fault.js"

type Kind = readonly [declaration: Declaration, codes: ReadonlyArray<string>, words: RegExp]

const kinds: ReadonlyArray<Kind> = [
  [
    { category: "dns", severity: "high", transient: true },
    ["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL"],
    /\b(?:getaddrinfo|dns (?:lookup|resolution|error)|(?:host|name) (?:could not be |not )resolved)\b/i
  ],
  [
    { category: "certificate", severity: "high", transient: false },
    [
      "CERT_HAS_EXPIRED",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "ERR_TLS_CERT_ALTNAME_INVALID"
    ],
    /\b(?:certificate|ssl|tls) (?:\w+ ){0,3}(?:expired|invalid|error|failed|self.signed|verify)\b/i
  ],
  [
    { category: "disk", severity: "critical", transient: false },
    ["ENOSPC", "SQLITE_FULL", "53100"],
    /\b(?:no space left|disk (?:is )?full|out of disk space)\b/i
  ],
  [
    { category: "quota", severity: "medium", transient: true },
    ["EDQUOT"],
    /\b(?:quota (?:was |is )?exceeded|over quota)\b/i
  ],
  [
    { category: "memory", severity: "critical", transient: true },
    ["ENOMEM", "SQLITE_NOMEM", "ERR_WORKER_OUT_OF_MEMORY", "53200"],
    /\b(?:out of memory|heap (?:limit|out)|oom.?killed|cannot allocate memory)\b/i
  ],
  [
    { category: "cpu", severity: "high", transient: true },
    [],
    /\b(?:cpu (?:limit|quota|throttl\w+|overload\w*)|load average)\b/i
  ],
  [
    { category: "authentication", severity: "high", transient: false },
    ["28000", "28P01"],
    /\b(?:unauthenticated|authentication (?:failed|required)|invalid credentials|token (?:has )?expired)\b/i
  ],
  [
    { category: "maintenance", severity: "low", transient: true },
    [],
    /\b(?:under maintenance|maintenance (?:mode|window))\b/i
  ],
  [
    { category: "configuration", severity: "high", transient: false },
    [],
    /\b(?:(?:missing|invalid) (?:configuration|setting|environment variable)|misconfigur\w+)\b/i
  ],
  [
    { category: "schema", severity: "medium", transient: false },
    [],
    /\bschema (?:violation|mismatch|validation failed)\b/i
  ],
  [
    { category: "format", severity: "low", transient: false },
    [],
    /\b(?:malformed|unexpected token|invalid (?:format|json|xml))\b/i
  ]
]

const byCode = new Map(kinds.flatMap(([declaration, codes]) => codes.map((code) => [code, declaration] as const)))

const declarationOf = ({ codes, status }: Subject): Declaration | undefined => {
  if (status === 401) return kinds.find(([{ category }]) => category === "authentication")?.[0]
  for (const code of codes) {
    const found = byCode.get(code)
    if (found !== undefined) return found
  }
  return undefined
}

const detailed: Rule = {
  name: "detailed",
  match: (subject) => {
    const found = declarationOf(subject)
    if (found !== undefined) return { ...found, confidence: 0.95 }
    // A status or code that another rule classifies is better evidence than words.
    if (subject.status !== undefined || subject.codes.length > 0) return undefined
    const worded = kinds.find(([, , words]) => words.test(subject.message))
    return worded === undefined ? undefined : { ...worded[0], confidence: 0.6 }
  }
}

/**
 * Put them before the built-in rules, which classify all other failures. A
 * match by code or status has confidence 0.95, a match by words 0.6.
 *
 * @example
 * ```ts
 * import { Fault } from "effect-recovery"
 * import { DetailedRules } from "effect-recovery/rules"
 * import { Effect } from "effect"
 *
 * const fault = Fault.classify(Object.assign(new Error("getaddrinfo"), { code: "ENOTFOUND" })).pipe(
 *   Effect.provide(Fault.layer(...DetailedRules.rules)),
 *   Effect.runSync
 * )
 * console.log(fault.category) // dns
 * ```
 *
 * @since 0.1.0
 * @category rules
 */
export const rules: ReadonlyArray<Rule> = [detailed]
