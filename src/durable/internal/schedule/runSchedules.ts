import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { longSleep } from "../../../resilience/internal/kernel/timer.js"
import { Redaction } from "../../../resilience/Redaction.js"
import type * as Storage from "../../../storage/Storage.js"
import { Pulse } from "../execution/activity.js"
import { type ScheduleDefinition, type Ticked, tick } from "./tick.js"

/** What the last look at a schedule found. */
export interface ScheduleState extends Pick<Ticked, "next" | "trouble"> {}

/** Starts the runs of schedules when they are due, until the scope closes. */
export const runSchedules = Effect.fnUntraced(function* (
  storage: Storage.Service,
  schedules: ReadonlyArray<ScheduleDefinition>,
  sweepMillis: number
) {
  const states = new Map<string, ScheduleState>()
  if (schedules.length === 0) return states
  const changed = new Pulse()
  const awaited = new Set<string>()
  const unsubscribe = storage.onChange(({ run }) => {
    if (run === "" || awaited.has(run)) changed.notify()
  })
  yield* Effect.addFinalizer(() => Effect.sync(unsubscribe))
  const redactor = yield* Redaction
  const seen = new Set<string>()

  const lookAt = (schedule: ScheduleDefinition) =>
    Effect.gen(function* () {
      const { name } = schedule
      const ticked = yield* Effect.either(tick(storage, schedule, !seen.has(name)))
      if (ticked._tag === "Left") {
        // When it is due is not known. By a due time that has passed, it would be read without a pause.
        states.set(name, { next: undefined, trouble: redactor.text(ticked.left.message) })
        return true
      }
      seen.add(name)
      const { next, trouble } = ticked.right
      states.set(name, { next, trouble: trouble && redactor.text(trouble) })
      for (const run of ticked.right.awaited) awaited.add(run)
      return trouble !== undefined
    })

  const look = Effect.gen(function* () {
    const before = changed.next
    awaited.clear()
    const troubled = yield* Effect.forEach(schedules, lookAt)
    const storeNow = yield* Effect.orElse(storage.now, () => Clock.currentTimeMillis)
    const times = [...states.values()].flatMap(({ next }) => (next === undefined ? [] : [next]))
    const untilNext = Math.min(Number.POSITIVE_INFINITY, ...times) - storeNow
    // Other processes pause and trigger schedules, and leave runs undone.
    const isPolled = !storage.isPrivate || troubled.some(Boolean)
    const pause = isPolled ? Math.min(untilNext, sweepMillis) : untilNext
    yield* Effect.raceFirst(Deferred.await(before), longSleep(pause))
  })

  yield* Effect.forkScoped(Effect.interruptible(Effect.forever(look)))
  return states
})
