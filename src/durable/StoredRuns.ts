/**
 * Reads and removes stored runs: `Workflow.status`, `Workflow.list` and others.
 * Executes nothing.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import {
  findRun,
  type Journal,
  knownKeys,
  loadJournal,
  loadLines,
  readKnownLines,
  type StepRecord,
  type WaitRecord
} from "../journal/Journal.js"
import type { RewindRecord } from "../journal/JournalLine.js"
import type { JournalError, RunNotFound, Waiting } from "../journal/RunError.js"
import { failureOf } from "../journal/RunFailure.js"
import type {
  RewindStatus,
  RunCount,
  RunFailure,
  RunStatus,
  RunSummary,
  StepStatus,
  WaitStatus
} from "../journal/RunStatus.js"
import type { Point } from "../resilience/Decision.js"
import { messageOf } from "../resilience/Foreign.js"
import type { InvalidOption } from "../resilience/InvalidOption.js"
import { mapInSlices } from "../resilience/internal/kernel/eventLoop.js"
import { age, checked, date, limit, whole } from "../resilience/internal/kernel/options.js"
import { RewindRefused } from "../resilience/RecoveryError.js"
import { Redaction, type Redactor } from "../resilience/Redaction.js"
import { hasFailed, statusOf } from "../storage/rows.js"
import * as Storage from "../storage/Storage.js"
import { keysIn, locate } from "./internal/rewind/points.js"
import { attemptsOf, decisionsOf } from "./internal/run/attempts.js"
import { dateOption, readWaiting, waitId, waitingOf } from "./internal/wait/resolve.js"
import type { Workflow } from "./Workflow.js"

/**
 * Reads the status of a run and of its steps. Journal lines that only a newer
 * version of this library can read are in `unread`; the rest is shown without them.
 *
 * @since 0.1.0
 * @category inspection
 */
export const status: (
  id: string
) => Effect.Effect<RunStatus, RunNotFound | JournalError | Storage.StorageError, Storage.Storage> = Effect.fn(
  "Workflow.status"
)(function* (id) {
  const storage = yield* Storage.Storage
  const run = yield* findRun(storage, id)
  // Only results are left out: what failures and decisions say is shown.
  const lines = yield* loadLines(
    storage,
    run.key,
    ({ kind, omitted }) => omitted === true && kind !== "StepCompleted" && kind !== "ChildEnded"
  )
  const known = readKnownLines(run.id, lines)
  if (!("journal" in known)) return yield* known
  const { journal, unread } = known
  const redactor = yield* Redaction
  const children = yield* storage.list({ parent: run.id, limit: 100 })
  const now = yield* storage.now
  const times = new Map(lines.map(({ at, seq }) => [seq, at]))
  const attempts = attemptsOf(lines, journal, redactor)
  const summary = summaryOf(run, now, redactor)
  return {
    ...summary,
    // The row tells what a run waits for only while it is suspended.
    waiting: summary.waiting.length > 0 || run.outcome !== undefined ? summary.waiting : openWaits(journal),
    steps: [...journal.steps.values()].map((record) => ({
      ...stepStatus(record, journal, redactor),
      history: attempts.get(record.step) ?? []
    })),
    waits: [...journal.waits.values()].map((wait) => waitStatus(wait, journal)),
    decisions: decisionsOf(lines, journal, redactor),
    children: children.map((child) => ({ id: child.id, workflow: child.workflow, status: statusOf(child, now) })),
    rollbacks: [...journal.rollbacks.values()].map(({ order, reason, section, status, updatedAt }) => ({
      transaction: section,
      status,
      reason,
      startedAt: new Date(times.get(order) ?? updatedAt),
      updatedAt: new Date(updatedAt)
    })),
    rewinds: journal.rewinds.map(rewindStatus),
    rewinding: Option.map(Option.fromNullable(journal.rewinding), rewindStatus),
    unread: unread.map(({ entry: { kind, seq, step }, error }) => ({
      seq,
      kind,
      step,
      problem: messageOf(error.cause)
    }))
  }
})

/**
 * What a rewind would do, by the keys of steps.
 *
 * @since 0.1.0
 * @category inspection
 */
export interface RewindPreview {
  /** The point, in words. */
  readonly point: string
  /** The steps whose results are removed, oldest first. */
  readonly removes: ReadonlyArray<string>
  /** The steps that are compensated, in this order. */
  readonly compensates: ReadonlyArray<string>
}

/**
 * Tells what a rewind of the run to this point would do now. Fails as `rewind`
 * would if the run cannot be rewound to it. Changes nothing.
 *
 * @since 0.1.0
 * @category inspection
 */
