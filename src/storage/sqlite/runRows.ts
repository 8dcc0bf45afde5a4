import { entryProblem, mismatch, outcomeChecksum, rowProblem, runChecksum, type StoredEntry } from "../checksum.js"
import { isOutcomeStatus } from "../rows.js"
import type * as Store from "../Store.js"
import { isTime, noTime } from "./rows.js"

/** A run as it is stored. */
export type RunRow = Omit<Store.Run, "labels" | "owner" | "leaseUntil" | "waiting" | "outcome" | "damaged"> & {
  readonly labels: string
  readonly owner: string | null
  readonly leaseUntil: number | null
  readonly waiting: string | null
  readonly status: Store.Outcome["status"] | null
  readonly exit: string | null
  readonly finishedAt: number | null
  readonly checksum: number | null
  readonly outcomeChecksum: number | null
}

/** What is wrong with the row of a run. What changes while it is open has no checksum, and is only checked for its type. */
export const runProblem = (row: RunRow): string | undefined => {
  const { checksum, createdAt, dueAt, id, input, labels, leaseUntil, owner, version, waiting, workflow } = row
  const numbers = [row.token, row.signals, dueAt, leaseUntil ?? 0]
  if (numbers.some((value) => typeof value !== "number")) return "a number is stored as something else"
  if (!isTime(createdAt)) return noTime
  const texts = [id, workflow, version, input, labels, owner ?? "", waiting ?? ""]
  return rowProblem(checksum, texts, () => runChecksum(row)) ?? outcomeProblem(row)
}

const outcomeProblem = ({ exit, finishedAt, id, outcomeChecksum: stored, status }: RunRow): string | undefined => {
  if (status === null) return stored === null ? undefined : mismatch
  if (!isOutcomeStatus(status)) return "its status is none that a run has"
  const at = finishedAt ?? 0
  if (!isTime(at)) return noTime
  return rowProblem(stored, [exit ?? ""], () => outcomeChecksum(id, { status, exit: exit ?? "", at }))
}

/** A line as it is stored. */
export interface EntryRow extends StoredEntry {
  readonly omitted: number | null
  readonly checksum: number | null
  readonly payloadChecksum: number | null
  /** The last line when this one was written. */
  readonly previous: number | null
}

/** What is wrong with a line. `last` is the number of the line before it. */
export const lineProblem = (
  run: number,
  row: EntryRow,
  last: number | null,
  rows: ReadonlyArray<EntryRow>
): string | undefined => {
  const { at, checksum, previous } = row
  if (!isTime(at)) return noTime
  // Concurrent lines may be written in another order than that of their numbers.
  const isThere = previous === last || previous === null || rows.some(({ seq }) => seq === previous)
  return checksum === null || isThere ? entryProblem(run, row, row) : `line ${previous} before it is missing`
}

/** A line in words. */
export const lineOf = ({ kind, seq, step }: EntryRow): string =>
  `line ${seq} (${kind}${step === "" ? "" : ` of "${step}"`})`

/** A signal as it is stored. */
export type SignalRow = Store.Signal & { readonly seq: number; readonly checksum: number | null }
