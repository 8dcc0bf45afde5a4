import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import { millis, PolicyInvalid } from "./policy.js"

/** A schedule that ends keeps its last delay. */
interface Position {
  readonly millis: number
  readonly state: unknown
}

type Growing = Schedule.Schedule<unknown, unknown>

/**
 * How long a breaker stays open, the next time being known beforehand: opening
 * must happen at once, and a schedule is asked by an effect.
 */
export class OpenTime {
  private position: Position

  private readonly first: Position
  private readonly schedule: Growing | undefined

  constructor(first: Position, schedule: Growing | undefined) {
    this.first = first
    this.position = first
    this.schedule = schedule
  }

  get millis(): number {
    return this.position.millis
  }

  /** To be run after each opening. */
  advance(now: number): Effect.Effect<void> {
    const { schedule } = this
    if (schedule === undefined) return Effect.void
    return Effect.suspend(() =>
      Effect.map(step(schedule, now, this.position.state), (next) => {
        if (next !== undefined) this.position = next
      })
    )
  }

  reset(): void {
    this.position = this.first
  }
}

const step = (schedule: Growing, now: number, state: unknown): Effect.Effect<Position | undefined> =>
  Effect.map(schedule.step(now, undefined, state), ([next, _, decision]) =>
    ScheduleDecision.isDone(decision)
      ? undefined
      : { millis: Math.max(0, ScheduleIntervals.start(decision.intervals) - now), state: next }
  )

/** Asks the schedule once; every breaker made of the answer starts the same. */
export const prepare = (resetAfter: Duration.DurationInput | Growing, now: number): Effect.Effect<() => OpenTime> => {
  if (!Schedule.isSchedule(resetAfter)) {
    const fixed = { millis: millis("resetAfter", resetAfter), state: undefined }
    return Effect.succeed(() => new OpenTime(fixed, undefined))
  }
  return Effect.map(step(resetAfter, now, resetAfter.initial), (first) => {
    if (first === undefined) {
      throw new PolicyInvalid({
        option: "resetAfter",
        value: "a schedule without a delay",
        expected: "one that recurs"
      })
    }
    return () => new OpenTime(first, resetAfter)
  })
}