export const checkRewind: (
  id: string,
  to: Point
) => Effect.Effect<RewindPreview, RunNotFound | RewindRefused | JournalError | Storage.StorageError, Storage.Storage> =
  Effect.fn("Workflow.checkRewind")(function* (id, to) {
    const storage = yield* Storage.Storage
    const run = yield* findRun(storage, id)
    const journal = yield* loadJournal(storage, run)
    const place = locate(id, journal, to)
    if (place instanceof RewindRefused) return yield* place
    const keys = keysIn(journal, place)
    const compensated = knownKeys(journal).filter(([key, { isRequired }]) => isRequired && keys.has(key))
    return {
      point: place.point,
      removes: [...journal.steps.keys()].filter((key) => keys.has(key)),
      compensates: compensated.sort(([, a], [, b]) => b.order - a.order).map(([key]) => key)
    }
  })

/**
 * Which runs to list. A run must fit all that is given.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunQuery {
  readonly workflow?: string | Workflow<never, unknown, unknown, unknown, unknown> | undefined
  readonly version?: string | undefined
  readonly status?: Storage.Status | undefined
  /** Only runs with all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Only runs of this queue. */
  readonly queue?: string | undefined
  /** Only runs that the run with this id waits for. */
  readonly parent?: string | undefined
  /** Only runs that wait for something of this kind. */
  readonly waitingFor?: Waiting["kind"] | undefined
  /** Only runs created at this time or later. */
  readonly since?: Date | undefined
  /** Only runs created before this time. */
  readonly until?: Date | undefined
  /** Only runs after the one with this `key`: that of the last run of a page gives the next page. */
  readonly before?: number | undefined
  /** The most that are returned: 0 for none, `Infinity` for all. Defaults to 100. */
  readonly limit?: number | undefined
}

/**
 * Lists runs, newest first.
 *
 * @example
 * ```ts
 * import { Storage, Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * Workflow.list({ labels: { tenant: "acme" }, status: "failed", since: new Date("2026-01-01") }).pipe(
 *   Effect.provide(Storage.layerMemory),
 *   Effect.runPromise
 * ).then((runs) => console.log(runs.length)) // 0
 * ```
 *
 * @since 0.1.0
 * @category inspection
 */
export const list: (
  query?: RunQuery
) => Effect.Effect<ReadonlyArray<RunSummary>, Storage.StorageError, Storage.Storage> = Effect.fn("Workflow.list")(
  function* (query = {}) {
    const storage = yield* Storage.Storage
    const redactor = yield* Redaction
    const { before, labels, parent, queue, since, status, until, version, waitingFor: kind, workflow } = query
    const runs = yield* storage.list({
      ...{ labels, parent, queue, status, version },
      before: before === undefined ? undefined : whole("before", before, 1),
      workflow: typeof workflow === "object" ? workflow.name : workflow,
      waitsFor: kind === undefined ? undefined : { kind },
      createdSince: since === undefined ? undefined : date("since", since).getTime(),
      createdBefore: until === undefined ? undefined : date("until", until).getTime(),
      limit: limit(query)
    })
    const now = yield* storage.now
    return yield* mapInSlices(runs, (run) => summaryOf(run, now, redactor))
  }
)

const summaryOf = (run: Storage.Run, now: number, redactor: Redactor): RunSummary => ({
  id: run.id,
  workflow: run.workflow,
  version: run.version,
  status: statusOf(run, now),
  labels: run.damaged === undefined ? run.labels : { ...run.labels, damaged: run.damaged },
  createdAt: new Date(run.createdAt),
  finishedAt: dateOption(run.outcome?.at),
  owner: statusOf(run, now) === "running" ? Option.fromNullable(run.owner) : Option.none(),
  executions: run.token,
  waiting: run.outcome === undefined ? readWaiting(run.waiting) : [],
  dueAt: dateOption(run.outcome !== undefined || run.dueAt === Storage.untilSignalled ? undefined : run.dueAt),
  failure: Option.filterMap(Option.fromNullable(run.outcome), (outcome) => endOf(outcome, redactor)),
  hold: Option.map(Option.fromNullable(run.hold), ({ at, id, reason }) => ({ id, reason, since: new Date(at) })),
  cancelling: run.outcome === undefined ? cancellingOf(run.cancel) : Option.none(),
  queue: Option.fromNullable(run.queue),
  parent: Option.map(Option.fromNullable(run.parent), ({ run }) => run),
  generation: run.generation,
  key: run.key
})

/** Why a run has not completed. */
const endOf = ({ exit, status }: Storage.Outcome, redactor: Redactor): Option.Option<RunFailure> => {
  if (hasFailed(status)) return Option.some(failureOf(exit, redactor))
  if (status !== "cancelled") return Option.none()
  const message = Option.match(cancellingOf(exit), {
    onNone: () => "Its reason cannot be read",
    onSome: ({ by, reason }) => `${reason}${Option.match(by, { onNone: () => "", onSome: (by) => ` (${by})` })}`
  })
  return Option.some({ tag: "RunCancelled", message: redactor.text(message) })
}

const decodeReason = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Struct({ reason: Schema.String, by: Schema.optional(Schema.String) }))
)

