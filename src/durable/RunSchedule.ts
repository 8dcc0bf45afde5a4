/**
 * A schedule starts a run of a workflow at each of its due times: by a cron
 * expression in a time zone, or in a period. Any number of processes may have it:
 * each due time is one run, whose id is made of the schedule's name and the time.
 *
 * The workers that were given a schedule start its runs. What a schedule has done
 * is a record of the storage, so that any process can list, pause and trigger it.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Types from "effect/Types"
import { checkName } from "../resilience/InvalidName.js"
import { checkOption, millis, whole } from "../resilience/internal/kernel/options.js"
import { Redaction } from "../resilience/Redaction.js"
import * as Storage from "../storage/Storage.js"
import { atPresent, dueByHand, resumed, withStart } from "./internal/schedule/decide.js"
import {
  decodeStored,
  findRow,
  findStored,
  listStored,
  runId,
  type State,
  type Stored,
  writeState
} from "./internal/schedule/state.js"
import type { ScheduleDefinition } from "./internal/schedule/tick.js"
import { type Rule, timesOf, zoneOf } from "./internal/schedule/times.js"
import type { Workflow } from "./Workflow.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface RunSchedule<out S = never> {
  readonly name: string
  /** @internal */
  readonly definition: ScheduleDefinition
  /** What the schema of the workflow's input needs. */
  readonly _S?: Types.Covariant<S>
}

/**
 * What becomes of due times that passed while no worker had the schedule:
 *
 * - `none`: nothing, if they passed more than a minute ago
 * - `last`: the latest of them starts a run
 * - `all`: each of them starts a run, the latest `backlog` ones at most
 *
 * @since 0.1.0
 * @category models
 */
export type CatchUp = "none" | "last" | "all"

/**
 * What happens at a due time while a run of the schedule has not ended, be it
 * suspended or on hold:
 *
 * - `skip`: the due time starts no run
 * - `queue`: its run starts when those before it have ended
 * - `cancel`: those are cancelled, and its run starts when they have ended
 * - `allow`: its run starts beside them
 *
 * @since 0.1.0
 * @category models
 */
export type Overlap = "skip" | "queue" | "cancel" | "allow"

/**
 * When a schedule is due.
 *
 * A cron expression has five fields (minute, hour, day, month, weekday), or six with
 * seconds before them. It names times of the local clock. Where that clock is set
 * forward, a skipped time of the day is due at the change; where it is set back, a
 * time that it shows twice is due the first time. If the expression is for every
 * hour, it follows real time: it has no run for what is skipped, and two for what
 * comes twice.
 *
 * @since 0.1.0
 * @category models
 */
export type Timing =
  | {
      /** Such as `0 3 * * 1-5`: at three o'clock from Monday to Friday. */
      readonly cron: string
      /** The name of a time zone, such as `Europe/Berlin`. Defaults to `UTC`. */
      readonly timeZone?: string | undefined
      readonly every?: undefined
    }
  | {
      /** At multiples of this period since 1970, such as each full hour. At least 1 second. */
      readonly every: Duration.DurationInput
      readonly cron?: undefined
      readonly timeZone?: undefined
    }

/**
 * @since 0.1.0
 * @category models
 */
export type Options<Input> = Timing & {
  /** Defaults to `last`. */
  readonly catchUp?: CatchUp | undefined
  /** Defaults to `skip`. */
  readonly overlap?: Overlap | undefined
  /**
   * The most due times that `all` makes up for, that `queue` keeps, and whose runs could not be recorded; older ones
   * start no run. At least 1. Defaults to 100.
   */
  readonly backlog?: number | undefined
} & (undefined extends Input
    ? { readonly input?: Input | ((due: Date) => Input) }
    : {
        /** The input of each run, or a function of its due time. */
        readonly input: Input | ((due: Date) => Input)
      })

