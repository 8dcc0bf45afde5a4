import type { Declaration, Rule } from "../../Fault.js"
import type { Subject } from "./subject.js"

type Kind = readonly [declaration: Declaration, codes: ReadonlyArray<string>, words: RegExp]

/** Each tells apart what is one category by default; what none of them knows is classified as everywhere. */
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

/** As everywhere: what goes by shape is surer than what goes by words. */
const detailed: Rule = {
  name: "detailed",
  match: (subject) => {
    const found = declarationOf(subject)
    if (found !== undefined) return { ...found, confidence: 0.95 }
    // A status or a code the others know says more than words.
    if (subject.status !== undefined || subject.codes.length > 0) return undefined
    const worded = kinds.find(([, , words]) => words.test(subject.message))
    return worded === undefined ? undefined : { ...worded[0], confidence: 0.6 }
  }
}

export const detailedRules: ReadonlyArray<Rule> = [detailed]
