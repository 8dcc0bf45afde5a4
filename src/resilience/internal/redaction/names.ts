/** The names under which secrets are given: of keys, variables, parameters, options and headers. */

/** What hides a secret. */
export const mark = "<redacted>"

/**
 * A name that ends with one of these is the name of a secret, whatever its case and separators: `DB_PASSWORD`,
 * `clientSecret`, `--auth-token`. A blank stands for any separator, or none.
 */
const secretEndings: ReadonlyArray<string> = [
  "password",
  "passwd",
  "passphrase",
  "secret",
  "token",
  "credential",
  "credentials",
  "api key",
  "access key",
  "secret key",
  "private key",
  "signing key",
  "encryption key"
]

/** Names of secrets that are too common as the end of other names. */
const secretNames: ReadonlyArray<string> = ["pass", "jwt", "bearer", "session id"]

/** Names of query parameters that hold a secret, beside those above. */
export const queryNames: ReadonlyArray<string> = [
  "key",
  "sig",
  "signature",
  "auth",
  "x-amz-signature",
  "x-amz-credential",
  "x-goog-signature",
  "x-goog-credential",
  "awsaccesskeyid"
]

const secretHeaders: ReadonlyArray<string> = [
  "authorization",
  "proxy-authorization",
  "cookie",
  "set-cookie",
  "x-api-key",
  "x-auth-token",
  "x-csrf-token",
  "x-amz-security-token",
  "webhook-signature"
]

/** Which names hold secrets. */
export interface Names {
  /** As in `secretEndings`. */
  readonly endings: ReadonlyArray<string>
  readonly headers: ReadonlyArray<string>
}

export const defaultNames: Names = { endings: secretEndings, headers: secretHeaders }

/** A name without its case and separators. */
const bare = (name: string): string => name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "")

/** Longer texts are no names, and need not be read. */
const maxNameLength = 256

export interface NameTest {
  /** Whether a key, variable or option of this name holds a secret. */
  readonly isSecret: (name: string) => boolean
  readonly isHeader: (name: string) => boolean
}

export const nameTest = ({ endings, headers }: Names): NameTest => {
  const ends = endings.map(bare)
  const whole = new Set([...secretNames.map(bare), ...headers.map(bare)])
  const headerNames = new Set(headers.map(bare))
  const known = new Map<string, boolean>()
  const find = (name: string): boolean => {
    if (name.length > maxNameLength) return false
    const key = bare(name)
    if (key === "") return false
    // A list of secrets is a secret too.
    const one = key.endsWith("s") ? key.slice(0, -1) : key
    return whole.has(key) || whole.has(one) || ends.some((end) => key.endsWith(end) || one.endsWith(end))
  }
  return {
    isSecret: (name) => {
      const found = known.get(name)
      if (found !== undefined) return found
      const isSecret = find(name)
      // Names repeat; the bound is for names that are data.
      if (known.size < 1_000) known.set(name, isSecret)
      return isSecret
    },
    isHeader: (name) => headerNames.has(bare(name))
  }
}

/** A pattern for any of the names, in which a blank matches a separator or none. */
export const patternOf = (names: ReadonlyArray<string>): string =>
  [...names]
    .sort((a, b) => b.length - a.length)
    .map((name) =>
      name
        .trim()
        .split(/[\s_-]+/)
        .map((word) => word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"))
        .join("[_-]?")
    )
    .join("|")
