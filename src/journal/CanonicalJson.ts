/**
 * The JSON text of a value; `undefined` for the undefined value, which JSON does
 * not have. `keys` lists the properties to write and their order.
 *
 * Throws at values that would be read back as others, such as NaN.
 */
export const toJsonText = (value: unknown, keys?: Array<string>): string | undefined => {
  const text = JSON.stringify(value, keys)
  if (text === undefined && value !== undefined) throw noJson(value, "")
  // JSON writes NaN, Infinity and undefined elements as null, so only a text with a null needs the check.
  if (text?.includes("null")) JSON.stringify(value, refuseLossy)
  return text
}

function refuseLossy(this: unknown, key: string, value: unknown): unknown {
  const lossy = typeof value === "number" ? !Number.isFinite(value) : value === undefined && Array.isArray(this)
  if (lossy) throw noJson(value, key)
  return value
}

/**
 * A copy with the properties of all objects in order, so that equal values have
 * one text. Throws at values that JSON would write as something else.
 */
export const sortKeys = (value: unknown, key = ""): unknown => {
  if (typeof value === "function" || typeof value === "symbol" || typeof value === "bigint") throw noJson(value, key)
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map((item, i) => sortKeys(item, `${key}[${i}]`))
  const prototype = Object.getPrototypeOf(value)
  const isPlain = prototype === null || prototype === Object.prototype
  if (!isPlain || writesItself(value)) throw noJson(`a ${value.constructor?.name ?? "value"}`, key)
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, property]) => [name, sortKeys(property, name)])
  )
}

/** Whether the value decides by itself what JSON writes for it. */
export const writesItself = (value: object): boolean => "toJSON" in value && typeof value.toJSON === "function"

const noJson = (value: unknown, key: string) =>
  new RangeError(`${String(value)} at ${key === "" ? "the top" : `"${key}"`} has no JSON form`)
