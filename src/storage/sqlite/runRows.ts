import { entryProblem, mismatch, outcomeChecksum, rowProblem, runChecksum, type StoredEntry } from "../checksum.js"
import { isOutcomeStatus } from "../rows.js"
import type * as Store from "../Store.js"
import { isTime, noTime, toLabels } from "./rows.js"

/** The table of the first version admits only `completed` and `failed`, so a second column tells what kind of failure it is. */
export const statusColumn =
  "CASE WHEN status = 'failed' AND exhausted = 2 THEN 'cancelled' WHEN status = 'failed' AND exhausted IS NOT NULL THEN 'exhausted' ELSE status END"

/** When a run can be claimed: `dueSince`, as the index of open runs has it. */
export const dueSince = "MAX(due_at, COALESCE(lease_until, 0))"

/** Of an open run: 2 if it is held, 1 if `isQueued`, else 0. As the index of open runs has it. */
export const placeColumn =
  "CASE WHEN hold_id IS NOT NULL THEN 2 WHEN queue IS NOT NULL AND cancel IS NULL THEN 1 ELSE 0 END"

/** The columns `status` and `exhausted` of an outcome. */
export const storedStatus = ({
  status
}: Pick<Store.Outcome, "status">): readonly [status: "completed" | "failed", exhausted: number | null] => {
  if (status === "completed") return ["completed", null]
  return ["failed", status === "failed" ? null : status === "exhausted" ? 1 : 2]
}

/** Of a run, as a `RunRow` has them. */
export const runColumns = `key, id, workflow, version, input, labels, created_at AS "createdAt", token, owner,
  lease_until AS "leaseUntil", due_at AS "dueAt", waiting, signals, ${statusColumn} AS status, exit,
  finished_at AS "finishedAt", checksum, outcome_checksum AS "outcomeChecksum", started_at AS "startedAt", generation,
  hold_id AS "holdId", hold_reason AS "holdReason", hold_at AS "holdAt", cancel, queue, queue_key AS "queueKey", priority,
  parent, parent_signal AS "parentSignal"`

/** A run as it is stored. */
export type RunRow = Pick<
  Store.Run,
  "createdAt" | "dueAt" | "generation" | "id" | "input" | "key" | "signals" | "token" | "version" | "workflow"
> & {
  readonly labels: string
  readonly owner: string | null
  readonly leaseUntil: number | null
  readonly waiting: string | null
  readonly status: Store.Outcome["status"] | null
  readonly exit: string | null
  readonly finishedAt: number | null
  readonly checksum: number | null
  readonly outcomeChecksum: number | null
  readonly startedAt: number | null
  readonly holdId: string | null
  readonly holdReason: string | null
  readonly holdAt: number | null
  readonly cancel: string | null
  readonly queue: string | null
  readonly queueKey: string | null
  readonly priority: number
  readonly parent: string | null
  readonly parentSignal: string | null
}

/** The lease of a dead process has ended, whatever its row says. */
export const runOf = (row: RunRow, isGone: (owner: string) => boolean): Store.Run => {
  const { createdAt, dueAt, exit, finishedAt, id, input, key, owner, signals, status, token, version, workflow } = row
  const isLeased = typeof owner === "string" && !isGone(owner)
  return {
    ...controlOf(row),
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

/** What stands in the columns that older rows, and older processes, leave empty. */
const controlOf = (row: RunRow) => {
  const { cancel, createdAt, generation, holdAt, holdId, holdReason, queue, startedAt, token } = row
  // A process of a version before leases a run without noting when. It knew no queues.
  const started = startedAt ?? (token > 0 && queue === null ? createdAt : null)
  return {
    startedAt: started === null || !isTime(started) ? undefined : started,
    generation,
    hold:
      holdId === null ? undefined : { id: holdId, reason: holdReason ?? "", at: isTime(holdAt) ? (holdAt ?? 0) : 0 },
    cancel: cancel ?? undefined,
    queue: queueOf(row),
    parent: parentOf(row)
  }
}

const queueOf = ({ priority, queue, queueKey }: RunRow): Store.RunQueue | undefined =>
  queue === null ? undefined : { name: queue, key: queueKey ?? "", priority }

const parentOf = ({ parent, parentSignal }: RunRow): Store.Parent | undefined =>
  parent === null ? undefined : { run: parent, signal: parentSignal ?? "" }

/** The checksum of a row after a change of what it covers. */
export const checksumOfRow = (row: RunRow, change: Partial<Pick<RunRow, "input" | "version">> = {}): number =>
  runChecksum({ ...row, ...change, queue: queueOf(row), parent: parentOf(row) })

const outcomeOf = (status: Store.Outcome["status"], exit: string | null, at: number | null): Store.Outcome => ({
  status,
  exit: exit ?? "",
  at: isTime(at) ? (at ?? 0) : 0
})

/** What is wrong with the row of a run. What changes while it is open has no checksum, and is only checked for its type. */
export const runProblem = (row: RunRow): string | undefined => {
  const { checksum, createdAt, dueAt, id, input, labels, leaseUntil, owner, version, waiting, workflow } = row
  const numbers = [row.token, row.signals, dueAt, leaseUntil ?? 0, row.generation, row.priority, row.holdAt ?? 0]
  if (numbers.some((value) => typeof value !== "number")) return "a number is stored as something else"
  if (!isTime(createdAt)) return noTime
  const { cancel, holdId, holdReason, parent, parentSignal, queue, queueKey } = row
  const texts = [id, workflow, version, input, labels]
  const others = [owner, waiting, cancel, holdId, holdReason, parent, parentSignal, queue, queueKey]
  return (
    rowProblem(checksum, [...texts, ...others.map((text) => text ?? "")], () => checksumOfRow(row)) ??
    outcomeProblem(row)
  )
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
