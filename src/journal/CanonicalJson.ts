import { messageOf, safely } from "../resilience/Foreign.js"

/** A value that would be read back as another one. Says where it is and what to do. */
export class NotRecordable extends Error {
  readonly _tag = "NotRecordable"
  constructor(what: string, path: string, cure: string, cause?: unknown) {
    super(`${what} at ${path === "" ? "the top" : `"${path}"`} cannot be read back from JSON: ${cure}`, { cause })
    this.name = "NotRecordable"
  }
}

/**
 * The JSON text of a value; `undefined` for the undefined value, which JSON does
 * not have. `keys` lists the properties to write and their order; others are left out.
 *
 * Throws {@link NotRecordable} at values that would be read back as others: NaN,
 * -0, undefined elements, dates, maps, class instances. A property that is
 * undefined is left out.
 */
export const toJsonText = (value: unknown, keys?: Array<string>): string | undefined => {
  refuseLossy(value, keys === undefined ? undefined : new Set(keys))
  return textOf(value, keys)
}

/**
 * The JSON text of a value that is known to be written as it is. V8 makes a long one of thousands of short pieces, and
 * joins them at the first look at a character. Pieces that live until the text is stored cost each collection of new
 * objects a copy: with 200 texts of 1 MB, a tenth of a second at a time.
 */
export const textOf = (value: unknown, keys?: Array<string>): string | undefined => {
  const text = reading(() => JSON.stringify(value, keys))
  text?.charCodeAt(0)
  return text
}

/** The JSON text of a value that no schema has encoded. */
export const toOpenText = (value: unknown): string | undefined => {
  const text = toJsonText(value)
  refuseHidden(value)
  return text
}

/** The JSON text with the properties of all objects in order, so that equal values have one text. */
export const toCanonicalText = (value: unknown): string | undefined => {
  refuseLossy(value, undefined)
  refuseHidden(value)
  return textOf(sortKeys(value))
}

/** Throws at the first part of a value that JSON would change. The path is built on the way back, so a clean value costs no texts. */
const refuseLossy = (value: unknown, keys: ReadonlySet<string> | undefined): void => refuse(() => lossy(value, keys))

const refuse = (find: () => Lossy | undefined): void => {
  const found = reading(find)
  if (found !== undefined) throw new NotRecordable(found.what, found.path, found.cure)
}

/** Says of a value what its getters throw, or that it is too deep for the stack. */
const reading = <A>(read: () => A): A => {
  try {
    return read()
  } catch (cause) {
    const what = cause instanceof RangeError ? "a value that contains itself or is nested too deeply" : "a value"
    throw new NotRecordable(what, "", `it cannot be read (${messageOf(cause)})`, cause)
  }
}

interface Lossy {
  readonly what: string
  readonly path: string
  readonly cure: string
}

const at = (key: string, found: Lossy): Lossy => ({
  ...found,
  path: found.path === "" ? key : found.path.startsWith("[") ? key + found.path : `${key}.${found.path}`
})

const lossy = (value: unknown, keys: ReadonlySet<string> | undefined): Lossy | undefined => {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "undefined":
      return undefined
    case "number":
      // -0 is written as 0, and what is not finite as null.
      return Number.isFinite(value) && !Object.is(value, -0) ? undefined : numberOf(value)
    case "object":
      if (value === null) return undefined
      return Array.isArray(value) ? lossyElement(value, keys) : lossyProperty(value, keys)
    default:
      return { what: `a ${typeof value}`, path: "", cure: "encode it with the schema, or leave it out" }
  }
}

const numberOf = (value: number): Lossy => ({
  what: Object.is(value, -0) ? "-0" : String(value),
  path: "",
  cure: "use a schema that writes it as text, such as Schema.NumberFromString, or another value"
})

const lossyElement = (items: ReadonlyArray<unknown>, keys: ReadonlySet<string> | undefined): Lossy | undefined => {
  for (let i = 0; i < items.length; i++) {
    const item = items[i]
    const found =
      item === undefined
        ? { what: "an undefined element", path: "", cure: "use null, or leave the element out" }
        : lossy(item, keys)
    if (found !== undefined) return at(`[${i}]`, found)
  }
  return undefined
}

const lossyProperty = (value: object, keys: ReadonlySet<string> | undefined): Lossy | undefined => {
  if (!isPlain(value) || writesItself(value)) {
    return {
      what: `a ${nameOf(value)}`,
      path: "",
      cure: "use a schema that encodes it, such as Schema.Date or Schema.Class"
    }
  }
  for (const key in value) {
    if (keys?.has(key) === false) continue
    const found = lossy((value as Readonly<Record<string, unknown>>)[key], keys)
    if (found !== undefined) return at(key, found)
  }
  return undefined
}

/** An object literal, also one of another realm, whose prototype is not this one's. */
const isPlain = (value: object): boolean => {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || isOtherRealm(prototype)
}

const isOtherRealm = (prototype: object): boolean =>
  Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "hasOwnProperty")

/** Whether the value decides by itself what JSON writes for it. */
export const writesItself = (value: object): boolean => "toJSON" in value && typeof value.toJSON === "function"

const nameOf = (value: object): string => {
  const name = safely(() => value.constructor?.name)
  return typeof name === "string" && name !== "" && name !== "Object" ? name : "value with its own form"
}

/** A copy with the properties of all objects in order. Throws {@link NotRecordable} if it is nested too deeply. */
export const sortKeys = (value: unknown): unknown => reading(() => sorted(value))

const sorted = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(sorted)
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, property]) => [name, sorted(property)])
  )
}

/**
 * Throws at what a schema or JSON drops without a trace: symbol keys, properties
 * of arrays, and the key `__proto__`, which an assignment loses.
 */
export const refuseHidden = (value: unknown): void => refuse(() => hiddenIn(value))

const hiddenIn = (value: unknown): Lossy | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  const isList = Array.isArray(value)
  if (!isList && !isPlain(value)) return undefined
  if (Object.getOwnPropertySymbols(value).length > 0) {
    return { what: "a property whose key is a symbol", path: "", cure: "use a string as its key" }
  }
  const keys = Object.keys(value)
  if (isList && keys.length > value.length) {
    return { what: "an array with properties of its own", path: "", cure: "put them into an object" }
  }
  for (const key of keys) {
    if (key === "__proto__") return { what: "a property", path: key, cure: "use another key" }
    const found = hiddenIn((value as Readonly<Record<string, unknown>>)[key])
    if (found !== undefined) return at(isList ? `[${key}]` : key, found)
  }
  return undefined
}
