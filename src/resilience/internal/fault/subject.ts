import * as Duration from "effect/Duration"

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

/** A bound for cyclic causes; wrappers in practice are less deep. */
const maxCauseDepth = 8
const maxMessageLength = 2_000

/** Reads a property of any value. Returns `undefined` if a getter or proxy throws. */
export const read = (value: unknown, key: PropertyKey): unknown => {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return undefined
  try {
    // Safe: every object can be indexed at run time, and the result stays unknown.
    return (value as Record<PropertyKey, unknown>)[key]
  } catch {
    return undefined
  }
}

const readString = (value: unknown, key: PropertyKey): string | undefined => {
  const given = read(value, key)
  return typeof given === "string" ? given : undefined
}

export const tagOf = (error: unknown): string | undefined => readString(error, "_tag")

export const makeSubject = (error: unknown, now: number): Subject => {
  const chain = causeChain(error)
  return {
    error,
    chain,
    tag: tagOf(error),
    name: readString(error, "name"),
    reason: readString(error, "reason"),
    codes: chain.flatMap((link) => readString(link, "code") ?? []),
    status: firstDefined(chain, readStatus),
    message: messageOf(error),
    retryAfter: firstDefined(chain, (link) => readRetryAfter(link, now))
  }
}

const causeChain = (error: unknown): ReadonlyArray<unknown> => {
  const chain: Array<unknown> = []
  let link = error
  while (link !== undefined && link !== null && chain.length < maxCauseDepth && !chain.includes(link)) {
    chain.push(link)
    // An AggregateError of `Promise.any` has `errors` instead of a `cause`.
    link = read(link, "cause") ?? readFirst(read(link, "errors"))
  }
  return chain.length === 0 ? [error] : chain
}

const readFirst = (list: unknown): unknown => (isArray(list) ? read(list, 0) : undefined)

/** A revoked proxy throws even for `Array.isArray`. */
const isArray = (value: unknown): boolean => safely(() => Array.isArray(value)) === true

/** Returns `undefined` if `f` throws. */
export const safely = <A>(f: () => A): A | undefined => {
  try {
    return f()
  } catch {
    return undefined
  }
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

/** The first message in the cause chain, or else the tag, the name or the value as a string. */
export const messageOf = (error: unknown): string => {
  const message = typeof error === "string" ? error : (firstDefined(causeChain(error), ownMessage) ?? nameOf(error))
  return message.length > maxMessageLength ? message.slice(0, maxMessageLength) : message
}

const ownMessage = (error: unknown): string | undefined => {
  // The message of UnknownException is the same for all rejections; its cause has the real one.
  if (tagOf(error) === "UnknownException" && read(error, "cause") !== undefined) return undefined
  const message = typeof error === "string" ? error : readString(error, "message")
  return message === "" ? undefined : message
}

const nameOf = (error: unknown): string => tagOf(error) ?? readString(error, "name") ?? stringify(error)

/** A list may be arbitrarily long, so it is not converted. */
const stringify = (value: unknown): string =>
  safely(() => (isArray(value) || ArrayBuffer.isView(value) ? "a list" : String(value))) ??
  "a value that cannot be shown"
