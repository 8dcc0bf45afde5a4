import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ScheduleHealth } from "../../Worker.js"
import type { ScheduleState } from "../schedule/runSchedules.js"
import type { ScheduleDefinition } from "../schedule/tick.js"
import { dateOption } from "../wait/resolve.js"

/** Two schedules with the same name were given to one worker. */
export class DuplicateSchedule extends Data.TaggedError("DuplicateSchedule")<{ readonly schedule: string }> {
  override get message(): string {
    return `Two schedules "${this.schedule}" were given to one worker. Give each schedule a name of its own.`
  }
}

/** The given schedules, if each has a name of its own. */
export const distinctSchedules = (
  schedules: ReadonlyArray<ScheduleDefinition>
): Effect.Effect<ReadonlyArray<ScheduleDefinition>, DuplicateSchedule> => {
  const twice = schedules.find(({ name }, i) => schedules.findIndex((one) => one.name === name) < i)
  return twice === undefined ? Effect.succeed(schedules) : Effect.fail(new DuplicateSchedule({ schedule: twice.name }))
}

export const scheduleHealth = (
  schedules: ReadonlyArray<ScheduleDefinition>,
  states: ReadonlyMap<string, ScheduleState>
): ReadonlyArray<ScheduleHealth> =>
  schedules.map(({ name }) => ({
    schedule: name,
    nextDue: dateOption(states.get(name)?.next),
    trouble: Option.fromNullable(states.get(name)?.trouble)
  }))
