import type { Category, Declaration, Rule } from "../../Fault.js"
import { read } from "../../Foreign.js"
import type { Subject } from "./classify.js"

/** A rule with a constant-time lookup. */
const table = (name: string, key: (subject: Subject) => string | undefined, entries: ReadonlyArray<Entry>): Rule => {
  const map = new Map(entries)
  return {
    name,
    match: (subject) => {
      const found = key(subject)
      return found === undefined ? undefined : map.get(found)
    }
  }
}

type Entry = readonly [key: string, declaration: Declaration]

/** The declaration of each key. Blanks separate the keys: as a list of texts they take a third more in a bundle. */
const each = (category: Category, lines: ReadonlyArray<string>, more?: Partial<Declaration>): ReadonlyArray<Entry> =>
  lines.flatMap((line) => line.split(" ")).map((key) => [key, { ...more, category }])

const lasting = { severity: "high", transient: false } as const

const codes: ReadonlyMap<string, Declaration> = new Map([
  ...each("network", [
    "ECONNREFUSED ECONNRESET ECONNABORTED EPIPE ENOTFOUND EAI_AGAIN ENETUNREACH ENETDOWN",
    "EHOSTUNREACH EHOSTDOWN UND_ERR_SOCKET UND_ERR_CLOSED UND_ERR_DESTROYED",
    "ERR_STREAM_PREMATURE_CLOSE ERR_NETWORK"
  ]),
  ...each(
    "network",
    [
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE ERR_TLS_CERT_ALTNAME_INVALID CERT_HAS_EXPIRED",
      "DEPTH_ZERO_SELF_SIGNED_CERT SELF_SIGNED_CERT_IN_CHAIN"
    ],
    lasting
  ),
  ...each("timeout", [
    "ETIMEDOUT ESOCKETTIMEDOUT UND_ERR_CONNECT_TIMEOUT UND_ERR_HEADERS_TIMEOUT",
    "UND_ERR_BODY_TIMEOUT"
  ]),
  ...each("not-found", ["ENOENT ENOTDIR"]),
  ...each("permission", ["EACCES EPERM EROFS SQLITE_PERM SQLITE_AUTH 42501 25006"]),
  ...each("resource", [
    "ENOSPC EMFILE ENFILE ENOMEM EDQUOT SQLITE_FULL SQLITE_NOMEM EIO 53000 53100 53200 53300",
    "53400"
  ]),
  ...each("conflict", ["EEXIST ENOTEMPTY EADDRINUSE 23505 SQLITE_CONSTRAINT_UNIQUE SQLITE_CONSTRAINT_PRIMARYKEY"], {
    transient: false
  }),
  ...each("validation", ["EISDIR ERR_INVALID_URL"]),
  ...each("conflict", ["40001 40P01"]),
  ...each("unavailable", ["EAGAIN EBUSY ETXTBSY SQLITE_PROTOCOL 55P03 57P01 57P02 57P03"]),
  ...each("cancelled", ["57014 SQLITE_INTERRUPT ABORT_ERR UND_ERR_ABORTED"]),
  ...each("dependency", ["ERR_MODULE_NOT_FOUND MODULE_NOT_FOUND"]),
  ...each("logic", ["ERR_INVALID_ARG_TYPE ERR_INVALID_ARG_VALUE ERR_OUT_OF_RANGE"])
])

/** Codes by prefix: SQLite's extended result codes and SQLSTATE classes. */
const codeFamilies: ReadonlyArray<readonly [RegExp, Declaration]> = [
  [/^SQLITE_(BUSY|LOCKED)/, { category: "unavailable" }],
  [/^SQLITE_(CORRUPT|NOTADB)/, { category: "corruption" }],
  [/^SQLITE_READONLY/, { category: "permission" }],
  [/^SQLITE_(IOERR|CANTOPEN)/, { category: "resource" }],
  [/^SQLITE_CONSTRAINT/, { category: "validation" }],
  [/^SQLITE_/, { category: "logic" }],
  [/^08[0-9A-Z]{3}$/, { category: "network" }],
  [/^28[0-9A-Z]{3}$/, { category: "permission" }],
  [/^2[23][0-9A-Z]{3}$/, { category: "validation" }],
  [/^42[0-9A-Z]{3}$/, { category: "logic" }],
  [/^XX[0-9A-Z]{3}$/, { category: "corruption" }]
]

