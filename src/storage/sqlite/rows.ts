import { DamagedRow } from "../checksum.js"
import type { Database, Statement } from "./driver.js"

const none = {}

/** Rows without a checksum may hold any text. Nothing depends on labels, so the rest of the row stays readable. */
export const toLabels = (text: string): Readonly<Record<string, string>> => {
  if (text === "{}") return none
  try {
    const labels: unknown = JSON.parse(text)
    return isLabels(labels) ? labels : { damaged: String(text) }
  } catch {
    return { damaged: String(text) }
  }
}

const isLabels = (value: unknown): value is Readonly<Record<string, string>> =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  Object.values(value).every((label) => typeof label === "string")

/** Fails the operation if the row has a problem. `what` names the row. */
export const refuseDamaged = (problem: string | undefined, what: () => string): void => {
  if (problem !== undefined) throw new DamagedRow(`${what()}: ${problem}`)
}

/** A row of a list, which names a problem instead of failing: one damaged row must not hide the others. */
export const marked = <R extends object>(row: R, problem: string | undefined): R & { readonly damaged?: string } =>
  problem === undefined ? row : { ...row, damaged: problem }

export const fromLabels = (labels: Readonly<Record<string, string>>): string => {
  for (const _ in labels) return JSON.stringify(labels)
  return "{}"
}

/** The conditions whose value is given, so that SQLite can choose an index for each shape of query. */
export const givenConditions = (all: ReadonlyArray<readonly [condition: string, value: unknown]>) => {
  const given = all.filter(([, value]) => value !== undefined)
  return { conditions: given.map(([condition]) => condition), params: given.map(([, value]) => value) }
}

/**
 * A condition with one parameter, a JSON object: the column has all of its properties with the same JSON. A column that
 * is no JSON has none.
 */
export const hasProperties = (column: string, path = "$"): string => `NOT EXISTS (
  SELECT 1 FROM json_each(?) wanted WHERE NOT EXISTS (
    SELECT 1 FROM json_each(iif(json_valid(${column}), ${column}, '{}'), '${path}') found
    WHERE found.key = wanted.key AND found.type = wanted.type AND found.value IS wanted.value
  )
)`

/**
 * Statements by their text. Texts contain the limit: SQLite plans a statement
 * with a bound limit again at each use, which costs three times as much.
 */
export class QueryCache {
  private readonly database: Database
  private readonly capacity: number
  private readonly statements = new Map<string, Statement>()

  /** `capacity` is above what programs write by hand, and bounds the memory for generated texts. */
  constructor(database: Database, capacity = 100) {
    this.database = database
    this.capacity = capacity
  }

  prepare(text: string): Statement {
    const known = this.statements.get(text)
    if (known !== undefined) return known
    const statement = this.database.prepare(text)
    if (this.statements.size >= this.capacity) this.statements.clear()
    this.statements.set(text, statement)
    return statement
  }
}

/** The last time a date can hold, in epoch milliseconds. */
const lastTime = 8.64e15

/** Whether a column holds a time that a date can hold. */
export const isTime = (value: unknown): boolean => typeof value === "number" && Math.abs(value) <= lastTime

export const noTime = "a time is stored as something else"
