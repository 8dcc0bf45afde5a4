/** Decisions about stored rows that every backend must take alike. */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import { read, readString, safely } from "../resilience/Foreign.js"
import { LeaseLost } from "./StorageError.js"
import type {
  Cancelling,
  DueRun,
  EnqueueRequest,
  Entry,
  Hold,
  Lease,
  LockRow,
  Opened,
  OpenRequest,
  OutcomeStatus,
  Query,
  Run,
  SaveEntry,
  Status,
  WaitsFor
} from "./Store.js"

/**
 * What the synchronous job of a store may answer: data. The answer is used after the job's transaction has committed,
 * so a statement inside an effect would run outside of the transaction.
 */
export type Plain =
  | undefined
  // biome-ignore lint/suspicious/noConfusingVoidType: a job that answers nothing
  | void
  | null
  | boolean
  | number
  | bigint
  | string
  | Option.Option<unknown>
  | (object & { readonly [Effect.EffectTypeId]?: never; readonly then?: never })

/** What a job answers that may refuse. */
export type Answer<A extends Plain, E> = Exit.Exit<A, E>

/** A row that was written this much later than now, in milliseconds, shows that the clock was set back. */
export const clockTolerance = 60_000

/** The statuses of a run that has an outcome. */
export const outcomeStatuses: ReadonlyArray<OutcomeStatus> = ["completed", "failed", "exhausted", "cancelled"]

export const isOutcomeStatus = (status: unknown): status is OutcomeStatus =>
  outcomeStatuses.some((known) => known === status)

/** Whether a run has an outcome, and it is no success. */
export const hasFailed = (status: Status): boolean => status === "failed" || status === "exhausted"

/** Derived from the row, so a process that dies cannot leave a wrong status behind. */
export const statusOf = (run: Pick<Run, "outcome" | "leaseUntil" | "dueAt" | "hold">, now: number): Status => {
  if (run.outcome !== undefined) return run.outcome.status
  if (isLeased(run, now)) return "running"
  if (run.hold !== undefined) return "held"
  return run.dueAt <= now || (run.leaseUntil ?? 0) > now ? "stopped" : "suspended"
}

/** A run is due when it is claimed, so one that is due much later was claimed before the clock was set back. */
export const isLeased = ({ dueAt, leaseUntil }: Pick<Run, "leaseUntil" | "dueAt">, now: number): boolean =>
  leaseUntil !== undefined && leaseUntil > now && dueAt - now <= clockTolerance

/** Whether the run waits for a place in its queue when it is due. A run that is to be cancelled leaves its queue. */
export const isQueued = ({ cancel, queue }: Pick<Run, "cancel" | "queue">): boolean =>
  queue !== undefined && cancel === undefined

/**
 * When an open run can be advanced: it is due, and its lease has expired. The run
 * may be claimed once the store's clock is there.
 */
export const dueSince = ({ dueAt, leaseUntil }: Pick<Run, "leaseUntil" | "dueAt">): number =>
  Math.max(dueAt, leaseUntil ?? 0)

const noLease = { owner: undefined, leaseUntil: undefined }

/** The row of a run that `enqueue` creates. */
export const enqueuedRun = (request: EnqueueRequest, key: number, now: number): Run => {
  const { delay = 0, id, input, labels, parent, queue, version, workflow } = request
  return {
    key,
    id,
    workflow,
    version,
    input,
    labels: { ...labels },
    createdAt: now,
    startedAt: undefined,
    token: 0,
    ...noLease,
    dueAt: now + delay,
    waiting: undefined,
    signals: 0,
    generation: 1,
    hold: undefined,
    cancel: undefined,
    queue: queue && { ...queue },
    parent: parent && { ...parent },
    outcome: undefined
  }
}

/** The row of a run that `open` creates. */
export const newRun = (request: OpenRequest, key: number, owner: string, leaseUntil: number, now: number): Run =>
  claimedRun(enqueuedRun(request, key, now), owner, leaseUntil, now)

/** Why `open` does not lease an existing run to the caller; `undefined` if the caller may claim it. */
export const refusal = (run: Run, request: OpenRequest, now: number): Opened | undefined => {
  if (run.workflow !== request.workflow || run.input !== request.input) return { _tag: "Different", run }
  if (run.outcome !== undefined) return { _tag: "Finished", run }
  if (isLeased(run, now)) return { _tag: "Leased", run }
  if (run.hold !== undefined && run.hold.id !== request.heldAs) return { _tag: "Held", run }
  return isQueued(run) && request.ignoreQueue !== true ? { _tag: "Queued", run } : undefined
}

/** What `hold` does to a run. Its row stays the same if the hold is on it, or another one. */
export const heldRun = (
  run: Run,
  wanted: Omit<Hold, "at">,
  from: string | undefined,
  now: number
): { readonly _tag: "Held" | "Other"; readonly run: Run } => {
  const known = run.hold?.id
  if (known === wanted.id) return { _tag: "Held", run }
  if (known !== undefined && known !== from) return { _tag: "Other", run }
  return { _tag: "Held", run: { ...run, hold: { id: wanted.id, reason: wanted.reason, at: now } } }
}