/**
 * Defines a schedule, to be given to `Worker.layer`. Changes nothing itself: its
 * due times begin when the first worker has it.
 *
 * Throws `InvalidName` or `InvalidOption` if the name or an option cannot be used:
 * also a cron expression that is never due.
 *
 * @example
 * ```ts
 * import { RunSchedule, Storage, Worker, Workflow } from "effect-recovery"
 * import { Effect, Layer, Schema } from "effect"
 *
 * const Report = Workflow.make("report", { input: Schema.Date }, (day) => Effect.log(`report of ${day.toISOString()}`))
 *
 * const Nightly = Workflow.schedule("nightly", Report, {
 *   cron: "0 3 * * *",
 *   timeZone: "Europe/Berlin",
 *   catchUp: "all",
 *   overlap: "queue",
 *   input: (due) => due
 * })
 *
 * const program = Effect.gen(function* () {
 *   const run = yield* RunSchedule.trigger("nightly")
 *   yield* Effect.retry(Workflow.join(Report, run), { while: ({ _tag }) => _tag === "RunNotFound" })
 * })
 *
 * export const main = program.pipe(
 *   Effect.provide(Worker.layer([Report], { schedules: [Nightly] }).pipe(Layer.provideMerge(Storage.layerMemory)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Input, A, E, R, S>(
  name: string,
  workflow: Workflow<Input, A, E, R, S>,
  options: Options<Input>
): RunSchedule<S> => {
  const { backlog = 100, catchUp = "last", input, overlap = "skip" } = options
  return {
    name: checkName("schedule", name),
    definition: {
      name,
      workflow: workflow.definition,
      settings: {
        workflow: workflow.name,
        rule: ruleOf(options),
        catchUp: checkOption("catchUp", catchUp, ["none", "last", "all"].includes(catchUp), "none, last or all"),
        overlap: checkOption(
          "overlap",
          overlap,
          ["skip", "queue", "cancel", "allow"].includes(overlap),
          "skip, queue, cancel or allow"
        ),
        backlog: whole("backlog", backlog, 1)
      },
      // No schema has functions as its values.
      inputOf: typeof input === "function" ? (input as (due: Date) => Input) : () => input
    }
  }
}

const ruleOf = ({ cron, every, timeZone = "UTC" }: Timing): Rule => {
  if (cron === undefined) return { every: Math.round(millis("every", every, 1_000)) }
  checkOption("timeZone", timeZone, zoneOf(timeZone) !== undefined, "a time zone such as Europe/Berlin")
  const rule = { cron, timeZone }
  const isDue = timesOf(rule)?.next(0) !== undefined
  checkOption("cron", cron, isDue, 'a cron expression that is due at some time, such as "0 3 * * *"')
  return rule
}

/**
 * A schedule as the storage knows it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Info {
  readonly name: string
  readonly workflow: string
  /** When it is due. */
  readonly rule:
    | { readonly cron: string; readonly timeZone: string; readonly every?: undefined }
    | { readonly every: Duration.Duration; readonly cron?: undefined; readonly timeZone?: undefined }
  readonly catchUp: CatchUp
  readonly overlap: Overlap
  readonly paused: Option.Option<{
    readonly since: Date
    readonly reason: Option.Option<string>
    readonly by: Option.Option<string>
  }>
  /** None if it is paused. */
  readonly nextDue: Option.Option<Date>
  /** The latest run, by a due time or by hand. */
  readonly last: Option.Option<{ readonly run: string; readonly due: Date }>
  /** Due times whose runs wait until those before them have ended. */
  readonly waiting: ReadonlyArray<Date>
  /** Runs that a worker with this schedule is to record. */
  readonly starting: ReadonlyArray<{ readonly run: string; readonly due: Date }>
}

/**
 * No worker of this storage had a schedule of this name.
 *
 * @since 0.1.0
 * @category errors
 */
export class ScheduleNotFound extends Data.TaggedError("ScheduleNotFound")<{ readonly schedule: string }> {
  override get message(): string {
    return `There is no schedule "${this.schedule}" in this storage. RunSchedule.list shows the schedules; a schedule is there once a worker has it.`
  }
}

/**
 * All schedules of the storage, by name, of whichever process.
 *
 * @since 0.1.0
 * @category inspection
 */
