import type { SqlClient } from "@effect/sql/SqlClient"
import { asRead } from "../checksum.js"
import { hasProperties } from "../sqlite/rows.js"

/** What differs between the databases. */
export interface Dialect {
  readonly name: "sqlite" | "pg"
  /** The text with the placeholders of the dialect in place of each `?`. */
  readonly toText: (text: string) => string
  /** Null-safe equality of a column and a value. */
  readonly isSame: (left: string, right: string) => string
  /** The greater of two numbers. */
  readonly greatest: (left: string, right: string) => string
  /** The lesser of two numbers. */
  readonly least: (left: string, right: string) => string
  /**
   * Locks the rows that a SELECT returns until the commit: against changes
   * (`update`), or against claims alone (`share`). Empty where one writer has the file.
   */
  readonly lock: (kind: "update" | "share", of?: string) => string
  /** The column has all properties of a JSON object (one `?`), with the same JSON. A column that is no JSON has none. */
  readonly hasProperties: (column: string, property?: string) => string
  /** A SELECT of the values of a JSON array parameter (one `?`), as rows of one column `value`. */
  readonly values: (type: "text" | "number") => string
}

/** The quoted name of one of our tables or functions. */
export type Names = (name: string) => string

/** The dialect of a client; `undefined` for those that no store is written for. */
export const dialectOf = (client: SqlClient): Dialect["name"] | undefined =>
  client.onDialectOrElse({ sqlite: () => "sqlite" as const, pg: () => "pg" as const, orElse: () => undefined })

export const sqliteDialect: Dialect = {
  name: "sqlite",
  toText: (text) => text,
  isSame: (left, right) => `${left} IS ${right}`,
  greatest: (left, right) => `MAX(${left}, ${right})`,
  least: (left, right) => `MIN(${left}, ${right})`,
  lock: () => "",
  hasProperties: (column, property) => hasProperties(column, property === undefined ? "$" : `$.${property}`),
  values: () => "SELECT value FROM json_each(?)"
}

export const makePgDialect = (table: Names): Dialect => {
  const texts = new Map<string, string>()
  return {
    name: "pg",
    toText: (text) => {
      const known = texts.get(text)
      if (known !== undefined) return known
      let count = 0
      const numbered = text.replaceAll("?", () => `$${++count}`)
      // Few texts are generated, and those are small.
      if (texts.size >= 1_000) texts.clear()
      texts.set(text, numbered)
      return numbered
    },
    isSame: (left, right) => `${left} IS NOT DISTINCT FROM ${right}`,
    greatest: (left, right) => `GREATEST(${left}, ${right})`,
    least: (left, right) => `LEAST(${left}, ${right})`,
    lock: (kind, of) => ` FOR ${kind === "update" ? "UPDATE" : "SHARE"}${of === undefined ? "" : ` OF ${of}`}`,
    hasProperties: (column, property) =>
      `${table("has_properties")}(${column}, ${property === undefined ? "NULL" : `'${property}'`}, ?)`,
    values: (type) =>
      `SELECT ${type === "number" ? "value::bigint AS value" : "value"} FROM json_array_elements_text(?::json) AS given (value)`
  }
}

/**
 * A text without NUL, which Postgres cannot store, in the same order, and with
 * halves of surrogate pairs as checksums have them.
 */
export const toPgText = (text: string): string => {
  const plain = asRead(text)
  return plain.includes("\0") || plain.includes(mark)
    ? plain.replace(marked, (found) => mark + (found === mark ? afterMark : mark))
    : plain
}

/** As it was given to `toPgText`. */
export const fromPgText = (text: string): string =>
  text.includes(mark) ? text.replace(escaped, (_, second) => (second === mark ? "\0" : mark)) : text

const mark = "\u0001"
const afterMark = "\u0002"
const marked = new RegExp(`\0|${mark}`, "g")
const escaped = new RegExp(`${mark}([${mark}${afterMark}])`, "g")
