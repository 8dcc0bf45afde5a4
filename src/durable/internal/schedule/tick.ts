import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { prettyCause } from "../../../resilience/Foreign.js"
import * as Storage from "../../../storage/Storage.js"
import type { AnyDefinition } from "../run/advance.js"
import { requestCancel } from "../run/cancel.js"
import * as execute_ from "../run/execute.js"
import { atPresent, decide, initialState, withSettings } from "./decide.js"
import { findStored, type Settings, type Start, type State, writeState } from "./state.js"
import { type Times, timesOf } from "./times.js"

/** A schedule as a program defines it. */
export interface ScheduleDefinition {
  readonly name: string
  readonly settings: Settings
  readonly workflow: AnyDefinition
  /** May throw: it is the user's. */
  readonly inputOf: (due: Date) => unknown
}

/** When to look again. */
export interface Ticked {
  /** The next due time, by the store's clock. */
  readonly next: number | undefined
  /** Runs whose end the schedule waits for. */
  readonly awaited: ReadonlyArray<string>
  /** Why a run could not be recorded. It is tried again. */
  readonly trouble: string | undefined
}

/**
 * Brings a schedule up to the present: records the runs that were decided, decides the due times that have come, and
 * records their runs. A process that dies between a decision and its run leaves the rest to the next look of any process.
 */
export const tick = (
  storage: Storage.Service,
  schedule: ScheduleDefinition,
  isFirst: boolean
): Effect.Effect<Ticked, Storage.StorageError> =>
  Effect.gen(function* () {
    const { name, settings } = schedule
    for (let adopts = isFirst; ; ) {
      const found = yield* findStored(storage, name)
      const now = yield* storage.now
      if (Option.isNone(found)) {
        yield* writeState(storage, name, 0, initialState(settings, now))
        continue
      }
      const { revision, state: stored } = found.value
      const times = timesOf(stored.settings.rule)
      if (times === undefined) return { next: undefined, awaited: [], trouble: "its rule cannot be read" }
      const { failed, trouble } = yield* recordRuns(storage, schedule, stored.starts)
      const present = atPresent(stored, now)
      const open = yield* openRuns(storage, present, failed, times, now)
      // Of those that fail again and again, the latest ones are kept.
      const starts = failed.slice(-stored.settings.backlog)
      const state = { ...present, starts, open }
      const next = adopts ? adopted(name, state, settings, times, now) : decide(name, state, times, now)
      const isChanged = JSON.stringify(next) !== JSON.stringify(stored)
      if (isChanged && !(yield* writeState(storage, name, revision, next))) continue
      adopts = false
      if (isChanged && next.starts.length > starts.length) continue
      if (next.waiting.length > 0 && next.settings.overlap === "cancel") yield* cancelRuns(storage, name, next)
      return { next: nextTime(next, now), awaited: next.waiting.length > 0 ? next.open : [], trouble }
    }
  })

const nextTime = ({ cursor, paused, settings: { rule } }: State, now: number): number | undefined =>
  paused === undefined ? timesOf(rule)?.next(Math.max(cursor, now)) : undefined

/** The process that started last says what the rule is, so that a deployment changes it once. */
const adopted = (name: string, state: State, settings: Settings, times: Times, now: number): State =>
  JSON.stringify(state.settings.rule) === JSON.stringify(settings.rule)
    ? decide(name, { ...state, settings }, times, now)
    : withSettings(name, state, settings, times, now)

/** Records runs that were decided. Returns those that could not be recorded. */
const recordRuns = (storage: Storage.Service, schedule: ScheduleDefinition, starts: ReadonlyArray<Start>) =>
  Effect.gen(function* () {
    const failed: Array<Start> = []
    let trouble: string | undefined
    for (const start of starts) {
      const exit = yield* Effect.exit(recordRun(storage, schedule, start))
      if (exit._tag === "Success") continue
      failed.push(start)
      trouble = prettyCause(exit.cause).split("\n")[0]
    }
    return { failed, trouble }
  })

const recordRun = (storage: Storage.Service, { inputOf, name, workflow }: ScheduleDefinition, { due, run }: Start) =>
  Effect.suspend(() =>
    execute_.start(workflow, { id: run, input: inputOf(new Date(due)), labels: { schedule: name } })
  ).pipe(
    // It was recorded before, and an input may depend on more than the due time.
    Effect.catchTag("RunMismatch", () => Effect.void),
    Effect.provideService(Storage.Storage, storage)
  )

/** The runs of the schedule that have not ended; read only if the schedule decides by them. */
const openRuns = (
  storage: Storage.Service,
  { cursor, open, waiting }: State,
  unrecorded: ReadonlyArray<Start>,
  times: Times,
  now: number
): Effect.Effect<ReadonlyArray<string>, Storage.StorageError> => {
  const next = times.next(cursor)
  if (waiting.length === 0 && (next === undefined || next > now)) return Effect.succeed(open)
  return Effect.filter(open, (run) =>
    unrecorded.some((start) => start.run === run)
      ? Effect.succeed(true)
      : Effect.map(storage.find(run), (found) => Option.exists(found, ({ outcome }) => outcome === undefined))
  )
}

/** A request that was stored before is not repeated: each one is news, and this would look again at once. */
const cancelRuns = (storage: Storage.Service, name: string, { open }: State) => {
  const request = { reason: `Schedule "${name}" is due again.`, by: `schedule ${name}` }
  const cancel = (run: string) =>
    Effect.flatMap(storage.find(run), (found) =>
      Option.exists(found, ({ cancel }) => cancel === undefined) ? requestCancel(storage, run, request) : Effect.void
    )
  return Effect.forEach(open, cancel, { discard: true })
}
