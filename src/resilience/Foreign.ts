/**
 * Reads values that other code made: errors, defects, causes. Nothing here
 * throws, whatever getters, proxies and `toString` do, and every result is bounded.
 */

import * as Cause from "effect/Cause"

/** Returns `undefined` if `f` throws. */
export const safely = <A>(f: () => A): A | undefined => {
  try {
    return f()
  } catch {
    return undefined
  }
}

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

export const readString = (value: unknown, key: PropertyKey): string | undefined => {
  const given = read(value, key)
  return typeof given === "string" ? given : undefined
}

/** A revoked proxy throws even for `Array.isArray`. */
export const isArray = (value: unknown): value is ReadonlyArray<unknown> => safely(() => Array.isArray(value)) === true

/** A proxy may throw for `instanceof`. */
export const isError = (value: unknown): value is Error => safely(() => value instanceof Error) === true

/** Cuts a text to a length, and marks the cut. */
export const clip = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`

/** A bound for cyclic causes; wrappers in practice are less deep. */
const maxCauseDepth = 8
const maxMessageLength = 2_000

/** The error and its causes, outermost first. */
export const causeChain = (error: unknown): ReadonlyArray<unknown> => {
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

export const tagOf = (error: unknown): string | undefined => readString(error, "_tag")

/** Reads no message behind the first one: some errors build theirs from that of their cause. */
const firstMessage = (error: unknown): string | undefined => {
  for (const link of causeChain(error)) {
    const message = ownMessage(link)
    if (isText(message)) return message
  }
  return undefined
}

/** The first message in the cause chain, or else the tag with the fields, the name or the value as a string. */
export const messageOf = (error: unknown): string => {
  const message = typeof error === "string" ? error : (firstMessage(error) ?? tagAndFields(error) ?? nameOf(error))
  return message.length > maxMessageLength ? message.slice(0, maxMessageLength) : message
}

const isText = (text: string | undefined): text is string => text !== undefined

const ownMessage = (error: unknown): string | undefined => {
  // The message of UnknownException is the same for all rejections; its cause has the real one.
  if (tagOf(error) === "UnknownException" && read(error, "cause") !== undefined) return undefined
  const message = typeof error === "string" ? error : readString(error, "message")
  return message === "" ? undefined : withTag(error, message)
}

/** These are shown by themselves, or say nothing. */
const notFields: ReadonlySet<string> = new Set(["_tag", "name", "message", "stack", "cause"])

const maxFields = 50

/** A tagged value in the form of a `Schema.TaggedError`: `Offline { "host": "smtp" }`. Undefined for a value without a tag. */
export const tagAndFields = (error: unknown): string | undefined => {
  const tag = tagOf(error)
  if (tag === undefined) return undefined
  const names = safely(() => Object.keys(error as object).filter((name) => !notFields.has(name))) ?? []
  if (names.length === 0) return tag
  const json = toJson(Object.fromEntries(names.slice(0, maxFields).map((name) => [name, fieldOf(error, name)])))
  const fields = Object.entries(json ?? {}).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`)
  return fields.length === 0 ? tag : `${tag} { ${fields.join(", ")} }`
}

/** Bytes are not listed: there may be very many. */
const fieldOf = (error: unknown, name: string): unknown => {
  const value = read(error, name)
  return ArrayBuffer.isView(value) ? `${value.byteLength} bytes` : value
}

/**
 * A `Schema.TaggedError` without a message of its own has its fields as message, which do not say what failed. As a
 * recorded defect it has a name and no tag.
 */
const withTag = (error: unknown, message: string | undefined): string | undefined => {
  if (message === undefined || !/^\{ .*\}$/s.test(message)) return message
  const name = readString(error, "name")
  const tag = tagOf(error) ?? (name === "Error" ? undefined : name)
  if (tag === undefined) return message
  return /^\{\s*\}$/.test(message) ? tag : `${tag} ${message}`
}

/** The message of an error in brackets, to follow a sentence; nothing for any other value. */
export const inBrackets = (cause: unknown): string => (isError(cause) ? ` (${messageOf(cause)})` : "")

/**
 * The failures and defects of a cause in words, errors with their stacks. Not by
 * Effect's own printer: it throws for an error whose stack or message does, and
 * takes minutes for a large value.
 */