/** Who wants the run to end, and why, from its request or its outcome. */
const cancellingOf = (text: string | undefined): RunSummary["cancelling"] =>
  Option.map(decodeReason(text), ({ by, reason }) => ({ reason, by: Option.fromNullable(by) }))

const decodeNext = Schema.decodeUnknownOption(Schema.parseJson(Schema.Struct({ next: Schema.Number })))

const stepStatus = (record: StepRecord, journal: Journal, redactor: Redactor): Omit<StepStatus, "history"> => {
  const undo = Option.fromNullable(journal.undos.get(record.step))
  return {
    key: record.step,
    status: record.interruptedAt === undefined ? record.status : "interrupted",
    compensation: Option.map(undo, ({ status }) => status),
    compensationFailure: Option.filterMap(undo, ({ payload, status }) =>
      status === "failed" ? Option.some(failureOf(payload ?? "", redactor)) : Option.none()
    ),
    attempts: record.attempts,
    startedAt: new Date(record.startedAt),
    updatedAt: new Date(record.updatedAt),
    nextAttemptAt:
      record.status === "waiting"
        ? Option.map(decodeNext(record.payload), ({ next }) => new Date(next))
        : Option.none(),
    ambiguous: record.ambiguous
  }
}

const waitStatus = (wait: WaitRecord, journal: Journal): WaitStatus => {
  const { about, end, interruptedAt, key, kind, startedAt, to, until } = wait
  const ended =
    end?.refused !== undefined ? "refused" : end?.payload !== undefined || kind === "child" ? "answered" : "elapsed"
  return {
    id: waitId(journal, key),
    kind,
    about,
    to: Option.fromNullable(to),
    startedAt: new Date(startedAt),
    until: dateOption(until),
    endedAt: dateOption(end?.at),
    status: end !== undefined ? ended : interruptedAt !== undefined ? "interrupted" : "open"
  }
}

const openWaits = (journal: Journal): ReadonlyArray<Waiting> =>
  [...journal.waits.values()]
    .filter(({ end, interruptedAt }) => end === undefined && interruptedAt === undefined)
    .map((wait) => waitingOf(journal, wait.key, wait))

const rewindStatus = ({ at, by, point, reason }: RewindRecord): RewindStatus => ({
  at: new Date(at),
  by,
  point,
  reason
})

/**
 * Counts all runs by workflow and status.
 *
 * @since 0.1.0
 * @category inspection
 */
export const stats: Effect.Effect<ReadonlyArray<RunCount>, Storage.StorageError, Storage.Storage> = Effect.flatMap(
  Storage.Storage,
  (storage) =>
    Effect.map(storage.countRuns, (counts) =>
      counts.map(({ newest, oldest, ...count }) => ({ ...count, oldest: new Date(oldest), newest: new Date(newest) }))
    )
)

/**
 * Removes a run with its journal, signals and checkpoints. Returns `false` for
 * a run without an outcome, and keeps it.
 *
 * @since 0.1.0
 * @category removing
 */
export const remove: (id: string) => Effect.Effect<boolean, RunNotFound | Storage.StorageError, Storage.Storage> =
  Effect.fn("Workflow.remove")(function* (id) {
    const storage = yield* Storage.Storage
    const { key } = yield* findRun(storage, id)
    return (yield* storage.removeRuns([key])) === 1
  })

/** How many runs `cleanup` reads at once, with their inputs and outcomes. */
const page = 250

/**
 * Removes runs that ended longer ago than `olderThan`, and returns how many.
 * The library removes no run by itself. Fails with `InvalidOption`, and removes
 * nothing, unless `olderThan` is finite and above 0.
 *
 * @example
 * ```ts
 * import { Storage, Workflow } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * Workflow.cleanup({ olderThan: "7 days" }).pipe(
 *   Effect.provide(Storage.layerMemory),
 *   Effect.runPromise
 * ).then(console.log) // 0
 * ```
 *
 * @since 0.1.0
 * @category removing
 */
export const cleanup: (options: {
  readonly olderThan: Duration.DurationInput
  readonly workflow?: string | undefined
}) => Effect.Effect<number, Storage.StorageError | InvalidOption, Storage.Storage> = Effect.fnUntraced(function* ({
  olderThan,
  workflow
}) {
  const millis = yield* checked(() => age("olderThan", olderThan))
  const storage = yield* Storage.Storage
  const before = (yield* storage.now) - millis
  let removed = 0
  let last: number | undefined
  for (;;) {
    const runs = yield* storage.list({ workflow, before: last, limit: page })
    const old = runs.filter(({ outcome }) => outcome !== undefined && outcome.at < before)
    removed += old.length === 0 ? 0 : yield* storage.removeRuns(old.map(({ key }) => key))
    last = runs.at(-1)?.key
    if (runs.length < page) break
  }
  return removed
})