/** What a request to cancel a run does: it is stored only if it is `Requested`. */
export const cancelling = (run: Pick<Run, "cancel" | "outcome"> | undefined): Cancelling => {
  if (run === undefined) return "Unknown"
  if (run.outcome !== undefined) return "Finished"
  return run.cancel === undefined ? "Requested" : "Taken"
}

/** Whether a debounced `enqueue` may replace the input and the due time of a run. */
export const isReplaceable = (run: Run, request: EnqueueRequest): boolean =>
  run.token === 0 &&
  run.outcome === undefined &&
  run.hold === undefined &&
  run.cancel === undefined &&
  run.workflow === request.workflow &&
  run.version === request.version

/** Whether a claim of a run that was never started starts it, so that the rate of its queue counts it. */
export const isStart = ({ cancel, queue }: Pick<Run, "cancel" | "queue">, isVisit = false): boolean =>
  queue === undefined || (!isVisit && cancel === undefined)

/** The row of a run after a claim. It is due from then on, which also tells when it was claimed. */
export const claimedRun = (run: Run, owner: string, leaseUntil: number, now: number, isVisit?: boolean): Run => ({
  ...run,
  token: run.token + 1,
  startedAt: run.startedAt ?? (isStart(run, isVisit) ? now : undefined),
  owner,
  leaseUntil,
  dueAt: now,
  waiting: undefined
})

/** The lease of a run that was claimed or created now. */
export const leaseOf = ({ dueAt, id, key, token }: Run, owner: string): Lease => ({
  key,
  run: id,
  token,
  owner,
  since: dueAt
})

/** What `claimDue` answers about a row that it leased. */
export const claimedDue = (run: Run, owner: string): DueRun => ({ _tag: "Claimed", run, lease: leaseOf(run, owner) })

/** The journal line of a save, for the snapshot with this key. */
export const entryOfSave = ({ payload, ...entry }: SaveEntry, key: number): Entry => ({
  ...entry,
  payload: payload === undefined || typeof payload === "string" ? payload : payload.join(String(key))
})

export const leaseLost = (lease: Lease): Exit.Exit<never, LeaseLost> =>
  Exit.fail(new LeaseLost({ run: lease.run, token: lease.token }))

/** A lock that was acquired later than now, and not renewed since the clock was set back, has lost its owner. */
export const isHeld = ({ leaseUntil, owner, since }: LockRow, now: number): boolean =>
  owner !== undefined &&
  leaseUntil !== undefined &&
  leaseUntil > now &&
  !(since - now > clockTolerance && leaseUntil >= since)

/**
 * The next fencing token of a lock. It is at least the time, so that tokens rise even after a power cut or a removal
 * erased the latest one.
 *
 * @since 0.1.0
 * @category drivers
 */
export const nextToken = (last: number, now: number): number => Math.max(last + 1, Math.trunc(now))

/** Whether a lock may be removed. Its next token then comes from the clock alone, so the clock must have passed its last. */
export const isUnused = (row: LockRow, since: number, now: number): boolean =>
  !isHeld(row, now) && row.since < since && row.token < now

/** The limit of a query as a whole number; 100 by default. */
export const limitOf = ({ limit = 100 }: { readonly limit?: number | undefined }): number =>
  Number.isNaN(limit) ? 100 : Math.min(Math.max(0, Math.trunc(limit)), Number.MAX_SAFE_INTEGER)

/** Whether a JSON value has all properties of a JSON object, with the same JSON. Text that is no JSON has none. */
export const hasProperties = (found: unknown, wanted: string): boolean =>
  Object.entries(JSON.parse(wanted)).every(
    ([name, value]) => JSON.stringify(own(found, name)) === JSON.stringify(value)
  )

const own = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, name) ? read(value, name) : undefined

/** Undefined for text that is no JSON. */
export const parseJson = (text: string): unknown => safely(() => JSON.parse(text))

/** Whether a run waits for something of this kind. */
export const isWaitingFor = ({ waiting = "[]" }: Pick<Run, "waiting">, { before, kind }: WaitsFor): boolean => {
  const items = parseJson(waiting)
  return (
    Array.isArray(items) &&
    items.some(
      (item) =>
        read(item, "kind") === kind && (before === undefined || Date.parse(readString(item, "since") ?? "") < before)
    )
  )
}

/** Whether a run has all that is wanted and does not change while it is open, nor with the time. */
export const isListed = (run: Run, query: Query): boolean =>
  [
    [query.workflow, run.workflow],
    [query.version, run.version],
    [query.queue, run.queue?.name],
    [query.parent, run.parent?.run],
    ...Object.entries(query.labels ?? {}).map(([name, value]) => [value, labelOf(run, name)])
  ].every(([wanted, found]) => wanted === undefined || wanted === found) &&
  run.createdAt >= (query.createdSince ?? Number.NEGATIVE_INFINITY) &&
  run.createdAt < (query.createdBefore ?? Number.POSITIVE_INFINITY)

/** No property that every object has is a label. */
const labelOf = ({ labels }: Run, name: string): string | undefined =>
  Object.hasOwn(labels, name) ? labels[name] : undefined

/** Compares texts as SQLite does: by their bytes in UTF-8, which is by code points. */
export const compareKeys = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (left !== right) return rank(left) - rank(right)
  }
  return a.length - b.length
}

/** Halves of surrogate pairs stand for code points above all others. */
const rank = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit)
