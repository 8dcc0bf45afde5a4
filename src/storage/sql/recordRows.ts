/** Rows of records, in whatever database they are stored. */
import { recordChecksum, rowProblem } from "../checksum.js"
import type { Counter, RecordRow } from "../Store.js"
import { isTime, refuseDamaged, toLabels } from "../sqlite/rows.js"

export const recordColumns =
  'key, kind, id, subject, scope, status, labels, at, updated_at AS "updatedAt", revision, body, checksum'

/** The columns that are numbers. */
export const recordNumbers = ["key", "at", "updatedAt", "revision", "checksum"] as const

/** A record as it is stored. */
export type RecordTableRow = Omit<RecordRow, "labels" | "damaged"> & {
  readonly labels: string
  readonly checksum: number | null
}

export const toRecord = ({ checksum: _, ...row }: RecordTableRow): RecordRow => ({
  ...row,
  labels: toLabels(row.labels)
})

export const recordProblem = (row: RecordTableRow): string | undefined => {
  const { at, body, checksum, id, kind, labels, revision, scope, status, subject, updatedAt } = row
  if (typeof revision !== "number" || !isTime(at) || !isTime(updatedAt)) return "a number is stored as something else"
  return rowProblem(checksum, [kind, id, subject, scope, status, labels, body], () => recordChecksum(row))
}

/** Throws if the row is damaged, or is not the one that was asked for. */
export const checkedRecord = (kind: string, id: string, row: RecordTableRow): RecordTableRow => {
  const isWanted = row.kind === kind && row.id === id
  refuseDamaged(isWanted ? recordProblem(row) : "the index leads to another row", () => `the record of ${kind} "${id}"`)
  return row
}

/** Throws if a column holds something else. */
export const checkedCounter = (counter: Counter): Counter => {
  const { name, value } = counter
  const isRight = typeof name === "string" && typeof value === "number"
  refuseDamaged(isRight ? undefined : "a column is stored as something else", () => `counter "${name}"`)
  return counter
}

/** The first text after all that begin with the prefix. */
export const afterPrefix = (prefix: string): string => `${prefix}\u{10ffff}`
