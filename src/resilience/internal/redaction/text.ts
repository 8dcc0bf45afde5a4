/**
 * Redacts texts. Each pattern takes linear time: it begins only where its first class of characters begins, and what
 * follows is bounded.
 */
import { mark, type Names, patternOf, queryNames } from "./names.js"

type Redact = (text: string) => string

/** Tokens that are known by their form alone. */
const shapes: ReadonlyArray<string> = [
  // AWS, Google
  "(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Z])",
  "AIza[0-9A-Za-z_-]{35}",
  // GitHub, GitLab, npm
  "gh[pousr]_[0-9A-Za-z]{20,255}",
  "github_pat_[0-9A-Za-z_]{20,255}",
  "glpat-[0-9A-Za-z_-]{16,255}",
  "npm_[0-9A-Za-z]{30,255}",
  // Slack, Stripe, OpenAI and those that follow them, webhooks
  "xox[abeprs]-[0-9A-Za-z-]{10,255}",
  "(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{10,255}",
  "sk-[0-9A-Za-z_-]{20,255}",
  "whsec_[0-9A-Za-z+/=_-]{16,255}",
  // JSON Web Tokens
  "eyJ[0-9A-Za-z_-]{8,8192}\\.[0-9A-Za-z_-]{8,8192}(?:\\.[0-9A-Za-z_-]{0,8192})?"
]

/** Begins at the value itself, and not at the blanks before it. */
const notMarked = `(?!\\s|${mark})`

/** A value in quotes, also in those of a text within JSON, or up to a blank or separator. */
const value =
  `${notMarked}(?:(")((?:[^"\\\\\\r\\n]|\\\\[^\\r\\n]){1,8192})|(\\\\["'])([^"'\\\\\\r\\n]{1,8192})|(')([^'\\r\\n]{1,8192})` +
  `|([^\\s"'&;,\\\\]{1,8192}))`

/** Hides a value, but neither its opening quote nor the brackets and the full stop after it. */
const hide = (groups: ReadonlyArray<string | undefined>): string => {
  const [double, , escaped, , single, , plain = ""] = groups
  const quote = double ?? escaped ?? single
  return quote === undefined ? `${mark}${/[)\]}.]*$/.exec(plain)?.[0] ?? ""}` : `${quote}${mark}`
}

/** Groups: the name with what stands before its value, and those of `value`. */
const named = (pattern: RegExp): Redact => {
  return (text) =>
    text.replace(pattern, (whole: string, before: string, ...groups: ReadonlyArray<string | undefined>) =>
      isCount(before, whole) ? whole : `${before}${hide(groups)}`
    )
}

/** `fencing token: 12` counts something; `token=12` does not. */
const isCount = (before: string, whole: string): boolean =>
  /token:\s{1,16}$/i.test(before) && /^\d{1,9}[)\]}.]*$/.test(whole.slice(before.length))

const privateKey = /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----/g
const endOfKey = /-----END [A-Z ]{0,40}PRIVATE KEY-----/g

/** A key without an end is hidden up to the end of the text. */
const hideKeys: Redact = (text) => {
  let hidden = ""
  let from = 0
  privateKey.lastIndex = 0
  for (let begin = privateKey.exec(text); begin !== null; begin = privateKey.exec(text)) {
    endOfKey.lastIndex = privateKey.lastIndex
    const end = endOfKey.exec(text)
    hidden += text.slice(from, begin.index) + mark
    from = end === null ? text.length : endOfKey.lastIndex
    privateKey.lastIndex = from
  }
  return hidden + text.slice(from)
}

/** User names as long as this one are tokens. */
const longUser = 20

const inUrl = /:\/\/([^\s/?#"'<>\\:]{0,256})(?::([^\s/?#"'<>\\]{0,2048}))?@/g

const hideInUrls: Redact = (text) =>
  text.replace(inUrl, (whole: string, user: string, password: string | undefined) => {
    if (password === undefined) return user.length >= longUser ? `://${mark}@` : whole
    return `://${user.length >= longUser ? mark : user}:${mark}@`
  })

const bearer = /(?<![\w-])(bearer[ \t]{1,3})([\w.~+/=-]{8,8192})/gi

/** "Bearer authentication" is no token: one has a digit, or is long. */
const hideBearer: Redact = (text) =>
  text.replace(bearer, (whole: string, scheme: string, token: string) =>
    token.length >= 24 || /\d/.test(token) ? `${scheme}${mark}` : whole
  )

/** Redacts by the user's pattern, but not within what is hidden already. */
const ownPattern = (pattern: RegExp): Redact => {
  const all = new RegExp(pattern.source, `${pattern.flags.replace(/[gy]/g, "")}g`)
  return (text) =>
    text
      .split(mark)
      .map((part) => part.replace(all, (whole: string) => (whole === "" ? "" : mark)))
      .join(mark)
}

/** Makes the function that redacts a text. A text without secrets costs one search, and is returned unchanged. */
export const textRedactor = ({ endings, headers }: Names, patterns: ReadonlyArray<RegExp>): Redact => {
  const names = patternOf(endings)
  const headerNames = patternOf(headers)
  const shape = shapes.join("|")
  const query = patternOf(queryNames)
  const assigned = `\\\\?["']?\\s{0,16}[=:]\\s{0,16}`
  // Most texts hold no secret. Several short patterns find that out faster than one long one.
  const words = [names, headerNames, "bearer|private key", `://|[?&;](?:${query})=|;\\s?pwd=`]
  const suspects = [...words.map((pattern) => new RegExp(pattern, "i")), new RegExp(shape)]
  const isSuspect = (text: string): boolean => suspects.some((pattern) => pattern.test(text))
  const header = new RegExp(
    `(?<![\\w-])((?:${headerNames})${assigned}\\\\?["']?)${notMarked}` +
      // A scheme and one token; other schemes and headers have several parts.
      `(?:(?:digest|hawk|oauth|signature|aws4-[\\w-]{1,40})[ \\t][^\\r\\n]{1,8192}|(?:basic|bearer|token|apikey|negotiate)[ \\t]{1,3}[^\\s"'\\\\,;]{1,8192}|[^"'\\r\\n\\\\]{1,8192})`,
    "gi"
  )
  const rules: ReadonlyArray<Redact> = [
    hideKeys,
    (text) => text.replace(header, (_, before: string) => `${before}${mark}`),
    hideInUrls,
    named(new RegExp(`((?<!unexpected )(?:${names})${assigned})${value}`, "gi")),
    named(new RegExp(`((?<![\\w-])--?[\\w-]{0,40}?(?:${names})\\s{1,3}(?!-))${value}`, "gi")),
    named(new RegExp(`((?:[?&;](?:${query})|;\\s?pwd)=)${value}`, "gi")),
    hideBearer,
    (text) => text.replace(new RegExp(`(?<![0-9A-Za-z_-])(?:${shape})`, "g"), mark)
  ]
  const own = patterns.map(ownPattern)
  // The failures of a retry mostly have one message.
  let last = { given: "", redacted: "" }
  return (text) => {
    if (text === last.given) return last.redacted
    const known = isSuspect(text) ? rules.reduce((redacted, rule) => rule(redacted), text) : text
    last = { given: text, redacted: own.reduce((redacted, rule) => rule(redacted), known) }
    return last.redacted
  }
}