export const prettyCause = (cause: Cause.Cause<unknown>): string => {
  const all = errorsOf(cause)
  if (all.length === 0) return "All fibers interrupted without errors."
  return clip(all.map((error) => clip(describe(error), maxDescription)).join("\n"), 10 * maxDescription)
}

const maxDescription = 10_000

const errorsOf = (cause: Cause.Cause<unknown>): ReadonlyArray<unknown> => [
  ...Cause.failures(cause),
  ...Cause.defects(cause)
]

const describe = (error: unknown): string => {
  const { message, name, stack } = { message: messageOf(error), name: readString(error, "name"), stack: stackOf(error) }
  if (stack?.includes(message) === true) return stack
  const text = name !== undefined && message.startsWith(name) ? message : `${name ?? "Error"}: ${message}`
  return `${text}${stack === undefined ? "" : `\n${stack}`}`
}

const stackOf = (error: unknown): string | undefined => (isError(error) ? readString(error, "stack") : undefined)

/** A cause that Effect's loggers can print: the cause itself, or its description. */
export const printable = (cause: Cause.Cause<unknown>): Cause.Cause<unknown> =>
  errorsOf(cause).every((error) => isPrintable(error, 0)) ? cause : Cause.die(new Error(prettyCause(cause)))

const isPrintable = (error: unknown, depth: number): boolean => {
  if (typeof error === "string") return true
  if (depth >= maxCauseDepth || readString(error, "message") === undefined || stackOf(error) === undefined) return false
  const found = safely(() => ({ cause: (error as Error).cause }))
  return found !== undefined && (found.cause === undefined || isPrintable(found.cause, depth + 1))
}

const nameOf = (error: unknown): string => tagOf(error) ?? readString(error, "name") ?? textOf(error)

const unshowable = "a value that cannot be shown"

/** The value as a string. A list may be arbitrarily long, so it is not converted. */
export const textOf = (value: unknown): string =>
  safely(() => (isArray(value) || ArrayBuffer.isView(value) ? "a list" : String(value))) ?? unshowable

// ---- JSON

/** Any value as JSON has it. */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

const maxDepth = 32
const maxNodes = 10_000
const maxCharacters = 100_000

/**
 * A copy of any value that JSON can write: what JSON cannot hold becomes text,
 * and what is too long, too deep or cyclic is cut. `toJSON` is honoured.
 */
export const toJson = (value: unknown): Json => {
  let nodes = maxNodes
  let characters = maxCharacters
  const above: Array<unknown> = []

  const text = (given: string): string => {
    const clipped = clip(given, Math.max(characters, 1))
    characters -= clipped.length
    return clipped
  }

  const inside = (object: object): Json => {
    const own = read(object, "toJSON")
    if (typeof own === "function") {
      const written = safely(() => ({ value: own.call(object, "") as unknown }))
      return written === undefined || written.value === object ? text(textOf(object)) : visit(written.value)
    }
    if (isArray(object)) {
      const length = Number(safely(() => object.length) ?? 0)
      const items: Array<Json> = []
      for (let i = 0; i < length && nodes > 0; i++) items.push(visit(read(object, i)))
      return items
    }
    const keys = safely(() => Object.keys(object))
    if (keys === undefined) return unshowable
    const entries: Array<readonly [string, Json]> = []
    for (const key of keys) {
      if (nodes <= 0 || characters <= 0) break
      const found = read(object, key)
      if (found !== undefined && typeof found !== "function") entries.push([text(key), visit(found)])
    }
    // Unlike an assignment it keeps a key `__proto__`.
    return Object.fromEntries(entries)
  }

  const visit = (given: unknown): Json => {
    nodes--
    if (typeof given === "string") return text(given)
    if (typeof given === "boolean" || given === null) return given
    if (typeof given === "number") return Number.isFinite(given) ? given : String(given)
    if (given === undefined) return null
    if (typeof given !== "object") return text(textOf(given))
    if (above.includes(given) || above.length >= maxDepth || nodes <= 0) return "…"
    above.push(given)
    const json = inside(given)
    above.pop()
    return json
  }

  return visit(value)
}
