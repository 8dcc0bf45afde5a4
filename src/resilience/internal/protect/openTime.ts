import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import { InvalidOption } from "../../InvalidOption.js"
import { orElseLoggedEffect } from "../kernel/logged.js"
import { millis } from "../kernel/options.js"

/** One delay of the schedule and the state after it. `at` is the sum of all delays so far. */
interface Position {
  readonly millis: number
  readonly at: number
  readonly state: unknown
}

/** Shared by all breakers of one keyed group. */
interface Shared {
  readonly schedule: Schedule.Schedule<unknown, unknown> | undefined
  /** Computed again after each opening, so that each breaker gets jitter of its own. */
  first: Position
}

/**
 * How long a breaker stays open. Opening is synchronous and a schedule step is an
 * effect, so the next open time is computed in advance.
 */
export class OpenTime {
  private position: Position | undefined
  private resets = 0

  private readonly shared: Shared

  constructor(shared: Shared) {
    this.shared = shared
  }

  get millis(): number {
    return (this.position ?? this.shared.first).millis
  }

  /** Computes the next open time. Must run after each opening. */
  get advance(): Effect.Effect<void> {
    const { schedule } = this.shared
    if (schedule === undefined) return Effect.void
    return Effect.flatMap(
      Effect.sync(() => ({ before: this.resets, used: this.position ?? this.shared.first })),
      ({ before, used }) =>
        Effect.zipWith(step(schedule, used.at, used.state), firstOf(schedule), (next, first) => {
          if (first !== undefined) this.shared.first = first
          // A reset in the meantime starts the schedule again.
          if (this.resets === before) this.position = next ?? used
        })
    )
  }

  reset(): void {
    this.resets++
    this.position = undefined
  }
}

type AnySchedule = Schedule.Schedule<unknown, unknown>

/** Undefined if the schedule ends or its delay is infinite; the last delay then stays. */
const step = (schedule: AnySchedule, at: number, state: unknown): Effect.Effect<Position | undefined> =>
  orElseLoggedEffect(
    () => stepOf(schedule, at, state),
    undefined,
    "the schedule of a breaker's open time died; its last delay stays"
  )

const stepOf = (schedule: AnySchedule, at: number, state: unknown): Effect.Effect<Position | undefined> =>
  Effect.map(schedule.step(at, undefined, state), ([next, _, decision]) => {
    if (ScheduleDecision.isDone(decision)) return undefined
    const millis = Math.max(0, ScheduleIntervals.start(decision.intervals) - at)
    return Number.isFinite(millis) ? { millis, at: at + millis, state: next } : undefined
  })

const firstOf = (schedule: AnySchedule) => step(schedule, 0, schedule.initial)

/** Checks the option and returns a constructor for the open time of each breaker. */
export const prepare = (resetAfter: Duration.DurationInput | AnySchedule): Effect.Effect<() => OpenTime> => {
  if (!Schedule.isSchedule(resetAfter)) {
    const first = { millis: millis("resetAfter", resetAfter), at: 0, state: undefined }
    return Effect.succeed(() => new OpenTime({ schedule: undefined, first }))
  }
  return Effect.map(firstOf(resetAfter), (first) => {
    if (first === undefined) {
      throw new InvalidOption({
        option: "resetAfter",
        value: "this schedule",
        expected: "one with a finite first delay"
      })
    }
    const shared: Shared = { schedule: resetAfter, first }
    return () => new OpenTime(shared)
  })
}
