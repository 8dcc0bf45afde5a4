import * as Schema from "effect/Schema"

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

const encode = (defect: unknown, depth = 0): Encoded => {
  if (!(defect instanceof Error)) return { value: toJson(defect) }
  const code = read(defect, "code")
  const cause = read(defect, "cause")
  return {
    name: String(read(defect, "name")),
    message: String(read(defect, "message")),
    ...(typeof code === "string" ? { code } : {}),
    ...(typeof defect.stack === "string" ? { stack: defect.stack } : {}),
    ...(cause === undefined || depth >= maxDepth ? {} : { cause: encode(cause, depth + 1) })
  }
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

const read = (error: Error, key: string): unknown => {
  try {
    return Reflect.get(error, key)
  } catch {
    return undefined
  }
}

const toJson = (value: unknown): unknown => {
  try {
    return JSON.parse(JSON.stringify(value) ?? "null")
  } catch {
    return String(value)
  }
}

/** Any error as data. Unlike `Schema.Defect` it keeps the code, the stack and the causes of an error. */
export const Defect: Schema.Schema<unknown, unknown> = Schema.transform(Schema.Unknown, Schema.Unknown, {
  strict: true,
  // Only `encode` writes objects of this form; other values are returned unchanged.
  decode: (encoded) => (typeof encoded === "object" && encoded !== null ? decode(encoded as Encoded) : encoded),
  encode: (defect) => encode(defect)
})