export const list: Effect.Effect<ReadonlyArray<Info>, Storage.StorageError, Storage.Storage> = Effect.gen(function* () {
  const storage = yield* Storage.Storage
  const now = yield* storage.now
  const rows = yield* listStored(storage)
  return yield* Effect.forEach(rows, (row) => Effect.map(decodeStored(row), (stored) => infoOf(stored, now)))
})

const infoOf = ({ name, state }: Stored, now: number): Info => {
  const { cursor, last, paused, settings, starts, waiting } = atPresent(state, now)
  const { catchUp, overlap, rule, workflow } = settings
  const next = paused === undefined ? timesOf(rule)?.next(Math.max(cursor, now)) : undefined
  const startOf = ({ due, run }: { readonly run: string; readonly due: number }) => ({ run, due: new Date(due) })
  return {
    name,
    workflow,
    rule: "cron" in rule ? rule : { every: Duration.millis(rule.every) },
    catchUp,
    overlap,
    paused: Option.map(Option.fromNullable(paused), ({ at, by, reason }) => ({
      since: new Date(at),
      reason: Option.fromNullable(reason),
      by: Option.fromNullable(by)
    })),
    nextDue: Option.map(Option.fromNullable(next), (due) => new Date(due)),
    last: Option.map(Option.fromNullable(last), startOf),
    waiting: waiting.map((due) => new Date(due)),
    starting: starts.map(startOf)
  }
}

/** Changes a schedule, again if another process changed it meanwhile. */
const change = <A>(
  name: string,
  make: (state: State, now: number) => readonly [State, A]
): Effect.Effect<A, ScheduleNotFound | Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    for (;;) {
      const found = yield* findStored(storage, name)
      if (Option.isNone(found)) return yield* new ScheduleNotFound({ schedule: name })
      const [state, answer] = make(found.value.state, yield* storage.now)
      if (yield* writeState(storage, name, found.value.revision, state)) return answer
    }
  })

/**
 * Stops a schedule from starting runs until it is resumed. Runs that were started
 * continue. A schedule that is paused stays as it was paused first.
 *
 * @since 0.1.0
 * @category operating
 */
export const pause = (
  name: string,
  options: { readonly reason?: string | undefined; readonly by?: string | undefined } = {}
): Effect.Effect<void, ScheduleNotFound | Storage.StorageError, Storage.Storage> =>
  Effect.flatMap(Redaction, (redactor) =>
    change(name, (state, at) => {
      const reason = options.reason && redactor.text(options.reason)
      return [{ ...state, paused: state.paused ?? { at, reason, by: options.by } }, undefined]
    })
  )

/**
 * Ends a pause. Due times of the pause start no runs, whatever `catchUp` says. Does
 * nothing if the schedule is not paused.
 *
 * @since 0.1.0
 * @category operating
 */
export const resume = (name: string): Effect.Effect<void, ScheduleNotFound | Storage.StorageError, Storage.Storage> =>
  change(name, (state, now) => [state.paused === undefined ? state : resumed(state, now), undefined])

/**
 * Starts a run now, beside others and also of a paused schedule, and returns its id.
 * The run is recorded by a worker that has the schedule, as soon as there is one,
 * with the present as its due time. Until then `Workflow.join` fails with
 * `RunNotFound`, and `list` has it in `starting`.
 *
 * @since 0.1.0
 * @category operating
 */
export const trigger = (
  name: string
): Effect.Effect<string, ScheduleNotFound | Storage.StorageError, Storage.Storage> =>
  change(name, (state, now) => {
    const due = dueByHand(state, now)
    return [withStart(name, state, due), runId(name, due)]
  })

/**
 * Removes a schedule that no worker has any more, or whose record is damaged. Its
 * runs stay. A worker that has it begins it anew.
 *
 * @since 0.1.0
 * @category operating
 */
export const remove = (name: string): Effect.Effect<void, ScheduleNotFound | Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const found = yield* findRow(storage, name)
    if (Option.isNone(found)) return yield* new ScheduleNotFound({ schedule: name })
    yield* storage.removeRecords([found.value.key])
  })
