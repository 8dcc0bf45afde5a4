import { entryProblem, mismatch, outcomeChecksum, rowProblem, runChecksum, type StoredEntry } from "../checksum.js"
import { isOutcomeStatus } from "../rows.js"
import type * as Store from "../Store.js"
import { noControl } from "./notYet.js"
import { isTime, noTime, toLabels } from "./rows.js"

/** The table of the first version admits only `completed` and `failed`. */
export const statusColumn = "CASE WHEN status = 'failed' AND exhausted IS NOT NULL THEN 'exhausted' ELSE status END"

/** Of a run, as a `RunRow` has them. */
export const runColumns = `key, id, workflow, version, input, labels, created_at AS "createdAt", token, owner,
  lease_until AS "leaseUntil", due_at AS "dueAt", waiting, signals, ${statusColumn} AS status, exit,
  finished_at AS "finishedAt", checksum, outcome_checksum AS "outcomeChecksum"`

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

/** The lease of a dead process has ended, whatever its row says. */
export const runOf = (row: RunRow, isGone: (owner: string) => boolean): Store.Run => {
  const { createdAt, dueAt, exit, finishedAt, id, input, key, owner, signals, status, token, version, workflow } = row
  const isLeased = typeof owner === "string" && !isGone(owner)
  return {
    ...noControl,
    key,
    id,
    workflow,
    version,
    input,
    labels: toLabels(row.labels),
    // Lists show damaged rows too, as marked.
    createdAt: isTime(createdAt) ? createdAt : 0,
    token,
    owner: isLeased ? owner : undefined,
    leaseUntil: isLeased ? (row.leaseUntil ?? undefined) : undefined,
    dueAt,
    waiting: row.waiting ?? undefined,
    signals,
    outcome: status === null ? undefined : outcomeOf(status, exit, finishedAt)
  }
}

const outcomeOf = (status: Store.Outcome["status"], exit: string | null, at: number | null): Store.Outcome => ({
  status,
  exit: exit ?? "",
  at: isTime(at) ? (at ?? 0) : 0
})

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