const byFirst = (all: Iterable<string>, confidence: number): Declaration | undefined => {
  for (const code of all) {
    const found = codes.get(code) ?? codeFamilies.find(([start]) => start.test(code))?.[1]
    if (found !== undefined) return { confidence, ...found }
  }
  return undefined
}

const byCode: Rule = { name: "code", match: (subject) => byFirst(subject.codes, 0.95) }

const byTag = table("tag", (subject) => subject.tag, [
  ...each("timeout", ["TimeoutException AttemptTimeout LockTimeout"]),
  ...each("unavailable", ["CircuitOpen BulkheadFull LeaseHeld"]),
  ...each("validation", ["ParseError BadArgument HttpBodyError ConfigError JournalError RunMismatch MalformedInput"]),
  // A model may answer in the right form the next time.
  ...each("validation", ["MalformedOutput"], { transient: true }),
  ...each("not-found", ["NoSuchElementException RouteNotFound RunNotFound"]),
  ...each("logic", ["IllegalArgumentException StepConflict"]),
  ...each("conflict", ["LeaseLost StepAmbiguous"], { transient: false })
])

/** By tag and `reason` of the errors of @effect/platform and @effect/ai. */
const byReason = table("reason", ({ reason, tag }) => `${tag}.${reason}`, [
  ...each("conflict", ["SystemError.AlreadyExists"], { transient: false }),
  ...each("resource", ["SystemError.BadResource SystemError.WriteZero"]),
  ...each("unavailable", ["SystemError.Busy SystemError.WouldBlock"]),
  ...each("validation", [
    "SystemError.InvalidData SystemError.UnexpectedEof RequestError.Encode",
    "RequestError.InvalidUrl ResponseError.Decode ResponseError.EmptyBody",
    "HttpRequestError.Encode HttpRequestError.InvalidUrl HttpResponseError.Decode HttpResponseError.EmptyBody"
  ]),
  ...each("not-found", ["SystemError.NotFound"]),
  ...each("permission", ["SystemError.PermissionDenied"]),
  ...each("timeout", ["SystemError.TimedOut SocketError.OpenTimeout"]),
  ...each("network", [
    "SocketError.Open SocketError.Write SocketError.Read SocketError.Close RequestError.Transport",
    "ResponseError.Transport HttpRequestError.Transport"
  ])
])

const statuses: ReadonlyMap<string, Declaration> = new Map([
  ...each("permission", ["401 402 403 407 451"]),
  ...each("not-found", ["404 410"]),
  ...each("timeout", ["408 504 598 599"]),
  ...each("conflict", ["409 423"]),
  ...each("conflict", ["412"], { transient: false }),
  ...each("unavailable", ["425"]),
  ...each("rate-limit", ["429"]),
  ...each("logic", ["501 505"]),
  ...each("resource", ["507"])
])

const byStatus: Rule = {
  name: "status",
  match: ({ status }) => {
    if (status === undefined) return undefined
    return statuses.get(String(status)) ?? { category: status < 500 ? "validation" : "unavailable" }
  }
}

/** The messages of a failed `fetch` in Node, Chrome, Safari and Firefox; all of them are TypeErrors. */
const fetchMessages = /^(fetch failed|failed to fetch|load failed|networkerror when attempting to fetch resource\.?)$/i

const fetchFailed: Rule = {
  name: "fetch failed",
  match: ({ message, name }) =>
    name === "TypeError" && fetchMessages.test(message) ? { category: "network" } : undefined
}

/** Node wraps the reason of an abort signal in an AbortError, even if the reason is a timeout. */
const abortedByTimeout: Rule = {
  name: "aborted by timeout",
  match: ({ chain }) =>
    chain.some((link) => read(link, "name") === "TimeoutError") ? { category: "timeout" } : undefined
}

