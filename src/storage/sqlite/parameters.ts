import { asRead } from "../checksum.js"

export type Bind = (params: ReadonlyArray<unknown>) => ReadonlyArray<unknown>

/**
 * Parameters for drivers other than better-sqlite3, bound as by that one. Node
 * takes any first object, such as a date, for named parameters, and binds NULL in
 * its place. Half a surrogate pair must be read as it is by the other drivers,
 * since checksums cover it. With `nul`, a text with a NUL character is refused.
 */
export const makeBind = (nul: string | undefined): Bind => {
  const bind = (value: unknown): unknown => {
    if (typeof value === "string") {
      if (nul !== undefined && value.includes("\0")) throw new TypeError(nul)
      return asRead(value)
    }
    if (value === undefined) return null
    if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) throw new TypeError(canBind)
    return value
  }
  return (params) => {
    const [first] = params
    return params.length === 1 && isPlainObject(first)
      ? [Object.fromEntries(Object.entries(first).map(([name, value]) => [name, bind(value)]))]
      : params.map(bind)
  }
}

const canBind = "SQLite can only bind numbers, strings, bigints, buffers, and null"

const isPlainObject = (value: unknown): value is Readonly<Record<string, unknown>> => {
  if (typeof value !== "object" || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
