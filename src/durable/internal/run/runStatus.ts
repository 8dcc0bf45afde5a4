import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { statusOf } from "../../../storage/rows.js"
import * as Storage from "../../../storage/Storage.js"
import { RunNotFound } from "../../RunError.js"
import type {
  RewindStatus,
  RollbackStatus,
  RunStatus,
  RunSummary,
  StepStatus,
  WaitStatus,
  Workflow
} from "../../Workflow.js"
import { type Journal, loadJournal, type RollbackRecord, type StepRecord, type WaitRecord } from "../journal/journal.js"
import type { RewindRecord } from "../journal/rewindLine.js"
import { readWaiting, waitId } from "../wait/waiting.js"

export const status = function* (id: string) {
  const storage = yield* Storage.Storage
  const found = yield* storage.find(id)
  if (Option.isNone(found)) return yield* new RunNotFound({ run: id })
  const journal = yield* loadJournal(storage, found.value)
  const now = yield* storage.now
  return {
    ...summary(found.value, now),
    steps: [...journal.steps.values()].map((record) => stepStatus(record, journal)),
    waits: [...journal.waits.values()].map((record) => waitStatus(record, journal)),
    rollbacks: [...journal.rollbacks.values()].map(rollbackStatus),
    rewinds: journal.rewinds.map(rewindStatus),
    rewinding: Option.map(Option.fromNullable(journal.rewinding), rewindStatus)
  } satisfies RunStatus
}

export const list = function* (query?: {
  readonly workflow?: string | Workflow<never, unknown, unknown, unknown> | undefined
  readonly status?: Storage.Status | undefined
  readonly limit?: number | undefined
}) {
  const storage = yield* Storage.Storage
  const workflow = typeof query?.workflow === "object" ? query.workflow.name : query?.workflow
  const runs = yield* storage.list({ ...query, workflow })
  const now = yield* storage.now
  return runs.map((run) => summary(run, now))
}

const summary = (run: Storage.Run, now: number): RunSummary => ({
  id: run.id,
  workflow: run.workflow,
  version: run.version,
  status: statusOf(run, now),
  labels: run.labels,
  createdAt: new Date(run.createdAt),
  finishedAt: Option.map(Option.fromNullable(run.outcome), (outcome) => new Date(outcome.at)),
  owner: statusOf(run, now) === "running" ? Option.fromNullable(run.owner) : Option.none(),
  executions: run.token,
  waiting: run.outcome === undefined ? readWaiting(run.waiting) : [],
  dueAt:
    run.outcome !== undefined || run.dueAt === Storage.untilSignalled ? Option.none() : Option.some(new Date(run.dueAt))
})

const waitStatus = ({ about, end, key, kind, startedAt, to, until }: WaitRecord, journal: Journal): WaitStatus => ({
  id: waitId(journal, key),
  kind,
  about,
  to: Option.fromNullable(to),
  startedAt: new Date(startedAt),
  until: Option.map(Option.fromNullable(until), (millis) => new Date(millis)),
  endedAt: Option.map(Option.fromNullable(end), ({ at }) => new Date(at)),
  answered: end?.payload !== undefined && end.refused === undefined
})

const decodeNext = Schema.decodeUnknownOption(Schema.parseJson(Schema.Struct({ next: Schema.Number })))

const rewindStatus = ({ at, by, point, reason }: RewindRecord): RewindStatus => ({
  at: new Date(at),
  by,
  point,
  reason
})

const rollbackStatus = ({ reason, section, status, updatedAt }: RollbackRecord): RollbackStatus => ({
  transaction: section,
  status,
  reason,
  updatedAt: new Date(updatedAt)
})

const stepStatus = (record: StepRecord, journal: Journal): StepStatus => ({
  key: record.step,
  status: record.status,
  compensation: Option.map(Option.fromNullable(journal.undos.get(record.step)), ({ status }) => status),
  attempts: record.attempts,
  startedAt: new Date(record.startedAt),
  updatedAt: new Date(record.updatedAt),
  nextAttemptAt:
    record.status === "waiting" ? Option.map(decodeNext(record.payload), ({ next }) => new Date(next)) : Option.none(),
  ambiguous: record.ambiguous
})
