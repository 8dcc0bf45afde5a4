import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import { PolicyInvalid } from "../../RecoveryError.js"
import { millis } from "../kernel/options.js"

/** One delay of the schedule, and where it stands after it. Its time is that of the delays alone, and begins at 0. */
interface Position {
  readonly millis: number
  readonly at: number
  readonly state: unknown
}

/** What the breakers made of the same options share. */
interface Shared {
  readonly schedule: Schedule.Schedule<unknown, unknown> | undefined
  /** Drawn anew after each opening, so that jitter tells apart those who open first. */
  first: Position
}

/**
 * How long a breaker stays open. Opening must happen at once and a schedule is
 * asked by an effect, so the next time is known beforehand.
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

  /** To be run after each opening. */
  get advance(): Effect.Effect<void> {
    const { schedule } = this.shared
    if (schedule === undefined) return Effect.void
    return Effect.flatMap(
      Effect.sync(() => ({ before: this.resets, used: this.position ?? this.shared.first })),
      ({ before, used }) =>
        Effect.zipWith(step(schedule, used.at, used.state), firstOf(schedule), (next, first) => {
          if (first !== undefined) this.shared.first = first
          // Closed meanwhile: it begins anew.
          if (this.resets === before) this.position = next ?? used
        })
    )
  }

  reset(): void {
    this.resets++
    this.position = undefined
  }
}

type Growing = Schedule.Schedule<unknown, unknown>

/** Nothing, if the schedule ends or would wait for ever: the last delay stays. */
const step = (schedule: Growing, at: number, state: unknown): Effect.Effect<Position | undefined> =>
  Effect.map(schedule.step(at, undefined, state), ([next, _, decision]) => {
    if (ScheduleDecision.isDone(decision)) return undefined
    const millis = Math.max(0, ScheduleIntervals.start(decision.intervals) - at)
    return Number.isFinite(millis) ? { millis, at: at + millis, state: next } : undefined
  })

const firstOf = (schedule: Growing) => step(schedule, 0, schedule.initial)

/** Checks the option, and makes what gives each breaker its open time. */
export const prepare = (resetAfter: Duration.DurationInput | Growing): Effect.Effect<() => OpenTime> => {
  if (!Schedule.isSchedule(resetAfter)) {
    const first = { millis: millis("resetAfter", resetAfter), at: 0, state: undefined }
    return Effect.succeed(() => new OpenTime({ schedule: undefined, first }))
  }
  return Effect.map(firstOf(resetAfter), (first) => {
    if (first === undefined) {
      throw new PolicyInvalid({
        option: "resetAfter",
        value: "this schedule",
        expected: "one with a finite first delay"
      })
    }
    const shared: Shared = { schedule: resetAfter, first }
    return () => new OpenTime(shared)
  })
}