/** Names of error classes in common libraries, beside those of the language and of the platform. */
const byName = table("name", ({ name, tag }) => name ?? tag, [
  ...each("timeout", [
    "TimeoutError APIConnectionTimeoutError ConnectionTimeoutError MongoNetworkTimeoutError",
    "SequelizeTimeoutError GatewayTimeoutError"
  ]),
  ...each("cancelled", ["AbortError InterruptedException APIUserAbortError CanceledError"]),
  ...each("network", [
    "NetworkError APIConnectionError MongoNetworkError FetchError SocketError",
    "SequelizeConnectionError SequelizeConnectionRefusedError SequelizeHostNotReachableError"
  ]),
  ...each("rate-limit", [
    "RateLimitError TooManyRequestsError TooManyRequestsException ThrottlingException",
    "ProvisionedThroughputExceededException RequestLimitExceeded"
  ]),
  ...each("unavailable", [
    "ServiceUnavailableError ServiceUnavailableException MongoServerSelectionError",
    "MaxRetriesPerRequestError ClusterAllFailedError PrismaClientInitializationError"
  ]),
  ...each("resource", ["QuotaExceededError"]),
  ...each("permission", [
    "AuthenticationError UnauthorizedError ForbiddenError PermissionDeniedError",
    "AccessDeniedException ExpiredTokenException CredentialsProviderError JsonWebTokenError",
    "TokenExpiredError NotBeforeError NotAllowedError SecurityError"
  ]),
  ...each("validation", [
    "SyntaxError URIError ValidationError ValidationException InvalidArgumentError ZodError",
    "$ZodError ZodValidationError ValiError StructError TraversalError AssertError",
    "TransformDecodeError TransformEncodeError AggregateValidationError SchemaError CastError",
    "StrictModeError PrismaClientValidationError SequelizeValidationError BadRequestError",
    "UnprocessableEntityError InvalidRequestError YAMLException YAMLParseError JSONError CsvError"
  ]),
  ...each("not-found", [
    "NotFoundError ResourceNotFoundException NoSuchKey NoSuchBucket DocumentNotFoundError",
    "EntityNotFoundError SequelizeEmptyResultError"
  ]),
  ...each("conflict", ["ConflictError VersionError OptimisticLockError OptimisticLockVersionMismatchError"]),
  ...each("conflict", ["ConditionalCheckFailedException SequelizeUniqueConstraintError"], { transient: false }),
  ...each("logic", [
    "TypeError RangeError ReferenceError EvalError AssertionError NotImplementedError",
    "DataCloneError InvalidStateError"
  ])
])

const words: ReadonlyArray<readonly [RegExp, Category]> = [
  [/\b(rate.?limit(ed|ing)?|too many requests|throttl(ed|ing)|quota exceeded)\b/i, "rate-limit"],
  [/\b(time[ds]? ?out|deadline exceeded)\b/i, "timeout"],
  [
    /\b(connection (refused|reset|closed|lost|aborted)|network (error|failure)|socket hang up|broken pipe)\b/i,
    "network"
  ],
  [/\b(host|network|dns|name) (is )?(unreachable|not resolved|resolution failed|lookup failed)\b/i, "network"],
  [/\b((temporarily |service )unavailable|bad gateway|overloaded|under maintenance)\b/i, "unavailable"],
  [
    /\b(no space left|disk (is )?full|out of (memory|disk space)|too many open files|insufficient resources)\b/i,
    "resource"
  ],
  [/\b(permission denied|access denied|unauthori[sz]ed|forbidden|invalid credentials)\b/i, "permission"],
  [/\b(corrupt(ed|ion)?|checksum (mismatch|failed)|digest mismatch|malformed database|bad magic)\b/i, "corruption"],
  [/\b(cannot find (module|package)|missing dependency|unresolved dependency)\b/i, "dependency"],
  [/\b(not found|no such (file|entry|key|table)|does not exist)\b/i, "not-found"],
  [/\b(already exists|duplicate key|version conflict|write conflict)\b/i, "conflict"],
  [
    /\b(validation (failed|error)|invalid (value|input|argument|format|schema)|schema (violation|mismatch))\b/i,
    "validation"
  ],
  [/\b(cancel(l)?ed|aborted by (the )?user|interrupted)\b/i, "cancelled"]
]

const byWords: Rule = {
  name: "words",
  match: ({ message }) => {
    const found = words.find(([pattern]) => pattern.test(message))
    return found === undefined ? undefined : { category: found[1], confidence: 0.5 }
  }
}

const spelledCode = /\b(?:E[A-Z]{3,}|EAI_AGAIN|(?:UND_ERR|ERR|SQLITE|CERT)_[A-Z_]+)\b/g

/** An error that was sent as text has its code only in the message. */
const bySpelledCode: Rule = {
  name: "code in words",
  match: ({ message }) => byFirst(message.match(spelledCode) ?? [], 0.7)
}

/** Strongest evidence first: a code before the class that wraps it, a status before a class name, words last. */
export const defaultRules: ReadonlyArray<Rule> = [
  abortedByTimeout,
  byCode,
  byStatus,
  byReason,
  byTag,
  fetchFailed,
  byName,
  bySpelledCode,
  byWords
]
