import * as Schema from "effect/Schema"
import { clip, isError, read, safely, textOf, toJson } from "./Foreign.js"

interface Encoded {
  readonly name?: string
  readonly message?: string
  readonly code?: string
  readonly stack?: string
  readonly cause?: Encoded
  /** A defect that is not an Error. */
  readonly value?: unknown
}

const maxDepth = 8

/** Characters of a message or a stack. */
const maxLength = 20_000

const encode = (defect: unknown, depth = 0): Encoded => {
  if (!isError(defect)) return { value: toJson(defect) }
  const code = read(defect, "code")
  const stack = read(defect, "stack")
  const cause = read(defect, "cause")
  return {
    name: textAt(defect, "name") ?? "Error",
    message: textAt(defect, "message") ?? "an error without a readable message",
    ...(typeof code === "string" ? { code: clip(code, maxLength) } : {}),
    ...(typeof stack === "string" ? { stack: clip(stack, maxLength) } : {}),
    ...(cause === undefined || depth >= maxDepth ? {} : { cause: encode(cause, depth + 1) })
  }
}

/** Undefined if the property cannot be read. */
const textAt = (error: Error, key: "name" | "message"): string | undefined => {
  const found = safely(() => ({ text: Reflect.get(error, key) as unknown }))
  if (found === undefined) return undefined
  return clip(typeof found.text === "string" ? found.text : textOf(found.text), maxLength)
}

const decode = (encoded: Encoded): unknown => {
  if (encoded.message === undefined) return encoded.value
  const cause = encoded.cause === undefined ? {} : { cause: decode(encoded.cause) }
  const error = new Error(encoded.message, cause)
  // Not enumerable, as on the original error, so that it prints the same.
  const define = (key: string, value: unknown) =>
    value === undefined || Object.defineProperty(error, key, { value, configurable: true, writable: true })
  define("name", encoded.name)
  define("stack", encoded.stack)
  define("code", encoded.code)
  return error
}

/** Any error as data. Unlike `Schema.Defect` it keeps the code, the stack and the causes of an error. Encoding never fails. */
export const Defect: Schema.Schema<unknown, unknown> = Schema.transform(Schema.Unknown, Schema.Unknown, {
  strict: true,
  // Only `encode` writes objects of this form; other values are returned unchanged.
  decode: (encoded) => (typeof encoded === "object" && encoded !== null ? decode(encoded as Encoded) : encoded),
  encode: (defect) => encode(defect)
})
