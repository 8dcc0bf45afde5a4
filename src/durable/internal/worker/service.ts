import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { millis, whole } from "../../../resilience/internal/kernel/options.js"
import { using } from "../../../resilience/internal/kernel/standing.js"
import * as Storage from "../../../storage/Storage.js"
import type { RunSchedule } from "../../RunSchedule.js"
import type { Options } from "../../Worker.js"
import type { Workflow } from "../../Workflow.js"
import { runSchedules } from "../schedule/runSchedules.js"
import { writeLimits } from "./queueLimits.js"
import { distinctSchedules, scheduleHealth } from "./schedules.js"
import { healthOf, makeWorker, type Settings } from "./worker.js"

/** The options of a worker with their defaults; throws `InvalidOption`. */
export const settingsOf = ({
  concurrency = 10,
  drain = "10 seconds",
  patience = "1 second",
  queues = [],
  stalled = "1 minute",
  sweep = "1 second"
}: Options<ReadonlyArray<RunSchedule<unknown>>>): Settings => ({
  concurrency: whole("concurrency", concurrency, 1),
  queues: queues.map(({ limits }) => limits),
  sweepMillis: millis("sweep", sweep, 1),
  patience: millis("patience", patience),
  drainMillis: millis("drain", drain),
  stalledMillis: millis("stalled", stalled, 1)
})

/** Starts a worker with its schedules. `layer` names it in warnings. */
export const makeService = Effect.fnUntraced(function* (
  layer: string,
  workflows: ReadonlyArray<Workflow<never, unknown, unknown, unknown, unknown>>,
  schedules: ReadonlyArray<RunSchedule<unknown>>,
  settings: Settings
) {
  const definitions = workflows.map(({ definition }) => definition)
  const storage = yield* Storage.Storage
  const distinct = yield* distinctSchedules(schedules.map(({ definition }) => definition))
  yield* using(layer)
  const state = yield* makeWorker(definitions, settings)
  // Retried, since the limits are kept without the record, which only shows them.
  const writing = writeLimits(storage, settings.queues)
  yield* Effect.forkScoped(Effect.retry(writing, Schedule.spaced(settings.sweepMillis)))
  const scheduled = yield* runSchedules(storage, distinct, settings.sweepMillis)
  const health = Effect.map(healthOf(storage, definitions, state, settings), (health) => ({
    ...health,
    schedules: scheduleHealth(distinct, scheduled)
  }))
  return { state, service: { health } }
})
